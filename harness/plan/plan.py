"""From a study to trials, and from trials to packs. Knows no executor.

A `Plan` hands out trials that can be trained now and is told how they ended; when an arm and cell
has been tuned, its winner's confirm trials become ready. The same object drives Ray, the inline
executor and the dry run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from statistics import fmean
from types import MappingProxyType
from typing import Any

from harness.engine import process, sizing
from harness.engine.outcome import Outcome
from harness.engine.training import Training
from harness.parts import data
from harness.plan.draws import Search
from harness.study import FINAL_SEEDS, Source, Study, Trial, fingerprint, make_trial

TUNE_SEED = 1_000_000  # tune trials use seeds from here on, so that confirm seeds are fresh


@dataclass
class Pack:
    """Trials to be trained as one program, or one that cannot be fused."""

    name: str
    trials: list[Trial]
    base: float  # estimated seconds on one core, whatever it holds
    each: float  # and those that every trial adds
    lone: str = ""  # why it cannot fuse, if it cannot
    losses: int = 0  # worker processes that have died over it

    @property
    def cost(self) -> float:
        """Estimated seconds on one core, for ordering and forecasts."""
        return self.base + self.each * len(self.trials)

    @property
    def share(self) -> float:
        """How many times as long as one of its trials alone it is estimated to take."""
        return self.cost / (self.base + self.each)


@dataclass
class _Cell:
    """One arm in one cell: tuned, then confirmed."""

    arm: str
    cell: Mapping[str, Any]
    search: Search
    finalists: int
    seeds: int
    code: str
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
        last = 1 + FINAL_SEEDS
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
    """

    def __init__(
        self, study: Study, source: Source, scale: str,
        codes: Mapping[frozenset[str], str] = MappingProxyType({}), device: str | None = None,
        origin: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.study, self.scale = study, scale
        budget = study.budget(scale)
        self.looks, self.look = budget.looks, 0
        cells = [(arm, cell, _words(study, scale, arm, cell)) for arm, cell in study.cells(scale)]
        # thousands of cells may differ in names that pick no part of the code: one hash for all
        told = frozenset[str]().union(*(words for _, _, words in cells))
        found = fingerprint.survey(source, _name(study.trial), told)
        self.origin = dict(origin or _origin(found.libraries, device))
        self.codes = dict(codes)
        self._cells: list[_Cell] = []
        self._whole: list[_Cell] = []  # with those that are left out
        self.left_out: dict[str, int] = {}
        self.planned = 0
        for arm, cell, named in cells:
            words = named & found.parts
            if words not in self.codes:
                self.codes[words] = _code(study, source, words)
            space = study.space(arm)
            draws, names = study.draws(scale, arm, cell), study.nuisance_names()
            search = Search(space, draws, study.sampler, names=names)
            finalists = study.finalists(scale, arm, cell)
            self._whole.append(_Cell(arm, cell, search, finalists, budget.seeds, self.codes[words]))
            needed, trials = study.needed(scale, arm, cell), study.trials(scale, arm, cell)
            if needed and not data.at_hand(needed):
                self.left_out[needed] = self.left_out.get(needed, 0) + trials
            else:
                self._cells.append(self._whole[-1])
                self.planned += trials
        self._home: dict[str, tuple[_Cell, int]] = {}
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
            ],
            [[c.arm, dict(c.cell), c.code, self._settings(c)] for c in self._whole],
            self.origin,
            *_tables(self.study),
        ]
        return _digest(content)

    def _settings(self, cell: _Cell) -> dict[str, Any]:
        return self.study.settings(self.scale, cell.arm, cell.cell)

    def cells(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Every arm and cell that is trained."""
        return [(cell.arm, cell.cell) for cell in self._cells]

    def ready(self) -> list[Trial]:
        """Trials that can be trained now and have not been handed out before."""
        trials = []
        for cell in self._cells:
            for draw in cell.search.ask():
                number = len(cell.draws)
                trial = self._trial(cell, "tune", draw, TUNE_SEED + number)
                cell.draws.append(trial)
                self._home[trial.key] = (cell, number)
                trials.append(trial)
            if cell.drawn and cell.finalists and not cell.finals:
                cell.finals = cell.best(range(len(cell.draws)))[: cell.finalists]
                for number, again in product(cell.finals, range(FINAL_SEEDS)):
                    seed = TUNE_SEED * (again + 2) + number
                    trial = self._trial(cell, "final", cell.draws[number].nuisance, seed)
                    self._home[trial.key] = (cell, number)
                    trials.append(trial)
            if cell.tuned:
                for seed in range(cell.confirmed, cell.seeds):
                    trial = self._trial(cell, "confirm", self._winner(cell), seed)
                    self._home[trial.key] = (cell, -1)
                    trials.append(trial)
                cell.confirmed = cell.seeds
        return trials

    def extend(self, wanted: Callable[[str, Mapping[str, Any]], bool]) -> int:
        """Plan the seeds of the next look for the wanted cells.

        Returns:
            How many trials that adds: 0 after the last look.
        """
        if self.look + 1 == len(self.looks):
            return 0
        self.look += 1
        before = self.planned
        for cell in self._cells:
            if wanted(cell.arm, cell.cell):
                self.planned += self.looks[self.look] - cell.seeds
                cell.seeds = self.looks[self.look]
        return self.planned - before

    def _trial(self, cell: _Cell, phase: str, nuisance: Mapping[str, Any], seed: int) -> Trial:
        bare = make_trial(self.study, self.scale, phase, cell.arm, cell.cell, nuisance, seed, "")
        return dataclasses.replace(bare, key=_key(self.study, bare, cell.code, self.origin))

    def _winner(self, cell: _Cell) -> Mapping[str, Any]:
        if not cell.draws:
            return {}
        return cell.draws[cell.best(cell.finals or range(len(cell.draws)))[0]].nuisance

    def tell(self, key: str, outcome: Outcome) -> None:
        """How a trial ended. A failed or diverged draw scores worst."""
        cell, number = self._home[key]
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
    words = _words(study, scale, trial.arm, trial.cell)
    return _key(study, trial, _code(study, source, words), plan.origin)


def _origin(libraries: Iterable[str], device: str | None) -> dict[str, str]:
    versions = {name: fingerprint.version(name) for name in libraries}
    return {"device": device or process.device(), **versions}


def _key(study: Study, trial: Trial, code: str, origin: Mapping[str, str]) -> str:
    reported = sorted(study.metrics)  # rows keep what is declared, and nothing else
    about = [study.name, trial.phase, trial.arm, trial.settings, trial.seed, code, reported, origin]
    return _digest([*about, *_tables(study)])


def _tables(study: Study) -> list[dict[str, str]]:
    """What a study reads of others is part of what its trials are."""
    return [{name: data.table_digest(name) for name in study.reads}] if study.reads else []


def _words(study: Study, scale: str, arm: str, cell: Mapping[str, Any]) -> frozenset[str]:
    """What may name a part that a cell trains."""
    settings = study.settings(scale, arm, cell)
    return frozenset([arm, *(v for v in settings.values() if isinstance(v, str))])


def _code(study: Study, source: Source, words: frozenset[str]) -> str:
    return fingerprint.code_hash(source, _name(study.trial), words)


def _name(trial: Any) -> str:
    return str(getattr(trial, "__name__", repr(trial)))


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Packer:
    """Groups trials by what they train, and cuts the groups into packs.

    Args:
        study: Declares each trial's Training.
        size: Most trials a pack; None leaves it to a forecast of what is fastest.
        workers: Packs that train at once: there are at least as many, where trials allow.
        device: Where packs will train.
        longest: Seconds that a pack may be forecast to take, where more than a trial is in it.
    """

    def __init__(
        self, study: Study, size: int | None = None, workers: int = 1, device: str = "cpu",
        longest: float = math.inf,
    ) -> None:  # fmt: skip
        self.study, self.size, self.workers = study, size, workers
        self.device, self.longest = device, longest
        self._numbers: dict[Any, int] = {}  # of signatures, which take long to compare
        self._about: dict[int, tuple[tuple[float, float], str]] = {}
        self.count = 0

    def pack(self, trials: list[Trial]) -> list[Pack]:
        """Packs of trials with equal signatures, the costliest first."""
        groups: dict[Any, list[Trial]] = {}
        about: dict[Any, tuple[tuple[float, float], str]] = {}
        for trial in trials:
            label, cost, lone = self._describe(trial)
            groups.setdefault(label, []).append(trial)
            about[label] = (cost, lone)
        packs = []
        for label, members in groups.items():
            (base, each), lone = about[label]
            size = self._size(members)
            if not self.size and base + each * size > self.longest:
                size = max(1, int((self.longest - base) / each + 1e-6))
            parts = math.ceil(len(members) / size)
            parts = max(parts, min(math.ceil(self.workers / len(groups)), len(members) // SPLIT))
            even = math.ceil(len(members) / parts)
            for start in range(0, len(members), even):
                part = members[start : start + even]
                self.count += 1
                packs.append(Pack(f"p{self.count:05d}", part, base, each, lone))
        return sorted(packs, key=lambda pack: -pack.cost)

    def _size(self, members: list[Trial]) -> int:
        """Most trials a pack of this group."""
        if self.size or len(members) <= sizing.SIZES[0]:
            return self.size or sizing.SIZES[0]
        training = self.study.trial(members[0])
        if not isinstance(training, Training):
            return sizing.SIZES[0]
        return sizing.pack_size(training, self.device, self.workers)

    def halve(self, pack: Pack) -> list[Pack]:
        """Two halves of a pack that did not come back."""
        middle = len(pack.trials) // 2
        halves = []
        for part in (pack.trials[:middle], pack.trials[middle:]):
            self.count += 1
            halves.append(Pack(f"p{self.count:05d}", part, pack.base, pack.each, pack.lone))
        return halves

    def _describe(self, trial: Trial) -> tuple[Any, tuple[float, float], str]:
        """A group label, seconds (a pack, each trial of it), and why the trial cannot fuse."""
        try:
            declared = self.study.trial(trial)
        except Exception as error:  # the worker meets it again and reports it as a failed trial
            return (
                ("alone", trial.key),
                (0.0, 1.0),
                f"its trial function raises {type(error).__name__}",
            )
        if isinstance(declared, Training):
            try:
                signature = declared.signature()
                label = self._numbers.setdefault(signature, len(self._numbers))
                if label not in self._about:  # trials of one signature are alike in these
                    cost = sizing.seconds(declared, self.device)
                    self._about[label] = cost, self._why(declared)
                cost, why = self._about[label]
                return (label if not why else (label, trial.key)), cost, why
            except Exception as error:
                return ("alone", trial.key), (0.0, 1.0), f"its model raises {type(error).__name__}"
        return ("alone", trial.key), (0.0, 1.0), "it is a generator of rows"

    def _why(self, declared: Training) -> str:
        return declared.why_alone()


class Sketch(Packer):
    """A packer for what is only told of: trials of equal settings are taken to be alike, whatever
    their seeds; and few kinds of model that no run has tried yet are tried, the others taken to fuse.

    Attributes:
        untried: How many kinds were taken to.
    """

    def __init__(self, study: Study, workers: int) -> None:
        super().__init__(study, workers=workers)
        self._alike: dict[str, Any] = {}
        self._tried = self.untried = 0

    def _describe(self, trial: Trial) -> tuple[Any, tuple[float, float], str]:
        alike = repr((trial.arm, trial.settings))
        if alike not in self._alike:
            self._alike[alike] = super()._describe(trial)
        label, cost, lone = self._alike[alike]
        return ((label, trial.key) if lone else label), cost, lone

    def _why(self, declared: Training) -> str:
        if declared.vouched_before() is None:
            if self._tried == MOST_TRIED:
                self.untried += 1
                return ""
            self._tried += 1
        return declared.why_alone()


MOST_TRIED = 3  # kinds of model, for a plan that is to be told in seconds
SPLIT = 8  # trials a pack, below which a group is not split to give every worker some
SECONDS_A_RECORD = 0.012  # one child run in MLflow's SQLite store
SECONDS_TO_START = 12.0  # Ray, MLflow's import, the workers' imports, the report


@process.one_thread()
def dry_run(
    study: Study, source: Source, scale: str, cores: int,
    codes: Mapping[frozenset[str], str] = MappingProxyType({}),
) -> dict[str, Any]:  # fmt: skip
    """What a run would train, by phase, why trials run alone, and a forecast of its seconds.

    `codes` are those of a `Plan` of the study, where there is one.
    """
    plan, packer = Plan(study, source, scale, codes), Sketch(study, cores)
    phases: dict[str, dict[str, int]] = {}
    alone: dict[str, int] = {}
    seconds = 0.0
    while trials := plan.ready():
        for pack in packer.pack(trials):
            row = phases.setdefault(pack.trials[0].phase, {"trials": 0, "packs": 0, "alone": 0})
            row["trials"] += len(pack.trials)
            row["packs"] += 1
            row["alone"] += bool(pack.lone)
            if pack.lone:
                alone[pack.lone] = alone.get(pack.lone, 0) + 1
            seconds += pack.cost
        for trial in trials:
            plan.tell(trial.key, Outcome("finished"))
    return {
        "study": study.name,
        "scale": scale,
        "reads": list(study.reads),
        "plan": plan.hash(),
        "trials": plan.planned,
        "most_trials": plan.planned + len(plan.cells()) * (plan.looks[-1] - plan.looks[0]),
        "packs": sum(row["packs"] for row in phases.values()),
        "left_out": plan.left_out,
        "phases": phases,
        "alone": alone,
        "untried": packer.untried,
        "cores": cores,
        "work": round(seconds, 1),
        "seconds": round(SECONDS_TO_START + (seconds + SECONDS_A_RECORD * plan.planned) / cores, 1),
    }
