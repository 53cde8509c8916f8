"""Databases of our own, to track into: a private PostgreSQL or MariaDB under a folder, on loopback.

Debian's packages `postgresql` and `mariadb-server` bring the programs. A cluster is made anew, takes
connections of this machine only, and is ended by its own process id.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

PACKAGES = {"postgresql": "postgresql", "mariadb": "mariadb-server"}


def missing(kind: str) -> str:
    """Why a kind of database cannot be started here, or nothing."""
    found = _postgres() if kind == "postgresql" else shutil.which("mariadbd")
    return "" if found else f"needs {kind}: apt-get install {PACKAGES[kind]}"


def _postgres() -> Path | None:
    """The newest folder of PostgreSQL's programs; Debian does not have them in PATH."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    homes = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = sorted(homes, key=lambda path: int(path.parts[-3]))
    return newest[-1].parent if newest else None


def free_port() -> int:
    """A port of loopback that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _runs(process: psutil.Process) -> bool:
    """Whether a process that was killed is still there, other than as a name that nobody collects."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


class Database:
    """A database server of our own; `uri` is what MLflow takes.

    Args:
        kind: "postgresql" or "mariadb".
        folder: Where its files go. It refuses to run as root, and then runs as the user whom its
            Debian package has made.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder, self.port = kind, folder, free_port()
        self.user = {"postgresql": "postgres", "mariadb": "mysql"}[kind]
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        if os.geteuid() == 0:
            shutil.chown(folder, self.user, self.user)
        self.log = folder / "log"
        if kind == "postgresql":
            self._run(
                f"{_postgres()}/initdb", "-D", str(folder / "data"), "-U", "tracking",
                "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8",
            )  # fmt: skip
        else:
            self._run("mariadb-install-db", "--no-defaults", f"--datadir={folder / 'data'}",
                      "--auth-root-authentication-method=normal", "--skip-test-db")  # fmt: skip

    @property
    def uri(self) -> str:
        if self.kind == "postgresql":
            return f"postgresql://tracking@127.0.0.1:{self.port}/postgres"
        return f"mysql+pymysql://root@127.0.0.1:{self.port}/tracking"

    def start(self) -> None:
        """Start it, and return once it takes connections."""
        if self.kind == "postgresql":
            words = [f"{_postgres()}/postgres", "-D", str(self.folder / "data"),
                     "-c", "listen_addresses=127.0.0.1", "-c", f"port={self.port}",
                     "-c", "unix_socket_directories="]  # fmt: skip
        else:
            words = ["mariadbd", "--no-defaults", f"--datadir={self.folder / 'data'}",
                     f"--port={self.port}", "--bind-address=127.0.0.1",
                     f"--socket={self.folder / 'socket'}", f"--pid-file={self.folder / 'pid'}",
                     "--character-set-server=utf8mb4"]  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                words, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True, **self._as(),
            )  # fmt: skip
        for _ in range(600):
            if self.process.poll() is not None:
                break
            if self._answers():
                return
            time.sleep(0.1)
        raise RuntimeError(f"{self.kind} did not start: {self.log.read_text()[-600:]}")

    def _answers(self) -> bool:
        if self.kind == "postgresql":
            import psycopg

            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.uri).close()
                return True
        else:
            import pymysql

            with contextlib.suppress(pymysql.err.OperationalError):
                found = pymysql.connect(host="127.0.0.1", port=self.port, user="root")
                with found, found.cursor() as cursor:
                    cursor.execute("CREATE DATABASE IF NOT EXISTS tracking")
                return True
        return False

    def kill(self) -> None:
        """End it and its children at once, as a loss of power would; nothing where it has ended."""
        if not self.process or self.process.poll() is not None:
            return
        # Held still meanwhile, so that it begins no other. Each child of PostgreSQL's leads a group of
        # its own, and one that is busy would go on to the end of its client's transaction.
        server = psutil.Process(self.process.pid)
        server.suspend()
        children = server.children(recursive=True)
        for one in (server, *children):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.wait()
        while any(_runs(one) for one in children):
            time.sleep(0.01)

    def stop(self) -> None:
        """End it in peace."""
        if self.process and self.process.poll() is None:
            # PostgreSQL's fast shutdown, which does not wait for clients to leave
            self.process.send_signal(signal.SIGINT if self.kind == "postgresql" else signal.SIGTERM)
            self.process.wait(60)

    def _run(self, *words: str) -> None:
        done = subprocess.run(
            words, cwd=self.folder, capture_output=True, text=True, check=False, timeout=120,
            **self._as(),
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{words[0]}: {(done.stderr or done.stdout).strip()[-600:]}")

    def _as(self) -> dict:
        if os.geteuid():
            return {}
        return {"user": self.user, "group": self.user, "extra_groups": []}


@contextlib.contextmanager
def database(kind: str) -> Iterator[Database]:
    """A running one, in a folder that goes with it."""
    with tempfile.TemporaryDirectory(prefix=f"{kind}-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # its user must reach what is below
        one = Database(kind, Path(folder) / "cluster")
        try:
            one.start()
            yield one
        finally:
            one.stop()
