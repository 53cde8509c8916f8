"""What a worker does with a pack: train it, and turn every ending into outcomes.

Nothing escapes but a GPU that is lost: a trial that raises is a failed outcome with its error, and costs its pack-mates
one more training, not their results.
"""

from __future__ import annotations

import gc
import math
import time
import traceback
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from harness.engine.authored import by_author
from harness.engine.fitting import own_fault
from harness.engine.flight import Flight
from harness.engine.outcome import Outcome
from harness.engine.pack import train_pack
from harness.engine.process import one_thread
from harness.engine.training import Training, declared
from harness.parts.data.rows import shown
from harness.study import Study, Trial, of_test

INSTALLED = ("site-packages", "<string>")  # the latter is what dataclasses write


@one_thread()
def run_pack(
    study: Study, trials: list[Trial], device: str = "cpu", flight: Flight | None = None
) -> list[Outcome]:
    """Train trials of one pack, on one thread, and return one outcome each, in order.

    Raises an `Exception` only where an error has left the GPU unusable for this whole process (an
    index out of bounds does): it must end, and the pack be tried in another.

    Args:
        study, trials, device: What, and where.
        flight: Where the pack is saved, and may be gone on with.

    Raises:
        Landed: the run is to end; the pack has been saved.
    """
    try:
        wanted = [declared(study, trial) for trial in trials]
        if all(isinstance(one, Training) for one in wanted):
            outcomes = train_pack(wanted, [trial.seed for trial in trials], device, flight)
            return [_declared_only(study, outcome) for outcome in outcomes]
        if len(trials) == 1:
            return [_generated(study, wanted[0], study.sealed(trials[0].phase))]
    except Exception as error:
        if not usable(device):
            raise
        if len(trials) == 1:
            return [Outcome("failed", error=_text(_plainer(study, trials[0]) or error))]
    if device != "cpu":
        gc.collect()
        torch.cuda.empty_cache()  # what failed has let go of its memory before half of it is tried
    middle = max(1, len(trials) // 2)
    return [
        outcome
        for part in (range(middle), range(middle, len(trials)))
        for outcome in run_pack(
            study, [trials[lane] for lane in part], device, flight and flight.part(part)
        )
    ]


def usable(device: str) -> bool:
    """Whether this process can still use the device."""
    if device == "cpu":
        return True
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True


def _plainer(study: Study, trial: Trial) -> Exception | None:
    """What the model of a trial that has failed raises by itself, if it does."""
    try:
        wanted = declared(study, trial)
        return own_fault(wanted) if isinstance(wanted, Training) else None
    except Exception:  # what it raised before says as much
        return None


def _text(error: Exception) -> str:
    """The error and the line of the author's code that raised it, on one line."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        one
        for one in frames
        if by_author(one.filename) and not any(part in one.filename for part in INSTALLED)
    ]
    last = (own or frames)[-1:]
    where = f" ({last[0].filename.rsplit('/', 1)[-1]}:{last[0].lineno})" if last else ""
    return f"{type(error).__name__}: {error}{where}".replace("\n", " ")[:500]


def _declared_only(study: Study, outcome: Outcome) -> Outcome:
    outcome.metrics = {m: v for m, v in outcome.metrics.items() if m in study.metrics}
    return outcome


def _generated(study: Study, rows: Iterable[Mapping[str, Any]], sealed: bool = False) -> Outcome:
    """The outcome of a trial that is a generator of rows: ``{"step": 3, "loss": 0.1}``.

    Where it is sealed, what the rows say of the test split is withheld: nobody hears of it, and it
    does not decide how the trial has ended.
    """
    if not isinstance(rows, Iterable):
        raise ValueError(
            f"the trial returned {shown(rows)}; allowed: a Training, or rows that it yields"
        )
    started = time.perf_counter()
    outcome = Outcome("finished")
    for number, said in enumerate(rows):
        if not isinstance(said, Mapping):
            raise ValueError(
                f"the trial's row {number} is {shown(said)}; allowed: a dict of metrics, as in "
                "yield {'step': 0, 'loss': 0.5}"
            )
        told = {name for name in said if sealed and of_test(name)}
        outcome.withheld = sorted({*outcome.withheld, *told})
        row = {name: value for name, value in said.items() if name not in told}
        unknown = set(said) - {"step"} - set(study.metrics)
        if unknown:
            raise ValueError(
                f"a row reports {', '.join(sorted(unknown))}; declared: {', '.join(study.metrics)}"
            )
        outcome.steps.append(int(row.get("step", number)))
        for name in {**outcome.metrics, **{k: 0 for k in row if k != "step"}}:
            column = outcome.metrics.setdefault(name, [math.nan] * number)
            column.append(float(row.get(name, math.nan)))
        if any(math.isinf(v) or math.isnan(v) for k, v in row.items() if k.endswith("loss")):
            outcome.status = "diverged"
            break
    if not outcome.steps:
        raise ValueError("the trial yielded no rows; yield at least one")
    outcome.seconds = time.perf_counter() - started
    return outcome
