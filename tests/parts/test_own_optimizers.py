"""Optimizers from outside: each against itself in a plain loop, in a pack of different numbers."""

from __future__ import annotations

import inspect
import random

import pytest
import torch

import harness
from harness.engine.flat import Flat
from harness.engine.stepper import Stepper
from harness.parts.optimizers import Optimizer, Rule
from harness.parts.schedules import Cosine
from harness.study import fingerprint

# What steps along a gradient alone; the others are refused, see below.
REFUSED = {
    "LBFGS": "closure",
    "SparseAdam": "sparse",
    "Optimizer": "no lr",
}
CLASSES = sorted(
    name
    for name, kind in vars(torch.optim).items()
    if inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer) and name not in REFUSED
)


def _gradients(steps: int, shapes: dict[str, tuple[int, ...]]) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
        for _ in range(steps)
    ]


def _held(makers, shapes: dict[str, tuple[int, ...]], schedule=None, **common: float) -> None:
    """Three lanes of different rates beside three instances, over 50 steps."""
    optimizers = [
        Optimizer(maker, *([schedule] if schedule else []), **given, **common)
        for maker, given in makers
    ]
    size = len(optimizers)
    gradients = _gradients(50, {n: (size, *shape) for n, shape in shapes.items()})
    start = _gradients(1, {n: (size, *shape) for n, shape in shapes.items()})[0]
    flat = Flat(start)
    stepper = Stepper(optimizers, flat, 50)
    theirs = [
        {name: torch.nn.Parameter(w[lane].clone()) for name, w in start.items()}
        for lane in range(size)
    ]
    peers = [
        maker(list(own.values()), **given)
        for (maker, given), own in zip(makers, theirs, strict=True)
    ]
    rates = [peer.param_groups[0].get("lr") for peer in peers]
    for step, gradient in enumerate(gradients):
        stepper.step(gradient)
        for lane, peer in enumerate(peers):
            if schedule:
                factor = float(schedule.factor(torch.tensor([step]).numpy(), 50)[0])
                peer.param_groups[0]["lr"] = rates[lane] * factor
            for name, p in theirs[lane].items():
                p.grad = gradient[name][lane].clone()
            if "clip" in common:
                torch.nn.utils.clip_grad_norm_([*theirs[lane].values()], common["clip"])
            peer.step()
        for lane in range(size):
            for name, p in theirs[lane].items():
                torch.testing.assert_close(flat.views[name][lane], p.detach(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_of_torch_holds_to_itself_over_50_steps(name: str) -> None:
    kind = getattr(torch.optim, name)
    shapes = {"w": (4, 3)} if name == "Muon" else {"w": (4, 3), "b": (4,)}
    _held([(kind, {"lr": 0.01 * (1 + lane)}) for lane in range(3)], shapes)


def test_schedules_and_clipping_are_those_of_a_plain_loop() -> None:
    makers = [(torch.optim.RAdam, {"lr": rate, "weight_decay": 0.1}) for rate in (0.1, 0.01)]
    _held(makers, {"w": (4, 3), "b": (4,)}, Cosine())
    _held(makers, {"w": (4, 3), "b": (4,)}, Cosine(), clip=0.5)


def test_l1_clipping_and_max_norm_are_those_of_a_rule() -> None:
    common = {"lr": 0.1, "l1": 0.02, "clip": 0.7, "max_norm": 1.2}
    ends = []
    for rule in (torch.optim.SGD, "sgd"):
        flat = Flat(_gradients(1, {"w": (2, 4, 3), "b": (2, 4)})[0])
        stepper = Stepper([Optimizer(rule, Cosine(), **common)] * 2, flat, 20)
        for gradient in _gradients(20, {"w": (2, 4, 3), "b": (2, 4)}):
            stepper.step(gradient)
        ends.append(flat.all)
    torch.testing.assert_close(*ends, rtol=1e-6, atol=1e-6)


def test_what_a_class_takes_itself_is_its_own() -> None:
    one = Optimizer(torch.optim.Adam, lr=0.1, weight_decay=0.5, clip=1.0)
    assert dict(one.given) == {"lr": 0.1, "weight_decay": 0.5}
    assert one.numbers["clip"] == 1.0 and one.numbers["weight_decay"] == 0.0


@pytest.mark.parametrize(
    ("rule", "numbers", "said"),
    [
        (
            torch.optim.LBFGS,
            {"lr": 0.1},
            r"LBFGS evaluates the loss again .* \(a closure\); allowed",
        ),
        (torch.optim.SparseAdam, {"lr": 0.1}, "SparseAdam.*does not support dense gradients"),
        (torch.optim.Adam, {"rate": 0.1}, "Adam takes no rate; allowed: lr, betas, eps"),
        (torch.optim.Adam, {"lr": -1.0}, r"Adam\(lr=-1.0\): Invalid learning rate: -1.0"),
        (torch.optim.Muon, {"lr": 0.1, "momentum": "x"}, "Muon"),
        (3, {}, "optimizer is 3; allowed: a rule's name, a Rule, a class"),
    ],
)
def test_what_cannot_step_along_a_gradient_is_refused_in_one_line(rule, numbers, said) -> None:
    with pytest.raises(ValueError, match=said) as error:
        Optimizer(rule, **numbers)
    assert "\n" not in str(error.value)


class Noisy(torch.optim.Optimizer):
    """Draws from every generator of the process, puts new tensors in, and changes its gradient."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                p.grad.mul_(0.5)
                noise = torch.randn_like(p) * random.random()
                p.data = p.data - group["lr"] * (p.grad + 0.01 * noise)


def _trainings(rule, rates, **more):
    from functools import partial

    from harness.parts.models import MLP

    return [
        harness.Training(
            partial(MLP, (64, 16, 10)), Optimizer(rule, lr=rate), harness.Data("digits", 200),
            epochs=2, batch_size=20, **more,
        )
        for rate in rates
    ]  # fmt: skip


def test_a_trial_is_the_same_alone_in_a_pack_and_in_any_order() -> None:
    rates = [0.1, 0.02, 0.3]
    together = harness.train(_trainings(Noisy, rates), [0, 1, 2])
    back = harness.train(_trainings(Noisy, rates[::-1]), [2, 1, 0])[::-1]
    alone = [harness.train(_trainings(Noisy, [r]), [s])[0] for s, r in enumerate(rates)]
    for one, two, three in zip(together, back, alone, strict=True):
        assert one.status == "finished"
        assert one.metrics == two.metrics == three.metrics


def test_trials_that_end_early_leave_the_others_as_they_are() -> None:
    stop = harness.Stop(patience=1)
    rates = [1e6, 0.1, 0.05, 1e6, 1e6]  # those that diverge are left out of the pack
    trainings = _trainings(torch.optim.RAdam, rates, stop=stop)
    together = harness.train(trainings, [0, 1, 2, 3, 4])
    alone = harness.train(trainings[1:2], [1])[0]
    assert together[1].metrics == alone.metrics


def grouped(named, lr: float, decay: float = 0.1) -> torch.optim.Optimizer:
    """No decay of biases, as is the custom."""
    return torch.optim.AdamW(
        [
            {"params": [w for name, w in named if "bias" not in name], "weight_decay": decay},
            {"params": [w for name, w in named if "bias" in name], "weight_decay": 0.0},
        ],
        lr=lr,
    )


def test_a_function_may_put_parameters_in_groups() -> None:
    shapes = {"weight": (4, 3), "bias": (4,)}
    flat = Flat(_gradients(1, {n: (2, *shape) for n, shape in shapes.items()})[0])
    before = {name: w.clone() for name, w in flat.views.items()}
    optimizers = [Optimizer(grouped, lr=0.1), Optimizer(grouped, lr=0.2, decay=0.5)]
    zero = {name: torch.zeros_like(w) for name, w in flat.views.items()}
    Stepper(optimizers, flat, 1).step(zero)
    expected = before["weight"] * torch.tensor([1 - 0.01, 1 - 0.1]).view(2, 1, 1)
    torch.testing.assert_close(flat.views["weight"], expected)
    torch.testing.assert_close(flat.views["bias"], before["bias"])


class Signs(Rule):
    """w <- w - lr sign(g), of all trials at once."""

    defaults = {"lr": 0.01}

    def update(self, w, g, s, c, free):
        w.sub_(torch.sign(g, out=free).mul_(c["lr"]))


def test_a_rule_of_ones_own_needs_no_entry_in_the_package() -> None:
    flat = Flat({"w": torch.zeros(2, 3)})
    Stepper([Optimizer(Signs, lr=rate) for rate in (0.1, 0.2)], flat, 1).step(
        {"w": torch.tensor([[1.0, -2.0, 0.0], [3.0, -4.0, 0.0]])}
    )
    expected = torch.tensor([[-0.1, 0.1, 0.0], [-0.2, 0.2, 0.0]])
    torch.testing.assert_close(flat.views["w"], expected)
    with pytest.raises(ValueError, match=r"Signs takes no 'momentum'; allowed: .*lr"):
        Optimizer(Signs, momentum=0.9)


# --- keys ---------------------------------------------------------------------------------------

FILE = """
import torch
from harness import Optimizer
from theirs import Kind


class Mine(torch.optim.Optimizer):
    def step(self, closure=None):
        return 1


RULES = {"mine": Mine, "theirs": Kind}


def trial(t):
    return Optimizer(RULES[t.arm], lr=t["lr"])
"""


def test_a_key_knows_the_class_and_the_version_of_its_package(monkeypatch) -> None:
    survey = fingerprint.survey(FILE.replace("theirs import", "pytorch_optimizer import"), "trial",
                                frozenset(["mine", "theirs"]))  # fmt: skip
    assert {"torch", "pytorch_optimizer"} <= set(survey.libraries)
    before = fingerprint.code_hash(FILE, "trial", frozenset(["mine"]))
    assert before == fingerprint.code_hash(FILE.replace("x = 1", ""), "trial", frozenset(["mine"]))
    changed = FILE.replace("return 1", "return 2")
    assert before != fingerprint.code_hash(changed, "trial", frozenset(["mine"]))


# --- packages -------------------------------------------------------------------------------------

THEIRS = [
    "ADOPT", "AdaBelief", "AdaBound", "AdaMod", "AdaNorm", "AdaPNM", "AdamP", "Adan", "Adai",
    "AvaGrad", "CAME", "DiffGrad", "FAdam", "Fromage", "Grams", "LARS", "Lamb", "Lion",
    "MADGRAD", "MARS", "NovoGrad", "PNM", "QHAdam", "RAdam", "SGDP", "SignSGD", "SWATS", "Tiger",
    "Yogi",
]  # fmt: skip


@pytest.mark.parametrize("name", THEIRS)
def test_optimizers_of_a_package_train_as_in_a_plain_loop(name: str) -> None:
    package = pytest.importorskip("pytorch_optimizer")
    kind = getattr(package, name)
    given = [{"lr": 0.01 * (1 + lane)} for lane in range(2)]
    extra = {"num_iterations": 50} if "num_iterations" in inspect.signature(kind).parameters else {}
    _held([(kind, one | extra) for one in given], {"w": (4, 3), "b": (4,)})


def test_what_averages_is_scored_on_the_average() -> None:
    """Such an optimizer trains one point and scores another (Defazio et al. 2024)."""
    kind = pytest.importorskip("schedulefree").AdamWScheduleFree
    start = _gradients(1, {"w": (2, 4, 3)})[0]
    flat = Flat(start)
    stepper = Stepper([Optimizer(kind, lr=rate) for rate in (0.1, 0.2)], flat, 20)
    w = torch.nn.Parameter(start["w"][1].clone())
    peer = kind([w], lr=0.2)
    peer.train()
    for gradient in _gradients(20, {"w": (2, 4, 3)}):
        stepper.step(gradient)
        w.grad = gradient["w"][1].clone()
        peer.step()
        trained = w.detach().clone()
        peer.eval()
        with stepper.scoring():
            torch.testing.assert_close(flat.views["w"][1], w.detach(), rtol=1e-6, atol=1e-6)
        peer.train()
        torch.testing.assert_close(flat.views["w"][1], trained, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(trained, start["w"][1])
