"""What a run would train, and how long it would take: told without training anything.

Where a run at the scale was published, trials are taken to be as long as they were there.
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
    guessed, recorded, work, seconds = 0, 0, 0.0, 0.0
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
            for took in map(packer.declared.took, pack.trials):
                recorded += took is not None
                seconds += pack.cost / len(pack.trials) if took is None else took
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
        "seconds": round(SECONDS_TO_START + (seconds + SECONDS_A_RECORD * plan.planned) / cores, 1),
    }
