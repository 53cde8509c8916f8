"""Ray itself: joining a cluster, or starting and ending a private one."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from harness.execution.nodes import Machines, survey
from harness.study import BadInput

TOLD = ("HARNESS_DATA", "OMP_NUM_THREADS")  # variables that workers of a joined cluster are told
OBJECT_STORE = 256 * 2**20  # bytes; rows are small, and Ray would take a third of the memory

# The longest path of a socket that Ray makes under its temporary folder, and what systems allow.
SOCKET = "/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
LONGEST = (104 if sys.platform == "darwin" else 108) - 1  # bytes
SHORT = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 (the first is where Ray would be anyway)

_private: dict[str, str] = {}  # variables of private clusters, once Ray is imported
_guard: subprocess.Popen[bytes] | None = None  # of the private cluster, while there is one
_leaving: list[subprocess.Popen[bytes]] = []  # those of clusters that have ended, as they may be


def start_ray(*, ahead: bool = True) -> None:
    """Connect to `RAY_ADDRESS`, or start a private, local cluster without a dashboard.

    Args:
        ahead: Whether a private cluster's workers import at once what training needs.
    """
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
    else:
        short_folder()
    if not address:
        if "ray" not in sys.modules:  # it reads these when it is imported
            _private.update(_of_a_private_cluster(ahead))
        for name, value in _private.items():  # and so does what it starts, each time
            os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        return
    logging.getLogger("ray").setLevel(logging.ERROR)
    quietly: dict[str, Any] = {
        "log_to_driver": False, "logging_level": "ERROR", "configure_logging": False,
    }  # fmt: skip
    try:
        if address:
            with tempfile.TemporaryDirectory(prefix="harness-code-") as folder:
                ray.init(address=address, runtime_env=_shipped(Path(folder)), **quietly)
        else:
            with _watched():
                ray.init(
                    address="local",
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE,
                    **quietly,
                )
        _quiet()
    except ConnectionError:
        raise _no_cluster(str(address)) from None
    except RuntimeError as error:
        if "Version mismatch" not in str(error):
            raise
        raise BadInput(
            f"the Ray cluster at RAY_ADDRESS={address!r} is of other versions: "
            f"{' '.join(str(error).split())}; start it with these"
        ) from None
    except ray.exceptions.AuthenticationError:
        raise BadInput(
            f"the Ray cluster at RAY_ADDRESS={address!r} wants its token; set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN to the one it was started with"
        ) from None
    except Exception as error:  # of no class of its own
        if "timed out during startup" not in str(error):
            raise
        raise BadInput(
            "Ray did not start in time, as on a machine that is busy or short of memory; give the same "
            "command again, or train without Ray: --inline"
        ) from None


def _shipped(folder: Path) -> dict[str, Any]:
    """What workers of a cluster that others have started are given: a Ray `runtime_env`.

    A private cluster's have this process's environment and see its files. Here each node is sent
    this package's code, by which its workers also go where another version is installed; a study and
    what lies beside it travel with its packs, as everywhere (`study.Source`). With a `working_dir`
    Ray does not put the driver's own folders first on the workers' `sys.path`.

    Args:
        folder: An empty one, to lay the code in.
    """
    home = Path(__file__).parents[1]
    for file in home.rglob("*.py"):
        copy = folder / file.relative_to(home.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    told = {name: os.environ[name] for name in TOLD if name in os.environ}
    return {"working_dir": str(folder), "env_vars": told}


def _of_a_private_cluster(ahead: bool) -> dict[str, str]:
    """Variables for Ray's processes and this one's Ray.

    Three are for speed and are no part of Ray's interface: `RAY_prestart_worker_first_driver`,
    `RAY_preload_python_modules` and `RAY_num_workers_soft_limit`. A version that does not know them
    starts its workers when Tune asks for them. `RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER` is none either: a
    test asks which addresses are listened on.
    """
    # Of its own Ray would listen on every interface, so that other machines can join; this, its
    # name notwithstanding, is what keeps it to loopback. And only who knows this run's token
    # may ask it anything: others have accounts on this machine, too.
    found = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    # One worker a core begins with Ray and imports while this process plans: see
    # `one_environment`. Not beside GPUs, where fewer packs than cores run at once.
    ready = ahead and not torch.cuda.is_available()
    found["RAY_prestart_worker_first_driver"] = str(int(ready))
    if ready:
        found["RAY_preload_python_modules"] = "harness.execution.worker"
        # Else Ray ends those that are idle once Tune has set their cores aside for its actors.
        found["RAY_num_workers_soft_limit"] = str(os.cpu_count() or 1)
    return {**found, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def short_folder() -> None:
    """Have Ray keep its sockets in a folder whose name is short enough for them.

    It takes `RAY_TMPDIR`, else `TMPDIR`, which batch systems set to long names.

    Raises:
        BadInput: `RAY_TMPDIR` is too long, or no short folder can be written.
    """
    room = LONGEST - len(SOCKET)
    given = os.environ.get("RAY_TMPDIR")
    used = given or (os.environ.get("TMPDIR") if sys.platform.startswith("linux") else None) or ""
    if len(os.fsencode(used)) <= room:
        return
    name = "RAY_TMPDIR" if given else "TMPDIR"
    for folder in () if given else SHORT:
        ray = os.path.join(folder, "ray")
        if os.access(ray if os.path.exists(ray) else folder, os.W_OK | os.X_OK):
            os.environ["RAY_TMPDIR"] = folder
            return
    raise BadInput(
        f"{name}={used!r} has {len(os.fsencode(used))} bytes; allowed: at most {room}, for the names "
        "of Ray's sockets; set RAY_TMPDIR to a short folder that can be written"
    )


def one_environment() -> None:
    """Let Tune's actors run in the workers that a private cluster has made ahead.

    Tune gives its actors an environment of their own: variables of this process, which those
    workers have inherited anyway. For another environment Ray starts another process, which imports
    Ray twice. Where a version of Tune does not know these names its actors merely start later.
    """
    if os.environ.get("RAY_ADDRESS"):
        return  # a cluster that others have started has not this process's variables
    with contextlib.suppress(ImportError, AttributeError):
        from ray.tune.execution import class_cache

        class_cache.DEFAULT_ENV_VARS.clear()
        class_cache.ENV_VARS_TO_PROPAGATE.clear()


def nothing_to_restore() -> None:
    """Let Tune not write down what it would restore a run from: we continue from the ledger.

    It writes as JSON all that it knows of each of its trials, which takes longer than all else that
    its loop does for one. Tune has no setting for it; a version that does it otherwise does it.
    """
    with contextlib.suppress(ImportError, AttributeError):
        from ray.tune.execution.tune_controller import TuneController

        if hasattr(TuneController, "_get_trial_checkpoints"):
            TuneController._get_trial_checkpoints = lambda _: {}


def _quiet() -> None:
    """Not a paragraph of Ray's for each worker that dies: we tell what came of it.

    Ray has no setting for it, so what prints is replaced. A version that prints otherwise prints.
    """
    with contextlib.suppress(ImportError, AttributeError):
        from ray._private import worker

        if hasattr(worker, "print_to_stdstream"):
            worker.print_to_stdstream = lambda *_, **__: None


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """Around the start of the private cluster: what is left of it is ended soon after this process,
    however it ends, and at once where the cluster does not start."""
    global _guard
    _leaving[:] = [one for one in _leaving if one.poll() is None]
    _guard = subprocess.Popen(
        [sys.executable, "-I", str(Path(__file__).with_name("orphans.py")), str(os.getpid())],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield
        session = sys.modules["ray"].get_runtime_context().get_session_name()
    except BaseException:
        _let_go()
        raise
    with contextlib.suppress(OSError):  # it has been ended, as by someone who ends all that he sees
        assert _guard.stdin
        _guard.stdin.write(f"{session}\n".encode())
        _guard.stdin.flush()


def _let_go() -> None:
    """Have the guard end what is still there, and then itself: nothing waits for it."""
    global _guard
    if _guard and _guard.stdin:
        with contextlib.suppress(OSError):
            _guard.stdin.close()
        _leaving.append(_guard)
        _guard = None


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
    start_ray(ahead=False)
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


def try_nodes() -> Machines:
    """Join the cluster at RAY_ADDRESS, have each node import what a worker does, and leave it."""
    start_ray()
    try:
        return survey(thorough=True)
    finally:
        stop_ray()


def stop_ray() -> None:
    """End what `start_ray` started, if it did."""
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()
    _let_go()
