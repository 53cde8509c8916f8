"""A function that a GPU runs again and again, launched as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

CAPTURED = 4  # calls until a GPU's graph is there


class Repeated:
    """A function of no arguments that is called at every update and works on tensors in place.

    On CUDA its kernels are captured in a graph at the fourth call, and launched as one from then on:
    a small pack would otherwise wait for Python. Where capture fails, it is simply called.

    Args:
        fn: The function.
        device: Where its tensors are; on the CPU there are no graphs.
        pool: The memory that its graph shares with others, which never run at the same time.
    """

    _aside: Any = None  # one stream a process for the calls before a capture: each keeps memory

    def __init__(self, fn: Callable[[], None], device: str, pool: Any = None) -> None:
        self.fn, self.calls, self.pool = fn, 0, pool
        self.capture = device != "cpu"
        self.graph: Any = None

    def __call__(self) -> None:
        if not self.capture:
            self.fn()
        elif self.graph is not None:
            self.graph.replay()
        else:
            self._prepare()

    def _prepare(self) -> None:
        self.calls += 1
        if self.calls < CAPTURED:
            if Repeated._aside is None:
                Repeated._aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side = Repeated._aside
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                self.fn()
            torch.cuda.current_stream().wait_stream(side)
            return
        stream, graph = torch.cuda.current_stream(), torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self.pool):
                self.fn()
        except torch.OutOfMemoryError:
            raise  # a smaller pack may do
        except RuntimeError:
            self.capture = False
        if self.capture:
            self.graph = graph
            graph.replay()
        else:  # out of the handler, whose traceback holds what was made
            del graph
            # where a capture was broken off, its own stream is still the current one
            torch.cuda.set_stream(stream)
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            self.fn()
