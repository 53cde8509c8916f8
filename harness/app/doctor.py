"""Whether everything that a study needs works here, and what to do about what does not.

Each check does the real thing once: a product, a remote call, a write to the tracking store, a
page of PDF.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.ledger.provenance import PACKAGES

if TYPE_CHECKING:
    from harness.execution.nodes import Node

State = Literal["works", "absent", "broken"]
DECIDE = ("torch ", "numpy ", "scipy ")  # what every key holds the version of
FREE = 2 * 2**30  # bytes: a default-scale run writes some 100 MB, Ray spills to the same disk


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Args:
        name: What was tried.
        state: "works"; "absent": not needed at the default scale; "broken": a study would fail.
        detail: What was seen.
        fix: What to do about it, where it does not work.
    """

    name: str
    state: State
    detail: str
    fix: str = ""


def examine(root: Path) -> list[Finding]:
    """Try everything, in the order in which a run needs it. Takes about ten seconds, and some more
    for a cluster at RAY_ADDRESS."""
    first: tuple[Callable[[Path], Finding], ...] = (_python, _packages, _torch, _gpu, _ray)
    last: tuple[Callable[[Path], Finding], ...] = (_mlflow, _pdf, _data, _disk)
    found = [_safely(check, root) for check in first]
    if os.environ.get("RAY_ADDRESS") and found[-1].state == "works":
        found += nodes()
    return found + [_safely(check, root) for check in last]


@dataclass(frozen=True)
class Licence:
    """Under what licence an installed package says that it is."""

    name: str
    version: str
    licence: str


def licences(package: str = "textbook-harness") -> list[Licence]:
    """The licence of everything that a package needs, directly or not, by what is installed."""
    found: dict[str, Licence] = {}
    left = [package]
    while left:
        name = re.split(r"[^A-Za-z0-9_.-]", left.pop())[0]
        plain = re.sub(r"[-_.]+", "-", name).lower()
        try:
            one = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # of another system or Python
            continue
        if plain in found:
            continue
        found[plain] = Licence(one.name, one.version, _licence(one.metadata))
        needed = one.requires or []
        left += [words for words in needed if "extra ==" not in words]
    return [found[name] for name in sorted(found)]


def _licence(about: Any) -> str:
    kinds = [
        words.rpartition(" :: ")[2]
        for words in about.get_all("Classifier") or []
        if words.startswith("License ::")
    ]
    written = (about.get("License") or "").strip().splitlines()
    stated = about.get("License-Expression") or ", ".join(kinds) or (written or [""])[0]
    return str(stated)[:80] or "not stated"


def _safely(check: Callable[[Path], Finding], root: Path) -> Finding:
    try:
        return check(root)
    except Exception as error:  # whatever it is, it is what the user came to hear
        name = check.__name__.strip("_")
        words = " ".join(str(error).split())[:300]
        return Finding(name, "broken", f"{type(error).__name__}: {words}", FIXES.get(name, ""))


FIXES = {
    "torch": "make setup installs the tested version",
    "ray": "unset RAY_ADDRESS for a private cluster; harness run --inline needs no Ray",
    "mlflow": "unset MLFLOW_TRACKING_URI for the project's own database, or start that server",
    "pdf": "make setup installs plutoprint; report.html needs none of it",
}


def _python(root: Path) -> Finding:
    return Finding("python", "works", sys.version.split()[0])


def _packages(root: Path) -> Finding:
    """Installed versions against the tested ones of constraints.txt."""
    tested = {}
    constraints = root / "constraints.txt"
    if constraints.is_file():
        for line in constraints.read_text("utf-8").splitlines():
            if match := re.match(r"([A-Za-z0-9_.-]+)==([^\s;]+)", line):
                tested[match[1].lower()] = match[2]
    missing: list[str] = []
    other: list[str] = []
    right: list[str] = []
    for name in PACKAGES:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
            continue
        wanted = tested.get(name, version)
        # a build tag, as in 2.13.0+cpu, is the same version
        same = version.split("+")[0] == wanted.split("+")[0]
        (right if same else other).append(
            f"{name} {version}" + ("" if same else f" (tested: {wanted})")
        )
    if missing:
        return Finding("packages", "broken", f"not installed: {', '.join(missing)}", "make setup")
    if other:
        return Finding("packages", "absent", f"not the tested versions: {', '.join(other)}",
                       "make setup installs the tested ones")  # fmt: skip
    return Finding("packages", "works", ", ".join(right))


def _torch(root: Path) -> Finding:
    import torch

    product = torch.eye(64) @ torch.ones(64, 64)
    assert bool((product == 1).all())
    return Finding("torch", "works", f"{torch.__version__}, {torch.get_num_threads()} threads")


def _gpu(root: Path) -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding("gpu", "absent", "torch sees none",
                       "not needed; the paper scale wants one")  # fmt: skip
    product = torch.ones(64, 64, device="cuda") @ torch.ones(64, 64, device="cuda")
    assert float(product[0, 0]) == 64
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    return Finding("gpu", "works", f"{torch.cuda.get_device_name(0)}, {memory:.0f} GiB")


def _ray(root: Path) -> Finding:
    from harness.execution import try_ray

    return Finding("ray", "works", try_ray())


def nodes() -> list[Finding]:
    """What each node of the cluster at RAY_ADDRESS lacks."""
    from harness.execution import try_nodes

    try:
        return [of_node(node) for node in try_nodes().nodes]
    except Exception as error:
        words = " ".join(str(error).split())[:300]
        return [Finding("nodes", "broken", f"{type(error).__name__}: {words}", FIXES["ray"])]


def of_node(node: Node) -> Finding:
    """What a node of a cluster that was joined has, or lacks beside this machine."""
    from harness.execution.nodes import differences, install, versions

    here = versions()
    other = differences(node, here) if node.versions else []
    # what is in keys, or not there at all, keeps a run from training on it
    keeps = [one for one in other if one.startswith(("no ", *DECIDE))]
    wrong, fixes = [*other], [f"on that node: {install()}"] if other else []
    if node.trouble:
        wrong.append(node.trouble)
        fixes = fixes or [f"its logs are in /tmp/ray there; it needs: {install()}"]
    blind = bool(node.gpus and node.versions and not node.gpu_memory)
    if blind:
        wrong.append(f"Ray lends {node.gpus} GPUs, and torch finds none")
        fixes.append("a torch with CUDA there, or ray start --num-gpus=0")
    if node.data is False:
        wrong.append(f"no folder HARNESS_DATA={os.environ.get('HARNESS_DATA')}")
        fixes.append("have the folder there too, for trials that read files of their own: data sets "
                     "that are declared are sent")  # fmt: skip
    gpus = f"{node.gpus} GPUs" + (
        f" of {node.gpu_memory / 2**30:.0f} GiB" if node.gpu_memory else ""
    )
    has = f"{node.cores} cores, {gpus}, {node.memory / 2**30:.0f} GiB"
    right = ", ".join(f"{name} {node.versions[name]}" for name in here if name in node.versions)
    broken = bool(keeps or node.trouble or blind)
    return Finding(
        f"node {node.name}", "broken" if broken else "absent" if wrong else "works",
        f"{has}; {'; '.join(wrong) or right}", "; ".join(fixes),
    )  # fmt: skip


def _mlflow(root: Path) -> Finding:
    from harness.ledger import Ledger, default_uri

    uri = default_uri(root)
    if uri.startswith("sqlite:") and not Path(uri.removeprefix("sqlite:///")).exists():
        with tempfile.TemporaryDirectory() as folder:  # making one here would be a side effect
            Ledger(Path(folder), f"sqlite:///{folder}/mlflow.db")
        return Finding("mlflow", "works", f"{uri} will be made by the first run")
    ledger = Ledger(root)
    return Finding("mlflow", "works", f"{ledger.uri}, {len(ledger.studies())} experiments")


def _pdf(root: Path) -> Finding:
    from harness.report import pdf

    made = pdf("<!doctype html><title>t</title><p>A page.</p>", "t", "2000-01-01T00:00:00+00:00")
    assert made.startswith(b"%PDF")
    return Finding("pdf", "works", f"a page of {len(made):,} bytes")


def _data(root: Path) -> Finding:
    from harness.parts.data import Data, load

    count = len(load(Data("digits")).train[0])
    folder = os.environ.get("HARNESS_DATA")
    if folder and not Path(folder).is_dir():
        return Finding("data", "broken", f"HARNESS_DATA={folder!r} is no folder",
                       "set it to a folder, or unset it")  # fmt: skip
    where = f"HARNESS_DATA={folder}" if folder else "HARNESS_DATA is not set; files are downloaded"
    return Finding("data", "works", f"{count:,} bundled digits; {where}")


def _disk(root: Path) -> Finding:
    free = shutil.disk_usage(root).free
    shared = Path("/dev/shm")  # noqa: S108 - where Ray keeps its objects
    memory = (
        f", {shutil.disk_usage(shared).free / 2**30:.1f} GiB shared memory"
        if shared.is_dir()
        else ""
    )
    detail = f"{free / 2**30:.0f} GiB free in {root}{memory}"
    with tempfile.TemporaryFile(dir=root):
        pass
    if free < FREE:
        return Finding("disk", "broken", detail, f"free at least {FREE // 2**30} GiB")
    return Finding("disk", "works", detail)
