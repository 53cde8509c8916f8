"""What a pack holds of each of its trials, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from harness.engine.trees import mapped, settled


class Lanes:
    """Values of K trials by name: lists of K, tensors (K, ...), and dictionaries and tuples of
    such tensors. Whatever is set here is cut when lanes are left out, and cannot be forgotten."""

    def __init__(self, **values: Any) -> None:
        vars(self).update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"a pack holds no {name!r} of its trials; it has {sorted(vars(self))}")

    def __setattr__(self, name: str, value: Any) -> None:
        vars(self)[name] = value

    def keep(self, alive: Tensor) -> None:
        """Go on with only these lanes (k,), in this order; what was one tensor stays one."""
        numbers, made = alive.tolist(), {}

        def cut(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            if id(value) not in made:
                made[id(value)] = value[alive].contiguous()
            return made[id(value)]

        for name, value in vars(self).items():
            vars(self)[name] = (
                [value[i] for i in numbers] if isinstance(value, list) else mapped(value, cut)
            )

    def state(self) -> dict[str, Any]:
        """All of it, by name."""
        return dict(vars(self))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Be what the `state` of another was, of as many trials."""
        vars(self).update(settled(vars(self), dict(state)))
