"""How much of a search's outcome each hyperparameter explains, with uncertainty.

Two methods, named in every result, that answer two questions:

- fANOVA (Hutter, Hoos & Leyton-Brown 2014): how much of the variance of the objective over the
  whole space is due to a hyperparameter alone, and to each pair beyond its two. A random forest
  stands for the objective, and its variance is taken apart exactly.
- PED-ANOVA (Watanabe, Bansal & Hutter 2023): how much a hyperparameter decides whether a trial is
  among the best.

The replication unit is one trial. Each draw fits anew, with a new forest seed, on trials drawn
with replacement.

One module: all of it rests on how trials are drawn anew and hyperparameters are laid on axes.
"""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from harness.claims import stats
from harness.plan.draws import quiet
from harness.study import BadInput, is_level

Array = np.ndarray
Names = tuple[str, ...]
Leaves = tuple[Array, Array, Array]  # a tree's: values, and lower and upper ends


@dataclass(frozen=True)
class Importance:
    """Shares of what a search's outcome owes to its hyperparameters.

    Attributes:
        method: The method's name and settings, for captions.
        terms: What the shares belong to: one name, or two for an interaction.
        shares: (terms,) on all trials, the mean over forest seeds.
        draws: (draws, terms) on resampled trials.
        n: How many trials.
        clipped: How many of them had an infinite objective, which counts as the worst finite one.
    """

    method: str
    terms: tuple[Names, ...]
    shares: Array
    draws: Array
    n: int
    clipped: int

    def of(self, *names: str) -> stats.Bootstrap:
        """The share of a hyperparameter, or of the interaction of two, as an estimate."""
        found = [i for i, term in enumerate(self.terms) if set(term) == set(names)]
        if not found:
            allowed = ", ".join(" x ".join(term) for term in self.terms)
            raise BadInput(f"no share of {' x '.join(names)!r}; allowed: {allowed}")
        i = found[0]
        return stats.Bootstrap(float(self.shares[i]), self.draws[:, i], self.n)

    def interactions(self) -> stats.Bootstrap:
        """What fANOVA's single hyperparameters leave: the share of all interactions together."""
        if not self.method.startswith("fANOVA"):
            raise BadInput(f"{self.method} has no interactions; allowed: fANOVA")
        alone = [i for i, term in enumerate(self.terms) if len(term) == 1]
        rest = 1 - self.draws[:, alone].sum(axis=1)
        return stats.Bootstrap(float(1 - self.shares[alone].sum()), rest, self.n)

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """One row a term, largest first: term, share, low, high, method, n."""
        rows = []
        for term, share in zip(self.terms, self.shares, strict=True):
            low, high = self.of(*term).interval(level)
            rows.append({"term": " x ".join(term), "share": share, "low": low, "high": high})
        frame = pd.DataFrame(rows).sort_values("share", ascending=False, ignore_index=True)
        return frame.assign(method=self.method, n=self.n)


def fanova(
    trials: pd.DataFrame,
    objective: Array,
    space: Mapping[str, BaseDistribution],
    generator: np.random.Generator,
    *,
    pairs: bool = True,
    trees: int = 32,
    forests: int = 4,
    resamples: int = 199,
) -> Importance:
    """Shares of the objective's variance over the space, by fANOVA.

    A hyperparameter that was drawn on a log scale is integrated on it. (Optuna's own evaluator
    integrates on the linear scale, where a log-uniform rate spends nearly all its measure in the
    topmost decade, and gives no interactions; without log scales and categories the two agree.)
    Shares are fractions of the forest's variance and sum with the higher interactions to 1. Their
    intervals hold the scatter of trials and forests, and not that a forest flattens small effects:
    with 200 trials these come out a hundredth or two too small.

    Args:
        trials: One row a finished trial, a column for each name of `space`.
        objective: (trials,) what is explained; infinities count as the worst finite value.
        space: The distributions that were drawn from; single-valued ones are left out.
        generator: The source of forest seeds and resamples.
        pairs: Whether to give pairwise interactions too.
        trees: Of each forest.
        forests: Seeds that the shares on all trials are averaged over.
        resamples: Draws for the uncertainty.
    """
    points, bounds, y, clipped = _encoded(trials, objective, space)
    names = tuple(bounds)
    edges = np.array(list(bounds.values()))  # (names, 2)
    terms: list[Names] = [(name,) for name in names]
    terms += list(itertools.combinations(names, 2)) if pairs else []

    def shares(rows: Array) -> Array:
        return _forest_shares(points[rows], y[rows], edges, pairs, trees, generator)

    found = _draws(shares, y.size, len(terms), forests, resamples, generator)
    method = f"fANOVA, {trees} trees"
    return Importance(method, tuple(terms), *found, y.size, clipped)


@dataclass(frozen=True)
class Marginal:
    """Predicted performance along one hyperparameter, the others averaged out over their ranges
    (Hutter, Hoos & Leyton-Brown 2014, section 3).

    Attributes:
        name: The hyperparameter.
        values: (points,) where, in its own unit, evenly apart on the axis that it was drawn on.
        mean: (points,) on all trials, the mean over forest seeds.
        draws: (draws, points) on resampled trials.
        n: How many trials.
    """

    name: str
    values: Array
    mean: Array
    draws: Array
    n: int


def marginals(
    trials: pd.DataFrame,
    objective: Array,
    space: Mapping[str, BaseDistribution],
    generator: np.random.Generator,
    wanted: Sequence[tuple[str, Mapping[str, tuple[float, float]]]],
    *,
    points: int = 32,
    trees: int = 32,
    forests: int = 4,
    resamples: int = 199,
) -> list[Marginal]:
    """What the forests of `fanova` predict along single hyperparameters, all from the same forests.

    Args:
        wanted: For each curve the hyperparameter along which it goes, and between which fractions
            of their axes others are averaged, where not over all: ``("lr", {"width": (0, 0.5)})``.
        points: Of each curve.

    Other arguments as for `fanova`.
    """
    rows, bounds, y, _ = _encoded(trials, objective, space)
    names, edges = list(bounds), np.array(list(bounds.values()))
    for name, given in wanted:
        for one in (name, *given):
            if one not in names or isinstance(space[one], CategoricalDistribution):
                ordered = [n for n in names if not isinstance(space[n], CategoricalDistribution)]
                raise BadInput(f"a marginal of {one!r}; allowed: {', '.join(ordered)}")
    places = (np.arange(points) + 0.5) / points
    regions = []  # of each curve: its axis, and the box that the others are averaged over
    for name, given in wanted:
        box = np.array([given.get(one, (0.0, 1.0)) for one in names])  # (names, 2)
        regions.append((names.index(name), box))

    def curves(chosen: Array) -> Array:
        forest = _forest(rows[chosen], y[chosen], edges, trees, generator)
        each = [[_along(leaves, *region, places) for region in regions] for leaves in forest]
        curve: Array = np.mean(each, axis=0)  # (trees, curves, points) -> (curves, points)
        return curve.ravel()

    point, draws = _draws(curves, y.size, len(wanted) * points, forests, resamples, generator)
    found = []
    for number, (name, _) in enumerate(wanted):
        own = slice(number * points, (number + 1) * points)
        low, high = bounds[name]
        values = low + places * (high - low)
        values = np.exp(values) if getattr(space[name], "log", False) else values
        found.append(Marginal(name, values, point[own], draws[:, own], y.size))
    return found


def _along(leaves: Leaves, axis: int, box: Array, places: Array) -> Array:
    """(points,) a tree's mean at each place of one axis, over a box in the others."""
    values, low, high = leaves  # (leaves,), (leaves, names) twice
    inside = np.clip(np.minimum(high, box[:, 1]) - np.maximum(low, box[:, 0]), 0, None)
    inside /= box[:, 1] - box[:, 0]
    weights = values * np.delete(inside, axis, 1).prod(axis=1)  # (leaves,)
    at = (low[:, axis] <= places[:, None]) & (places[:, None] < high[:, axis])  # (points, leaves)
    found: Array = at @ weights
    return found


def ped_anova(
    trials: pd.DataFrame,
    objective: Array,
    space: Mapping[str, BaseDistribution],
    generator: np.random.Generator,
    *,
    better: str = "low",
    best: float = 0.1,
    resamples: int = 199,
) -> Importance:
    """Shares of what decides whether a trial is among the best, by Optuna's PED-ANOVA.

    Shares sum to 1 over the hyperparameters. Arguments as for `fanova`, and:

    Args:
        better: "low" or "high".
        best: Which part of the trials is "the best"; at least five trials should be.
    """
    if better not in ("low", "high"):
        raise BadInput(f"better is {better!r}; allowed: 'low', 'high'")
    if not 0 < best < 1:
        raise BadInput(f"best is {best}; allowed: between 0 and 1")
    _, bounds, y, clipped = _encoded(trials, objective, space)
    names = tuple(bounds)
    kept = {name: space[name] for name in names}
    columns = [_drawn(trials[name], kept[name]) for name in names]
    settings = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=best)
    made = [
        optuna.trial.create_trial(
            params=setting,
            distributions=kept,
            value=float(value if better == "low" else -value),
        )
        for setting, value in zip(settings, y, strict=True)
    ]

    def shares(rows: Array) -> Array:
        with quiet():
            study = optuna.create_study()
        study.add_trials([made[row] for row in rows])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # too few trials of a kind: the draws show it
            found = optuna.importance.get_param_importances(study, evaluator=evaluator)
        return np.array([found[name] for name in names])

    found = _draws(shares, y.size, len(names), 1, resamples, generator)
    method = f"PED-ANOVA, best {best:.0%}"
    return Importance(method, tuple((name,) for name in names), *found, y.size, clipped)


def _draws(
    shares: Callable[[Array], Array],
    n: int,
    terms: int,
    repeats: int,
    resamples: int,
    generator: np.random.Generator,
) -> tuple[Array, Array]:
    """The shares on all trials, averaged over repeats, and on resampled ones."""
    everything = np.arange(n)
    point = np.mean([shares(everything) for _ in range(repeats)], axis=0)
    draws = [shares(generator.integers(0, n, n)) for _ in range(resamples)]
    return point, np.reshape(draws, (resamples, terms))


def _encoded(
    trials: pd.DataFrame, objective: Array, space: Mapping[str, BaseDistribution]
) -> tuple[Array, dict[str, tuple[float, float]], Array, int]:
    """Trials as points whose measure is uniform between the bounds of each hyperparameter."""
    y = np.asarray(objective, dtype=float)
    if y.shape != (len(trials),):
        raise BadInput(f"objective has shape {y.shape}; allowed: ({len(trials)},), one a trial")
    if np.isnan(y).any():
        raise BadInput(
            f"objective has {int(np.isnan(y).sum())} NaN; a diverged trial needs a score"
        )
    missing = [name for name in space if name not in trials]
    if missing:
        raise BadInput(
            f"trials lack {', '.join(missing)}; they have {', '.join(map(str, trials.columns))}"
        )
    finite = y[np.isfinite(y)]
    if finite.size < 8 or np.ptp(finite) == 0:
        raise BadInput(
            f"{finite.size} finite objectives with {np.unique(finite).size} values; "
            "allowed: at least 8 trials that differ"
        )
    columns, bounds = [], {}
    for name in sorted(space):
        distribution = space[name]
        if distribution.single():
            continue
        if trials[name].isna().any() and not isinstance(distribution, CategoricalDistribution):
            raise BadInput(f"{name} is missing in some trials; allowed: every trial has drawn it")
        column, low, high = _axis(trials[name], distribution)
        columns.append(column)
        bounds[name] = (low, high)
    if not columns:
        raise BadInput(f"space {', '.join(space) or '(empty)'} has nothing that varies")
    clipped = int((~np.isfinite(y)).sum())
    return np.stack(columns, axis=1), bounds, np.clip(y, finite.min(), finite.max()), clipped


def _axis(values: pd.Series, distribution: BaseDistribution) -> tuple[Array, float, float]:
    """One hyperparameter on the axis it was drawn on, and that axis's ends."""
    column = np.array([distribution.to_internal_repr(v) for v in _drawn(values, distribution)])
    if isinstance(distribution, CategoricalDistribution):  # one cell of width 1 each
        return column, -0.5, len(distribution.choices) - 0.5
    assert hasattr(distribution, "low") and hasattr(distribution, "high")
    step = getattr(distribution, "step", None) or 0
    if not isinstance(distribution, FloatDistribution) and distribution.log:  # type: ignore[attr-defined]
        step = 1
    low, high = distribution.low - step / 2, distribution.high + step / 2
    if distribution.log:  # type: ignore[attr-defined]
        return np.log(column), float(np.log(low)), float(np.log(high))
    return column, float(low), float(high)


def _drawn(values: pd.Series, distribution: BaseDistribution) -> list[Any]:
    """The values as Optuna drew them: Python's own scalars, and None where pandas has NaN."""
    choices = getattr(distribution, "choices", ())
    drawn = [v.item() if isinstance(v, np.generic) else v for v in values]
    drawn = [None if None in choices and pd.isna(v) else v for v in drawn]
    return [next((one for one in choices if is_level(v, one)), v) for v in drawn]


def _forest(
    points: Array, y: Array, edges: Array, trees: int, generator: np.random.Generator
) -> tuple[Leaves, ...]:
    """The leaves of each tree of a forest whose seed the generator draws."""
    seed = int(generator.integers(2**31))
    plain = (np.asarray(one, np.float64).tobytes() for one in (points, y, edges))
    return _grown(*plain, trees, seed)


# The claims and figures on one arm's draws all ask for the same forests, on the same resamples.
@functools.lru_cache(maxsize=512)
def _grown(points: bytes, y: bytes, edges: bytes, trees: int, seed: int) -> tuple[Leaves, ...]:
    from sklearn.ensemble import RandomForestRegressor

    scores, box = np.frombuffer(y), np.frombuffer(edges).reshape(-1, 2)
    forest = RandomForestRegressor(trees, random_state=seed)
    forest.fit(np.frombuffer(points).reshape(len(scores), len(box)), scores)
    return tuple(leaves_of(tree.tree_, box) for tree in forest.estimators_)


def _forest_shares(
    points: Array, y: Array, edges: Array, pairs: bool, trees: int, generator: np.random.Generator
) -> Array:
    """(terms,) shares of variance, the mean over a forest's trees; 0 where nothing varies."""
    forest = _forest(points, y, edges, trees, generator)
    found = [tree_shares(leaves, pairs) for leaves in forest]
    shares = [share for share in found if share is not None]
    count = len(edges) + (len(edges) * (len(edges) - 1) // 2 if pairs else 0)
    return np.mean(shares, axis=0) if shares else np.zeros(count)


def tree_shares(leaves: Leaves, pairs: bool) -> Array | None:
    """The variance decomposition of one regression tree over a box, exactly.

    A tree is constant on boxes, its leaves. Its mean given one coordinate (or two) is a sum over
    the leaves, each adding its value, times its width in the other coordinates, between its lower
    and upper end: steps up and down, summed up along the axis.

    Args:
        leaves: What `leaves_of` gives.
        pairs: Whether to go on to pairs.

    Returns:
        (terms,) fractions of the tree's variance: each coordinate's, then each pair's beyond its
        two; None if the tree is constant.
    """
    values, low, high = leaves
    count = low.shape[1]
    widths = high - low  # (leaves, names), as fractions of the box
    volume = widths.prod(axis=1)
    mean = float(volume @ values)
    variance = float(volume @ (values - mean) ** 2)
    if variance <= 1e-12 * max(mean**2, 1e-300):
        return None
    cuts = [np.unique(np.concatenate([low[:, i], high[:, i]])) for i in range(count)]
    start = [np.searchsorted(cuts[i], low[:, i]) for i in range(count)]
    stop = [np.searchsorted(cuts[i], high[:, i]) for i in range(count)]
    weights = volume * (values - mean)
    alone = []
    for i in range(count):
        steps = np.zeros(cuts[i].size)
        np.add.at(steps, start[i], weights / widths[:, i])
        np.add.at(steps, stop[i], -weights / widths[:, i])
        alone.append(float(np.cumsum(steps)[:-1] ** 2 @ np.diff(cuts[i])))
    together = []
    for i, j in itertools.combinations(range(count), 2) if pairs else ():
        steps = np.zeros((cuts[i].size, cuts[j].size))
        add = weights / (widths[:, i] * widths[:, j])
        for a, b, sign in (
            (start[i], start[j], 1), (stop[i], start[j], -1),
            (start[i], stop[j], -1), (stop[i], stop[j], 1),
        ):  # fmt: skip
            np.add.at(steps, (a, b), sign * add)
        surface = steps.cumsum(axis=0).cumsum(axis=1)[:-1, :-1]
        both = float(np.diff(cuts[i]) @ surface**2 @ np.diff(cuts[j]))
        together.append(max(0.0, both - alone[i] - alone[j]))
    return np.array(alone + together) / variance


def leaves_of(tree: Any, edges: Array) -> Leaves:
    """A tree's leaves: values (leaves,), and lower and upper ends (leaves, names) in [0, 1].

    Args:
        tree: scikit-learn's fitted ``tree_``.
        edges: (names, 2) the box that it is looked at in.
    """
    span = edges[:, 1] - edges[:, 0]
    nodes = np.array([0])
    low, high = np.zeros((1, len(edges))), np.ones((1, len(edges)))
    found = []
    while nodes.size:  # all nodes of one depth at once
        leaf = tree.children_left[nodes] < 0
        found.append((tree.value[nodes[leaf], 0, 0], low[leaf], high[leaf]))
        nodes, low, high = nodes[~leaf], low[~leaf], high[~leaf]
        axis, row = tree.feature[nodes], np.arange(nodes.size)
        cut = (tree.threshold[nodes] - edges[axis, 0]) / span[axis]
        left_high, right_low = high.copy(), low.copy()
        left_high[row, axis] = right_low[row, axis] = cut
        nodes = np.concatenate([tree.children_left[nodes], tree.children_right[nodes]])
        low, high = np.concatenate([low, right_low]), np.concatenate([left_high, high])
    values, lows, highs = zip(*found, strict=True)
    return np.concatenate(values), np.concatenate(lows), np.concatenate(highs)
