"""The update rules that step along a gradient: what each keeps, and how it moves."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from harness.parts import torch_private
from harness.parts.optimizers.base import Numbers, Ridge, Rows, Rule, State, Step
from harness.parts.optimizers.curved import LBFGS, GaussNewton, NewtonCG


def _descent(
    w: Rows, g: Rows, v: Rows, n: Mapping[str, float], nesterov: bool = False
) -> Step:  # fmt: skip
    """A step by torch's kernel of SGD; with velocities v where there is momentum."""
    momentum = n.get("momentum", 0.0)
    # bound once: a pack has many such calls at each update, and most take a list of one
    step = functools.partial(
        torch_private.sgd(), w, g, v if momentum else [], momentum=momentum,
        weight_decay=n["weight_decay"], dampening=0.0, nesterov=nesterov and momentum > 0,
        maximize=False, is_first_step=False,
    )  # fmt: skip
    return lambda rate, t: step(lr=rate)


class SGD(Rule):
    """w <- w - lr g (Overview, "Mini-Batch Gradient Descent Algorithm")."""

    defaults = {"lr": 0.01}
    many = 2**14

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers, free: Tensor) -> None:
        w.sub_(torch.mul(g, c["lr"], out=free))

    def rows(self, w: Rows, g: Rows, s: Mapping[str, Rows], n: Mapping[str, float]) -> Step:
        return _descent(w, g, [], n)


class Momentum(Rule):
    """v <- m v + g; w <- w - lr v (Polyak 1964; Overview, "Momentum Optimizer")."""

    defaults = {"lr": 0.01, "momentum": 0.9}
    slots = ("v",)
    many = 2**13

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers, free: Tensor) -> None:
        s["v"].mul_(c["momentum"]).add_(g)
        w.sub_(torch.mul(s["v"], c["lr"], out=free))

    def rows(self, w: Rows, g: Rows, s: Mapping[str, Rows], n: Mapping[str, float]) -> Step:
        return _descent(w, g, s["v"], n)


class Nesterov(Rule):
    """v <- m v + g; w <- w - lr (g + m v) (Nesterov 1983, in the form of Sutskever et al. 2013)."""

    defaults = {"lr": 0.01, "momentum": 0.9}
    slots = ("v",)
    many = 2**13

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers, free: Tensor) -> None:
        s["v"].mul_(c["momentum"]).add_(g)
        w.sub_(torch.mul(s["v"], c["momentum"], out=free).add_(g).mul_(c["lr"]))

    def rows(self, w: Rows, g: Rows, s: Mapping[str, Rows], n: Mapping[str, float]) -> Step:
        return _descent(w, g, s["v"], n, nesterov=True)


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

    def rows(self, w: Rows, g: Rows, s: Mapping[str, Rows], n: Mapping[str, float]) -> Step:
        return self._kernel(torch_private.adam(decoupled=False), w, g, s, n)

    @staticmethod
    def _kernel(
        kernel: Callable[..., None], w: Rows, g: Rows, s: Mapping[str, Rows],
        n: Mapping[str, float],
    ) -> Step:  # fmt: skip
        # bound once: see `_descent`
        step = functools.partial(
            kernel, w, g, s["m"], s["v"], [], beta1=n["beta1"], beta2=n["beta2"],
            weight_decay=n["weight_decay"], eps=n["eps"], amsgrad=False, maximize=False,
        )  # fmt: skip
        if n["corrected"]:
            return lambda rate, t: step([t] * len(w), lr=rate)
        # without the correction as after infinitely many steps, when it is one
        return lambda rate, t: step([t + math.inf] * len(w), lr=rate)

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

    def rows(self, w: Rows, g: Rows, s: Mapping[str, Rows], n: Mapping[str, float]) -> Step:
        return self._kernel(torch_private.adam(decoupled=True), w, g, s, n)


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
    "gauss_newton": GaussNewton,
    "newton_cg": NewtonCG,
    "lbfgs": LBFGS,
    "ridge": Ridge,
}
