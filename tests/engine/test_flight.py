"""A pack that is saved and gone on with trains as if it had never stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from harness.engine import flight as flights
from harness.engine import saved
from harness.engine.flight import Flight, Landed, frozen, thawed
from harness.engine.outcome import Outcome
from harness.engine.pack import PackInFlight, train_pack
from harness.engine.process import arithmetic
from harness.engine.saved import Refused, Saved
from harness.engine.training import Stop, Training
from harness.parts.data import Data, Splits
from harness.parts.data.augment import Augment
from harness.parts.models import MLP, Descent, Recurrent
from harness.parts.objectives import Bernoulli, CrossEntropy
from harness.parts.optimizers import Optimizer
from harness.parts.probes import EffectiveRate, Position, RecordTo, StepsTo
from harness.parts.probes.moment import EVAL_ROWS
from harness.parts.schedules import Cosine
from tests import simulated
from tests.engine.test_beside import staged as beside
from tests.engine.test_buckets import chorales as rolls
from tests.engine.test_curvature import KINDS as CURVED
from tests.engine.test_fusing import conv, same, with_rate
from tests.engine.test_solving import KINDS as SOLVED
from tests.engine.test_stages import KINDS as STAGED
from tests.parts.test_own_optimizers import Noisy

pytestmark = pytest.mark.usefixtures("one_thread")
DIGITS = Data("digits", train=160)


class Kernel(nn.Module):
    """torch's own kernel, which does not fuse, with dropout between its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.head = nn.LSTM(8, 6, 2, dropout=0.2, batch_first=True), nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.read(x.view(-1, 8, 8))[0][:, -1])


class Counting(nn.Module):
    """Keeps in Python how often it has been called."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.calls = nn.Linear(64, 10), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.head(x) * (1 + 1 / self.calls)


def stopped(lane: int) -> Training:
    """Everything that an MLP may have: trials stop at different epochs, and one diverges."""
    return Training(
        partial(with_rate, 0.1 * (lane % 3)),
        Optimizer("nadam", Cosine(), lr=1e9 if lane == 3 else 3e-3 * 4**lane, clip=1.0 + lane),
        data=DIGITS, epochs=7, batch_size=32, noise=0.1 * lane,
        objective=CrossEntropy(label_smoothing=0.05 * lane),
        stop=Stop(patience=1 + lane % 2, restore=True),
        probes=(EffectiveRate(), RecordTo("valid_accuracy", 0.3, "steps_to_third")),
    )  # fmt: skip


def wide(lane: int) -> Training:
    """Large enough for torch's own kernel of Adam, which is called for equal numbers together."""
    return Training(
        partial(MLP, (64, 64, 10)), Optimizer("adam", lr=1e-3 * (1 + lane % 2), weight_decay=1e-4),
        data=Data("digits", train=160, draw=lane), epochs=3, batch_size=32,
    )  # fmt: skip


def point(lane: int) -> Training:
    return Training(
        partial(Descent, "valley"), Optimizer("momentum", lr=0.02 * (1 + lane)), steps=40,
        every=3, probes=(Position(), StepsTo(0.5)),
    )  # fmt: skip


def images(lane: int) -> Training:
    return Training(
        partial(conv, norm=True, drop=True), Optimizer("muon", lr=0.01 * (1 + lane)), data=DIGITS,
        epochs=2, batch_size=32, augment=Augment(shift=1.0, turn=2.0 * lane),
    )  # fmt: skip


def bars(lane: int) -> Training:
    """Read in buckets, one at an update, at widths that differ."""
    build = partial(Recurrent, "vanilla", 8, outputs=8, every_step=True, ragged=True)
    return Training(
        partial(build, hidden=8 + lane % 3), Optimizer("nesterov", lr=0.05, momentum=0.8),
        data=Data("jsb_chorales"), epochs=2, objective=Bernoulli(), batch_size=1, buckets=3,
        pad_to=partial(build, hidden=32), stop=Stop(patience=1 + lane, restore=True),
    )  # fmt: skip


def kernels(lane: int) -> Training:
    return Training(Kernel, Optimizer("sgd", lr=0.1), data=DIGITS, epochs=2, batch_size=32)


def theirs(lane: int) -> Training:
    """Stepped by an optimizer of torch's, a trial each."""
    return Training(
        partial(with_rate, 0.1 * lane), Optimizer(torch.optim.RAdam, Cosine(), lr=3e-3 * 4**lane),
        data=DIGITS, epochs=4, batch_size=32, stop=Stop(patience=1 + lane % 2),
    )  # fmt: skip


def noisy(lane: int) -> Training:
    """Of one's own, which draws random numbers."""
    return Training(
        partial(MLP, (64, 10)), Optimizer(Noisy, lr=0.05 * (1 + lane), clip=1.0), data=DIGITS,
        epochs=3, batch_size=32,
    )  # fmt: skip


KINDS = {one.__name__: one for one in (stopped, wide, point, images, bars, kernels, theirs, noisy)}
KINDS |= STAGED | SOLVED | CURVED | {"beside": beside}


@contextlib.contextmanager
def chorales() -> Iterator[Splits]:
    with pytest.MonkeyPatch.context() as patch:
        yield rolls.__wrapped__(patch)


@contextlib.contextmanager
def data_of(kind: str) -> Iterator[None]:
    with chorales() if kind == "bars" else contextlib.nullcontext():
        yield


def key(lane: int) -> str:
    return f"k{lane}"


def fly(
    kind: str, lanes: Sequence[int], folder: Path, at: int | None = None, device: str = "cpu",
    **given: Any,
) -> list[Outcome] | None:  # fmt: skip
    """Train to the end, or up to an update, at which the run ends: None."""
    looks = itertools.count()
    keys = tuple(key(lane) for lane in lanes)
    flight = Flight(folder, "pack", keys, device, over=lambda: next(looks) == at, **given)
    try:
        return train_pack([KINDS[kind](lane) for lane in lanes], list(lanes), device, flight)
    except Landed:
        return None


@pytest.mark.parametrize("kind", KINDS)
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(draw=st.data())
def test_it_goes_on_bitwise(kind: str, tmp_path_factory, draw: st.DataObject) -> None:
    """However often it is interrupted, and with those of its trials that are wanted still."""
    folder = tmp_path_factory.mktemp("flight")
    most = 1 if kind == "kernels" else 6
    lanes = draw.draw(st.lists(st.integers(0, 5), min_size=1, max_size=most, unique=True))
    with data_of(kind):
        expected = dict(zip(lanes, fly(kind, lanes, folder) or (), strict=True))
        for _ in range(draw.draw(st.integers(1, 3))):
            found = fly(kind, lanes, folder, draw.draw(st.integers(0, 20)))
            if found is not None:
                break
            lanes = draw.draw(st.lists(st.sampled_from(lanes), min_size=1, unique=True))
        source = folder / f"pack{saved.SUFFIX}"
        found = found or fly(kind, lanes, folder, source=source)
    assert found and len(found) == len(lanes)
    for lane, outcome in zip(lanes, found, strict=True):
        assert same(outcome, expected[lane]), lane


def differences(a: Any, b: Any, where: str, seen: set[int], found: list[str]) -> None:
    """Whatever differs within two values, and how it is reached."""
    if id(a) in seen or where in PASSING or where.rpartition(".")[2] in PASSING:
        return
    seen.add(id(a))
    if isinstance(a, Tensor):
        alike = isinstance(b, Tensor) and a.shape == b.shape
        if not alike or not torch.equal(a.nan_to_num(7), b.nan_to_num(7)):
            found.append(where)
    elif type(a) is not type(b):
        found.append(where)
    elif isinstance(a, dict):
        if a.keys() - PASSING != b.keys() - PASSING:
            found.append(where)
        for name in a.keys() & b.keys():
            differences(a[name], b[name], f"{where}.{name}", seen, found)
    elif isinstance(a, list | tuple):
        if len(a) != len(b):
            found.append(where)
        for one, other in zip(a, b, strict=False):
            differences(one, other, f"{where}[]", seen, found)
    elif type(a).__module__.startswith("harness.engine") and not isinstance(a, Training):
        differences(vars(a), vars(b), where, seen, found)
    elif isinstance(a, bool | int | float | str | set | frozenset) and a != b and a == a:
        found.append(where)


# What an update makes anew from the rest before it is read, or what only saves time.
PASSING = {
    "grads", "parts", "_free", "_held", "_grads", "_slopes", "_alike", "_calls", "_gradients", "_moves", "_batch", "_pool", "_traced", "_flops",
    "masks", "most_bytes", "_epoch", "_indices", "_steps", "steps", "chosen", "_scored", "_given",
    "pack.noise.step", "pack.sides[].noise.step", "_buffers", "_trained", "_modes", "modules", "module", "skipped", "calls",
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_a_pack_holds_is_forgotten(kind: str, tmp_path: Path) -> None:
    """What can be reached from one that went on is what can be reached from one that was never
    stopped: a new attribute that is not saved shows here."""
    lanes = [0] if kind == "kernels" else [0, 1, 2, 4, 5]
    trainings = [KINDS[kind](lane) for lane in lanes]
    with data_of(kind), arithmetic("float32"):
        updates = trainings[0].updates
        for at in (0, 1, updates // 2, updates - 1):
            seen: list[PackInFlight] = []

            def look(step: int, of: int, state: Any, pack: Any = seen, at: int = at) -> None:
                if step == at:
                    pack.append(state.__self__)
                    raise Landed

            packs = []
            for again in range(2):
                pack = PackInFlight(trainings, lanes, "cpu")
                if again:
                    tree, tensors = frozen(packs[0].state())
                    numbers = bytearray(b"".join(flights._bytes(t) for t in tensors))
                    pack.restore(thawed(json.loads(json.dumps(tree)), numbers, "cpu"))
                else:
                    with (
                        contextlib.suppress(Landed),
                        mock.patch.object(Flight, "look", staticmethod(look)),
                    ):
                        pack.run(Flight(tmp_path, "pack", tuple(map(key, lanes)), "cpu"))
                packs.append(pack)
            if not seen:  # all its trials have ended before
                continue
            found: list[str] = []
            differences(vars(packs[0]), vars(packs[1]), "pack", set(), found)
            assert found == [], at


def test_it_goes_on_in_another_process(tmp_path: Path) -> None:
    lanes = [0, 1, 3, 5]
    expected = fly("stopped", lanes, tmp_path)
    assert fly("stopped", lanes, tmp_path, at=13) is None
    code = (
        "import dataclasses, json, sys, torch; torch.set_num_threads(1); from pathlib import Path\n"
        "from tests.engine import test_flight as t\n"
        f"found = t.fly('stopped', {lanes}, Path(sys.argv[1]))\n"
        "print(json.dumps([dataclasses.asdict(one) for one in found]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    found = [Outcome(**one) for one in json.loads(done.stdout.splitlines()[-1])]
    assert expected
    assert all(map(same, found, expected))


def test_a_pack_that_has_ended_is_not_trained_again(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(flights, "EVERY", 0.0)
    expected = fly("point", [0, 1, 2], tmp_path)
    monkeypatch.setattr(PackInFlight, "run", None)
    found = fly("point", [0, 1, 2], tmp_path)
    assert expected
    assert found
    assert all(map(same, found, expected))


def test_a_pack_of_another_structure_trains_anew_and_other_faults_are_not_hidden(
    tmp_path: Path, monkeypatch
) -> None:
    expected = fly("point", [0, 1], tmp_path / "none")
    assert fly("point", [0, 1], tmp_path, at=7) is None
    other = dataclasses.replace(wide(0), epochs=2)
    monkeypatch.setitem(KINDS, "other", lambda lane: other)
    assert fly("other", [0, 1], tmp_path)
    assert fly("point", [0, 1], tmp_path, at=7) is None
    restore = mock.Mock(side_effect=KeyError("each"))
    with mock.patch.object(PackInFlight, "restore", restore), pytest.raises(KeyError):
        fly("point", [0, 1], tmp_path)
    found = fly("point", [0, 1], tmp_path)
    assert expected
    assert found
    assert all(map(same, found, expected))


def test_saves_come_after_a_while_and_the_longer_they_take_the_fewer(
    tmp_path: Path, monkeypatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(flights.time, "monotonic", lambda: clock[0])
    written = []

    def write(*_: Any) -> None:
        written.append(clock[0])
        clock[0] += 6.0  # what a save takes

    monkeypatch.setattr(flights.saved, "write", write)
    flight = Flight(tmp_path, "pack", ("a",), "cpu")
    for step in range(2000):
        flight.look(step, 2000, lambda: {"each": {}})
        clock[0] += 1.0
    assert written[0] == flights.EVERY
    assert len(written) * 6.0 < 0.02 * clock[0]


def test_a_full_disk_costs_the_save_and_no_more(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(flights, "EVERY", 0.0)
    expected = fly("point", [0, 1], tmp_path / "none")
    assert expected
    assert expected[0].status == "finished"
    monkeypatch.setattr(saved.durable, "write", mock.Mock(side_effect=OSError("full")))
    assert fly("point", [0, 1], tmp_path)
    assert not [*tmp_path.glob("*.flight")]


def test_what_keeps_something_in_python_is_not_saved(tmp_path: Path) -> None:
    one = Training(Counting, Optimizer("sgd", lr=0.1), data=DIGITS, epochs=2, batch_size=32)
    with mock.patch.dict(KINDS, {"counting": lambda lane: one}):
        assert fly("counting", [0], tmp_path, at=4) is None
        assert not [*tmp_path.glob("*")]


class Secretive(torch.optim.SGD):
    """Keeps beside its state how often it has stepped."""

    count = 0

    def step(self, closure=None):
        self.count += 1
        return super().step(closure)


def test_an_optimizer_that_keeps_something_beside_its_state_is_not_saved(tmp_path: Path) -> None:
    one = Training(
        partial(MLP, (64, 10)), Optimizer(Secretive, lr=0.1), data=DIGITS, epochs=2, batch_size=32
    )
    with mock.patch.dict(KINDS, {"secretive": lambda lane: one}):
        assert fly("secretive", [0, 1], tmp_path, at=4) is None
        assert not [*tmp_path.glob("*")]


# --- files ---------------------------------------------------------------------------------------

TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple)
    | st.dictionaries(st.text(max_size=2) | st.integers(), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@given(TREES)
def test_a_tree_comes_back(tree: object) -> None:
    told, tensors = frozen(tree)
    assert thawed(json.loads(json.dumps(told)), bytearray(), "cpu") == tree
    assert tensors == []


@pytest.mark.parametrize(
    "dtype",
    [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.complex64],
)
def test_tensors_come_back_and_what_was_one_is_one(dtype: torch.dtype) -> None:
    one, none, odd = torch.arange(6).view(2, 3).to(dtype), torch.zeros(0, 3), torch.tensor([True])
    tree = {"odd": odd, "a": (one, none), "b": [one], "t": one.t(), "few": one[0, 0]}
    told, tensors = frozen(tree)
    numbers = bytearray(b"".join(flights._bytes(t) for t in tensors))
    found = thawed(json.loads(json.dumps(told)), numbers, "cpu")
    assert found["a"][0] is found["b"][0]
    for a, b in ((found["a"][0], one), (found["t"], one.t()), (found["few"], one[0, 0])):
        assert a.dtype == dtype
        assert torch.equal(a, b)
    assert found["a"][1].shape == (0, 3)


def test_what_has_no_form_is_refused() -> None:
    with pytest.raises(TypeError, match="a Splits cannot be saved"):
        frozen({"a": [Splits(*[(torch.zeros(1),) * 2] * 3)]})


@settings(max_examples=60, deadline=None)
@given(draw=st.data())
def test_a_damaged_file_is_refused_and_its_trials_train_anew(tmp_path_factory, draw) -> None:
    folder = tmp_path_factory.mktemp("flight")
    assert fly("point", [0, 1], folder, at=7) is None
    path = folder / f"pack{saved.SUFFIX}"
    whole = path.read_bytes()
    at = int(draw.draw(st.floats(0, 1, exclude_max=True)) * len(whole))
    content = whole[:at]
    if draw.draw(st.booleans()):
        content += bytes([whole[at] ^ draw.draw(st.integers(1, 255))]) + whole[at + 1 :]
    path.write_bytes(content)
    ((_, said),) = saved.found(folder)
    if isinstance(said, Saved):  # what was changed says nothing
        assert said.step == 7
    expected = fly("point", [0, 1], folder / "none")
    found = fly("point", [0, 1], folder)
    assert expected
    assert found
    assert all(map(same, found, expected))


def test_what_other_code_made_is_refused(tmp_path: Path, monkeypatch) -> None:
    assert fly("point", [0, 1], tmp_path, at=7) is None
    ((_, said),) = saved.found(tmp_path)
    assert isinstance(said, Saved)
    assert (said.keys, said.device, said.step, said.updates) == (("k0", "k1"), "cpu", 7, 40)
    assert said.left == pytest.approx(33 / 40)
    monkeypatch.setattr(saved, "code", lambda: "other")
    ((_, said),) = saved.found(tmp_path)
    assert isinstance(said, Refused)
    assert str(said) == "pack.flight was made by other code"
    flight = Flight(tmp_path, "pack", ("k0", "k1"), "cpu")
    assert flight.earlier() is None


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    """A file may come from elsewhere: names in it are looked up as types of numbers only."""
    assert fly("point", [0, 1], tmp_path, at=7) is None
    path = tmp_path / f"pack{saved.SUFFIX}"
    with zipfile.ZipFile(path) as archive:
        about, numbers = json.loads(archive.read("about")), archive.read("numbers")
    text = json.dumps(about).replace('"float32"', '"load"')
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("about", text)
        archive.writestr("numbers", numbers)
    assert Flight(tmp_path, "pack", ("k0", "k1"), "cpu").earlier() is None


# --- a GPU ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["simulated", "cuda"])
@pytest.mark.parametrize("at", [1, 3, 9])
def test_it_goes_on_on_a_gpu(tmp_path: Path, monkeypatch, device: str, at: int) -> None:
    """A graph that is captured anew works on the tensors that were filled."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    lanes, name = [0, 1, 2], simulated.NAME if device == "simulated" else device
    monkeypatch.setitem(EVAL_ROWS, simulated.NAME, EVAL_ROWS["cuda"])
    with simulated.gpu() if device == "simulated" else contextlib.nullcontext():
        expected = fly("stopped", lanes, tmp_path / "none", device=name)
        assert fly("stopped", lanes, tmp_path, at, name) is None
        found = fly("stopped", lanes, tmp_path, device=name)
        assert simulated.Graph.replays or device == "cuda"
    assert expected
    assert found
    assert all(map(same, found, expected))
