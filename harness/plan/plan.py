"""From a study to trials. Knows no executor.

A `Plan` hands out trials that can be trained now and is told how they ended; when an arm and cell
has been tuned, its winner's confirm trials become ready. The same object drives Ray, the inline
executor and the dry run.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from statistics import fmean
from types import MappingProxyType
from typing import Any

from harness.engine.outcome import Outcome
from harness.parts import data
from harness.plan import keys
from harness.plan.draws import Search
from harness.plan.reached import reached
from harness.study import Source, Study, Trial, fingerprint, make_trial

Wanted = Callable[[str, Mapping[str, Any]], bool]  # of an arm and a cell

TUNE_SEED = 1_000_000  # tune trials use seeds from here on, so that confirm seeds are fresh


@dataclass
class _Condition:
    """One arm in one cell: tuned, then confirmed."""

    arm: str
    cell: Mapping[str, Any]
    search: Search
    finalists: int
    final: int  # their trials
    seeds: int
    code: str
    place: int  # among those of the plan
    left: int = 0  # planned trials that have not been told
    draws: list[Trial] = field(default_factory=list)
    scores: dict[int, list[tuple[float, ...]]] = field(default_factory=dict)  # each draw's, by seed
    finals: list[int] = field(default_factory=list)  # draws whose further seeds are handed out
    confirmed: int = 0  # seeds handed out

    @property
    def drawn(self) -> bool:
        """Whether every draw has its first score."""
        return len(self.scores) == self.search.draws

    @property
    def tuned(self) -> bool:
        """Whether the winner is known."""
        last = 1 + self.final // max(1, self.finalists)
        return self.drawn and all(len(self.scores[number]) == last for number in self.finals)

    def best(self, numbers: Iterable[int]) -> list[int]:
        """These draws, the best first: by each selecting metric in turn, the fewest seeds at which
        it is infinitely bad, then the best mean over the others."""

        def mean(column: Iterable[float]) -> tuple[int, float]:
            scores = list(column)
            finite = [score for score in scores if math.isfinite(score)]
            return len(scores) - len(finite), fmean(finite) if finite else math.inf

        def merit(number: int) -> tuple[Any, ...]:
            return *map(mean, zip(*self.scores[number], strict=True)), number

        return sorted(numbers, key=merit)


class Plan:
    """What a study at a scale has to train, phase by phase.

    Args:
        study, source: The loaded study and its text (its code is part of every trial's key).
        scale: Which budget.
        codes: Hashes of code that a plan of the same study has found already: its `codes`.
        device: The kind of device that trials train on; by default this process's.
        origin: In place of what trains here, what did elsewhere: another plan's `origin`.

    Attributes:
        origin: What decides numbers beside the code, and is part of every key: the kind of device,
            and the versions of torch and of what else the code that trains uses.
        left_out: Trials of each data set that is not at hand (`Study.needs`). They are not trained,
            and are part of the plan's hash, which so is the same on every machine.
        data: The data sets of its own that the study can reach, by name. Their contents are made
            now, and are part of every key.

    Raises:
        DataError: a data set of the study's own cannot be made or used.
    """

    def __init__(
        self, study: Study, source: Source, scale: str,
        codes: Mapping[frozenset[str], str] = MappingProxyType({}), device: str | None = None,
        origin: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.study, self.scale = study, scale
        budget = study.budget(scale)
        self.looks, self.look = budget.looks, 0
        self.data = reached(study.trial)
        self._contents = keys.contents(study, self.data)
        cells = [
            (arm, cell, keys.words(study, scale, arm, cell)) for arm, cell in study.cells(scale)
        ]
        # thousands of cells may differ in names that pick no part of the code: one hash for all
        told = frozenset[str]().union(*(words for _, _, words in cells))
        found = fingerprint.survey(source, keys.name(study.trial), told)
        self.origin = dict(origin or keys.origin(found.libraries, device))
        self.codes = dict(codes)
        self._conditions: list[_Condition] = []
        self._whole: list[_Condition] = []  # with those that are left out
        self.left_out: dict[str, int] = {}
        self.planned = 0
        for arm, cell, named in cells:
            words = named & found.parts
            if words not in self.codes:
                self.codes[words] = keys.code(study, source, words)
            space = study.space(arm)
            draws, names = study.draws(scale, arm, cell), study.nuisance_names()
            search = Search(space, draws, study.sampler, names=names)
            finalists = study.finalists(scale, arm, cell)
            count = study.count(scale, arm, cell)
            code, place = self.codes[words], len(self._conditions)
            self._whole.append(
                _Condition(
                    arm, cell, search, finalists, count["final"], count["confirm"], code, place
                )
            )
            needed, trials = study.needed(scale, arm, cell), study.trials(scale, arm, cell)
            if needed and not data.at_hand(needed):
                self.left_out[needed] = self.left_out.get(needed, 0) + trials
            else:
                self._conditions.append(self._whole[-1])
                self._whole[-1].left = trials
                self.planned += trials
        self._stirred = {*range(len(self._conditions))}  # places of what may have trials to make
        self._home: dict[str, tuple[_Condition, int]] = {}  # of trials that are out
        self._next: list[Trial] = []
        self.told = 0

    def hash(self) -> str:
        """What the plan will train, as sixteen hex digits: the same for the same study and code."""
        budget = self.study.budget(self.scale)
        space = {
            name: repr(dist)
            for arm in self.study.arms
            for name, dist in self.study.space(arm).items()
        }
        content = [
            [
                self.study.name,
                self.scale,
                repr(budget),
                self.study.sampler,
                self.study.select,
                space,
                *sorted(self.study.unsealed),
            ],
            [[c.arm, dict(c.cell), c.code, self._settings(c)] for c in self._whole],
            self.origin,
            *self._contents,
        ]
        return keys.digest(content)

    def promised(self) -> tuple[dict[str, Any], str]:
        """What can be told of the trials before the first has ended.

        Returns:
            For a registration: how many there are, a digest of how many of each phase there are in
            which arm and cell, and how many keys are known already, with a digest of their sorted
            list; and that list, eight bytes a key, as base64.
        """
        places = [[c.arm, dict(c.cell), c.search.draws, c.final, c.seeds] for c in self._conditions]
        known = sorted(trial.key for trial in self.coming())
        text = base64.b64encode(bytes.fromhex("".join(known))).decode()
        promise = {
            "trials": self.planned,
            "places": keys.digest(places),
            "known": len(known),
            "keys": hashlib.sha256(text.encode()).hexdigest(),
        }
        return promise, text

    def _settings(self, cell: _Condition) -> dict[str, Any]:
        return self.study.settings(self.scale, cell.arm, cell.cell)

    @property
    def most(self) -> int:
        """Trials, where every winner that is confirmed gets all the seeds that it may."""
        return self.planned + sum(self.looks[-1] - c.seeds for c in self._conditions if c.seeds)

    def cells(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Every arm and cell that is trained."""
        return [(cell.arm, cell.cell) for cell in self._conditions]

    def ready(self) -> list[Trial]:
        """Trials that can be trained now and have not been handed out before."""
        trials, self._next = self.coming(), []
        return trials

    def coming(self) -> list[Trial]:
        """What `ready` will hand out: before the first outcome, trials of every arm and cell."""
        self._next = self._next or self._make()
        return self._next

    def samples(self) -> list[Trial]:
        """One of those that are `coming` for each arm and cell that has any among them."""
        first: dict[int, Trial] = {}
        for trial in self.coming():
            first.setdefault(id(self._home[trial.key][0]), trial)
        return [*first.values()]

    def _make(self) -> list[Trial]:
        trials = []
        stirred, self._stirred = sorted(self._stirred), set()
        for cell in map(self._conditions.__getitem__, stirred):
            for draw in cell.search.ask():
                number = len(cell.draws)
                trial = self._trial(cell, "tune", draw, TUNE_SEED + number)
                cell.draws.append(trial)
                self._home[trial.key] = (cell, number)
                trials.append(trial)
            if cell.drawn and cell.finalists and not cell.finals:
                cell.finals = cell.best(range(len(cell.draws)))[: cell.finalists]
                for number, again in product(cell.finals, range(cell.final // cell.finalists)):
                    seed = TUNE_SEED * (again + 2) + number
                    trial = self._trial(cell, "final", cell.draws[number].nuisance, seed)
                    self._home[trial.key] = (cell, number)
                    trials.append(trial)
            if cell.confirmed < cell.seeds and cell.tuned:
                winner = self._winner(cell)
                for seed in range(cell.confirmed, cell.seeds):
                    trial = self._trial(cell, "confirm", winner, seed)
                    self._home[trial.key] = (cell, -1)
                    trials.append(trial)
                cell.confirmed = cell.seeds
        return trials

    @property
    def may_extend(self) -> bool:
        """Whether there is a look after this one."""
        return self.look + 1 < len(self.looks)

    def extend(self, wanted: Wanted) -> int:
        """Plan the seeds of the next look for the wanted cells.

        Returns:
            How many trials that adds: 0 after the last look.
        """
        if not self.may_extend:
            return 0
        self.look += 1
        before = self.planned
        for cell in self._conditions:
            if cell.seeds and wanted(cell.arm, cell.cell):
                self.planned += self.looks[self.look] - cell.seeds
                cell.left += self.looks[self.look] - cell.seeds
                cell.seeds = self.looks[self.look]
                self._stirred.add(cell.place)
        return self.planned - before

    def _trial(self, cell: _Condition, phase: str, nuisance: Mapping[str, Any], seed: int) -> Trial:
        bare = make_trial(self.study, self.scale, phase, cell.arm, cell.cell, nuisance, seed, "")
        key = keys.key(self.study, bare, cell.code, self.origin, self._contents)
        return dataclasses.replace(bare, key=key)

    def _winner(self, cell: _Condition) -> Mapping[str, Any]:
        if not cell.draws:
            return {}
        return cell.draws[cell.best(cell.finals or range(len(cell.draws)))[0]].nuisance

    def tell(self, key: str, outcome: Outcome) -> None:
        """How a trial ended. A failed or diverged draw scores worst."""
        cell, number = self._home.pop(key)
        self._stirred.add(cell.place)
        cell.left -= 1
        self.told += 1
        if number < 0:
            return
        score = self._score(outcome)
        cell.scores.setdefault(number, []).append(score)
        if len(cell.scores[number]) > 1:
            return
        reported = [
            s for name, s in zip(self.study.select, score, strict=True) if name in outcome.metrics
        ]
        cell.search.tell(number, reported[0] if reported else math.inf)

    def _score(self, outcome: Outcome) -> tuple[float, ...]:
        """The selecting metrics as a tuple to be minimised, at the last step that reports each."""
        score = []
        for name in self.study.select:
            sign = -1.0 if self.study.metrics[name].better == "high" else 1.0
            column = [v for v in outcome.metrics.get(name, ()) if not math.isnan(v)]
            if outcome.status != "finished":
                score.append(math.inf)
            elif column:
                score.append(sign * float(column[-1]))
            else:
                score.append(0.0)  # this cell does not report it: the next one decides
        return tuple(score)

    def settled(self, wanted: Wanted) -> bool:
        """Whether there are wanted cells, and every planned trial of theirs has been told."""
        left = [cell.left for cell in self._conditions if wanted(cell.arm, cell.cell)]
        return bool(left) and not any(left)

    @property
    def done(self) -> bool:
        """Whether every trial of the plan has been told."""
        return self.told >= self.planned


def current_key(
    study: Study, source: Source, scale: str, trial: Trial,
    origin: Mapping[str, str] | None = None,
) -> str:  # fmt: skip
    """The key that a trial would get now, here or where an `origin` tells of.

    Another than `trial.key` says that its code changed, or what it trains with.
    """
    plan = Plan(study, source, scale, origin=origin)
    words = keys.words(study, scale, trial.arm, trial.cell)
    code = keys.code(study, source, words)
    return keys.key(study, trial, code, plan.origin, keys.contents(study, plan.data))
