"""What is done in other operations gives what torch gives, forward, backward and twice backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from harness.engine import lowering
from harness.engine.lowering import Lowered
from harness.parts import keyed

pytestmark = pytest.mark.usefixtures("one_thread")

LANES = 3


def batched(fn: Callable[..., Tensor], *given: Tensor) -> Tensor:
    def one(*own: Tensor) -> Tensor:
        with Lowered():
            return fn(*own)

    return vmap(one)(*given)


def assert_as_torch(fn: Callable[..., Tensor], *given: Tensor) -> None:
    """Each lane's outputs, gradients and gradients of gradients are those of a call of its own."""
    given = tuple(one.requires_grad_() for one in given)
    ours, theirs = batched(fn, *given), torch.stack([fn(*own) for own in zip(*given, strict=True)])
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    direction = torch.randn(ours.shape)
    once = [
        torch.autograd.grad((out * direction).sum(), given, create_graph=True)
        for out in (ours, theirs)
    ]
    torch.testing.assert_close(once[0], once[1], rtol=1e-4, atol=1e-4)
    squares = [sum((g**2).sum() for g in found) for found in once]
    twice = [torch.autograd.grad(s, given, allow_unused=True) for s in squares]
    for mine, other in zip(*twice, strict=True):
        if other is not None:
            assert mine is not None
            torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-2)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_convolutions(data: Any) -> None:
    axes = data.draw(st.integers(1, 2))

    def each(*values: int) -> tuple[int, ...]:
        return tuple(data.draw(st.sampled_from(values)) for _ in range(axes))

    kernel, stride, dilation, size = each(1, 2, 3, 5), each(1, 2, 3), each(1, 1, 2), each(5, 8, 13)
    padding: Any = each(0, 1, 2)
    if data.draw(st.booleans()):
        padding, stride = "same", (1,) * axes
    examples, channels, out = (data.draw(st.integers(1, 4)) for _ in range(3))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    room = size if padding == "same" else [n + 2 * p for n, p in zip(size, padding, strict=True)]
    assume(padding == "same" or all(r <= n for r, n in zip(reach, room, strict=True)))
    torch.manual_seed(0)
    given_ = [
        torch.randn(LANES, examples, channels, *size),
        torch.randn(LANES, out, channels, *kernel),
    ]
    if data.draw(st.booleans()):
        given_.append(torch.randn(LANES, out))
    conv: Any = (F.conv1d, F.conv2d)[axes - 1]
    assert_as_torch(
        lambda x, w, b=None: conv(x, w, b, stride=stride, padding=padding, dilation=dilation),
        *given_,
    )


def test_convolutions_are_products_and_of_wide_maps_torchs_own(monkeypatch: Any) -> None:
    seen = []
    real = lowering._Convolution.forward
    monkeypatch.setattr(
        lowering._Convolution, "forward", staticmethod(lambda *a: (seen.append(1), real(*a))[1])
    )
    for width, lowered in ((8, 1), (3 * lowering.WIDEST, 1), (3 * lowering.WIDEST + 1, 0)):
        seen.clear()
        batched(F.conv2d, torch.randn(LANES, 2, 2, 8, width), torch.randn(LANES, 4, 2, 3, 3))
        assert len(seen) == lowered
    batched(F.conv1d, torch.randn(LANES, 2, 2, 900), torch.randn(LANES, 4, 2, 3))
    assert len(seen) == 1
    batched(lambda x, w: F.conv1d(x, w, groups=2), torch.randn(3, 2, 4, 9), torch.randn(3, 4, 2, 3))
    assert len(seen) == 1


LAYER = nn.Linear(3, 4)
PRODUCTS: dict[str, Callable[..., Tensor]] = {
    "linear": lambda x, w, b: F.linear(x, w.mT, b),
    "layer": lambda x, w, b: functional_call(LAYER, {"weight": w.mT, "bias": b}, (x,)),
    "turned": lambda x, w, b: F.linear(x.mT.tanh().mT, w.mT, b),
    "@": lambda x, w, b: x @ w + b,
    "matmul": lambda x, w, b: torch.matmul(x, w) + b,
    "method": lambda x, w, b: x.matmul(w) + b,
    "from the left": lambda x, w, b: (w.mT @ x.mT).mT + b,
    "of many that lie so": lambda x, w, b: (w.mT @ x.contiguous().mT).mT + b,
}


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
@pytest.mark.parametrize("lies", ["in rows", "in columns"])
@pytest.mark.parametrize("shape", [(5, 3), (2, 5, 3), (2, 1, 5, 3)], ids=str)
def test_one_matrix_with_many(
    product: Callable[..., Tensor], lies: str, shape: tuple[int, ...]
) -> None:
    x = torch.randn(LANES, *shape)
    if lies == "in columns":
        x = x.mT.contiguous().mT
    assert_as_torch(product, x, torch.randn(LANES, 3, 4), torch.randn(LANES, 4))


@pytest.mark.parametrize(
    ("one", "other"),
    [((3,), (3,)), ((5, 3), (3,)), ((5,), (5, 3)), ((2, 5, 3), (3,)), ((5,), (2, 5, 3)), ((2, 5, 3), (2, 3, 4))],
    ids=str,
)  # fmt: skip
def test_other_products_are_torchs(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    for product in (torch.matmul, Tensor.matmul, lambda x, w: x @ w):
        assert_as_torch(product, torch.randn(LANES, *one), torch.randn(LANES, *other))


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_no_example_has_a_copy_of_the_weights(product: Callable[..., Tensor]) -> None:
    made: list[int] = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor) and not out._is_view():
                made.append(out.numel())
            return out

    x, w = torch.randn(LANES, 16, 3, 2).mT, torch.randn(LANES, 3, 4)  # its rows are columns
    given = [one.requires_grad_() for one in (x, w, torch.randn(LANES, 4))]
    with Sizes():
        batched(product, *given).sum().backward()
    # rows of 2 x 4 answers; weights for each example would be 3 x 4
    assert max(made) <= LANES * 16 * 2 * 4


def test_maps_may_be_viewed_and_flattened_as_torchs() -> None:
    def flat(x: Tensor, w: Tensor) -> Tensor:
        z = F.max_pool2d(F.conv2d(x, w, padding=1).tanh(), 2)
        ways = (z.view(len(z), -1), z.flatten(1), z.reshape(len(z), -1), torch.flatten(z, 1))
        assert all(bool(way.shape == ways[0].shape) for way in ways)
        return ways[0] + ways[1] * ways[2] + ways[3]

    assert_as_torch(flat, torch.randn(LANES, 2, 3, 6, 8), torch.randn(LANES, 5, 3, 3, 3))


@pytest.mark.parametrize(
    ("targets", "sources", "width", "heads"), [(8, 8, 4, 4), (5, 7, 3, 1), (20, 8, 4, 2), (8, 20, 18, 2)]
)  # fmt: skip
@pytest.mark.parametrize("mask", ["", "causal", "bool", "hidden", "float"])
def test_attention(targets: int, sources: int, width: int, heads: int, mask: str) -> None:
    torch.manual_seed(0)
    masks: dict[str, Tensor] = {
        "bool": torch.rand(targets, sources) > 0.3,
        "hidden": torch.rand(2, 1, targets, sources) > 0.3,
        "float": torch.randn(targets, sources),
    }
    masks["bool"][:, 0] = masks["hidden"][..., 0] = True
    masks["hidden"][:, :, 1] = False  # sees nothing: torch gives zeros
    q, k, v = (torch.randn(LANES, 2, heads, n, width) for n in (targets, sources, sources))
    seen = masks.get(mask)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, seen, is_causal=mask == "causal")

    given_ = [one.requires_grad_() for one in (q, k, v)]
    ours = batched(attend, *given_)
    theirs = torch.stack([attend(*own) for own in zip(*given_, strict=True)])
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    direction = torch.randn(ours.shape)
    found = [torch.autograd.grad((out * direction).sum(), given_) for out in (ours, theirs)]
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


def masks_of(key: int, products: bool, rate: float = 0.5) -> tuple[Tensor, Tensor]:
    x = torch.ones(40, 50)
    with Lowered(torch.tensor(key), products):
        return F.dropout(x, rate), F.dropout(x, rate)


def test_each_call_of_dropout_draws_a_mask_of_its_own_from_the_key() -> None:
    first, second = masks_of(5, True)
    assert ((first == 0) & (second == 0)).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert first.mean().item() == pytest.approx(1, abs=0.06)
    for one, same in zip((first, second), masks_of(5, False), strict=True):
        assert torch.equal(one, same)
    assert not torch.equal(first, masks_of(6, True)[0])
    assert torch.equal(masks_of(5, True, 0.0)[0], torch.ones(40, 50))


def test_attention_drops_out_alike_with_and_without_products() -> None:
    attention = nn.MultiheadAttention(8, 2, dropout=0.5)
    x = torch.randn(5, 3, 8)
    outs = []
    for products in (True, False):
        with Lowered(torch.tensor(3), products):
            outs.append(attention(x, x, x, need_weights=False)[0])
    torch.testing.assert_close(*outs)
    with Lowered(torch.tensor(4)):
        assert not torch.allclose(attention(x, x, x, need_weights=False)[0], outs[0], atol=1e-3)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.25, 0.5, 0.999])
def test_masks_are_what_the_coins_say(rate: float) -> None:
    keys, of = keyed.keys([1, 2, 3], "mask"), torch.tensor(rate)
    told = (keyed.coins(keys, 1001) >= of * 65536).float() / (1 - of)
    assert torch.equal(keyed.kept(keys, 1001, of), told)
    torch.testing.assert_close(keyed.kept(keys, 1001, rate), told, rtol=1e-4, atol=0)
