"""Update rules that ask for more than a gradient: the curvature along directions, the loss elsewhere.

All that is asked is of the batch of the update, and of all trials at once. Sums over parameters are
taken in float64: conjugate gradients lose their way otherwise.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from harness.parts.optimizers.base import Around, Numbers, Rule, State

DECAY = frozenset({"weight_decay"})  # clipping or an L1 norm would not fit the curvature
SUFFICIENT = 1e-4  # share of the decrease that the slope promises (Armijo 1966)
CURVED = 1e-10  # least curvature along a move that is remembered, as of `torch.optim.LBFGS`
GOOD, POOR = 0.75, 0.25  # of the predicted decrease (Martens 2010, section 4.1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """(K, P), (K, P) to (K, 1) float64."""
    return (a * b).sum(1, keepdim=True, dtype=torch.float64)


def _penalized(losses: Tensor, w: Tensor, c: Numbers) -> Tensor:
    """(K, 1) float64: losses (K,) with what weight decay adds."""
    losses = losses.double().unsqueeze(1)
    return losses + c["weight_decay"] / 2 * _dot(w, w) if "weight_decay" in c else losses


class GaussNewton(Rule):
    """w <- w + lr d, where d nearly solves (G + damping I) d = -g by conjugate gradients from zero
    (Martens 2010, without preconditioning): G = J' H J, of the Jacobian J of the model's outputs and
    the Hessian H of the loss of these, so that it needs an objective of outputs.

    A step that raises the batch's loss is not made. `damping` is multiplied by `adapt` where the loss
    falls by less than a quarter of what its quadratic model predicts, and divided by it where by more
    than three quarters (Levenberg 1944; Marquardt 1963); 1 leaves it as it is. `iterations` is how
    many steps the conjugate gradients make.
    """

    defaults = {"lr": 1.0, "damping": 1.0, "iterations": 10.0, "adapt": 1.5}
    common = DECAY
    asks = True
    rounds = "iterations"
    of_outputs = True
    kind: ClassVar[str] = "gauss_newton"

    def begin(self, w: Tensor, n: Numbers) -> State:
        return {"factor": w.new_ones(len(w), 1)}  # of the damping

    def search(
        self, w: Tensor, g: Tensor, s: State, c: Numbers, around: Around, rounds: int
    ) -> None:
        d, rest = self._solve(g, s["factor"] * c["damping"], c, around, rounds)
        rate = c["lr"].double()
        slope, left = _dot(g, d), _dot(rest, d)
        # q(lr d) = lr g'd + lr^2 d'(G + damping I)d / 2
        predicted = rate * slope - rate.square() * (slope + left) / 2
        new = w + c["lr"] * d
        fallen = _penalized(around.losses(new), new, c) - _penalized(around.loss, w, c)
        ratio = fallen / predicted
        worse = ~(fallen <= 0) & around.loss.isfinite().unsqueeze(1)
        s["factor"].mul_(torch.where((ratio < POOR) | worse, c["adapt"], 1.0))
        s["factor"].div_(torch.where((ratio > GOOD) & ~worse, c["adapt"], 1.0))
        w.copy_(torch.where(worse, w, new))

    def _solve(
        self, g: Tensor, damping: Tensor, c: Numbers, around: Around, rounds: int
    ) -> tuple[Tensor, Tensor]:
        """The direction (K, P), and what it leaves of -g (Hestenes & Stiefel 1952)."""
        shift = damping + c["weight_decay"] if "weight_decay" in c else damping
        d, rest, along = torch.zeros_like(g), -g, -g
        size = first = _dot(rest, rest)
        going = size > 0
        for number in range(rounds):
            bent = around.product(along, self.kind) + shift * along
            curve = _dot(along, bent)
            going = going & (number < c["iterations"]) & (curve > 0)
            far = torch.where(going, size / curve, 0.0).float()
            d, rest = d + far * along, rest - far * bent
            if number == 0:  # where the loss bends down at once, along the gradient
                d = torch.where(going | ~(size > 0), d, -g)
            new = torch.where(going, _dot(rest, rest), size)
            along = torch.where(going, rest + (new / size).float() * along, along)
            size, going = new, going & (new > 1e-30 * first)
        return d, rest


class NewtonCG(GaussNewton):
    """`GaussNewton` with the Hessian of the loss in the place of G, of any loss (Dembo & Steihaug
    1983; Martens 2010): conjugate gradients end where it bends down."""

    of_outputs = False
    kind = "hessian"


class LBFGS(Rule):
    """w <- w - lr H g, where H is the inverse Hessian as the latest moves and what they did to the
    gradient have it (Nocedal 1980; Liu & Nocedal 1989). One iteration an update, with both gradients
    of a move on the same batch (Schraudolph et al. 2007): `torch.optim.LBFGS` without a line search
    makes the same steps on a whole training set.

    `history` is how many moves are remembered. With `tries` a step is halved until the batch's loss
    falls enough (Armijo 1966), at most so many times less one; if it never does there is no step,
    and what was remembered is forgotten. Without a move to remember the first step is along the
    gradient, its length min(1, 1 / |g|_1) lr.
    """

    defaults = {"lr": 1.0, "history": 10.0, "tries": 0.0}
    common = DECAY
    asks = True
    rounds = "tries"

    def begin(self, w: Tensor, n: Numbers) -> State:
        most = max(1, int(n["history"].max()))
        moves = w.new_zeros(len(w), most, w.shape[1])
        return {"moves": moves, "bends": moves.clone(), "inverse": w.new_zeros(len(w), most)}

    def search(
        self, w: Tensor, g: Tensor, s: State, c: Numbers, around: Around, rounds: int
    ) -> None:
        d = self._direction(g, s, c)
        none = s["inverse"][:, -1:] == 0  # (K, 1)
        short = (1 / g.abs().sum(1, keepdim=True)).clamp(max=1)
        far = c["lr"] * torch.where(none, short, 1.0)
        far = self._far(w, d, far, _dot(g, d), c, around, rounds)
        new = w + far * d
        after = around.gradient(new)
        if "weight_decay" in c:
            after = after + c["weight_decay"] * new
        self._remember(s, new - w, after - g, far == 0)
        w.copy_(new)

    @staticmethod
    def _direction(g: Tensor, s: State, c: Numbers) -> Tensor:
        """-H g, by two loops over the moves (Nocedal & Wright 2006, algorithm 7.4)."""
        moves, bends = s["moves"].unbind(1), s["bends"].unbind(1)  # (K, P) each, the latest last
        ages = range(len(moves) - 1, -1, -1)
        known = [
            torch.where(age < c["history"], inverse.unsqueeze(1), 0.0)
            for age, inverse in zip(ages, s["inverse"].unbind(1), strict=True)
        ]
        d, shares = -g, []
        for move, bend, inverse in zip(moves[::-1], bends[::-1], known[::-1], strict=True):
            shares.append(inverse * _dot(move, d).float())
            d = d - shares[-1] * bend
        size = known[-1] * _dot(bends[-1], bends[-1]).float()
        d = d * torch.where(known[-1] > 0, 1 / size, 1.0)
        for move, bend, inverse, share in zip(moves, bends, known, shares[::-1], strict=True):
            d = d + move * (share - inverse * _dot(bend, d).float())
        return d

    @staticmethod
    def _far(
        w: Tensor, d: Tensor, far: Tensor, slope: Tensor, c: Numbers, around: Around, rounds: int
    ) -> Tensor:
        """(K, 1): how far along d, from `far` on by halves."""
        done, before = c["tries"] == 0, _penalized(around.loss, w, c)
        for number in range(rounds):
            new = w + far * d
            enough = _penalized(around.losses(new), new, c) <= before + SUFFICIENT * far * slope
            done = done | (enough & (number < c["tries"]))
            far = torch.where(done, far, far / 2)
            if w.device.type == "cpu" and bool(done.all()):
                break
        # what is no number any more goes on, so that it shows
        return torch.where(done | ~before.isfinite(), far, 0.0)

    @staticmethod
    def _remember(s: State, move: Tensor, bend: Tensor, stuck: Tensor) -> None:
        curve = _dot(move, bend)
        kept = curve > CURVED  # (K, 1)
        latest = {
            "moves": move.unsqueeze(1), "bends": bend.unsqueeze(1), "inverse": (1 / curve).float(),
        }  # fmt: skip
        for name, one in latest.items():
            further = torch.cat([s[name][:, 1:], one], 1)
            s[name].copy_(torch.where(kept.view(-1, *(1,) * (further.dim() - 1)), further, s[name]))
        s["inverse"].mul_(~stuck)
