"""How far back a recurrent network remembers, and what its powers do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import grad
from torch.nn import functional

from harness.parts.models.plain import Plain
from harness.parts.models.reservoir import spectral_radius
from harness.parts.probes.moment import Moment


@dataclass(frozen=True)
class Kept:
    """The share of what memory can gain, of validation and of test sequences: metrics ``valid_kept`` and
    ``test_kept``, 0 for the best answer without memory, or worse, and 1 for no error; whether it is
    that of under 1 % of errors in four classes, ``valid_success`` and ``test_success``; and
    ``survived``, 1, for trials that have not diverged.

    Args:
        without: The least loss without memory; None: errors are counted, of four equal classes.
    """

    without: float | None = None
    at_end: ClassVar[bool] = True

    def read(self, pack: Moment) -> dict[str, Tensor]:
        found = {"survived": torch.ones_like(pack.loss)}
        for split in ("valid",) if pack.sealed else ("valid", "test"):
            if self.without:
                missed = pack.metrics[f"{split}_loss"] / self.without
            else:
                missed = (1 - pack.metrics[f"{split}_accuracy"]) / 0.75
            found[f"{split}_kept"] = (1 - missed).clamp_min(0)
            found[f"{split}_success"] = (missed < 0.01 / 0.75).float()
        return found


@dataclass(frozen=True)
class Reach:
    """At the start: the norm of the loss's gradient by each step's input over that by the last step's,
    in decades, on the first training sequences (B, T, inputs): metrics ``reach_1`` onwards."""

    sequences: int = 256
    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        if pack.recorded:
            return {}
        x, y = pack.examples(self.sequences)

        def by_inputs(net: nn.Module) -> Any:
            return grad(lambda x: pack.program.objective.loss(net(x), y))(x)

        norms = pack.ask(by_inputs).double().square().sum((1, 3)).sqrt()  # (K, T)
        decades = (norms / norms[:, -1:]).log10().float()
        return {f"reach_{step}": one for step, one in enumerate(decades.unbind(1), 1)}


@dataclass(frozen=True)
class Recalled:
    """Of each output at all steps the squared correlation with its target on the test split (n, T,
    outputs): metrics ``test_recall_1`` onwards; and their sum, ``test_capacity``. Where targets are a
    white input's last values it is the memory capacity of Jaeger 2001."""

    at_end: ClassVar[bool] = True

    def read(self, pack: Moment) -> dict[str, Tensor]:
        assert pack.splits is not None
        x, y = pack.splits.test
        said = pack.ask(lambda net: net(x)).flatten(1, 2).double()  # (K, n T, outputs)
        true = y.flatten(0, 1).double()
        said, true = said - said.mean(1, keepdim=True), true - true.mean(0)
        power = said.square().sum(1) * true.square().sum(0)
        shares = ((said * true).sum(1).square() / power.clamp_min(1e-300)).float()  # (K, outputs)
        each = {f"test_recall_{back}": one for back, one in enumerate(shares.unbind(1), 1)}
        return {"test_capacity": shares.sum(1), **each}


class Through(nn.Module):
    """Random matrices of a spectral radius, one of them symmetric, inputs that drive a tanh network,
    and leaky units, for `Powers`. What it says, (), is not worth training.

    Args:
        radius: Of both matrices.
        steps: Of the inputs.
        keeps: Of leaky units, one each.
        units: How many the matrices are of.
    """

    symmetric: Tensor
    within: Tensor
    drive: Tensor

    def __init__(
        self, radius: float, steps: int, keeps: tuple[float, ...], units: int = 32
    ) -> None:
        super().__init__()
        normal = torch.randn(units, units, dtype=torch.float64)
        for name, matrix in {"symmetric": normal + normal.T, "within": normal}.items():
            self.register_buffer(name, matrix * (radius / spectral_radius(matrix)))
        self.register_buffer("drive", torch.randn(steps, units, dtype=torch.float64))
        self.leaky = nn.ModuleList(Plain(1, 1, 1, keep=keep, near=False) for keep in keeps)
        self.h = nn.Parameter(torch.randn(units))

    def forward(self) -> Tensor:
        return self.h.square().mean()


@dataclass(frozen=True)
class Powers:
    """What the parts of `Through` do, in float64 but for leaky units.

    - ``gap``: of ``Sᵗ h`` from ``Q Λᵗ Qᵀ h``, relative, the largest over t (Oxford, "Capture Regularity
      in the input space");
    - ``growth``: of the norm of h by all steps, in decades;
    - ``to_bound``: the norm of the Jacobian through t steps of the tanh network over ``(β_w β_h)ᵗ``,
      the largest over t (SNU, "Vanishing or exploding gradients");
    - ``bound``, ``through``: that bound and that norm through all steps, in decades;
    - ``half_life``: how far leaky units' is from ``ln ½ / ln keep``, relative, at most.
    """

    at_end: ClassVar[bool] = True

    def read(self, pack: Moment) -> dict[str, Tensor]:
        def parts(net: Any) -> tuple[Tensor, ...]:
            return net.symmetric, net.within, net.drive, net.h, torch.stack(_faded(net))

        found = pack.ask(parts)
        lanes = [
            self._of(*(part[lane].double() for part in found)) for lane in range(len(pack.loss))
        ]
        return {name: torch.stack([one[name] for one in lanes]).float() for name in lanes[0]}

    @staticmethod
    def _of(
        symmetric: Tensor, within: Tensor, drive: Tensor, start: Tensor, lives: Tensor
    ) -> dict[str, Tensor]:
        values, q = torch.linalg.eigh(symmetric)
        beta, through = torch.linalg.matrix_norm(within, 2), torch.eye(len(start)).to(within)
        h, state, gaps, norms = start, torch.zeros_like(start), [], []
        for t, now in enumerate(drive, 1):
            h, exact = symmetric @ h, q @ (values**t * (q.T @ start))
            gaps.append((h - exact).norm() / exact.norm())
            state = torch.tanh(within @ state + now)
            through = (1 - state.square())[:, None] * within @ through
            norms.append(torch.linalg.matrix_norm(through, 2))
        bounds = beta ** torch.arange(1, len(drive) + 1).to(beta)
        return {
            "gap": torch.stack(gaps).max(), "growth": (h.norm() / start.norm()).log10(),
            "to_bound": (torch.stack(norms) / bounds).max(), "bound": bounds[-1].log10(),
            "through": norms[-1].log10(), "half_life": (lives - 1).abs().max(),
        }  # fmt: skip


PULSE = 300  # steps that a leaky unit is followed


def _faded(net: Any) -> list[Tensor]:
    """Of each leaky unit the steps until a pulse is half of what it was, between steps as a power,
    over what theory says."""
    pulse = functional.pad(torch.ones(1, 1, 1), (0, 0, 0, PULSE)).to(net.h.device)
    found = []
    for unit in net.leaky:
        path = torch.cat(unit.states(pulse)).flatten()
        share = (path / path[0]).log2()  # 0 at first
        after = (share > -1).sum(0, keepdim=True)
        before, then = share.gather(0, after - 1), share.gather(0, after)
        steps = after - 1 + (1 + before) / (before - then)
        found.append((steps * unit.keep.log() / math.log(0.5))[0])
    return found
