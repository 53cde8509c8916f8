"""Optimizers as batched update rules. Layer 2.

A rule updates K trials at once: all parameters of a trial lie in one row of a (K, P) tensor, and
every hyperparameter is a number for each trial. Each rule holds to its `torch.optim` namesake step
by step (see tests/test_optimizers.py); formulas and defaults are those of the papers cited, and the
lectures' are the same unless a docstring says otherwise (Overview, "Optimizer").

An `Optimizer` names a rule, its numbers and a schedule; numbers and schedules may differ between
trials of a pack, the rule may not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from harness.schedules import Constant, Schedule

State = dict[str, Tensor]
Numbers = Mapping[str, Tensor]


class Flat:
    """Named tensors (K, ...) of K trials side by side in one (K, P) tensor.

    Args:
        tensors: name to (K, ...) tensor; copied. `views` are windows into the one tensor `all`.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.shapes = {name: t.shape[1:] for name, t in tensors.items()}
        parts = [t.detach().flatten(1) for t in tensors.values()]  # (K, ...) -> (K, p)
        self.all = torch.cat(parts, 1) if parts else torch.zeros(0, 0)
        self.views = self.cut(self.all)

    def cut(self, flat: Tensor) -> dict[str, Tensor]:
        """(K, P) as named windows (K, ...)."""
        sizes = [math.prod(shape) for shape in self.shapes.values()]
        return {
            name: part.view(len(flat), *shape)  # (K, p) -> (K, ...)
            for (name, shape), part in zip(
                self.shapes.items(), torch.split(flat, sizes, 1), strict=True
            )
        }

    def gather(self, tensors: Mapping[str, Tensor], out: Tensor) -> None:
        """Copy named tensors (K, ...) into a (K, P) tensor."""
        torch.cat([tensors[name].flatten(1) for name in self.shapes], 1, out=out)

    def keep(self, lanes: Tensor) -> None:
        """Keep only these trials, in this order."""
        self.all = self.all[lanes].contiguous()
        self.views = self.cut(self.all)


class Rule:
    """One update rule. Subclasses say which numbers they take and how a step is made.

    `scalars` turns the numbers into what `update` needs, in float64 and for many steps at once;
    `update` gets them as (K, 1) float32 and works in place. `free` is scratch memory shaped like w.
    """

    defaults: ClassVar[Mapping[str, float]] = {}
    slots: tuple[str, ...] = ()
    coupled = True  # whether weight decay is added to the gradient

    def scalars(self, n: Numbers, t: Tensor, carry: State) -> dict[str, Tensor]:
        """Each (T, K), (T, 1) or (K,) float64, from the numbers n, of which the rate is (T, K) and
        the rest (K,), and the steps t (T, 1), counted from 1.

        `carry` starts empty and keeps what a rule needs from one stretch of steps to the next.
        """
        return dict(n)

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers, free: Tensor) -> None:
        """Move w (K, P) along g in place; s holds the slots, c what `scalars` returned."""
        raise NotImplementedError

    def rate(self, s: State, c: Numbers) -> Tensor:
        """What multiplies the (averaged) gradient in a step, (K, P) or (K, 1)."""
        return c["lr"]


class SGD(Rule):
    """w <- w - lr g (Overview, "Mini-Batch Gradient Descent Algorithm")."""

    defaults = {"lr": 0.01}

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers, free: Tensor) -> None:
        w.sub_(torch.mul(g, c["lr"], out=free))


class Momentum(Rule):
    """v <- m v + g; w <- w - lr v (Polyak 1964; Overview, "Momentum Optimizer")."""

    defaults = {"lr": 0.01, "momentum": 0.9}
    slots = ("v",)

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers, free: Tensor) -> None:
        s["v"].mul_(c["momentum"]).add_(g)
        w.sub_(torch.mul(s["v"], c["lr"], out=free))


class Nesterov(Rule):
    """v <- m v + g; w <- w - lr (g + m v) (Nesterov 1983, in the form of Sutskever et al. 2013)."""

    defaults = {"lr": 0.01, "momentum": 0.9}
    slots = ("v",)

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers, free: Tensor) -> None:
        s["v"].mul_(c["momentum"]).add_(g)
        w.sub_(torch.mul(s["v"], c["momentum"], out=free).add_(g).mul_(c["lr"]))


class AdaGrad(Rule):
    """r <- r + g^2; w <- w - lr g / (sqrt r + eps) (Duchi et al. 2011; Overview, "AdaGrad")."""

    defaults = {"lr": 0.01, "eps": 1e-10}
    slots = ("r",)

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers, free: Tensor) -> None:
        s["r"].addcmul_(g, g)
        torch.sqrt(s["r"], out=free).add_(c["eps"])
        w.sub_(torch.div(g, free, out=free).mul_(c["lr"]))

    def rate(self, s: State, c: Numbers) -> Tensor:
        return c["lr"] / (s["r"].sqrt() + c["eps"])


class AdaDelta(Rule):
    """r <- p r + (1-p) g^2; d = g sqrt(a + eps)/sqrt(r + eps); a <- p a + (1-p) d^2;
    w <- w - lr d (Zeiler 2012)."""

    defaults = {"lr": 1.0, "rho": 0.9, "eps": 1e-6}
    slots = ("r", "a")

    def scalars(self, n: Numbers, t: Tensor, carry: State) -> dict[str, Tensor]:
        return {**n, "rest": 1 - n["rho"]}

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers, free: Tensor) -> None:
        s["r"].mul_(c["rho"]).add_(torch.mul(g, g, out=free).mul_(c["rest"]))
        d = (s["a"] + c["eps"]).sqrt_().mul_(g)
        d.div_(torch.add(s["r"], c["eps"], out=free).sqrt_())
        s["a"].mul_(c["rho"]).add_(torch.mul(d, d, out=free).mul_(c["rest"]))
        w.sub_(d.mul_(c["lr"]))

    def rate(self, s: State, c: Numbers) -> Tensor:
        return c["lr"] * (s["a"] + c["eps"]).sqrt() / (s["r"] + c["eps"]).sqrt()


class RMSProp(Rule):
    """r <- b r + (1-b) g^2; w <- w - lr g / (sqrt r + eps) (Hinton 2012; Overview, "RMSProp").

    Departure: b defaults to Hinton's 0.9, not `torch.optim`'s 0.99.
    """

    defaults = {"lr": 0.001, "beta": 0.9, "eps": 1e-8}
    slots = ("r",)

    def scalars(self, n: Numbers, t: Tensor, carry: State) -> dict[str, Tensor]:
        return {**n, "rest": 1 - n["beta"]}

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers, free: Tensor) -> None:
        s["r"].mul_(c["beta"]).add_(torch.mul(g, g, out=free).mul_(c["rest"]))
        torch.sqrt(s["r"], out=free).add_(c["eps"])
        w.sub_(torch.div(g, free, out=free).mul_(c["lr"]))

    def rate(self, s: State, c: Numbers) -> Tensor:
        return c["lr"] / (s["r"].sqrt() + c["eps"])


class Adam(Rule):
    """m, v: moving averages of g and g^2; w <- w - lr mhat / (sqrt vhat + eps), hats dividing by
    1 - beta^t (Kingma & Ba 2015, algorithm 1; Overview and UIUC, "Adam").

    `corrected` is 1 with the bias correction and 0 without.
    """

    defaults = {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "corrected": 1.0}
    slots: tuple[str, ...] = ("m", "v")

    def scalars(self, n: Numbers, t: Tensor, carry: State) -> dict[str, Tensor]:
        first = 1 - n["corrected"] * n["beta1"] ** t
        second = (1 - n["corrected"] * n["beta2"] ** t).sqrt()
        # lr mhat / (sqrt vhat + eps) = (lr second / first) m / (sqrt v + eps second)
        return {
            "beta1": n["beta1"], "rest1": 1 - n["beta1"], "beta2": n["beta2"],
            "rest2": 1 - n["beta2"], "eps": n["eps"] * second, "step": n["lr"] * second / first,
        }  # fmt: skip

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers, free: Tensor) -> None:
        s["m"].mul_(c["beta1"]).add_(torch.mul(g, c["rest1"], out=free))
        s["v"].mul_(c["beta2"]).add_(torch.mul(g, g, out=free).mul_(c["rest2"]))
        torch.sqrt(s["v"], out=free).add_(c["eps"])
        w.sub_(torch.div(s["m"], free, out=free).mul_(c["step"]))

    def rate(self, s: State, c: Numbers) -> Tensor:
        return c["step"] / (s["v"].sqrt() + c["eps"])


class AdamW(Adam):
    """Adam with weight decay apart from the gradient, w <- w - lr wd w, 0.01 by default
    (Loshchilov & Hutter 2019)."""

    defaults = {**Adam.defaults, "weight_decay": 0.01}
    coupled = False

    def scalars(self, n: Numbers, t: Tensor, carry: State) -> dict[str, Tensor]:
        return {**super().scalars(n, t, carry), "keep": 1 - n["lr"] * n["weight_decay"]}

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers, free: Tensor) -> None:
        w.mul_(c["keep"])
        super().update(w, g, s, c, free)


class AdaMax(Rule):
    """m as in Adam; u <- max(beta2 u, |g| + eps); w <- w - lr/(1 - beta1^t) m/u (Kingma & Ba
    2015, algorithm 2)."""

    defaults = {"lr": 0.002, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    slots = ("m", "u")

    def scalars(self, n: Numbers, t: Tensor, carry: State) -> dict[str, Tensor]:
        return {**n, "rest1": 1 - n["beta1"], "step": n["lr"] / (1 - n["beta1"] ** t)}

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers, free: Tensor) -> None:
        s["m"].mul_(c["beta1"]).add_(torch.mul(g, c["rest1"], out=free))
        torch.abs(g, out=free).add_(c["eps"])
        torch.maximum(s["u"].mul_(c["beta2"]), free, out=s["u"])
        w.sub_(torch.div(s["m"], s["u"], out=free).mul_(c["step"]))

    def rate(self, s: State, c: Numbers) -> Tensor:
        return c["step"] / s["u"]


class Nadam(Rule):
    """Adam with Nesterov's look-ahead and a warmed-up momentum, m_t = beta1 (1 - 0.5 * 0.96^(t
    psi)) (Dozat 2016)."""

    defaults = {"lr": 0.002, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "psi": 0.004}
    slots = ("m", "v")

    def scalars(self, n: Numbers, t: Tensor, carry: State) -> dict[str, Tensor]:
        def mu(t: Tensor) -> Tensor:
            return n["beta1"] * (1 - 0.5 * 0.96 ** (t * n["psi"]))

        product = mu(t).cumprod(0) * carry.get("product", torch.ones_like(n["beta1"]))  # (T, K)
        carry["product"] = product[-1]
        return {
            "beta1": n["beta1"], "rest1": 1 - n["beta1"], "beta2": n["beta2"],
            "rest2": 1 - n["beta2"], "eps": n["eps"], "root": (1 - n["beta2"] ** t).rsqrt(),
            "now": n["lr"] * (1 - mu(t)) / (1 - product),
            "next": n["lr"] * mu(t + 1) / (1 - product * mu(t + 1)),
            "lr": n["lr"],
        }  # fmt: skip

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers, free: Tensor) -> None:
        s["m"].mul_(c["beta1"]).add_(torch.mul(g, c["rest1"], out=free))
        s["v"].mul_(c["beta2"]).add_(torch.mul(g, g, out=free).mul_(c["rest2"]))
        torch.sqrt(s["v"], out=free).mul_(c["root"]).add_(c["eps"])
        w.sub_((g * c["now"]).add_(s["m"] * c["next"]).div_(free))

    def rate(self, s: State, c: Numbers) -> Tensor:
        return c["lr"] / (s["v"].sqrt() * c["root"] + c["eps"])


class Lion(Rule):
    """w <- w - lr (sign(b1 m + (1-b1) g) + wd w); m <- b2 m + (1-b2) g (Chen et al. 2023,
    algorithm 2). Its rate is that of a sign, so `EffectiveRate` says nothing of it."""

    defaults = {"lr": 1e-4, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0}
    slots = ("m",)
    coupled = False

    def scalars(self, n: Numbers, t: Tensor, carry: State) -> dict[str, Tensor]:
        return {
            **n, "rest1": 1 - n["beta1"], "rest2": 1 - n["beta2"],
            "keep": 1 - n["lr"] * n["weight_decay"],
        }  # fmt: skip

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers, free: Tensor) -> None:
        torch.mul(g, c["rest1"], out=free).add_(s["m"] * c["beta1"]).sign_().mul_(c["lr"])
        w.mul_(c["keep"]).sub_(free)
        s["m"].mul_(c["beta2"]).add_(torch.mul(g, c["rest2"], out=free))


class Muon(AdamW):
    """Momentum made orthogonal by five Newton-Schulz iterations, for weight matrices; AdamW at the
    same rate for what is no matrix (Jordan et al. 2024; `torch.optim.Muon`).

    Convolution kernels count as matrices (out, in x kernel). The iterations run in bfloat16, as
    published. The update of an (a, b) matrix is scaled by sqrt(max(1, a / b)).
    """

    defaults = {
        **Adam.defaults, "lr": 1e-3, "momentum": 0.95, "beta2": 0.95, "weight_decay": 0.1,
    }  # fmt: skip
    slots = ("m", "v", "b")
    coefficients = (3.4445, -4.7750, 2.0315)

    def scalars(self, n: Numbers, t: Tensor, carry: State) -> dict[str, Tensor]:
        return {
            **super().scalars(n, t, carry), "lr": n["lr"], "momentum": n["momentum"],
            "rest": 1 - n["momentum"],
        }  # fmt: skip

    def matrices(self, w: Tensor, g: Tensor, b: Tensor, c: Numbers) -> None:
        """The step of matrices w (K, a, ...), with c as (K, 1, 1)."""
        b, g = b.flatten(2), g.flatten(2)  # (K, a, ...) -> (K, a, b)
        update = g.lerp(b, c["momentum"])  # b has taken in g already
        scale = math.sqrt(max(1.0, b.shape[1] / b.shape[2]))
        step = self.orthogonal(update) * (c["lr"] * scale)
        w.mul_(c["keep"].view(-1, *(1,) * (w.dim() - 1))).sub_(step.view_as(w))

    def orthogonal(self, g: Tensor) -> Tensor:
        """(K, a, b) to the nearest semi-orthogonal matrices, nearly."""
        first, second, third = self.coefficients
        tall = g.shape[1] > g.shape[2]
        x = g.bfloat16()
        x = x.mT if tall else x
        x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
        for _ in range(5):
            gram = torch.bmm(x, x.mT)
            gram = torch.baddbmm(gram, gram, gram, beta=second, alpha=third)
            x = torch.baddbmm(x, gram, x, beta=first)
        return (x.mT if tall else x).to(g.dtype)


RULES: dict[str, type[Rule]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "adagrad": AdaGrad,
    "adadelta": AdaDelta,
    "rmsprop": RMSProp,
    "adam": Adam,
    "adamw": AdamW,
    "adamax": AdaMax,
    "nadam": Nadam,
    "lion": Lion,
    "muon": Muon,
}

# What every rule takes beside its own numbers, with the value that changes nothing.
COMMON: Mapping[str, float] = {
    "weight_decay": 0.0,  # adds wd w to the gradient (L2), unless the rule decays apart from it
    "l1": 0.0,  # adds l1 sign(w) to the gradient
    "clip": math.inf,  # the gradient's norm, over all parameters, is cut to this
    "max_norm": math.inf,  # each unit's incoming weights are scaled back to this norm
}


CONSTANT = Constant()


@dataclass(frozen=True)
class Optimizer:
    """A rule by name, its numbers and a schedule: ``Optimizer("adam", lr=1e-3, clip=1.0)``.

    Args:
        rule: A key of `RULES`.
        schedule: What multiplies the rate through training (`harness.schedules`).
        numbers: The rule's own (see its `defaults`), and any of `COMMON`.

    Raises:
        ValueError: an unknown rule, or a number that the rule does not take.
    """

    rule: str
    schedule: Schedule = CONSTANT
    numbers: Mapping[str, float] = field(default_factory=dict)

    def __init__(self, rule: str, schedule: Schedule = CONSTANT, **numbers: float) -> None:
        if rule not in RULES:
            raise ValueError(f"optimizer is {rule!r}; allowed: {', '.join(RULES)}")
        defaults = {**COMMON, **RULES[rule].defaults}
        for name in numbers:
            if name not in defaults:
                raise ValueError(f"{rule} takes no {name!r}; allowed: {', '.join(defaults)}")
        full = {**defaults, **{name: float(value) for name, value in numbers.items()}}
        object.__setattr__(self, "rule", rule)
        object.__setattr__(self, "schedule", schedule)
        object.__setattr__(self, "numbers", MappingProxyType(full))


STRETCH = 256  # steps whose scalars are worked out at once


class Stepper:
    """One rule applied to K trials: holds the slots, looks the numbers up, counts the steps.

    Args:
        optimizers: K optimizers of the same rule.
        params: The parameters of K trials; updated in place by `step`.
        updates: Steps in all, which schedules refer to.
        mask: (K, P) of ones, and zeros where a parameter is padding; None without padding.
    """

    def __init__(
        self, optimizers: Sequence[Optimizer], params: Flat, updates: int,
        mask: Tensor | None = None,
    ) -> None:  # fmt: skip
        rules = {o.rule for o in optimizers}
        if len(rules) != 1:
            raise ValueError(f"a pack has one rule; received {', '.join(sorted(rules))}")
        self.rule = RULES[rules.pop()]()
        self.optimizers = list(optimizers)
        self.params, self.updates, self.mask = params, updates, mask
        self.grads = torch.zeros_like(params.all)
        self._free = torch.empty_like(params.all)
        self.slots = {name: torch.zeros_like(params.all) for name in self.rule.slots}
        self.carry: State = {}
        self.t = 0
        self._numbers = {
            # float64: 1 - beta^t loses three digits in float32 when beta is near 1
            name: torch.tensor([o.numbers[name] for o in optimizers], dtype=torch.float64)
            for name in {**COMMON, **self.rule.defaults}
        }
        # Extras that no trial uses are not computed; for a trial beside them they change nothing.
        used = {n for n, v in COMMON.items() if bool((self._numbers[n] != v).any())}
        self.extras = used if self.rule.coupled else used - {"weight_decay"}
        self._start, self._table = 0, torch.zeros(0)
        self._names: list[str] = []
        self._now: Tensor | None = None  # (S, K, 1), the row of the table that holds now
        self.scalars: dict[str, Tensor] = {}  # name to (K, 1), windows into it

    def _hold(self, now: Tensor) -> None:
        self._now = now
        self.scalars = dict(zip(self._names, now.unbind(0), strict=True))

    def _work_out(self) -> None:
        """The scalars of the next stretch of steps, (T, S, K, 1), in one go."""
        self._start = self.t
        t = np.arange(self.t, min(self.t + STRETCH, max(self.updates, self.t + 1)))
        factors = {o.schedule: o.schedule.factor(t, self.updates) for o in self.optimizers}
        factor = np.stack([factors[o.schedule] for o in self.optimizers], 1)  # (T, K)
        numbers = {**self._numbers, "lr": self._numbers["lr"] * torch.from_numpy(factor)}
        steps = torch.from_numpy(t + 1.0).unsqueeze(1)  # (T, 1)
        own = {name: numbers[name] for name in self.rule.defaults}
        found = self.rule.scalars(own, steps, self.carry)
        found |= {name: numbers[name] for name in sorted(self.extras)}
        self._names = list(found)
        shape = (len(t), len(self.optimizers))
        rows = [found[name].expand(shape) for name in self._names]
        table = torch.stack(rows, 1).float().unsqueeze(-1)  # (T, S, K, 1)
        self._table = table.to(self.params.all.device)
        if self._now is None:
            self._hold(self._table[0].clone())

    def advance(self) -> None:
        """Look up the numbers of the next step: apart from `apply`, which a CUDA graph repeats."""
        if self.t >= self._start + len(self._table):
            self._work_out()
        assert self._now is not None
        self._now.copy_(self._table[self.t - self._start])
        self.t += 1

    def take(self, grads: Mapping[str, Tensor]) -> None:
        """Copy the gradients, name to (K, ...), to `grads`, where they stay until the next."""
        self.params.gather(grads, self.grads)
        if self.mask is not None:
            self.grads.mul_(self.mask)

    def apply(self) -> None:
        """Move the parameters along `grads`."""
        w, g, c = self.params.all, self.grads, self.scalars
        if self.extras:
            g = self._regularized(w, g, c)  # and `grads` stays the gradient, which probes read
        if isinstance(self.rule, Muon):
            self._muon(self.rule, w, g)
        else:
            self.rule.update(w, g, self.slots, c, self._free)
        if "max_norm" in self.extras:
            self._bound(c["max_norm"])

    def step(self, grads: Mapping[str, Tensor]) -> None:
        """One update of every trial."""
        self.take(grads)
        self.advance()
        self.apply()

    def _regularized(self, w: Tensor, g: Tensor, c: Numbers) -> Tensor:
        if "clip" in self.extras:
            norm = (g * g).sum(1, keepdim=True).sqrt()  # (K, 1)
            g = g * (c["clip"] / (norm + 1e-6)).clamp(max=1)
        if "weight_decay" in self.extras:
            g = g + w * c["weight_decay"]
        if "l1" in self.extras:
            g = g + w.sign() * c["l1"]
        return g

    def _bound(self, most: Tensor) -> None:
        for w in self.params.views.values():
            if w.dim() > 2:
                norm = (w * w).flatten(2).sum(2).sqrt()  # (K, out, ...) -> (K, out)
                factor = (most / (norm + 1e-12)).clamp(max=1)
                w.mul_(factor.view(*factor.shape, *(1,) * (w.dim() - 2)))

    def _muon(self, rule: Muon, w: Tensor, g: Tensor) -> None:
        s, c = self.slots, self.scalars
        s["b"].lerp_(g, c["rest"])
        matrix = {name: shape for name, shape in self.params.shapes.items() if len(shape) > 1}
        pieces = {key: self.params.cut(t) for key, t in {"w": w, "g": g, **s}.items()}
        wide = {name: number.unsqueeze(-1) for name, number in c.items()}  # (K, 1) -> (K, 1, 1)
        for name in self.params.shapes:
            piece = {key: cut[name] for key, cut in pieces.items()}
            if name in matrix:
                rule.matrices(piece["w"], piece["g"], piece["b"], wide)
            else:
                part = {
                    key: p.flatten(1) if p.dim() > 1 else p.unsqueeze(1) for key, p in piece.items()
                }
                rule.update(part["w"], part["g"], part, c, torch.empty_like(part["w"]))

    def keep(self, lanes: Tensor) -> None:
        """Go on with only these trials; `params` keeps the same ones by itself."""
        self.optimizers = [self.optimizers[i] for i in lanes.tolist()]
        self.slots = {name: slot[lanes].contiguous() for name, slot in self.slots.items()}
        self.grads = self.grads[lanes].contiguous()
        self.mask = None if self.mask is None else self.mask[lanes].contiguous()
        self._free = torch.empty_like(self.grads)
        here = lanes.cpu()
        self.carry = {name: value[here] for name, value in self.carry.items()}
        self._numbers = {name: value[here] for name, value in self._numbers.items()}
        self._table = self._table[:, :, lanes].contiguous()
        self._hold(self._table[self.t - 1 - self._start].clone())

    def mean_rate(self) -> Tensor:
        """(K,) what multiplied the gradient in the latest step, averaged with weights |g|.

        The weights leave out parameters that have no gradient (a pixel that is always blank),
        whose rate is a division by epsilon and moves nothing.
        """
        size = self.grads.abs()
        return (self.rule.rate(self.slots, self.scalars) * size).sum(1) / size.sum(1)
