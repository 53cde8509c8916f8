"""Every rule against `torch.optim`, step by step, alone and in a batch of different numbers."""

from __future__ import annotations

import math

import pytest
import torch
from torch.optim import lr_scheduler as scheduler

from harness.engine.flat import Flat
from harness.engine.stepper import Stepper
from harness.parts.optimizers import RULES, Optimizer
from harness.parts.optimizers.rules import Adam
from harness.parts.schedules import Constant, Cosine, Inverse, Linear, Step, WarmUp

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
# torch has no Lion, its Muon takes matrices only: see below; the others need more than a gradient
NO_PEER = {"lion", "muon", "gauss_newton", "newton_cg", "lbfgs", "ridge"}
CHANGES = {
    "momentum": (0.5, 0.95),
    "beta1": (0.8, 0.95),
    "beta2": (0.99, 0.9995),
    "rho": (0.8, 0.95),
    "beta": (0.85, 0.99),
}


def test_every_rule_is_compared() -> None:
    assert set(TORCH) == set(RULES) - NO_PEER


KERNELS = [(rule, 2, 6000) for rule in RULES if "rows" in vars(RULES[rule])]  # for many weights


@pytest.mark.parametrize(
    ("rule", "size", "inputs"), [*((r, n, 3) for r in TORCH for n in (1, 3)), *KERNELS]
)
def test_holds_to_torch_over_50_steps(rule: str, size: int, inputs: int) -> None:
    generator = torch.Generator().manual_seed(1)
    start = {
        "w": torch.randn(size, 4, inputs, generator=generator),
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
    flat = Flat(start)
    ours = flat.views
    stepper = Stepper(optimizers, flat, 50)
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


UNLIKE = {  # five trials, of which the first and the third have the same numbers
    "sgd": [{}, {"lr": 0.02}, {}, {"weight_decay": 0.1}, {"lr": 0.03}],
    "momentum": [{}, {"momentum": 0.5}, {}, {"weight_decay": 0.1}, {"lr": 0.02, "momentum": 0.0}],
    "adam": [
        {}, {"lr": 0.02, "beta1": 0.8}, {}, {"corrected": 0.0, "weight_decay": 0.1},
        {"eps": 0.1, "beta2": 0.9},
    ],
}  # fmt: skip
UNLIKE |= {"nesterov": UNLIKE["momentum"], "adamw": UNLIKE["adam"]}


def test_every_kernel_is_compared() -> None:
    assert set(UNLIKE) == {rule for rule, _, _ in KERNELS}


@pytest.mark.parametrize("rule", UNLIKE)
@pytest.mark.parametrize("common", [{}, {"l1": 0.01, "clip": 30.0}])
def test_kernels_move_each_trial_as_the_rule_does(
    monkeypatch, rule: str, common: dict[str, float]
) -> None:
    generator = torch.Generator().manual_seed(3)
    numbers = [{"lr": 0.01, **common, **own} for own in UNLIKE[rule]]
    schedules = [Constant(), Cosine(), Constant(), Constant(), Linear(0.1)]
    optimizers = [Optimizer(rule, s, **n) for s, n in zip(schedules, numbers, strict=True)]
    start = {"w": torch.randn(5, 70, 61, generator=generator)}
    gradients = [{"w": torch.randn(5, 70, 61, generator=generator)} for _ in range(20)]
    ends = []
    for many in (1, math.inf):
        monkeypatch.setattr(RULES[rule], "many", many)
        flat = Flat(start)
        stepper = Stepper(optimizers, flat, 20)
        assert [one.lanes for one in stepper._alike] == (
            [[0, 2], [1], [3], [4]] if many == 1 else []
        )
        for gradient in gradients[:10]:
            stepper.step(gradient)
        kept = torch.tensor([1, 2, 4])
        flat.keep(kept)
        stepper.keep(kept)
        for gradient in gradients[10:]:
            stepper.step({"w": gradient["w"][kept]})
        ends.append(flat.all)
    torch.testing.assert_close(*ends, rtol=1e-5, atol=1e-6)


def test_a_rule_that_only_inherits_a_kernel_is_not_moved_by_it(monkeypatch) -> None:
    class Backwards(Adam):
        def update(self, w, g, s, c, free):
            w.add_(1)

    monkeypatch.setitem(RULES, "backwards", Backwards)
    flat = Flat({"w": torch.zeros(2, 5000)})
    Stepper([Optimizer("backwards")] * 2, flat, 1).step({"w": torch.ones(2, 5000)})
    assert torch.equal(flat.views["w"], torch.ones(2, 5000))


def test_muon_holds_to_torch_for_matrices_and_to_adamw_for_the_rest() -> None:
    generator = torch.Generator().manual_seed(2)
    start = {
        "tall": torch.randn(3, 12, 5, generator=generator),
        "wide": torch.randn(3, 4, 9, generator=generator),
        "b": torch.randn(3, 4, generator=generator),
    }
    optimizers = [
        Optimizer("muon", lr=0.001 * (1 + k), momentum=0.9 + 0.02 * k, weight_decay=0.1 * k)
        for k in range(3)
    ]
    flat = Flat(start)
    stepper = Stepper(optimizers, flat, 50)
    theirs = [{n: torch.nn.Parameter(w[k].clone()) for n, w in start.items()} for k in range(3)]
    peers = [
        (
            torch.optim.Muon(
                [p["tall"], p["wide"]], lr=o.numbers["lr"], momentum=o.numbers["momentum"],
                weight_decay=o.numbers["weight_decay"],
            ),
            torch.optim.AdamW(
                [p["b"]], lr=o.numbers["lr"], betas=(0.9, 0.95),
                weight_decay=o.numbers["weight_decay"],
            ),
        )
        for p, o in zip(theirs, optimizers, strict=True)
    ]  # fmt: skip
    for _ in range(50):
        gradient = {n: torch.randn(w.shape, generator=generator) for n, w in start.items()}
        stepper.step(gradient)
        for k, pair in enumerate(peers):
            for name, p in theirs[k].items():
                p.grad = gradient[name][k].clone()
            for peer in pair:
                peer.step()
    for k in range(3):
        for name, p in theirs[k].items():
            # bfloat16 inside: a batched product may round its last bit the other way
            torch.testing.assert_close(flat.views[name][k], p.detach(), rtol=2e-5, atol=4e-6)


def test_lion_by_hand() -> None:
    # m = 0, g = 2: sign(0.1 * 2) = 1; w = 1 - 0.1 (1 + 0.5 * 1); m = 0.01 * 2
    # then g = -1: 0.9 * 0.02 - 0.1 < 0: w = w (1 - 0.05) + 0.1
    flat = Flat({"w": torch.ones(2, 1)})
    stepper = Stepper([Optimizer("lion", lr=0.1, weight_decay=0.5)] * 2, flat, 2)
    stepper.step({"w": torch.full((2, 1), 2.0)})
    assert flat.all[0].item() == pytest.approx(0.85, rel=1e-6)
    assert stepper.slots["m"][0].item() == pytest.approx(0.02, rel=1e-5)
    stepper.step({"w": torch.full((2, 1), -1.0)})
    assert flat.all[0].item() == pytest.approx(0.85 * 0.95 + 0.1, rel=1e-6)


@pytest.mark.parametrize("rule", ["sgd", "adam", "rmsprop"])
def test_common_numbers_hold_to_torch(rule: str) -> None:
    """Clipping, then L2 and L1, as a plain loop would: a trial without them is not touched."""
    generator = torch.Generator().manual_seed(3)
    start = {"w": torch.randn(4, 5, 3, generator=generator), "b": torch.randn(4, 5)}
    extras = [{}, {"clip": 0.5}, {"weight_decay": 0.1}, {"l1": 0.05, "clip": 1.0}]
    optimizers = [Optimizer(rule, lr=0.01, **extra) for extra in extras]
    flat = Flat(start)
    stepper = Stepper(optimizers, flat, 30)
    theirs = [{n: torch.nn.Parameter(w[k].clone()) for n, w in start.items()} for k in range(4)]
    peers = []
    for p, extra in zip(theirs, extras, strict=True):
        peer = TORCH[rule](list(p.values()), dict(optimizers[0].numbers))
        peer.param_groups[0]["weight_decay"] = extra.get("weight_decay", 0.0)
        peers.append(peer)
    for _ in range(30):
        gradient = {n: torch.randn(w.shape, generator=generator) for n, w in start.items()}
        stepper.step(gradient)
        for k, peer in enumerate(peers):
            for name, p in theirs[k].items():
                p.grad = gradient[name][k].clone()
            if "clip" in extras[k]:
                torch.nn.utils.clip_grad_norm_(theirs[k].values(), extras[k]["clip"])
            for p in theirs[k].values():
                p.grad += extras[k].get("l1", 0.0) * p.detach().sign()
            peer.step()
    for k in range(4):
        for name, p in theirs[k].items():
            torch.testing.assert_close(flat.views[name][k], p.detach(), rtol=1e-6, atol=1e-6)


def test_max_norm_bounds_each_unit() -> None:
    flat = Flat({"w": torch.full((2, 3, 4), 2.0), "b": torch.full((2, 3), 9.0)})
    stepper = Stepper([Optimizer("sgd", max_norm=1.5), Optimizer("sgd")], flat, 1)
    stepper.step({"w": torch.zeros(2, 3, 4), "b": torch.zeros(2, 3)})
    assert flat.views["w"][0].norm(dim=1).tolist() == pytest.approx([1.5] * 3)
    assert flat.views["w"][1].norm(dim=1).tolist() == pytest.approx([4.0] * 3)
    assert flat.views["b"].unique().tolist() == [9.0]


SCHEDULES = {
    "linear": (Linear(0.1), lambda o: scheduler.LinearLR(o, 1.0, 0.1, total_iters=40)),
    "cosine": (Cosine(0.2), lambda o: scheduler.CosineAnnealingLR(o, 40, eta_min=0.2 * 0.1)),
    "step": (Step(0.3, (0.25, 0.5)), lambda o: scheduler.MultiStepLR(o, [10, 20], gamma=0.3)),
    "1/t": (Inverse(0.5), lambda o: scheduler.LambdaLR(o, lambda t: 1 / (1 + 0.5 * t))),
    "warm-up": (
        WarmUp(0.25, Cosine()),
        lambda o: scheduler.LambdaLR(
            o,
            lambda t: (t + 1) / 10 if t < 10 else (1 + math.cos(math.pi * (t - 10) / 30)) / 2,
        ),
    ),
    "constant": (Constant(), lambda o: scheduler.LambdaLR(o, lambda t: 1.0)),
}


@pytest.mark.parametrize("rule", ["sgd", "adam", "nadam"])
def test_schedules_hold_to_torch_in_one_pack(rule: str) -> None:
    start = {"w": torch.ones(len(SCHEDULES), 3)}
    flat = Flat(start)
    optimizers = [Optimizer(rule, schedule, lr=0.1) for schedule, _ in SCHEDULES.values()]
    stepper = Stepper(optimizers, flat, 40)
    theirs = [torch.nn.Parameter(torch.ones(3)) for _ in SCHEDULES]
    peers = [TORCH[rule]([p], dict(optimizers[0].numbers)) for p in theirs]
    schedulers = [make(p) for p, (_, make) in zip(peers, SCHEDULES.values(), strict=True)]
    generator = torch.Generator().manual_seed(4)
    for step in range(40):
        gradient = torch.randn(3, generator=generator)
        stepper.step({"w": gradient.expand(len(SCHEDULES), 3)})
        for p, peer, one in zip(theirs, peers, schedulers, strict=True):
            p.grad = gradient.clone()
            peer.step()
            one.step()
        if step == 20:  # a pack that loses trials on the way goes on as before
            lanes = torch.arange(1, len(SCHEDULES))
            flat.keep(lanes)
            stepper.keep(lanes)
            break
    for _ in range(19):
        gradient = torch.randn(3, generator=generator)
        stepper.step({"w": gradient.expand(len(SCHEDULES) - 1, 3)})
        for p, peer, one in list(zip(theirs, peers, schedulers, strict=True))[1:]:
            p.grad = gradient.clone()
            peer.step()
            one.step()
    for ours, p in zip(flat.all, theirs[1:], strict=True):
        torch.testing.assert_close(ours, p.detach(), rtol=1e-5, atol=1e-6)


def test_adam_without_correction_by_hand() -> None:
    # one step from 0 with g = 1: m = 0.1, v = 0.001; w = -lr * 0.1 / sqrt(0.001)
    flat = Flat({"w": torch.zeros(2, 1)})
    optimizers = [Optimizer("adam", lr=1.0, corrected=0.0), Optimizer("adam", lr=1.0)]
    Stepper(optimizers, flat, 1).step({"w": torch.ones(2, 1)})
    assert flat.all[0].item() == pytest.approx(-0.1 / 0.001**0.5, rel=1e-5)
    assert flat.all[1].item() == pytest.approx(-1.0, rel=1e-5)


def test_effective_rate_of_adagrad_by_hand() -> None:
    # constant gradient 2, lr 1: after t steps r = 4t, and the rate is 1 / (2 sqrt t)
    stepper = Stepper([Optimizer("adagrad", lr=1.0)] * 2, Flat({"w": torch.zeros(2, 1)}), 9)
    gradient = {"w": torch.full((2, 1), 2.0)}
    for step in range(1, 10):
        stepper.step(gradient)
        assert stepper.mean_rate()[0].item() == pytest.approx(0.5 / step**0.5, rel=1e-5)


def test_mistakes_name_what_is_allowed() -> None:
    with pytest.raises(ValueError, match="optimizer is 'adamm'; allowed: sgd"):
        Optimizer("adamm")
    with pytest.raises(
        ValueError, match="sgd takes no 'momentum'; allowed: weight_decay, l1, clip, max_norm, lr"
    ):
        Optimizer("sgd", momentum=0.9)
    with pytest.raises(ValueError, match="one rule; received adam, sgd"):
        Stepper([Optimizer("sgd"), Optimizer("adam")], Flat({"w": torch.zeros(2, 1)}), 1)
