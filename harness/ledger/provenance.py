"""What a run was made with: code, packages, machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import torch

PACKAGES = ("torch", "ray", "mlflow", "optuna", "numpy", "pandas", "scipy", "scikit-learn")

# What may change numbers of a trial whose key is the same.
DECIDE = ("device", "gpu", "cpu", "python", "torch", "numpy", "scipy", "scikit-learn")


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of `DECIDE` differs between two records of `describe`, in words."""
    known = [name for name in DECIDE if then.get(name) and now.get(name)]
    return [f"{n} {then[n]} there, {now[n]} here" for n in known if then[n] != now[n]]


def elsewhere(info: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """What a run's verdicts rest on beside the trials that it trained where its provenance says.

    Returns:
        A sentence each, and whether something differs that may change numbers.
    """
    found = []
    for one in info.get("elsewhere") or ():
        differ = differences(one.get("provenance") or {}, info.get("provenance") or {})
        own = not one.get("study") and one.get("run_id") in (None, info.get("run_id"))
        if own and not differ:
            continue  # the same run, gone on with on the same machine
        run = (
            "an earlier part of this run"
            if own
            else f"run {str(one.get('run_id') or 'unknown')[:12]}"
        )
        what = (
            f"The rows of {one['study']}, which are read, are from"
            if one.get("study")
            else f"{one['trials']:,} trials are from"
        )
        when = f"of {str(one.get('started_at') or 'unknown')[:10]}, commit "
        when += str(one.get("commit") or "unknown")[:12]
        found.append(
            (f"{what} {run} {when}: {'; '.join(differ) or 'trained alike'}.", bool(differ))
        )
    return found


def data_of(found: Mapping[str, str]) -> list[tuple[str, str]]:
    """The data sets that a run's provenance names: each one's name and digest."""
    named = [one.rpartition(" ") for one in found.get("data", "").split(", ")]
    return [(name, digest) for name, _, digest in named if re.fullmatch("[0-9a-f]{12}", digest)]


def commit(root: Path) -> tuple[str, bool]:
    """The checkout's commit and whether files differ from it. Outside git, as in a copy that was sent
    to another machine, it is what `HARNESS_COMMIT` says, or "unknown"."""
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head, bool(_git(root, "status", "--porcelain"))
    except (OSError, subprocess.SubprocessError):
        return os.environ.get("HARNESS_COMMIT") or "unknown", False


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=root, capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()


def describe() -> dict[str, str]:
    """Package versions, interpreter, machine and torch settings, as text."""
    found = {"python": platform.python_version(), "os": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    found["cpu"] = _cpu()
    found["cores"] = str(os.cpu_count())
    found["memory"] = f"{psutil.virtual_memory().total / 2**30:.1f} GiB"
    cuda = torch.cuda.is_available()
    found["gpu"] = torch.cuda.get_device_name(0) if cuda else "none"
    found["device"] = "cuda" if cuda else "cpu"
    found["tf32"] = str(torch.backends.cuda.matmul.allow_tf32)
    found["default dtype"] = str(torch.get_default_dtype()).removeprefix("torch.")
    # what is published says nothing of this machine's folders
    words = [Path(one).name if Path(one).is_absolute() else one for one in sys.argv]
    found["command"] = " ".join([Path(words[0]).name, *words[1:]])
    return found


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
