"""Trials of different widths as one: zeros around the narrower, which stay zero."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness.engine.building import Builder, Tensors, build, structure
from harness.engine.trees import leaves
from harness.parts.draws import keyed_by


def pad(module: nn.Module, template: nn.Module) -> tuple[nn.Module, Tensors]:
    """A module's tensors in the low corner of a wider one's, zeros around them.

    Args:
        module: One trial's.
        template: The same architecture at least as wide everywhere; overwritten and returned.

    Returns:
        The wide module, and for each parameter a mask of ones where the trial's own numbers are.

    Raises:
        ValueError: the two have different tensors, or the template is narrower.
    """
    masks: Tensors = {}
    own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    wide = {**dict(template.named_parameters()), **dict(template.named_buffers())}
    for name, into in wide.items():
        part = own.get(name)
        fits = part is not None and part.dim() == into.dim()
        if part is None or not fits or any(map(operator.gt, part.shape, into.shape)):
            received = None if part is None else tuple(part.shape)
            raise ValueError(
                f"pad_to has {name} of shape {tuple(into.shape)}, the model {received}; allowed: "
                "the same tensors, none of them narrower"
            )
        corner = tuple(slice(0, n) for n in part.shape)
        mask = torch.zeros_like(into)
        mask[corner] = 1
        with torch.no_grad():
            into.zero_()
            into[corner] = part
        masks[name] = mask
    return template, {name: masks[name] for name, _ in template.named_parameters()}


def padded(
    modules: Sequence[nn.Module], wider: Sequence[Builder]
) -> tuple[list[nn.Module], Tensors]:
    """`pad` of each of K modules; the masks (K, ...)."""
    found = [pad(module, build(model, 0)) for module, model in zip(modules, wider, strict=True)]
    masks = [mask for _, mask in found]
    return [module for module, _ in found], {
        name: torch.stack([mask[name] for mask in masks]) for name in masks[0]
    }


_EXACT: set[tuple[Any, ...]] = set()


def check_padding(model: Builder, pad_to: Builder, sample: tuple[Tensor, ...]) -> None:
    """Run a model as it is and padded, once for each pair of structures.

    Args:
        model, pad_to: Build the two.
        sample: What the model is given, (n, ...) each; without any it is not run.

    Raises:
        ValueError: the padding changes what the model computes.
    """
    pair = (structure(model), structure(pad_to))
    if not sample or pair in _EXACT:
        return
    module = build(model, 0)
    wide, _ = pad(module, build(pad_to, 0))
    for one in (module, wide):
        one.eval()
    # Eight steps of a sequence say as much as all of them, and there may be hundreds of widths.
    short = tuple(x[:, :8] if x.dim() == 3 else x for x in sample)  # (B, T, F)
    with torch.no_grad():
        try:
            outputs = _run(module, short), _run(wide, short)
        except (RuntimeError, ValueError, IndexError):  # a module that takes no other length
            outputs = _run(module, sample), _run(wide, sample)
        difference = max(
            float((a - b).abs().max()) for a, b in zip(*map(leaves, outputs), strict=True)
        )
    if not difference <= 1e-4:
        raise ValueError(
            f"pad_to changes the model's output by {difference:.3g}; allowed: a module in which "
            "zero weights leave the added units without effect (no normalisation over them)"
        )
    _EXACT.add(pair)


def _run(module: nn.Module, given: tuple[Tensor, ...]) -> Any:
    with keyed_by(torch.zeros((), dtype=torch.int64)):  # both draw the same
        return module(*given)
