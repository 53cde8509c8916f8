"""A tabular benchmark: a search that asks a table where it would train.

Every architecture of a space has been trained once and for all (`studies/architectures.py`), so a
search costs nothing but look-ups, and its regret is exact (NAS-Bench-101, Ying et al. 2019). A query
answers with the validation accuracy of one training, drawn at random from the table's seeds, as a
search that trains would see it; what the search has found is judged by the mean over seeds of its
test accuracy, which the search never sees.

A strategy is a generator function. It yields what to train and is sent the score:

    def random_search(space, rng):
        while True:
            score = yield space.sample(rng)

A short training is asked for by ``yield architecture, share``, the share of a full training.

One module: a table, the searches of it and the metrics that judge them have one row layout in common.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.nas.space import HYPERPARAMETERS, Architecture, Hashed, Space
from harness.parts import data
from harness.study import BadInput, Metric

METRICS = {  # what `search` reports
    "regret": Metric("points", better="low", worst=100.0, log=True),
    "evaluations": Metric("trainings", label="trainings, short ones among them"),
    "hypervolume": Metric(
        "share", better="high", worst=0.0, label="hypervolume, share of the whole space's"
    ),
    "front_params": Metric("trained numbers", log=True),
    "front_accuracy": Metric("fraction", better="high"),
}
EPSILON = 1e-9  # of a full training: sums of shares are not exact
REFERENCE = "reference"  # the setting of an architecture alone


@dataclass(frozen=True)
class Configuration(Hashed):
    """An architecture and how it is trained.

    Args:
        architecture: Of the table.
        setting: A name in `HYPERPARAMETERS`, an arm of the table.
    """

    architecture: Architecture
    setting: str = REFERENCE

    def __hash__(self) -> int:
        return self.hashed

    @property
    def name(self) -> str:
        return f"{self.architecture.name} {self.setting}"


Candidate = Architecture | Configuration
Proposal = Candidate | tuple[Candidate, float]
Strategy = Callable[[Any, np.random.Generator], Generator[Proposal, float, None]]


@dataclass(frozen=True)
class JointSpace(Hashed):
    """Architectures with training settings: every pair of the two (AutoCTS+, Wu et al. 2023).

    Args:
        space: Whose architectures they are; it says what is near and how large each is.
        architectures: Some of the space's.
        settings: Names in `HYPERPARAMETERS`.
    """

    space: Space
    architectures: tuple[Architecture, ...]
    settings: tuple[str, ...]

    def __post_init__(self) -> None:
        wrong = [name for name in self.settings if name not in HYPERPARAMETERS]
        if wrong or not self.settings or not self.architectures:
            raise BadInput(
                f"JointSpace has {len(self.architectures)} architectures and settings "
                f"{self.settings!r}; allowed: one or more of each, of {', '.join(HYPERPARAMETERS)}"
            )

    def __hash__(self) -> int:
        return self.hashed

    @functools.cached_property
    def _near(self) -> Mapping[Architecture, tuple[Architecture, ...]]:
        return _nearest(self.space, self.architectures)

    @functools.cached_property
    def configurations(self) -> tuple[Configuration, ...]:
        return tuple(Configuration(a, s) for a in self.architectures for s in self.settings)

    def __len__(self) -> int:
        return len(self.architectures) * len(self.settings)

    def sample(self, rng: np.random.Generator) -> Configuration:
        """One of the configurations, each as likely as the others."""
        return self.configurations[rng.integers(len(self))]

    def neighbours(self, c: Configuration) -> tuple[Configuration, ...]:
        """The same architecture with one hyperparameter changed, and the same setting with each of
        the architectures whose encoding is nearest (four, or as many more as are as near)."""
        near = self._near[c.architecture]
        return (
            *(Configuration(c.architecture, s) for s in self.settings if _apart(s, c.setting) == 1),
            *(Configuration(a, c.setting) for a in near),
        )

    def mutate(self, c: Configuration, rng: np.random.Generator) -> Configuration:
        """One of the neighbours, each as likely as the others."""
        near = self.neighbours(c)
        return near[rng.integers(len(near))] if near else self.sample(rng)

    def params(self, c: Configuration) -> int:
        """Trained numbers of its network."""
        return self.space.params(c.architecture)


@functools.cache
def _apart(a: str, b: str) -> int:
    """In how many hyperparameters two settings differ."""
    one, other = vars(HYPERPARAMETERS[a]), vars(HYPERPARAMETERS[b])
    return sum(one[name] != other[name] for name in one)


@functools.lru_cache(maxsize=8)
def _nearest(
    space: Space, architectures: tuple[Architecture, ...], count: int = 4
) -> Mapping[Architecture, tuple[Architecture, ...]]:
    codes = np.stack([space.encode(a) for a in architectures])  # (N, F)
    found = {}
    for a, code in zip(architectures, codes, strict=True):
        apart = np.abs(codes - code).sum(axis=1)
        others = sorted(apart)[1:]  # the first is itself
        within = others[min(count, len(others)) - 1] if others else -1
        found[a] = tuple(
            b for b, far in zip(architectures, apart, strict=True) if far <= within and b != a
        )
    return found


AnySpace = Space | JointSpace


def candidates(space: AnySpace) -> tuple[Candidate, ...]:
    """Everything that a search of the space may propose."""
    return space.architectures if isinstance(space, Space) else space.configurations


@dataclass(frozen=True, eq=False)
class Scores:
    """The table as arrays, N candidates of S training seeds at L lengths.

    Args:
        places: The row of each (setting, name of the architecture).
        shares: Of a full training, at which accuracies were read, ascending; the last is 1.
        valid, test: (N, L, S) accuracies, from 0 to 1; a training that diverged or failed scores 0.
    """

    places: Mapping[tuple[str, str], int]
    shares: tuple[float, ...]
    valid: np.ndarray
    test: np.ndarray

    @classmethod
    def of(cls, table: Mapping[str, np.ndarray]) -> Scores:
        """From the columns of `harness.parts.data.table`: arm (a setting), architecture, seed, step,
        valid_accuracy, test_accuracy. Steps may be counted otherwise in each arm; its last is a
        full training. A row at step 0 is no training and is left out.

        Raises:
            BadInput: the arms were not read at the same shares of a training.
        """
        chosen = np.asarray(table["step"]) > 0
        column = {name: np.asarray(values)[chosen] for name, values in table.items()}
        seeds, seed = np.unique(column["seed"], return_inverse=True)
        arms, arm = np.unique(column["arm"].astype(str), return_inverse=True)
        length, shares = np.zeros(len(arm), int), np.ones(1)
        for number, name in enumerate(arms):
            steps, length[arm == number] = np.unique(
                column["step"][arm == number], return_inverse=True
            )
            before, shares = shares, steps / steps[-1]
            if number and (len(shares) != len(before) or np.abs(shares - before).max() > 0.02):
                raise BadInput(
                    f"{name} was read at {shares.round(3).tolist()} of a training; allowed: as the "
                    f"others, at {before.round(3).tolist()}"
                )
        names, place_ = np.unique(column["architecture"].astype(str), return_inverse=True)
        pairs, place = np.unique(arm * len(names) + place_, return_inverse=True)
        shape = (len(pairs), len(shares), len(seeds))
        found = {}
        for metric in ("valid_accuracy", "test_accuracy"):
            found[metric] = np.zeros(shape)
            values = np.nan_to_num(column[metric].astype(float), nan=0.0)
            found[metric][place, length, seed] = values
        places = {
            (str(arms[pair // len(names)]), str(names[pair % len(names)])): number
            for number, pair in enumerate(pairs)
        }
        shares_ = tuple(map(float, shares))
        return cls(places, shares_, found["valid_accuracy"], found["test_accuracy"])

    def place(self, candidate: Candidate) -> int:
        """The candidate's row.

        Raises:
            BadInput: the table has no such row.
        """
        if (found := self._placed.get(candidate)) is not None:
            return found
        setting, architecture = _parts(candidate)
        try:
            return self._placed.setdefault(candidate, self.places[setting, architecture.name])
        except KeyError:
            raise BadInput(
                f"architecture {architecture.name} at setting {setting!r} is not in the table; "
                f"allowed: its {len(self.places)} pairs, such as {next(iter(self.places), None)}"
            ) from None

    @functools.cached_property
    def _placed(self) -> dict[Candidate, int]:
        return {}  # what has been asked for

    def rows(self, some: Sequence[Candidate]) -> np.ndarray:
        """The candidates' rows, (n,) int64."""
        return np.array([self.place(candidate) for candidate in some])

    @functools.cached_property
    def true(self) -> np.ndarray:
        """(N,) mean test accuracy of full trainings, over seeds."""
        mean: np.ndarray = self.test[:, -1].mean(axis=1)
        return mean


@functools.lru_cache(maxsize=8)
def joint(space: Space, scores: Scores) -> JointSpace:
    """The architectures of a space that a table holds at every setting, with these settings."""
    settings = tuple(s for s in HYPERPARAMETERS if any(arm == s for arm, _ in scores.places))
    architectures = tuple(
        a for a in space.architectures if all((s, a.name) in scores.places for s in settings)
    )
    return JointSpace(space, architectures, settings)


_READ: dict[str, tuple[Mapping[str, np.ndarray], Scores]] = {}


def read(study: str) -> Scores:
    """The table of a study that this one reads (`Study.reads`), as arrays that are made once.

    Raises:
        DataError: it is not held.
    """
    table = data.table(study)
    if study not in _READ or _READ[study][0] is not table:
        _READ[study] = (table, Scores.of(table))
    return _READ[study][1]


def _parts(candidate: Candidate) -> tuple[str, Architecture]:
    if isinstance(candidate, Architecture):
        return REFERENCE, candidate
    return candidate.setting, candidate.architecture


class Benchmark:
    """What a search asks, and what it is judged by.

    Args:
        scores: The table.
        space: What is searched.
        rng: Draws which training a query reads.
        among: The space whose best candidate regret is counted from; by default the searched one.
    """

    def __init__(
        self, scores: Scores, space: AnySpace, rng: np.random.Generator,
        among: AnySpace | None = None,
    ) -> None:  # fmt: skip
        self.scores, self.space, self.rng = scores, space, rng
        self.best = _best(scores, among or space)
        self.cost = 0.0  # full trainings
        self.evaluations = 0
        self.incumbent: Candidate | None = None
        self.seen: dict[Candidate, tuple[int, float]] = {}  # the longest reading of each
        self._record = (-1, -math.inf)
        self._started: dict[Candidate, tuple[int, int]] = {}  # what could be trained on

    def evaluate(self, candidate: Candidate, share: float = 1.0) -> float:
        """The validation accuracy of one training of the candidate.

        A longer training of a candidate that has been trained shortly goes on from there, and costs
        the difference; any other is a new one, of a seed drawn anew.

        Args:
            share: Of a full training; the shortest length of the table that is as long.

        Raises:
            BadInput: the candidate is not in the table, or a share that is not above 0 and up to 1.
        """
        row, length = self.scores.place(candidate), self._length(share)
        self.cost += self.price(candidate, share)
        self.evaluations += 1
        before, seed = self._started.get(candidate, (length, 0))
        if before >= length:  # a new training
            seed = int(self.rng.integers(self.scores.valid.shape[2]))
        self._started[candidate] = (length, seed)
        score = float(self.scores.valid[row, length, seed])
        self.seen[candidate] = max(self.seen.get(candidate, (-1, 0.0)), (length, score))
        if (length, score) > self._record:
            self._record, self.incumbent = (length, score), candidate
        return score

    def price(self, candidate: Candidate, share: float = 1.0) -> float:
        """What `evaluate` would cost, in full trainings."""
        shares, length = self.scores.shares, self._length(share)
        before, _ = self._started.get(candidate, (length, 0))
        return shares[length] - (shares[before] if before < length else 0)

    def _length(self, share: float) -> int:
        if not 0 < share <= 1:
            raise BadInput(f"a strategy asks for {share!r} of a training; allowed: above 0, to 1")
        return _length(self.scores.shares, share)

    def regret(self) -> float:
        """Percentage points of test accuracy between the best candidate and the incumbent: the one
        with the best score among the longest trainings so far. Means over the table's seeds."""
        if self.incumbent is None:
            return math.nan
        return 100 * (self.best - float(self.scores.true[self.scores.place(self.incumbent)]))

    def front(self) -> tuple[np.ndarray, np.ndarray]:
        """The candidates that no other beats on both size and observed score, smallest first.

        Returns:
            Their trained numbers and mean test accuracies, (n,) each.
        """
        longest = max((length for length, _ in self.seen.values()), default=0)
        full = {c: score for c, (length, score) in self.seen.items() if length == longest}
        some = list(full)
        params: list[int] = [self.space.params(c) for c in some]  # type: ignore[arg-type]
        sizes = np.array(params, float)
        kept = undominated(sizes, np.array([full[c] for c in some]))
        chosen = [some[i] for i in kept]
        return sizes[kept], self.scores.true[self.scores.rows(chosen)] if chosen else np.array([])


@functools.cache
def _length(shares: tuple[float, ...], share: float) -> int:
    """The shortest length that is at least this share of a full training."""
    return next(i for i, one in enumerate(shares) if one >= share - EPSILON)


@functools.lru_cache(maxsize=64)
def _best(scores: Scores, space: AnySpace) -> float:
    return float(scores.true[scores.rows(candidates(space))].max())


def undominated(sizes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Places of what no other beats on both, smallest first: less is better of sizes, more of
    scores."""
    order = np.lexsort((-scores, sizes))
    before = np.maximum.accumulate(np.concatenate([[-math.inf], scores[order][:-1]]))[: len(order)]
    kept: np.ndarray = order[scores[order] > before]
    return kept


def hypervolume(
    sizes: np.ndarray, scores: np.ndarray, smallest: float, largest: float, floor: float
) -> float:
    """The area that a set of candidates dominates, in logarithms of size (Zitzler & Thiele 1999).

    Args:
        sizes, scores: (n,) each.
        smallest, largest: Sizes of the space; the largest and `floor` are the reference point.
        floor: A score.

    Returns:
        A share of the rectangle from the smallest to the largest size and from `floor` to 1.
    """
    kept = undominated(sizes, scores)
    kept = kept[scores[kept] > floor]
    if not len(kept) or largest <= smallest:
        return 0.0
    ends = np.log(np.append(sizes[kept], largest))
    heights = (scores[kept] - floor) / (1 - floor)
    return float((np.diff(ends) * heights).sum() / math.log(largest / smallest))


def search(
    strategy: Strategy, space: AnySpace, scores: Scores, seed: int, budget: int,
    among: AnySpace | None = None, every: int = 1, floor: float = 0.1,
) -> Iterator[dict[str, float]]:  # fmt: skip
    """Run a strategy until its budget is spent: the rows of a trial.

    Args:
        strategy: ``(space, rng) -> generator``; see the module.
        space: What is searched.
        scores: The table: ``read("architectures")``.
        seed: The search's own.
        budget: Full trainings that may be spent; a training that would exceed it is not run.
        among: The space whose best candidate regret is counted from; by default the searched one.
        every: Full trainings between rows.
        floor: The accuracy from which `hypervolume` is counted: chance, for ten classes.

    Yields:
        Rows whose step is the number of full trainings spent, the last at the whole budget (also of
        a strategy that has nothing more to propose): regret in percentage points; evaluations,
        short trainings among them; hypervolume, a share of that of the whole space. The points of
        the front that was found last are spread over the rows as front_params and front_accuracy.
    """
    benchmark = Benchmark(scores, space, np.random.default_rng([seed, 0]), among)
    bounds = (*_sizes(space), floor)
    whole = _whole(scores, space, bounds)
    rows: list[dict[str, float]] = []
    due = deque(sorted({*range(every, budget + 1, every), budget}))

    def record(until: float) -> None:
        """Rows for what has been spent, up to but without `until` full trainings."""
        while due and due[0] < until - EPSILON and benchmark.evaluations:
            area = hypervolume(*benchmark.front(), *bounds) / whole
            rows.append({"step": due.popleft(), "regret": benchmark.regret(),
                         "hypervolume": area, "evaluations": benchmark.evaluations})  # fmt: skip

    proposals = strategy(space, np.random.default_rng([seed, 1]))
    with contextlib.suppress(StopIteration):
        proposal = next(proposals)
        while True:
            candidate, share = proposal if isinstance(proposal, tuple) else (proposal, 1.0)
            after = benchmark.cost + benchmark.price(candidate, share)
            record(after)
            if after > budget + EPSILON:
                break
            proposal = proposals.send(benchmark.evaluate(candidate, share))
    record(budget + 1)
    front = list(zip(*benchmark.front(), strict=True))
    shown = np.unique(np.linspace(0, len(front) - 1, min(len(front), len(rows))).round())
    for row, number in zip(rows, shown.astype(int), strict=False):
        row["front_params"], row["front_accuracy"] = map(float, front[number])
    yield from rows


def _sizes(space: AnySpace) -> tuple[float, float]:
    """The fewest and the most trained numbers of a candidate."""
    sizes = _params(space)
    return float(sizes.min()), float(sizes.max())


@functools.lru_cache(maxsize=64)
def _params(space: AnySpace) -> np.ndarray:
    sizes: list[int] = [space.params(c) for c in candidates(space)]  # type: ignore[arg-type]
    return np.array(sizes, float)


@functools.lru_cache(maxsize=64)
def _whole(scores: Scores, space: AnySpace, bounds: tuple[float, float, float]) -> float:
    """The hypervolume of everything there is."""
    area = hypervolume(_params(space), scores.true[scores.rows(candidates(space))], *bounds)
    return area or math.nan
