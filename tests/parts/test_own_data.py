"""Data of one's own: every form that it may have, splits, digests, and what is refused."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
import types
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from harness import Data, Optimizer, Training, train
from harness.parts import data as data_
from harness.parts.data import load, train_size
from harness.parts.data.splitting import split
from harness.parts.models import MLP
from harness.parts.objectives import CrossEntropy, SquaredError
from harness.study import DataError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3)).astype(np.float32)
Y = np.arange(50) % 2
THIRDS = [(X[i::3], Y[i::3]) for i in range(3)]


def digest(*args: Any, **kwargs: Any) -> str:
    own = Data.of(*args, **kwargs).own
    assert own is not None
    return own.digest


# --- splits --------------------------------------------------------------------------------------


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, tuple[float, ...], int]:
    labels = draw(st.lists(st.integers(0, 6), min_size=1, max_size=80))
    weights = draw(st.lists(st.integers(1, 9), min_size=2, max_size=3))
    return (
        np.array(labels),
        tuple(w / sum(weights) for w in weights),
        draw(st.integers(-(2**63), 2**63 - 1)),
    )


@given(cases())
def test_every_row_is_in_one_part_and_every_class_has_its_share(case) -> None:
    y, shares, seed = case
    parts = split(y, shares, seed)
    assert sorted(np.concatenate(parts)) == [*range(len(y))]
    for part, share in zip(parts, shares, strict=True):
        assert abs(len(part) - share * len(y)) <= 1 + 1e-6
        for one in np.unique(y):
            assert abs((y[part] == one).sum() - share * (y == one).sum()) <= 1 + 1e-6
    again = split(y, shares, seed)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))


@given(st.integers(1, 200), st.integers(0, 99))
def test_numbers_are_split_without_classes(n: int, seed: int) -> None:
    parts = split(np.linspace(0, 1, n), (0.5, 0.5), seed)
    assert sorted(np.concatenate(parts)) == [*range(n)]
    assert abs(len(parts[0]) - n / 2) <= 1


def test_another_seed_is_another_split_of_the_same_rows() -> None:
    first, second = (load(Data.of((X, Y), seed=seed)) for seed in (0, 1))
    assert not first.test[0].equal(second.test[0])
    for splits in (first, second):
        rows = torch.cat([splits.train[0], splits.valid[0], splits.test[0]])
        assert sorted(rows.tolist()) == sorted(X.tolist())
        assert [len(part[1]) for part in (splits.train, splits.valid, splits.test)] == [30, 10, 10]
        assert splits.train[1].tolist() != sorted(splits.train[1])  # the first ones are of all


def test_a_split_stays_what_it_is() -> None:
    assert split(np.zeros(8, np.int64), (0.5, 0.5), 3)[0].tolist() == [0, 3, 4, 2]


def test_a_test_split_that_is_given_is_left_as_it_is() -> None:
    splits = load(Data.of((THIRDS[0], THIRDS[1]), fractions=(0.5, 0.25, 0.25)))
    assert splits.test[0].equal(torch.from_numpy(THIRDS[1][0]))
    assert [len(splits.train[0]), len(splits.valid[0])] == [11, 6]  # two thirds and one of 17
    splits = load(Data.of(tuple(THIRDS)))
    for part, (x, y) in zip((splits.train, splits.valid, splits.test), THIRDS, strict=True):
        assert part[0].equal(torch.from_numpy(x))
        assert part[1].tolist() == y.tolist()


# --- forms ---------------------------------------------------------------------------------------


class Rows(Dataset):
    """Items as a user's Dataset gives them."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(X[i]), int(Y[i])


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        return iter(zip(X, Y.tolist(), strict=True))


FRAME = pd.DataFrame(X, columns=["a", "b", "c"]).assign(kind=Y)
FORMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "arrays": ((X, Y), {}),
    "lists": ((X.tolist(), Y.tolist()), {}),
    "doubles": ((X.astype(np.float64), Y.astype(np.uint8)), {}),
    "other byte order": ((X.astype(">f4"), Y.astype(">i2")), {}),
    "columns first": ((np.asfortranarray(X), Y), {}),
    "truth values": ((X, Y == 1), {}),
    "tensors": ((torch.from_numpy(X).requires_grad_(), torch.from_numpy(Y)), {}),
    "a frame": (FRAME, {"target": "kind"}),
    "a frame's halves": ((FRAME[["a", "b", "c"]], FRAME["kind"]), {}),
    "a dataset": (Rows(), {}),
    "a subset": (Subset(Rows(), range(50)), {}),
    "tensors as a dataset": (TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), {}),
    "a stream": (Stream(), {}),
    "a function": (lambda: (X, Y), {}),
    "a mapping": (lambda: {"train": (X, Y)}, {}),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_content_is_the_same_data_in_whatever_form(form: str) -> None:
    source, kwargs = FORMS[form]
    data, plain = Data.of(source, **kwargs), Data.of((X, Y))
    assert data == plain
    assert hash(data) == hash(plain)
    assert repr(data) == repr(plain)
    splits = load(data)
    assert splits.train[0].dtype == torch.float32
    assert splits.train[1].dtype == torch.int64
    assert train_size(data) == 30


@pytest.mark.parametrize("three", [
    tuple(THIRDS),
    [TensorDataset(*map(torch.from_numpy, pair)) for pair in THIRDS],
    dict(zip(("train", "validation", "test"), THIRDS, strict=True)),
], ids=("pairs", "datasets", "by name"))  # fmt: skip
def test_splits_that_are_given(three: Any) -> None:
    assert digest(three) == digest(tuple(THIRDS))


def test_frames_as_splits() -> None:
    frames = tuple(FRAME.iloc[i::3] for i in range(3))
    assert digest(frames, target="kind") == digest(tuple(THIRDS))


def test_kinds_of_inputs_and_targets() -> None:
    def types_of(x: Any, y: Any, **kwargs: Any) -> list[tuple[torch.dtype, tuple[int, ...]]]:
        train = load(Data.of((x, y), duplicates="allow", **kwargs)).train
        return [(part.dtype, tuple(part.shape)) for part in train]

    number, whole = torch.float32, torch.int64
    tokens = np.arange(60).reshape(10, 6)
    assert types_of(tokens, tokens) == [(whole, (6, 6)), (whole, (6, 6))]  # language
    assert types_of(tokens.astype(np.int32), Y[:10]) == [(number, (6, 6)), (whole, (6,))]
    series = np.ones((10, 4, 2))
    assert types_of(series, np.ones(10)) == [(number, (6, 4, 2)), (number, (6,))]
    assert types_of(X, X[:, :2]) == [(number, (30, 3)), (number, (30, 2))]
    assert types_of(X, Y, task="regression") == [(number, (30, 3)), (number, (30,))]
    pictures = RNG.integers(0, 256, (10, 5, 5)).astype(np.uint8)
    assert types_of(pictures, Y[:10]) == [(number, (6, 5, 5)), (whole, (6,))]
    loaded = load(Data.of((pictures, Y[:10])))
    assert loaded.train[0].max() > 1  # as they are
    frame = pd.DataFrame({"a": range(10), "b": range(10), "u": 0.5, "v": 1.5})
    train = load(Data.of(frame, target=("u", "v"))).train
    assert train[0].dtype == number
    assert train[1].tolist() == [[0.5, 1.5]] * 6


def test_standardized_by_the_training_split_alone() -> None:
    x = np.column_stack([X, np.full(len(X), 7.0)])
    plain, scaled = (load(Data.of((x, Y), standardize=on)) for on in (False, True))
    mean, deviation = plain.train[0].double().mean(0), plain.train[0].double().std(0, correction=0)
    deviation[3] = 1.0  # a column that is constant is only centred
    for one, other in ((plain.train, scaled.train), (plain.test, scaled.test)):
        assert torch.allclose((one[0].double() - mean) / deviation, other[0].double(), atol=1e-6)
        assert one[1].equal(other[1])
    assert scaled.test[0].mean(0).abs().max() > 1e-3


def test_a_part_of_it() -> None:
    whole = Data.of((X, Y))
    part = dataclasses.replace(whole, train=12, draw=3)
    assert train_size(part) == 12
    first = load(dataclasses.replace(whole, train=12))
    assert first.train[0].equal(load(whole).train[0][:12])
    with pytest.raises(DataError, match="train=31; allowed: 1 to 30 for mine"):
        dataclasses.replace(whole, train=31)


# --- digests -------------------------------------------------------------------------------------


@given(st.integers(0, 49), st.integers(0, 2), st.floats(-10, 10, width=32))
def test_another_number_is_another_digest(row: int, column: int, value: float) -> None:
    changed = X.copy()
    changed[row, column] = value
    assert (digest((changed, Y)) == digest((X, Y))) == np.array_equal(changed, X)


def test_order_type_and_labels_are_in_the_digest() -> None:
    labels = Y.copy()
    labels[[0, 1]] = labels[[1, 0]]
    bytes_ = np.abs(X * 10).astype(np.uint8)
    digests = [
        digest((X, Y)),
        digest((X, Y), seed=1),
        digest((X, Y), fractions=(0.5, 0.25, 0.25)),
        digest((X, Y), standardize=True),
        digest((X, labels)),
        digest((X, Y.astype(np.float32))),
        digest((bytes_, Y), duplicates="allow"),
        digest((bytes_.astype(np.float32), Y), duplicates="allow"),
        digest(tuple(THIRDS)),
        digest((THIRDS[0], THIRDS[2], THIRDS[1])),
    ]
    assert len(set(digests)) == len(digests)


def test_the_digest_is_the_same_in_another_process() -> None:
    code = (
        "import numpy as np; from harness import Data; "
        "x = np.random.default_rng(0).normal(size=(50, 3)).astype('float32'); "
        "print(Data.of(lambda: (x, np.arange(50) % 2)).own.digest)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest((X, Y))


def test_what_becomes_of_a_users_arrays_is_no_part_of_it() -> None:
    pairs = [(x.copy(), y.copy()) for x, y in THIRDS]
    data = Data.of(tuple(pairs))
    before = load(data).test[0].clone()
    pairs[2][0][:] = 0
    assert load(data).test[0].equal(before)
    assert digest(tuple(pairs)) != digest(tuple(THIRDS))


# --- made once, handed on ------------------------------------------------------------------------


class Made:
    """A source that counts how often it is asked."""

    times = 0

    def __call__(self) -> Any:
        self.times += 1
        return X, Y


def test_it_is_made_when_it_is_asked_for_and_once() -> None:
    made = Made()
    data = Data.of(made)
    smaller = [made.times]
    load(data), load(dataclasses.replace(data, train=5)), hash(data), repr(data), train_size(data)
    assert [*smaller, made.times] == [0, 1]


def test_who_is_handed_the_content_does_not_make_it() -> None:
    first, again = Made(), Made()
    here = Data.of(first, name="handed")
    assert here.own is not None
    shared = pickle.loads(pickle.dumps(data_.share({"handed": here.own})))
    data_.forget()
    data_.adopt(shared)
    there = Data.of(again, name="handed")
    assert load(there).test[0].equal(load(here).test[0])
    assert there == here
    assert again.times == 0
    data_.forget()
    other = Data.of(again, name="other")
    assert load(other).test[0].equal(load(here).test[0])
    assert again.times == 1


def test_it_travels_by_its_digest() -> None:
    data = Data.of((X, Y))
    packed = pickle.dumps(data)
    assert len(packed) < 1000
    assert pickle.loads(packed) == data
    assert copy.deepcopy(data) == data
    hash(data)
    data_.forget()
    with pytest.raises(DataError, match=r"with digest [0-9a-f]{16} is not in this process"):
        train_size(pickle.loads(packed))


# --- Hugging Face --------------------------------------------------------------------------------


class Columns:
    """A split as the package datasets gives it."""

    def __init__(self, **columns: Any) -> None:
        self.columns_, self.features = columns, [*columns]
        self.column_names = [*columns]

    def __getitem__(self, name: str) -> Any:
        return self.columns_[name]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A package datasets that has what is put in."""
    have: dict[str, Any] = {}
    fake: Any = types.ModuleType("datasets")
    fake.load_dataset = lambda name: have[name]
    monkeypatch.setitem(sys.modules, "datasets", fake)
    return have


def test_a_hugging_face_data_set(hub: dict[str, Any]) -> None:
    images = RNG.integers(0, 256, (20, 4, 4)).astype(np.uint8)
    labels = (np.arange(20) % 2).tolist()
    hub["me/images"] = {
        "train": Columns(image=[*images[:14]], label=labels[:14]),
        "test": Columns(image=[*images[14:]], label=labels[14:]),
    }
    data = Data.of("hf:me/images", target="label")
    splits = load(data)
    assert splits.test[0].equal(torch.from_numpy(images[14:]).float())
    assert [len(splits.train[0]), len(splits.valid[0])] == [10, 4]
    pairs = ((images[:14], labels[:14]), (images[14:], labels[14:]))
    assert data == Data.of(pairs)
    hub["me/table"] = {"train": Columns(a=[*X[:, 0]], b=[*X[:, 1]], y=Y.tolist())}
    assert Data.of("hf:me/table", target="y") == Data.of((X[:, :2], Y))
    hub["me/tokens"] = {"train": Columns(ids=[[i, i + 1] for i in range(50)], y=Y.tolist())}
    assert load(Data.of("hf:me/tokens", target="y")).train[0].dtype == torch.int64
    hub["me/text"] = {"train": Columns(text=["one", "two"], label=[0, 1])}
    with pytest.raises(DataError, match="column 'text' holds 'one'"):
        train_size(Data.of("hf:me/text", target="label"))
    with pytest.raises(DataError, match=r"'hf:me/none' cannot be loaded \(KeyError"):
        train_size(Data.of("hf:me/none", target="label"))


def test_without_the_package_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    data = Data.of("hf:me/mine", target="label")
    with pytest.raises(DataError, match="needs the package datasets, which is not installed; pip"):
        train_size(data)


# --- what is refused, in one line that shows the value -------------------------------------------


def with_(value: float, at: tuple[int, int] = (7, 1)) -> np.ndarray:
    x = X.astype(np.float64)
    x[at] = value
    return x


class Odd(Rows):
    def __getitem__(self, i: int) -> Any:
        return torch.zeros(3 + (i == 4)), 0


class Bare(Rows):
    def __getitem__(self, i: int) -> Any:
        return torch.zeros(3)


def fails() -> None:
    raise OSError("no such\nfile")


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    ((with_(np.nan), Y), {}, "x holds nan at [7, 1], 1 such in all; allowed: finite"),
    ((with_(np.inf), Y), {}, "x holds inf at [7, 1]"),
    ((with_(1e39), Y), {}, "x holds 1e+39 at [7, 1]"),
    ((X, np.where(Y, np.nan, 1.0)), {}, "y holds nan at [1], 25 such in all"),
    ((THIRDS[0], THIRDS[1], (with_(np.nan), Y)), {}, "x of the test split holds nan at [7, 1]"),
    ((X, Y[:-1]), {}, "x has 50 rows and y 49; allowed: as many"),
    ((X, np.array(3)), {}, "x has 50 rows and y none"),
    ((X[:0], Y[:0]), {}, "its training split has 0 rows; allowed: at least 1"),
    ((X[:2], Y[:2]), {}, "its test split has 0 rows"),
    ((THIRDS[0], THIRDS[1], (X[:0], Y[:0])), {}, "its test split has 0 rows"),
    ((X, Y + 0.5), {"task": "classification"}, "y holds 0.5 (type float64); allowed for"),
    ((X, Y - 1), {}, "y holds -1 at [0], 25 such in all; allowed: classes from 0 on"),
    ((X, Y[:, None]), {}, "y has shape (50, 1); allowed for classes: (n,), as y.ravel() has"),
    ((X, np.array(["a", "b"] * 25)), {}, "y holds 'a' (type <U1); allowed: numbers"),
    ((X[:, 0], Y), {}, "x has shape (50,); allowed: (n, F)"),
    ((np.arange(-10, 90).reshape(50, 2), Y), {}, "x holds -10 at [0, 0]"),
    ((X.astype(complex), Y), {}, "(type complex128); allowed: numbers"),
    ((X, [[1], [1, 2]]), {}, "y is no array"),
    ((THIRDS[0], (X[:, :2], Y)), {}, "a row of x of the test split is float32 of shape (2,), of"),
    ((THIRDS[0], (X, Y + 0.5)), {}, "a row of y of the test split is float32 of shape ()"),
    (
        ((X, Y), THIRDS[0], (X[:4], Y[:4])),
        {},
        "4 of 4 test rows stand in training too; allowed: none, or",
    ),
    (FRAME, {}, "target=None; allowed: a column, or several, of a, b, c, kind"),
    (FRAME, {"target": "class"}, "target='class'; allowed: a column, or several, of a, b, c, kind"),
    (FRAME[["kind"]], {"target": "kind"}, "it has no column but the target"),
    (FRAME.assign(a="one"), {"target": "kind"}, "column 'a' holds 'one'"),
    (FRAME.assign(a=with_(np.nan)[:, 1]), {"target": "kind"}, "x holds nan at [7, 0]"),
    (Odd(), {}, "row 4 of x has shape (4,) and row 0 (3,); allowed: one shape"),
    (Bare(), {}, "item 0 is Tensor of shape (3,); allowed: (x, y)"),
    (5, {}, "its source is int 5; allowed: (x, y) of arrays or tensors, a frame"),
    ((X, Y, X, Y), {}, "its source is tuple"),
    ("mnist", {}, "its source is str 'mnist'"),
    ({"first": (X, Y)}, {}, "its splits are first; allowed: train; train and test"),
    (fails, {}, "its function raises OSError: no such file"),
    ((np.ones((50, 2, 2)), Y), {"standardize": True, "duplicates": "allow"}, "of shape (30, 2, 2)"),
]


@pytest.mark.parametrize(("source", "kwargs", "words"), REFUSED, ids=[w for _, _, w in REFUSED])
def test_what_cannot_be_used_is_refused_in_a_line(source, kwargs, words) -> None:
    data = Data.of(source, name="odd", **kwargs)
    with pytest.raises(DataError) as caught:
        load(data)
    said = str(caught.value)
    assert said.startswith("data set 'odd': ")
    assert words in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"name": "digits"}, "name='digits'; allowed: letters"),
        ({"name": "my, data"}, "name='my, data'"),
        ({"name": 5}, "name=5"),
        ({"fractions": (0.6, 0.4)}, "fractions=(0.6, 0.4); allowed: three numbers above 0 that sum"),
        ({"fractions": (0.6, 0.3, 0.3)}, "fractions=(0.6, 0.3, 0.3)"),
        ({"fractions": (0.6, 0.4, 0.0)}, "fractions=(0.6, 0.4, 0.0)"),
        ({"fractions": 0.5}, "fractions=0.5"),
        ({"seed": 0.5}, "seed=0.5; allowed: an integer"),
        ({"task": "ranking"}, "task='ranking'; allowed: 'classification', 'regression', None"),
        ({"duplicates": True}, "duplicates=True; allowed: 'refuse', 'allow'"),
    ],
)  # fmt: skip
def test_arguments_are_refused_at_once(kwargs: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError) as caught:
        Data.of((X, Y), **kwargs)
    assert f"Data.of has {words}" in str(caught.value)


@given(st.integers(1, 20), st.integers(0, 20))
def test_rows_that_are_tested_and_trained_on_are_counted(n: int, shared: int) -> None:
    test = np.concatenate([X[:shared], X[30:30 + n]])  # fmt: skip
    source = ((X[:20], Y[:20]), (X[20:30], Y[20:30]), (test, np.zeros(len(test), int)))
    if not shared:
        assert digest(source)
        return
    with pytest.raises(DataError, match=f"{shared} of {n + shared} test rows stand in training"):
        digest(source)
    allowed = Data.of(source, duplicates="allow").own
    assert allowed is not None
    assert allowed.content.caution == f"{shared} of {n + shared} test rows stand in training too"


def test_zeros_are_equal_whatever_their_sign() -> None:
    train, test = np.zeros((4, 2)), np.full((1, 2), -0.0)
    with pytest.raises(DataError, match="1 of 1 test rows"):
        digest(((train, np.zeros(4, int)), (train + 1, np.zeros(4, int)), (test, np.zeros(1, int))))


# --- trained on ----------------------------------------------------------------------------------


class Tokens(nn.Module):
    """The class of a sequence of token numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(12, 8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.embed(x).mean(1))  # (B, T) -> (B, T, 8) -> (B, 2)


def kinds() -> dict[str, tuple[Any, Any, tuple[Any, Any]]]:
    """Of each kind: a model, an objective, and x and y in which there is something to learn."""
    rng = np.random.default_rng(1)
    x, series = rng.normal(size=(200, 3)), rng.normal(size=(200, 5, 3))
    tokens = rng.integers(0, 12, (200, 6))
    return {
        "classes": (partial(MLP, (3, 16, 2)), CrossEntropy(), (x, (x[:, 0] > 0).astype(int))),
        "numbers": (partial(MLP, (3, 16, 1)), SquaredError(), (x, x[:, 0] - x[:, 1])),
        "several": (partial(MLP, (3, 16, 2)), SquaredError(), (x, x[:, :2] * [1, -1])),
        "series": (
            lambda: nn.Sequential(nn.Flatten(), nn.Linear(15, 1)), SquaredError(),
            (series, series[:, 2, 1]),
        ),
        "tokens": (Tokens, CrossEntropy(), (tokens, (tokens.mean(1) > 5.5).astype(int))),
    }  # fmt: skip


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("kind", kinds())
def test_every_kind_is_learned_and_fused(kind: str) -> None:
    model, objective, source = kinds()[kind]
    training = Training(
        model, Optimizer("adam", lr=0.02), Data.of(source, name=f"of_{kind}"), objective, epochs=30,
        batch_size=20,
    )  # fmt: skip
    assert training.why_alone() == ""
    for outcome in train([training, training], [0, 1], "cpu"):
        assert outcome.status == "finished", outcome.error
        loss = outcome.metrics["test_loss"]
        assert loss[-1] < loss[0] / 2


@pytest.mark.usefixtures("one_thread")
def test_a_part_drawn_at_random_is_the_trials_own() -> None:
    model, objective, source = kinds()["classes"]
    data = Data.of(source)
    trainings = [
        Training(
            model, Optimizer("sgd", lr=0.1), dataclasses.replace(data, train=40, draw=draw),
            objective, epochs=2, batch_size=20,
        )
        for draw in (0, 1)
    ]  # fmt: skip
    assert trainings[0].signature() == trainings[1].signature()
    together = train(trainings, [0, 0], "cpu")
    assert together[0].metrics != together[1].metrics
    assert train(trainings[1:], [0], "cpu")[0].metrics == together[1].metrics
