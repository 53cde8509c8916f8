"""`python -m benchmarks.faults`: does a study come through whatever happens, whole and once?

A real study (`benchmarks/interrupted.py`) runs on real Ray into a real MLflow store, and is
interrupted at random moments, in one way after another. After each the same command is given
again, until it exits 0. Then its rows and verdicts must be bitwise those of a run that nobody
disturbed, every trial must be in the ledger once, and no more may have been trained twice than
were in flight. Prints a table and writes faults.json.

Only processes that this one started are ended, by their ids. Needs Linux.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.stores import Database, database, missing
from benchmarks.table import machine

HERE = Path(__file__).resolve().parent
FILE = HERE / "faults.json"
STUDY, SCALE = "interrupted", "default"
PACK = 2  # trials a pack, so that there are some forty
CULPRITS = [
    f"{arm} {depth} {seed}"
    for arm in ("sgd", "adam", "staged", "players")
    for depth in (1, 2)
    for seed in range(6)
]
MOST = 8  # times the command is given before a study counts as not survived
LONGEST = 300.0  # seconds after which a command counts as hung
# Seconds that processes may outlive their command: nearly all of Ray's end with it, its agents a
# second or two later.
GRACE = 10.0
DISK = 48  # MiB of a disk that is filled


# --- what is disturbed ---------------------------------------------------------------------------


def command() -> list[str]:
    """What is given again and again, after `harness`."""
    return ["run", STUDY, "--scale", SCALE, "--pack-size", str(PACK)]


class Server:
    """An MLflow tracking server of our own, on loopback.

    Args:
        folder: Where its files go.
        store: The database that it writes to, by default a SQLite file.
        workers: Processes that serve.
    """

    def __init__(self, folder: Path, store: str = "", workers: int = 1) -> None:
        self.folder, self.workers = folder, workers
        self.store = store or f"sqlite:///{folder / 'server.db'}"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and return once it answers; nothing where it runs."""
        if self.process and self.process.poll() is None:
            return
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self.store,
             "--artifacts-destination", str(self.folder / "artifacts"), "--host", "127.0.0.1",
             "--port", str(self.port), "--workers", str(self.workers)],
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0 and self.process.poll() is None:
                    return
            time.sleep(0.2)
        raise RuntimeError("the tracking server did not start")

    def kill(self) -> None:
        """End it and its workers at once, also those that it is just starting."""
        if self.process:
            while session := _session(self.process.pid):
                kill(session)
            self.process.wait()


class Nodes:
    """A Ray cluster of two nodes (`benchmarks.nodes`), each of one core.

    Args:
        env: What its workers' environment has beside this process's.
    """

    def __init__(self, env: dict[str, str]) -> None:
        # to loopback alone, and for those who know this: as the harness starts its own
        self.asked = {
            "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0",
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.nodes"], cwd=HERE.parent, text=True,
            env={**os.environ, **env, **self.asked}, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self.asked["RAY_ADDRESS"] = self._answer()

    def _answer(self) -> str:
        assert self.process.stdout
        answer = self.process.stdout.readline().strip()
        if not answer:
            raise RuntimeError("the cluster of two nodes did not start")
        return answer

    def tell(self, word: str) -> None:
        """`leave` or `join`; returns when it is done."""
        assert self.process.stdin
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        self._answer()

    def end(self) -> None:
        with self.process:  # closes its input, at which it ends the cluster
            left = children(self.process.pid)
        kill(left)


@dataclass
class Life:
    """One study, from its first start until its command exits 0.

    Args:
        folder: The project.
        server: Where it is tracked, or None for the project's own SQLite file.
        rng: Draws what is random about the faults.
        culprits: The trials that kill their processes: arm, depth, seed.
        nodes: The Ray cluster on which it runs, or None for one of its own.
    """

    folder: Path
    server: Server | Database | None
    rng: random.Random
    culprits: tuple[str, ...] = ()
    nodes: Nodes | None = None
    process: subprocess.Popen[bytes] = field(init=False, repr=False)
    after: list[Callable[[], None]] = field(default_factory=list)  # once the command has ended
    left: dict[psutil.Process, float] = field(default_factory=dict)  # until when they may be there

    def __post_init__(self) -> None:
        for name in ("studies", "reports"):
            (self.folder / name).mkdir(exist_ok=True, parents=True)
        shutil.copy(HERE / f"{STUDY}.py", self.folder / "studies")
        # beside it, for it may be a disk that is filled
        self.log, self.said = (
            self.folder.with_name(f"{self.folder.name}.{word}") for word in ("log", "said")
        )
        self.log.touch()

    def start(self) -> None:
        """Give the command."""
        drop = ("MLFLOW_TRACKING_URI", "RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN")
        env = {k: v for k, v in os.environ.items() if k not in drop}
        env |= self.told()
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE.parent), env.get("PYTHONPATH")]))
        if self.server:
            env["MLFLOW_TRACKING_URI"] = self.server.uri
        if self.nodes:
            env |= self.nodes.asked
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "harness", *command()], cwd=self.folder, env=env,
                stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def told(self) -> dict[str, str]:
        """What the study reads from its environment."""
        return {"FAULTS_LOG": str(self.log), "FAULTS_CULPRITS": ",".join(self.culprits)}

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def trainings(self) -> list[str]:
        """The key of every trial that a worker has begun, in order, as often as it was begun."""
        return self.log.read_text().split()

    def watch(self) -> list[psutil.Process]:
        """The command's descendants; remembered, to see later which of them are left."""
        found = children(self.process.pid)
        self.left |= dict.fromkeys(found, math.inf)
        return found

    def until(self, passed: Callable[[], bool]) -> bool:
        """Wait; False if the command ended, or hung, before."""
        deadline = time.monotonic() + LONGEST
        while self.alive and time.monotonic() < deadline:
            self.watch()
            if passed():
                return self.alive
            time.sleep(0.05)
        return False

    def finish(self) -> int | None:
        """The exit code, None if the command hung; what it left running is ended."""
        self.until(lambda: False)
        hung = self.alive
        if hung:
            kill([*self.watch(), psutil.Process(self.process.pid)])
        code = self.process.wait()
        for undo in self.after:
            undo()
        self.after.clear()
        until = time.monotonic() + GRACE
        self.left = {one: min(end, until) for one, end in self.left.items() if _runs(one)}
        return None if hung else code

    def orphans(self) -> list[str]:
        """The names of processes that outlived their command by more than the grace; they are
        ended."""
        while there := [one for one in self.left if _runs(one)]:
            late = [one for one in there if time.monotonic() > self.left[one]]
            if late:
                names = [one.name() for one in late if _runs(one)]
                kill(late)
                return names
            time.sleep(0.1)
        return []


def children(pid: int) -> list[psutil.Process]:
    """All descendants of a process."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _session(leader: int) -> list[psutil.Process]:
    """All processes of the session that a process has begun."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(process.pid) == leader and _runs(process):
                found.append(process)
    return found


def _runs(process: psutil.Process) -> bool:
    """Whether it is there and not just unburied: not every first process of a container buries."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill(processes: list[psutil.Process]) -> None:
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # psutil refuses an id used anew
            one.kill()


# --- the ways ------------------------------------------------------------------------------------


def interrupt(life: Life) -> bool:
    os.killpg(life.process.pid, signal.SIGINT)  # as a terminal does: to all in the foreground
    return True


def kill_driver(life: Life) -> bool:
    life.watch()
    life.process.kill()
    return True


def kill_worker(life: Life) -> bool:
    workers = []

    def there() -> bool:
        for one in life.watch():
            with contextlib.suppress(psutil.Error):
                title = " ".join(one.cmdline())
                if title.startswith("ray::") and "train" in title:  # at work, not idle
                    workers.append(one)
        return bool(workers)

    if life.until(there):
        kill([life.rng.choice(workers)])
    return bool(workers)


def kill_ray(life: Life) -> bool:
    kill(life.watch())
    return True


def kill_all(life: Life) -> bool:
    """As a reboot does: driver, Ray and tracking server at once."""
    kill([psutil.Process(life.process.pid), *life.watch()])
    if life.server:
        life.server.kill()
        life.after.append(life.server.start)
    return True


def lose_node(life: Life) -> bool:
    """A node leaves while it trains, and some seconds later another joins."""
    assert life.nodes
    life.nodes.tell("leave")
    until = time.monotonic() + life.rng.uniform(0.0, 5.0)
    life.until(lambda: time.monotonic() > until)
    life.nodes.tell("join")
    return True


def restart_server(life: Life) -> bool:
    assert life.server
    life.server.kill()
    until = time.monotonic() + life.rng.uniform(0.0, 5.0)
    life.until(lambda: time.monotonic() > until)
    life.server.start()
    return True


def stop_server(life: Life) -> bool:
    assert life.server
    life.server.kill()
    life.after.append(life.server.start)
    return True


def fill_disk(life: Life) -> bool:
    filler = life.folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        for block in (2**20, 2**12, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(block)):
                    pass
    until = time.monotonic() + life.rng.uniform(1.0, 15.0)
    life.until(lambda: time.monotonic() > until)
    filler.unlink()
    return True


@dataclass(frozen=True)
class Way:
    """One way to disturb a study.

    Args:
        words: What is done, for the table.
        hit: Does it, once; whether there was something to hit.
        stores: Where the studies are tracked, in turn: "file", "server", "disk" (a file on a
            small disk), "nodes" (a file; and it runs on a Ray cluster of two nodes), "postgresql" (a
            private one).
        early: Whether it may come before and after training, too.
        each: How often in the life of one study: more where the command goes on through it.
    """

    words: str
    hit: Callable[[Life], bool] | None
    stores: tuple[str, ...] = ("file", "server")
    early: bool = False
    each: int = 3


WAYS = {
    "sigint": Way("Ctrl-C (SIGINT)", interrupt, early=True),
    "driver": Way("kill -9 of the driver", kill_driver, early=True),
    # a trial whose process dies twice while it is alone is held to be the cause
    "worker": Way("kill -9 of a worker", kill_worker, each=2),
    "ray": Way("kill -9 of the whole Ray cluster", kill_ray),
    "node": Way("a node leaves a cluster of two, another joins", lose_node, ("nodes",)),
    "reboot": Way("kill -9 of driver, cluster and server at once", kill_all, early=True),
    "restart": Way(
        "tracking server killed, restarted within 5 s", restart_server, ("server",), True, 10
    ),
    "down": Way("tracking server killed, back for a later run", stop_server, ("server",), True),
    "disk": Way("disk full for up to 15 s", fill_disk, ("disk",), True, 10),
    "culprit": Way("a trial that kills its process", None, each=5),
    "database": Way("kill -9 of driver, cluster and PostgreSQL at once", kill_all, ("postgresql",), True),
}  # fmt: skip


# --- one life, and what came of it ---------------------------------------------------------------


@dataclass(frozen=True)
class Calm:
    """The run that nobody disturbed, and how its time went."""

    frame: pd.DataFrame
    verdicts: list[dict[str, Any]]
    starting: float  # seconds until the first trial is begun
    ending: float  # seconds from the last trial's begin to the end


@dataclass
class Came:
    """What came of a life, or of all lives of a way."""

    tried: int = 0
    survived: int = 0
    lost: int = 0  # trials that are not among the final rows
    twice: int = 0  # rows or ledger runs beyond one a trial
    again: int = 0  # trainings beyond the first of each trial
    allowed: int = 0  # trials that were in flight when interrupted, at most
    beyond: int = 0  # of those trained again, how many were not in flight
    differ: int = 0  # rows or verdicts that are not bitwise the undisturbed ones
    orphans: int = 0
    lives: int = 0
    codes: list[int | None] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    endings: list[str] = field(default_factory=list)  # last words of commands that were cut short

    def add(self, other: Came) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


def rows_of(folder: Path) -> pd.DataFrame:
    frame = pd.read_parquet(folder / "reports" / STUDY / SCALE / "rows.parquet")
    return frame.sort_values(["trial", "step"], kind="stable", ignore_index=True)


def verdicts_of(folder: Path) -> list[dict[str, Any]]:
    """The verdicts that two runs share: those of times, which no run repeats, are left out, and the
    lines to quote, which name the run's own registration."""
    path = folder / "reports" / STUDY / SCALE / "verdicts.json"
    claims = json.loads(path.read_text())["claims"]
    return [one | {"quote": ""} for one in claims if not one["timed"]]


def undisturbed(folder: Path) -> Calm:
    """Run the study in peace."""
    life, begun = Life(folder, None, random.Random(0)), time.monotonic()
    life.start()
    life.until(lambda: bool(life.trainings()))
    first = time.monotonic()
    life.until(lambda: False)
    last, ended = life.log.stat().st_mtime, time.time()
    code = life.finish()
    if code:
        raise RuntimeError(f"the undisturbed run exits {code}: {_tail(life)}")
    return Calm(rows_of(folder), verdicts_of(folder), first - begun, ended - last)


def _tail(life: Life) -> str:
    return life.said.read_text(errors="replace").strip()[-600:]


def live(way: Way, life: Life, calm: Calm, hits: int) -> Came:
    """Start a study, disturb it some times, give the command until it exits 0, and look."""
    came = Came(lives=1)
    cores = os.cpu_count() or 1
    planned = calm.frame["trial"].nunique()
    if life.culprits:
        came.tried, hits = len(life.culprits), 0
        # a pack is halved until the culprit is alone
        came.allowed = came.tried * PACK * (1 + PACK.bit_length())
    for _ in range(MOST):
        begun = time.monotonic()
        life.start()
        while hits and _moment(way, life, calm, planned, begun):
            assert way.hit
            if not way.hit(life):
                break
            hits -= 1
            came.tried += 1
            came.allowed += cores * PACK
        code = life.finish()
        came.codes.append(code)
        if code is None:
            came.troubles.append(f"hung for {LONGEST:.0f} s: {_tail(life)}")
        if code == 0:
            break
        came.endings.append(f"{code}: {_tail(life).splitlines()[-1:]}")
        # 2 where the server was away when the command was given
        if (code == 2 and not life.server) or code not in (
            0,
            1,
            2,
            130,
            -signal.SIGKILL,
            -signal.SIGINT,
            None,
        ):
            came.troubles.append(f"exit code {code}: {_tail(life)}")
    else:
        came.troubles.append(f"still exits {came.codes[-1]}: {_tail(life)}")
    _judge(life, calm, came)
    left = life.orphans()
    came.orphans = len(left)
    came.troubles += [f"left running: {name}" for name in left]
    return came


def _moment(way: Way, life: Life, calm: Calm, planned: int, begun: float) -> bool:
    """Wait for a random moment; False if the command ended before it."""
    part = life.rng.random() if way.early else 0.5
    begun_trials = len(set(life.trainings()))
    if part < 0.1:
        moment = begun + life.rng.random() * calm.starting
        return life.until(lambda: time.monotonic() > moment)
    if part < 0.9 and begun_trials < planned:
        count = life.rng.randint(begun_trials + 1, planned)
        later = life.rng.uniform(0.0, 0.5)
        return life.until(lambda: len(set(life.trainings())) >= count) and (
            time.sleep(later) is None and life.alive
        )
    if not life.until(lambda: len(set(life.trainings())) >= planned):
        return False
    moment = time.monotonic() + life.rng.random() * calm.ending
    return life.until(lambda: time.monotonic() > moment)


def _judge(life: Life, calm: Calm, came: Came) -> None:
    counts = Counter(life.trainings())
    came.again = sum(counts.values()) - len(counts)
    came.beyond = max(0, came.again - came.allowed)
    try:
        frame, verdicts = rows_of(life.folder), verdicts_of(life.folder)
        runs = children_in_ledger(life)
    except Exception as error:
        came.lost = calm.frame["trial"].nunique()
        came.troubles.append(f"no result: {type(error).__name__}: {error}")
        return
    expected = calm.frame
    if not set(expected["trial"]) & set(frame["trial"]):
        came.troubles.append("no trial has its key: was the code edited meanwhile?")
    came.lost = len(set(expected["trial"]) - set(frame["trial"]))
    came.twice = int(frame.duplicated(["trial", "step"]).sum())
    came.twice += sum(runs.values()) - len(runs)
    if missing := set(expected["trial"]) - set(runs):
        came.troubles.append(f"{len(missing)} trials have no run in the ledger")
        came.lost += len(missing)
    for culprit in life.culprits:  # a failed trial; all others are what they were
        arm, depth, seed = culprit.split()
        his = frame[(frame["arm"] == arm) & (frame["depth"] == int(depth))]
        his = his[his["seed"] == int(seed)]
        if not (len(his) == 1 and his["status"].eq("failed").all()):
            came.troubles.append(f"the culprit's rows are {his['status'].tolist()}")
            came.differ += 1
        frame, expected = (f[~f["trial"].isin(his["trial"])] for f in (frame, expected))
    same = frame.reset_index(drop=True).equals(expected.reset_index(drop=True))
    if not same or (not life.culprits and verdicts != calm.verdicts):
        came.differ += 1
        ended = frame.groupby("trial")["status"].last().value_counts().to_dict()
        came.troubles.append(f"rows differ: trials {ended}" if not same else "verdicts differ")
    clean = not (came.lost or came.twice or came.differ or came.beyond)
    if came.codes[-1] == 0 and clean:
        came.survived = came.tried


def children_in_ledger(life: Life) -> Counter[str]:
    """How many ended child runs each trial has."""
    from harness.ledger import Ledger

    uri = life.server.uri if life.server else f"sqlite:///{life.folder / 'mlflow.db'}"
    ledger = Ledger(life.folder, uri)
    experiment = ledger.experiment(STUDY)
    found: Counter[str] = Counter()
    for run in ledger.client.search_runs([str(experiment)], max_results=5000):
        if run.info.status in ("FINISHED", "FAILED") and "harness.trial" in run.data.tags:
            found[run.data.tags["harness.trial"]] += 1
    if life.server:  # the next study begins with an empty one
        ledger.client.rename_experiment(str(experiment), f"{STUDY} of {life.folder.name}")
    return found


# --- all of them ---------------------------------------------------------------------------------


@contextlib.contextmanager
def home(store: str, folder: Path) -> Iterator[Path]:
    """A project folder; for "disk" a small disk of its own, where this user may mount one."""
    folder.mkdir()
    if store == "disk":
        size = f"size={DISK}m"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", folder], check=True)
    try:
        yield folder
    finally:
        if store == "disk":
            subprocess.run(["umount", "--lazy", folder], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def disturb(
    name: str, moments: int, each: int | None, calm: Calm, server: Server, seed: int
) -> Came:
    """All lives of one way, until it has struck `moments` times."""
    way, total = WAYS[name], Came()
    rng = random.Random(f"{seed} {name}")
    while total.tried < moments and total.lives < 3 * moments:
        store = way.stores[total.lives % len(way.stores)]
        hits = min(each or way.each, moments - total.tried)
        if store == "server":
            server.start()
        with contextlib.ExitStack() as there:
            folder = there.enter_context(home(store, server.folder / f"{name}-{total.lives}"))
            tracked = server if store == "server" else None
            if store == "postgresql":
                tracked = there.enter_context(database(store))
            life = Life(folder, tracked, rng)
            if way.hit is None:
                life.culprits = tuple(rng.sample(CULPRITS, hits))
            if store == "nodes":
                life.nodes = Nodes(life.told())
            try:
                total.add(live(way, life, calm, hits))
            finally:
                if life.nodes:
                    life.nodes.end()
    return total


def show(found: dict[str, Came], console: Console) -> None:
    table = Table()
    for column in ("what was done", "tried", "survived", "trials lost", "counted twice",
                   "trained again", "of them not in flight", "left running"):  # fmt: skip
        table.add_column(column, justify="left" if column == "what was done" else "right")
    for name, came in found.items():
        table.add_row(
            WAYS[name].words, str(came.tried), str(came.survived), str(came.lost), str(came.twice),
            str(came.again), str(came.beyond), str(came.orphans),
        )  # fmt: skip
    console.print(table)
    for name, came in found.items():
        codes = Counter(map(str, came.codes))
        words = ", ".join(f"{code}: {count}" for code, count in sorted(codes.items()))
        console.print(f"{WAYS[name].words}: {came.lives} studies, exit codes {words}")
        for trouble in came.troubles:
            console.print(f"  {trouble}", style="red", markup=False, highlight=False)


def main() -> int:
    """Try every way, print the table, write it; 1 if anything was not survived."""
    words = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    words.add_argument("--moments", type=int, default=30, help="interruptions of each way (30)")
    words.add_argument("--each", type=int, help="of them in one study (2 to 10, by the way)")
    words.add_argument("--only", action="append", choices=WAYS, help="this way (repeatable)")
    words.add_argument("--seed", type=int, default=0, help="of the random moments (0)")
    words.add_argument(
        "--add", action="store_true", help="keep what faults.json says of ways not tried now"
    )
    given = words.parse_args()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # as in a shell's background jobs: what is started here is to take it, as on a terminal
        signal.signal(signal.SIGINT, signal.default_int_handler)
    console = Console()
    if not console.is_terminal:
        console.width = 140
    found: dict[str, Came] = {}
    if given.add and FILE.is_file():
        before = json.loads(FILE.read_text("utf-8"))["faults"]
        for way in (one for one in WAYS if one in before):
            found[way] = Came(**{k: v for k, v in before[way].items() if k != "words"})
    skipped: dict[str, str] = {}
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        server = Server(Path(name))
        try:
            calm = undisturbed(Path(name) / "calm")
            console.print(
                f"undisturbed: {calm.frame['trial'].nunique()} trials, first after "
                f"{calm.starting:.0f} s"
            )
            for way in given.only or WAYS:
                if "disk" in WAYS[way].stores and os.geteuid() != 0:
                    skipped[way] = "only root may mount the small disk that is filled"
                    continue
                if "postgresql" in WAYS[way].stores and (why := missing("postgresql")):
                    skipped[way] = why
                    continue
                found[way] = disturb(way, given.moments, given.each, calm, server, given.seed)
                show({way: found[way]}, console)
        finally:
            server.kill()
    console.print()
    show(found, console)
    for way, why in skipped.items():
        console.print(f"not tried: {WAYS[way].words}: {why}", style="yellow")
    content = {
        "machine": machine(),
        "moments": given.moments,
        "each": {way: given.each or WAYS[way].each for way in found},
        "seed": given.seed,
        "faults": {way: {"words": WAYS[way].words, **asdict(c)} for way, c in found.items()},
        "not tried": skipped,
    }
    FILE.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    console.print(f"{time.monotonic() - begun:.0f} s; written to benchmarks/{FILE.name}")
    bad = any(c.survived < c.tried or c.orphans or c.lost or c.twice for c in found.values())
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
