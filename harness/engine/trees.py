"""Values within tuples, lists and dictionaries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

SEQUENCES = (tuple, list)  # made once: these functions are called for every operation
TREES = (*SEQUENCES, dict)


def leaves(tree: Any) -> Iterator[Any]:
    """The values of a tree, in order."""
    if isinstance(tree, SEQUENCES):
        for one in tree:
            yield from leaves(one)
    elif isinstance(tree, dict):
        for one in tree.values():
            yield from leaves(one)
    else:
        yield tree


def mapped(tree: Any, fn: Callable[[Any], Any]) -> Any:
    """The tree with each value replaced by what a function makes of it, in order."""
    if isinstance(tree, SEQUENCES):
        return type(tree)([mapped(one, fn) if isinstance(one, TREES) else fn(one) for one in tree])
    if isinstance(tree, dict):
        return {key: mapped(one, fn) for key, one in tree.items()}
    return fn(tree)


def filled(tree: Any, values: Sequence[Any]) -> Any:
    """The tree with other values, in order."""
    left = iter(values)
    return mapped(tree, lambda _: next(left))


def stacked(trees: Sequence[Any]) -> Any:
    """One tree of tensors (K, ...) from K trees of tensors."""
    columns = zip(*map(leaves, trees), strict=True)
    return filled(trees[0], [torch.stack(column) for column in columns])


class Unsettled(ValueError):
    """A tensor is to take values of another shape or type."""


def settled(tree: Any, values: Any) -> Any:
    """Other values of the same form, in the tensors of the tree where it has them: what else refers
    to those sees the values, too.

    Raises:
        Unsettled: a tensor is to take values of another shape or type.
    """
    if isinstance(tree, torch.Tensor) and isinstance(values, torch.Tensor):
        if (tree.shape, tree.dtype) != (values.shape, values.dtype):
            raise Unsettled(
                f"a tensor of {tuple(values.shape)} {values.dtype}; allowed: {tuple(tree.shape)} "
                f"{tree.dtype}"
            )
        return tree.copy_(values)
    if isinstance(tree, dict) and isinstance(values, dict):
        return {name: settled(tree.get(name), value) for name, value in values.items()}
    return values
