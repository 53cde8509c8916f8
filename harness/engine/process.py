"""Settings of a process that trains."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch

# Read when a GPU is first used: without it cuBLAS may add up in another order from run to run.
if torch.cuda.is_available():
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
PRECISIONS = ("float32", "tf32", "bf16")


def device() -> str:
    """The kind of device that trials train on in this process."""
    return "cuda" if torch.cuda.is_available() else "cpu"


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One thread within, and as many as before afterwards: examples of a few numbers, as a plan
    tries models on, take longer on several threads, which wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """Arithmetic as a training declares it, and the same each time; put back afterwards.

    Denormal numbers count as zero: momenta that fade away would otherwise slow every later update.
    On CUDA, matrix products use TF32 only where that was asked for, and kernels are the
    deterministic ones, where torch has such.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark)
    kept_denormals = bool(torch.tensor([1e-40]) * 1.0 != 0)
    matmul.allow_tf32 = cudnn.allow_tf32 = precision == "tf32"
    cudnn.deterministic, cudnn.benchmark = True, False
    torch.set_flush_denormal(True)
    try:
        with _deterministic() if torch.cuda.is_available() else contextlib.nullcontext():
            yield
    finally:
        torch.set_flush_denormal(not kept_denormals)
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = before


@contextlib.contextmanager
def _deterministic() -> Iterator[None]:
    """Kernels that give the same bits twice; one that has no such twin is let through."""
    fill: Any = torch.utils.deterministic
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        fill.fill_uninitialized_memory,
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    fill.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        fill.fill_uninitialized_memory = before[2]
