"""Rules that ask for curvature and for the loss elsewhere: beside SciPy, torch and plain loops."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd.functional import hessian
from torch.func import functional_call, jacrev
from torch.nn import functional as F

from harness import Data, Loss, Optimizer, Player, Stage, Training
from harness.engine.curvature import Curvature
from harness.engine.flat import Flat
from harness.engine.pack import PackInFlight, train
from harness.engine.program import Program
from harness.engine.sizing import seconds
from harness.parts.data import load
from harness.parts.models import MLP, Recurrent
from harness.parts.objectives import CrossEntropy, Objective, SquaredError
from tests.engine.test_fusing import same
from tests.engine.test_solving import Kernel
from tests.engine.test_stages import Gan, batches, fool, made, tell

pytestmark = pytest.mark.usefixtures("one_thread")
DIGITS = Data("digits", train=160)
SIZE = 6  # numbers of a quadratic


class Bowl(nn.Module):
    """x'Ax/2 - b'x, of another A and b for each seed."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.randn(SIZE))
        root = torch.randn(SIZE, SIZE)
        self.register_buffer("a", root @ root.T / SIZE + 0.5 * torch.eye(SIZE))
        self.register_buffer("b", torch.randn(SIZE))

    def forward(self) -> Tensor:
        return self.x @ self.a @ self.x / 2 - self.b @ self.x


def bowl(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    net = made(Bowl, seed)
    return tuple(t.detach().double().numpy() for t in (net.a, net.b, net.x))


def ended(trainings: list[Training], seeds: list[int]) -> dict[str, Tensor]:
    """The parameters that trials end with."""
    pack = PackInFlight(trainings, seeds, "cpu")
    pack.run()
    return pack._handed()


# --- a quadratic, whose answer is known ----------------------------------------------------------


def test_as_many_conjugate_gradients_as_numbers_solve_a_quadratic() -> None:
    rule = Optimizer("newton_cg", damping=0.0, iterations=SIZE)
    found = ended([Training(Bowl, rule, steps=1)] * 4, [0, 1, 2, 3])["x"]
    for seed in range(4):
        a, b, _ = bowl(seed)
        np.testing.assert_allclose(found[seed], np.linalg.solve(a, b), rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("damping", [0.0, 0.7])
def test_fewer_are_those_of_scipy(damping: float) -> None:
    """Each trial makes as many as it says, whatever the others say."""
    rules = [Optimizer("newton_cg", damping=damping, iterations=n, adapt=1.0) for n in range(1, 5)]
    found = ended([Training(Bowl, rule, steps=1) for rule in rules], [0, 1, 2, 3])["x"]
    for seed in range(4):
        a, b, x = bowl(seed)
        step, _ = scipy.sparse.linalg.cg(
            a + damping * np.eye(SIZE), b - a @ x, rtol=0, maxiter=seed + 1
        )
        np.testing.assert_allclose(found[seed], x + step, rtol=1e-4, atol=1e-5)


def test_lbfgs_finds_what_scipy_finds() -> None:
    for numbers in ({}, {"tries": 12.0}):
        rules = [Optimizer("lbfgs", history=n, **numbers) for n in (4, 6, 20)]
        found = ended([Training(Bowl, rule, steps=25) for rule in rules], [0, 1, 2])["x"]
        for seed in range(3):
            a, b, x = bowl(seed)
            peer = scipy.optimize.minimize(
                lambda x, a=a, b=b: (x @ a @ x / 2 - b @ x, a @ x - b),
                x,
                jac=True,
                method="L-BFGS-B",
            )
            np.testing.assert_allclose(found[seed], peer.x, rtol=1e-3, atol=2e-3)
            np.testing.assert_allclose(found[seed], np.linalg.solve(a, b), rtol=1e-3, atol=1e-3)


def test_one_step_of_gauss_newton_is_least_squares() -> None:
    """A linear net is solved at once, with weight decay as a ridge."""
    random = np.random.default_rng(1)
    x = random.standard_normal((60, 4)).astype(np.float32)
    y = (x @ random.standard_normal((4, 2))).astype(np.float32)
    data = Data.of((x, y), name="plane")
    rule = Optimizer("gauss_newton", damping=0.0, iterations=10, weight_decay=0.3)
    one = Training(
        partial(nn.Linear, 4, 2, bias=False), rule, data, SquaredError(), steps=1, batch_size=36
    )
    found = ended([one, one], [0, 1])["weight"]
    x, y = (part.double().numpy() for part in load(data).train)
    assert len(x) == 36
    gram = 2 * x.T @ x / y.size + 0.3 * np.eye(4)  # of the mean over examples and outputs
    expected = np.linalg.solve(gram, 2 * x.T @ y / y.size).T
    for lane in range(2):
        np.testing.assert_allclose(found[lane], expected, rtol=1e-3, atol=1e-4)


def test_a_bend_down_is_followed_along_the_gradient() -> None:
    class Saddle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.x = nn.Parameter(torch.tensor([0.1, 0.0]))

        def forward(self) -> Tensor:
            return -self.x[0].square() + self.x[1].square()

    rule = Optimizer("newton_cg", damping=0.0, iterations=3, lr=0.5)
    found = ended([Training(Saddle, rule, steps=1)] * 2, [0, 1])["x"]
    np.testing.assert_allclose(found[0], [0.2, 0.0], rtol=1e-6)


# --- products of the curvature -------------------------------------------------------------------


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.tanh(self.a(x)))


class Maps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c, self.b = nn.Conv2d(1, 2, 2), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(F.softplus(self.c(x.view(-1, 1, 2, 3))).flatten(1))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "dense": Small, "convolution": Maps, "LSTM": partial(Recurrent, "vanilla", 2, 3, 4, std=0.5),
    "GRU": partial(Recurrent, "GRU", 2, 3, 4, std=0.5),
    "normalised": lambda: nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("objective", [CrossEntropy(), SquaredError()])
def test_products_are_those_of_the_whole_matrices(name: str, objective: Objective) -> None:
    torch.manual_seed(0)
    nets = [MODELS[name]() for _ in range(2)]
    x = torch.randn(2, 7, 6)
    y = torch.randint(4, (2, 7)) if isinstance(objective, CrossEntropy) else torch.randn(2, 7, 4)
    params, buffers = torch.func.stack_module_state(nets)
    flat = Flat(params)
    v = torch.randn_like(flat.all)
    told = Curvature(
        Program(nets[0], objective, "float32"), flat, buffers, (x, y), {}, torch.zeros(2), None
    )
    for kind in ("hessian", "gauss_newton"):
        found = [*flat.cut(told.product(v, kind)).values()]
        for lane, net in enumerate(nets):
            own = torch.cat([part[lane].flatten() for part in flat.cut(v).values()]).double()
            expected = _matrix(kind, net, objective, x[lane], y[lane]) @ own
            given = torch.cat([part[lane].flatten() for part in found]).double()
            torch.testing.assert_close(given, expected, rtol=2e-3, atol=2e-4)


def _matrix(kind: str, net: nn.Module, objective: Objective, x: Tensor, y: Tensor) -> Tensor:
    """The whole matrix, in float64."""
    net = net.double()
    x, y = x.double(), y.double() if y.is_floating_point() else y
    start = {name: w.detach() for name, w in net.named_parameters()}

    def said(w: Tensor) -> Tensor:
        parts, at = {}, 0
        for name, p in start.items():
            parts[name] = w[at : at + p.numel()].view(p.shape)
            at += p.numel()
        return functional_call(net, parts, x)

    w = torch.cat([p.flatten() for p in start.values()])
    if kind == "hessian":
        # not by torch.func: its two passes through a LayerNorm are wrong (torch 2.13)
        whole: Tensor = hessian(lambda w: objective.loss(said(w), y), w)
    else:
        out = said(w)
        jacobian = jacrev(said)(w).flatten(0, 1)
        inner = hessian(lambda o: objective.loss(o.view_as(out), y), out.flatten())
        whole = jacobian.T @ inner @ jacobian
    net.float()
    return whole


# --- plain loops ---------------------------------------------------------------------------------


def test_gauss_newton_is_a_plain_loop() -> None:
    """With the whole matrix, and damping as Levenberg and Marquardt move it."""
    net = made(partial(MLP, (64, 4, 10)), 3)
    names = [name for name, _ in net.named_parameters()]
    factor, losses = 1.0, []
    for x, y in batches(3, DIGITS, 80, 0, 3):
        g = torch.autograd.grad(F.cross_entropy(net(x), y), list(net.parameters()))
        g = torch.cat([one.flatten() for one in g]).double()
        whole = _matrix("gauss_newton", net, CrossEntropy(), x, y)
        shift = whole + 0.5 * factor * torch.eye(len(g), dtype=torch.float64)
        d, rest = torch.zeros_like(g), -g
        along, size = rest, rest @ rest
        for _ in range(6):
            far = size / (along @ shift @ along)
            d, rest = d + far * along, rest - far * shift @ along
            along, size = rest + (rest @ rest) / size * along, rest @ rest
        before = F.cross_entropy(net(x), y).item()
        start = {name: w.detach().clone() for name, w in net.named_parameters()}
        parts = d.float().split([start[name].numel() for name in names])
        with torch.no_grad():
            for name, part in zip(names, parts, strict=True):
                net.get_parameter(name).add_(part.view_as(start[name]))
        losses.append(before)
        fallen = F.cross_entropy(net(x), y).item() - before
        ratio = fallen / (g @ d + d @ shift @ d / 2).item()
        if fallen > 0:
            net.load_state_dict(start)
        factor *= 1.5 if ratio < 0.25 else 1 / 1.5 if ratio > 0.75 else 1.0
    rules = [Optimizer("gauss_newton", damping=n, iterations=6) for n in (0.5, 2.0)]
    model = partial(MLP, (64, 4, 10))
    pack = PackInFlight(
        [Training(model, rule, DIGITS, epochs=3, batch_size=80, every=1) for rule in rules], [3, 4],
        "cpu",
    )  # fmt: skip
    pack.run()
    for name, w in net.named_parameters():
        torch.testing.assert_close(pack._handed()[name][0], w.detach(), rtol=1e-2, atol=2e-3)
    told = pack.rows.outcomes()[0].metrics["train_loss"]
    assert [told[0], *told[2:6]] == pytest.approx([losses[0], *losses[1:5]], rel=1e-3)


def test_lbfgs_without_a_line_search_is_that_of_torch() -> None:
    net = made(partial(MLP, (64, 8, 10)), 5)
    ((x, y),) = batches(5, DIGITS, 160, 0, 1)
    peer = torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=8, max_eval=100, history_size=3)

    def closure() -> Tensor:
        peer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        return loss

    peer.step(closure)
    rules = [Optimizer("lbfgs", lr=0.5, history=n) for n in (3, 7)]
    one = [
        Training(partial(MLP, (64, 8, 10)), rule, DIGITS, epochs=8, batch_size=160)
        for rule in rules
    ]
    found = ended(one, [5, 6])
    for name, w in net.named_parameters():
        torch.testing.assert_close(found[name][0], w.detach(), rtol=1e-3, atol=1e-4)


def test_a_line_search_never_lets_the_batch_s_loss_rise() -> None:
    rules = [Optimizer("lbfgs", lr=lr, tries=12) for lr in (1.0, 30.0)]
    one = [
        Training(partial(MLP, (64, 8, 10)), rule, DIGITS, epochs=12, batch_size=160, every=1)
        for rule in rules
    ]
    for outcome in train(one, [0, 1], "cpu"):
        losses = outcome.metrics["train_loss"][1:-1]
        assert all(after < before for before, after in itertools.pairwise(losses))
    wild = Training(
        partial(MLP, (64, 8, 10)), Optimizer("lbfgs", lr=1e4), DIGITS, epochs=12, batch_size=160
    )
    (outcome,) = train([wild], [1], "cpu")
    assert outcome.status == "diverged" or outcome.metrics["train_loss"][-1] > 3


# --- in packs ------------------------------------------------------------------------------------


def gauss_newton(lane: int) -> Training:
    return Training(
        partial(MLP, (64, 16, 10)),
        Optimizer("gauss_newton", damping=0.3 * (1 + lane), iterations=3 + lane % 3, weight_decay=1e-3),
        DIGITS, CrossEntropy(0.05 * (lane % 2)), epochs=2, batch_size=32, noise=0.1 * (lane % 2),
    )  # fmt: skip


def newton_cg(lane: int) -> Training:
    return Training(
        partial(MLP, (64, 16, 10)), Optimizer("newton_cg", damping=0.3 * (1 + lane), iterations=4),
        DIGITS, epochs=2, batch_size=32,
    )  # fmt: skip


def lbfgs(lane: int) -> Training:
    """After Adam, with a line search, on batches that grow."""
    return Training(
        partial(MLP, (64, 16, 10)), Optimizer("adam", lr=1e-2), DIGITS, batch_size=32,
        stages=(
            Stage(epochs=1),
            Stage(
                epochs=1, batch_size=80,
                optimizer=Optimizer("lbfgs", lr=0.5, history=2 + lane % 4, tries=lane % 5),
            ),
            Stage(epochs=2, batch_size=160, onward=True),
        ),
    )  # fmt: skip


def played(lane: int) -> Training:
    """One player by its curvature, the other along its gradient."""
    return Training(
        Gan, Optimizer("adam", lr=1e-3, beta1=0.5), DIGITS, epochs=2, batch_size=32,
        players=(
            Player(
                "critic", Loss(tell), "d.*",
                Optimizer("newton_cg", damping=1.0 + lane, iterations=2 + lane % 3),
            ),
            Player("maker", Loss(fool), "g.*"),
        ),
    )  # fmt: skip


KINDS = {one.__name__: one for one in (gauss_newton, newton_cg, lbfgs, played)}


@pytest.mark.parametrize("kind", KINDS)
def test_they_fuse(kind: str) -> None:
    one, other = KINDS[kind](0), KINDS[kind](3)
    assert one.why_alone() == ""
    assert one.signature() == other.signature()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=4, deadline=None)
@given(draw=st.data())
def test_rows_are_bitwise_the_same_in_any_pack(kind: str, draw: st.DataObject) -> None:
    lanes = draw.draw(st.lists(st.integers(0, 9), min_size=1, max_size=6, unique=True))
    together = train([KINDS[kind](lane) for lane in lanes], lanes, "cpu")
    lane = draw.draw(st.sampled_from(lanes))
    (alone,) = train([KINDS[kind](lane)], [lane], "cpu")
    assert same(together[lanes.index(lane)], alone)


def test_what_is_no_number_stays_in_its_lane() -> None:
    calm = [lbfgs(0), lbfgs(1)]
    wild = Training(
        calm[0].model, Optimizer("adam", lr=1e30), DIGITS, batch_size=32, stages=calm[0].stages
    )
    mixed = train([calm[0], wild, calm[1]], [0, 9, 1], "cpu")
    assert [one.status for one in mixed] == ["finished", "diverged", "finished"]
    alone = train(calm, [0, 1], "cpu")
    assert same(mixed[0], alone[0])
    assert same(mixed[2], alone[1])


def test_running_statistics_move_once_an_update() -> None:
    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Linear(16, 10))

    rule = Optimizer("lbfgs", lr=0.1, tries=3)
    pack = PackInFlight([Training(model, rule, DIGITS, epochs=2, batch_size=80)] * 2, [0, 1], "cpu")
    pack.run()
    assert pack._handed()["1.num_batches_tracked"].tolist() == [4, 4]


def test_a_forecast_knows_how_often_is_asked() -> None:
    few, many = (
        Training(
            partial(MLP, (64, 16, 10)), Optimizer("gauss_newton", iterations=n), DIGITS, epochs=2,
            batch_size=32,
        )
        for n in (5, 50)
    )  # fmt: skip
    assert seconds(many)[0] > 2 * seconds(few)[0]
    assert seconds(many)[1] > 5 * seconds(few)[1]


# --- mistakes ------------------------------------------------------------------------------------


def test_what_cannot_be_asked_is_refused() -> None:
    one = Training(Kernel, Optimizer("lbfgs"), DIGITS, epochs=1, batch_size=32)
    with pytest.raises(ValueError, match=r"LBFGS asks for the loss again .* cannot be fused"):
        train([one], [0], "cpu")
    with pytest.raises(ValueError, match="'gauss_newton' and no objective of outputs on data"):
        Training(Bowl, Optimizer("gauss_newton"), steps=1)
    with pytest.raises(
        ValueError, match="lbfgs takes no 'clip'; allowed: weight_decay, lr, history"
    ):
        Optimizer("lbfgs", clip=1.0)
