"""Recurrent cells in plain operations: LSTM and its variants, GRU, plain RNN.

Each cell is an `nn.Module` that reads a sequence and gives its state at every step; `Recurrent`
puts cells in layers, lets them read both ways, and adds the output layer.

In every tensor gates come first and units last, so that zeros at the end of a dimension add units
that stay at zero and change nothing: cells of different widths share a pack (`Training.pad_to`).

One module: the LSTM's backward pass, written out by hand, takes up a third of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# A gate with this bias is open: its sigmoid is 1 and the slope 0, to the last bit of a float64.
OPEN = 1e4


@dataclass(frozen=True)
class Variant:
    """What sets an LSTM apart from vanilla (Greff et al. 2015, section 3).

    Args:
        gates: Whether there are an input, a forget and an output gate; a missing one is 1.
        bends: Whether tanh bends the cell's input and its output; otherwise they pass unchanged.
        peepholes: Whether the gates see the cell.
        coupled: Whether the forget gate is one minus the input gate.
        recurrent_gates: Whether each gate reads all gates' last values, by nine more matrices.
    """

    gates: tuple[bool, bool, bool] = (True, True, True)
    bends: tuple[bool, bool] = (True, True)
    peepholes: bool = True
    coupled: bool = False
    recurrent_gates: bool = False


VARIANTS = {
    "vanilla": Variant(),
    "NIG": Variant(gates=(False, True, True)),
    "NFG": Variant(gates=(True, False, True)),
    "NOG": Variant(gates=(True, True, False)),
    "NIAF": Variant(bends=(False, True)),
    "NOAF": Variant(bends=(True, False)),
    "NP": Variant(peepholes=False),
    "CIFG": Variant(coupled=True),
    "FGR": Variant(recurrent_gates=True),
}


def _bend(x: Tensor, switch: Tensor) -> Tensor:
    """tanh where the switch is 1, the identity where it is 0: one program for both."""
    return torch.where(switch, torch.tanh(x), x)


class _Unrolled(torch.autograd.Function):
    """An LSTM over all steps (Greff et al. 2015, section 2), with its own backward pass.

    What autograd would do step by step is done here for all steps at once: the slopes of gates and
    bends, and the weights' gradients, which are one product over time in place of one a step. Left
    in the loop are six operations a step.

    Args:
        driven: What the input adds to every gate, (B, T, 4, H): input, forget, output, candidate.
        recurrent: (4, H, H) from units to each gate.
        peep: (3, H) from cells to gates.
        bends: (2,) whether tanh bends a cell's input and output.
        coupled: Whether the forget gate is one minus the input gate.
        fed_back: (3, H, 3, H) from the last step's gates to the gates, or None.
        inside: (B, T) whether a step is in its sequence, or None; outside, a cell keeps its state.

    Returns:
        Units and cells (T, B, H), and gates with the candidate (T, B, 4, H).
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        driven: Tensor, recurrent: Tensor, peep: Tensor, bends: Tensor, coupled: Tensor,
        fed_back: Tensor | None, inside: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        weight = recurrent.flatten(0, 1)  # (4, H, H) -> (4 H, H)
        between = None if fed_back is None else fed_back.flatten(2).flatten(0, 1)  # (3 H, 3 H)
        bend_in, bend_out = (bends != 0).unbind(0)
        enter_forget, leaving = torch.split(peep, [2, 1])
        y = c = torch.zeros_like(driven[:, 0, 0])  # (B, H)
        gates = torch.zeros_like(driven[:, 0, :3])  # (B, 3, H)
        steps = []
        for now, here in zip(driven.unbind(1), _steps(inside, driven.shape[1]), strict=True):
            summed = now + functional.linear(y, weight).view(now.shape)  # (B, 4, H)
            early, late, new = torch.split(summed, [2, 1, 1], 1)
            if between is not None:
                fed = functional.linear(gates.flatten(1), between).view(gates.shape)  # (B, 3, H)
                early, late = early + fed[:, :2], late + fed[:, 2:]
            early = torch.sigmoid(torch.addcmul(early, enter_forget, c.unsqueeze(1)))  # (B, 2, H)
            enter, forget = early.unbind(1)
            new = _bend(new.squeeze(1), bend_in)
            c_now = torch.addcmul(forget * c, enter, new - coupled * c)
            late = torch.sigmoid(torch.addcmul(late.squeeze(1), leaving, c_now))
            y = _kept(here, late * _bend(c_now, bend_out), y)
            c = _kept(here, c_now, c)
            if between is not None:
                opened = torch.cat([early, late.unsqueeze(1)], 1)
                gates = opened if here is None else torch.where(here.unsqueeze(2), opened, gates)
                early, late = gates[:, :2], gates[:, 2]
            steps.append((y, c, early, late, new))
        units, cells, first, *rest = (torch.stack(parts) for parts in zip(*steps, strict=True))
        return units, cells, torch.cat([first, torch.stack(rest, 2)], 2)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: tuple[Tensor, ...]) -> None:
        _, *kept = inputs
        ctx.save_for_backward(*kept, *output)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, by_units: Tensor, by_cells: Any, by_gates: Any) -> tuple[Any, ...]:
        recurrent, peep, bends, coupled, fed_back, inside, y, c, gates = ctx.saved_tensors
        weight = recurrent.flatten(0, 1)  # (4 H, H)
        before = torch.cat([torch.zeros_like(c[:1]), c[:-1]])  # cells a step earlier
        enter, forget, leave, new = gates.unbind(2)  # (T, B, H) each
        bent = _bend(c, bends[1] != 0)
        slopes = torch.cat(
            [gates[:, :, :3] * (1 - gates[:, :, :3]), (1 - new * bends[0] * new).unsqueeze(2)], 2
        )  # (T, B, 4, H) of gates and candidate at their sums
        opened = torch.stack([new - coupled * before, before, bent, enter], 2)
        by_sum = opened * slopes  # what moves a step's sums moves its cell, or unit, so much
        through = forget - coupled * enter + (by_sum[:, :, :2] * peep[:2]).sum(2)  # to the cell
        out = leave * (1 - bent * bends[1] * bent) + by_sum[:, :, 2] * peep[2]
        stays = None
        if inside is not None:
            here = inside.t().unsqueeze(2)  # (B, T) -> (T, B, 1)
            by_sum = torch.where(here.unsqueeze(3), by_sum, 0)
            slopes = torch.where(here.unsqueeze(3), slopes, 0)
            through, out = torch.where(here, through, 1), torch.where(here, out, 0)
            stays = (~here).to(c.dtype)
        between = None if fed_back is None else fed_back.flatten(2).flatten(0, 1)  # (3 H, 3 H)
        none = torch.zeros_like(c[0])
        to_y, to_c, to_gates = none, none, None  # carried back to the step before
        steps = [
            (None,) * len(c) if one is None else one.unbind(0)
            for one in (by_units, by_cells, by_gates, by_sum, slopes, through, out, stays)
        ]
        summed: list[Tensor] = []
        for by_y, by_c, by_gate, moves, slope, kept, leaves, stay in zip(
            *(step[::-1] for step in steps), strict=True
        ):  # cells and gates get something from outside in second derivatives only
            d_y = to_y if by_y is None else by_y + to_y
            d_c = torch.addcmul(to_c, d_y, leaves)
            if by_c is not None:
                d_c = d_c + by_c
            d_gates = by_gate
            if to_gates is not None:
                fed = torch.cat([to_gates, none.unsqueeze(1)], 1)
                d_gates = fed if by_gate is None else by_gate + fed
            direct = None if d_gates is None else d_gates * slope
            if direct is not None:
                d_c = d_c + direct[:, 2] * peep[2]
            d_sum = torch.stack([d_c, d_c, d_y, d_c], 1) * moves  # (B, 4, H)
            to_c = d_c * kept
            if direct is not None:
                d_sum = d_sum + direct
                to_c = to_c + (direct[:, :2] * peep[:2]).sum(1)
            to_y = d_sum.flatten(1) @ weight  # (B, 4 H) (4 H, H)
            if between is not None:
                to_gates = (d_sum[:, :3].flatten(1) @ between).view(d_sum[:, :3].shape)
            if stay is not None:
                to_y = to_y + d_y * stay
                if to_gates is not None and d_gates is not None:
                    to_gates = to_gates + d_gates[:, :3] * stay.unsqueeze(2)
            summed.append(d_sum)
        d_driven = torch.stack(summed[::-1])  # (T, B, 4, H)
        earlier = torch.cat([torch.zeros_like(y[:1]), y[:-1]])
        d_recurrent = torch.einsum("tbgi,tbj->gij", d_driven, earlier)
        seen = torch.stack([before, before, c], 2)  # what each gate sees, (T, B, 3, H)
        d_peep = (d_driven[:, :, :3] * seen).sum((0, 1))
        d_fed = None
        if fed_back is not None:
            last = torch.cat([torch.zeros_like(gates[:1]), gates[:-1]])[:, :, :3]
            d_fed = torch.einsum("tbgi,tbhj->gihj", d_driven[:, :, :3], last)
        return d_driven.transpose(0, 1), d_recurrent, d_peep, None, None, d_fed, None


class Cell(nn.Module):
    """What all cells share: weights, and a loop over time.

    Args:
        inputs: Numbers read a step from each source.
        hidden: Units.
        sources: Where the input comes from: 1, or the 2 directions of a layer below.
        gates: Blocks of weights; the last is the candidate.
        std: Standard deviation of the normal that all weights and biases are drawn from.

    Shapes: input (B, T, sources, inputs), and whether a step is inside its sequence (B, T) or None
    where all are; output T of (B, hidden). Outside its sequence a cell keeps its state.
    """

    def __init__(self, inputs: int, hidden: int, sources: int, gates: int, std: float) -> None:
        super().__init__()
        self.from_input = _normal(std, gates, hidden, sources, inputs)
        self.from_hidden = _normal(std, gates, hidden, hidden)
        self.bias = _normal(std, gates, hidden)

    def _driven(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """What the input adds to every gate at every step, (B, T, gates hidden), at once."""
        return functional.linear(x.flatten(2), weight.flatten(2).flatten(0, 1), bias.flatten())


def _normal(std: float, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape) * std)


def _steps(inside: Tensor | None, length: int) -> tuple[Tensor | None, ...]:
    """For each step whether it is inside, (B, 1) each."""
    return (None,) * length if inside is None else inside.unsqueeze(2).unbind(1)


def _kept(inside: Tensor | None, new: Tensor, old: Tensor) -> Tensor:
    return new if inside is None else torch.where(inside, new, old)


class LSTM(Cell):
    """Long short-term memory with peepholes, and its variants (Greff et al. 2015, equations of
    section 2 and appendix A.3): ``i = σ(W x + R y⁻ + p c⁻ + b)``, f alike, ``z = tanh(W x + R y⁻ +
    b)``, ``c = z i + c⁻ f``, ``o = σ(W x + R y⁻ + p c + b)``, ``y = tanh(c) o``.

    All variants but FGR are one program, whose switches are buffers. A missing gate is one whose
    bias is `OPEN`, so that it is 1 and its weights get no gradient. The coupled forget gate is open
    too, and what enters is ``i (z - c⁻)``, which makes ``c = z i + c⁻ (1 - i)``. FGR's nine more
    matrices make an update about three times as long, so FGR is a program of its own.

    Args:
        variant: A key of `VARIANTS`.
    """

    opened: Tensor
    bends: Tensor
    sees: Tensor
    coupled: Tensor
    from_gates: nn.Parameter | None

    def __init__(
        self, inputs: int, hidden: int, sources: int = 1, std: float = 0.1, variant: str = "vanilla"
    ) -> None:
        if variant not in VARIANTS:
            raise ValueError(f"LSTM variant is {variant!r}; allowed: {', '.join(VARIANTS)}")
        super().__init__(inputs, hidden, sources, 4, std)  # input, forget, output gate, candidate
        kind = VARIANTS[variant]
        self.peep = _normal(std, 3, hidden)
        opened = [not here for here in kind.gates]
        opened[1] = opened[1] or kind.coupled
        self.register_buffer("opened", torch.tensor([*opened, False]).float())
        self.register_buffer("bends", torch.tensor(kind.bends).float())
        self.register_buffer("sees", torch.tensor(float(kind.peepholes)))
        self.register_buffer("coupled", torch.tensor(float(kind.coupled)))
        self.from_gates = None
        if kind.recurrent_gates:
            self.from_gates = _normal(std, 3, 3, hidden, hidden)  # to a gate, from a gate

    def forward(self, x: Tensor, inside: Tensor | None = None) -> list[Tensor]:
        bias = self.bias + self.opened.unsqueeze(1) * OPEN  # (4, hidden)
        driven = self._driven(x, self.from_input, bias)  # (B, T, 4 hidden)
        fed_back = None
        if self.from_gates is not None:
            fed_back = self.from_gates.transpose(1, 2)  # to, unit, from, unit
        units: Tensor = _Unrolled.apply(  # type: ignore[no-untyped-call]
            driven.view(*driven.shape[:2], *bias.shape), self.from_hidden, self.peep * self.sees, self.bends,
            self.coupled, fed_back, inside,
        )[0]  # fmt: skip
        return list(units.unbind(0))


class GRU(Cell):
    """Gated recurrent unit (Cho et al. 2014) in the form of torch.nn.GRU: the reset gate acts on
    the recurrent sum, with a bias of its own."""

    def __init__(self, inputs: int, hidden: int, sources: int = 1, std: float = 0.1) -> None:
        super().__init__(inputs, hidden, sources, 3, std)  # reset, update gate, candidate
        self.hidden_bias = _normal(std, hidden)

    def forward(self, x: Tensor, inside: Tensor | None = None) -> list[Tensor]:
        driven = self._driven(x, self.from_input, self.bias)  # (B, T, 3 hidden)
        recurrent = self.from_hidden.flatten(0, 1)  # (3 hidden, hidden)
        y = driven.new_zeros(len(driven), len(self.hidden_bias))  # (B, hidden)
        out = []
        for now, here in zip(driven.unbind(1), _steps(inside, driven.shape[1]), strict=True):
            reset_in, update_in, new_in = now.view(len(y), 3, -1).unbind(1)
            reset, update, new = functional.linear(y, recurrent).view(len(y), 3, -1).unbind(1)
            reset = torch.sigmoid(reset_in + reset)
            update = torch.sigmoid(update_in + update)
            new = torch.tanh(new_in + reset * (new + self.hidden_bias))
            y = _kept(here, new + update * (y - new), y)
            out.append(y)
        return out


class RNN(Cell):
    """Plain recurrent network: ``y = act(W x + R y⁻ + b)`` with tanh (Elman 1990), or, as IRNN,
    with ReLU, R starting at the identity and the bias at zero (Le et al. 2015)."""

    def __init__(
        self, inputs: int, hidden: int, sources: int = 1, std: float = 0.1, identity: bool = False
    ) -> None:
        super().__init__(inputs, hidden, sources, 1, std)
        self.act: Callable[[Tensor], Tensor] = torch.relu if identity else torch.tanh
        if identity:
            with torch.no_grad():
                self.from_hidden.copy_(torch.eye(hidden))
                self.bias.zero_()

    def forward(self, x: Tensor, inside: Tensor | None = None) -> list[Tensor]:
        driven = self._driven(x, self.from_input, self.bias)  # (B, T, hidden)
        recurrent = self.from_hidden.flatten(0, 1)  # (1, hidden, hidden) -> (hidden, hidden)
        y = driven.new_zeros(len(driven), len(recurrent))  # (B, hidden)
        out = []
        for now, here in zip(driven.unbind(1), _steps(inside, driven.shape[1]), strict=True):
            y = _kept(here, self.act(now + functional.linear(y, recurrent)), y)
            out.append(y)
        return out


CELLS = (*VARIANTS, "GRU", "RNN", "IRNN")


def cell(name: str, inputs: int, hidden: int, sources: int = 1, std: float = 0.1) -> Cell:
    """The cell of a name in `CELLS`."""
    if name in VARIANTS:
        return LSTM(inputs, hidden, sources, std, name)
    if name == "GRU":
        return GRU(inputs, hidden, sources, std)
    if name in ("RNN", "IRNN"):
        return RNN(inputs, hidden, sources, std, name == "IRNN")
    raise ValueError(f"cell is {name!r}; allowed: {', '.join(CELLS)}")


class Recurrent(nn.Module):
    """Layers of recurrent cells and a linear output layer.

    Args:
        name: Which cell, of `CELLS`.
        inputs: Numbers read a step, or, where the input is integers, how many symbols there are.
        hidden: Units of a cell.
        outputs: Numbers put out.
        layers: How many, one on top of the other.
        both_ways: Whether each layer reads the sequence from both ends (Schuster & Paliwal 1997).
        every_step: Whether there is an output at every step; otherwise there is one at the end.
        ragged: Whether sequences differ in length: steps that are NaN are beyond the end.
        std: Standard deviation of the normal that weights and biases start from.

    Shapes: input (B, T, inputs), or anything that flattens to (B, T inputs), or symbols (B, T)
    int64; output (B, outputs), or (B, T, outputs) with `every_step`.
    """

    def __init__(
        self, name: str, inputs: int, hidden: int, outputs: int, layers: int = 1,
        both_ways: bool = False, every_step: bool = False, ragged: bool = False, std: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__()
        if layers < 1:
            raise ValueError(f"Recurrent has layers={layers}; allowed: at least 1")
        self.inputs, self.every_step, self.ragged = inputs, every_step, ragged
        ways = 2 if both_ways else 1
        self.cells = nn.ModuleList(  # a layer's ways side by side, from the bottom up
            cell(name, hidden if above else inputs, hidden, ways if above else 1, std)
            for above in range(layers)
            for _ in range(ways)
        )
        self.read = nn.ModuleList(nn.Linear(hidden, outputs, bias=not way) for way in range(ways))
        for w in self.read.parameters():
            nn.init.normal_(w, std=std)

    def forward(self, x: Tensor) -> Tensor:
        inside: Tensor | None = None
        if not x.is_floating_point():
            x = (x.unsqueeze(2) == torch.arange(self.inputs, device=x.device)).float()
        x = x.reshape(len(x), -1, self.inputs)  # (B, ...) -> (B, T, inputs)
        if self.ragged:
            inside = ~x[..., 0].isnan()  # (B, T)
            x = torch.where(inside.unsqueeze(2), x, 0)
        # before its end, a network that reads one way says the same whatever comes after it
        causal = len(self.read) == 1 and self.every_step
        states = self._states(x.unsqueeze(2), None if causal else inside)  # ways x T of (B, hidden)
        if self.every_step:
            return self._read([torch.stack(way, 1) for way in states])  # (B, T, outputs)
        return self._read([way[-at] for at, way in zip((1, 0), states, strict=False)])

    def _states(self, x: Tensor, inside: Tensor | None) -> list[list[Tensor]]:
        """The top layer's states in the order of time: for each way T of (B, hidden)."""
        ways = len(self.read)
        states: list[list[Tensor]] = []
        for first in range(0, len(self.cells), ways):
            if first:
                x = torch.stack([torch.stack(way, 1) for way in states], 2)  # (B, T, ways, hidden)
            states = [self.cells[first](x, inside)]
            if ways == 2:
                back = None if inside is None else inside.flip(1)
                states.append(self.cells[first + 1](x.flip(1), back)[::-1])
        return states

    def _read(self, states: list[Tensor]) -> Tensor:
        """The output layer on all ways' states, (..., hidden) each."""
        parts: list[Tensor] = [read(state) for read, state in zip(self.read, states, strict=True)]
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]
