"""What a run would train, and how long it would take: told without training anything.

Where a run at the scale was published, trials are taken to be as long as they were there; where only
one at the default scale was, the forecast by arithmetic is taken to be off by as much as it is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from harness.engine import process
from harness.engine.outcome import Outcome
from harness.plan.declared import Declarations
from harness.plan.packing import Sketch
from harness.plan.plan import Plan
from harness.study import Source, Study

SECONDS_A_RECORD = 0.012  # one child run in MLflow's SQLite store
SECONDS_TO_START = 12.0  # Ray, MLflow's import, the workers' imports, the report


@process.one_thread()
def dry_run(
    study: Study, source: Source, scale: str, cores: int,
    codes: Mapping[frozenset[str], str] = MappingProxyType({}),
    declared: Declarations | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What a run would train, by phase, why trials run alone, and a forecast of its seconds: those
    that trials took before, as far as that is recorded, else by what they train.

    Args:
        study, source, scale, cores: These.
        codes: Those of a `Plan` of the study, where there is one.
        declared: What its trials are known to train, where that is asked for again, and what such
            trials took before.
    """
    plan, packer = Plan(study, source, scale, codes), Sketch(declared or Declarations(study), cores)
    phases: dict[str, dict[str, int]] = {}
    alone: dict[str, int] = {}
    scored: dict[str, int] = {}
    guessed, recorded, work = 0, 0, 0.0
    known, reckoned = 0.0, 0.0  # seconds of recorded trials, as recorded and by forecast
    rest = 0.0  # and those of others
    while trials := plan.ready():
        for pack in packer.pack(trials):
            row = phases.setdefault(pack.trials[0].phase, {"trials": 0, "packs": 0, "alone": 0})
            row["trials"] += len(pack.trials)
            row["packs"] += 1
            row["alone"] += bool(pack.lone)
            if pack.lone:
                alone[pack.lone] = alone.get(pack.lone, 0) + 1
                guessed += packer.look_up(pack.trials[0]).guessed
            work += pack.cost
            share = pack.cost / len(pack.trials)
            for took in map(packer.declared.took, pack.trials):
                if took is None:
                    rest += share
                else:
                    recorded, known, reckoned = recorded + 1, known + took, reckoned + share
        for trial in trials:
            training = packer.look_up(trial).training
            if training and training.data and not training.sealed:
                scored[trial.phase] = scored.get(trial.phase, 0) + training.records
            plan.tell(trial.key, Outcome("finished"))
    return {
        "study": study.name,
        "scale": scale,
        "reads": list(study.reads),
        "plan": plan.hash(),
        "trials": plan.planned,
        "most_trials": plan.most,
        "packs": sum(row["packs"] for row in phases.values()),
        "left_out": plan.left_out,
        "phases": phases,
        "alone": alone,
        "guessed": guessed,
        "test_scored": scored,
        "untried": packer.untried,
        "cores": cores,
        "recorded": recorded,
        "work": round(work, 1),
        "off": round(known / reckoned, 3) if reckoned else None,
        "seconds": _lasts(known + rest, plan.planned, cores),
    }


def _lasts(work: float, trials: int, cores: int) -> float:
    """Seconds of a run that trains for so many on one core."""
    return round(SECONDS_TO_START + (work + SECONDS_A_RECORD * trials) / cores, 1)


def corrected(sketch: Mapping[str, Any], off: float) -> dict[str, Any]:
    """A dry run of what no run has recorded, where elsewhere trials took so many times as long as by
    their forecast."""
    seconds = _lasts(sketch["work"] * off, sketch["trials"], sketch["cores"])
    return {**sketch, "off": off, "seconds": seconds}
