"""Networks that answer at every step by their definitions, and what of a sequence they have read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from harness.parts.models import (
    CELLS,
    Late,
    NextStep,
    Recurrent,
    Transition,
    Window,
    foresees,
    widest,
)

CASES = [(name, layers) for name in CELLS for layers in (1, 2)]


@pytest.mark.parametrize("radius", [0, 1, 3])
def test_a_window_is_a_dense_network_at_each_step(radius: int) -> None:
    net, x = Window(2, 5, 3, radius), torch.randn(4, 6, 2)
    for t in range(6):
        seen = [x[:, s] if 0 <= s < 6 else torch.zeros(4, 2) for s in range(t - radius, t + radius + 1)]  # fmt: skip
        dense = net.last(net.first(torch.cat(seen, 1)).relu())
        torch.testing.assert_close(net(x)[:, t], dense)
    assert foresees(net, 2) == (radius > 0)


@pytest.mark.parametrize("shortcut", [True, False])
def test_a_deep_transition_step_by_step(shortcut: bool) -> None:
    net, x = Transition(2, 5, 3, shortcut), torch.randn(4, 6, 2)
    h = torch.zeros(4, 5)
    for t in range(6):
        between = torch.tanh(x[:, t] @ net.enter.weight.T + net.enter.bias + h @ net.back.weight.T)
        around = h @ net.around.weight.T if net.around is not None else 0
        h = torch.tanh(between @ net.on.weight.T + net.on.bias + around)
        torch.testing.assert_close(net(x)[:, t], net.last(h))
    assert not foresees(net, 2)


@pytest.mark.parametrize("delay", [0, 1, 4])
def test_late_answers_are_of_what_was_read_until_then(delay: int) -> None:
    inner, x = Recurrent("GRU", 2, 5, 3, every_step=True), torch.randn(4, 6, 2)
    net = Late(inner, delay, 6)
    later = x.clone()
    later[:, 5] = torch.randn(4, 2)
    said, again = net(x), net(later)
    assert said.shape == (4, 6, 3)
    assert torch.equal(said[:, : 5 - delay], again[:, : 5 - delay])
    assert not torch.equal(said[:, 5 - delay], again[:, 5 - delay])
    if not delay:
        assert torch.equal(said, inner(x))


class Neighbours(nn.Module):
    """What it reads so many steps later, round the end."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        return x.roll(-self.after, 1)


@pytest.mark.parametrize(("name", "layers"), CASES)
def test_one_direction_says_of_a_step_what_it_says_whatever_that_is(name: str, layers: int) -> None:
    net = Recurrent(name, 3, 5, 3, layers, every_step=True)
    x = torch.randn(2, 7, 3)
    other = x.clone()
    other[:, 4:] = torch.randn(2, 3, 3)
    said, again = NextStep(net, 3)(x), NextStep(net, 3)(other)
    assert said.shape == (2, 6, 3)
    assert torch.equal(said[:, :4], again[:, :4])
    assert torch.equal(said, net(x)[:, :-1])


@pytest.mark.parametrize(("name", "layers"), CASES)
def test_two_directions_are_refused(name: str, layers: int) -> None:
    torch.manual_seed(0)  # of five ReLUs all may be dead
    net = Recurrent(name, 3, 5, 3, layers, both_ways=True, every_step=True)
    with pytest.raises(ValueError, match="has read the step that it is asked for"):
        NextStep(net, 3)
    assert NextStep(net, 3, leaks=True)(torch.randn(2, 7, 3)).shape == (2, 6, 3)


@pytest.mark.parametrize("network", [Neighbours(1), Window(2, 5, 2, 1), Late(Neighbours(0), 2, 8)])
def test_any_network_is_tried(network: nn.Module) -> None:
    assert foresees(network, 2)
    with pytest.raises(ValueError, match="allowed: one direction, or leaks=True"):
        NextStep(network, 2)


@pytest.mark.parametrize(
    "build",
    [
        lambda units: nn.Linear(3, units),
        lambda units: Recurrent("vanilla", 3, units, 2, layers=2, both_ways=True),
        partial(Transition, 3, outputs=2),
    ],
)
@pytest.mark.parametrize("parameters", [50, 1000])
def test_the_widest_network(build: Callable[[int], nn.Module], parameters: int) -> None:
    units = widest(build, parameters)
    fewer, more = (sum(w.numel() for w in build(n).parameters()) for n in (units, units + 1))
    assert more > parameters
    assert fewer <= parameters or units == 1
