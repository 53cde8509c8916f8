"""Optimizers as batched update rules. Layer 2.

A rule updates K trials at once: parameters and gradients are (K, ...), and every hyperparameter is
a number for each trial. Each rule holds to its `torch.optim` namesake step by step (see
tests/test_optimizers.py); formulas and defaults are those of the papers cited, and the lectures'
are the same unless a docstring says otherwise (Overview, "Optimizer").

An `Optimizer` names a rule and its numbers; the numbers may differ between trials of a pack, the
rule may not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

State = dict[str, Tensor]
Numbers = Mapping[str, Tensor]


class Rule:
    """One update rule. Subclasses say which numbers they take and how a step is made.

    `scalars` runs once a step in float64 and returns what `update` needs, (K,) each; `update` gets
    them reshaped to broadcast over a parameter and works in place.
    """

    defaults: ClassVar[Mapping[str, float]] = {}
    slots: ClassVar[tuple[str, ...]] = ()

    def scalars(self, n: Numbers, t: int, carry: State) -> dict[str, Tensor]:
        """(K,) float64 each, from the numbers n (K,) float64 and the step t, counted from 1.

        `carry` starts empty and keeps what a rule needs from one step to the next.
        """
        return dict(n)

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers) -> None:
        """Move w (K, ...) along g in place; s holds the slots, c what `scalars` returned."""
        raise NotImplementedError

    def rate(self, s: State, c: Numbers) -> Tensor:
        """What multiplies the (averaged) gradient in a step, shape of s or (K, 1...)."""
        return c["lr"]


class SGD(Rule):
    """w <- w - lr g (Overview, "Mini-Batch Gradient Descent Algorithm")."""

    defaults = {"lr": 0.01}

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers) -> None:
        w.sub_(g * c["lr"])


class Momentum(Rule):
    """v <- m v + g; w <- w - lr v (Polyak 1964; Overview, "Momentum Optimizer")."""

    defaults = {"lr": 0.01, "momentum": 0.9}
    slots = ("v",)

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers) -> None:
        s["v"].mul_(c["momentum"]).add_(g)
        w.sub_(s["v"] * c["lr"])


class Nesterov(Rule):
    """v <- m v + g; w <- w - lr (g + m v) (Nesterov 1983, in the form of Sutskever et al. 2013)."""

    defaults = {"lr": 0.01, "momentum": 0.9}
    slots = ("v",)

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers) -> None:
        s["v"].mul_(c["momentum"]).add_(g)
        w.sub_((s["v"] * c["momentum"]).add_(g).mul_(c["lr"]))


class AdaGrad(Rule):
    """r <- r + g^2; w <- w - lr g / (sqrt r + eps) (Duchi et al. 2011; Overview, "AdaGrad")."""

    defaults = {"lr": 0.01, "eps": 1e-10}
    slots = ("r",)

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers) -> None:
        s["r"].addcmul_(g, g)
        w.sub_(g.mul(c["lr"]).div_(s["r"].sqrt().add_(c["eps"])))

    def rate(self, s: State, c: Numbers) -> Tensor:
        return c["lr"] / (s["r"].sqrt() + c["eps"])


class AdaDelta(Rule):
    """r <- p r + (1-p) g^2; d = g sqrt(a + eps)/sqrt(r + eps); a <- p a + (1-p) d^2;
    w <- w - lr d (Zeiler 2012)."""

    defaults = {"lr": 1.0, "rho": 0.9, "eps": 1e-6}
    slots = ("r", "a")

    def scalars(self, n: Numbers, t: int, carry: State) -> dict[str, Tensor]:
        return {**n, "rest": 1 - n["rho"]}

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers) -> None:
        s["r"].mul_(c["rho"]).add_((g * g).mul_(c["rest"]))
        d = (s["a"] + c["eps"]).sqrt_().div_((s["r"] + c["eps"]).sqrt_()).mul_(g)
        s["a"].mul_(c["rho"]).add_((d * d).mul_(c["rest"]))
        w.sub_(d.mul_(c["lr"]))

    def rate(self, s: State, c: Numbers) -> Tensor:
        return c["lr"] * (s["a"] + c["eps"]).sqrt() / (s["r"] + c["eps"]).sqrt()


class RMSProp(Rule):
    """r <- b r + (1-b) g^2; w <- w - lr g / (sqrt r + eps) (Hinton 2012; Overview, "RMSProp").

    Departure: b defaults to Hinton's 0.9, not `torch.optim`'s 0.99.
    """

    defaults = {"lr": 0.001, "beta": 0.9, "eps": 1e-8}
    slots = ("r",)

    def scalars(self, n: Numbers, t: int, carry: State) -> dict[str, Tensor]:
        return {**n, "rest": 1 - n["beta"]}

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers) -> None:
        s["r"].mul_(c["beta"]).add_((g * g).mul_(c["rest"]))
        w.sub_(g.mul(c["lr"]).div_(s["r"].sqrt().add_(c["eps"])))

    def rate(self, s: State, c: Numbers) -> Tensor:
        return c["lr"] / (s["r"].sqrt() + c["eps"])


class Adam(Rule):
    """m, v: moving averages of g and g^2; w <- w - lr mhat / (sqrt vhat + eps), hats dividing by
    1 - beta^t (Kingma & Ba 2015, algorithm 1; Overview and UIUC, "Adam").

    `corrected` is 1 with the bias correction and 0 without; `weight_decay` is decoupled
    (Loshchilov & Hutter 2019), so Adam with it is AdamW.
    """

    defaults = {
        "lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "corrected": 1.0,
        "weight_decay": 0.0,
    }  # fmt: skip
    slots = ("m", "v")

    def scalars(self, n: Numbers, t: int, carry: State) -> dict[str, Tensor]:
        first = 1 - n["corrected"] * n["beta1"] ** t
        second = 1 - n["corrected"] * n["beta2"] ** t
        return {
            "beta1": n["beta1"], "rest1": 1 - n["beta1"], "beta2": n["beta2"],
            "rest2": 1 - n["beta2"], "eps": n["eps"], "step": n["lr"] / first,
            "root": second.rsqrt(), "keep": 1 - n["lr"] * n["weight_decay"],
        }  # fmt: skip

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers) -> None:
        s["m"].mul_(c["beta1"]).add_(g * c["rest1"])
        s["v"].mul_(c["beta2"]).add_((g * g).mul_(c["rest2"]))
        scale = s["v"].sqrt().mul_(c["root"]).add_(c["eps"])
        w.mul_(c["keep"]).sub_(s["m"].mul(c["step"]).div_(scale))

    def rate(self, s: State, c: Numbers) -> Tensor:
        return c["step"] / (s["v"].sqrt() * c["root"] + c["eps"])


class AdamW(Adam):
    """Adam with decoupled weight decay of 0.01 by default (Loshchilov & Hutter 2019)."""

    defaults = {**Adam.defaults, "weight_decay": 0.01}


class AdaMax(Rule):
    """m as in Adam; u <- max(beta2 u, |g| + eps); w <- w - lr/(1 - beta1^t) m/u (Kingma & Ba
    2015, algorithm 2)."""

    defaults = {"lr": 0.002, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    slots = ("m", "u")

    def scalars(self, n: Numbers, t: int, carry: State) -> dict[str, Tensor]:
        return {**n, "rest1": 1 - n["beta1"], "step": n["lr"] / (1 - n["beta1"] ** t)}

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers) -> None:
        s["m"].mul_(c["beta1"]).add_(g * c["rest1"])
        torch.maximum(s["u"].mul_(c["beta2"]), g.abs().add_(c["eps"]), out=s["u"])
        w.sub_(s["m"].mul(c["step"]).div_(s["u"]))

    def rate(self, s: State, c: Numbers) -> Tensor:
        return c["step"] / s["u"]


class Nadam(Rule):
    """Adam with Nesterov's look-ahead and a warmed-up momentum, m_t = beta1 (1 - 0.5 * 0.96^(t
    psi)) (Dozat 2016)."""

    defaults = {"lr": 0.002, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "psi": 0.004}
    slots = ("m", "v")

    def scalars(self, n: Numbers, t: int, carry: State) -> dict[str, Tensor]:
        def mu(step: int) -> Tensor:
            return n["beta1"] * (1 - 0.5 * 0.96 ** (step * n["psi"]))

        product = carry["product"] = carry.get("product", torch.ones_like(n["lr"])) * mu(t)
        return {
            "beta1": n["beta1"], "rest1": 1 - n["beta1"], "beta2": n["beta2"],
            "rest2": 1 - n["beta2"], "eps": n["eps"], "root": (1 - n["beta2"] ** t).rsqrt(),
            "now": n["lr"] * (1 - mu(t)) / (1 - product),
            "next": n["lr"] * mu(t + 1) / (1 - product * mu(t + 1)),
            "lr": n["lr"],
        }  # fmt: skip

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers) -> None:
        s["m"].mul_(c["beta1"]).add_(g * c["rest1"])
        s["v"].mul_(c["beta2"]).add_((g * g).mul_(c["rest2"]))
        scale = s["v"].sqrt().mul_(c["root"]).add_(c["eps"])
        w.sub_((g * c["now"]).add_(s["m"] * c["next"]).div_(scale))

    def rate(self, s: State, c: Numbers) -> Tensor:
        return c["lr"] / (s["v"].sqrt() * c["root"] + c["eps"])


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
}


@dataclass(frozen=True)
class Optimizer:
    """A rule by name and its numbers: ``Optimizer("adam", lr=1e-3)``.

    Raises:
        ValueError: an unknown rule, or a number that the rule does not take.
    """

    rule: str
    numbers: Mapping[str, float] = field(default_factory=dict)

    def __init__(self, rule: str, **numbers: float) -> None:
        if rule not in RULES:
            raise ValueError(f"optimizer is {rule!r}; allowed: {', '.join(RULES)}")
        defaults = RULES[rule].defaults
        for name in numbers:
            if name not in defaults:
                raise ValueError(f"{rule} takes no {name!r}; allowed: {', '.join(defaults)}")
        full = {**defaults, **{name: float(value) for name, value in numbers.items()}}
        object.__setattr__(self, "rule", rule)
        object.__setattr__(self, "numbers", MappingProxyType(full))


class Stepper:
    """One rule applied to K trials: holds the slots, broadcasts the numbers, counts the steps.

    Args:
        optimizers: K optimizers of the same rule.
        params: parameter name to (K, ...) tensor; updated in place by `step`.
    """

    def __init__(self, optimizers: list[Optimizer], params: dict[str, Tensor]) -> None:
        rules = {o.rule for o in optimizers}
        if len(rules) != 1:
            raise ValueError(f"a pack has one rule; received {', '.join(sorted(rules))}")
        self.rule = RULES[rules.pop()]()
        self.params = params
        device = next(iter(params.values())).device
        # float64: 1 - beta^t loses three digits in float32 when beta is near 1
        self.numbers = {
            name: torch.tensor([o.numbers[name] for o in optimizers], dtype=torch.float64).to(
                device
            )
            for name in self.rule.defaults
        }
        self.slots = {
            name: {slot: torch.zeros_like(w) for slot in self.rule.slots}
            for name, w in params.items()
        }
        self.t = 0
        self.carry: State = {}
        self._scalars: dict[str, Tensor] = {}

    def _for(self, w: Tensor) -> dict[str, Tensor]:
        shape = (-1,) + (1,) * (w.dim() - 1)
        return {name: c.view(shape) for name, c in self._scalars.items()}  # (K,) -> (K, 1, ...)

    def step(self, grads: dict[str, Tensor]) -> None:
        """One update of every trial."""
        self.t += 1
        scalars = self.rule.scalars(self.numbers, self.t, self.carry)
        self._scalars = {name: c.float() for name, c in scalars.items()}
        for name, w in self.params.items():
            self.rule.update(w, grads[name], self.slots[name], self._for(w))

    def mean_rate(self, grads: dict[str, Tensor]) -> Tensor:
        """(K,) what multiplied the gradient in the latest step, averaged with weights |g|.

        The weights leave out parameters that have no gradient (a pixel that is always blank),
        whose rate is a division by epsilon and moves nothing.
        """
        moved, total = torch.zeros(()), torch.zeros(())
        for name, w in self.params.items():
            size = grads[name].abs()
            rate = self.rule.rate(self.slots[name], self._for(w))
            moved = moved + (rate * size).flatten(1).sum(1)  # (K, ...) -> (K,)
            total = total + size.flatten(1).sum(1)
        return moved / total
