"""What a search says of each hyperparameter: predicted performance along it, and shares of variance."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.figures.axes import outer, scale, words
from harness.figures.base import Measured, fixed
from harness.figures.theme import COLOURS, INK, PAPER, blank, palette, panels
from harness.figures.values import final
from harness.study import BadInput, Metric, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESAMPLES = 99
BAND = (0.025, 0.975)


_kept: dict[bytes, Any] = {}  # what a forest says of the same trials: figures draw it twice


def _once(what: str, trials: pd.DataFrame, objective: np.ndarray, fn: Callable[[], Any]) -> Any:
    """What `fn` makes of trials, made once."""
    rows = pd.util.hash_pandas_object(trials, index=False).to_numpy().tobytes()
    key = hashlib.sha256(what.encode() + rows + objective.tobytes()).digest()
    if key not in _kept:
        if len(_kept) > 16:
            _kept.clear()
        _kept[key] = fn()
    return _kept[key]


@dataclass(frozen=True, kw_only=True)
class _Search(Measured):
    """The tune trials of one arm in one cell."""

    arm: str
    arms: tuple[str, ...] = fixed()
    factor: None = fixed()
    levels: None = fixed()
    phase: str = fixed("tune")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "arms", (self.arm,))

    def facet(self, study: Study) -> str | None:
        return None

    def _trials(self, study: Study, rows: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
        """One row a draw, and its objective."""
        values = final(study, rows[rows["phase"] == "tune"], self.metric)
        values = values[values["value"].notna()]
        return values, values["value"].to_numpy(dtype=float)


@dataclass(frozen=True, kw_only=True)
class Marginals(_Search):
    """The metric that fANOVA's forest predicts along each number that an arm draws, the others
    averaged out, with a band that holds 95 % of resamples; a panel a hyperparameter (Greff et al.
    2015, figure 4)."""

    def _about(self, study: Study) -> str:
        return f"{super()._about(study)} that fANOVA predicts along each hyperparameter"

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        from harness.claims import importance  # it takes a second to import

        trials, objective = self._trials(study, rows)
        space = study.space(self.arm)
        names = [name for name, one in space.items() if hasattr(one, "low") and not one.single()]
        wanted: list[tuple[str, Mapping[str, tuple[float, float]]]] = [(n, {}) for n in names]
        try:
            found = _once(f"marginals {space}", trials, objective, lambda: importance.marginals(
                trials, objective, space, np.random.default_rng(0), wanted, resamples=RESAMPLES
            ))  # fmt: skip
        except BadInput as why:  # too few draws
            return blank(str(why))
        colour, metric = palette(study)[self.arm], study.metrics[self.metric]
        figure, axes = panels(len(found), columns=min(len(found), 4), height=1.9, legend=0.25)
        bands = [np.quantile(curve.draws, BAND, axis=0) for curve in found]
        seen = pd.Series(np.concatenate([*(b.ravel() for b in bands), *(c.mean for c in found)]))
        for ax, curve, (low, high) in zip(axes, found, bands, strict=True):
            ax.fill_between(curve.values, low, high, color=colour, alpha=0.22, lw=0)
            ax.plot(curve.values, curve.mean, color=colour, lw=1.5)
            log = bool(getattr(space[curve.name], "log", False))
            along = Metric("", log=log)
            scale(ax, "x", along, pd.Series(curve.values), most=4)
            scale(ax, "y", metric, seen)
            ax.set_xlabel(curve.name.replace("_", " "))
            ax.set_ylabel(f"predicted {words(self.metric, metric)}")
        outer(axes, share_y=True)
        for ax in axes:  # every panel has an axis of its own
            ax.tick_params(labelbottom=True)
        method = f"fANOVA, 32 trees, {found[0].n} draws of {study.label(self.arm)}"
        figure.supxlabel(f"{method}; band: 95 % of resampled draws", fontsize=7, style="italic")
        return figure


@dataclass(frozen=True, kw_only=True)
class Shares(_Search):
    """Shares of the metric's variance over an arm's draws: of each hyperparameter and each pair by
    fANOVA, and beside them PED-ANOVA's of what decides the best draws; with 95 % intervals."""

    def _about(self, study: Study) -> str:
        return f"what {super()._about(study)} owes to each hyperparameter and each pair"

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        from harness.claims import importance

        trials, objective = self._trials(study, rows)
        space, better = study.space(self.arm), study.metrics[self.metric].better or "low"

        def both() -> Any:
            generator = np.random.default_rng(0)
            variance = importance.fanova(trials, objective, space, generator, resamples=RESAMPLES)
            best = importance.ped_anova(
                trials, objective, space, generator, better=better, resamples=RESAMPLES // 2
            )
            return variance, best

        try:
            variance, best = _once(f"shares {better} {space}", trials, objective, both)
        except BadInput as why:  # too few draws
            return blank(str(why))
        table = variance.table()
        table = table.assign(pair=table["term"].str.contains(" x "))
        table = table.sort_values(["pair", "share"], ascending=[True, False], kind="stable")
        whole = variance.interactions()
        low, high = whole.interval(0.95)
        rest = pd.DataFrame(
            [{"term": "all interactions", "share": whole.effect, "low": low, "high": high}]
        )
        split = int((~table["pair"]).sum())
        table = pd.concat([table[:split], rest, table[split:]], ignore_index=True)
        other = best.table().set_index("term")
        figure, (ax,) = panels(1, height=0.5 + 0.2 * len(table), legend=0.35)
        looks = ((variance.method, COLOURS[0], -0.13, "o"), (best.method, COLOURS[1], 0.16, "s"))
        for place, row in table.iterrows():
            marks = [(row["share"], row["low"], row["high"], looks[0])]
            if row["term"] in other.index:
                one = other.loc[row["term"]]
                marks.append((one["share"], one["low"], one["high"], looks[1]))
            for share, left, right, (_, colour, shift, shape) in marks:
                y = float(place) + (shift if len(marks) > 1 else 0.0)
                ends = np.clip([left, right], 0, 1)
                ax.plot(ends, [y, y], color=colour, lw=1.6, solid_capstyle="butt")
                ax.plot(share, y, shape, ms=4.4, color=colour, mec=PAPER, mew=0.7)
        ax.axhline(split - 0.5, color=INK, lw=0.6, alpha=0.4)
        labels = [term.replace("_", " ").replace(" x ", " × ") for term in table["term"]]
        ax.set_yticks(range(len(table)), labels)
        ax.set(xlim=(-0.01, 1.01), ylim=(len(table) - 0.4, -0.6), xlabel="share")
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="y", visible=False)
        ax.spines["left"].set_visible(False)
        from matplotlib.lines import Line2D

        what = ("share of the variance over the whole range", "share of what decides the best")
        handles = [
            Line2D([], [], color=colour, marker=shape, ms=4.4, label=f"{said} ({method})")
            for said, (method, colour, _, shape) in zip(what, looks, strict=True)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=1)
        return figure
