"""Generative adversarial networks (Goodfellow et al. 2014): a model, the players' losses, and probes of
what the generator makes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad
from torch.nn import functional as F

from harness.parts.draws import normal
from harness.parts.objectives import Loss
from harness.parts.probes.moment import Moment
from harness.parts.probes.pictures import packed

SCORED, COUNTED = 256, 2000  # samples that distances and gradients are of, and modes


class Gan(nn.Module):
    """A generator ``g`` and a discriminator ``d`` of two hidden layers each.

    Args:
        inputs: Numbers of an example; more than two are pixels in [0, 1].
        code: Normal numbers that the generator is given.
        units: Of each hidden layer: ReLU in the generator, and leaky ReLU of slope 0.2 in the
            discriminator (Radford et al. 2016).

    Shapes: input (B, ...), output (B, 1) logits of being real.
    """

    def __init__(self, inputs: int, code: int, units: int) -> None:
        super().__init__()
        self.code = code
        self.g = nn.Sequential(
            nn.Linear(code, units), nn.ReLU(), nn.Linear(units, units), nn.ReLU(),
            nn.Linear(units, inputs), nn.Sigmoid() if inputs > 2 else nn.Identity(),
        )  # fmt: skip
        self.d = nn.Sequential(
            nn.Flatten(), nn.Linear(inputs, units), nn.LeakyReLU(0.2),
            nn.Linear(units, units), nn.LeakyReLU(0.2), nn.Linear(units, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.d(x)
        return out

    def sample(self, n: int) -> Tensor:
        """(n, inputs) that the generator makes."""
        made: Tensor = self.g(normal(n, self.code))
        return made


def saturating(logits: Tensor) -> Tensor:
    """The mean of log(1 - D), of which the slope by a logit is D."""
    return -F.softplus(logits).mean()


def steady(logits: Tensor) -> Tensor:
    """The mean of -log D, of which the slope by a logit is 1 - D."""
    return F.softplus(-logits).mean()


def _told_apart(net: Gan, x: Tensor, _: Tensor) -> Tensor:
    return steady(net.d(x)) - saturating(net.d(net.sample(len(x)).detach()))


def _saturating(net: Gan, x: Tensor, _: Tensor) -> Tensor:
    return saturating(net.d(net.sample(len(x))))


def _steady(net: Gan, x: Tensor, _: Tensor) -> Tensor:
    return steady(net.d(net.sample(len(x))))


TOLD_APART = Loss(_told_apart)  # the discriminator's
SATURATING, STEADY = Loss(_saturating), Loss(_steady)  # the generator's: log(1 - D), -log D


def _ask(pack: Moment, fn: Callable[[Gan], Any]) -> Any:
    return pack.ask(lambda net: fn(cast(Gan, net)))


@dataclass(frozen=True)
class Slopes:
    """The generator's gradient under both losses, in the state as it is.

    Metrics: ``steady_norm``, the norm of that of -log D by all weights; ``share``, that of log(1 - D) over
    it; ``mean_share``, the geometric mean of this over all records so far; ``off_share``, by how much the
    ratio of both slopes by a sample differs from D / (1 - D), relatively, at most; and ``fake``, the mean
    of D over samples.
    """

    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        def slopes(net: Gan) -> dict[str, Tensor]:
            code = normal(SCORED, net.code)
            weights, made = dict(net.g.named_parameters()), net.g(code)

            def by_weights(loss: Callable[[Tensor], Tensor]) -> Tensor:
                slope = grad(lambda w: loss(net.d(functional_call(net.g, w, (code,)))))(weights)
                norm: Tensor = torch.cat([part.flatten() for part in slope.values()]).norm()
                return norm

            def by_samples(loss: Callable[[Tensor], Tensor]) -> Tensor:
                norms: Tensor = grad(lambda x: loss(net.d(x)))(made).norm(dim=1)
                return norms

            logits, flat = net.d(made).flatten(), by_weights(steady)
            off = (by_samples(saturating) / by_samples(steady) / logits.exp() - 1).abs()
            return {
                "fake": logits.sigmoid().mean(), "steady_norm": flat,
                "share": by_weights(saturating) / flat,
                # beyond these a slope is of few digits
                "off_share": torch.where(logits.abs() < 10, off, 0.0).amax(),
            }  # fmt: skip

        found: dict[str, Tensor] = _ask(pack, slopes)
        shares = [row["share"] for _, row in pack.recorded if "share" in row]
        return {**found, "mean_share": torch.stack([*shares, found["share"]]).log().mean(0).exp()}


@dataclass(frozen=True)
class Distance:
    """The energy distance of samples to examples of a split, 2 E|x - y| - E|x - x'| - E|y - y'| (Székely &
    Rizzo 2013): metric ``<split>_distance``."""

    split: str
    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        x = getattr(pack.splits, self.split)[0][:SCORED].flatten(1)

        def distance(net: Gan) -> Tensor:
            made = net.sample(SCORED)
            return 2 * _apart(made, x) - _apart(made, made) - _apart(x, x)

        return {f"{self.split}_distance": _ask(pack, distance)}


def _apart(x: Tensor, y: Tensor) -> Tensor:
    """The mean distance of rows."""
    gap = x.unsqueeze(1) - y  # (n, m, F)
    return (gap.square().sum(-1) + 1e-12).sqrt().mean()


@dataclass(frozen=True)
class Modes:
    """How many of the data's modes have a sample near them (``modes``), and what share of samples is near
    one (``quality``), as Srivastava et al. 2017 (VEEGAN) and Lin et al. 2018 (PacGAN) count.

    Args:
        centres: Coordinates of each mode.
        within: How near.
    """

    centres: tuple[tuple[float, ...], ...]
    within: float
    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        centres = torch.tensor(self.centres, device=pack.loss.device)  # (modes, F)

        def near(net: Gan) -> dict[str, Tensor]:
            gap = (net.sample(COUNTED).unsqueeze(1) - centres).norm(dim=-1)  # (n, modes)
            good = (gap < self.within).float()
            return {"modes": good.amax(0).sum(), "quality": good.amax(1).mean()}

        found: dict[str, Tensor] = _ask(pack, near)
        return found


@dataclass(frozen=True)
class Drawn:
    """Samples as a picture ``seen`` (`harness.parts.probes.pictures`): of two numbers their density, of
    more as many square images as fill it.

    Args:
        at: Updates after which there is one.
        side: Pixels of its side.
        reach: Half the side of the square that a density is over.
    """

    at: tuple[int, ...]
    side: int = 48
    reach: float = 1.0
    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        if pack.step not in self.at:
            return {}
        return packed("seen", _ask(pack, self._density if _points(pack) else self._images))

    def _images(self, net: Gan) -> Tensor:
        made = net.sample(COUNTED)
        side = math.isqrt(made.shape[1])
        many = self.side // (side + 1)  # with a line of white between them
        tiles = made[: many**2].reshape(many, many, side, side)
        left = self.side - many * (side + 1)
        sheet = F.pad(tiles, (0, 1, 0, 1)).transpose(1, 2).flatten(0, 1).flatten(1)
        return F.pad(sheet, (0, left, 0, left)).flatten()

    def _density(self, net: Gan) -> Tensor:
        made = net.sample(COUNTED)
        right, up = ((made / self.reach + 1) / 2 * self.side).floor().unbind(1)  # (n,) each
        ticks = torch.arange(self.side, device=made.device)
        columns = (right.unsqueeze(1) == ticks).float()  # (n, side)
        rows = (up.unsqueeze(1) == self.side - 1 - ticks).float()
        return (rows.T @ columns * (3 * self.side / COUNTED)).clamp(0, 1).flatten()


def _points(pack: Moment) -> bool:
    """Whether the data are of two numbers."""
    return pack.examples(1)[0].flatten(1).shape[1] == 2
