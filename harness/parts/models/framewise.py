"""Networks that answer at every step of a sequence, and what of it they have read by then.

`Recurrent` with `every_step` is one. Here are others: of a window around each step, of a deep transition
between states, and answers that come late; and next-step prediction, which refuses what has read
the step that it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


class Window(nn.Module):
    """A dense network of one hidden layer on a window around each step.

    Args:
        inputs: Numbers read a step.
        hidden: ReLU units.
        outputs: Numbers put out a step.
        radius: Steps of the window on either side; beyond the ends of the sequence are zeros.

    Shapes: input (B, T, inputs); output (B, T, outputs).
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, radius: int) -> None:
        super().__init__()
        self.radius = radius
        self.first = nn.Linear((2 * radius + 1) * inputs, hidden)
        self.last = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        padded = functional.pad(x, (0, 0, self.radius, self.radius))
        seen = [padded[:, at : at + x.shape[1]] for at in range(2 * self.radius + 1)]
        said: Tensor = self.last(self.first(torch.cat(seen, 2)).relu())
        return said


class Transition(nn.Module):
    """A plain recurrent network with a hidden layer between states, ``h = tanh(V tanh(W x + R h⁻ + b) +
    c)``, to which a shortcut adds ``S h⁻`` within the outer tanh (Pascanu et al. 2014, DT and DT(S)).

    Args:
        inputs: Numbers read a step.
        hidden: Units of a state, and of the layer between.
        outputs: Numbers put out a step.
        shortcut: Whether there is one.

    Shapes: input (B, T, inputs); output (B, T, outputs).
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, shortcut: bool = True) -> None:
        super().__init__()
        self.enter, self.back = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden, bias=False)
        self.on, self.last = nn.Linear(hidden, hidden), nn.Linear(hidden, outputs)
        self.around = nn.Linear(hidden, hidden, bias=False) if shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        driven, states = self.enter(x), []
        h = torch.zeros_like(driven[:, 0])  # (B, hidden)
        for now in driven.unbind(1):
            new = self.on((now + self.back(h)).tanh())
            h = (new if self.around is None else new + self.around(h)).tanh()
            states.append(h)
        said: Tensor = self.last(torch.stack(states, 1))
        return said


class Late(nn.Module):
    """A network whose answer to a step is what it says some steps later (target delays of Graves &
    Schmidhuber 2005).

    Args:
        network: (B, T, inputs) to (B, T, outputs).
        delay: Steps; beyond the end of the sequence it reads zeros.
        answers: How many steps are answered, from the first.

    Shapes: input (B, T, inputs); output (B, answers, outputs).
    """

    def __init__(self, network: nn.Module, delay: int, answers: int) -> None:
        super().__init__()
        self.network, self.delay, self.answers = network, delay, answers

    def forward(self, x: Tensor) -> Tensor:
        said: Tensor = self.network(functional.pad(x, (0, 0, 0, self.delay)))
        return said[:, self.delay : self.delay + self.answers]


class NextStep(nn.Module):
    """A network that is asked at every step of a sequence for the step after it.

    A network that reads both ways, or a window around each step, has read that step when it is
    asked, and need only copy it: its loss says nothing of what can be predicted. So it is refused.

    Args:
        network: (B, T, inputs) to (B, T, outputs), what it says at each step.
        inputs: Numbers read a step.
        leaks: Whether to let such a network through, to show what it gains by copying.

    Shapes: input (B, T, inputs); output (B, T - 1, outputs), of steps 1 to T - 1.

    Raises:
        ValueError: what the network says at a step depends on a later one.
    """

    def __init__(self, network: nn.Module, inputs: int, leaks: bool = False) -> None:
        super().__init__()
        if not leaks and foresees(network, inputs):
            raise ValueError(
                "the network of NextStep has read the step that it is asked for, and can copy it; "
                "allowed: one direction, or leaks=True to show the leak"
            )
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        said: Tensor = self.network(x)
        return said[:, :-1]


def foresees(network: nn.Module, inputs: int, steps: int = 8) -> bool:
    """Whether what a network says at a step depends on a later one: whether its answers on zeros
    change when the last step becomes one of ones.

    Args:
        network: (B, T, inputs) to (B, T, outputs).
        inputs: Numbers read a step.
        steps: T.
    """
    zeros = torch.zeros(1, steps, inputs)
    changed = zeros.clone()
    changed[:, -1] = 1
    with torch.no_grad():  # apart, for the rows of a batch may differ in their last bits
        return not torch.equal(network(zeros)[:, :-1], network(changed)[:, :-1])


def widest(build: Callable[[int], nn.Module], parameters: int) -> int:
    """The most units, and at least one, with which what `build` makes of them has no more parameters
    than that; nothing is initialised."""
    units = 1
    with torch.device("meta"):
        while sum(weight.numel() for weight in build(units + 1).parameters()) <= parameters:
            units += 1
    return units
