"""Packs on a GPU: a real one, and one that is simulated on the CPU (`simulated.py`).

What the simulated one shows: nothing on the way of an update lies on the host or is read there,
and a graph that is replayed trains as the code that it was captured from. What it cannot show:
a GPU's own arithmetic, speed and memory, which only the tests on a real one see.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.engine import attempt
from harness.engine.outcome import Outcome
from harness.engine.pack import PackInFlight, train
from harness.engine.training import Stop, Training
from harness.parts.data import Data, Splits
from harness.parts.data.augment import Augment
from harness.parts.models import Descent, Recurrent
from harness.parts.objectives import Bernoulli, CrossEntropy, Loss
from harness.parts.optimizers import RULES, Optimizer
from harness.parts.probes.moment import EVAL_ROWS
from harness.parts.schedules import Cosine
from harness.plan.declared import Declarations
from harness.plan.packing import Packer
from harness.plan.plan import Plan
from tests import simulated
from tests.engine.test_beside import KINDS as BESIDE
from tests.engine.test_buckets import chorales  # noqa: F401 - a fixture
from tests.engine.test_curvature import KINDS as CURVED
from tests.engine.test_fusing import MODELS, PROBES, Drawing, Opaque, make, padded, same, stopping
from tests.engine.test_solving import KINDS as SOLVED
from tests.engine.test_stages import KINDS as STAGED
from tests.parts.test_objectives import Two, both, hits
from tests.parts.test_own_optimizers import Noisy
from tests.test_studies import STUDIES, at_hand, few, loaded, source

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclasses.dataclass(frozen=True)
class Device:
    """Where to train, and how near the CPU's rows its own must be."""

    name: str
    near: float

    def train(self, trainings: Sequence[Training], seeds: Sequence[int]) -> list[Outcome]:
        with self.there():
            return train(trainings, seeds, self.name)

    def there(self) -> contextlib.AbstractContextManager[Any]:
        return simulated.gpu() if self.simulated else contextlib.nullcontext()

    @property
    def simulated(self) -> bool:
        return self.name == simulated.NAME

    def check(self, trainings: Sequence[Training], seeds: Sequence[int] | None = None) -> None:
        """Rows are those of the CPU, and on a real device the same once more."""
        seeds = seeds or range(len(trainings))
        host, first = train(trainings, seeds), self.train(trainings, seeds)
        if not self.simulated:
            again = self.train(trainings, seeds)
            for a, b in zip(first, again, strict=True):
                unlike = {m for m in a.metrics if not np.array_equal(
                    a.metrics[m], b.metrics[m], equal_nan=True)}  # fmt: skip
                assert not unlike
                assert same(a, b)
        for a, b in zip(first, host, strict=True):
            assert (a.status, a.metrics.keys()) == (b.status, b.metrics.keys())
            assert a.steps == b.steps or not self.simulated
            for name, column in b.metrics.items():
                if self.simulated or name == "valid_loss":
                    assert a.metrics[name] == pytest.approx(
                        column, rel=self.near, abs=self.near, nan_ok=True
                    ), name


@pytest.fixture(params=["simulated", "cuda"])
def device(request, monkeypatch) -> Device:
    if request.param == "simulated":
        monkeypatch.setitem(EVAL_ROWS, simulated.NAME, EVAL_ROWS["cuda"])
        return Device(simulated.NAME, 1e-4)
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return Device("cuda", 1e-2)


@pytest.mark.parametrize("name", MODELS)
def test_models(device: Device, name: str) -> None:
    # torch has another way for tensors of such classes to be differentiated through GroupNorm twice,
    # which fails; a device that is there does not take it
    probes = () if device.simulated and name == "groupnorm" else PROBES
    epochs = 1 if device.simulated else 2  # each operation is Python there, and long
    device.check([make(MODELS[name], lr, probes=probes, epochs=epochs) for lr in (0.02, 0.05)])
    assert simulated.Graph.replays or not device.simulated


@pytest.mark.parametrize("name", MODELS)
def test_other_packings(device: Device, name: str) -> None:
    """On a GPU they need not be the same to the bit, but within the tolerance that is stated."""
    if device.simulated:
        pytest.skip("of a real GPU's arithmetic")
    trainings = [make(MODELS[name], lr) for lr in (0.02, 0.05, 0.1)]
    three, two = device.train(trainings, range(3)), device.train(trainings[:2], range(2))
    for a, b in zip(three, two, strict=False):
        assert a.metrics["valid_loss"] == pytest.approx(b.metrics["valid_loss"], rel=1e-3)


MORE = {**STAGED, **SOLVED, **CURVED, **BESIDE}
ALONG = [rule for rule in RULES if not (RULES[rule].asks or RULES[rule].of_outputs)]


@pytest.mark.parametrize("rule", ALONG)
def test_rules(device: Device, rule: str) -> None:
    """Every rule, with what may be added to each and a schedule."""
    extras = {"weight_decay": 1e-3, "l1": 1e-4, "clip": 0.5, "max_norm": 1.0}
    optimizers = [Optimizer(rule, Cosine(), lr=lr, **extras) for lr in (0.001, 0.002)]
    device.check([make(MODELS["conv"], optimizer=optimizer) for optimizer in optimizers])
    device.check(
        [Training(partial(Descent, "valley"), Optimizer(rule, lr=lr), steps=30, every=10)
         for lr in (1e-3, 2e-3)]
    )  # fmt: skip


@pytest.mark.parametrize("rule", [torch.optim.RAdam, torch.optim.SGD, Noisy])
def test_optimizers_of_ones_own(device: Device, rule: Any) -> None:
    """A graph of their steps would hold numbers of one step, so there is none."""
    if device.simulated and rule is Noisy:
        pytest.skip("a simulated tensor's data cannot be put in another's place")
    optimizers = [Optimizer(rule, Cosine(), lr=lr, clip=0.5) for lr in (0.01, 0.02)]
    device.check([make(MODELS["conv"], optimizer=optimizer) for optimizer in optimizers])


def test_a_loss_of_ones_own(device: Device) -> None:
    device.check([make(partial(Two, 64), lr, objective=Loss(both, hits)) for lr in (0.02, 0.05)])


@pytest.mark.parametrize("kind", MORE)
def test_more_than_a_gradient_of_one_loss(device: Device, kind: str, monkeypatch) -> None:
    # what is drawn in scoring depends on how many examples are scored at once
    monkeypatch.setitem(EVAL_ROWS, device.name.split(":")[0], EVAL_ROWS["cpu"])
    device.check([MORE[kind](lane) for lane in (0, 2, 1)])


def test_numbers_that_differ(device: Device) -> None:
    device.check([
        make(MODELS["conv"], noise=noise, objective=CrossEntropy(smoothing), data=digits,
             augment=Augment(shift=shift, turn=10 * shift))
        for noise, smoothing, shift, digits in (
            (0.0, 0.0, 0.0, Data("digits", train=160, draw=0)),
            (0.3, 0.1, 1.0, Data("digits", train=160, draw=1)),
        )
    ])  # fmt: skip


@pytest.mark.parametrize("pays", [0.0, math.inf], ids=["compacted", "never compacted"])
def test_trials_that_stop(device: Device, monkeypatch, pays: float) -> None:
    monkeypatch.setattr("harness.engine.pack.PAYS", pays)
    device.check(
        [
            stopping(1, 1.0),
            stopping(math.inf),
            stopping(2, 0.8),
            stopping(3, 0.5),
            stopping(1, 1e30),
        ]
    )
    best = [Stop("valid_loss", patience, restore=True) for patience in (1, 2, math.inf)]
    device.check([make(MODELS["batchnorm"], 0.5, epochs=8, stop=stop) for stop in best])


def test_widths(device: Device) -> None:
    device.check([padded(width, 8) for width in (3, 5, 8)])


def test_sequences_in_buckets(device: Device, chorales: Splits, monkeypatch) -> None:  # noqa: F811
    def there(_: Data, where: str = "cpu", sealed: bool = False) -> Splits:
        return Splits(*(tuple(part.to(where) for part in split) for split in
                        (chorales.train, chorales.valid, chorales.test)))  # fmt: skip

    monkeypatch.setattr("harness.parts.data.load", there)
    one = Training(
        partial(Recurrent, "vanilla", 8, 5, 8, every_step=True, ragged=True),
        Optimizer("nesterov", lr=0.05, momentum=0.8), data=Data("jsb_chorales"), epochs=3,
        objective=Bernoulli(), batch_size=1, buckets=3,
    )  # fmt: skip
    device.check([one] * 3)


@pytest.mark.parametrize("model", [Opaque, Drawing])
def test_what_cannot_fuse(device: Device, model: Any) -> None:
    """A graph would draw the same random numbers at every update, so there is none of its
    gradient."""
    device.check([make(model)] * 2)


def _draws(probe: Any) -> bool:
    """Whether a probe keeps a picture."""
    return type(probe).__name__ in ("Field", "Pairs")


@pytest.mark.parametrize("name", [name for name in STUDIES if name != "nas"])
def test_studies(device: Device, name: str, monkeypatch) -> None:
    """A pack of each study, of the smoke scale, as it is confirmed."""
    study = loaded(name)
    with at_hand():
        plan, packer = Plan(study, source(name), "smoke"), Packer(Declarations(study))
        groups = [group.trials[:2] for group in packer.pack(plan.ready())]
    groups = [trials for trials in groups if isinstance(study.trial(trials[0]), Training)]
    middle = groups[len(groups) // 2]
    confirmed = [dataclasses.replace(trial, phase="confirm") for trial in middle]
    if name == "adversarial":
        device = dataclasses.replace(device, near=3e-3)  # an image more or less of a thousand
    if name in ("adversarial", "gan", "pretraining"):
        # what is drawn in scoring depends on how many examples are scored at once
        monkeypatch.setitem(EVAL_ROWS, device.name.split(":")[0], EVAL_ROWS["cpu"])
    trainings = [study.trial(trial) for trial in confirmed]
    trainings = [  # a grey level more or less is another number altogether
        dataclasses.replace(one, probes=tuple(p for p in one.probes if not _draws(p)))
        for one in trainings
    ]
    if name == "optimizers" and trainings[0].data:
        # after a few updates 1/√v of gradients that are nearly zero makes much of the last bits
        trainings = [dataclasses.replace(one, every=None) for one in trainings]
    if name in ("adversarial", "depth_and_width") and trainings[0].steps:
        # signs of slopes, and Adam at high rates, make much of the last bits later on
        trainings = [dataclasses.replace(one, steps=5, every=None) for one in trainings]
    if name in ("residual", "vision_lineage"):  # many layers do so sooner
        trainings = [dataclasses.replace(one, steps=2, every=None) for one in trainings]
        device = dataclasses.replace(device, near=1e-3)
    if "rmsprop" not in repr(trainings[0].optimizer):
        with few():
            device.check(trainings)  # rmsprop's first steps make much of the last bits


def test_an_update_waits_for_nothing() -> None:
    """The host runs ahead of the GPU; whatever reads a value or brings one over holds it up."""
    everything = make(
        MODELS["channel dropout"], batch_size=16, noise=0.1, augment=Augment(shift=1, turn=5),
        objective=CrossEntropy(0.1), optimizer=Optimizer("adam", Cosine(), lr=0.01, clip=1.0),
    )  # fmt: skip
    with simulated.gpu() as device:
        pack = PackInFlight([everything] * 2, [0, 1], device)
        for step in range(5):
            pack.update(step)
        before = simulated.Graph.waits
        for step in range(5, everything.epoch):
            pack.update(step)
        assert simulated.Graph.waits == before
        assert simulated.Graph.replays


def test_a_pack_that_has_ended_leaves_nothing_behind() -> None:
    """Its memory is not to wait for Python to look for cycles."""
    gone = []
    gc.disable()
    try:
        with simulated.gpu() as device, pytest.MonkeyPatch.context() as patch:
            patch.setitem(EVAL_ROWS, simulated.NAME, 2048)
            patch.setattr(
                PackInFlight, "__del__", lambda pack: gone.append(pack.size), raising=False
            )
            train([make(MODELS["layernorm"])] * 3, [0, 1, 2], device)
            assert gone == [3]
    finally:
        gc.enable()


def test_a_gpu_that_is_lost_ends_the_worker_and_blames_no_trial(monkeypatch) -> None:
    """After an index out of bounds every CUDA call of a process fails; another process tries."""
    study = loaded("optimizers")
    trials = Plan(study, source("optimizers"), "smoke").ready()[:2]

    def broken(*_: Any) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(attempt, "train_pack", broken)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    outcomes = attempt.run_pack(
        study, trials, "cuda"
    )  # it can still be used: the trials' own fault
    assert [outcome.status for outcome in outcomes] == ["failed", "failed"]
    monkeypatch.setattr(torch.cuda, "synchronize", broken)
    with pytest.raises(RuntimeError, match="device-side assert"):
        attempt.run_pack(study, trials, "cuda")


# --- the simulation ------------------------------------------------------------------------------


@pytest.fixture
def on() -> Iterator[str]:
    with simulated.gpu() as name:
        yield name


def test_host_and_device_do_not_meet(on: str) -> None:
    here, there = torch.ones(3), torch.ones(3, device=on)
    assert there.device.type == on
    assert (there + torch.tensor(1.0)).device.type == on  # a lone number may
    for meet in (lambda: here + there, lambda: there @ here, lambda: torch.stack([here, there])):
        with pytest.raises(RuntimeError, match="of tensors on the device and the CPU"):
            meet()
    assert there.cpu().equal(here)
    assert torch.tensor([1.0], device=on).to("cpu").item() == 1


def test_a_graph_knows_memory_and_not_python(on: str) -> None:
    x, y, factor = torch.ones(3, device=on), torch.zeros(3, device=on), 2.0

    def step() -> None:
        y.add_(x * factor)

    graph = simulated.Graph()
    with simulated.capture(graph):
        step()
    assert not y.cpu().any()  # it has only been captured
    graph.replay()
    assert y.cpu().tolist() == [2.0] * 3
    factor = 100.0  # which Python would see, and a graph does not
    x.fill_(5.0)
    graph.replay()
    assert y.cpu().tolist() == [12.0] * 3


@pytest.mark.parametrize(
    "reads",
    [
        lambda x: x.sum().item(),
        lambda x: x.nonzero(),
        lambda x: x.cpu(),
        lambda x: x + torch.tensor(1.0, device=x.device),
        lambda x: bool((x > 0).all()),
    ],
)
def test_a_graph_reads_nothing(on: str, reads: Any) -> None:
    x: Tensor = torch.ones(3, device=on)
    graph, refused = (
        simulated.Graph(),
        pytest.raises(RuntimeError, match="while a graph is captured"),
    )
    with refused, simulated.capture(graph):
        reads(x)
