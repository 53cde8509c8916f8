"""Series to be forecast: windows, ETTh1's cuts, and series whose least errors are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness import Data
from harness.parts.data import load, train_size
from harness.parts.data.series import (
    CUTS,
    HOURS,
    SERIES,
    driven,
    errors,
    ring,
    transformer,
    windows,
)
from harness.parts.models.forecasters import (
    OPERATIONS,
    AllPasts,
    DLinear,
    LSTMForecaster,
    OwnPast,
    Searchable,
)
from harness.study import DataError
from tests.parts.test_sequences import folder


def test_windows_are_read_and_said_in_order() -> None:
    series = np.arange(20.0).reshape(10, 2)
    x, y = windows(series, 3, 2)
    assert x.shape == (6, 3, 2) and y.shape == (6, 2, 2)
    for n in range(6):
        assert np.array_equal(x[n], series[n : n + 3])
        assert np.array_equal(y[n], series[n + 3 : n + 5].T)


def table(hours: int = HOURS, **change: str) -> bytes:
    """A file like ETTh1's, of numbers that say where they stand."""
    lines = ["date,a,b,c,d,e,f,g"]
    lines += [f"2016-07-01 00:00:00,{','.join(str(n * 7 + k) for k in range(7))}" for n in range(hours)]  # fmt: skip
    lines[-1] = change.get("last", lines[-1])
    return "\n".join(lines).encode()


def test_etth1_is_cut_by_months_and_scaled_by_the_training_split() -> None:
    x, y, xv, yv, xt, yt = transformer(table(), 5, 24)
    assert len(x) == CUTS[0] - 5 - 24 + 1 and len(xv) == len(xt) == 2880 - 24 + 1
    assert x.shape[1:] == (5, SERIES) and y.shape[1:] == (SERIES, 24)
    values = np.arange(CUTS[0]) * 7.0
    hour = (values[100] - values.mean()) / values.std()
    assert x[100, 0, 0] == pytest.approx(hour, abs=1e-5)
    step = 7.0 / values.std()
    # the first hour that is said of each split follows the last of the split before
    assert yv[0, 0, 0] == pytest.approx((7.0 * CUTS[0] - values.mean()) / values.std(), abs=1e-4)
    assert yt[0, 0, 0] - xt[0, -1, 0] == pytest.approx(step, abs=1e-5)
    assert yt[-1, 0, -1] == pytest.approx((7.0 * (CUTS[2] - 1) - values.mean()) / values.std(), abs=1e-4)  # fmt: skip


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (table(9), "shape"),
        (table(last="2016-07-01,1,2,x,4,5,6,7"), "cannot be read"),
        (table(last="2016-07-01,1,2"), "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"", "shape"),
    ],
)
def test_what_is_no_table_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        transformer(content, 5, 24)


def test_etth1_is_the_published_one() -> None:
    if not (folder() / "ett").is_dir():
        pytest.skip("needs ett in HARNESS_DATA")
    data = Data("etth1_96", length=336)
    splits = load(data)
    x, y = splits.test
    assert len(splits.train[0]) == train_size(data) == 8209
    # Zeng et al. 2023, table 2: the last value repeated
    assert float((x[:, -1:].mT - y).square().mean()) == pytest.approx(1.295, rel=2e-3)


def test_a_ring_listens_to_those_before() -> None:
    graph = ring(5, (1, 3))
    assert graph[0].tolist() == [0, 0, 0.5, 0, 0.5]
    assert np.allclose(graph.sum(1), 1)


@pytest.mark.parametrize("coupling", [0.0, 0.6])
def test_least_errors_are_those_of_long_series(coupling: float) -> None:
    graph = ring(4, (1, 3))
    own, repeated = errors(graph, coupling, 4)
    x, y = (part.astype(float) for part in windows(driven(100_000, graph, coupling), 4, 3))
    one = x.swapaxes(1, 2).reshape(-1, 4)
    target = y.reshape(-1, 3)
    rest = target - one @ np.linalg.lstsq(one, target, rcond=None)[0]
    assert np.mean(rest**2) == pytest.approx(own, rel=0.02)
    assert np.mean((y - x[:, -1:].swapaxes(1, 2)) ** 2) == pytest.approx(repeated, rel=0.02)
    every = x.reshape(len(x), -1)
    rest = y.reshape(len(y), -1) - every @ np.linalg.lstsq(every, y.reshape(len(y), -1), rcond=None)[0]  # fmt: skip
    assert np.mean(rest**2) == pytest.approx(1.0, rel=0.02)


def test_a_linear_forecast_sees_nothing_of_what_is_bent() -> None:
    x, y = windows(driven(50_000, ring(8, (1, 3)), 2.0, bent=True), 4, 3)
    own = x.swapaxes(1, 2).reshape(-1, 4)
    every = x.reshape(len(x), -1)
    found = []
    for seen, target in ((own, y.reshape(-1, 3)), (every, y.reshape(len(y), -1))):
        seen = np.c_[seen, np.ones(len(seen))]
        found.append(np.mean((target - seen @ np.linalg.lstsq(seen, target, rcond=None)[0]) ** 2))
    assert found[0] > 1.8 and found[1] > 0.97 * found[0]


# --- models --------------------------------------------------------------------------------------


def test_what_forecasts_says_as_many_steps_of_every_series() -> None:
    x = torch.randn(5, 30, 7)
    cells = (("time", "skip", "graph"), ("mix", "none", "time"))
    for model in (
        OwnPast(30, 4),
        AllPasts(30, 4, 7),
        DLinear(30, 4),
        LSTMForecaster(12, 4, 7, 6),
        Searchable(12, 4, 7, (1, 2), cells),
        Searchable(12, 4, 7, (1, 2), None),
        Searchable(12, 4, 7, (1, 2), None, None),
    ):
        assert model(x).shape == (5, 7, 4)


def test_dlinear_reads_a_moving_average_and_what_is_left() -> None:
    model, x = DLinear(30, 2, over=5), torch.randn(1, 30, 1)
    padded = torch.cat([x[:, :1].repeat(1, 2, 1), x, x[:, -1:].repeat(1, 2, 1)], 1)[0, :, 0]
    smooth = torch.stack([padded[n : n + 5].mean() for n in range(30)])
    said = model.trend(smooth) + model.rest(x[0, :, 0] - smooth)
    torch.testing.assert_close(model(x)[0, 0], said)


def test_a_wiring_is_what_its_mixing_weights_say() -> None:
    x = torch.randn(3, 6, 8)
    cells = (("time", "skip", "graph"), ("mix", "none", "time"))
    torch.manual_seed(0)
    one = Searchable(6, 3, 8, (1, 3), cells, (0, 1))
    free = Searchable(6, 3, 8, (1, 3), None, None)
    free.load_state_dict(one.state_dict(), strict=False)
    with torch.no_grad():
        free.alpha.fill_(-1e4)
        for block, cell in enumerate(cells):
            for edge, name in enumerate(cell):
                free.alpha[block, edge, OPERATIONS.index(name)] = 0.0
        free.beta.copy_(torch.tensor([[0.0, -1e4], [-1e4, 0.0]]))
    torch.testing.assert_close(free(x), one(x))


def test_without_operations_it_is_linear_in_a_series_s_own_past() -> None:
    model = Searchable(6, 3, 8, (1, 3), (("none",) * 3,) * 2)
    x = torch.randn(3, 6, 8)
    torch.testing.assert_close(model(x), model.own(x.mT) + model.out.bias)
    other = x.clone()
    other[:, :, 1:] = 0
    torch.testing.assert_close(model(other)[:, 0], model(x)[:, 0])


def test_the_graph_says_who_is_heard() -> None:
    model = Searchable(6, 3, 8, (1, 3), (("time", "none", "graph"),) * 2, (1, 0))
    x = torch.randn(1, 6, 8)
    moved = x.clone()
    moved[:, :, 0] += 1
    heard = (model(moved) - model(x)).abs().amax((0, 2)) > 1e-6
    assert set(heard.nonzero().flatten().tolist()) <= {0, 1, 3}
