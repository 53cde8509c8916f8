"""Settings of a process that trains. Layer 2."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import platform
from collections.abc import Iterator

import torch

PRECISIONS = ("float32", "tf32", "bf16")

# glibc's names for what `mallopt` sets (malloc.h).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


@functools.cache
def settle() -> None:
    """Make this process a good trainer: one thread, and memory that it keeps.

    By default glibc returns every large tensor to the kernel when it is freed and takes fresh,
    unmapped pages for the next: a quarter of the time of a fused update.
    """
    torch.set_num_threads(1)  # workers share the machine's cores; one each
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 2**25)  # glibc refuses more
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 2**26)


@contextlib.contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """Arithmetic as a training declares it, and the same each time; put back afterwards.

    Denormal numbers count as zero: a momentum that fades away would otherwise slow every later
    update tenfold. On CUDA, matrix products use TF32 only where that was asked for, and kernels
    are the deterministic ones.
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
