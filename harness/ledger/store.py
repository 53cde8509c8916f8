"""The tracking store: opened, or refused at once, and read.

One class, for all of it needs the one client and what is known of the store's address: what is left
out is writing a run (`recorder`), child runs (`children`) and reading earlier ones (`past`).
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import socket
import sqlite3
import tempfile
import urllib.parse
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy
from filelock import FileLock

from harness import durable
from harness.ledger import chain, provenance, rows, views
from harness.ledger.client import (
    IN_USE,
    Dataset,
    DatasetInput,
    InputTag,
    MlflowClient,
    MlflowException,
    Param,
    Run,
    SqlAlchemyStore,
    server_of,
    store_of,
)  # fmt: skip
from harness.ledger.home import default_artifacts, default_uri
from harness.ledger.lease import Lease
from harness.ledger.names import (
    BESIDE,
    CLAIMS,
    INFO,
    KEYS,
    PACKS,
    PROMISED,
    PROVENANCE,
    REGISTERED,
    ROWS,
    SOURCE,
    user,
)  # fmt: skip
from harness.ledger.permanent import one_line
from harness.ledger.wire import Wire
from harness.study import BadInput, Source, Study

ROOM = 2**16  # bytes that SQLite needs beside a database to open it
COMMIT = 40  # digits of one of git's
# Databases with a server of their own: the usual port, and this package's extra with a driver.
DATABASES = {
    "postgresql": (5432, "postgres", "postgresql"),
    "mysql": (3306, "mysql", "mysql+pymysql"),
}


def _relax_sqlite(connection: Any, _record: Any) -> None:
    """One writer and a write-ahead log: half the time a run, and a crash loses at most the last."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")


QUIET = {  # loggers whose words we say ourselves, or which nobody needs
    "alembic": logging.WARNING,
    "mlflow": logging.WARNING,
    "mlflow.store.db.utils": logging.CRITICAL,  # a locked store
}


class Ledger:
    """The tracking store, reached or refused at once.

    Args:
        root: The project folder, home of the default store.
        uri: A tracking URI; by default `default_uri(root)`.

    What it sets of this process (`IN_USE`, `QUIET`) `execution.left_as_found` puts back.

    Raises:
        BadInput: the store cannot be reached or opened.
        OSError: the disk that it is to lie on is full.
    """

    def __init__(self, root: Path, uri: str | None = None) -> None:
        uri = uri or default_uri(root)
        self.uri = public(uri)
        self._local = uri.startswith("sqlite:")
        self.artifacts = default_artifacts(root)
        self._spools = root / ".harness" / "spool"
        self._homes: dict[str, Path | None] = {}
        self.lease: Lease | None = None
        for name, value in IN_USE.items():
            os.environ.setdefault(name, value)
        for name, level in QUIET.items():
            logging.getLogger(name).setLevel(level)
        parts = urllib.parse.urlparse(uri)
        kind = parts.scheme.partition("+")[0]  # behind it may stand the driver's name
        if kind in ("http", "https"):
            _knock(parts.hostname, parts.port or (443 if kind == "https" else 80), self.uri)
        elif kind in DATABASES:
            _check_database(uri)
        elif self._local:
            _make_sqlite(uri)
            _check_sqlite(uri)
        elif kind not in ("file", "mssql", ""):
            raise BadInput(
                f"MLFLOW_TRACKING_URI={self.uri!r}; allowed: http(s)://host:port, sqlite:///file, "
                "postgresql://user@host/database or mysql+pymysql://user@host/database"
            )
        try:
            self.client = MlflowClient(tracking_uri=uri)
            self.client.search_experiments(max_results=1)
        except Exception as error:  # SQLAlchemy, OS and MLflow errors alike: the remedy is one
            if self._local:
                _check_room(Path(uri.removeprefix("sqlite:///")))
            raise BadInput(
                f"tracking store {self.uri!r} cannot be opened: {one_line(error)}"
            ) from None
        server = server_of(self.client)
        self.wire = Wire(server) if server else None
        store = self.store()
        if store and not sqlalchemy.event.contains(store.engine, "connect", _relax_sqlite):
            sqlalchemy.event.listen(store.engine, "connect", _relax_sqlite)
            store.engine.dispose()  # connections that were made before
            # the last one that closes leaves the database in one file
            atexit.register(store.engine.dispose)

    def store(self) -> SqlAlchemyStore | None:
        """MLflow's own store where it is a database that we reach ourselves, else None."""
        return store_of(self.client)

    def release(self) -> None:
        """A run is over: others may run its study."""
        if self.lease:
            self.lease.release()

    def experiment(self, study: str) -> str | None:
        """The id of a study's experiment, or None before its first run."""
        found = self.client.get_experiment_by_name(study)
        if found is not None and found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return found.experiment_id if found else None

    def studies(self) -> list[str]:
        """The names of every experiment in the store."""
        return [one.name for one in self.client.search_experiments(max_results=1000)]

    def _create(self, study: str) -> str:
        home = (self.artifacts / study).as_uri() if self._local else None
        return str(self.client.create_experiment(study, artifact_location=home))

    def _describe(self, experiment: str, study: Study) -> None:
        """Say what kind of experiment it is, also of one that earlier versions have made."""
        there = self.client.get_experiment(experiment).tags
        for key, value in views.tags(study).items():
            if there.get(key) != value:
                self.client.set_experiment_tag(experiment, key, value)

    def parents(
        self, study: str, scale: str = "", plan: str = "", most: int | None = None
    ) -> list[Run]:
        """Parent runs of a study, the newest first: all or so many, or those at a scale or of a
        plan."""
        experiment = self.experiment(study)
        if experiment is None:
            return []
        wanted = {"study": study, "scale": scale, "plan": plan}
        words = " and ".join(f"tags.`harness.{k}` = '{v}'" for k, v in wanted.items() if v)
        runs = list(islice(self._search([experiment], words, most or 1000), most))
        for run in runs:
            self._homes[run.info.run_id] = _folder(run)
        return runs

    def _search(self, experiments: list[str], words: str, page_of: int = 1000) -> Iterator[Run]:
        """Every active run that the words find, the newest first."""
        token = None
        while True:
            page = self.client.search_runs(
                experiments, words, order_by=["attributes.start_time DESC"], max_results=page_of,
                page_token=token,
            )  # fmt: skip
            yield from page
            token = page.token
            if not token:
                return

    # --- files of a run --------------------------------------------------------------------------

    def _home(self, run_id: str) -> Path | None:
        """The folder of a run's artifacts, where it is one on this machine."""
        if run_id not in self._homes:
            self._homes[run_id] = _folder(self.client.get_run(run_id))
        return self._homes[run_id]

    def own(self, run_id: str) -> bool:
        """Whether a run's record is files of this machine alone, and no server's."""
        return self._local and self._home(run_id) is not None

    def keep(self, run_id: str, path: Path, folder: str = "") -> None:
        """Move a file into a run's artifacts; doing it again after it was done changes nothing."""
        home = self._home(run_id)
        if home is not None:
            durable.move(path, home / folder / path.name)
        else:
            self.client.log_artifact(run_id, str(path), folder or None)
            path.unlink()

    def write(self, run_id: str, name: str, text: str) -> None:
        """Make or replace a text among a run's artifacts."""
        home = self._home(run_id)
        if home is not None:
            durable.text(home / name, text)
        else:
            self.client.log_text(run_id, text, name)

    def files(self, run_id: str, folder: str) -> list[str]:
        """The names of what lies in a folder of a run's artifacts."""
        home = self._home(run_id)
        if home is None:
            found = self.client.list_artifacts(run_id, folder)
            return [one.path.rpartition("/")[2] for one in found]
        try:
            return os.listdir(home / folder)
        except FileNotFoundError:
            return []

    def remove(self, run_id: str, folder: str, names: Collection[str]) -> None:
        """Remove files from a folder of a run's artifacts, and the folder if it is empty then.

        Where the artifacts are not on this machine they stay: MLflow's client removes none.
        """
        home = self._home(run_id)
        if home is not None:
            for name in names:
                (home / folder / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                (home / folder).rmdir()

    @contextlib.contextmanager
    def artifact(self, run_id: str, name: str) -> Iterator[Path]:
        """A run's artifact as a file on this machine, for as long as it is read."""
        home = self._home(run_id)
        if home is not None:
            yield home / name
        else:
            with tempfile.TemporaryDirectory() as folder:
                yield Path(self.client.download_artifacts(run_id, name, folder))

    def text_of(self, run_id: str, name: str) -> str | None:
        """A text among a run's artifacts, or None where there is none that can be read."""
        try:
            with self.artifact(run_id, name) as path:
                return path.read_text("utf-8")
        except (OSError, ValueError, MlflowException):
            return None

    def spool(self, study: str) -> Path:
        """Where records of a study wait for this store."""
        return self._spools / hashlib.sha256(self.uri.encode()).hexdigest()[:12] / study

    def recover(self, study: str) -> int:
        """Put into the store what an earlier process could not.

        What a crash has left half-written is removed: its trials are trained again.

        Returns:
            How many files.
        """
        count = 0
        waiting = self.spool(study).glob("*/*")
        for path in sorted(waiting, key=lambda path: (path.name == KEYS, path)):  # rows before keys
            if path.suffix == ".part" or not _whole(path):
                path.unlink()
                continue
            try:
                pack = path.suffix == ".parquet" and path.name != ROWS
                self.keep(path.parent.name, path, PACKS if pack else "")
                count += 1
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # else the run was deleted
                    raise
        return count

    # --- what runs know of themselves -------------------------------------------------------------

    def info_of(self, run_id: str) -> dict[str, Any]:
        """What a parent run knew of itself, with its state as the store has it.

        Where its file is damaged, this is what the run's tags and parameters still say.
        """
        run = self.client.get_run(run_id)
        try:
            info = dict(json.loads(self.text_of(run_id, INFO) or ""))
        except (ValueError, TypeError):
            params, started = run.data.params, run.info.start_time / 1000
            info = {
                "commit": run.data.tags.get("harness.commit", "unknown"),
                "plan": run.data.tags.get("harness.plan", "unknown"),
                "started_at": datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "provenance": {
                    name.removeprefix(PROVENANCE): value
                    for name, value in params.items()
                    if name.startswith(PROVENANCE)
                },
                "tracking_uri": self.uri,
            }
        info.setdefault("run_id", run.info.run_id)
        info.setdefault("experiment_id", run.info.experiment_id)
        info["partial"] = run.info.status != "FINISHED"
        return info

    def source_of(self, run_id: str) -> str | None:
        """The text of the study file that a run was made from, where it was recorded."""
        return self.text_of(run_id, SOURCE)

    def beside_of(self, run_id: str) -> tuple[tuple[str, str], ...]:
        """The modules beside that study file, as `Source.beside` has them."""
        try:
            found = json.loads(self.text_of(run_id, BESIDE) or "{}")
        except ValueError:
            return ()
        return tuple(sorted((str(path), str(text)) for path, text in dict(found).items()))

    def registrations(self, runs: Iterable[Run]) -> list[dict[str, Any]]:
        """Every registration of a study's claims in its runs at a scale, the oldest first; the runs
        are given the newest first, as is known of two that registered in the same second.

        What equal claims say is read once, from one run of all that registered them. Runs of
        earlier versions have no tag that tells when they did: theirs are read one by one.
        """
        known: dict[str, dict[str, Any]] = {}
        found: list[dict[str, Any]] = []
        for run in reversed([*runs]):
            try:
                told = json.loads(run.data.tags.get(REGISTERED, ""))
            except ValueError:  # there is none, or it was too long for the store
                found += self.registered(run.info.run_id)
                continue
            for one in told:
                if chain.whole(one, known) is None:
                    known |= {chain.claimed(e): e for e in self.registered(run.info.run_id)}
                if entry := chain.whole(one, known):
                    found.append(entry)
        return sorted(found, key=lambda one: str(one["at"]))

    def registered(self, run_id: str) -> list[dict[str, Any]]:
        """The registrations in one run."""
        try:
            return list(json.loads(self.text_of(run_id, CLAIMS) or "[]"))
        except ValueError:
            return []

    def promised(self, run_id: str) -> dict[str, str]:
        """The keys of trials that were known before a run's first, by their digest."""
        try:
            return dict(json.loads(self.text_of(run_id, PROMISED) or "{}"))
        except (ValueError, TypeError):
            return {}

    def open_run(
        self, study: Study, source: Source, scale: str, info: Mapping[str, Any], fresh: bool
    ) -> tuple[str, str, bool]:
        """The latest parent run of the same plan, or a new one.

        Args:
            study, source, scale: What is run; the text is kept as an artifact.
            info: What is known of the run, `plan` above all.
            fresh: Begin a new run in any case.

        Returns:
            The experiment's id, the run's, and whether it has been begun before.

        Raises:
            BadInput: another process runs the study into the same server.
        """
        experiment = self.experiment(study.name) or self._create(study.name)
        self._describe(experiment, study)
        if not self._local:
            self.lease = Lease(self.client, experiment, study.name)
        same = self.parents(study.name, scale, str(info["plan"]), most=1)
        if same and not fresh:
            run_id = same[0].info.run_id
            self.client.update_run(run_id, status="RUNNING")
        else:
            tags = {
                "mlflow.runName": f"{study.name} {scale}",
                "mlflow.note.content": study.question,
                "mlflow.user": user(),
                "mlflow.source.name": Path(source.path).name,
                "mlflow.source.type": "LOCAL",
                "harness.study": study.name,
                "harness.scale": scale,
                "harness.commit": str(info["commit"]),
                "harness.plan": str(info["plan"]),
            }
            if len(tags["harness.commit"]) == COMMIT:
                tags["mlflow.source.git.commit"] = tags["harness.commit"]
            run_id = self.client.create_run(experiment, tags=tags).info.run_id
            params = {f"{PROVENANCE}{k}": str(v)[:500] for k, v in info["provenance"].items()}
            self.client.log_batch(run_id, params=[Param(k, v) for k, v in params.items()])
            self.write(run_id, INFO, json.dumps(dict(info), indent=2))
        if inputs := [_input(*one) for one in provenance.data_of(info["provenance"])]:
            self.client.log_inputs(run_id, inputs)  # once each, however often it is said
        self.write(run_id, SOURCE, source.text)
        if source.beside or same:
            self.write(run_id, BESIDE, json.dumps(dict(source.beside), indent=2))
        return experiment, run_id, bool(same) and not fresh

    def children(
        self, experiment: str, parent: str, remove: Collection[str] = ()
    ) -> dict[str, str]:
        """Trial key to run id of the children of a parent that finished or failed.

        Args:
            remove: States of children that are removed and left out: those cut short ("RUNNING")
                or, by a run that trains them again, "FAILED" ones. A second child of a trial goes
                with them.
        """
        found: dict[str, str] = {}
        for run in self._search([experiment], f"tags.`mlflow.parentRunId` = '{parent}'"):
            key = run.data.tags.get("harness.trial", "")
            if run.info.status in remove or (remove and key in found):
                self.client.delete_run(run.info.run_id)
            elif run.info.status in ("FINISHED", "FAILED"):
                found[key] = run.info.run_id
        return found

    def finals(self, experiment: str, parent: str) -> dict[str, tuple[str, dict[str, float]]]:
        """How the trial of each child run ended and what it measured last, by the trial's key."""
        runs = self._search([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
        return {
            run.data.tags.get("harness.trial", ""): (
                run.data.tags.get("harness.status", ""), dict(run.data.metrics)
            )
            for run in runs
        }  # fmt: skip

    def holding(self, trial: str) -> list[Run]:
        """Parent runs that have a child for a trial, the newest first."""
        homes = [one.experiment_id for one in self.client.search_experiments(max_results=1000)]
        found = self._search(homes, f"tags.`harness.trial` = '{trial}'")
        parents = dict.fromkeys(run.data.tags.get("mlflow.parentRunId", "") for run in found)
        return [self.client.get_run(parent) for parent in parents if parent]


def _folder(run: Run) -> Path | None:
    """The folder of a run's artifacts, where it is one on this machine."""
    place = urllib.parse.urlparse(run.info.artifact_uri)
    local = place.scheme in ("file", "")  # a plain path, where MLflow chose it
    return Path(urllib.parse.unquote(place.path)) if local else None


def _input(name: str, digest: str) -> DatasetInput:
    """A data set as an input of a run."""
    source = json.dumps({"name": name})
    return DatasetInput(
        Dataset(name, digest, "local", source), [InputTag("mlflow.data.context", "training")]
    )


def _whole(path: Path) -> bool:
    """Whether a file that waited in the spool was written to its end."""
    try:
        rows.load(path) if path.suffix == ".parquet" else json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return True


def public(uri: str) -> str:
    """A tracking URI as it may be shown: without its password."""
    parts = urllib.parse.urlparse(uri)
    if not parts.password:
        return uri
    where = parts.netloc.rpartition("@")[2]
    if parts.scheme not in ("http", "https"):
        where = f"{parts.username}:***@{where}"
    return parts._replace(netloc=where).geturl()


def _knock(host: str | None, port: int, uri: str) -> None:
    try:
        socket.create_connection((host or "", port), timeout=5).close()
    except OSError as error:
        raise BadInput(
            f"tracking server {uri!r} does not answer ({error.strerror or error}); start it, or "
            "unset MLFLOW_TRACKING_URI to use the project's own database"
        ) from None


def _check_database(uri: str) -> None:
    """Refuse at once a database without a driver, or one that MLflow would call for minutes."""
    shown = public(uri)
    try:
        url = sqlalchemy.make_url(uri)
        url.get_dialect().import_dbapi()
    except ImportError as error:
        kind = uri.partition(":")[0].partition("+")[0]
        extra, scheme = DATABASES[kind][1:]
        raise BadInput(
            f"tracking store {shown!r} needs a driver ({error}): pip install '.[{extra}]', and "
            f"{scheme}://… as the address"
        ) from None
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        raise BadInput(f"tracking store {shown!r} is no address: {one_line(error)}") from None
    if url.host and not url.host.startswith("/"):  # else a socket among the files
        _knock(url.host, url.port or DATABASES[url.get_backend_name()][0], shown)


def _make_sqlite(uri: str) -> None:
    """Make a database file whole or not at all: MLflow makes its tables one after another, and can
    never open what a kill or a full disk has left between them.

    Raises:
        BadInput: it cannot be made.
    """
    path = Path(uri.removeprefix("sqlite:///")).absolute()
    if not path.parent.is_dir() or _begun(path):
        return
    lock = path.with_name(f".{path.name}.lock")
    try:
        # in a folder of its own, for MLflow keeps the connections of an address
        with FileLock(lock), tempfile.TemporaryDirectory(prefix="harness-ledger-") as folder:
            if _begun(path):
                return  # by another process, in the meantime
            made = Path(folder, path.name)
            _check_sqlite(f"sqlite:///{made}")
            client = MlflowClient(tracking_uri=f"sqlite:///{made}")
            client.search_experiments(max_results=1)
            durable.write(path, lambda part: _backup(made, part))
            if store := store_of(client):
                store.engine.dispose()
    except BadInput:
        raise
    except Exception as error:  # SQLAlchemy, OS and MLflow errors alike
        _check_room(path)
        raise BadInput(
            f"tracking store {public(uri)!r} cannot be made: {one_line(error)}"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()


def _backup(made: Path, part: Path) -> None:
    """A database in one file, also what only its write-ahead log holds as yet."""
    part.unlink(missing_ok=True)  # which a kill left
    with (
        contextlib.closing(sqlite3.connect(made)) as one,
        contextlib.closing(sqlite3.connect(part)) as other,
    ):
        one.backup(other)


def _check_room(path: Path) -> None:
    """Raise the error of a full disk where it is full: SQLite calls that an I/O error, too."""
    with contextlib.suppress(FileNotFoundError):
        if shutil.disk_usage(path.absolute().parent).free < ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _begun(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _check_sqlite(uri: str) -> None:
    """Refuse at once what MLflow would try to open for minutes."""
    path = uri.removeprefix("sqlite:///")
    try:
        with sqlite3.connect(path, timeout=5) as connection:
            connection.execute("PRAGMA schema_version").fetchone()
            connection.execute("PRAGMA journal_mode=WAL")  # tables are made sooner
    except sqlite3.Error as error:
        _check_room(Path(path))
        raise BadInput(
            f"tracking store {uri!r} cannot be opened: {error}; allowed: a SQLite file of MLflow's, "
            "or none yet in a folder that can be written"
        ) from None
