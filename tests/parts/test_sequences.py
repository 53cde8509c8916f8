"""Sequences: exact losses of padded ones, tasks by their definition, and hostile files."""

from __future__ import annotations

import io
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat
from torch.nn import functional

from harness import Data, Optimizer, Training
from harness.engine.pack import train
from harness.parts.data import forget, load, train_size
from harness.parts.data.sequences import CUTS, characters, chorales
from harness.parts.models import Recurrent
from harness.parts.objectives import Bernoulli
from harness.study import DataError

pytestmark = pytest.mark.usefixtures("one_thread")

LENGTHS = ((4, 2, 7), (3, 5), (6,))
RNG = np.random.default_rng(0)
ROLLS = [[(RNG.random((n, 88)) < 0.1).astype(np.uint8) for n in split] for split in LENGTHS]


def mat(**change: Any) -> bytes:
    """A MATLAB 5 file of the three lists, some of them replaced."""
    lists = dict(zip(("traindata", "validdata", "testdata"), ROLLS, strict=True)) | change
    table = {}
    for name, rolls in lists.items():
        table[name] = np.empty((1, len(rolls)), object)
        for number, roll in enumerate(rolls):
            table[name][0, number] = roll
    file = io.BytesIO()
    savemat(file, table, do_compression=True)
    return file.getvalue()


def test_chorales_are_predicted_one_step_ahead() -> None:
    arrays = chorales(mat())
    for split, (x, y) in enumerate(zip(arrays[::2], arrays[1::2], strict=True)):
        assert x.shape == (len(ROLLS[split]), max(LENGTHS[split]) - 1, 88)
        for number, roll in enumerate(ROLLS[split]):
            steps = len(roll) - 1
            assert np.array_equal(x[number, :steps], roll[:-1])
            assert np.isnan(x[number, steps:]).all()
            assert np.array_equal(y[number, :steps, :88], roll[1:])
            assert (y[number, steps:] == 0).all()


def test_the_losses_of_padded_sequences_are_those_of_each_alone() -> None:
    x, y = map(torch.from_numpy, chorales(mat())[:2])
    torch.manual_seed(0)
    model = Recurrent("vanilla", 88, 5, 88, every_step=True, ragged=True)
    scores = Bernoulli().scores(model(x), y)
    alone = []
    for roll in ROLLS[0]:
        roll = torch.from_numpy(roll).float()
        nll = functional.binary_cross_entropy_with_logits(
            model(roll[None, :-1])[0], roll[1:], reduction="none"
        )
        alone.append(nll.sum(1))  # (T,) nats a step
    torch.testing.assert_close(scores["loss"], torch.stack([n.mean() for n in alone]).mean())
    torch.testing.assert_close(scores["frame_loss"], torch.cat(alone).mean())


def test_losses_of_large_outputs_are_exact() -> None:
    output = torch.tensor([[[200.0, -200.0]]], requires_grad=True)
    target = torch.tensor([[[0.0, 0.0, 1.0]]])
    loss = Bernoulli().loss(output, target)
    assert loss.item() == 200.0
    assert torch.autograd.grad(loss, output)[0].tolist() == [[[1.0, 0.0]]]


@pytest.mark.parametrize(("content", "words"), [
    (b"", "expected a MATLAB 5.0"),
    (b"\x89HDF\r\n", "expected a MATLAB 5.0"),
    (mat()[:-40], "cannot be read"),
    (mat()[:300], "cannot be read"),
    (mat(validdata=[]), "no list 'validdata'"),
    (mat(testdata=[np.zeros((5, 87))]), r"of shape \(5, 87\)"),
    (mat(testdata=[np.zeros((1, 88))]), r"of shape \(1, 88\)"),
    (mat(testdata=[np.full((5, 88), 2)]), "expected zeros and ones"),
    (mat(testdata=["abc"]), "chorale 0 of 'testdata'"),
])  # fmt: skip
def test_a_wrong_file_of_chorales_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        chorales(content)


WHOLE = mat()


@settings(max_examples=60, deadline=None)
@given(st.integers(128, len(WHOLE) - 1), st.binary(min_size=1, max_size=8), st.booleans())
def test_changed_bytes_are_refused_or_read(place: int, other: bytes, cut: bool) -> None:
    changed = WHOLE[:place] + (b"" if cut else other + WHOLE[place + len(other) :])
    try:
        arrays = chorales(changed)
    except DataError:
        return
    assert len(arrays) == 6


def test_a_pinned_file_that_was_changed_is_refused_by_name(tmp_path, monkeypatch) -> None:
    (tmp_path / "jsb_chorales").mkdir()
    (tmp_path / "jsb_chorales" / "JSB_Chorales.mat").write_bytes(mat())
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    forget()
    with pytest.raises(DataError, match=r"JSB_Chorales\.mat is another file"):
        load(Data("jsb_chorales"))


def test_characters_are_predicted_one_ahead() -> None:
    body = bytes(range(40, 105))  # 65 characters
    text = (body * (1_115_394 // 65 + 1))[:1_115_394]
    arrays = characters(text, 50)
    x, y = arrays[:2]
    assert len(x) == train_size(Data("tinyshakespeare", length=50)) == (CUTS[0] - 1) // 50
    assert (x[:, 1:] == y[:, :-1]).all()
    assert (y == (x + 1) % 65).all()
    for bad, words in ((text[:-9].replace(b"A", b"B"), "64 different"), (body, "65 characters")):
        with pytest.raises(DataError, match=words):
            characters(bad, 50)


def test_a_length_is_given_where_there_is_one() -> None:
    for data in ({"name": "temporal_order"}, {"name": "temporal_order", "length": 9}):
        with pytest.raises(DataError, match="allowed: at least 10 for temporal_order"):
            Data(**data)
    with pytest.raises(DataError, match="length=8; allowed: None for digits"):
        Data("digits", length=8)
    with pytest.raises(DataError, match="train=230; allowed: 1 to 229"):
        Data("jsb_chorales", train=230)


def test_a_network_learns_the_order_of_two_symbols() -> None:
    one = Training(
        partial(Recurrent, "GRU", 6, 12, 4), Optimizer("adam", lr=0.02),
        data=Data("temporal_order", train=2000, length=10), steps=300, every=300, batch_size=20,
    )  # fmt: skip
    (outcome,) = train([one], [0])
    assert outcome.metrics["test_accuracy"][-1] > 0.99


def folder() -> Path:
    found = os.environ.get("HARNESS_DATA")
    if not found:
        pytest.skip("needs HARNESS_DATA")
    return Path(found)


def test_real_chorales() -> None:
    if not (folder() / "jsb_chorales").is_dir():
        pytest.skip("needs jsb_chorales in HARNESS_DATA")
    splits = load(Data("jsb_chorales"))
    sizes = [x.shape[:2] for x, _ in (splits.train, splits.valid, splits.test)]
    assert sizes == [(229, 128), (76, 143), (77, 159)]
    torch.manual_seed(0)
    model = Recurrent("vanilla", 88, 6, 88, every_step=True, ragged=True)
    with torch.no_grad():
        scores = Bernoulli().scores(model(splits.valid[0]), splits.valid[1])
    # untrained, each of 88 notes costs about log 2
    assert scores["loss"].item() == pytest.approx(88 * np.log(2), rel=0.05)
    assert scores["frame_loss"].item() == pytest.approx(scores["loss"].item(), rel=0.01)


def test_real_characters() -> None:
    if not (folder() / "text").is_dir():
        pytest.skip("needs text in HARNESS_DATA")
    x, y = load(Data("tinyshakespeare", length=100)).test
    assert x.shape == y.shape == (557, 100)
