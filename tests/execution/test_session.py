"""Which packs go out when, and when claims are looked at."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from harness.engine.outcome import Outcome
from harness.execution import session as module
from harness.execution.progress import Meter
from harness.execution.rowsfile import RowsFile
from harness.execution.session import Session
from harness.plan.declared import Declarations
from harness.plan.packing import Pack, Packer
from harness.plan.plan import Plan
from harness.study import Source, catalog

STUDY = '''
"""Three arms, one of which no claim reads."""

from harness import Budget, Claim, Metric, Study
from harness.claims import lower


def trial(t):
    yield {"loss": 0.0}


STUDY = Study(
    question="Is less lower?",
    trial=trial,
    arms={"beside": {}, "less": {}, "more": {}},
    metrics={"loss": Metric("", better="low")},
    budgets={"smoke": Budget(draws=1, seeds=6, most_seeds=24)},
    sources={"[1]": "A deck"},
    claims=(CLAIMS),
)
'''
CLAIM = 'Claim("Less is lower.", "[1] Heading", lower("loss", arm="less", than="more"), id="less"),'


def session_of(claims: str, folder: Path, *, alone: bool = False) -> Session:
    """What no claim reads would go out first by its cost."""
    source = Source("three", "three.py", STUDY.replace("CLAIMS", claims))
    study = catalog.load(source)
    declared = Declarations(study, recorded=lambda: {("confirm", "beside"): 0.1 if alone else 9.0})
    plan, packer = Plan(study, source, "smoke"), Packer(declared, workers=1)
    meter = Meter(plan.planned, 1.0, Console(quiet=True))
    keeper = RowsFile(study, folder / "rows.parquet", {}, None)
    return Session(study, source, "smoke", plan, packer, keeper, meter, alone=alone)


def finish(session: Session, pack: Pack) -> None:
    """A pack comes back; "less" is lower by 1 at even seeds, and higher by a half at odd ones."""
    losses = [(t.arm == "less") * (-1.0 if t.seed % 2 == 0 else 0.5) + t.seed for t in pack.trials]
    session.finish(pack.name, [Outcome("finished", [1], {"loss": [loss]}) for loss in losses])


def order(session: Session) -> list[tuple[str, int]]:
    """Arms and seeds, as their packs go out and come back one by one."""
    found = []
    while pack := session.next():
        found += [(trial.arm, trial.seed) for trial in pack.trials]
        finish(session, pack)
    assert session.done
    return found


@pytest.mark.parametrize("alone", [True, False])
def test_what_claims_read_is_trained_first_up_to_their_last_look(tmp_path: Path, alone) -> None:
    found = order(session_of(CLAIM, tmp_path, alone=alone))
    assert {arm for arm, _ in found[:48]} == {"less", "more"}
    assert {seed for _, seed in found[:12]} == set(range(6))
    assert found[48:] == [("beside", seed) for seed in range(6)]


def test_a_look_waits_for_no_trial_that_claims_do_not_read(tmp_path: Path) -> None:
    """Two workers: one still has what no claim reads when the other has ended what one does."""
    session = session_of(CLAIM, tmp_path)
    out = [session.next() for _ in range(13)]
    beside = out.pop()
    assert beside.trials[0].arm == "beside"
    for pack in out:
        finish(session, pack)
    assert session.next().trials[0].seed >= 6
    assert not session.done


def test_what_is_tried_again_waits_for_nothing_that_claims_do_not_read(tmp_path: Path) -> None:
    session = session_of(CLAIM, tmp_path)
    lost = session.next()
    session.lose(lost.name, "its process died")
    found = order(session)
    assert found[11] == (lost.trials[0].arm, lost.trials[0].seed)
    assert len(found) == 2 * 24 + 6


def test_a_run_that_is_ended_judges_nothing(tmp_path: Path, monkeypatch) -> None:
    session = session_of(CLAIM, tmp_path)
    out = [session.next() for _ in range(12)]
    session.land()
    monkeypatch.setattr(module, "undecided", lambda *_: pytest.fail("judged"))
    for pack in out:
        finish(session, pack)
    assert session.next() is None


def test_claims_are_judged_once_a_look(tmp_path: Path, monkeypatch) -> None:
    """Not again each time that a trial ends which no claim reads."""
    judged, looks = module.undecided, []
    monkeypatch.setattr(module, "undecided", lambda *a: looks.append(judged(*a)) or looks[-1])
    assert len(order(session_of(CLAIM, tmp_path))) == 2 * 24 + 6
    assert [len(found) for found in looks] == [1, 1]  # after the last there is nothing to add
    monkeypatch.setattr(module, "undecided", lambda *_: looks.append([]) or [])
    assert len(order(session_of(CLAIM, tmp_path))) == 18
    assert len(looks) == 3


def test_where_no_claim_reads_anything_nothing_is_judged(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "undecided", lambda *_: pytest.fail("judged"))
    assert len(order(session_of("", tmp_path))) == 18
