"""What trains fused is what the author wrote: every kind of module beside a plain PyTorch loop."""

from __future__ import annotations

import dataclasses
import gc
import random
import time
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import harness
from benchmarks import vouch
from benchmarks.kinds import KINDS, Base
from harness import Data, Optimizer, Training
from harness.engine import authored, vouching
from harness.engine.building import build, structure
from harness.engine.outcome import Outcome
from harness.engine.pack import PackInFlight, train_pack
from harness.engine.structure import told
from harness.parts.models import networks
from harness.parts.objectives import CrossEntropy
from tests.grown import Grown

pytestmark = pytest.mark.usefixtures("one_thread")
LONG = settings.get_current_profile_name() == "long"


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(vouch, "EPOCHS", 2)


def test_there_are_enough_kinds() -> None:
    assert len(KINDS) >= 60
    assert sum(not fused for _, fused in KINDS.values()) >= 20


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_of_module_trains_as_written(name: str) -> None:
    model, fused = KINDS[name]
    found = vouch.tried(model)
    assert found.right, found
    assert fused == (not found.why), found.why


@pytest.mark.parametrize("block", range(5))
def test_modules_drawn_from_a_grammar_train_as_written(block: int, monkeypatch) -> None:
    """Sixty of them; thousands with the long profile."""
    monkeypatch.setattr(vouch, "RATES", (0.02, 0.05))
    for seed in range(block, 4000 if LONG else 60, 5):
        found = vouch.tried(partial(Grown, seed))
        assert found.right, (seed, Grown(seed).program, Grown(seed).after, found)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), others=st.lists(st.integers(0, 3), min_size=1, max_size=3))
def test_a_drawn_module_has_the_same_rows_in_any_pack(seed: int, others: list[int]) -> None:
    one = vouch.declared(partial(Grown, seed), 0.03)
    (alone,) = harness.train([one], [5], device="cpu")
    together = harness.train([one] * (1 + len(others)), [5, *others], device="cpu")
    assert together[0].metrics == alone.metrics


# --- each promise by itself ----------------------------------------------------------------------


def why(model: type[nn.Module]) -> str:
    return vouch.declared(model, 0.05).why_alone()


def test_what_is_not_batched_is_named() -> None:
    class Counts(Base):
        def forward(self, x):
            return super().forward(x) + torch.histc(x, 10)

    assert why(Counts) == "its model cannot be fused (aten::histc cannot be batched)"


def outcome(model, **changes) -> Outcome:
    training = dataclasses.replace(vouch.declared(model, 0.05), **changes)
    return harness.train([training], [1], device="cpu")[0]


def test_frozen_layers_stay_as_they_are() -> None:
    frozen = KINDS["a layer that is frozen"][0]
    pack = PackInFlight([vouch.declared(frozen, 0.1)] * 2, [0, 1], "cpu")
    before = {name: b.clone() for name, b in pack.each.buffers.items()}
    assert {"a.weight", "a.bias"} <= before.keys()
    for step in range(5):
        pack.update(step)
    assert all(torch.equal(pack.each.buffers[name], b) for name, b in before.items())
    assert outcome(frozen).metrics != outcome(Base).metrics


def test_tied_weights_are_one_parameter() -> None:
    pack = PackInFlight(
        [vouch.declared(KINDS["two layers with one weight"][0], 0.1)] * 2, [0, 1], "cpu"
    )
    assert {"a.weight", "a.bias", "c.bias", "b.weight", "b.bias"} == pack.trained.keys()


def test_a_module_with_nothing_to_train_is_refused() -> None:
    def still() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 10).requires_grad_(False))

    with pytest.raises(ValueError, match="Sequential has no parameter that is trained"):
        outcome(still)


def test_a_parameter_that_nothing_uses_does_not_decay() -> None:
    pack = PackInFlight(
        [vouch.declared(KINDS["a parameter that nothing uses"][0], 0.1)] * 2, [0, 1], "cpu"
    )
    assert not any(name.startswith("spare") for name in pack.trained)


class Scaled(Base):
    """Closes over a number that no `repr` shows."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.act = lambda h: torch.tanh(scale * h)

    def forward(self, x):
        return self.b(self.act(self.a(x)))


def test_what_a_function_closes_over_tells_modules_apart() -> None:
    one, other = partial(Scaled, 1.0), partial(Scaled, 3.0)
    assert structure(one) != structure(other)
    assert structure(one) == structure(partial(Scaled, 1.0))
    together = harness.train(
        [vouch.declared(one, 0.05), vouch.declared(other, 0.05)], [1, 1], device="cpu"
    )
    assert together[1].metrics == outcome(other).metrics != together[0].metrics


def test_a_trial_whose_module_differs_in_python_leaves_the_pack() -> None:
    """By chance the two seeds on which a structure is tried were alike."""

    class Sometimes(Base):
        def __init__(self) -> None:
            super().__init__()
            self.sign = -1.0 if self.a.weight[0, 2] > 0.1 else 1.0

        def forward(self, x):
            return self.sign * super().forward(x)

    training = vouch.declared(Sometimes, 0.05)
    assert not training.why_alone()
    seeds = list(range(40))
    signs = {build(Sometimes, seed).sign for seed in seeds}
    assert signs == {-1.0, 1.0}
    together = train_pack([training] * 40, seeds)
    for seed in (0, *(s for s in seeds if build(Sometimes, s).sign < 0)):
        assert together[seed].metrics == train_pack([training], [seed])[0].metrics


def test_generators_of_the_process_are_left_alone() -> None:
    random.seed(3)
    torch.manual_seed(3)
    expected = (random.random(), torch.rand(()))
    random.seed(3)
    torch.manual_seed(3)
    outcome(KINDS["stochastic depth"][0])
    assert (random.random(), torch.rand(())) == expected


def test_what_differs_numerically_is_found(monkeypatch) -> None:
    """A fault in the engine itself: what is fused is held to plain PyTorch, not to itself."""
    assert why(Base) == ""
    real = vouching.Program.loss

    def wrong(self, *args):
        return real(self, *args) * 1.01

    monkeypatch.setattr(vouching.Program, "loss", wrong)
    found = vouching.vouch(
        Base, CrossEntropy(), tuple(p[:96] for p in harness.parts.data.load(vouch.DATA).train), 16
    )
    assert found.why == "fused, its loss would not be what plain PyTorch makes it"


def test_trainings_of_several_kinds_are_trained_in_one_call() -> None:
    digits = Data("digits", 60)
    trainings = [
        Training(model, Optimizer("sgd", lr=0.1), data=digits, batch_size=20, epochs=1)
        for model in (Base, KINDS["torch's GRU"][0], Base)
    ]
    found = harness.train(trainings, [1, 2, 3])
    assert [one.status for one in found] == ["finished"] * 3
    assert found[2].metrics == harness.train([trainings[2]], [3])[0].metrics
    with pytest.raises(ValueError, match="3 trainings and 1 seeds; allowed: as many"):
        harness.train(trainings, [1])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True), (1, 1.0), ([1], (1,)), ({"a": 1}, {"a": 2}), (torch.ones(2), torch.zeros(2)),
        (torch.zeros(2000), torch.cat([torch.zeros(1000), torch.ones(1), torch.zeros(999)])),
        (random.Random(1), random.Random(2)), (lambda x: x + 1, lambda x: x + 2),
    ],
)  # fmt: skip
def test_values_that_differ_are_told_apart(one, other) -> None:
    assert told(one) == told(one)
    assert told(one) != told(other)


def test_values_are_told_without_their_place_in_memory() -> None:
    class Thing:
        def __init__(self, value: int) -> None:
            self.value = value

    assert told(Thing(1)) == told(Thing(1)) != told(Thing(2))
    assert told(object()) == told(object())


# --- remembered ----------------------------------------------------------------------------------

OWN = """
import torch
from torch import Tensor, nn

LIMIT = {limit}

def helped(h):
    return {helped}

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(64, 10)

    def forward(self, x):
        return helped(self.a(x)) * LIMIT
"""


def test_what_was_found_is_kept_until_any_code_changes(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(vouching, "_folder", lambda: tmp_path / "vouched")
    tried = []
    real = vouching.vouch
    monkeypatch.setattr(vouching, "vouch", lambda *a: tried.append(1) or real(*a))

    def found(**parts: str) -> str:
        vouching._FOUND.clear()
        namespace = {"__name__": "mine"}
        exec(compile(OWN.format(**parts), str(tmp_path / "mine.py"), "exec"), namespace)
        return vouch.declared(namespace["Net"], 0.1).why_alone()

    plain = {"limit": "2", "helped": "torch.tanh(h)"}
    assert found(**plain) == found(**plain) == ""
    assert len(tried) == 1
    (file,) = (tmp_path / "vouched").glob("*.json")
    assert found(**plain | {"limit": "3"}) == ""
    assert "draws random numbers" in found(**plain | {"helped": "h + torch.randn(10)"})
    assert len(tried) == 3
    file.write_text("[oh")
    assert found(**plain) == ""
    assert len(tried) == 4
    monkeypatch.setattr(vouching, "_engine", lambda: "another version")
    found(**plain)
    assert len(tried) == 5


def test_what_lies_in_this_package_is_no_author_s() -> None:
    assert not authored.by_author(networks.__file__)
    assert authored.by_author(__file__)


class Making(nn.Module):
    """Makes so much that garbage is looked for."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        held = [[] for _ in range(100_000)]  # type: ignore[var-annotated]
        return self.head(x) + 0 * len(held)


def test_who_asks_for_the_time_when_garbage_is_collected_is_not_the_author() -> None:
    def asks(phase: str, info: dict[str, int]) -> None:
        time.perf_counter()

    gc.callbacks.append(asks)
    try:
        assert (
            "perf_counter"
            not in Training(
                Making, Optimizer("sgd", lr=0.1), data=Data("digits"), epochs=1, batch_size=32
            ).why_alone()
        )
    finally:
        gc.callbacks.remove(asks)
