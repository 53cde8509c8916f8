"""What vmap cannot batch, or batches badly, in operations that it batches well.

vmap makes of a convolution one of many groups, which is no quicker than one trial after another;
of weights that meet rows which do not lie one after another it makes a copy for every example;
attention, and dropout that is called as a function, it cannot batch at all. `Lowered` is a mode
around a module's forward pass: it sees the functions of torch that are called, by a layer or by the
author, and does these as matrix products, sums and keyed masks. What it does is traced, so that
looking costs nothing in training.

One module: the rules share how patches and heads are laid out for matrix products, and only
`Lowered` calls them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from harness.parts import keyed

# The numbers of masks that no `Dropout` layer has.
CALLED = 1 << 32

# How many times the kernels' width a map may be wide. A row of it is then multiplied by one matrix,
# in which the kernels lie at each place with zeros beside them: products with zeros take less time
# than laying out patches that overlap, as long as there are not too many.
WIDEST = 4


class Lowered(TorchFunctionMode):
    """Convolutions, attention and dropout, done as vmap can batch them.

    Args:
        key: () int64, of which this pass's masks of dropout are a function.
        products: Whether to do all of it as vmap can batch it. Otherwise only dropout, and what it
            is a part of: then a module that is not batched trains as torch would have it, on the
            masks that it has in a pack.
    """

    def __init__(self, key: Tensor | None = None, products: bool = True) -> None:
        super().__init__()
        self.key, self.masks = key, 0  # masks drawn so far
        self.products = products

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        rule = _RULES.get(func) or (_PRODUCTS.get(func) if self.products else None)
        out = NotImplemented if rule is None else rule(self, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {})) if out is NotImplemented else out

    def mask(self, shape: torch.Size, rate: float, like: Tensor) -> Tensor:
        """The next mask: 0 where it leaves out, and 1 / (1 - rate) elsewhere. Which one it is
        depends on the key and on how many came before."""
        key = like.new_zeros((), dtype=torch.int64) if self.key is None else self.key
        key = keyed.mix(key, CALLED + self.masks).unsqueeze(0)  # () -> (1,)
        self.masks += 1
        return keyed.kept(key, math.prod(shape), rate).view(shape).to(like.dtype)


# --- functions of lanes --------------------------------------------------------------------------


class _OfLanes(torch.autograd.Function):
    """A function of tensors that begin with lanes (J, ...) or, shared by all, with one (1, ...): to
    batch it is to give it more lanes. Such functions are torch's to differentiate, twice too."""

    @classmethod
    def of(cls, *given: Any) -> Any:
        """The function of these tensors."""
        return cls.apply(*given)  # type: ignore[no-untyped-call]

    @classmethod
    def vmap(cls, info: Any, in_dims: tuple[int | None, ...], *given: Any) -> Any:
        def laid(one: Any, dim: int | None) -> Any:
            return one.movedim(dim, 0) if dim is not None else one

        given = tuple(map(laid, given, in_dims))
        tensors = [isinstance(one, Tensor) for one in given]
        within = max(
            one.shape[dim is not None]
            for one, dim, is_tensor in zip(given, in_dims, tensors, strict=True)
            if is_tensor
        )

        def widened(one: Any, dim: int | None) -> Any:
            if not isinstance(one, Tensor) or (dim is None and len(one) == 1):
                return one
            one = one if dim is not None else one.expand(info.batch_size, *one.shape)
            return one.expand(-1, within, *one.shape[2:]).flatten(0, 1)

        outs = cls.of(*map(widened, given, in_dims))
        single = isinstance(outs, Tensor)
        found = [
            (out, None) if len(out) == 1 else (_parted(out, 0, (-1, within)), 0)
            for out in ((outs,) if single else outs)
        ]
        return found[0] if single else tuple(zip(*found, strict=True))


def _for(one: Tensor, whose: Tensor) -> Tensor:
    """A gradient of every lane as that of a tensor that they may share."""
    return one.sum(0, keepdim=True) if len(whose) < len(one) else one


def _parted(x: Tensor, dim: int, sizes: tuple[int, ...]) -> Tensor:
    parts: Tensor = x.unflatten(dim, sizes)  # type: ignore[no-untyped-call]
    return parts


class _Product(_OfLanes):
    """Products of small matrices (J, T, E, n) by (J, E, S, n), term by term of the sum. As products
    of matrices they would take three times as long."""

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        terms = [
            (left.unsqueeze(2), right.unsqueeze(1))  # (J, T, 1, n), (J, 1, S, n)
            for left, right in zip(a.contiguous().unbind(2), b.contiguous().unbind(1), strict=True)
        ]
        out = terms[0][0] * terms[0][1]
        for left, right in terms[1:]:
            out.addcmul_(left, right)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        a, b = ctx.saved_tensors
        to_a = to_b = None
        if ctx.needs_input_grad[0]:
            to_a = _for(_Product.of(g, b.transpose(1, 2)), a)
        if ctx.needs_input_grad[1]:
            to_b = _for(_Product.of(a.transpose(1, 2), g), b)
        return to_a, to_b


# --- dropout and attention -----------------------------------------------------------------------


def _dropout(
    mode: Lowered, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Any:
    if inplace or not 0 <= p < 1:
        return NotImplemented
    return input * mode.mask(input.shape, p, input) if training and p else input


def _dropout_of_channels(
    mode: Lowered, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Any:
    if inplace or not 0 <= p < 1:
        return NotImplemented
    if not training or not p:
        return input
    mask = mode.mask(input.shape[:2], p, input)
    return input * mask.view(*mask.shape, *(1,) * (input.dim() - 2))


def _attention(
    mode: Lowered,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """softmax(Q Kᵀ / √d) V, as Vaswani et al. 2017, eq. 1, write it."""
    if not 0 <= dropout_p < 1 or (is_causal and attn_mask is not None):
        return NotImplemented
    if not dropout_p and not mode.products:
        return NotImplemented
    if enable_gqa:
        key, value = (
            one.repeat_interleave(query.shape[-3] // one.shape[-3], -3) for one in (key, value)
        )
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    if is_causal:
        shape = query.shape[-2], key.shape[-2]
        attn_mask = torch.ones(shape, dtype=torch.bool, device=query.device).tril()
    broadcast: Any = torch.broadcast_shapes
    outer = broadcast(query.shape[:-2], key.shape[:-2], value.shape[:-2])

    def aside(one: Tensor) -> Tensor:
        """(..., T, E) to (T, E, n): a sequence's numbers apart, those of others side by side."""
        one = one.expand(*outer, *one.shape[-2:]).reshape(-1, *one.shape[-2:])
        return one.permute(1, 2, 0)

    product = _product if mode.products else _matrix_product
    q, k, v = (aside(one).float() for one in (query * scale, key, value))
    seen = None if attn_mask is None else aside(attn_mask)
    shares = _shares(product(q, k.transpose(0, 1)), seen)  # (T, S, n)
    if dropout_p:
        shares = shares * mode.mask(shares.shape, dropout_p, shares)
    out = product(shares, v).to(value.dtype)
    return out.permute(2, 0, 1).reshape(*outer, *out.shape[:2])


def _shares(scores: Tensor, seen: Tensor | None) -> Tensor:
    """The softmax of scores (T, S, n) over S, of what may be seen: a mask, or numbers to add."""
    if seen is None:
        return scores.softmax(1)
    hidden = ~seen if seen.dtype == torch.bool else seen == -math.inf
    nothing = hidden.all(1, keepdim=True)  # where nothing may be seen, all shares are zero
    if seen.dtype == torch.bool:
        scores = scores.masked_fill(hidden & ~nothing, -math.inf)
    else:
        scores = scores + seen.masked_fill(nothing, 0)
    return scores.softmax(1).masked_fill(nothing, 0)


# Matrices of at most so many numbers along each side are multiplied by elementwise operations.
SMALL = 16


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Products (T, E, n) by (E, S, n) to (T, S, n) of matrices that lie side by side."""
    if max(*a.shape[:2], b.shape[1]) <= SMALL:
        out: Tensor = _Product.of(a.unsqueeze(0), b.unsqueeze(0))
        return out.squeeze(0)
    return _matrix_product(a, b)


def _matrix_product(a: Tensor, b: Tensor) -> Tensor:
    return (a.permute(2, 0, 1) @ b.permute(2, 0, 1)).permute(1, 2, 0)


# Asks whether any function is to be done in another way, and so would never come to its own text.
_UNASKED = {name: lambda *_: False for name in ("has_torch_function", "has_torch_function_unary")}
_within = functional.multi_head_attention_forward
_multi_head = FunctionType(
    _within.__code__, {**_within.__globals__, **_UNASKED}, None, _within.__defaults__
)


def _attention_of_heads(mode: Lowered, *args: Any, **kwargs: Any) -> Any:
    """torch's own text, with what it calls done as here."""
    with mode:
        return _multi_head(*args, **kwargs)


# --- convolutions --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Along:
    """How a kernel goes along one axis.

    Args:
        size: Positions read.
        taps: Numbers of the kernel.
        stride: Positions from one placement to the next.
        dilation: Positions from one tap to the next.
        padding: Zeros before the first position.
        after: Zeros behind the last.
    """

    size: int
    taps: int
    stride: int
    dilation: int
    padding: int
    after: int

    @property
    def reach(self) -> int:
        """Positions from the first tap to the last, both counted."""
        return self.dilation * (self.taps - 1) + 1

    @property
    def places(self) -> int:
        """Placements of the kernel."""
        return (self.size + self.padding + self.after - self.reach) // self.stride + 1

    @property
    def back(self) -> _Along:
        """The same kernel's way from the placements to the positions. All positions that lie within
        one stride see the same placements, and are worked out as one."""
        taps = -(-self.reach // self.stride)
        first, last = self.padding // self.stride, (self.size - 1 + self.padding) // self.stride
        return _Along(self.places, taps, 1, 1, taps - 1 - first, last + 1 - self.places)

    def read(self) -> list[list[int]]:
        """The positions that the taps of each placement read; outside of `size` there are zeros."""
        return [
            [place * self.stride + tap * self.dilation - self.padding for tap in range(self.taps)]
            for place in range(self.places)
        ]


def _patches(x: Tensor, along: _Along) -> Tensor:
    """What each placement reads, (J, B, L, R) to (J, B, places, taps R)."""
    lanes, batch, length, width = x.shape
    read = along.read()
    inside = torch.tensor([min(max(at, 0), length - 1) for row in read for at in row])
    found = x.reshape(lanes * batch, length, width).index_select(1, inside.to(x.device))
    found = found.view(lanes, batch, along.places, along.taps, width)
    for tap in range(along.taps):  # beyond the border
        before = sum(row[tap] < 0 for row in read)
        beyond = sum(row[tap] >= length for row in read)
        if before:
            found[:, :, :before, tap].zero_()
        if beyond:
            found[:, :, along.places - beyond :, tap].zero_()
    return found.flatten(3)


def _summed(patches: Tensor, along: _Along) -> Tensor:
    """The transpose of `_patches`: each position's sum over the patches that it is in."""
    parts = _parted(patches, 3, (along.taps, -1))
    found = parts.new_zeros(*parts.shape[:2], along.size, parts.shape[4])
    read = along.read()
    for tap in range(along.taps):
        inside = [n for n, row in enumerate(read) if 0 <= row[tap] < along.size]
        if inside:
            first, last = inside[0], inside[-1]
            into = slice(read[first][tap], read[last][tap] + 1, along.stride)
            found[:, :, into] += parts[:, :, first : last + 1, tap]
    return found


class _Convolution(_OfLanes):
    """A convolution along one axis as a matrix product: x (J, B, L, R), weight (J, taps, R, N) and
    bias (J, 1, N) to (J, B, places, N). The patches (J, B, places, taps R) are its second result,
    so that the gradients, which are products too, can be differentiated once more."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor, along: _Along) -> tuple[Tensor, Tensor]:
        patches, lanes = _patches(x, along), max(len(x), len(weight))
        rows = patches.flatten(1, 2).expand(lanes, -1, -1)
        out = (rows @ weight.flatten(1, 2).expand(lanes, -1, -1)).add_(bias)
        return out.view(lanes, x.shape[1], along.places, -1), patches

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _, weight, bias, ctx.along = inputs
        ctx.save_for_backward(weight, bias, output[1])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, g_patches: Tensor | None) -> Any:
        weight, bias, patches = ctx.saved_tensors
        to_x = to_weight = to_bias = None
        if g is not None:
            g = g.contiguous()
            flat = g.flatten(1, 2)  # (J, B places, N)
            if ctx.needs_input_grad[1]:
                rows = patches.flatten(1, 2).expand(len(g), -1, -1)
                to_weight = _for(rows.transpose(1, 2) @ flat, weight).view(weight.shape)
            if ctx.needs_input_grad[2]:
                to_bias = _for(flat.sum(1, keepdim=True), bias)
            if ctx.needs_input_grad[0]:
                to_x = _for(_to_positions(g, weight, ctx.along), patches)
        if g_patches is not None and ctx.needs_input_grad[0]:
            more = _summed(g_patches, ctx.along)
            to_x = more if to_x is None else to_x + more
        return to_x, to_weight, to_bias, None


def _to_positions(g: Tensor, weight: Tensor, along: _Along) -> Tensor:
    """From the gradient at the placements (J, B, places, N) to that at the positions (J, B, L, R).

    Either to what each placement read, which is then summed; or as a convolution of the gradient,
    with the positions of one stride side by side. What lays out fewer numbers takes less time.
    """
    back, (lanes, taps, width, out) = along.back, weight.shape
    if along.places * taps * width <= back.places * back.taps * out:
        read = g.flatten(1, 2) @ weight.flatten(1, 2).transpose(1, 2).expand(len(g), -1, -1)
        return _summed(_parted(read, 1, (g.shape[1], along.places)), along)
    kernel = weight.new_zeros(lanes, back.taps * along.stride, out, width)
    kernel[:, : along.reach : along.dilation] = weight.transpose(2, 3)
    # the latest placement first
    kernel = _parted(kernel, 1, (back.taps, along.stride)).flip(1).transpose(2, 3)
    kernel = kernel.reshape(lanes, back.taps * out, along.stride * width)
    found = _patches(g, back).flatten(1, 2) @ kernel.expand(len(g), -1, -1)
    found = found.view(len(g), g.shape[1], back.places * along.stride, width)
    first = along.padding % along.stride
    return found[:, :, first : first + along.size]


class _Banded(_OfLanes):
    """Kernels (J, taps R, O) as matrices (J, L R places, O) by which whole rows are multiplied: the
    numbers of a tap are where its placements read, and zeros elsewhere.

    Args:
        kernels: For each of `outer` rows of a kernel, `along.taps` times `width` numbers.
        outer: Rows of a kernel.
        width: Channels.
        along: How kernels go along a row.
    """

    @staticmethod
    def forward(kernels: Tensor, outer: int, width: int, along: _Along) -> Tensor:
        # (tap of a row, position, channel, placement): which number lies there, or the zero
        none, read = kernels.shape[1], along.read()
        lies = [
            (row * along.taps + reads.index(at)) * width + channel if at in reads else none
            for row in range(outer)
            for at in range(along.size)
            for channel in range(width)
            for reads in read
        ]
        return _chosen(kernels, lies)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _, ctx.outer, ctx.width, ctx.along = inputs

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        along, places = ctx.along, ctx.along.places
        none, read = g.shape[1], along.read()
        at = [
            ((row * along.size + reads[tap]) * ctx.width + channel) * places + place
            if 0 <= reads[tap] < along.size
            else none
            for row in range(ctx.outer)
            for tap in range(along.taps)
            for channel in range(ctx.width)
            for place, reads in enumerate(read)
        ]
        return _parted(_chosen(g, at), 1, (-1, places)).sum(2), None, None, None


def _chosen(rows: Tensor, which: list[int]) -> Tensor:
    """These of the rows (J, n, R); number n is a row of zeros."""
    zero = rows.new_zeros(len(rows), 1, rows.shape[2])
    return torch.cat([rows, zero], 1).index_select(1, torch.tensor(which, device=rows.device))


def _of(value: Any, axis: int) -> int:
    """What torch's functions are given for an axis: one number for all, or one for each."""
    return int(value if isinstance(value, int) else value[min(axis, len(value) - 1)])


def _along(size: int, taps: int, stride: Any, padding: Any, dilation: Any, axis: int) -> _Along:
    """How a kernel goes along an axis, from what torch's functions are given."""
    spread = _of(dilation, axis) * (taps - 1)
    if padding == "same":
        before, after = spread // 2, spread - spread // 2
    else:
        before = after = 0 if padding == "valid" else _of(padding, axis)
    return _Along(size, taps, _of(stride, axis), _of(dilation, axis), before, after)


def _lowers(input: Tensor, weight: Tensor, padding: Any, stride: Any, groups: int) -> bool:
    """Whether a convolution is one of those that are better done here. On a GPU torch's own are."""
    return (
        groups == 1
        and input.device.type == "cpu"
        and input.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and input.dim() == weight.dim()
        and input.shape[1] == weight.shape[1]
        and not (padding == "same" and stride not in (1, (1,), (1, 1)))
    )


def _convolution_1d(
    mode: Lowered, input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1,
    padding: Any = 0, dilation: Any = 1, groups: int = 1,
) -> Any:  # fmt: skip
    if not _lowers(input, weight, padding, stride, groups):
        return NotImplemented
    along = _along(input.shape[2], weight.shape[2], stride, padding, dilation, 0)
    if along.places < 1:
        return NotImplemented
    x = input.transpose(1, 2).unsqueeze(0)  # (B, C, L) -> (1, B, L, C)
    kernel = weight.permute(2, 1, 0).unsqueeze(0)  # (O, C, taps) -> (1, taps, C, O)
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    out, _ = _Convolution.of(x, kernel, bias.view(1, 1, -1), along)
    return out.squeeze(0).transpose(1, 2)


def _convolution_2d(
    mode: Lowered, input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1,
    padding: Any = 0, dilation: Any = 1, groups: int = 1,
) -> Any:  # fmt: skip
    if not _lowers(input, weight, padding, stride, groups):
        return NotImplemented
    down, across = (
        _along(input.shape[2 + axis], weight.shape[2 + axis], stride, padding, dilation, axis)
        for axis in (0, 1)
    )
    if down.places < 1 or across.places < 1 or across.size > WIDEST * across.taps:
        return NotImplemented
    (out, channels, rows, _), places = weight.shape, across.places
    kernel = weight.permute(2, 3, 1, 0).reshape(1, -1, out)  # (O, C, h, w) -> (1, h w C, O)
    band = _Banded.of(kernel, rows, channels, across)
    band = band.view(1, rows, across.size * channels, places * out)
    bias = weight.new_zeros(out) if bias is None else bias
    x = input.permute(0, 2, 3, 1).flatten(2).unsqueeze(0)  # (B, C, H, W) -> (1, B, H, W C)
    found, _ = _Convolution.of(x, band, bias.repeat(places).view(1, 1, -1), down)
    return _parted(found.squeeze(0), 2, (places, out)).permute(0, 3, 1, 2)


# --- products of one matrix with many --------------------------------------------------------------


def _linear(mode: Lowered, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    """Of rows in one sheet: where they do not lie one after another, as behind a transposition,
    torch multiplies example by example, and vmap gives each of them a copy of the weights."""
    if input.dim() < 3 or weight.dim() != 2 or input.is_contiguous():
        return NotImplemented
    return _of_sheet(input, weight, bias)


def _of_sheet(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(..., N, in) rows to (..., N, out), however they lie."""
    sheet = input.flatten(0, -2)  # (..., N, in) -> (... N, in)
    return functional.linear(sheet, weight, bias).view(*input.shape[:-1], len(weight))


def _matmul(mode: Lowered, input: Tensor, other: Tensor, **kwargs: Any) -> Any:
    """A matrix times many, or many times a matrix, in the same way."""
    if not kwargs and other.dim() == 2:
        return _linear(mode, input, other.mT)
    if not kwargs and input.dim() == 2 and other.dim() > 2:
        return _of_sheet(other.mT, input).mT  # (..., n, p) -> (..., p, m)
    return NotImplemented


# --- what lies otherwise in memory than torch's --------------------------------------------------


class _LaidOut(_OfLanes):
    """What it is given, with a gradient that lies in memory as that does: where the one has its
    channels last and the other has not, what comes before is slow."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.strides = output.stride()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        if g.stride() == ctx.strides:
            return g
        return g.new_empty_strided(g.shape, ctx.strides).copy_(g)


def _laid_out(x: Any) -> Any:
    """The same, where its channels are last."""
    if x.dim() in (3, 4) and x.shape[1] > 1 and x.stride(1) == 1 and x.device.type == "cpu":
        return _LaidOut.of(x.unsqueeze(0)).squeeze(0)
    return x


def _pooling(pool: Callable[..., Any]) -> Callable[..., Any]:
    def pooled(mode: Lowered, *args: Any, **kwargs: Any) -> Any:
        out = pool(*args, **kwargs)
        return _laid_out(out) if isinstance(out, Tensor) else out

    return pooled


def _reshaping(reshape: Callable[..., Any]) -> Callable[..., Any]:
    def reshaped(mode: Lowered, input: Tensor, *args: Any, **kwargs: Any) -> Any:
        return reshape(_laid_out(input), *args, **kwargs)

    return reshaped


def _averaging(pool: Callable[..., Any]) -> Callable[..., Any]:
    """Averages of whole maps: where channels are last, torch's cannot be batched."""

    def averaged(mode: Lowered, input: Tensor, *args: Any, **kwargs: Any) -> Any:
        return pool(_laid_out(input).contiguous(), *args, **kwargs)

    return averaged


def _view(mode: Lowered, input: Tensor, *args: Any, **kwargs: Any) -> Any:
    """A view of maps, of which torch's would lie in the order of their dimensions."""
    try:
        return input.view(*args, **kwargs)
    except RuntimeError:
        return _laid_out(input).contiguous().view(*args, **kwargs)


_RULES: dict[Any, Callable[..., Any]] = {
    functional.dropout: _dropout,
    functional.dropout1d: _dropout_of_channels,
    functional.dropout2d: _dropout_of_channels,
    functional.dropout3d: _dropout_of_channels,
    torch.dropout: _dropout,
    functional.scaled_dot_product_attention: _attention,
    functional.multi_head_attention_forward: _attention_of_heads,
}
_PRODUCTS: dict[Any, Callable[..., Any]] = {
    functional.linear: _linear,
    **dict.fromkeys((torch.matmul, Tensor.matmul, Tensor.__matmul__), _matmul),
    torch.conv1d: _convolution_1d,
    torch.conv2d: _convolution_2d,
    **{pool: _pooling(pool) for pool in (functional.max_pool2d, functional.avg_pool2d)},
    **{
        reshape: _reshaping(reshape)
        for reshape in (torch.flatten, torch.reshape, Tensor.flatten, Tensor.reshape)
    },
    **{
        pool: _averaging(pool)
        for pool in (functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d)
    },
    Tensor.view: _view,
}
