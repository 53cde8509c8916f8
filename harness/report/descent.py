"""Descent to be played: thinned paths over contour maps, from any trajectories figure.

The page's script draws the map from heights computed here, so that it is sharp at any size and
follows the page's colours; without scripts the figure itself is shown.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from harness import figures
from harness.figures.paths import Trajectories, arrival, heights
from harness.ledger.results import Results, at

GRID = 72  # heights along each side of a map
MOST = 160  # points of a path
REACH = 4095  # heights and positions are whole numbers: the window is 0 to REACH
DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def players(results: Results) -> dict[str, dict[str, Any]]:
    """What the player of each trajectories figure needs, by the figure's name."""
    found = {}
    for figure in results.study.figures:
        if isinstance(figure, Trajectories):
            places = [p for p in _places(results, figure) if p["paths"]]
            if places:
                found[figure.name] = _player(results, places, figure.steps)
    return found


def _player(results: Results, places: list[dict[str, Any]], opens: int | None) -> dict[str, Any]:
    study = results.study
    moving = {arm for place in places for arm in place["paths"]}
    arms = [arm for arm in study.arms if arm in moving]
    colours, dashes = figures.palette(study), figures.dashes(study)
    steps = max((place["steps"] for place in places), key=len)
    return {
        "steps": steps,
        "opens": min(opens or steps[-1], steps[-1]),
        "arms": [
            {"label": study.label(arm), "colour": colours[arm], "dash": list(dashes[arm])}
            for arm in arms
        ],
        "places": [
            place | {"paths": [place["paths"].get(arm) for arm in arms]} for place in places
        ],
    }


def _places(results: Results, figure: Any) -> list[dict[str, Any]]:
    from harness.parts.models.surfaces import SURFACES

    study, rows = results.study, results.frame
    factor = figure.facet(study)
    if factor is None:
        return []
    for name, level in figure.where.items():
        rows = rows[at(rows[name], level)]
    if figure.arms is not None:
        rows = rows[rows["arm"].isin(figure.arms)]
    rows = rows[(rows["phase"] == figure.phase) & rows["x"].notna() & rows["y"].notna()]
    found = []
    for level in figure.levels or study.vary[factor]:
        some = rows[at(rows[factor], level)]
        if level in SURFACES and len(some):
            first = some[some["seed"] == some["seed"].min()]
            found.append(_place(str(level), SURFACES[level], first, figure.steps or 0))
    return found


def _place(title: str, surface: Any, rows: pd.DataFrame, whole: int) -> dict[str, Any]:
    """One map: its heights, start, minima, and each arm's path with when it arrived for good.

    Args:
        whole: The step up to which nothing is thinned out.
    """
    x0, x1, y0, y1 = surface.bounds
    steps = np.sort(rows["step"].unique())
    stride = max(1, -(-(len(steps) - 1) // MOST))
    kept = np.union1d(steps[steps <= whole], np.union1d(steps[::stride], steps[-1:]))
    paths = {}
    for arm, path in rows.sort_values("step", kind="stable").groupby("arm", sort=False):
        along = path.set_index("step")[["x", "y"]]
        along = along[~along.index.duplicated(keep="last")]
        seen = along.reindex(kept[kept <= along.index.max()], method="ffill").dropna()
        paths[str(arm)] = {
            "x": _whole((seen["x"] - x0) / (x1 - x0)),
            "y": _whole((y1 - seen["y"]) / (y1 - y0)),
            "there": arrival(along, surface),
        }
    return {
        "title": title,
        "shape": [x1 - x0, y1 - y0],
        "steps": [int(step) for step in kept],
        "heights": _heights(surface),
        "start": [_whole([(surface.start[0] - x0) / (x1 - x0)])[0],
                  _whole([(y1 - surface.start[1]) / (y1 - y0)])[0]],
        "minima": [
            [_whole([(x - x0) / (x1 - x0)])[0], _whole([(y1 - y) / (y1 - y0)])[0]]
            for x, y in surface.minima
        ],
        "paths": paths,
    }  # fmt: skip


def _whole(shares: Any) -> list[int]:
    """Shares of the window as whole numbers; what ran away stays three windows off at most."""
    clipped = np.clip(np.asarray(shares, dtype=float), -3, 4)
    return [int(v) for v in np.round(clipped * REACH)]


def _heights(surface: Any) -> str:
    """GRID x GRID heights, row by row from the top left, two digits of base 64 each.

    Logarithmic above the floor where there is a minimum, linear for a saddle: as the figure has it.
    """
    x0, x1, y0, y1 = surface.bounds
    x, y = np.meshgrid(np.linspace(x0, x1, GRID), np.linspace(y1, y0, GRID))  # (GRID, GRID)
    z = heights(surface, x, y)
    if surface.minima:
        z = np.log10(z - surface.floor + 1e-3)
    low, high = np.quantile(z, (0.004, 0.985))
    whole = np.round(np.clip((z - low) / (high - low), 0, 1) * REACH).astype(int).ravel()
    return "".join(DIGITS[v >> 6] + DIGITS[v & 63] for v in whole.tolist())
