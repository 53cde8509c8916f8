"""A whole run: from a study to its results in the ledger."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from rich.console import Console
from rich.markup import escape

from harness.claims import registration
from harness.execution import nodes, origins, powered
from harness.execution.cluster import start_ray, stop_ray
from harness.execution.ending import Ending, Stopped
from harness.execution.prepare import (
    announce,
    check_data,
    info_of,
    now,
    open_ledger,
    work_of,
    written_down,
)
from harness.execution.progress import Meter
from harness.execution.published import seconds_taken
from harness.execution.recorded import results_of
from harness.execution.room import with_room
from harness.execution.saves import Saves
from harness.execution.saves import home as home_of_saves
from harness.execution.session import Session, inline, packer_for
from harness.ledger import home, provenance
from harness.ledger.results import Results
from harness.plan.declared import Declarations
from harness.plan.plan import Plan
from harness.study import Source, Study

T = TypeVar("T")
INTERRUPTED = 5.0  # seconds for the store, after Ctrl-C; what it has not taken waits on the disk


def execute(
    study: Study,
    source: Source,
    scale: str,
    root: Path,
    console: Console,
    ending: Ending,
    *,
    use_ray: bool = True,
    fresh: bool = False,
    pack_size: int | None = None,
    trial_limit: float | None = None,
    amend: str = "",
    meanwhile: Callable[[], object] = lambda: None,
) -> tuple[Results, Any]:
    """Run a study into the ledger.

    Args:
        ending: Entered by the caller; ends the run early.
        trial_limit: Seconds that a trial may train, on Ray.
        amend: Why claims or budget are not those that were registered last.
        meanwhile: Called in a thread of its own while Ray's workers train.

    Returns:
        Its results and the recorder, still open: the caller attaches the report and ends it. A run
        that was stopped gives the results so far, with `partial` and `stopped` in their info.

    Raises:
        BadInput: data, tracking store or study cannot be used; nothing has been written then.
        Stopped: before any trial had ended.
    """

    def say(text: str) -> None:
        console.print(escape(text))

    joined = use_ray and bool(os.environ.get("RAY_ADDRESS"))
    if joined:  # only the cluster knows on what its workers train
        start_ray()
        ending.listen()
    try:
        machines = nodes.survey() if joined else nodes.here()
        plan = Plan(study, source, scale, device=machines.device)
        if joined:
            machines.check(plan.origin)
        declared = Declarations(study, machines.device, lambda: seconds_taken(study, scale))
        found = check_data(plan, declared)
        announce(plan, console)
    except BaseException:
        if joined:
            stop_ray()
        raise
    # MLflow's import, the forecast and Ray's start take seconds each, so where there is likely to be
    # something to train they go side by side. Ray must start on the main thread: its processes end
    # with the thread that started them.
    anew = joined or fresh or not home.whole(root, study.name, plan.hash())
    opening = _in_background(
        lambda: (
            with_room(lambda: open_ledger(root), say, "the ledger"),
            work_of(plan, source, declared),
            powered.announced(study, source, scale, root) if anew else "",
        )
    )
    early = use_ray and anew

    try:
        if early:
            start_ray()
            ending.listen()
        ledger, work, power = opening()
        if power:
            console.print(power, markup=False, soft_wrap=True)
        if waited := ledger.recover(study.name):
            console.print(
                f"{waited} records of an earlier run were waiting; the ledger has them now"
            )
        info = info_of(root, plan, ledger.uri, found)
        from harness.ledger import Past, Recorder  # MLflow is there by now

        past = Past(ledger, study)
        recorder = with_room(
            lambda: Recorder(ledger, study, source, scale, info, fresh, say), say, "the run"
        )
        registered, entry = with_room(
            lambda: written_down(ledger, recorder, source, plan, info, past, amend, console),
            say, "what is claimed",
        )  # fmt: skip
        earlier = ledger.info_of(recorder.run_id) if recorder.continued else {}
    except BaseException:
        if early:
            stop_ray()
        raise
    clock = time.monotonic()
    stopped: Stopped | None = None
    try:
        mine: set[str] = set()
        if recorder.continued:
            own = past.of(recorder.run_id)
            mine = set(own.loc[own["status"] != "failed", "trial"])

        def known(keys: set[str]) -> pd.DataFrame:
            return past.nothing if fresh else past.find(keys, recorder.run_id)

        meter = Meter(plan.planned, work, console)
        folder = home_of_saves(root, study.name, scale)
        saves = Saves(folder, plan.origin["device"], say, fresh)
        try:
            with meter, saves.open():
                session = Session(
                    study, source, scale, plan, packer_for(declared, machines, pack_size), recorder, meter,
                    trial_limit, known, mine, saves, alone=not use_ray,
                )  # fmt: skip
                if not use_ray:
                    inline(session, ending)
                elif not session.done:
                    start_ray()
                    from harness.execution.tune import on_ray

                    _in_background(meanwhile)
                    on_ray(session, ending)
        except Stopped as why:
            if recorder.frame().empty:
                raise
            stopped = why
        ending.over()
        if use_ray:
            stop_ray()  # the recorder goes on meanwhile
        recorder.wait(*([INTERRUPTED] if stopped else []))
    except BaseException as error:
        if use_ray:
            stop_ray()
        so_far = round(time.monotonic() - clock + earlier.get("seconds", 0.0), 1)
        recorder.remember(info | {"seconds": so_far})
        if isinstance(error, KeyboardInterrupt):
            recorder.end("KILLED", patience=INTERRUPTED)
        else:
            recorder.end("FAILED")
        raise
    info["planned"] = plan.planned
    seconds = round(time.monotonic() - clock + earlier.get("seconds", 0.0), 1)
    if stopped:
        info |= {"stopped": str(stopped), "seconds": seconds, "reused": meter.reused}
    elif meter.reused == plan.planned and "finished_at" in earlier:
        info = earlier  # nothing was trained: the run is what it was
    else:
        info |= {
            "finished_at": now(),
            "seconds": seconds,
            "reused": meter.reused,
        }
    if "started_at" in earlier:
        info["started_at"] = earlier["started_at"]
    info |= {"experiment_id": recorder.experiment, "run_id": recorder.run_id}
    info["partial"] = stopped is not None
    others = origins.reused(past, recorder.reused, recorder.run_id, earlier)
    info["elsewhere"] = origins.together(
        earlier.get("elsewhere", ()), [*others, *origins.read(study)]
    )
    for line, _ in provenance.elsewhere(info):
        console.print(line, markup=False)
    info |= registration.summary(registered, entry)
    if stopped:
        recorder.remember(info)
    else:
        recorder.consolidate(info)
    info |= {"registrations": registered, "promised": ledger.promised(recorder.run_id)}
    return results_of(study, scale, recorder.frame(), recorder.run_ids, info), recorder


def _in_background(fn: Callable[[], T]) -> Callable[[], T]:
    """Start `fn` in a thread; calling the result waits for its value, or raises what it raised."""
    box: list[T] = []
    caught: list[BaseException] = []

    def target() -> None:
        try:
            box.append(fn())
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=target, daemon=True)
    thread.start()

    def wait() -> T:
        thread.join()
        if caught:
            raise caught[0]
        return box[0]

    return wait
