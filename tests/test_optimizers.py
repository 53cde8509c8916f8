"""Every rule against `torch.optim`, step by step, alone and in a batch of different numbers."""

from __future__ import annotations

import pytest
import torch

from harness.optimizers import RULES, Optimizer, Stepper

TORCH = {
    "sgd": lambda p, n: torch.optim.SGD(p, lr=n["lr"]),
    "momentum": lambda p, n: torch.optim.SGD(p, lr=n["lr"], momentum=n["momentum"]),
    "nesterov": lambda p, n: torch.optim.SGD(p, lr=n["lr"], momentum=n["momentum"], nesterov=True),
    "adagrad": lambda p, n: torch.optim.Adagrad(p, lr=n["lr"], eps=n["eps"]),
    "adadelta": lambda p, n: torch.optim.Adadelta(p, lr=n["lr"], rho=n["rho"], eps=n["eps"]),
    "rmsprop": lambda p, n: torch.optim.RMSprop(p, lr=n["lr"], alpha=n["beta"], eps=n["eps"]),
    "adam": lambda p, n: torch.optim.Adam(
        p, lr=n["lr"], betas=(n["beta1"], n["beta2"]), eps=n["eps"]
    ),
    "adamw": lambda p, n: torch.optim.AdamW(
        p, lr=n["lr"], betas=(n["beta1"], n["beta2"]), eps=n["eps"], weight_decay=n["weight_decay"]
    ),
    "adamax": lambda p, n: torch.optim.Adamax(
        p, lr=n["lr"], betas=(n["beta1"], n["beta2"]), eps=n["eps"]
    ),
    "nadam": lambda p, n: torch.optim.NAdam(
        p, lr=n["lr"], betas=(n["beta1"], n["beta2"]), eps=n["eps"], momentum_decay=n["psi"]
    ),
}
CHANGES = {
    "momentum": (0.5, 0.95),
    "beta1": (0.8, 0.95),
    "beta2": (0.99, 0.9995),
    "rho": (0.8, 0.95),
    "beta": (0.85, 0.99),
}


def test_every_rule_is_compared() -> None:
    assert set(TORCH) == set(RULES)
    assert len(RULES) == 10


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [1, 3])
def test_holds_to_torch_over_50_steps(rule: str, size: int) -> None:
    generator = torch.Generator().manual_seed(1)
    start = {
        "w": torch.randn(size, 4, 3, generator=generator),
        "b": torch.randn(size, 4, generator=generator),
    }
    gradients = [
        {name: torch.randn(w.shape, generator=generator) for name, w in start.items()}
        for _ in range(50)
    ]
    optimizers = [
        Optimizer(
            rule,
            lr=0.01 * (1 + lane),
            **{
                name: pair[0] if lane == 1 else pair[1]
                for name, pair in CHANGES.items()
                if lane and name in RULES[rule].defaults
            },
        )
        for lane in range(size)
    ]
    ours = {name: w.clone() for name, w in start.items()}
    stepper = Stepper(optimizers, ours)
    theirs = [
        {name: torch.nn.Parameter(w[lane].clone()) for name, w in start.items()}
        for lane in range(size)
    ]
    peers = [
        TORCH[rule](list(p.values()), dict(o.numbers))
        for p, o in zip(theirs, optimizers, strict=True)
    ]
    for gradient in gradients:
        stepper.step(gradient)
        for lane, peer in enumerate(peers):
            for name, p in theirs[lane].items():
                p.grad = gradient[name][lane].clone()
            peer.step()
        for lane in range(size):
            for name, p in theirs[lane].items():
                torch.testing.assert_close(ours[name][lane], p.detach(), rtol=1e-6, atol=1e-6)


def test_adam_without_correction_by_hand() -> None:
    # one step from 0 with g = 1: m = 0.1, v = 0.001; w = -lr * 0.1 / sqrt(0.001)
    w = {"w": torch.zeros(2, 1)}
    Stepper([Optimizer("adam", lr=1.0, corrected=0.0), Optimizer("adam", lr=1.0)], w).step(
        {"w": torch.ones(2, 1)}
    )
    assert w["w"][0].item() == pytest.approx(-0.1 / 0.001**0.5, rel=1e-5)
    assert w["w"][1].item() == pytest.approx(-1.0, rel=1e-5)


def test_effective_rate_of_adagrad_by_hand() -> None:
    # constant gradient 2, lr 1: after t steps r = 4t, and the rate is 1 / (2 sqrt t)
    w = {"w": torch.zeros(2, 1)}
    stepper = Stepper([Optimizer("adagrad", lr=1.0)] * 2, w)
    gradient = {"w": torch.full((2, 1), 2.0)}
    for step in range(1, 10):
        stepper.step(gradient)
        assert stepper.mean_rate(gradient)[0].item() == pytest.approx(0.5 / step**0.5, rel=1e-5)


def test_mistakes_name_what_is_allowed() -> None:
    with pytest.raises(ValueError, match="optimizer is 'adamm'; allowed: sgd"):
        Optimizer("adamm")
    with pytest.raises(ValueError, match="sgd takes no 'momentum'; allowed: lr"):
        Optimizer("sgd", momentum=0.9)
    with pytest.raises(ValueError, match="one rule; received adam, sgd"):
        Stepper([Optimizer("sgd"), Optimizer("adam")], {"w": torch.zeros(2, 1)})
