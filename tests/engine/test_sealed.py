"""Trials whose test split is sealed train as they would, and nothing of it is looked at."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from harness import Budget, Claim, Float, Metric, Study
from harness.claims import rank_correlation_above
from harness.engine import sizing
from harness.engine.attempt import run_pack
from harness.engine.flight import Flight, Landed
from harness.engine.outcome import Outcome
from harness.engine.pack import train, train_pack
from harness.engine.saved import SUFFIX
from harness.engine.training import Stop, Training, declared
from harness.parts.data import Data, Sealed, load, sets
from harness.parts.models import MLP, Descent
from harness.parts.optimizers import Optimizer
from harness.parts.probes import Best, Every, Moment, RecordTo
from harness.parts.probes.generalization import Calibration, Errors, MaskAverage, Weights
from harness.study import Trial, of_test
from tests.engine.test_flight import Kernel
from tests.engine.test_fusing import same, with_rate

pytestmark = pytest.mark.usefixtures("one_thread")
DIGITS = Data("digits", train=160)
OF_TEST = {
    "test_loss", "test_accuracy", "test_error", "error_gap", "averaged_error", "averaging_gap",
    "calibration_error", "best_test_loss", "steps_to_half_test",
}  # fmt: skip


def measured(lane: int) -> Training:
    """Every probe that reads the test split, beside some that do not; trials stop by themselves."""
    return Training(
        partial(with_rate, 0.1 * (lane % 3)), Optimizer("adam", lr=1e9 if lane == 3 else 1e-2),
        data=DIGITS, epochs=4, batch_size=32, stop=Stop(patience=1 + lane % 2, restore=True),
        probes=(
            Errors(most=50), Every(2, Weights()), Best(take=("valid_loss", "test_loss")),
            MaskAverage(masks=2), Calibration(),
            RecordTo("valid_accuracy", 0.5, "steps_to_half"),
            RecordTo("test_accuracy", 0.5, "steps_to_half_test"),
        ),
    )  # fmt: skip


def alone(lane: int) -> Training:
    """What cannot be fused."""
    return Training(
        Kernel, Optimizer("sgd", lr=0.1 * (1 + lane)), data=DIGITS, epochs=2, batch_size=32
    )


def drawn(lane: int) -> Training:
    """A random part of the training split."""
    return Training(
        partial(MLP, (64, 8, 10)), Optimizer("momentum", lr=0.05), data=Data("digits", 90, draw=lane),
        steps=9, every=4, batch_size=32, probes=(Errors(most=50),),
    )  # fmt: skip


KINDS = {"measured": measured, "alone": alone, "drawn": drawn}


def shut(training: Training) -> Training:
    return dataclasses.replace(training, sealed=True)


@pytest.mark.parametrize("kind", KINDS)
def test_all_else_is_bitwise_the_same(kind: str) -> None:
    trainings, seeds = [KINDS[kind](lane) for lane in range(4)], range(4)
    sealed = train([shut(one) for one in trainings], seeds)
    for a, b in zip(train(trainings, seeds), sealed, strict=True):
        assert (a.status, a.steps) == (b.status, b.steps)
        assert a.metrics.keys() - b.metrics.keys() == a.metrics.keys() & OF_TEST
        assert a.metrics.keys() & OF_TEST
        assert all(np.array_equal(a.metrics[m], b.metrics[m], equal_nan=True) for m in b.metrics)


def test_the_test_split_is_not_even_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sets._split

    def guarded(*place: Any) -> tuple[Tensor, Tensor]:
        if place[-1] == 2:
            raise AssertionError("the test split is loaded")
        return before(*place)

    monkeypatch.setattr(sets, "_split", guarded)
    outcomes = train([shut(measured(lane)) for lane in range(2)], range(2))
    assert [outcome.status for outcome in outcomes] == ["finished"] * 2
    with pytest.raises(AssertionError, match="is loaded"):
        train([measured(0), measured(1)], range(2))


@dataclasses.dataclass(frozen=True)
class Asking:
    """A probe of a user's that asks for the test split in one of its ways."""

    way: int
    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        assert pack.splits is not None
        rows: list[Any] = [
            lambda: pack.splits and pack.splits.test,
            lambda: pack.metrics["test_loss"],
            lambda: pack.metrics.get("test_loss"),
            lambda: "test_loss" in pack.metrics,
            lambda: [row["test_accuracy"] for _, row in [*pack.recorded, (0, pack.metrics)]],
        ]
        rows[self.way]()
        return {"asked": pack.loss}


@pytest.mark.parametrize("way", range(5))
def test_a_probe_that_asks_measures_nothing(way: int) -> None:
    trainings = [dataclasses.replace(measured(k), probes=(Asking(way), Weights())) for k in (0, 1)]
    for outcome in train(trainings, [0, 1]):
        assert len(outcome.metrics["asked"]) == len(outcome.steps)
    for outcome in train([shut(one) for one in trainings], [0, 1]):
        assert "asked" not in outcome.metrics
        assert len(outcome.metrics["weight_norm"]) == len(outcome.steps)


def test_sealed_splits_say_so() -> None:
    splits = load(DIGITS, sealed=True)
    assert torch.equal(splits.train[0], load(DIGITS).train[0])
    with pytest.raises(Sealed, match="the test split is sealed; allowed: the training and"):
        splits.test  # noqa: B018


def test_a_sealed_pack_in_flight_goes_on_bitwise(tmp_path: Path) -> None:
    trainings, seeds, keys = [shut(measured(k)) for k in range(3)], [4, 5, 6], ("a", "b", "c")
    whole, looks = train_pack(trainings, seeds), itertools.count()
    over = Flight(tmp_path, "pack", keys, "cpu", over=lambda: next(looks) == 7)
    with pytest.raises(Landed):
        train_pack(trainings, seeds, "cpu", over)
    saved_at = tmp_path / f"pack{SUFFIX}"
    on = Flight(tmp_path, "pack", keys, "cpu", over=lambda: False, source=saved_at)
    for a, b in zip(whole, train_pack(trainings, seeds, "cpu", on), strict=True):
        assert same(a, b)


# --- as a study has it ---------------------------------------------------------------------------


def study(trial: Any, **changes: Any) -> Study:
    return Study(
        question="Which?", trial=trial, arms={"a": {}}, nuisance={"lr": Float(1e-3, 1e-1)},
        select=("valid_loss",), budgets={"smoke": Budget(draws=2, seeds=5)},
        metrics={m: Metric("nats", better="low") for m in ("train_loss", "valid_loss", "test_loss")},
        **changes,
    )  # fmt: skip


def reading(phase: str) -> dict[str, Claim]:
    check = rank_correlation_above("test_loss", 0.5, column="lr", arm="a", phase=phase)
    return {"read": Claim("It is read.", "a deck", check)}


def of(phase: str, lr: float = 0.01) -> Trial:
    return Trial("s", phase, "a", 3, {}, {"lr": lr}, {"lr": lr}, f"{phase}{lr}")


def net(t: Trial) -> Training:
    return Training(
        partial(MLP, (64, 8, 10)),
        Optimizer("adam", lr=t["lr"]),
        data=DIGITS,
        epochs=2,
        batch_size=32,
    )


@pytest.mark.parametrize("unsealed", ["", "tune", "final"])
@pytest.mark.parametrize("phase", ["tune", "final", "confirm"])
def test_the_phase_and_the_claims_decide(phase: str, unsealed: str) -> None:
    one = study(net, claims=reading(unsealed) if unsealed else {})
    outcomes = run_pack(one, [of(phase), of(phase, 0.02)])
    expected = phase in ("confirm", unsealed)
    assert [("test_loss" in outcome.metrics) for outcome in outcomes] == [expected] * 2
    assert all(len(outcome.metrics["valid_loss"]) == 3 for outcome in outcomes)


def test_sealed_and_other_trials_share_no_pack_and_sealed_ones_are_forecast_to_be_cheaper() -> None:
    tune, confirm = (declared(study(net), of(phase)) for phase in ("tune", "confirm"))
    assert tune.signature() != confirm.signature()
    assert confirm.scored() - tune.scored() == len(load(DIGITS).test[0])
    assert sizing.seconds(tune)[1] < sizing.seconds(confirm)[1]


@pytest.mark.parametrize(
    ("every", "steps"),
    [(None, 10), (5, 10), (3, 10), (4, 3), ((0, 2, 7), 10), ((0, 10, 90), 10), ((3,), 10)],
)
def test_records_are_as_many_as_there_are_rows(every: Any, steps: int) -> None:
    one = dataclasses.replace(net(of("tune")), every=every, epochs=None, steps=steps)
    assert one.records == len(train([one], [0])[0].steps)


def generator(rows: list[dict[str, float]]) -> Any:
    def trial(t: Trial) -> Iterator[dict[str, float]]:
        yield from rows

    return trial


SAID = [{"valid_loss": 2.0, "test_loss": 3.0}, {"valid_loss": 1.0, "test_loss": math.inf}]


def test_what_a_generator_says_of_the_test_split_is_withheld() -> None:
    one = study(generator(SAID))
    (tune,), (confirm,) = run_pack(one, [of("tune")]), run_pack(one, [of("confirm")])
    assert tune.metrics == {"valid_loss": [2.0, 1.0]}
    assert (tune.status, tune.withheld) == ("finished", ["test_loss"])
    assert confirm.metrics == {"valid_loss": [2.0, 1.0], "test_loss": [3.0, math.inf]}
    assert (confirm.status, confirm.withheld) == ("diverged", [])
    (open_,) = run_pack(study(generator(SAID), claims=reading("tune")), [of("tune")])
    assert (open_.metrics, open_.withheld) == (confirm.metrics, [])


def test_what_a_generator_may_not_report_is_named_in_any_phase() -> None:
    one = study(generator([{"valid_loss": 1.0, "test_score": 1.0}]))
    (outcome,) = run_pack(one, [of("tune")])
    assert "a row reports test_score; declared:" in outcome.error


def test_without_data_there_is_nothing_to_seal() -> None:
    def fall(t: Trial) -> Training:
        return Training(partial(Descent, "valley"), Optimizer("sgd", lr=t["lr"]), steps=4)

    shown: list[Outcome] = train([declared(study(fall), of("tune")), fall(of("tune"))], [3, 3])
    assert same(*shown)


def test_metrics_of_the_test_split_are_known_by_a_word() -> None:
    assert all(map(of_test, ("test_loss", "best_test_loss", "test")))
    assert not any(map(of_test, ("valid_loss", "latest_loss", "steps_to_target", "testament_loss")))
