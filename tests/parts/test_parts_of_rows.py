"""Data of several inputs and targets: every form, digests, what is refused, and training on them."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset, IterableDataset

from harness import Data, Loss, Optimizer, Training, train
from harness.engine.batches import Batches
from harness.engine.building import build
from harness.engine.fitting import misfit
from harness.engine.lanes import Lanes
from harness.engine.sizing import held, seconds
from harness.parts.data import Augment, load, train_size
from harness.parts.objectives import CrossEntropy
from harness.parts.probes.generalization import Calibration, Errors
from harness.parts.probes.layers import Sharpness
from harness.study import DataError

RNG = np.random.default_rng(0)
N, STEPS = 60, 5
IDS = RNG.integers(0, 9, (N, STEPS))
MASK = np.arange(STEPS) < RNG.integers(1, STEPS + 1, (N, 1))
TABLE = RNG.normal(size=(N, 3)).astype(np.float32)
Y = (IDS * MASK).sum(1) % 3
VALUE = TABLE.sum(1)


def digest(*args: Any, **kwargs: Any) -> str:
    own = Data.of(*args, **kwargs).own
    assert own is not None
    return own.digest


# --- forms ---------------------------------------------------------------------------------------


class Items(Dataset):
    """Items in whatever form is asked for."""

    def __init__(self, item: Any) -> None:
        self.item = item

    def __len__(self) -> int:
        return N

    def __getitem__(self, i: int) -> Any:
        return self.item(i)


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        return (((IDS[i], MASK[i], torch.from_numpy(TABLE[i])), Y[i]) for i in range(N))


NAMED = {"ids": IDS, "mask": MASK, "table": TABLE}
FRAME = pd.DataFrame(
    {f"i{i}": IDS[:, i] for i in range(STEPS)}
    | {f"m{i}": MASK[:, i] for i in range(STEPS)}
    | {f"t{i}": TABLE[:, i] for i in range(3)}
    | {"y": Y}
)
GROUPS = {
    "ids": tuple(f"i{i}" for i in range(STEPS)),
    "mask": tuple(f"m{i}" for i in range(STEPS)),
    "table": ("t0", "t1", "t2"),
}
FORMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "arrays": (((IDS, MASK, TABLE), Y), {}),
    "tensors": ((tuple(map(torch.from_numpy, NAMED.values())), torch.from_numpy(Y)), {}),
    "by name": ((NAMED, Y), {}),
    "a dict of arrays": (NAMED | {"y": Y}, {"target": "y"}),
    "a dict, chosen from": (
        {"y": Y, "table": TABLE, "id": Y, "ids": IDS, "mask": MASK},
        {"target": "y", "inputs": {"a": "ids", "b": "mask", "c": "table"}},
    ),
    "groups of columns": (FRAME, {"target": "y", "inputs": GROUPS}),
    "frames": ((tuple(FRAME[[*g]] for g in GROUPS.values()), FRAME["y"]), {}),
    "items": (Items(lambda i: ((IDS[i], MASK[i], TABLE[i]), Y[i])), {}),
    "items by name": (Items(lambda i: ({n: a[i] for n, a in NAMED.items()}, Y[i])), {}),
    "items as dicts": (
        Items(lambda i: {"y": int(Y[i])} | {n: a[i] for n, a in NAMED.items()}),
        {"target": "y"},
    ),
    "a stream": (Stream(), {}),
    "a function": (lambda: ((IDS, MASK, TABLE), Y), {}),
    "one split by name": ({"train": ((IDS, MASK, TABLE), Y)}, {}),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_parts_are_the_same_data_in_whatever_form(form: str) -> None:
    source, kwargs = FORMS[form]
    data = Data.of(source, **kwargs)
    assert data == Data.of(((IDS, MASK, TABLE), Y))
    train_split = load(data).train
    assert [part.dtype for part in train_split] == [
        torch.int64, torch.bool, torch.float32, torch.int64,
    ]  # fmt: skip
    assert [tuple(part.shape) for part in train_split] == [(36, 5), (36, 5), (36, 3), (36,)]
    assert len(data.parts[0]) == 3
    assert train_size(data) == 36
    smaller = load(dataclasses.replace(data, train=7))
    assert all(a.equal(b[:7]) for a, b in zip(smaller.train, train_split, strict=True))


@given(st.permutations(range(N)), st.integers(0, 5))
@settings(max_examples=25)
def test_the_parts_of_a_row_stay_together(order: list[int], seed: int) -> None:
    number = np.array(order)
    splits = load(Data.of(((number, number[:, None] * 2.0), number * 3.0), seed=seed))
    for a, b, y in (splits.train, splits.valid, splits.test):
        assert b[:, 0].equal(a * 2.0)
        assert y.equal(a * 3.0)
    rows = torch.cat([splits.train[0], splits.valid[0], splits.test[0]])
    assert sorted(rows.tolist()) == [*range(N)]


def test_splits_that_are_given() -> None:
    thirds = [((IDS[i::3], MASK[i::3], TABLE[i::3]), Y[i::3]) for i in range(3)]
    named = [dict(zip(("ids", "mask", "table", "y"), (*x, y), strict=True)) for x, y in thirds]
    by_name = dict(zip(("train", "valid", "test"), named, strict=True))
    three = digest(tuple(thirds), duplicates="allow")
    assert digest(tuple(named), target="y", duplicates="allow") == three
    assert digest(by_name, target="y", duplicates="allow") == three
    splits = load(Data.of(tuple(thirds), duplicates="allow"))
    assert splits.test[1].equal(torch.from_numpy(MASK[2::3]))


def test_every_number_of_every_part_is_in_the_digest() -> None:
    before = digest(((IDS, MASK, TABLE), Y), duplicates="allow")
    for place in range(4):
        parts = [IDS.copy(), MASK.copy(), TABLE.copy(), Y.copy()]
        parts[place].flat[-1] = 1 - parts[place].flat[-1] % 2
        assert digest((tuple(parts[:3]), parts[3]), duplicates="allow") != before


def test_which_are_inputs_is_in_the_digest() -> None:
    assert digest(((TABLE, VALUE), VALUE)) != digest((TABLE, {"a": VALUE, "b": VALUE}))


def test_one_input_by_name_is_the_input() -> None:
    assert Data.of({"x": TABLE, "y": Y}, target="y") == Data.of((TABLE, Y))
    assert Data.of(FRAME, target="y", inputs=GROUPS["table"]) == Data.of((TABLE, Y))
    whole = load(Data.of(FRAME, target="y", inputs=GROUPS["ids"], duplicates="allow"))
    assert whole.train[0].dtype == torch.float32  # as without `inputs`


def test_floats_are_standardized_and_nothing_else() -> None:
    plain, scaled = (
        load(Data.of(((IDS, TABLE, VALUE), Y), standardize=on)) for on in (False, True)
    )
    assert scaled.train[1].mean(0).abs().max() < 1e-6
    for place in (0, 2, 3):
        assert scaled.train[place].equal(plain.train[place])


# --- what is refused -----------------------------------------------------------------------------


def spoilt(array: np.ndarray, value: float) -> np.ndarray:
    found = array.astype(np.float64)
    found.flat[4] = value
    return found


def second(i: int) -> Any:
    return ((IDS[i], TABLE[i]) if i < 3 else (IDS[i], TABLE[i], MASK[i])), Y[i]


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (((IDS, TABLE[:-1]), Y), {}, "x[0] has 60 rows and x[1] 59; allowed: as many"),
    ((NAMED, Y[:-2]), {}, "x['ids'] has 60 rows and y 58; allowed: as many"),
    (({"a": IDS, "b": 5}, Y), {}, "x['a'] has 60 rows and x['b'] none"),
    (((IDS, spoilt(TABLE, np.nan)), Y), {}, "x[1] holds nan at [1, 1], 1 such in all; allowed"),
    (
        ({"ids": IDS, "table": spoilt(TABLE, np.inf)}, Y),
        {},
        "x['table'] holds inf at [1, 1]",
    ),
    (((IDS - 1, TABLE), Y), {}, "allowed: whole numbers of at least 0, or floats"),
    ((TABLE, {"kind": Y, "size": spoilt(VALUE, np.nan)}), {}, "y['size'] holds nan at [4]"),
    ((TABLE, (Y, VALUE[:-1])), {}, "x has 60 rows and y[1] 59"),
    (({}, Y), {}, "x is dict {}; allowed: at least one array"),
    (
        (((IDS[::2], TABLE[::2]), Y[::2]), (IDS[1::2], Y[1::2])),
        {},
        "the data of the test split are x, y, of the training split x[0], x[1], y; allowed: all",
    ),
    (
        (((IDS[::2], TABLE[::2]), Y[::2]), ((IDS[1::2], TABLE[1::2, :2]), Y[1::2])),
        {},
        "a row of x[1] of the test split is float32 of shape (2,), of the training split",
    ),
    (((np.repeat(IDS, 2, 0), np.repeat(TABLE, 2, 0)), np.repeat(Y, 2)), {}, "test rows stand in"),
    (Items(second), {}, "item 3 holds x[0], x[1], x[2], y, and item 0 x[0], x[1], y; allowed"),
    (Items(lambda i: (IDS[i], TABLE[i], Y[i])), {}, "allowed: (x, y), where several inputs are a"),
    (Items(lambda i: {"a": IDS[i]}), {}, "target=None; allowed: a column, or several, of a"),
    (NAMED, {}, "its splits are ids, mask, table; allowed: train; train and test"),
    (NAMED, {"target": "y"}, "target='y'; allowed: a column, or several, of ids, mask, table"),
    (FRAME, {"target": "y", "inputs": {"a": "t9"}}, "inputs={'a': 't9'}; allowed: columns of i0"),
    (
        {"a": TABLE, "b": VALUE, "y": Y},
        {"target": "y", "inputs": ("a", "b")},
        "columns 'a' of shape (60, 3) and 'b' of shape (60,) cannot stand side by side; allowed: one "
        "shape, or several parts, as inputs={'a': 'a', 'b': 'b'}",
    ),
    (((IDS, MASK), Y), {"standardize": True}, "standardize=True, where x[0] is int64 of shape (36"),
    (((IDS, np.array(["a"] * N)), Y), {}, "x[1] holds 'a' (type <U1); allowed: numbers"),
]


@pytest.mark.parametrize(("source", "kwargs", "said"), REFUSED, ids=[r[2][:40] for r in REFUSED])
def test_what_cannot_be_used_is_refused_in_a_line_that_names_it(
    source: Any, kwargs: dict[str, Any], said: str
) -> None:
    with pytest.raises(DataError) as refused:
        train_size(Data.of(source, **kwargs))
    assert str(refused.value).startswith("data set 'mine': ")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_inputs_need_a_target() -> None:
    with pytest.raises(DataError, match=r"inputs='a'; allowed: columns, where target= says which"):
        Data.of(FRAME, inputs="a")


# --- trained on ----------------------------------------------------------------------------------


class Reads(nn.Module):
    """Tokens under a mask, beside a table."""

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.words, self.drop = nn.Embedding(9, 4), nn.Dropout(rate)
        self.table, self.last = nn.Linear(3, 4), nn.Linear(8, 3)

    def forward(self, ids: Tensor, mask: Tensor, table: Tensor) -> Tensor:
        words = self.words(ids) * mask.unsqueeze(-1)
        mean = words.sum(1) / mask.sum(1, keepdim=True)
        return self.last(torch.cat([mean, self.drop(self.table(table).tanh())], -1))


ALL = Data.of((NAMED, Y), name="several")


def training(model: Any = Reads, data: Data = ALL, **kwargs: Any) -> Training:
    kwargs = {"epochs": 3, "batch_size": 8} | kwargs
    return Training(model, Optimizer("adam", lr=0.02), data, **kwargs)


def looped(one: Training, seed: int, loss: Any) -> list[float]:
    """Its training losses by a plain loop."""
    batches = Batches([one], [seed], Lanes(), "cpu")
    module = build(one.model, seed).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    found = []
    for step in range(one.updates):
        batches.choose(step)
        value = loss(module, *(part[0] for part in batches.take()))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        found.append(float(value.detach()))
    return found


def rows_of(one: Training, seeds: list[int]) -> list[list[float]]:
    every = dataclasses.replace(one, every=1)
    assert every.why_alone() == ""
    outcomes = train([every] * len(seeds), seeds)
    return [outcome.metrics["train_loss"][1:] for outcome in outcomes]


def test_as_a_plain_loop_would_train_it() -> None:
    def loss(module: nn.Module, *batch: Tensor) -> Tensor:
        return F.cross_entropy(module(*batch[:-1]), batch[-1])

    one = training()
    for seed, found in zip((0, 1), rows_of(one, [0, 1]), strict=True):
        assert found == pytest.approx(looped(one, seed, loss), abs=1e-6)


def joint(module: nn.Module, ids: Tensor, mask: Tensor, table: Tensor, kind: Tensor, size: Tensor):
    said = module(ids, mask, table)
    return F.cross_entropy(said, kind) + F.mse_loss(said[:, 0], size)


HEADS = Data.of((NAMED, {"kind": Y, "size": VALUE}), name="heads")


def test_a_loss_has_every_part_in_order() -> None:
    one = training(data=HEADS, objective=Loss(joint))
    assert min(seconds(one)) > 0
    assert held(one) > 0
    assert misfit(one) == ""

    def said(module: nn.Module, *batch: Tensor) -> Tensor:
        return module(*batch)  # the module within its loss

    for seed, found in zip((0, 1), rows_of(one, [0, 1]), strict=True):
        assert found == pytest.approx(looped(one, seed, said), abs=1e-6)


@dataclasses.dataclass(frozen=True)
class Two:
    """An objective of two targets."""

    weight: float | Tensor = 1.0
    numbers: ClassVar[tuple[str, ...]] = ("weight",)
    targets: ClassVar[int] = 2

    def loss(self, output: Tensor, kind: Tensor, size: Tensor) -> Tensor:
        return F.cross_entropy(output, kind) + self.weight * F.mse_loss(output[:, 0], size)

    def scores(self, output: Tensor, kind: Tensor, size: Tensor) -> dict[str, Tensor]:
        return {"loss": self.loss(output, kind, size)}


def test_an_objective_of_two_targets() -> None:
    def loss(module: nn.Module, *batch: Tensor) -> Tensor:
        return joint(module, *batch)

    one = training(data=HEADS, objective=Two())
    other = training(data=HEADS, objective=Two(0.0))
    assert one.signature() == other.signature()
    found = rows_of(one, [0])[0]
    assert found == pytest.approx(looped(one, 0, loss), abs=1e-6)
    with pytest.raises(
        ValueError, match=r"'heads' has 2 targets \(y\['kind'\], y\['size'\]\) and Cr"
    ):
        training(data=HEADS)
    with pytest.raises(
        ValueError, match=r"'several' has 1 targets \(y\) and Two takes 2; allowed: as"
    ):
        training(objective=Two())


def test_alone_and_in_a_pack_to_the_bit() -> None:
    class Turned(Reads):
        def forward(self, table: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
            return super().forward(ids, mask, table)

    data = Data.of(((TABLE, IDS, MASK), Y))
    ones = [
        training(lambda rate=rate: Turned(rate), data, noise=noise)
        for rate, noise in ((0.0, 0.1), (0.3, 0.0), (0.5, 0.2))
    ]
    together = train(ones, [3, 4, 5])
    for one, seed, outcome in zip(ones, (3, 4, 5), together, strict=True):
        (alone,) = train([one], [seed])
        assert alone.metrics == outcome.metrics


def test_a_random_part_of_it_and_probes() -> None:
    part = dataclasses.replace(ALL, train=20, draw=2)
    one = training(data=part, probes=(Errors(), Calibration(), Sharpness(4)))
    (outcome,) = train([one], [0])
    for name in ("train_error", "test_error", "calibration_error", "sharpness"):
        assert np.isfinite(outcome.metrics[name][-1])


class Swapped(Reads):
    def forward(self, mask: Tensor, ids: Tensor, table: Tensor) -> Tensor:
        return super().forward(ids, mask, table)


@pytest.mark.parametrize(("one", "said"), [
    (training(Swapped), "Swapped.forward takes (mask: 'Tensor', ids: 'Tensor', table: 'Tensor') -> "
     "'Tensor' and is given x['ids'], x['mask'], x['table']; allowed: the order that it takes"),
    (training(lambda: nn.Linear(3, 3)), "Linear.forward takes (input: torch.Tensor) -> torch.Tensor "
     "and is given x['ids'], x['mask'], x['table']; allowed: as many, in this order"),
    (training(objective=Loss(lambda module, x, y: x)), "<lambda> takes (module, x, y) and is given "
     "the module, x['ids'], x['mask'], x['table'], y; allowed: as many, in this order"),
    (training(noise=0.1), "Training has noise=0.1, and x['ids'] is int64; allowed: for a first input"),
    (training(augment=Augment(shift=1)), "Training has augment=Augment(shift=1, turn=0.0), and "),
    (training(lambda: nn.Sequential(Reads(), nn.Linear(3, 3))), "Sequential.forward takes (input)"),
], ids=lambda value: value[:30] if isinstance(value, str) else "")  # fmt: skip
def test_what_does_not_fit_is_said(one: Training, said: str) -> None:
    assert misfit(one).startswith(said)


def test_what_fits_is_left_alone() -> None:
    class Any_(Reads):
        def forward(self, *parts: Tensor) -> Tensor:
            return super().forward(*parts)

    assert misfit(training()) == misfit(training(Any_)) == ""
    assert misfit(training(data=Data.of(((IDS, MASK, TABLE), Y)))) == ""


def test_the_highest_class_is_of_the_target() -> None:
    data = Data.of((NAMED, Y + 1), name="more")
    assert misfit(training(data=data, objective=CrossEntropy())) == (
        "its model has 3 outputs, and there is a class 3; allowed: classes below 3"
    )
