"""scipy's distribution functions, imported when one is first asked for: half a second, which what
only declares claims does not take. scipy.stats has the same numbers, and takes seconds to import."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    from scipy import special

    return getattr(special, name)
