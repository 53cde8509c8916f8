"""What a classifier says of inputs that are moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from harness.parts.probes.moment import Moment


@dataclass(frozen=True)
class Shifted:
    """Of test inputs moved to the right, zeros coming in, at a trial's end: ``shifted_test_accuracy_3``,
    and as ``kept_test_3`` the share of which the class is said that was said before (the consistency
    of Zhang 2019).

    Args:
        moves: By how many places, or pixels of the last axis.
        most: Examples that are moved, the first ones.
    """

    moves: tuple[int, ...] = (1, 2, 4)
    most: int = 1000
    at_end: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.moves or min(self.moves) < 1:
            raise ValueError(f"Shifted.moves are {self.moves}; allowed: some, each at least 1")

    def read(self, pack: Moment) -> dict[str, Tensor]:
        assert pack.splits is not None
        x, y = (part[: self.most] for part in pack.splits.test)

        def measured(net: nn.Module) -> dict[str, Tensor]:
            before = net(x).argmax(-1)
            found: dict[str, Tensor] = {}
            for by in self.moves:
                said = net(F.pad(x, (by, 0))[..., :-by]).argmax(-1)
                found[f"shifted_test_accuracy_{by}"] = (said == y).float().mean()
                found[f"kept_test_{by}"] = (said == before).float().mean()
            return found

        found: dict[str, Tensor] = pack.ask(measured)
        return found
