"""What trials train: declared by the study once each, and read by all who ask."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from harness.engine import process, sizing
from harness.engine.training import Training, declared
from harness.study import Study, Trial

UNKNOWN = 1.0  # seconds of a trial of which no forecast can be made


class Kind:
    """What trials that may share a pack have in common. Two kinds are equal if they are one.

    Args:
        example: The Training of one of them.
        device: Where they train.

    Attributes:
        cost: Estimated seconds on one core of a pack, whatever it holds, and of each trial in it.

    Raises:
        Exception: whatever the example's model raises.
    """

    def __init__(self, example: Training, device: str) -> None:
        self.example = example
        self.cost = sizing.seconds(example, device)

    @functools.cached_property
    def why(self) -> str:
        """Why such trials train alone, or nothing if they can be fused: it is tried.

        On one thread, as packs are trained: on several, sums are added up in another order, which
        differs by more than rounding where 64 normalised layers magnify it, and takes longer.
        """
        try:
            with process.one_thread():
                return self.example.why_alone()
        except Exception as error:
            return _model_raises(error)

    @property
    def tried(self) -> bool:
        """Whether this machine knows `why` from before."""
        return "why" in vars(self) or self.example.vouched_before() is not None


class Declared:
    """One trial as its study declares it. What is asked for is found out then, and kept.

    Args:
        trial: This one.
        training: What it trains; None for a generator of rows, and where there is an error.
        error: What the study's trial function raised.
        kinds: Of the study's trials, by signature; a new one is added.
        device: Where they train.
        took: Says what such trials took before, for those of which there is no forecast.
    """

    def __init__(
        self, trial: Trial, training: Training | None, error: Exception | None,
        kinds: dict[Any, Kind], device: str, took: Callable[[Trial], float | None],
    ) -> None:  # fmt: skip
        self.trial, self.training, self.error = trial, training, error
        self._kinds, self._device, self._took = kinds, device, took

    @functools.cached_property
    def _found(self) -> tuple[Kind | None, str]:
        """Its kind, or else why it has none."""
        if self.error is not None:  # the worker meets it again and reports it as a failed trial
            return None, f"its trial function raises {type(self.error).__name__}"
        if self.training is None:
            return None, "it is a generator of rows"
        try:
            signature = self.training.signature()
            if signature not in self._kinds:
                self._kinds[signature] = Kind(self.training, self._device)
            return self._kinds[signature], ""
        except Exception as error:
            return None, _model_raises(error)

    @property
    def kind(self) -> Kind | None:
        """What it shares with the trials that it may be trained with."""
        return self._found[0]

    @property
    def cost(self) -> tuple[float, float]:
        """Estimated seconds on one core: of its pack, and of each trial in it."""
        if self.kind:
            return self.kind.cost
        took = self._took(self.trial)
        return 0.0, UNKNOWN if took is None else took

    @property
    def by_forecast(self) -> float:
        """Estimated seconds on one core of each trial in a pack, by what is declared alone."""
        return self.kind.cost[1] if self.kind else UNKNOWN

    @property
    def guessed(self) -> bool:
        """Whether `cost` is `UNKNOWN`."""
        return self.kind is None and self._took(self.trial) is None

    @property
    def why(self) -> str:
        """Why it trains alone, or nothing if it can be fused."""
        return self.kind.why if self.kind else self._found[1]


class Declarations:
    """What a study's trials train: each is declared when it is first asked for, and then kept.

    Args:
        study: Declares them.
        device: Where they train, for forecasts.
        recorded: Seconds, more than none, that trials of a `place` took on a core in an earlier run.
            They stand for those of generators of rows, of which there is no forecast. Asked for once.
    """

    def __init__(
        self, study: Study, device: str = "cpu",
        recorded: Callable[[], Mapping[tuple[Any, ...], float]] = dict,
    ) -> None:  # fmt: skip
        self.study, self.device = study, device
        self._recorded = functools.cache(recorded)
        self._kept: dict[str, Declared] = {}
        self._kinds: dict[Any, Kind] = {}

    def of(self, trial: Trial) -> Declared:
        """A trial, by its key, as it was declared once."""
        if trial.key not in self._kept:
            training, error = None, None
            try:
                one = declared(self.study, trial)
                training = one if isinstance(one, Training) else None
            except Exception as raised:
                error = raised
            self._kept[trial.key] = Declared(
                trial, training, error, self._kinds, self.device, self.took
            )
        return self._kept[trial.key]

    def took(self, trial: Trial) -> float | None:
        """Seconds that trials like this one took in an earlier run, if that is recorded."""
        return self._recorded().get(self.place(trial))

    def place(self, trial: Trial) -> tuple[Any, ...]:
        """Its phase, its arm and its cell, as a frame holds them."""
        levels = (self.study.held(name, level) for name, level in trial.cell.items())
        return trial.phase, trial.arm, *levels

    def forget(self, trials: Iterable[Trial]) -> None:
        """These have ended: nobody asks for them again."""
        for trial in trials:
            self._kept.pop(trial.key, None)


def _model_raises(error: Exception) -> str:
    return f"its model raises {type(error).__name__}"
