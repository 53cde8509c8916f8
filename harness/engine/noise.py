"""What each update draws anew for every trial, and the numbers that say how much.

Each stream of random numbers (dropout's masks, noise on the inputs, how images are moved) is a
function of a key, and the key one of the trial's seed and the step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.engine.building import sow
from harness.engine.lanes import Lanes
from harness.engine.training import Training
from harness.parts import keyed
from harness.parts.data.augment import Augment


class Noise:
    """The random numbers of K trials.

    Args:
        trainings, seeds: Of K trials.
        each: Gets `streams`, each trial's keys; `now`, those of this update; `numbers`, which any
            trial's loss uses, with these keys and `progress` among them; and in `buffers`, which it
            holds already, the keys of dropout layers. Holds the `seeds`.
        layers: Paths of the dropout layers.
        called: Whether dropout that is called as a function has masks of a key, too.
        span: Turns before this stage, and turns in it.
        device: Where the numbers are used.

    Attributes:
        step: Of the coming update, or of what is recorded: every turn of every player counts.
        keys: The names of the dropout layers' keys among the buffers.
    """

    def __init__(
        self, trainings: Sequence[Training], seeds: Sequence[int], each: Lanes,
        layers: Sequence[str], called: bool, span: tuple[int, int], device: str,
    ) -> None:  # fmt: skip
        self.each, self.on_cpu, self.step = each, device == "cpu", 0
        self.called, self.span = called, span
        self._at = torch.zeros((), dtype=torch.int64, device=device)  # where a graph sees the step
        one = trainings[0]
        given = {"noise": [t.noise for t in trainings]} | {
            name: [float(getattr(t.loss, name)) for t in trainings] for name in one.loss.numbers
        }
        numbers = {
            name: torch.tensor(values, device=device)
            for name, values in given.items()
            if any(values)
        }
        if one.augment is not None:
            for name in Augment.numbers:
                values = [float(getattr(t.augment, name)) for t in trainings]
                numbers[name] = torch.tensor(values, device=device)
        used = {"mask": True, "noise": "noise" in numbers, "augment": one.augment is not None}
        streams = [name for name, there in used.items() if there]
        each.streams = {name: keyed.keys(list(seeds), name, device) for name in streams}
        each.now = {name: torch.zeros_like(key) for name, key in each.streams.items()}
        each.numbers = numbers | {
            f"{name}_key": key for name, key in each.now.items() if name != "mask" or called
        }
        each.progress = each.numbers["progress"] = torch.zeros(len(seeds), device=device)
        # every dropout layer mixes its own number into the step's key
        self.keys = [f"{path}.key".lstrip(".") for path in layers]
        each.buffers |= dict.fromkeys(self.keys, each.now["mask"])

    def at(self, step: int) -> None:
        """What follows is of this update."""
        self.step = step
        if not self.on_cpu:
            self._at.fill_(step)

    def draw(self, called: int) -> None:
        """Bring every key to this update; masks' only where there are any, `called` or in layers; and
        what a loss may ask for, which is `called`, too."""
        step = self.step if self.on_cpu else self._at
        if called or not self.called:
            first, turns = self.span
            share = (step - first) / turns
            if isinstance(share, Tensor):
                self.each.progress.copy_(share)
            else:
                self.each.progress.fill_(share)
        for name, key in self.each.streams.items():
            if name != "mask" or self.keys or called:
                self.each.now[name].copy_(keyed.mix(key, step))

    def sow(self, lane: int, training: bool) -> None:
        """Before a lane that cannot be fused: its module may draw random numbers of its own."""
        self._sow(lane, "mask", 2 * self.step + (not training))

    def sow_step(self, lane: int) -> None:
        """Before a lane's optimizer steps, which may draw as well."""
        self._sow(lane, "step", self.step)

    def _sow(self, lane: int, stream: str, word: int) -> None:
        seed = keyed.torch_seed(self.each.seeds[lane], stream) ^ word
        sow(seed)
        if not self.on_cpu:
            torch.cuda.manual_seed(seed)
