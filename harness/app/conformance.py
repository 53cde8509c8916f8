"""Whether a study does what every study must: trained at its smoke scale, and looked at from each side.

Each check gives what is wrong, in a line that its author can act on, or nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pandas as pd

from harness.claims import LEVEL, judge, stats
from harness.claims.verdicts import MIN_SEEDS
from harness.engine.attempt import run_pack
from harness.engine.process import one_thread
from harness.execution import check_data, differing, read_first, results_of
from harness.ledger import rows
from harness.ledger.results import Results
from harness.plan.declared import Declarations
from harness.plan.packing import Packer
from harness.plan.plan import Plan
from harness.study import Source, Study, Trial, of_test

SCALE = "smoke"
PLANTED = 16  # seeds of the rows that are made up for a claim
AGAIN = 24  # trials at most that are trained once more
LONG = 60.0  # seconds that a smoke run should not take


@dataclass(frozen=True)
class Checked:
    """One thing that was looked at, and what is wrong with it, or nothing."""

    name: str
    wrong: str = ""


Check = Callable[[Study, Source, pd.DataFrame], str]


def examine(study: Study, source: Source) -> Iterator[Checked]:
    """Train a study at the smoke scale, in this process and without a ledger, and check it.

    Raises:
        BadInput: it has no smoke scale, or its data cannot be used.
    """
    study.budget(SCALE)
    yield Checked("declared", declared(study))
    read_first(study, SCALE, None, _measured)
    check_data(Plan(study, source, SCALE), Declarations(study))
    started = time.perf_counter()
    frame = trained(study, source)
    seconds = time.perf_counter() - started
    slow = f"it took {seconds:.0f} s; fewer steps, draws or data in Budget(…) of the smoke scale"
    yield Checked(f"a smoke run, {seconds:.1f} s", slow if seconds > LONG else "")
    for name, check in CHECKS.items():
        try:
            wrong = check(study, source, frame)
        except Exception as error:  # a figure's or a check's own code
            wrong = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        yield Checked(name, wrong)


def _measured(study: Study, source: Source) -> Results:
    """A study whose rows another reads."""
    return results_of(study, SCALE, trained(study, source), {}, {"partial": False})


@one_thread()
def trained(study: Study, source: Source) -> pd.DataFrame:
    """All rows of a smoke run, packed and trained as a run would."""
    plan, packer, frames = Plan(study, source, SCALE), Packer(Declarations(study)), []
    while trials := plan.ready():
        for pack in packer.pack(trials):
            outcomes = run_pack(study, pack.trials)
            frames.append(rows.frame_of(study, pack.name, pack.trials, outcomes))
            for trial, outcome in zip(pack.trials, outcomes, strict=True):
                plan.tell(trial.key, outcome)
    return pd.concat(frames, ignore_index=True) if frames else rows.empty(study)


def declared(study: Study) -> str:
    """That there is something to judge, to see and to run."""
    if not study.claims:
        return "it has no claims; Study(claims={'faster': Claim(sentence, source, check)})"
    if not study.figures:
        return "it has no figures; Study(figures=(curves('loss', metric='loss'),))"
    for scale, budget in study.budgets.items():
        if scale != SCALE and 0 < budget.looks[0] < MIN_SEEDS:
            return f"the {scale} scale has {budget.looks[0]} seeds; fewer than {MIN_SEEDS} decide nothing"
    return ""


def ended(study: Study, source: Source, frame: pd.DataFrame) -> str:
    """That trials end, and report what is declared."""
    failed = frame[frame["status"] == "failed"]
    if len(failed):
        count = failed["trial"].nunique()
        return f"{count} of {frame['trial'].nunique()} trials failed: {failed['error'].iloc[0]}"
    tuned = frame[(frame["phase"] == "tune") & (frame["status"] == "finished")]
    for place, some in tuned.groupby(["arm", *study.vary], sort=False, observed=True):
        chosen = study.space(str(place[0])) and study.budget(SCALE).looks[0]
        if chosen and some[list(study.select)].isna().all(axis=None):
            return (
                f"arm {place[0]!r} is tuned and reports none of {', '.join(study.select)}; a probe that "
                "asks for the test split measures nothing before the confirm phase"
            )
    silent = [metric for metric in study.metrics if frame[metric].isna().all()]
    arms, cells = zip(*Plan(study, source, SCALE).cells(), strict=True)
    # an arm or a level that this scale leaves out may be alone in what it reports
    whole = set(arms) == set(study.arms)
    whole &= all({cell[f] for cell in cells} == set(levels) for f, levels in study.vary.items())
    if silent and whole:
        sealed = study.sealed("tune") and any(map(of_test, silent))
        why = (
            "; the test split is sealed before the confirm phase, where no claim reads it"
            if sealed
            else ""
        )
        return f"no trial reports {', '.join(silent)}, which Study.metrics declares{why}"
    return ""


def counted(study: Study, source: Source, frame: pd.DataFrame) -> str:
    """That every arm runs in each of its cells with its draws and seeds."""
    for arm, cell in Plan(study, source, SCALE).cells():
        mine = frame[frame["arm"] == arm]
        for factor, level in cell.items():
            mine = mine[mine[factor] == study.held(factor, level)]
        for phase, count in study.count(SCALE, arm, cell).items():
            found = mine[mine["phase"] == phase]["trial"].nunique()
            if found != count:
                where = ", ".join(f"{name}={value!r}" for name, value in cell.items())
                return (
                    f"arm {arm!r} at {where or 'its place'} has {found} {phase} trials of {count}"
                )
    return ""


def repeated(study: Study, source: Source, frame: pd.DataFrame) -> str:
    """That a seed gives the same rows twice: in a trial of each arm and of each level, or in as many
    of them as are trained once more."""
    ends = frame[frame["phase"] == ("confirm" if study.budget(SCALE).looks[0] else "tune")]
    trials: list[Trial] = []
    before: dict[str, pd.DataFrame] = {}
    seen: set[tuple[str, str]] = set()
    for place in ends.drop_duplicates(["arm", *study.vary]).to_dict("records"):
        here = {(name, str(place[name])) for name in ("arm", *study.vary)}
        if not here <= seen:
            seen |= here
            own = before[place["trial"]] = frame[frame["trial"] == place["trial"]]
            trials.append(rows.trial_of(study, SCALE, own))
    trials = trials[:: max(1, math.ceil(len(trials) / AGAIN))]
    for pack in Packer(Declarations(study)).pack(trials):
        for trial, outcome in zip(pack.trials, run_pack(study, pack.trials), strict=True):
            again = rows.frame_of(study, "again", [trial], [outcome])
            if any(differing(before[trial.key], again, study)):
                return (
                    f"arm {trial.arm!r}, seed {trial.seed}: other rows the second time. What is drawn "
                    "must come from t.seed, as in np.random.default_rng(t.seed), and nothing from a "
                    "clock"
                )
    return ""


def drawn(study: Study, source: Source, frame: pd.DataFrame) -> str:
    """That every figure draws rows, and no rows."""
    from harness import figures

    for figure in study.figures:
        for part in (frame, frame.iloc[:0]):
            text = figures.svg(figure.draw(study, part), figure.name, figure.told(study))
            if not text.lstrip().startswith("<svg"):
                return f"figure {figure.name!r} draws nothing"
    return ""


def falsifiable(study: Study, source: Source, frame: pd.DataFrame) -> str:
    """That every claim can be supported, refuted and left open."""
    empty = pd.DataFrame(columns=study.columns())
    closed = [v.id for v in judge(study, empty) if v.verdict != "inconclusive"]
    if closed:
        return f"claim {closed[0]!r} is decided without a single row"
    levels = stats.first_levels(study.grouped(), LEVEL)
    for claim, level in zip(study.tested, levels, strict=True):
        for hold, expected in ((True, "supported"), (False, "refuted")):
            made = claim.check.planted(study, PLANTED, hold)
            one = replace(study, claims=(claim,))
            (verdict,) = judge(one, made, float(level))
            if verdict.verdict != expected:
                return (
                    f"claim {claim.id!r} is {verdict.verdict} on rows that should leave it "
                    f"{expected}: {verdict.reason or verdict.quantity}"
                )
    return ""


CHECKS: dict[str, Check] = {
    "every trial ends and reports what is declared": ended,
    "every arm runs in every cell": counted,
    "a seed gives the same rows twice": repeated,
    "every figure draws": drawn,
    "every claim can be supported, refuted and left open": falsifiable,
}
