"""What torch does not promise: used in one module only, and the same numbers without it."""

from __future__ import annotations

import ast
import re
from collections import OrderedDict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness import Data, Optimizer, Training, train
from harness.engine import program
from harness.engine.outcome import Outcome
from harness.parts import torch_private
from harness.parts.models import MLP
from harness.parts.torch_private import BATCH_NORM, adam, registers, signature

pytestmark = pytest.mark.usefixtures("one_thread")

HARNESS = Path(torch_private.__file__).parent.parent
aten = torch.ops.aten
# attributes of torch's modules and operations, whatever they are read of
PRIVATE = {"_schema", "_op", "_overloadpacket", "_parameters", "_buffers", "_modules"}


def private(text: str) -> set[str]:
    """What a module's text uses of torch by a name that is not public."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            home = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names = {".".join([*home, alias.name]) for alias in node.names}
            found |= {name for name in names if name.startswith("torch.") and "._" in name}
        elif isinstance(node, ast.Attribute):
            chain = ast.unparse(node).split(".")
            of_torch = chain[0] in ("torch", "nn", "functional", "F", "aten")
            mine = chain[0] in ("self", "cls")
            if (of_torch and re.match("_[^_]", chain[-1])) or (chain[-1] in PRIVATE and not mine):
                found.add(".".join(chain))
    return {name for name in found if not name.startswith("aten.")}  # operations of theirs have _


def test_private_names_stand_in_one_module() -> None:
    files = {path: private(path.read_text()) for path in sorted(HARNESS.rglob("*.py"))}
    assert files.pop(Path(torch_private.__file__))
    assert {str(path): names for path, names in files.items() if names} == {}


@pytest.mark.parametrize(
    "line", ["torch._C._x()", "import torch._dynamo", "from torch.utils._pytree import tree_map",
             "op._schema.name", "child._buffers['a']", "nn.modules.batchnorm._BatchNorm"],
)  # fmt: skip
def test_private_names_are_found(line: str) -> None:
    assert private(line)


# --- what happens without ------------------------------------------------------------------------


def trained(rule: str) -> list[Outcome]:
    """Rows of a pack large enough for torch's own kernels."""
    rates = (1e-3, 1e-3, 3e-3)
    return train(
        [
            Training(
                partial(MLP, (64, 80, 10)), Optimizer(rule, lr=rate, corrected=float(k != 1)),
                Data("digits", train=160), epochs=2, batch_size=32,
            )
            for k, rate in enumerate(rates)
        ],
        range(3), device="cpu",
    )  # fmt: skip


def moved_by_sgd(rule: str) -> list[Outcome]:
    return train(
        [
            Training(
                partial(MLP, (64, 256, 10)), Optimizer(rule, lr=rate, weight_decay=0.01),
                Data("digits", train=160), epochs=2, batch_size=32,
            )
            for rate in (0.1, 0.2, 0.1)
        ],
        range(3), device="cpu",
    )  # fmt: skip


def columns(outcomes: list[Outcome]) -> list[np.ndarray]:
    return [np.array([*outcome.metrics.values()]) for outcome in outcomes]


@pytest.mark.parametrize("rule", ["adam", "adamw"])
def test_without_its_kernel_adam_trains_the_same(monkeypatch, rule: str) -> None:
    before = columns(trained(rule))
    asked = []
    monkeypatch.setitem(torch_private.KERNELS, rule, "_gone")
    real = torch_private._public_adam
    monkeypatch.setattr(
        torch_private,
        "_public_adam",
        lambda name, *a, **n: (asked.append(name), real(name, *a, **n)),
    )
    after = columns(trained(rule))
    assert set(asked) == {rule}
    assert all(map(np.array_equal, before, after))


@pytest.mark.parametrize("rule", ["sgd", "momentum", "nesterov"])
def test_without_its_kernel_sgd_trains_the_same(monkeypatch, rule: str) -> None:
    before = columns(moved_by_sgd(rule))
    asked = []
    monkeypatch.setitem(torch_private.KERNELS, "sgd", "_gone")
    real = torch_private._public_sgd
    monkeypatch.setattr(
        torch_private, "_public_sgd", lambda *a, **n: (asked.append(1), real(*a, **n))
    )
    after = columns(moved_by_sgd(rule))
    assert asked
    assert all(map(np.array_equal, before, after))


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_counts_its_steps_nowhere(monkeypatch, decoupled: bool) -> None:
    """The same step with the kernel and without, which both leave what counts steps as it was."""

    def moved() -> list[Tensor]:
        torch.manual_seed(0)
        w, g, m, v = (torch.randn(7) for _ in range(4))
        v, t = v.square(), torch.tensor(3.0)
        adam(decoupled)([w], [g], [m], [v], [], [t], lr=0.1, beta1=0.9, beta2=0.99,
                        weight_decay=0.01, eps=1e-8, amsgrad=False, maximize=False)  # fmt: skip
        assert t == 3
        return [w, m, v]

    before = moved()
    for rule in torch_private.KERNELS:
        monkeypatch.setitem(torch_private.KERNELS, rule, "_gone")
    assert all(map(torch.equal, before, moved()))


def test_without_signatures_nothing_is_traced_and_rows_agree(monkeypatch) -> None:
    before = columns(trained("adam"))
    monkeypatch.setattr(program, "_PROGRAMS", OrderedDict())
    monkeypatch.setattr("harness.engine.tracing.recording.signature", lambda op: None)
    after = columns(trained("adam"))
    (made,) = program._PROGRAMS.values()
    assert made.most_bytes == 0
    for a, b in zip(before, after, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_modes_that_do_not_say_that_they_are_looked_into_see_the_same(monkeypatch) -> None:
    before = columns(trained("adam"))
    monkeypatch.setattr(program, "_PROGRAMS", OrderedDict())
    monkeypatch.delattr(torch_private.Mode, "_should_skip_dynamo")
    assert all(map(np.array_equal, before, columns(trained("adam"))))


# --- what each says ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "args"),
    [
        (aten.add.Tensor, (torch.ones(3), torch.ones(3))),
        (aten.add_.Tensor, (torch.ones(3), torch.ones(3))),
        (aten.copy_.default, (torch.zeros(3), torch.ones(3))),
        (aten.view.default, (torch.ones(6), [2, 3])),
        (aten.expand.default, (torch.ones(1), [4])),
        (aten.mul.out, (torch.ones(3), torch.full((3,), 2.0), torch.zeros(3))),
        (aten.sum.dim_IntList, (torch.ones(2, 3), [1])),
    ],
    ids=str,
)
def test_a_signature_says_what_an_operation_does(op, args) -> None:
    says = signature(op)
    assert says is not None
    given = [a.clone() if isinstance(a, Tensor) else a for a in args]
    positional = given[:2] if op is aten.mul.out else given
    out = op(*positional, **({"out": given[2]} if op is aten.mul.out else {}))
    changed = {
        name
        for name, a, b in zip(says.arguments, args, given, strict=False)
        if isinstance(a, Tensor) and not torch.equal(a, b)
    }
    assert changed == says.written
    homes = {a.untyped_storage().data_ptr() for a in given if isinstance(a, Tensor)}
    assert (out.untyped_storage().data_ptr() in homes) == says.shares
    assert op is not aten.add_.Tensor or says.name == "add_"


def test_what_says_nothing_has_no_signature() -> None:
    assert signature(len) is None


def test_what_is_put_among_a_modules_own_is_its_own() -> None:
    class Guarded(nn.BatchNorm1d):
        def __setattr__(self, name, value) -> None:
            if name in ("weight", "running_mean") and getattr(self, "made", False):
                raise AssertionError(name)
            super().__setattr__(name, value)

    module = Guarded(3)
    module.made = True
    parameters, buffers = registers(module)
    assert parameters.keys() == dict(module.named_parameters()).keys()
    assert buffers.keys() == dict(module.named_buffers()).keys()
    parameters["weight"] = new = nn.Parameter(torch.full((3,), 2.0))
    buffers["running_mean"] = mean = torch.ones(3)
    assert module.weight is new
    assert module.running_mean is mean


def test_batch_norm_is_of_any_dimension() -> None:
    norms = (nn.BatchNorm1d(2), nn.BatchNorm2d(2), nn.BatchNorm3d(2), nn.SyncBatchNorm(2))
    assert all(isinstance(norm, BATCH_NORM) for norm in norms)
    assert not isinstance(nn.LayerNorm(2), BATCH_NORM)
    assert not isinstance(nn.GroupNorm(1, 2), BATCH_NORM)
