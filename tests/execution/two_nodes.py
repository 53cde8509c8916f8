"""A Ray cluster of two nodes on this machine, the second of which has not this project.

The second node runs from another virtual environment, which holds what training needs and no more,
in a mount namespace in which the project's folder and this environment's are empty.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from packaging.requirements import Requirement

NEEDED = ("ray[tune]", "torch", "numpy", "scipy", "optuna")  # on every node
STARTED = "Ray runtime started"  # as `ray start` says
SIZE = ("--num-cpus=1", "--object-store-memory=80000000", "--block")
ALONE = ("--include-dashboard=false",)
HERE = Path(__file__).parents[2]
NAMESPACE = ("unshare", "-Urm") if os.getuid() else ("unshare", "-m")


def why_not() -> str:
    """Why a mount namespace cannot be made here, or nothing."""
    try:
        tried = subprocess.run(
            [*NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True,
            check=False, timeout=20,
        )  # fmt: skip
    except OSError as error:
        return str(error)
    return tried.stderr.strip()


def requirements(names: tuple[str, ...] = NEEDED) -> set[str]:
    """The installed distributions that some need, directly or not."""
    found: set[str] = set()
    left = [(Requirement(name), "") for name in names]
    seen: set[tuple[str, str]] = set()
    while left:
        wanted, extra = left.pop()
        if wanted.marker and not wanted.marker.evaluate({"extra": extra}):
            continue
        try:
            one = importlib.metadata.distribution(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            continue
        for each in ("", *wanted.extras):
            if (wanted.name, each) not in seen:
                seen.add((wanted.name, each))
                left += [(Requirement(words), each) for words in one.requires or ()]
        found.add(one.name)
    return found


def bare_environment(folder: Path, site: Path) -> Path:
    """Make a virtual environment of what training needs, as links to what is installed here.

    Args:
        folder: Where to.
        site: Where the folder of this environment's packages will be found.

    Returns:
        Its interpreter.
    """
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([base, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in requirements():
        one = importlib.metadata.distribution(name)
        home = Path(str(one.locate_file("")))
        for top in {file.parts[0] for file in one.files or ()} - {"..", "__pycache__"}:
            link = packages / top
            if not link.is_symlink():
                link.symlink_to(site / (home / top).relative_to(site_packages()))
    return folder / "bin" / "python"


def site_packages() -> Path:
    """Where this environment's packages are."""
    return Path(str(importlib.metadata.distribution("ray").locate_file("")))


class Cluster:
    """Two nodes of one core each. Leaving it ends them.

    Args:
        hidden: Folders beside the project's that the second node is not to see.
        told: Variables of the workers of the first node, and of the second.

    Attributes:
        joins: Variables with which a command joins it.
    """

    def __init__(self, hidden: list[Path], *told: dict[str, str]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="h-", dir="/tmp"))  # names of sockets are short
        asked = {
            "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
        }  # fmt: skip
        self._env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "RAY_ADDRESS")}
        self._env |= {**asked, "RAY_TMPDIR": str(self._folder)}
        self._started: list[subprocess.Popen[bytes]] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.joins = {**asked, "RAY_ADDRESS": f"127.0.0.1:{port}", "RAY_TMPDIR": str(self._folder)}
        try:
            self._start([sys.executable], ["--head", f"--port={port}", *ALONE], told[0])
            self._start(self._apart(hidden), [f"--address=127.0.0.1:{port}"], told[1])
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        while self._started:
            _end(self._started.pop())
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextlib.contextmanager
    def another(self, *words: str) -> Iterator[None]:
        """A third node, of this environment, while within."""
        self._start([sys.executable], [f"--address={self.joins['RAY_ADDRESS']}", *words], {})
        try:
            yield
        finally:
            _end(self._started.pop())

    def _apart(self, hidden: list[Path]) -> list[str]:
        """The interpreter of the second node."""
        site = self._folder / "site"
        site.mkdir()
        python = bare_environment(self._folder / "venv", site)
        script = f"mount --rbind '{site_packages()}' '{site}'\n"
        all_ = [HERE, Path(sys.prefix), self._folder / "ray", *hidden]
        for folder in all_:
            if not any(folder != one and folder.is_relative_to(one) for one in all_):
                script += f"mount -t tmpfs none '{folder}'\n"
        return [*NAMESPACE, "sh", "-ec", f'{script}exec "{python}" "$@"', "sh"]

    def _start(self, python: list[str], words: list[str], told: dict[str, str]) -> None:
        number = len(self._started) + 1
        said = self._folder / f"{number}.log"
        command = [
            *python, "-m", "ray.scripts.scripts", "start", f"--node-ip-address=127.0.0.{number}",
            *SIZE, *words,
        ]  # fmt: skip
        with said.open("wb") as log:
            node = subprocess.Popen(
                command, env={**self._env, **told}, cwd="/", stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self._started.append(node)
        for _ in range(600):
            if STARTED in said.read_text():
                return
            if node.poll() is not None:
                break
            time.sleep(0.1)
        raise RuntimeError(f"a node did not start: {said.read_text()}")


def _end(node: subprocess.Popen[bytes]) -> None:
    """A node and its processes, at once."""
    with contextlib.suppress(psutil.NoSuchProcess):
        mine = psutil.Process(node.pid)
        for one in [mine, *mine.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
    node.wait()
