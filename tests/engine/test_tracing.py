"""Traced code computes what the function does, and says when it cannot."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.func import grad_and_value, vmap

from harness.engine.tracing import Op, Ref, Simplified, Untraceable, trace
from harness.engine.tracing.code import quickest
from harness.engine.tracing.memory import placed, soon

aten = torch.ops.aten


def test_code_is_the_function_on_other_values() -> None:
    def loss(w, x):
        h = torch.tanh(x @ w["a"] + w["b"])
        return (h * h).mean() + torch.logsumexp(h.flatten(), 0)

    def arguments(seed: int):
        g = torch.Generator().manual_seed(seed)
        w = {"a": torch.randn(3, 4, 5, generator=g), "b": torch.randn(3, 5, generator=g)}
        return w, torch.randn(3, 7, 4, generator=g)

    fused = vmap(grad_and_value(loss))
    run, most = trace(fused, arguments(0))
    w, x = arguments(1)
    grads, losses = run([w["a"], w["b"], x])
    expected, values = fused(w, x)
    assert torch.equal(losses, values)
    assert all(torch.equal(grads[name], expected[name]) for name in expected)
    assert 3 * 7 * 5 * 4 <= most < 100 * 3 * 7 * 5 * 4  # bytes: at least one activation


def test_what_is_changed_in_place_changes_when_called_and_not_when_traced() -> None:
    def count(total, x):
        total.add_(x.sum())
        return total * 2

    total = torch.zeros(())
    run, _ = trace(count, (total, torch.ones(3)))
    assert total.item() == 0
    assert run([total, torch.ones(3)]).item() == 6
    assert total.item() == 3


def test_what_is_copied_out_is_copied_where_it_was_made_unless_it_changes() -> None:
    def fn(x, one, two, three):
        early, late = x.exp(), x.sin()
        late.add_(1)
        last = early.cos()
        one.copy_(early)
        two.copy_(late)
        three.copy_(last)
        three.add_(1)
        return last

    x, *outs = torch.rand(4, 3).unbind()
    run, _ = trace(fn, (x, *outs))
    got = run([x, *outs])
    expected = [x.exp(), x.sin() + 1, x.exp().cos() + 1]
    assert torch.equal(got, x.exp().cos())
    assert all(map(torch.equal, outs, expected))

    def op(target, args, out):
        return Op(target, args, {}, [Ref(out)], False)

    into, value = torch.zeros(3), torch.ones(3)
    tensors = [value, into, value.exp(), value.sin(), into, value.cos()]
    ops = [
        op(aten.exp.default, (Ref(0),), 2),
        op(aten.sin.default, (Ref(0),), 3),
        op(aten.copy_.default, (Ref(1), Ref(2)), 4),
    ]
    assert soon(ops, tensors) == [ops[0], ops[2], ops[1]]


def test_large_products_are_made_where_they_are_to_lie() -> None:
    """To the last bit, but for those that are small, read again, or made from what lies there."""

    def fn(a, b, one, two, three):
        one.copy_(torch.bmm(a, b))
        two.copy_(torch.bmm(a[:, :9], b))
        again = torch.bmm(b.mT, a.mT)
        three.copy_(again)
        a.copy_(torch.bmm(a, b[:, :, :11]))
        return again.sum(2)

    def arguments():
        g = torch.Generator().manual_seed(0)
        a, b = torch.randn(3, 150, 11, generator=g), torch.randn(3, 11, 130, generator=g)
        rows = torch.full((3, 20_000), 7.0)  # a pack's gradients: a trial's lie beside each other
        one, two = rows[:, :19_500].view(3, 150, 130), torch.zeros(3, 9, 130)
        return a, b, one, two, torch.zeros(3, 130, 150), rows

    expected = arguments()
    returned = fn(*expected[:5])
    given = arguments()
    run, _ = trace(fn, tuple(given[:5]))
    given = arguments()
    assert torch.equal(run([*given[:5]]), returned)
    assert all(map(torch.equal, given, expected))


def test_only_large_products_are_made_where_they_are_to_lie() -> None:
    a, b = torch.zeros(3, 150, 11), torch.zeros(3, 11, 130)
    tensors = [a, b, torch.zeros(3, 150, 130), torch.zeros(3, 150, 130), torch.zeros(3, 150, 130)]

    def listed(tensors, kept=(), factors=(0, 1)):
        product, copy = aten.bmm.default, aten.copy_.default
        ops = [
            Op(product, (Ref(factors[0]), Ref(factors[1])), {}, [Ref(3)], False),
            Op(copy, (Ref(2), Ref(3)), {}, [Ref(4)], False),
        ]
        return [op.target for op in placed(ops, set(kept), tensors)]

    assert listed(tensors) == [aten.bmm.out]
    apart = [aten.bmm.default, aten.copy_.default]
    assert listed(tensors, kept=[Ref(3)]) == apart
    turned = [*tensors[:2], tensors[2].transpose(1, 2).contiguous().transpose(1, 2), *tensors[3:]]
    assert listed(turned) == apart  # which does not lie in order
    few = [one[:, :9] if one.shape[1] == 150 else one for one in tensors]
    assert listed(few) == apart
    square = [torch.zeros(3, 150, 150) for _ in range(5)]
    assert listed(square) == [aten.bmm.out]
    assert listed(square, factors=(0, 2)) == apart


def test_nothing_is_copied_to_what_is_not_there_yet() -> None:
    def fn(x):
        late = x.sin()  # it is made before what it is copied to
        into = x.cos().clone()
        return into.view(3).copy_(late)

    x = torch.rand(3)
    run, _ = trace(fn, (x,))
    assert torch.equal(run([x]), x.sin())


def test_nothing_writes_over_what_is_still_read() -> None:
    def fn(x, bias):
        kept = aten.mul.Scalar(bias, 1)  # a copy until it is simplified away
        wide = kept.view(1, 3)
        y = torch.exp(wide)  # must not write over the bias
        z = x.exp()
        half = z[:2]
        z = z + 1  # must not write over what `half` shows
        w = torch.sigmoid(z) * z + y
        return w.tanh() + half.sum() + bias, y + y

    x, bias = torch.randn(4, 3), torch.randn(3)
    before = x.clone(), bias.clone()
    run, _ = trace(fn, (x, bias))
    for ours, theirs in zip(run([x, bias]), fn(x, bias), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(x, before[0])
    assert torch.equal(bias, before[1])


def test_several_outputs_constants_and_infinities() -> None:
    def fn(x):
        top, where = x.max(0)
        least = torch.full_like(top, float("-inf")).maximum(top)
        return least + torch.tensor([1.0, 2.0]), where, x.clamp(max=float("inf"))

    x = torch.tensor([[1.0, 5.0], [3.0, 2.0]])
    run, _ = trace(fn, (x,))
    for ours, theirs in zip(run([x.flip(0)]), fn(x.flip(0)), strict=True):
        assert torch.equal(ours, theirs)


def test_what_depends_on_values_is_refused() -> None:
    with pytest.raises(Untraceable, match="reads a tensor's value"):
        trace(lambda x: x * 2 if x.sum().item() > 0 else x, (torch.ones(2),))


def test_simplified_by_hand() -> None:
    values = [torch.ones(2, 3).clone() for _ in range(3)] + [torch.ones(3, 2)]
    values += [torch.ones(2, 3).clone() for _ in range(7)]
    ops = [
        Op(aten.view.default, (Ref(0), [2, 3]), {}, [Ref(1)], False),  # changes no shape
        Op(aten.mul.Scalar, (Ref(1), 1), {}, [Ref(2)], False),  # times one
        Op(aten.transpose.int, (Ref(2), 0, 1), {}, [Ref(3)], False),
        Op(aten.transpose.int, (Ref(3), 0, 1), {}, [Ref(4)], False),  # and back
        Op(aten.exp.default, (Ref(4),), {}, [Ref(5)], False),
        Op(aten.neg.default, (Ref(5),), {}, [Ref(6)], False),  # not used
        Op(aten.ones_like.default, (Ref(5),), {}, [Ref(7)], False),  # follows from the shape
        Op(aten.mul.Tensor, (Ref(7), Ref(5)), {}, [Ref(8)], False),  # times ones
        Op(aten.exp.default, (Ref(1),), {}, [Ref(9)], False),  # worked out before
        Op(aten.add.Tensor, (Ref(8), Ref(9)), {}, [Ref(10)], False),
    ]
    less = Simplified(ops, [Ref(10)], values, {})
    assert [(op.target, op.args) for op in less.ops] == [
        (aten.exp.default, (Ref(0),)),
        (aten.add.Tensor, (Ref(5), Ref(5))),
    ]
    assert less.returned == [Ref(10)]
    own = {1: 0, 2: 0, 4: 0, 8: 5, 9: 5}
    assert less.same == {Ref(a): Ref(b) for a, b in own.items()}


def test_what_is_written_to_is_neither_kept_nor_taken_from_before() -> None:
    def fn(x, total):
        filled = torch.zeros_like(x).add_(1)  # no constant
        before = total * 1  # a copy, as long as it matters
        total.add_(x)
        return filled * x, before + total, total * 2, torch.rand(3), torch.rand(3)

    x, total = torch.randn(3), torch.randn(3)
    run, _ = trace(fn, (x, total))
    for _ in range(2):  # what a first call would spoil, a second would show
        ours, theirs = run([x, mine := total.clone()]), fn(x, other := total.clone())
        assert all(map(torch.equal, ours[:3], theirs[:3]))
        assert torch.equal(mine, other)
        assert not torch.equal(ours[3], ours[4])


def test_numbers_and_squares_keep_every_bit() -> None:
    def fn(x):
        return (
            1.1 - x,
            x**2,
            x / 3,
            (x * 0.1) ** 1.0,
            x.double() * 0.1,
            (x * 3).to(torch.bfloat16) / 7,
        )

    x = torch.randn(1000)
    run, _ = trace(fn, (torch.zeros(1000),))
    assert all(map(torch.equal, run([x]), fn(x)))


def test_operations_are_called_by_functions_that_lead_to_them() -> None:
    a, b, out = torch.ones(2, 3), torch.ones(2, 3), torch.ones(2, 3)
    tensors = [a, b, out]
    product = Op(aten.mul.Tensor, (Ref(0), Ref(1)), {}, [Ref(2)], False)
    assert quickest(product, tensors) is torch.mul
    # torch.mul would take its number for a tensor
    scaled = Op(aten.mul.Scalar, (Ref(0), 2), {}, [Ref(2)], False)
    assert quickest(scaled, tensors) is aten.mul.Scalar.op
    into = Op(aten.sum.dim_IntList, (Ref(0), [1], True), {}, [Ref(2)], False)
    assert torch.equal(quickest(into, tensors)(a, [1], True), a.sum(1, keepdim=True))
    assert torch.equal(a, torch.ones(2, 3))  # nothing was run to find out


def test_the_transpose_of_a_product_is_worked_out_the_other_way_round() -> None:
    def fn(a, b):
        return (a @ b).transpose(1, 2), (a @ b.exp()).transpose(1, 2), a.transpose(1, 2) @ a

    a, b = torch.randn(5, 4, 3), torch.randn(5, 3, 2)
    run, _ = trace(fn, (torch.ones(5, 4, 3), torch.ones(5, 3, 2)))
    ours = run([a, b])
    for one, other in zip(ours, fn(a, b), strict=True):
        torch.testing.assert_close(one, other)
        assert one.is_contiguous()


def test_training_does_not_import_a_compiler() -> None:
    code = """
import sys
from functools import partial
from harness.parts.data import Data
from harness.parts.models import MLP
from harness.engine.pack import train
from harness.engine.training import Training
from harness.parts.optimizers import Optimizer
one = Training(partial(MLP, (64, 8, 10)), Optimizer("adam"), Data("digits"), steps=2, batch_size=4)
one.signature(), one.why_alone(), one.sample()
assert {outcome.status for outcome in train([one] * 16, range(16))} == {"finished"}
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"  # it would take longer than most packs


def test_the_most_that_is_held_is_memory_and_not_values() -> None:
    x, w = torch.rand(2, 10, 10), torch.rand(2, 10, 10)
    one = x.nbytes

    def views(x, w):
        # a product of which views are read one after the other, each by something as large as it
        rows = (x @ w).unbind(1)
        return sum(row.sum() * 2 for row in rows)

    def chain(x, w):
        return (((x @ w).relu() * 2).exp() + 1).sum()  # each over the one before

    def two(x, w):
        product = x @ w
        return (product @ w + product).sum()

    for fn, products in ((views, 1), (chain, 1), (two, 2)):
        most = trace(fn, (x, w))[1]
        assert products * one <= most < (products + 0.5) * one, fn
