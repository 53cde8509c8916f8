"""What is being run: packs go out, outcomes come back. Knows no executor but the plain loop."""

from __future__ import annotations

import bisect
import contextlib
import time
from collections import deque
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd

from harness.claims import gated, reads, undecided
from harness.engine.attempt import run_pack
from harness.engine.flight import Flight, Landed
from harness.engine.outcome import Outcome
from harness.execution.ending import Ending
from harness.execution.nodes import Machines
from harness.execution.progress import Meter
from harness.execution.saves import Saves
from harness.ledger import rows
from harness.plan.declared import Declarations
from harness.plan.packing import Pack, Packer
from harness.plan.plan import Plan
from harness.study import Source, Study, Trial

TRIES = 2  # worker processes that a trial alone may end before it is held to be the cause


class Keeper(Protocol):
    """Where a session's outcomes go: `ledger.Recorder`, or a file."""

    def add(
        self, pack: str, trials: list[Trial], outcomes: list[Outcome], began: float
    ) -> None: ...  # fmt: skip
    def take(
        self, name: str, frame: pd.DataFrame, trials: list[Trial], outcomes: list[Outcome],
        stored: bool,
    ) -> None: ...  # fmt: skip
    def frame(self) -> pd.DataFrame: ...


@dataclass
class Session:
    """A run in flight: what is left to train, and where what has ended goes.

    `known` gives the rows of those of some trials that ended in earlier runs; `stored` are keys of
    trials whose rows the keeper has already; `saves` are the packs in flight, without which none is
    saved.
    """

    study: Study
    source: Source
    scale: str
    plan: Plan
    packer: Packer
    keeper: Keeper
    meter: Meter
    trial_limit: float | None = None  # seconds
    known: Callable[[set[str]], pd.DataFrame] = lambda keys: pd.DataFrame()
    stored: Container[str] = ()
    saves: Saves | None = None
    alone: bool = False  # whether one process trains all packs, one after the other

    def __post_init__(self) -> None:
        self.ending = False  # whether no more packs go out
        self.withheld = False  # whether it has been said that something was
        self._packs: deque[Pack] = deque()
        self._running: dict[str, Pack] = {}
        self._began: dict[str, float] = {}  # when each pack that is out went out
        self._claimed: dict[tuple[Any, ...], bool] = {}  # whether a claim reads an arm in a cell
        self._looking = True  # whether there may be another look at the claims
        self._refill()

    def _refill(self) -> None:
        """Take trials that have become ready: from the ledger where it has them, else as packs."""
        while (trials := self.plan.ready()) or (trials := self._more_seeds()):
            reused = self._reuse(trials, self.known({trial.key for trial in trials}))
            fresh = [trial for trial in trials if trial.key not in reused]
            for pack in self._packed(fresh):
                bisect.insort(self._packs, pack, key=self._turn)
        if self.done and self.saves:
            self.saves.done()

    def _turn(self, pack: Pack) -> tuple[bool, bool, float]:
        """What has been begun goes out first: else a run in slices would begin more and more. Then
        what claims read, so that a run that is ended early has judged what it can, and that what only
        figures show is trained while claims are judged. Then the costliest, so that workers end
        together; where there is only one, the cheapest, so that most has ended where the run is."""
        return *self._rank(pack), pack.cost if self.alone else -pack.cost

    def _rank(self, pack: Pack) -> tuple[bool, bool]:
        """How urgent a pack is, whatever it costs: the lowest goes out first."""
        read = any(self._read(trial.arm, trial.cell) for trial in pack.trials)
        return not pack.source, not read

    def _read(self, arm: str, cell: Mapping[str, Any]) -> bool:
        """Whether any claim that is tested reads this arm in this cell."""
        here = (arm, *cell.values())
        if here not in self._claimed:
            self._claimed[here] = reads(self.study, self.study.tested, arm, cell)
        return self._claimed[here]

    def _packed(self, trials: list[Trial]) -> list[Pack]:
        """As packs: what is in flight as it was, the rest as is fastest."""
        if self.saves is None:
            return self.packer.pack(trials)
        begun, rest = self.saves.of(trials)
        return [
            *(self.packer.again(members, source) for source, members in begun),
            *self.packer.pack(rest),
        ]

    def _reuse(self, trials: list[Trial], frame: pd.DataFrame) -> set[str]:
        """Take those trials that ended in earlier runs, as their rows have it; says which."""
        if frame.empty:
            return set()
        known = rows.Recorded(self.study, frame)
        for stored in (True, False):
            there = [t for t in trials if t.key in known and (t.key in self.stored) is stored]
            if there:
                outcomes = [known.get(trial.key) for trial in there]
                work = sum(pack.cost for pack in self.packer.pack(there))
                part = known.rows(trial.key for trial in there)
                self.keeper.take("ledger", part, there, outcomes, stored)
                self._tell(there, outcomes, work, reused=True)
        return {trial.key for trial in trials if trial.key in known}

    def _more_seeds(self) -> list[Trial]:
        """The trials of the next look, where all that claims read is done and a claim is still open."""
        if self.ending or not self._looking or not self.plan.may_extend:
            return []
        if not self.plan.settled(self._read):  # judging may take seconds
            return []
        unjudged = gated(self.study, self.scale)
        least = self.study.budget(self.scale).futility
        open_ = undecided(self.study, self.keeper.frame(), self.plan.looks, unjudged, least)
        more = self.plan.extend(lambda arm, cell: reads(self.study, open_, arm, cell))
        self._looking = more > 0
        trials = self.plan.ready() if more else []
        if trials:
            self.meter.grow(more, sum(pack.cost for pack in self.packer.pack(trials)))
        return trials

    def _tell(
        self, trials: list[Trial], outcomes: list[Outcome], work: float, reused: bool = False
    ) -> None:
        for trial, outcome in zip(trials, outcomes, strict=True):
            self.plan.tell(trial.key, outcome)
        if self.saves:
            self.saves.told(trial.key for trial in trials)
        self.packer.declared.forget(trials)
        self.meter.add([o.status for o in outcomes], work, reused)

    def next(self) -> Pack | None:
        """A pack to train, or None when all are out."""
        if self.ending or not self._packs:
            return None
        pack = self._packs.popleft()
        self._running[pack.name] = pack
        self._began[pack.name] = round(time.time(), 3)
        return pack

    def finish(self, name: str, outcomes: list[Outcome]) -> None:
        """A pack came back."""
        pack = self._running.pop(name, None)
        if pack is None:  # told twice
            return
        self.keeper.add(name, pack.trials, outcomes, self._began.get(name, 0.0))
        self._say_withheld(pack.trials, outcomes)
        if self.saves:
            self.saves.recorded(pack.label)
        self._tell(pack.trials, outcomes, pack.cost)
        self._refill()

    def _say_withheld(self, trials: list[Trial], outcomes: list[Outcome]) -> None:
        """Once a run: trials have told of the test split where it is sealed."""
        for trial, outcome in zip(trials, outcomes, strict=True):
            if outcome.withheld and not self.withheld:
                self.withheld = True
                self.meter.console.print(
                    f"{', '.join(outcome.withheld)} of trials in the {trial.phase} phase is dropped: the "
                    "test split is sealed there, as no claim reads it; allowed: to measure it where "
                    't.phase == "confirm"',
                    markup=False,
                )

    def allowance(self, pack: Pack) -> float | None:
        """Seconds that a pack may train, or None.

        A trial alone has the limit. Fused trials end together, so a pack has the limit times what
        it is estimated to take over one of its trials alone.
        """
        return None if self.trial_limit is None else self.trial_limit * pack.share

    def lose(self, name: str, error: str) -> None:
        """A pack's process died: halve the pack until the culprit is alone, and fail only it.

        A trial that is alone is tried `TRIES` times, for its process may have died of something
        else: a machine that left, a neighbour that took the memory. Its next try comes last among
        those as urgent, when that may be over.
        """
        pack = self._running.pop(name, None)
        if pack is None:
            return
        pack.losses += 1
        self._so_far(pack)
        if len(pack.trials) == 1 and pack.losses < TRIES:
            self._packs.insert(bisect.bisect(self._packs, self._rank(pack), key=self._rank), pack)
        else:
            self._divide(pack, error)

    def cut(self, name: str, where: str = "") -> None:
        """A pack took longer than its allowance: halve it until the culprit is alone, and fail it."""
        pack = self._running.pop(name, None)
        if pack is not None:
            self._so_far(pack)
            self._divide(pack, f"cut: the limit of {self.trial_limit:g} s a trial is over{where}")

    def _so_far(self, pack: Pack) -> None:
        """What follows of a pack goes on from where it was saved, if it was."""
        if self.saves:
            pack.source = self.saves.latest(pack.label) or pack.source

    def put_back(self, name: str) -> None:
        """A pack was not begun: its worker died first."""
        if pack := self._running.pop(name, None):
            self._packs.appendleft(pack)

    def land(self) -> None:
        """The run is to end: no pack goes out any more, and those that can be saved are."""
        self.ending = True
        if self.saves:
            self.saves.end()

    def landed(self, name: str) -> None:
        """A pack has been saved, and is trained no further."""
        self._running.pop(name, None)

    @property
    def landing(self) -> bool:
        """Whether a pack that can be saved is still in training."""
        declared = self.packer.declared
        return self.saves is not None and any(
            declared.of(pack.trials[0]).training is not None for pack in self._running.values()
        )

    def _divide(self, pack: Pack, error: str) -> None:
        if len(pack.trials) == 1:
            self._running[pack.name] = pack
            self.finish(pack.name, [Outcome("failed", error=error[:500])])
        else:
            self._packs.extendleft(self.packer.halve(pack))

    def __reduce__(self) -> tuple[Any, ...]:
        return (str, ())  # Tune pickles searchers to restore them; we continue from the ledger

    @property
    def done(self) -> bool:
        """Whether every planned trial has ended."""
        return self.plan.done


def packer_for(declared: Declarations, machines: Machines, size: int | None) -> Packer:
    """The packer of a run.

    Args:
        declared: What its trials train.
        machines: Where.
        size: Most trials a pack, if it was asked for.
    """
    return Packer(declared, size, machines.workers, machines.room, machines.uneven)


def inline(session: Session, ending: Ending) -> None:
    """Train every pack in this process.

    Raises:
        Stopped: the run is to end; what has ended has been given to the session.
    """
    device, saves = session.plan.origin["device"], session.saves
    while pack := session.next():
        flight = None
        if saves:
            flight = Flight(
                saves.folder, pack.label, tuple(trial.key for trial in pack.trials), device,
                lambda: ending.why is not None,
                saves.folder / pack.source if pack.source else None, ending.deferred,
            )  # fmt: skip
        with contextlib.suppress(Landed):
            session.finish(pack.name, run_pack(session.study, pack.trials, device, flight))
        ending.check()
