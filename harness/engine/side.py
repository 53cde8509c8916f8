"""One player of a pack at work: what it minimises, what it moves, and how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.engine.batches import Batches
from harness.engine.building import Tensors
from harness.engine.curvature import Curvature
from harness.engine.flat import Flat
from harness.engine.graph import Repeated
from harness.engine.lanes import Lanes
from harness.engine.noise import Noise
from harness.engine.program import Computation, Program
from harness.engine.solving import Solver
from harness.engine.stepper import Stepper


class Side:
    """The loss, the parameters and the rule of one player, of K trials. A pack has one, unless its
    trainings have several players.

    Args:
        name: The player's; "" where there is one only.
        program: Its loss.
        params: What it moves.
        stepper: How.
        each: Holds the `loss` of every side in its latest turn, by name.
        noise, batches: What its loss is given.
        device: Where all of this is.

    Raises:
        ValueError: the rule asks for the loss again, and the program is not fused.

    Attributes:
        turns: How many it has at an update.
        asks: Whether its rule asks for the loss again.
    """

    def __init__(
        self, name: str, turns: int, program: Computation, params: Flat, stepper: Stepper | Solver,
        each: Lanes, noise: Noise, batches: Batches, device: str,
    ) -> None:  # fmt: skip
        self.name, self.turns, self.program, self.params = name, turns, program, params
        self.stepper, self.each, self.noise, self.batches = stepper, each, noise, batches
        self.device, self.asks = device, stepper.rule.asks
        if self.asks and not program.fused:
            raise ValueError(
                f"{type(stepper.rule).__name__} asks for the loss again within an update, and the "
                "model cannot be fused; allowed: a model of what can be"
            )
        self.given: Tensors = {}  # what it does not move: buffers, and others' parameters
        self._pool: Any = None
        each.loss[name] = torch.zeros(len(each.lanes), device=device)
        self.close()

    def bind(self, given: Tensors, pool: Any) -> None:
        """Work with these tensors (K, ...) that it does not move, from now on.

        Args:
            given: Its module's buffers, and parameters that are others' or nobody's.
            pool: One memory for all graphs of a pack: they follow each other and leave nothing in it.
        """
        self.close()
        self.given, self._pool = given, pool

    def close(self) -> None:
        """Let go of what refers back to the pack: its memory is free now, and not when Python next
        looks for cycles."""
        # all by the length of sequences
        self._calls: dict[int | None, Callable[[tuple[Tensor, ...]], Tensor]] = {}
        self._gradients: dict[int | None, Repeated] = {}
        self._moves: dict[int | None, Repeated] = {}

    def _take_gradient(self) -> None:
        self.noise.draw(self.program.masks)
        batch, length = self.batches.take(), self.batches.steps
        if length not in self._calls:
            self._calls[length] = self.stepper.taking(
                self.program, self.given, batch, self.each.numbers
            )
        losses = self._calls[length](batch)
        self.stepper.taken()
        if self.device == "cpu":
            self.each.loss[self.name] = losses
        else:  # a graph that is launched again writes to the same memory
            self.each.loss[self.name].copy_(losses)

    def gradient(self, turn: int) -> None:
        """The stepper's `grads`, and the loss of each trial, on the batch of this turn, counted over
        all updates."""
        self.noise.at(turn)
        self.batches.choose(turn)
        length = self.batches.steps
        if length not in self._gradients:
            # a layer that draws its own random numbers would draw the same ones in every replay
            where = self.device if self.program.fused else "cpu"
            self._gradients[length] = Repeated(self._take_gradient, where, self._pool)
        self._gradients[length]()

    def move(self) -> None:
        """Its parameters one step along `grads`."""
        self.stepper.advance()
        if self.program.skipped:
            self.stepper.apply(self.program.skipped)
            return
        length = self.batches.steps if self.asks else None
        if length not in self._moves:
            where = self.device if self.stepper.repeats else "cpu"
            move = self._search if self.asks else self.stepper.apply
            self._moves[length] = Repeated(move, where, self._pool)
        self._moves[length]()

    def _search(self) -> None:
        """Its parameters one step, where the rule asks for the batch's loss again."""
        assert isinstance(self.program, Program)
        curvature = Curvature(
            self.program, self.params, self.given, self.batches.take(), self.each.numbers,
            self.each.loss[self.name], self.stepper.mask,
        )  # fmt: skip
        self.stepper.apply(around=curvature)

    def keep(self, alive: Tensor, lanes: Sequence[int]) -> None:
        """Go on with only these trials; to be bound anew."""
        self.params.keep(alive)
        self.stepper.keep(alive)
        self.program.keep(lanes)
