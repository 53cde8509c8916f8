"""How a trial ended."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """How one trial ended."""

    status: str  # finished, diverged or failed
    steps: list[int] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    error: str = ""
    seconds: float = 0.0  # its share of the pack's time
    withheld: list[str] = field(default_factory=list)  # metrics of a sealed test split that it told
