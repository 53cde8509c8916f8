"""The executor on Ray Tune: one Tune trial a pack, actors reused. Imported once Ray is started."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from ray import tune
from ray.tune.execution import tune_controller
from ray.tune.search import Searcher

from harness.execution.cluster import nothing_to_restore, one_environment
from harness.execution.ending import Ending
from harness.execution.nodes import joined
from harness.execution.session import Session
from harness.execution.worker import Opaque, PackWorker
from harness.parts import data
from harness.study import Unfinished

PATIENCE = 30.0  # seconds that workers have, once the run is to end, until their packs are saved
STARTS = 3  # workers in a row that may die before they have begun: then none can begin


KEPT = 3600.0  # seconds: a process of another container is not seen, but its folder changes


def sweep(folder: Path) -> None:
    """Remove from a folder what Ray Tune wrote for drivers that are gone, and nobody removed: where
    `orphans` was killed, too."""
    for old in folder.glob("harness-ray-*-*"):
        driver = old.name.split("-")[2]
        try:
            newest = max(one.stat().st_mtime for one in (old, *old.rglob("*")))
        except OSError:  # it is being removed, or is not ours to read
            continue
        gone = driver.isdecimal() and not psutil.pid_exists(int(driver))
        if gone and time.time() - newest > KEPT:
            shutil.rmtree(old, ignore_errors=True)


def on_ray(session: Session, ending: Ending) -> None:
    """Train every pack on Ray Tune.

    Raises:
        Stopped: the run is to end; what has ended has been given to the session.
        Unfinished: no worker can begin, or Ray has stopped.
    """
    for name in ("ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what fails is told by us
    one_environment()
    nothing_to_restore()
    machines = joined()
    sweep(Path(tempfile.gettempdir()))
    scratch = tempfile.mkdtemp(prefix=f"harness-ray-{os.getpid()}-")  # as `orphans` knows it
    try:
        # through the object store, once: data that this process has read are not read by workers
        worker = tune.with_parameters(
            PackWorker,
            source=session.source,
            scale=session.scale,
            device=session.plan.origin["device"],
            shared=data.share(session.plan.data),
            tables=data.tables(),
        )
        tuner = tune.Tuner(
            tune.with_resources(worker, tune.PlacementGroupFactory([machines.resources])),
            tune_config=tune.TuneConfig(
                search_alg=PackSearcher(session, Path(scratch)),
                num_samples=-1,
                max_concurrent_trials=machines.workers,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=session.study.name,
                storage_path=scratch,
                verbose=0,
                # workers have nothing to save there: packs in flight are saved by themselves
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[Watch(session, ending)],
            ),
        )
        with ending.polled(), _keeping(machines.workers):
            tuner.fit()
        ending.check()
    except _CannotBegin as error:
        raise Unfinished(str(error)) from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if not session.done:
        raise Unfinished(
            f"Ray stopped with {session.plan.told} of {session.plan.planned} trials done; "
            "the same command continues"
        )


@contextlib.contextmanager
def _keeping(workers: int) -> Iterator[None]:
    """Let Tune keep all workers while none of them has a pack, as before each look at the claims.

    Tune keeps one, and ends the others, which takes seconds of imports each time. Where a version of
    Tune has other names for what is changed here, that is how it stays.
    """
    former: Any = getattr(tune_controller, "_ObjectCache", None)
    if not hasattr(former, "cache_object") or not hasattr(former, "flush_cached_objects"):
        yield
        return

    class Kept(former):  # type: ignore[misc]
        def cache_object(self, key: Any, obj: Any) -> bool:
            if self._num_cached_objects >= workers:
                return False
            self._cached_objects[key].append(obj)
            self._num_cached_objects += 1
            return True

        def flush_cached_objects(self, force_all: bool = False) -> Iterator[Any]:
            if force_all:
                yield from super().flush_cached_objects(force_all=True)

    tune_controller._ObjectCache = Kept
    try:
        yield
    finally:
        tune_controller._ObjectCache = former


class _CannotBegin(BaseException):
    """Leaves Tune's loop, which holds back exceptions until its workers answer."""


class PackSearcher(Searcher):  # type: ignore[misc]
    """Suggests packs; our own draws are Optuna's, asked by the plan."""

    def __init__(self, session: Session, scratch: Path) -> None:
        super().__init__(metric="pack", mode="min")
        self.session, self.scratch = session, scratch

    def suggest(self, trial_id: str) -> Any:
        pack = self.session.next()
        if pack is None:
            return Searcher.FINISHED if self.session.done else None
        saves = self.session.saves
        specs = [(t.phase, t.arm, t.cell, t.nuisance, t.seed, t.key) for t in pack.trials]
        return {
            "pack": pack.name,
            "trials": Opaque(specs),
            "seconds": self.session.allowance(pack),
            "trace": str(self.scratch / f"{pack.name}.stack"),
            "flight": Opaque((saves and str(saves.flag), pack.label, pack.source)),
        }

    def on_trial_complete(self, *_: Any, **__: Any) -> None:
        return None  # `Watch` is told more

    def save(self, checkpoint_path: str) -> None:
        return None  # Tune saves searchers to restore them; we continue from the ledger

    def restore(self, checkpoint_path: str) -> None:
        return None


class Watch(tune.Callback):  # type: ignore[misc]
    """Tells the session how each pack ended, and ends the run when it is to end."""

    def __init__(self, session: Session, ending: Ending) -> None:
        self.session, self.ending = session, ending
        self.began: dict[str, float] = {}
        self.stillborn = 0  # workers in a row
        self.ended: float | None = None  # when the run was to end

    def on_step_begin(self, iteration: int, trials: Any, **_: Any) -> None:
        if self.ending.why is None:
            return
        if self.ended is None:
            self.ended = time.monotonic()
            self.session.land()
        if not self.session.landing or time.monotonic() - self.ended > PATIENCE:
            self.ending.check()

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        self.began[trial.trial_id] = time.monotonic()
        self.stillborn = 0

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        # takes the rows out before Tune copies and stores the result
        outcomes = result.pop("outcomes", None)
        if result.get("landed"):
            self.session.landed(result["pack"])
        if outcomes is not None:
            self.began.pop(trial.trial_id, None)
            self.session.finish(result["pack"], outcomes.specs)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        began = self.began.pop(trial.trial_id, None)
        pack, allowed = trial.config["pack"], trial.config["seconds"]
        in_setup, why = _error(trial)
        if began is None:
            self.stillborn += 1
            if in_setup or self.stillborn == STARTS:
                raise _CannotBegin(f"no worker can begin: {why}; the same command continues")
            self.session.put_back(pack)
        elif allowed is not None and time.monotonic() - began >= allowed:
            self.session.cut(pack, _where(Path(trial.config["trace"])))
        else:
            self.session.lose(pack, f"the worker process died: {why}")


def _error(trial: Any) -> tuple[bool, str]:
    """Whether the worker's own set-up raised what ended a Tune trial, and that in a few words.

    Tune tells it in a file of text alone. Where its words are not those known here, the first of
    them are told, and the set-up is found at fault when `STARTS` workers in a row do not begin.
    """
    try:
        text = re.sub(r"\x1b\[[0-9;]*m", "", Path(trial.error_file).read_text())
    except (OSError, TypeError):
        return False, "cause unknown"
    lines = [line.strip() for line in text.splitlines()[1:] if line.strip()] or ["cause unknown"]
    if any("error raised in its creation task" in line for line in lines):
        return True, lines[-1]
    detail = re.search(r"Worker exit detail: (.+?)(?:\. |$)", " ".join(lines))
    return False, detail[1] if detail else lines[0]


def _where(trace: Path) -> str:
    """Where a worker that was ended hung, innermost first, if it could write it down."""
    try:
        stacks = trace.read_text().split("\n\n")
    except OSError:
        return ""
    for stack in stacks:
        if "in run_pack" in stack and (frame := re.search(r'File "(.*)", line (\d+) in', stack)):
            return f", at {Path(frame[1]).name}:{frame[2]}"
    return ""
