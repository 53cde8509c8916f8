"""The network of an architecture: the plain one, whatever it shares a program with."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harness import Data, Optimizer, Training
from harness.engine.building import build, structure
from harness.engine.pack import train
from harness.engine.structure import described
from harness.nas.network import ConvNet
from harness.nas.space import MAP, OPERATIONS, Architecture, Space, pairs
from harness.parts.probes import Kept

pytestmark = pytest.mark.usefixtures("one_thread")

SPACE = Space(OPERATIONS, 4, 6, (1, 2), (4, 6))


class Plain(nn.Module):
    """The same network from torch's own layers, one module an operation."""

    def __init__(self, ours: ConvNet, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        width = architecture.width
        self.stem, self.out = nn.Conv2d(1, width, 2, stride=2), nn.Linear(4 * width, 10)
        for layer, own in ((self.stem, ours.stem), (self.out, ours.out)):
            layer.weight.data = own.weight.detach().view_as(layer.weight)
            layer.bias.data = own.bias.detach()
        self.operations = nn.ModuleList()
        for cell in ours.cells:
            into = nn.ModuleDict()
            weights = [w for conv in cell.convolutions for w in conv.weight.split(width)]
            listed = zip(pairs(architecture.nodes), architecture.edges, strict=True)
            for (start, end), operation in sorted(listed):  # by start, as ours are
                conv = nn.Conv2d(width, width, int(operation[-1]) if "conv" in operation else 1,
                                 padding="same", bias=False)  # fmt: skip
                if "conv" in operation:
                    weight = weights.pop(0).detach()
                    conv.weight.data = weight if operation == "conv3" else weight[..., 1:2, 1:2]
                chosen = {"skip": nn.Identity(), "none": None,
                          "pool": nn.AvgPool2d(3, 1, 1, count_include_pad=False)}  # fmt: skip
                if (module := chosen.get(operation, conv)) is not None:
                    into[f"{start}{end}"] = module
            self.operations.append(into)

    def forward(self, x: Tensor) -> Tensor:
        def settled(z: Tensor) -> Tensor:
            return functional.layer_norm(z, z.shape[1:]).relu()

        z = settled(self.stem(x.view(-1, 1, 8, 8)))
        for into in self.operations:
            nodes = [z]
            for end in range(1, self.architecture.nodes):
                arriving = [into[f"{start}{end}"](nodes[start]) for start in range(end)
                            if f"{start}{end}" in into]  # fmt: skip
                nodes.append(settled(sum(arriving)) if arriving else torch.zeros_like(z))
            z = nodes[-1]
        return self.out(functional.avg_pool2d(z, MAP // 2).flatten(1))


CELLS = [
    ("conv3", "pool", "conv1", "skip", "conv3", "conv1"),
    ("conv1", "conv3", "none", "none", "skip", "pool"),
    ("none", "none", "none", "conv3", "none", "none"),
    ("skip", "none", "pool", "none", "none", "skip"),
]


@pytest.mark.parametrize("edges", CELLS, ids="-".join)
@pytest.mark.parametrize("depth", [1, 2])
def test_output_and_gradients_are_those_of_plain_layers(edges, depth) -> None:
    architecture = Architecture(edges, depth, 4)
    torch.manual_seed(depth)
    ours = ConvNet(SPACE, architecture)
    plain = Plain(ours, architecture)
    x, y = torch.randn(12, 64), torch.randint(10, (12,))
    out = ours(x)
    torch.testing.assert_close(out, plain(x), rtol=1e-5, atol=1e-5)
    functional.cross_entropy(out, y).backward()
    mine = [ours.stem.weight.grad.clone()]
    for cell in ours.cells:
        for conv in cell.convolutions:
            mine += [g[..., 1:2, 1:2] if r.sum() == 4 else g for g, r in
                     zip(conv.weight.grad.split(4), conv.reach.split(4), strict=True)]  # fmt: skip
            assert not (conv.weight.grad * (1 - conv.reach)).any()  # what is masked does not learn
    ours.zero_grad()
    functional.cross_entropy(plain(x), y).backward()
    theirs = [plain.stem.weight.grad]
    for into in plain.operations:
        theirs += [m.weight.grad for m in into.values() if isinstance(m, nn.Conv2d)]
    assert len(mine) == len(theirs)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a.view_as(b), b, rtol=1e-4, atol=1e-6)


def test_parameters_and_multiply_adds_are_those_of_plain_layers() -> None:
    for edges in CELLS:
        architecture = Architecture(edges, 2, 6)
        plain = Plain(ConvNet(SPACE, architecture), architecture)
        assert SPACE.params(architecture) == sum(w.numel() for w in plain.parameters())
        madds = 0

        def count(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
            nonlocal madds
            places = out[0, 0].numel() if out.dim() == 4 else 1
            madds += places * module.weight.numel()

        for module in plain.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(count)
        plain(torch.zeros(1, 64))
        assert SPACE.madds(architecture) == madds


def training(architecture: Architecture) -> Training:
    return Training(
        partial(ConvNet, SPACE, architecture), Optimizer("adamw", lr=1e-2, weight_decay=1e-2),
        data=Data("digits", train=128), steps=9, batch_size=32, every=(2, 5),
        probes=(Kept(("params", "madds")),),
    )  # fmt: skip


def test_architectures_share_a_program_and_keep_their_rows() -> None:
    cells = [("conv3", "pool", "none", "skip", "skip", "none"),
             ("conv1", "skip", "pool", "none", "none", "pool"),
             ("conv3", "none", "none", "pool", "skip", "none")]  # fmt: skip
    trainings = [training(Architecture(edges, 2, 4)) for edges in cells * 3]
    assert len({one.signature() for one in trainings}) == 1
    assert not trainings[0].why_alone()
    together = train(trainings, list(range(9)))
    for lane in (1, 8):
        alone = train([trainings[lane]], [lane])[0]
        assert alone.metrics == together[lane].metrics
        assert alone.steps == [2, 5, 9]
    sizes = [SPACE.params(Architecture(edges, 2, 4)) for edges in cells]
    assert [outcome.metrics["params"][0] for outcome in together[:3]] == sizes


def test_convolutions_elsewhere_or_of_another_width_are_another_program() -> None:
    some = [Architecture(("conv3", "skip", "skip", "skip", "skip", "skip"), 1, 4),
            Architecture(("skip", "conv3", "skip", "skip", "skip", "skip"), 1, 4),
            Architecture(("conv3", "skip", "skip", "skip", "skip", "skip"), 1, 6)]  # fmt: skip
    assert len({training(a).signature() for a in some}) == 3


def test_it_learns_digits() -> None:
    architecture = Architecture(("none", "none", "none", "conv3", "none", "none"), 2, 6)
    trained = Training(
        partial(ConvNet, SPACE, architecture), Optimizer("adam", lr=1e-2), data=Data("digits"),
        epochs=4, batch_size=32,
    )  # fmt: skip
    accuracy = [outcome.metrics["valid_accuracy"] for outcome in train([trained] * 2, [0, 1])]
    assert np.mean([column[-1] for column in accuracy]) > 0.7
    assert np.mean([column[0] for column in accuracy]) < 0.2


def test_alike_are_networks_of_one_structure() -> None:
    """What is told without building is what building tells: one for one, over the whole space of
    three nodes and some of four."""
    some = [*Space(OPERATIONS, 3, 3, (1, 2), (4, 6)).architectures, *SPACE.architectures[::997]]
    pairs_found = {
        (ConvNet.alike(SPACE, one), described(build(partial(ConvNet, SPACE, one), 0)))
        for one in some
    }
    told, built = zip(*pairs_found, strict=True)
    assert len(pairs_found) == len(set(told)) == len(set(built)) < len(some)


class Changed(ConvNet):
    """Derived from a class that tells its structures apart, and more than that."""

    def __init__(self, space: Space, architecture: Architecture, by: float) -> None:
        super().__init__(space, architecture)
        self.by = by


def test_a_derived_class_is_built_to_be_told() -> None:
    one = SPACE.architectures[5]
    by = [structure(partial(Changed, SPACE, one, number)) for number in (1.0, 2.0)]
    assert by[0] != by[1]
    assert by[0] != structure(partial(ConvNet, SPACE, one))
