"""A check of how long trials of the search took: seconds, which are no metric, for they are not
part of what a trial's rows promise to repeat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.claims import stats
from harness.claims.checks import Check, Place
from harness.claims.draws import drawn, planted_draws
from harness.claims.reading import rows_of
from harness.claims.verdicts import MIN_SEEDS, Evidence, Missing
from harness.study import InvalidStudy, Study


@dataclass(frozen=True)
class Slower(Check):
    """How many times as long a trial takes over the highest third of a nuisance's range as over the
    lowest, in packs of one size. Read in every cell that `where` leaves open.

    Trials of a pack share its time alike, and arms may share packs, so that neither is an
    observation of its own: the unit is a group of arms and cells that no pack links with others.

    A pack's time also has a part that is the same whatever it holds, which weighs more on the
    trials of a small pack. How large it is nobody measured, but it is no more than all that any pack
    of the group took in its updates, finalists' packs, which hold few, among them. So what a trial's
    share would be in the group's largest pack lies between the share that it had and this less what
    of that part its pack's size accounts for. From these follow the least and the most that a ratio
    can be; the verdict needs both, and the effect is the least.

    Args:
        of: The nuisance.
        arms: Whose trials are read.
    """

    of: str = ""
    arms: tuple[str, ...] = ()
    phase: str = "tune"

    replication = "group"
    timed = True

    def places(self, study: Study) -> list[Place]:
        return [(arm, dict(self.where)) for arm in self.arms]

    def _one_cell(self, study: Study, where: object) -> None:
        return None  # cells are told apart

    def unit(self, study: Study) -> str:
        return "ratio"

    def quantity(self, study: Study) -> str:
        name = self.of.replace("_", " ")
        return f"time of a trial{self._place(self.where)}, highest third of {name} over lowest"

    def validate(self, study: Study) -> None:
        super().validate(study)
        for arm in self.arms:
            allowed = [n for n, one in study.space(arm).items() if hasattr(one, "low")]
            if self.of not in allowed:
                raise InvalidStudy(
                    f"a claim reads times along {self.of!r}; allowed: {', '.join(allowed)}"
                )

    def _names_metric(self, study: Study) -> None:
        return None  # it reads none

    def evidence(self, frame: pd.DataFrame, study: Study) -> Evidence:
        if not {"seconds", "pack"} <= {*frame}:
            raise Missing("the rows do not say how long trials took")
        found = self.bounds(frame, study)  # (groups, 2)
        if len(found) < MIN_SEEDS:
            raise Missing(
                f"{len(found)} groups of arms that share no pack have trials in both thirds; at "
                f"least {MIN_SEEDS} are needed"
            )
        one = np.ones(len(found))
        least, most = (stats.mean_ratio(column, one) for column in found.T)
        test = (
            "geometric mean of ratios over groups of arms that share no pack, Student's t, the least "
            "and the most that packs of one size would give; another run's times differ"
        )
        return Evidence(stats.Widest([least, most]), self.margin, self.direction, "", test)

    def bounds(self, frame: pd.DataFrame, study: Study) -> np.ndarray:
        """(groups, 2): the least and the most that the ratio of each group can be."""
        trials = pd.concat(
            [self._trials(frame, study, arm) for arm in self.arms], ignore_index=True
        )
        packs = _packs(frame)
        cells = ["arm", *study.vary]
        group = _linked(trials, cells)
        of_cell = group.groupby([trials[name] for name in cells]).first()
        packs = packs.join(of_cell.rename("group"), on=cells).dropna(subset=["group"])
        trials = trials.join(packs[["size", "took", "steps"]], on="pack")
        found = []
        for number, own in trials.groupby(group):
            same = packs[packs["group"] == number]
            # what is the same may be for each update, so that a longer pack has more of it
            more = np.maximum(own["steps"].to_numpy()[:, None] / same["steps"].to_numpy(), 1)
            fixed = (more * same["took"].to_numpy()).min(1)
            share = own["seconds"]
            least = share - fixed * (1 / own["size"] - 1 / own["size"].max())
            done = own["status"] == "finished"
            low, high = done & (own["place"] < 1 / 3), done & (own["place"] > 2 / 3)
            if low.any() and high.any():
                found.append(
                    (
                        least[high].mean() / share[low].mean(),
                        share[high].mean() / least[low].mean(),
                    )
                )
        return np.array(found).reshape(-1, 2)

    def _trials(self, frame: pd.DataFrame, study: Study, arm: str) -> pd.DataFrame:
        """An arm's trials, and where each lies in the range of the nuisance, from 0 to 1."""
        rows = rows_of(frame, arm, dict(self.where), self.phase).drop_duplicates("trial")
        rows = rows[rows["status"] != "failed"]
        space = study.space(arm)[self.of]
        scale = np.log if space.log else np.asarray  # type: ignore[attr-defined]
        low, high = float(scale(space.low)), float(scale(space.high))  # type: ignore[attr-defined]
        return rows.assign(place=(scale(rows[self.of].to_numpy(float)) - low) / (high - low))

    def planted(self, study: Study, seeds: int, hold: bool) -> pd.DataFrame:
        ratio = self.margin * (3.0 if hold else 1 / 3)
        frames = []
        for number, arm in enumerate(self.arms):
            own = drawn(study, arm)
            rows = planted_draws(
                study, arm, dict(self.where), {name: column for name, (column, _) in own.items()}
            )
            steepness = 1.5 + 0.05 * number / len(self.arms)  # thirds are two thirds apart
            took = (1 + number) * ratio ** (steepness * own[self.of][1])
            frames.append(rows.assign(seconds=took, pack=arm + "-" + rows["trial"]))  # all alone
        return pd.concat(frames)


def _packs(frame: pd.DataFrame) -> pd.DataFrame:
    """Of each pack of the search and of its finalists, which are trained alike: how many trials it
    held, their arm and cell (of one of them), the seconds it took and its updates."""
    rows = frame[(frame["status"] != "failed") & frame["phase"].isin(("tune", "final"))]
    last = rows.groupby("trial", sort=False).last()
    steps = rows.groupby("pack")["step"].max()
    packs = last.groupby("pack").first()
    size = last["pack"].value_counts()
    return packs.assign(size=size, took=packs["seconds"] * size, steps=steps.clip(lower=1))


def _linked(trials: pd.DataFrame, place: list[str]) -> pd.Series:
    """A number for each trial, the same for all arms and cells that packs link."""
    group = trials.groupby(place).ngroup()
    keys = [trials[name] for name in place]
    while True:
        wider = group.groupby(trials["pack"]).transform("min")
        wider = wider.groupby(keys).transform("min")
        if wider.equals(group):
            return group
        group = wider
