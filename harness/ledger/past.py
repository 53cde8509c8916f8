"""What earlier runs hold, read where it is wanted.

While a run goes on, each of its packs is a file of rows. Once it is whole, all of its rows go into
one file; then `keys.json` says which trials that file has and which packs it stands for; then those
packs are removed. It is `keys.json` that makes the one file count, so that a run which is killed
between any two of these steps holds every row still, and none twice.

Runs of earlier versions have no `keys.json`: they keep their packs, and beside them the one file,
which names those that it stands for.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from harness.ledger import rows
from harness.ledger.client import MlflowException, Run
from harness.ledger.names import KEYS, PACKS, ROWS
from harness.ledger.store import Ledger
from harness.study import Study

OLD = f"{PACKS}/all.parquet"  # where earlier versions had all rows


class _Changed(Exception):
    """While a run's packs were read they have become one file."""


@dataclass(frozen=True)
class Held:
    """What `keys.json` says of a run's one file of rows.

    Args:
        statuses: How each trial in it ended, by its key.
        packs: The names of the packs that it stands for.
    """

    statuses: Mapping[str, str]
    packs: frozenset[str]

    def text(self) -> str:
        """As it is kept."""
        keys: dict[str, list[str]] = {}
        for key, status in self.statuses.items():
            keys.setdefault(status, []).append(key)
        return json.dumps({"packs": sorted(self.packs), "trials": keys})

    @classmethod
    def of(cls, ledger: Ledger, run_id: str) -> Held | None:
        """What a run has; None where it is not whole, or the file is damaged."""
        try:
            found = json.loads(ledger.text_of(run_id, KEYS) or "")
            statuses = {key: status for status, keys in found["trials"].items() for key in keys}
            return cls(statuses, frozenset(found["packs"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


def packs_of(ledger: Ledger, run_id: str) -> list[str]:
    """The names of a run's files of packs, what earlier versions have consolidated first."""
    found = [f"{PACKS}/{name}" for name in ledger.files(run_id, PACKS)]
    named = sorted(name for name in found if name.endswith(".parquet"))
    return sorted(named, key=lambda name: name != OLD)


def statuses_of(ledger: Ledger, run_id: str) -> dict[str, str]:
    """How each trial that a run holds ended, by its key; no measurement is read."""
    while True:
        held = Held.of(ledger, run_id)
        found = dict(held.statuses) if held else {}
        try:
            for frame in _packs(ledger, run_id, held, ["trial", "status"]):
                ends = frame.drop_duplicates()
                for key, status in zip(ends["trial"], ends["status"], strict=True):
                    if found.get(key, "failed") == "failed":
                        found[key] = status
            return found
        except _Changed:
            continue


def rows_of(ledger: Ledger, study: Study, run_id: str) -> pd.DataFrame:
    """All rows that a run holds; a damaged file is passed over."""
    while True:
        held, one = Held.of(ledger, run_id), None
        if held:
            one = _load(ledger, run_id, ROWS)
        try:
            packs = _packs(ledger, run_id, held, covered=one is not None)
            frames = [*([] if one is None else [one]), *packs]
        except _Changed:
            continue
        return rows.told_apart(rows.typed(study, rows.once(frames)))


def _packs(
    ledger: Ledger, run_id: str, held: Held | None, columns: list[str] | None = None,
    covered: bool = True,
) -> Iterator[pd.DataFrame]:  # fmt: skip
    """The rows of a run's packs, or some columns of them, but for those that one file stands for.

    Args:
        held: What the run was found to have in one file.
        columns: These alone.
        covered: Whether that file can be read.

    Raises:
        _Changed: it has been made, or made anew, since.
    """
    known = {*(held.packs if held and covered else ())}
    for name in packs_of(ledger, run_id):
        if name.rpartition("/")[2] in known:
            continue
        frame = _load(ledger, run_id, name, columns)
        if frame is None:
            if Held.of(ledger, run_id) != held:
                raise _Changed
            continue
        known.update(frame.attrs.pop("packs", ()))
        yield frame


def _load(
    ledger: Ledger, run_id: str, name: str, columns: list[str] | None = None
) -> pd.DataFrame | None:
    """A file of rows among a run's artifacts; None where it is damaged or not there."""
    try:
        with ledger.artifact(run_id, name) as path:
            return rows.load(path, columns)
    except (OSError, ValueError, MlflowException):
        return None


class Past:
    """Every run of a study, the newest first; what they hold is read when it is asked for.

    Args:
        ledger: Where they are.
        study: Whose.
    """

    def __init__(self, ledger: Ledger, study: Study) -> None:
        self.ledger, self.study = ledger, study
        self.runs: list[Run] = ledger.parents(study.name)
        self._statuses: dict[str, dict[str, str]] = {}
        self._rows: dict[str, pd.DataFrame] = {}

    def at(self, scale: str) -> list[Run]:
        """The runs at a scale, the newest first."""
        return [run for run in self.runs if run.data.tags.get("harness.scale") == scale]

    def from_(self, first: str) -> Iterator[str]:
        """The ids of the runs, one before the others where it is among them."""
        yield from sorted((run.info.run_id for run in self.runs), key=lambda one: one != first)

    def ended(self, run_id: str, keys: Collection[str]) -> set[str]:
        """Those of the trials that have finished or diverged in a run."""
        if run_id not in self._statuses:
            self._statuses[run_id] = statuses_of(self.ledger, run_id)
        held = self._statuses[run_id]
        return {key for key in keys if held.get(key, "failed") != "failed"}

    def of(self, run_id: str) -> pd.DataFrame:
        """The rows of one run."""
        if run_id not in self._rows:
            self._rows[run_id] = rows_of(self.ledger, self.study, run_id)
        return self._rows[run_id]

    def find(self, keys: Collection[str], first: str = "") -> pd.DataFrame:
        """Rows of those of the trials that have finished or diverged in any of the runs.

        Args:
            keys: The trials'.
            first: The run whose rows are taken where it has them; else the newest that has.
        """
        wanted, parts = {*keys}, []
        for run_id in self.from_(first):
            if not wanted:
                break
            if here := self.ended(run_id, wanted):
                frame = self.of(run_id)
                part = frame[frame["trial"].isin(here) & (frame["status"] != "failed")]
                wanted -= {*part["trial"]}
                parts.append(part)
        return pd.concat(parts, ignore_index=True) if parts else self.nothing

    @functools.cached_property
    def nothing(self) -> pd.DataFrame:
        """No rows: what is found of trials that are new, each time that a pack has ended."""
        return rows.empty(self.study)

    def trials(self, scale: str) -> int:
        """How many trials the runs at a scale hold."""
        found: set[str] = set()
        for run in self.at(scale):
            self.ended(run.info.run_id, ())
            found.update(self._statuses[run.info.run_id])
        return len(found)
