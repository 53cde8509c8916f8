"""Optimizers that are not on the shelf: a class of `torch.optim`'s kind, or a function that makes one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

# Of parameters and keywords; a function is given pairs of a name and a parameter, so that it can
# put them in groups.
Maker = Callable[..., torch.optim.Optimizer]
Named = list[tuple[str, nn.Parameter]]


def called(maker: Maker) -> str:
    """What an error calls it."""
    return str(getattr(maker, "__name__", repr(maker)))


def made(maker: Maker, named: Named, given: Mapping[str, Any]) -> torch.optim.Optimizer:
    """An instance that steps these parameters."""
    of = [w for _, w in named] if isinstance(maker, type) else named
    return maker(of, **given)


def takes(maker: Maker, name: str) -> bool:
    """Whether it has a parameter of that name, spelled out."""
    return name in _parameters(maker)


def check(maker: Maker, given: Mapping[str, Any]) -> None:
    """That a class can be made with these values, and steps along a gradient alone.

    Raises:
        ValueError: its constructor refuses them, or it wants a closure, sparse gradients or
            whatever else a pack has not.
    """
    unknown = set(given) - set(_parameters(maker))
    if unknown and not _parameters(maker).get("**"):
        names = [name for name in _parameters(maker) if name != "**"]
        raise ValueError(
            f"{called(maker)} takes no {', '.join(sorted(unknown))}; allowed: {', '.join(names)}"
        )
    if not isinstance(maker, type):
        return  # which parameters it can do with is its own business
    step = inspect.signature(maker.step).parameters.get("closure")  # type: ignore[attr-defined]
    if step is not None and step.default is inspect.Parameter.empty:
        raise ValueError(
            f"{called(maker)} evaluates the loss again within a step (a closure); "
            "allowed: optimizers that step along a gradient, or the rule 'lbfgs'"
        )
    try:
        _tried(maker, given, tuple(sorted(given)))
    except Exception as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{called(maker)}({_written(given)}): {said}") from error


def _tried(maker: Maker, given: Mapping[str, Any], names: tuple[str, ...]) -> None:
    w = nn.Parameter(torch.ones(2, 2))
    one = made(maker, [("w", w)], given)
    if (maker, names) in _STEPPED:
        return
    w.grad = torch.ones_like(w)
    put([one], "train")
    with torch.random.fork_rng(devices=[]):
        one.step()
    _STEPPED.add((maker, names))


_STEPPED: set[tuple[Maker, tuple[str, ...]]] = set()  # what has been seen to make a step


@functools.cache
def _parameters(maker: Maker) -> dict[str, bool]:
    """Its keywords; "**" where it takes any."""
    found = list(inspect.signature(maker).parameters.values())[1:]
    rest = {"**": True} if any(p.kind is p.VAR_KEYWORD for p in found) else {}
    return {
        p.name: True for p in found if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
    } | rest


def _written(given: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in given.items())


# --- modes ---------------------------------------------------------------------------------------


def moded(optimizer: torch.optim.Optimizer) -> bool:
    """Whether it has a mode of training and one of scoring, as those that average have (Defazio et
    al. 2024, The Road Less Scheduled)."""
    return all(callable(getattr(optimizer, name, None)) for name in ("train", "eval"))


def put(optimizers: Iterable[Any], mode: str) -> None:
    """Into a mode, "train" or "eval", those that have it: their parameters are other ones there."""
    for one in optimizers:
        if moded(one):
            getattr(one, mode)()
