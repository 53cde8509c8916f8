"""The machines that packs train on: this one, or the nodes of a cluster that was joined."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from harness.engine import process, sizing
from harness.study import BadInput, few

NEEDED = ("ray", "torch", "numpy", "scipy", "optuna")  # of every node; this package is sent
PACKS_A_GPU = 4
PATIENCE = 120.0  # seconds for every node to answer: a worker's start takes several
INSTALL = (
    'pip install "ray[tune]=={ray}" torch=={torch} numpy=={numpy} scipy=={scipy} optuna=={optuna}'
)


@dataclass(frozen=True)
class Node:
    """One machine.

    Args:
        name: Its address.
        cores, gpus: What it lends to packs.
        memory: Bytes.
        gpu_memory: Bytes of the smallest GPU that torch finds there; 0 where it finds none.
        model: The names of what trains there: its processor, and its GPUs.
        versions: Of Python and of every package that is installed there, by its name in lower case.
        data: Whether the folder that HARNESS_DATA names is there; None where it names none.
        trouble: Why nothing is known of it, or what this package's worker meets there.
    """

    name: str
    cores: int
    gpus: int = 0
    memory: int = 0
    gpu_memory: int = 0
    model: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    data: bool | None = None
    trouble: str = ""


@dataclass(frozen=True)
class Machines:
    """Where packs train at once. Nodes may differ in all that they have.

    Where any has a GPU, packs train on GPUs alone, and each takes the same share of one: so many
    share a GPU as suit the node with the most cores to a GPU, and elsewhere cores are the limit.
    """

    nodes: Sequence[Node]

    @property
    def device(self) -> str:
        """The kind of device that packs train on."""
        return "cuda" if any(node.gpus for node in self.nodes) else "cpu"

    @property
    def workers(self) -> int:
        """How many packs train at once."""
        if self.device == "cpu":
            return max(1, sum(node.cores for node in self.nodes))
        return max(1, sum(min(node.cores, node.gpus * self._each) for node in self.nodes))

    @property
    def resources(self) -> dict[str, float]:
        """What a pack asks for."""
        return {"CPU": 1.0} | ({"GPU": 1 / self._each} if self.device == "cuda" else {})

    @property
    def room(self) -> int:
        """Bytes that a pack may fill on any of them."""
        if self.device == "cuda":
            found = [node.gpu_memory / self._each for node in self.nodes if node.gpus]
        else:
            found = [node.memory / node.cores for node in self.nodes if node.cores]
        return int(sizing.MEMORY_SHARE * min(found, default=0))

    @property
    def uneven(self) -> bool:
        """Whether nodes differ in speed, by the names of what trains there: no clock is asked."""
        train = [
            node for node in self.nodes if (node.gpus if self.device == "cuda" else node.cores)
        ]
        return len({node.model for node in train}) > 1

    @property
    def _each(self) -> int:
        return max(packs_a_gpu(node.cores, node.gpus) for node in self.nodes if node.gpus)

    def check(self, origin: Mapping[str, str]) -> None:
        """See that what decides numbers is on every node what it is here.

        Args:
            origin: A plan's: the libraries in every key, and their versions here.

        Raises:
            BadInput: it is not, or a node cannot train; told of the first, with what to do.
        """
        for node in self.nodes:
            if node.trouble:
                raise BadInput(
                    f"node {node.name} of the Ray cluster: {node.trouble}; see harness doctor"
                )
            if node.gpus and not node.gpu_memory:
                raise BadInput(f"node {node.name} {blind(node)}")
            other = differences(node, origin)
            if other:
                raise BadInput(
                    f"node {node.name} of the Ray cluster has {few(other)}; rows would be filed under "
                    f"versions that did not train them. On that node: {install()}"
                )


def packs_a_gpu(cores: int, gpus: int) -> int:
    """How many packs share a GPU: while one is scored or made, it would wait for that one's host."""
    return max(1, min(PACKS_A_GPU, cores // gpus))


def here() -> Machines:
    """This machine."""
    gpus = torch.cuda.device_count() if process.device() == "cuda" else 0
    memory = sizing.memory("cuda") if gpus else 0
    return Machines([Node("here", os.cpu_count() or 1, gpus, sizing.memory("cpu"), memory)])


def joined() -> Machines:
    """The nodes of the cluster that this process is connected to, as Ray tells of them."""
    return Machines([_told(node) for node in _alive()])


def survey(thorough: bool = False) -> Machines:
    """The same, asked each: a task runs on every node, and holds none of its cores or GPUs.

    Args:
        thorough: Have each import what a worker does.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asked: dict[Any, Node] = {}
    for about in _alive():
        node = _told(about)
        place = NodeAffinitySchedulingStrategy(about["NodeID"], soft=False)
        task = ray.remote(num_cpus=0, max_calls=1, max_retries=0, scheduling_strategy=place)
        asked[task(_probe()).remote(thorough, node.gpus > 0)] = node
    answered, _ = ray.wait([*asked], num_returns=max(1, len(asked)), timeout=PATIENCE)
    found = []
    for answer, node in asked.items():
        said: dict[str, Any] = {"trouble": f"no answer within {PATIENCE:.0f} s"}
        if answer in answered:
            try:
                said = ray.get(answer)
            except Exception as error:  # a node's own words, of whatever kind
                said = {"trouble": " ".join(str(error).split())[-300:]}
        found.append(replace(node, **said))
    return Machines(found)


def _alive() -> list[dict[str, Any]]:
    import ray

    return sorted((node for node in ray.nodes() if node["Alive"]), key=lambda node: node["NodeID"])


def _told(node: Mapping[str, Any]) -> Node:
    have = node["Resources"]
    return Node(node["NodeManagerAddress"], int(have.get("CPU", 0)), int(have.get("GPU", 0)))


def _probe() -> Callable[[bool, bool], dict[str, Any]]:
    """What a node is asked. A function in a function, which Ray sends as code: a node that cannot
    import this module can still say so."""

    def probe(thorough: bool, gpus: bool) -> dict[str, Any]:
        import importlib.metadata
        import os
        import platform

        about: dict[str, Any] = {"versions": {"python": platform.python_version()}}
        for one in importlib.metadata.distributions():
            about["versions"].setdefault(str(one.name).lower(), one.version)
        about["memory"] = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        about["model"] = platform.processor() or platform.machine()
        if os.path.exists("/proc/cpuinfo"):
            with open("/proc/cpuinfo") as told:
                models = {line for line in told if line.startswith(("model name", "CPU part"))}
            about["model"] = " ".join(sorted(models)) or about["model"]
        folder = os.environ.get("HARNESS_DATA")
        about["data"] = os.path.isdir(folder) if folder else None
        try:
            if gpus:
                os.environ.pop(
                    "CUDA_VISIBLE_DEVICES", None
                )  # Ray hides them from who asks for none
                import torch

                each = [
                    torch.cuda.get_device_properties(place)
                    for place in range(torch.cuda.device_count())
                ]
                about["gpu_memory"] = min((one.total_memory for one in each), default=0)
                about["model"] += " ".join(sorted({one.name for one in each}))
            if thorough:
                import harness.execution.worker  # noqa: F401
        except Exception as error:
            about["trouble"] = f"{type(error).__name__}: {error}"
        return about

    return probe


def differences(node: Node, wanted: Mapping[str, str]) -> list[str]:
    """What a node has in another version than is wanted, or lacks and needs, in words."""
    found = []
    for name, version in wanted.items():
        there = node.versions.get(name, "").partition("+")[0]
        if name == "device" or there == version or not version:
            continue
        if there or name in NEEDED:
            found.append(f"{name} {there}, not {version}" if there else f"no {name}")
    return found


def blind(node: Node) -> str:
    """What is wrong with a node whose GPUs torch does not find."""
    return (
        f"of the Ray cluster has {node.gpus} GPUs, says Ray, and torch "
        f"{node.versions.get('torch', '(none)')} finds none there; install a torch with CUDA on that "
        "node, or start it with --num-gpus=0"
    )


def versions() -> dict[str, str]:
    """What every node needs, as it is here, without what tells one build from another."""
    found = {name: importlib.metadata.version(name).partition("+")[0] for name in NEEDED}
    return {"python": platform.python_version(), **found}


def install() -> str:
    """The command by which a node has what it needs."""
    return INSTALL.format(**versions())
