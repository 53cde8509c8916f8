"""Ridge regression on features: a last layer that is trained to the end, or for some steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Ridge:
    """Ridge regression without intercept, from one eigendecomposition of the kernel K = ΦΦᵀ: the
    weights that minimise ``|y - Φw|^2 + λ|w|^2`` are ``Φᵀβ`` with ``β = (K + λI)⁻¹y`` (Saunders et al.
    1998; SNU, "Kernel regression").

    Args:
        features: Φ (n, F), an example a row.
        targets: y (n,).

    Attributes:
        sizes: Eigenvalues of K, (n,), the largest last.
        vectors: Its eigenvectors, (n, n), in columns.
    """

    features: Tensor
    targets: Tensor
    sizes: Tensor = field(init=False)
    vectors: Tensor = field(init=False)

    def __post_init__(self) -> None:
        if self.features.dim() != 2 or self.targets.shape != self.features.shape[:1]:
            raise ValueError(
                f"Ridge has features {tuple(self.features.shape)} and targets "
                f"{tuple(self.targets.shape)}; allowed: (n, F) and (n,)"
            )
        sizes, vectors = torch.linalg.eigh(self.features @ self.features.t())
        object.__setattr__(self, "sizes", sizes.clamp_min(0))
        object.__setattr__(self, "vectors", vectors)

    def dual(self, penalty: Tensor | float) -> Tensor:
        """β (n,), for a λ above 0."""
        return self._filtered(1 / (self.sizes + penalty))

    def weights(self, penalty: Tensor | float) -> Tensor:
        """w (F,)."""
        return self.features.t() @ self.dual(penalty)

    def left_out(self, penalty: Tensor | float) -> Tensor:
        """(n,): what each example's target exceeds the prediction by of the regression on all
        others, ``β_i / [(K + λI)⁻¹]_ii`` (Allen 1974)."""
        inverse = self.vectors.square() @ (1 / (self.sizes + penalty))  # the diagonal
        return self.dual(penalty) / inverse

    def best(self, penalties: Iterable[Tensor | float]) -> Tensor | float:
        """The penalty with the least mean square of `left_out`; the first of equals."""
        return min(penalties, key=lambda one: float(self.left_out(one).square().mean()))

    def stopped(self, rate: Tensor | float, steps: int) -> Tensor:
        """(n,): the predictions after steps ``w <- w + rate Φᵀ(y - Φw)`` from 0, which keep the share
        ``1 - (1 - rate s)^steps`` of y along each eigenvector (Goodfellow et al. 2016, section 7.8)."""
        return self._filtered(1 - (1 - rate * self.sizes) ** steps)

    def _filtered(self, shares: Tensor) -> Tensor:
        """The targets with each eigenvector's part multiplied."""
        return self.vectors @ (shares * (self.vectors.t() @ self.targets))
