"""What the decks compute, computed: `studies/WORKED.md` lists it, and `python -m tests.decks` prints it.

Each test names its slide by `slide`. Matrices and sequences that a deck leaves open are random.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from harness.engine.flat import Flat
from harness.engine.stepper import Stepper
from harness.parts.models import ACTIVATIONS, MLP, cell
from harness.parts.models.recurrent import Cell
from harness.parts.optimizers import Optimizer
from harness.study.sources import WORKS

Test = TypeVar("Test", bound=Callable[..., Any])
DECKS = ("ECNU", "Oxford", "UIUC", "Overview", "SNU")


@dataclass(frozen=True)
class Slide:
    """One line of the page: a slide, what of it is computed, and the test that does so."""

    deck: str
    heading: str
    shows: str
    slip: bool
    test: str

    def line(self) -> str:
        shows = self.shows.replace("|", "\\|")
        return f"| {self.heading} | {'**slip:** ' * self.slip}{shows} | `{self.test}` |"


SLIDES: list[Slide] = []


def slide(deck: str, heading: str, shows: str, slip: bool = False) -> Callable[[Test], Test]:
    """Name the slide that a test computes; a test of several slides has several."""

    def named(test: Test) -> Test:
        SLIDES.append(Slide(deck, heading, shows, slip, test.__name__))
        return test

    return named


def page() -> str:
    """The Markdown page of all slides, by deck and in the order of the tests."""
    from tests.decks import test_ecnu, test_overview, test_oxford, test_snu, test_uiuc  # noqa: F401

    lines = [
        "# Worked examples of the five decks",
        "",
        "Every number, gradient and equation that a slide works out, and every slip found on one, is a",
        "test in `tests/decks/` that computes it with this project's parts. `python -m tests.decks`",
        "prints this page, and a test compares the two.",
    ]
    for deck in DECKS:
        found = [one for one in SLIDES if one.deck == deck]
        lines += ["", f"## {deck}: {WORKS[f'[{deck}]'].words}", ""]
        lines += [f"`tests/decks/test_{deck.lower()}.py`", ""]
        lines += ["| slide | what is computed | test |", "|---|---|---|"]
        lines += [one.line() for one in found]
    return "\n".join(lines) + "\n"


# --- parts with given numbers --------------------------------------------------------------------


def matrix(*rows: Sequence[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def vector(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers, float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mlp(activation: str, *layers: tuple[Tensor, Tensor]) -> MLP:
    """An `MLP` of given weights (out, in) and biases (out,)."""
    widths = (layers[0][0].shape[1], *(len(bias) for _, bias in layers))
    net = MLP(widths, activation).double()
    for module, (weight, bias) in zip(linears(net), layers, strict=True):
        module.weight.data, module.bias.data = weight.clone(), bias.clone()
    return net


def linears(net: MLP) -> list[torch.nn.Linear]:
    return [one for one in net.layers if isinstance(one, torch.nn.Linear)]


def random_cell(name: str, inputs: int, hidden: int) -> Cell:
    """A recurrent cell in float64 whose weights are large enough to matter."""
    torch.manual_seed(0)
    return cell(name, inputs, hidden, std=0.7).double()


def states(one: Cell, x: Tensor) -> Tensor:
    """A cell's states (T, hidden) of one sequence (T, inputs)."""
    return torch.stack(one(x[None, :, None]), 1)[0]


def act(name: str, x: Tensor) -> Tensor:
    out: Tensor = ACTIVATIONS[name]()(x)
    return out


def path(optimizer: Optimizer, gradients: Sequence[float], start: float = 0.0) -> list[float]:
    """Where a rule of `harness.parts.optimizers` takes one weight along given gradients."""
    flat = Flat({"w": torch.tensor([[start]])})
    stepper = Stepper([optimizer], flat, len(gradients))
    seen = []
    for g in gradients:
        stepper.step({"w": torch.tensor([[g]])})
        seen.append(float(flat.views["w"]))
    return seen
