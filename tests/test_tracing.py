"""Traced code computes what the function does, and says when it cannot."""

from __future__ import annotations

import pytest
import torch
from torch.func import grad_and_value, vmap

from harness.tracing import Op, Ref, Untraceable, simplify, trace

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


def test_simplify_by_hand() -> None:
    shapes = [torch.Size([2, 3])] * 3 + [torch.Size([3, 2])] + [torch.Size([2, 3])] * 3
    ops = [
        Op(aten.view.default, (Ref(0), [2, 3]), {}, [Ref(1)], False),  # changes no shape
        Op(aten.mul.Scalar, (Ref(1), 1), {}, [Ref(2)], False),  # times one
        Op(aten.transpose.int, (Ref(2), 0, 1), {}, [Ref(3)], False),
        Op(aten.transpose.int, (Ref(3), 0, 1), {}, [Ref(4)], False),  # and back
        Op(aten.exp.default, (Ref(4),), {}, [Ref(5)], False),
        Op(aten.neg.default, (Ref(5),), {}, [Ref(6)], False),  # not used
    ]
    left, returned, same = simplify(ops, [Ref(5)], shapes)
    assert [(op.target, op.args) for op in left] == [(aten.exp.default, (Ref(0),))]
    assert returned == [Ref(5)]
    assert same == {Ref(1): Ref(0), Ref(2): Ref(0), Ref(4): Ref(0)}
