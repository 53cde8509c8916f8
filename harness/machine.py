"""Settings of a process that trains. Layer 2."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

PRECISIONS = ("float32", "tf32", "bf16")


def device() -> str:
    """The kind of device that trials train on in this process."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def settle() -> None:
    """Make this process one worker of several: one thread, since workers share the cores."""
    torch.set_num_threads(1)


@contextlib.contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """Arithmetic as a training declares it, and the same each time; put back afterwards.

    Denormal numbers count as zero: momenta that fade away would otherwise slow every later update.
    On CUDA, matrix products use TF32 only where that was asked for, and cuDNN's kernels are the
    deterministic ones.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark)
    kept_denormals = bool(torch.tensor([1e-40]) * 1.0 != 0)
    matmul.allow_tf32 = cudnn.allow_tf32 = precision == "tf32"
    cudnn.deterministic, cudnn.benchmark = True, False
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(not kept_denormals)
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = before
