"""Importances: against variance worked out by hand, against Optuna, and on skewed spaces."""

from __future__ import annotations

import warnings

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.distributions import CategoricalDistribution as Choice
from optuna.distributions import FloatDistribution as Float
from optuna.distributions import IntDistribution as Int
from sklearn.ensemble import RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

from harness.claims.importance import (
    Importance,
    fanova,
    leaves_of,
    marginals,
    ped_anova,
    tree_shares,
)
from harness.study import BadInput

UNIT = np.array([[0.0, 1.0], [0.0, 1.0]])
SPACE = {"x": Float(0, 1), "y": Float(0, 1), "z": Float(0, 1)}


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def trials(n: int, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    g = generator(seed)
    frame = pd.DataFrame(g.random((n, 3)), columns=list("xyz"))
    y = 2 * frame["x"] + frame["y"] + 3 * (frame["x"] - 0.5) * (frame["y"] - 0.5)
    return frame, (y + 0.05 * g.normal(size=n)).to_numpy()


def test_a_tree_of_four_leaves_by_hand() -> None:
    # 4 values on the quarters of the square: rows 0 and 2 on average, columns 0.5 and 1.5
    points = np.array([[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]])
    values = np.array([0.0, 0.0, 1.0, 3.0])
    tree = DecisionTreeRegressor(random_state=0).fit(points, values).tree_
    # mean 1, variance (1 + 1 + 0 + 4) / 4 = 1.5; x: 1; y: 0.25; what is left: 0.25
    found = tree_shares(leaves_of(tree, UNIT), pairs=True)
    assert found == pytest.approx([1 / 1.5, 0.25 / 1.5, 0.25 / 1.5])
    assert found.sum() == pytest.approx(1.0)
    # on a box twice as wide the upper half of x has three quarters of the measure
    wide = tree_shares(leaves_of(tree, np.array([[0.0, 2.0], [0.0, 1.0]])), pairs=True)
    mean = 0.75 * 2
    assert wide[0] * (0.25 * mean**2 + 0.75 * (1 + 0.5**2 + 0.0 + 0.0)) == pytest.approx(
        0.25 * mean**2 + 0.75 * 0.5**2
    )
    assert (
        tree_shares(leaves_of(DecisionTreeRegressor().fit(points, np.ones(4)).tree_, UNIT), True)
        is None
    )


def test_the_forests_shares_are_optunas() -> None:
    frame, y = trials(80)
    study = optuna.create_study()
    study.add_trials(
        [
            optuna.trial.create_trial(params=row, distributions=SPACE, value=value)
            for row, value in zip(frame.to_dict("records"), y, strict=True)
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = optuna.importance.get_param_importances(
            study,
            evaluator=optuna.importance.FanovaImportanceEvaluator(n_trees=8, seed=3),
            normalize=False,
        )
    forest = RandomForestRegressor(8, max_depth=64, random_state=3).fit(frame.to_numpy(), y)
    edges = np.array([[0.0, 1.0]] * 3)
    found = np.mean(
        [tree_shares(leaves_of(e.tree_, edges), False) for e in forest.estimators_], axis=0
    )
    assert found == pytest.approx([wanted[name] for name in "xyz"])


def test_fanova_finds_the_parts_of_a_known_function() -> None:
    # 2x + y + 3 (x - 1/2)(y - 1/2): variances 4/12, 1/12 and 9/144
    frame, y = trials(300)
    found = fanova(frame, y, SPACE, generator(), trees=16, resamples=60)
    whole = 4 / 12 + 1 / 12 + 9 / 144
    for names, part in (("x", 4 / 12), ("y", 1 / 12), ("z", 0.0), ("xy", 9 / 144), ("xz", 0.0)):
        assert found.of(*names).effect == pytest.approx(part / whole, abs=0.03)
    low, high = found.of("x").interval(0.95)
    assert 0.6 < low < found.of("x").effect < high < 0.8
    assert found.of("y", "x").effect == found.of("x", "y").effect
    together = found.interactions()
    assert together.effect == pytest.approx(9 / 144 / whole, abs=0.03)
    assert together.effect == pytest.approx(1 - sum(found.of(name).effect for name in "xyz"))
    assert found.method == "fANOVA, 16 trees"
    table = found.table()
    assert table["term"].tolist()[0] == "x"
    assert set(table["method"]) == {found.method} and set(table["n"]) == {300}
    assert (table["low"] <= table["high"]).all()


def test_a_rate_drawn_on_a_log_scale_is_weighed_on_it() -> None:
    g = generator(1)
    space = {"lr": Float(1e-5, 1.0, log=True), "other": Float(0, 1)}
    frame = pd.DataFrame({"lr": 10 ** g.uniform(-5, 0, 250), "other": g.random(250)})
    y = (np.log10(frame["lr"]) < -2.5) * 1.0 + frame["other"]  # variances 1/4 and 1/12
    found = fanova(frame, y.to_numpy(), space, g, trees=16, resamples=20)
    assert found.of("lr").effect == pytest.approx(0.75, abs=0.04)
    assert found.of("other").effect == pytest.approx(0.25, abs=0.04)


def test_categories_integers_and_steps_have_cells_of_equal_measure() -> None:
    g = generator(2)
    space = {
        "kind": Choice(["a", "b", None]), "depth": Int(1, 4), "width": Int(8, 128, log=True),
        "rate": Float(0.0, 1.0, step=0.5), "fixed": Float(1.0, 1.0),
    }  # fmt: skip
    n = 400
    frame = pd.DataFrame(
        {
            "kind": g.choice(np.array(["a", "b", None], dtype=object), n),
            "depth": g.integers(1, 5, n),
            "width": np.round(2 ** g.uniform(3, 7, n)).astype(int),
            "rate": g.integers(0, 3, n) / 2,
            "fixed": 1.0,
        }
    )
    y = (frame["kind"] == "b") * 3.0 + frame["depth"] + frame["rate"]
    # variances 2, 5/4 and 1/6
    found = fanova(frame, y.to_numpy(), space, g, trees=16, resamples=20)
    whole = 2 + 5 / 4 + 1 / 6
    assert found.of("kind").effect == pytest.approx(2 / whole, abs=0.05)
    assert found.of("depth").effect == pytest.approx(1.25 / whole, abs=0.05)
    assert found.of("width").effect < 0.02
    assert ("fixed",) not in found.terms


def test_ped_anova_finds_what_decides_the_best() -> None:
    g = generator(3)
    frame = pd.DataFrame(g.random((200, 3)), columns=list("xyz"))
    y = (frame["x"] - 0.5) ** 2 + 0.1 * (frame["y"] - 0.5) ** 2
    found = ped_anova(frame, y.to_numpy(), SPACE, g, resamples=40)
    assert found.shares.sum() == pytest.approx(1.0)
    assert found.of("x").effect > 0.7
    assert found.of("x").interval(0.95)[0] > found.of("z").interval(0.95)[1]
    assert found.method == "PED-ANOVA, best 10%"
    with pytest.raises(BadInput, match="PED-ANOVA, best 10% has no interactions"):
        found.interactions()
    mirrored = ped_anova(frame, -y.to_numpy(), SPACE, g, better="high", resamples=2)
    assert mirrored.shares == pytest.approx(found.shares)


@pytest.mark.parametrize("method", [fanova, ped_anova])
def test_the_same_generator_gives_the_same_shares(method) -> None:
    frame, y = trials(30)
    one, two = (method(frame, y, SPACE, generator(9), resamples=3) for _ in range(2))
    assert (one.draws == two.draws).all() and (one.shares == two.shares).all()
    assert one.draws.shape == (3, len(one.terms))


def test_diverged_trials_count_as_the_worst() -> None:
    frame, y = trials(60)
    gone = y.copy()
    gone[frame["x"] > 0.9] = np.inf
    found = fanova(frame, gone, SPACE, generator(), trees=4, resamples=2)
    worst = np.where(np.isinf(gone), gone[np.isfinite(gone)].max(), gone)
    assert found.clipped == int((frame["x"] > 0.9).sum()) > 0
    wanted = fanova(frame, worst, SPACE, generator(), trees=4, resamples=2)
    assert (found.shares == wanted.shares).all()


FRAME, Y = trials(20)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: fanova(FRAME, Y[:5], SPACE, generator()), r"shape \(5,\); allowed: \(20,\)"),
        (lambda: fanova(FRAME, Y * np.nan, SPACE, generator()), "20 NaN"),
        (lambda: fanova(FRAME, Y, {"lr": Float(0, 1)}, generator()), "lack lr; they have x, y, z"),
        (lambda: fanova(FRAME, Y * 0, SPACE, generator()), "with 1 values; allowed: at least 8"),
        (lambda: fanova(FRAME, Y, {"x": Float(1, 1)}, generator()), "space x has nothing that"),
        (lambda: fanova(FRAME.mask(FRAME > 0.9), Y, SPACE, generator()), "missing in some trials"),
        (lambda: ped_anova(FRAME, Y, SPACE, generator(), better="up"), "'up'; allowed: 'low'"),
        (lambda: ped_anova(FRAME, Y, SPACE, generator(), best=1.0), "best is 1.0"),
        (lambda: Importance("m", (("x",),), np.ones(1), np.ones((2, 1)), 2, 0).of("y"),
         "no share of 'y'; allowed: x"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(call, says) -> None:
    with pytest.raises(BadInput, match=says):
        call()


def test_marginals_are_the_averages_of_what_the_forest_predicts() -> None:
    frame, y = trials(80)
    wanted = [("x", {}), ("x", {"y": (0.5, 1.0)})]
    found = marginals(
        frame, y, SPACE, generator(3), wanted, points=8, trees=4, forests=1, resamples=2
    )
    seed = int(generator(3).integers(2**31))
    forest = RandomForestRegressor(4, random_state=seed).fit(frame.to_numpy(), y)
    at = (np.arange(8) + 0.5) / 8
    for curve, low in zip(found, (0.0, 0.5), strict=True):
        grid = (np.arange(400) + 0.5) / 400
        points = np.stack(np.meshgrid(at, low + (1 - low) * grid, [0.3], indexing="ij"), -1)
        # z is averaged too: over random places, which is all this check leaves to chance
        points = np.repeat(points.reshape(8 * 400, 1, 3), 25, axis=1)
        points[..., 2] = generator(1).random(points.shape[:2])
        expected = forest.predict(points.reshape(-1, 3)).reshape(8, -1).mean(1)
        np.testing.assert_allclose(curve.mean, expected, atol=0.01)
        assert curve.values == pytest.approx(at)
        assert curve.draws.shape == (2, 8)
        assert curve.n == 80
    rate = marginals(
        frame.assign(x=10 ** (-frame["x"])), y, SPACE | {"x": Float(0.1, 1, log=True)},
        generator(), [("x", {})], points=2, forests=1, resamples=1,
    )[0]  # fmt: skip
    assert np.log10(rate.values) == pytest.approx([-0.75, -0.25])
    with pytest.raises(BadInput, match="marginal of 'w'; allowed: x, y, z"):
        marginals(frame, y, SPACE, generator(), [("w", {})])
