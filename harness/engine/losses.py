"""Training losses of K trials."""

from __future__ import annotations

import torch
from torch import Tensor

GATHERED = 256  # updates whose losses wait, at most


class Losses:
    """The loss of each trial at every update: taken down some hundred at once, which takes less
    than each.

    Args:
        updates: How many there will be; one more loss follows the last.
        size: Trials.
        device: Where the losses are.
    """

    def __init__(self, updates: int, size: int, device: str) -> None:
        self.on_cpu = device == "cpu"
        self._all = torch.full((updates + 1, size), torch.nan, device=device)
        self._counted = 0  # updates whose losses are in there
        self._latest: list[Tensor] = []  # and those of the ones that follow

    @property
    def all(self) -> Tensor:
        """(updates + 1, K), NaN where training has not been."""
        if self._latest:
            done = self._counted + len(self._latest)
            self._all[self._counted : done] = torch.stack(self._latest)
            self._counted, self._latest = done, []
        return self._all

    def count(self, loss: Tensor) -> None:
        """Take down the losses (K,) of the next update."""
        self._latest.append(loss if self.on_cpu else loss.clone())
        if len(self._latest) == GATHERED:
            _ = self.all

    def settle(self, since: int, until: int, loss: Tensor) -> None:
        """Of some updates, and what follows them, the losses are these (K,); what is no number is so
        of the last update alone."""
        before = self.all[since:until]
        before.copy_(torch.where(loss.isfinite(), loss, before))
        self.all[until - 1 : until + 1] = loss

    def mean(self, since: int, until: int) -> Tensor:
        """(K,) of some updates, each lane summed by itself: a sum across rows would depend on K."""
        return self.all[since:until].t().contiguous().double().mean(1).float()

    def keep(self, alive: Tensor) -> None:
        """Go on with only these lanes."""
        self._all = self.all[:, alive].contiguous()

    def state(self) -> Tensor:
        """(n, K), those of the n updates so far."""
        return self.all[: self._counted]

    def restore(self, losses: Tensor) -> None:
        """Begin where these (n, K) end."""
        self._all[: len(losses)].copy_(losses)
        self._counted, self._latest = len(losses), []
