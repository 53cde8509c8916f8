"""Study to plan to packs to execution. Layer 5, and the only importer of Ray.

A `Session` holds what is being run; an executor takes packs from it and gives outcomes back. The
executors are Ray Tune, with packs as its trials, and a plain loop in this process.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pandas as pd
import torch
from rich.console import Console

from harness import catalog, data, provenance, rows
from harness.claims import reads, registration, undecided
from harness.packs import Outcome, Training
from harness.plan import Pack, Packer, Plan, dry_run
from harness.progress import Meter
from harness.results import Results
from harness.study import SCALES, BadInput, Choice, Source, Study, Trial, make_trial
from harness.work import run_pack

if TYPE_CHECKING:
    from harness.ledger import Ledger

T = TypeVar("T")
OBJECT_STORE = 256 * 2**20  # bytes; rows are small, and Ray would take a third of the memory


class Keeper(Protocol):
    """Where a session's outcomes go: `ledger.Recorder`, or a file."""

    def add(
        self, pack: str, trials: list[Trial], outcomes: list[Outcome], stored: bool = False
    ) -> None: ...
    def frame(self) -> pd.DataFrame: ...
    def wait(self) -> None: ...


SAVE_EVERY = 20.0  # seconds of training that a killed ``--rows`` run may lose


class RowsFile:
    """Keeps rows in one parquet file, where there is no MLflow: ``run --inline --rows FILE``.

    Args:
        study: Names the columns.
        path: The file; written whole every `SAVE_EVERY` seconds and at the end.
        attributes: What the file says of itself: study, scale and info.
        frame: Rows that an earlier, interrupted run has left in it.
    """

    def __init__(
        self, study: Study, path: Path, attributes: dict[Any, Any], frame: pd.DataFrame | None
    ) -> None:
        self.study, self.path, self.attributes = study, path, attributes
        self.frames = [] if frame is None else [frame]
        self.saved = time.monotonic()

    def add(
        self, pack: str, trials: list[Trial], outcomes: list[Outcome], stored: bool = False
    ) -> None:
        if stored:
            return
        self.frames.append(rows.frame_of(self.study, pack, trials, outcomes))
        if time.monotonic() - self.saved > SAVE_EVERY:
            self.wait()

    def frame(self) -> pd.DataFrame:
        return pd.concat(self.frames, ignore_index=True)

    def wait(self) -> None:
        if not self.frames:
            return
        temporary = self.path.with_suffix(".tmp")
        frame = self.frame()
        self.frames = [frame]
        frame.attrs = self.attributes
        frame.to_parquet(temporary, index=False)
        os.replace(temporary, self.path)
        self.saved = time.monotonic()


@dataclass
class Session:
    """A run in flight: what is left to train, and where what has ended goes.

    `known` maps keys of trials that ended in earlier runs to their outcomes; `stored` are those
    whose rows the keeper has already.
    """

    study: Study
    source: Source
    scale: str
    plan: Plan
    packer: Packer
    keeper: Keeper
    meter: Meter
    known: Callable[[str], Outcome | None] = lambda key: None
    stored: Callable[[str], bool] = lambda key: False

    def __post_init__(self) -> None:
        self._packs: deque[Pack] = deque()
        self._running: dict[str, Pack] = {}
        self._refill()

    def _refill(self) -> None:
        """Take trials that have become ready: from the ledger where it has them, else as packs."""
        while (trials := self.plan.ready()) or (trials := self._more_seeds()):
            found = {trial.key: self.known(trial.key) for trial in trials}
            for stored in (True, False):
                reused = [
                    (trial, outcome)
                    for trial in trials
                    if self.stored(trial.key) is stored and (outcome := found[trial.key])
                ]
                if reused:
                    work = sum(pack.cost for pack in self.packer.pack([t for t, _ in reused]))
                    self._take("ledger", reused, work, stored, reused=True)
            fresh = [trial for trial in trials if not found[trial.key]]
            self._packs.extend(self.packer.pack(fresh))
        self._packs = deque(sorted(self._packs, key=lambda pack: -pack.cost))

    def _more_seeds(self) -> list[Trial]:
        """The trials of the next look, where all is done and a claim is still open."""
        if not self.plan.done or len(self.plan.looks) < 2:
            return []
        open_ = undecided(self.study, self.keeper.frame(), self.plan.looks)
        more = self.plan.extend(lambda arm, cell: reads(self.study, open_, arm, cell))
        trials = self.plan.ready() if more else []
        if trials:
            self.meter.grow(more, sum(pack.cost for pack in self.packer.pack(trials)))
        return trials

    def _take(
        self, name: str, ended: list[tuple[Trial, Outcome]], work: float, stored: bool = False,
        reused: bool = False,
    ) -> None:  # fmt: skip
        trials, outcomes = [t for t, _ in ended], [o for _, o in ended]
        self.keeper.add(name, trials, outcomes, stored)
        for trial, outcome in ended:
            self.plan.tell(trial.key, outcome)
        self.meter.add([o.status for o in outcomes], work, reused)

    def next(self) -> Pack | None:
        """A pack to train, or None when all are out."""
        if not self._packs:
            return None
        pack = self._packs.popleft()
        self._running[pack.name] = pack
        return pack

    def finish(self, name: str, outcomes: list[Outcome]) -> None:
        """A pack came back."""
        pack = self._running.pop(name, None)
        if pack is None:  # told twice
            return
        self._take(name, list(zip(pack.trials, outcomes, strict=True)), pack.cost)
        self._refill()

    def lose(self, name: str, error: str) -> None:
        """A pack's process died: halve the pack until the culprit is alone, and fail only it."""
        pack = self._running.pop(name, None)
        if pack is None:
            return
        if len(pack.trials) == 1:
            self._running[name] = pack
            self.finish(name, [Outcome("failed", error=error[:500])])
        else:
            self._packs.extendleft(self.packer.halve(pack))

    def __reduce__(self) -> tuple[Any, ...]:
        return (str, ())  # Tune pickles searchers to restore them; we continue from the ledger

    @property
    def done(self) -> bool:
        """Whether every planned trial has ended."""
        return self.plan.done


def _packer(study: Study, size: int | None) -> Packer:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    workers = os.cpu_count() or 1 if device == "cpu" else torch.cuda.device_count()
    return Packer(study, size, workers, device, measure=True)


def inline(session: Session) -> None:
    """Train every pack in this process."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    while pack := session.next():
        session.finish(pack.name, run_pack(session.study, pack.trials, device))


# --- Ray -----------------------------------------------------------------------------------------


def start_ray() -> None:
    """Connect to `RAY_ADDRESS`, or start a private, local cluster without a dashboard."""
    for name, value in {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_RESULT_DELIM": "/",
        "RAY_AIR_NEW_OUTPUT": "0",
        "OMP_NUM_THREADS": "1",
    }.items():
        os.environ.setdefault(name, value)
    address = os.environ.get("RAY_ADDRESS")
    if address and (Path.home() / ".ray" / "auth_token").is_file():
        # `ray start` makes this token and asks for it; a driver that joins must say that it has it
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    if address:
        _knock(address)
    elif "ray" not in sys.modules:  # it reads these when it is imported
        # Ray listens on every interface: only who knows this run's token may ask it anything.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    import ray

    if ray.is_initialized():
        return
    logging.getLogger("ray").setLevel(logging.ERROR)
    forwarded = {k: os.environ[k] for k in ("HARNESS_DATA", "OMP_NUM_THREADS") if k in os.environ}
    local: dict[str, Any] = {"include_dashboard": False, "object_store_memory": OBJECT_STORE}
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level="ERROR",
            configure_logging=False,
            # A local cluster inherits this process's environment; an existing one does not.
            **({"runtime_env": {"env_vars": forwarded}} if address else local),
        )
    except ConnectionError:
        raise _no_cluster(str(address)) from None
    except ray.exceptions.AuthenticationError:
        raise BadInput(
            f"the Ray cluster at RAY_ADDRESS={address!r} wants its token; set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN to the one it was started with"
        ) from None


def _knock(address: str) -> None:
    """Refuse at once an address at which nothing listens: Ray would try for minutes."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        except OSError:
            raise _no_cluster(address) from None


def _no_cluster(address: str) -> BadInput:
    return BadInput(
        f"no Ray cluster answers at RAY_ADDRESS={address!r}; start it, or unset RAY_ADDRESS to use "
        "a private one"
    )


def try_ray() -> str:
    """Start or join a cluster, call a function on it, end what was started; says what it has."""
    start_ray()
    import ray

    try:

        def answer() -> int:
            return 42

        assert ray.get(ray.remote(num_cpus=0)(answer).remote(), timeout=60) == 42
        have = ray.cluster_resources()
        kind = "cluster at RAY_ADDRESS" if os.environ.get("RAY_ADDRESS") else "private cluster"
        cpus, gpus = have.get("CPU", 0), have.get("GPU", 0)
        return f"{ray.__version__}, {kind}: {cpus:.0f} CPUs, {gpus:.0f} GPUs"
    finally:
        stop_ray()


def stop_ray() -> None:
    """End what `start_ray` started, if it did."""
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()


def _slots() -> tuple[int, dict[str, float]]:
    """How many packs run at once, and what each asks for, from what the cluster has."""
    import ray

    have = ray.cluster_resources()
    cores, gpus = int(have.get("CPU", 1)), int(have.get("GPU", 0))
    if not gpus:
        return max(1, cores), {"CPU": 1}
    each = max(1, min(4, cores // gpus))  # small networks leave a GPU idle between kernels
    return gpus * each, {"CPU": 1, "GPU": 1 / each}


def on_ray(session: Session) -> None:
    """Train every pack on Ray Tune: one Tune trial a pack, actors reused."""
    from ray import tune
    from ray.tune.search import Searcher

    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    logging.getLogger("ray.train").setLevel(logging.ERROR)

    class PackWorker(tune.Trainable):  # type: ignore[misc]
        """An actor that trains one pack a step."""

        def setup(
            self, config: dict[str, Any], source: Source | None = None, scale: str = "",
            shared: dict[str, data.Arrays] | None = None,
        ) -> None:  # fmt: skip
            assert source is not None  # handed over by `tune.with_parameters`
            self.study, self.scale = catalog.load(source), scale
            data.adopt(shared or {})

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

        def step(self) -> dict[str, Any]:
            trials = [
                make_trial(self.study, self.scale, *spec) for spec in self.config["trials"].specs
            ]
            device = "cuda" if torch.cuda.is_available() else "cpu"
            outcomes = run_pack(self.study, trials, device)
            return {"done": True, "pack": self.config["pack"], "outcomes": Opaque(outcomes)}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            return None

        def load_checkpoint(self, checkpoint: Any) -> None:
            return None

    class PackSearcher(Searcher):  # type: ignore[misc]
        """Suggests packs; our own draws are Optuna's, asked by the plan."""

        def __init__(self) -> None:
            super().__init__(metric="pack", mode="min")
            self.names: dict[str, str] = {}

        def suggest(self, trial_id: str) -> Any:
            pack = session.next()
            if pack is None:
                return Searcher.FINISHED if session.done else None
            self.names[trial_id] = pack.name
            specs = [(t.phase, t.arm, t.cell, t.nuisance, t.seed, t.key) for t in pack.trials]
            return {"pack": pack.name, "trials": Opaque(specs)}

        def on_trial_complete(
            self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
        ) -> None:
            if error:
                session.lose(self.names[trial_id], "the worker process died")

        def save(self, checkpoint_path: str) -> None:
            return None

        def restore(self, checkpoint_path: str) -> None:
            return None

    class Collect(tune.Callback):  # type: ignore[misc]
        """Takes the rows out of a result before Tune copies and stores it."""

        def on_trial_result(
            self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **_: Any
        ) -> None:
            outcomes = result.pop("outcomes", None)
            if outcomes is not None:
                session.finish(result["pack"], outcomes.specs)

    workers, resources = _slots()
    scratch = tempfile.mkdtemp(prefix="harness-ray-")
    try:
        # through the object store, once: data that this process has read are not read by workers
        worker = tune.with_parameters(
            PackWorker, source=session.source, scale=session.scale, shared=data.share()
        )
        tuner = tune.Tuner(
            tune.with_resources(worker, tune.PlacementGroupFactory([resources])),
            tune_config=tune.TuneConfig(
                search_alg=PackSearcher(),
                num_samples=-1,
                max_concurrent_trials=workers,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=session.study.name, storage_path=scratch, verbose=0, callbacks=[Collect()]
            ),
        )
        tuner.fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if not session.done:
        raise RuntimeError(
            f"Ray stopped with {session.plan.told} of {session.plan.planned} trials done; "
            "the same command continues"
        )


@dataclass(frozen=True)
class Opaque:
    """A payload that Tune passes through unread: it copies, flattens and prints dicts and lists."""

    specs: Any

    def __deepcopy__(self, memo: dict[int, Any]) -> Opaque:
        return self

    def __repr__(self) -> str:
        return "..."


# --- a whole run ---------------------------------------------------------------------------------


def check_data(study: Study, plan: Plan) -> dict[str, str]:
    """Load every data set the plan needs, so that a bad file stops the run before it starts.

    Returns:
        Provenance: the precisions that trainings declare, and a digest of each data set.

    Raises:
        DataError: a file is missing, truncated or not the pinned one.
    """
    seen: set[data.Data] = set()
    precisions: set[str] = set()
    digests: set[str] = set()
    for cell in plan.cells():
        trial = make_trial(study, plan.scale, "confirm", *cell, _any_draw(study, cell[0]), 0, "")
        try:
            declared = study.trial(trial)
        except BadInput:
            raise
        except Exception:  # noqa: S112 - the trial will fail with this error and be reported
            continue
        if isinstance(declared, Training):
            precisions.add(declared.precision)
            if declared.data and declared.data not in seen:
                seen.add(declared.data)
                digests.add(f"{declared.data.name} {_digest(data.load(declared.data))}")
    return {
        "precision": ", ".join(sorted(precisions)) or "left to the trials",
        "data": ", ".join(sorted(digests)) or "none declared",
    }


def _digest(splits: data.Splits) -> str:
    """Twelve hex digits over the tensors that trials are trained, tuned and tested on."""
    found = hashlib.sha256()
    for split in (splits.train, splits.valid, splits.test):
        for tensor in split:
            found.update(tensor.cpu().numpy().tobytes())
    return found.hexdigest()[:12]


def _any_draw(study: Study, arm: str) -> dict[str, Any]:
    """The first value of everything that is drawn for an arm."""
    return {
        name: dist.choices[0] if isinstance(dist, Choice) else vars(dist)["low"]
        for name, dist in study.space(arm).items()
    }


def work_of(study: Study, source: Source, scale: str) -> float:
    """Estimated seconds of training, on one core."""
    return float(dry_run(study, source, scale, 1)["work"])


def now() -> str:
    """This moment, UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def execute(
    study: Study,
    source: Source,
    scale: str,
    root: Path,
    console: Console,
    *,
    use_ray: bool = True,
    fresh: bool = False,
    pack_size: int | None = None,
) -> tuple[Results, Any]:
    """Run a study into the ledger.

    Returns:
        Its results and the recorder, still open: the caller attaches the report and ends it.

    Raises:
        BadInput: data, tracking store or study cannot be used; nothing has been written then.
        KeyboardInterrupt: after what had ended was stored.
    """
    plan = Plan(study, source, scale)
    declared = check_data(study, plan)
    # MLflow's import and Ray's start take seconds each, so where there is certainly something to
    # train they go side by side. Ray must start on the main thread: its processes end with the
    # thread that started them.
    opening = _in_background(lambda: _open_ledger(root))
    early = use_ray and (fresh or not (root / "mlflow.db").exists())
    try:
        if early:
            start_ray()
        ledger = opening()
        info = _info(root, plan, ledger.uri, declared)
        known = None if fresh else ledger.known(study)
        entry = registration.entry(study, source, scale, now(), ledger.trials(study, scale))
        recorder = ledger.start(study, scale, info, fresh)
        recorder.register(entry)
        earlier = ledger.info_of(recorder.run_id) if recorder.continued else {}
    except BaseException:
        if early:
            stop_ray()
        raise
    clock = time.monotonic()
    try:
        mine = set(recorder.run_ids)
        book = None if known is None else rows.Recorded(study, known)
        meter = Meter(plan.planned, work_of(study, source, scale), console)
        with meter:
            session = Session(
                study, source, scale, plan, _packer(study, pack_size), recorder, meter,
                lambda key: book.get(key) if book else None,
                lambda key: key in mine,
            )  # fmt: skip
            if not use_ray:
                inline(session)
            elif not session.done:
                start_ray()
                on_ray(session)
        if use_ray:
            stop_ray()  # the writer goes on meanwhile
        recorder.wait()
    except BaseException as error:
        if use_ray:
            stop_ray()
        try:
            recorder.wait()
            so_far = round(time.monotonic() - clock + earlier.get("seconds", 0.0), 1)
            recorder.remember(info | {"seconds": so_far})
        finally:
            recorder.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    if meter.reused == plan.planned and "finished_at" in earlier:
        info = earlier  # nothing was trained: the run is what it was
    else:
        info |= {
            "finished_at": now(),
            "seconds": round(time.monotonic() - clock + earlier.get("seconds", 0.0), 1),
            "reused": meter.reused,
        }
    if "started_at" in earlier:
        info["started_at"] = earlier["started_at"]
    info |= {"experiment_id": recorder.experiment, "run_id": recorder.run_id, "partial": False}
    info["planned"] = plan.planned
    info |= registration.summary(ledger.registrations(study.name, scale), entry)
    recorder.consolidate(info)
    return results_of(study, scale, recorder.frame(), recorder.run_ids, info), recorder


def execute_to_file(
    study: Study, source: Source, scale: str, path: Path, console: Console,
    pack_size: int | None = None, fresh: bool = False,
) -> None:  # fmt: skip
    """Train every trial in this process and keep the rows in a file; needs no Ray, no MLflow.

    A file of an interrupted run is gone on with, unless `fresh`.

    Raises:
        BadInput: the folder cannot be written, or the file is another study's.
    """
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise BadInput(f"--rows {str(path)!r}: its folder cannot be written; allowed: one that can")
    plan = Plan(study, source, scale)
    info = _info(catalog.root(), plan, "", check_data(study, plan))
    earlier = None
    if path.is_file() and not fresh:
        earlier, _, then = read_rows(path)
        if (earlier["study"].iloc[0], then) != (study.name, scale):
            raise BadInput(
                f"--rows {str(path)!r} holds {earlier['study'].iloc[0]} at the {then} scale; "
                f"allowed: a new file, rows of {study.name} at the {scale} scale, or --fresh"
            )
        info["started_at"] = earlier.attrs["info"]["started_at"]
        info["registrations"] = earlier.attrs["info"].get("registrations", [])
    trials = 0 if earlier is None else earlier["trial"].nunique()
    entry = registration.entry(study, source, scale, now(), trials)
    info.setdefault("registrations", [])
    if not info["registrations"] or info["registrations"][-1]["hash"] != entry["hash"]:
        info["registrations"].append(entry)
    before = earlier.attrs["info"].get("seconds", 0.0) if earlier is not None else 0.0
    kept = None if earlier is None else rows.typed(study, earlier)
    known = None if kept is None else rows.Recorded(study, kept)
    keeper = RowsFile(study, path, {"study": source.path, "scale": scale, "info": info}, kept)
    clock = time.monotonic()
    try:
        with Meter(plan.planned, work_of(study, source, scale), console) as meter:
            inline(
                Session(
                    study, source, scale, plan, _packer(study, pack_size), keeper, meter,
                    lambda key: known.get(key) if known else None,
                    lambda key: True,  # what is known is in the file
                )
            )  # fmt: skip
    finally:
        info["seconds"] = round(time.monotonic() - clock + before, 1)
        info["partial"] = not plan.done
        info["planned"] = plan.planned
        if plan.done:
            info["finished_at"] = now()
        keeper.wait()


def read_rows(path: Path) -> tuple[pd.DataFrame, str, str]:
    """Rows from a file of `execute_to_file`, with the study's name and the scale.

    Raises:
        BadInput: no such file, or not one of ours.
    """
    try:
        frame = pd.read_parquet(path)
        scale, name = str(frame.attrs["scale"]), str(frame["study"].iloc[0])
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise BadInput(
            f"rows file {str(path)!r} cannot be read ({type(error).__name__}: {error}); allowed: a "
            "file written by harness run NAME --inline --rows FILE"
        ) from None
    own = str(frame.attrs.get("study", ""))
    return frame, (own if name not in catalog.names() and Path(own).is_file() else name), scale


def import_rows(
    study: Study, source: Source, scale: str, root: Path, frame: pd.DataFrame, console: Console
) -> tuple[Results, Any]:
    """Load rows into the ledger as a run of their own; returns what `execute` returns."""
    ledger = _open_ledger(root)
    info = {**frame.attrs["info"], "tracking_uri": ledger.uri}
    frame = rows.typed(study, frame)
    entry = registration.entry(study, source, scale, now(), ledger.trials(study, scale))
    recorder = ledger.start(study, scale, info, fresh=True)
    for earlier in info.pop("registrations", []):
        recorder.register(earlier)
    recorded = rows.Recorded(study, frame)
    try:
        for pack, part in frame.groupby("pack", sort=False):
            groups = [group for _, group in part.groupby("trial", sort=False)]
            trials = [rows.trial_of(study, scale, group) for group in groups]
            outcomes = [recorded.get(trial.key) for trial in trials]
            recorder.add(str(pack), trials, [outcome for outcome in outcomes if outcome])
        console.print(f"{frame['trial'].nunique()} trials to load")
        recorder.wait()
    except BaseException:
        recorder.end("FAILED")
        raise
    info |= {"experiment_id": recorder.experiment, "run_id": recorder.run_id}
    entry["trials"] += frame["trial"].nunique()  # claims edited since then came after these rows
    info |= registration.summary(ledger.registrations(study.name, scale), entry)
    recorder.consolidate(info)
    return results_of(study, scale, recorder.frame(), recorder.run_ids, info), recorder


def recall(
    study: Study, source: Source, scale: str, root: Path, run_id: str | None = None
) -> Results:
    """The latest run of a study at a scale, or the one of an id, from the ledger alone.

    Raises:
        BadInput: the ledger has no run of it.
    """
    ledger = _open_ledger(root)
    parents = ledger.parents(study.name, scale)
    if not parents:
        raise BadInput(
            f"the ledger {ledger.uri} has no run of {study.name} at the {scale} scale; "
            f"first: harness run {study.name} --scale {scale}"
        )
    run = next((one for one in parents if one.info.run_id == run_id), parents[0])
    info = ledger.info_of(run.info.run_id)
    entry = registration.entry(study, source, scale, "", ledger.trials(study, scale))
    info |= registration.summary(ledger.registrations(study.name, scale), entry)
    ids = ledger.children(run.info.experiment_id, run.info.run_id)
    return results_of(study, scale, ledger.rows_of(study, run), ids, info)


def find_run(words: str, root: Path) -> tuple[str, str, str]:
    """The study's name, scale and MLflow id of a run that a user names.

    Args:
        words: ``NAME``, ``NAME@SCALE``, either with ``~1`` for the run before the latest (``~2``
            …), or the first digits of an MLflow run id.

    Raises:
        BadInput: there is no such run.
    """
    ledger = _open_ledger(root)
    place, _, back = words.partition("~")
    name, _, scale = place.partition("@")
    if (back and not back.isdigit()) or (scale and scale not in SCALES):
        raise BadInput(f"run {words!r}; allowed: NAME, NAME@SCALE, NAME~1, or a run's id")
    found = ledger.parents(name, scale or "default") if name in ledger.studies() else []
    if not found and not back and not scale:
        found = [
            run
            for study in ledger.studies()
            for run in ledger.parents(study)
            if len(words) >= 6 and run.info.run_id.startswith(words)
        ]
    if int(back or 0) >= len(found):
        raise BadInput(
            f"run {words!r}: the ledger {ledger.uri} holds {len(found)} such runs; allowed: NAME, "
            "NAME@SCALE, NAME~1 for the one before the latest, or six digits or more of a run's id"
        )
    tags = found[int(back or 0)].data.tags
    return tags["harness.study"], tags["harness.scale"], found[int(back or 0)].info.run_id


def replay(key: str, root: Path) -> tuple[bool, list[str]]:
    """Train a recorded trial again, here and alone, and compare it row by row.

    Returns:
        Whether every row is bitwise the same, and lines that say what was compared.

    Raises:
        BadInput: no ledger run holds a trial of that key.
    """
    ledger = _open_ledger(root)
    for name in catalog.names():
        source = catalog.find(name)
        study = catalog.load(source)
        for parent in ledger.parents(name):
            frame = ledger.rows_of(study, parent)
            recorded = frame[frame["trial"] == key]
            if recorded.empty:
                continue
            scale = parent.data.tags["harness.scale"]
            trial = rows.trial_of(study, scale, recorded)
            device = "cuda" if torch.cuda.is_available() else "cpu"
            again = rows.frame_of(study, "replay", [trial], run_pack(study, [trial], device))
            return _compare(study, ledger.info_of(parent.info.run_id), recorded, again)
    raise BadInput(f"no trial {key!r} in {ledger.uri}; allowed: a key from trials.csv")


def _compare(
    study: Study, info: Mapping[str, Any], recorded: pd.DataFrame, again: pd.DataFrame
) -> tuple[bool, list[str]]:
    columns = ["step", "status", *study.metrics]
    old = recorded.sort_values("step")[columns].reset_index(drop=True)
    new = again.sort_values("step")[columns].reset_index(drop=True)
    first = recorded.iloc[0]
    lines = [
        f"{first['study']} {first['arm']}, {first['phase']} seed {first['seed']}: {len(old)} rows"
    ]
    if old.equals(new):
        return True, [*lines, "every row is bitwise the same"]
    if len(old) != len(new):
        lines.append(f"{len(old)} rows recorded, {len(new)} rows now")
    else:
        differ = (old != new) & ~(old.isna() & new.isna())
        lines += [f"{name}: {count} rows differ" for name, count in differ.sum().items() if count]
    then, today = info.get("provenance", {}), provenance.describe()
    lines += [
        f"{what}: {then.get(what)} then, {value} now"
        for what, value in today.items()
        if what != "command" and then.get(what) != value
    ]
    return False, lines


def results_of(
    study: Study, scale: str, frame: pd.DataFrame, run_ids: Mapping[str, str], info: dict[str, Any]
) -> Results:
    """The value that verdicts, figures and report are made from, rows in a fixed order."""
    order = ["phase", "arm", *study.vary, "seed", "trial", "step"]
    frame = frame.sort_values(order, kind="stable", ignore_index=True)
    trials = rows.trials_of(study, frame, dict(run_ids))
    return Results(study, scale, frame[study.columns()], trials, info)


def _open_ledger(root: Path) -> Ledger:
    from harness.ledger import Ledger

    return Ledger(root)


def _info(root: Path, plan: Plan, uri: str, declared: Mapping[str, str]) -> dict[str, Any]:
    """What is known of a run when it starts."""
    sha, dirty = provenance.commit(root)
    return {
        "commit": sha,
        "dirty": dirty,
        "plan": plan.hash(),
        "planned": plan.planned,
        "provenance": {**provenance.describe(), **declared},
        "started_at": now(),
        "tracking_uri": uri,
    }


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
