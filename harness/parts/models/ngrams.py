"""N-grams: models of text that are counted, not trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.parts.data import Data, load


class NGram(nn.Module):
    """What follows the last order - 1 symbols, by how often it did in the training split: each count
    and a tenth more, over their sum (Lidstone 1920). Before a text stands a sign of its own.

    Its table of logarithms is a parameter, so that it is scored, saved and compared as networks are;
    as it is already the likeliest, no training is wanted.

    Args:
        order: Symbols that are counted together: 1, 2, 3.
        symbols: How many there are.
        data: What is counted, x and y (n, T) int64.
        added: What is added to each count.

    Shapes: input (B, T) int64; output (B, T, symbols), logarithms of probabilities.
    """

    def __init__(self, order: int, symbols: int, data: Data, added: float = 0.1) -> None:
        super().__init__()
        self.order, self.symbols = order, symbols
        x, y = load(data, sealed=True).train
        contexts = (symbols + 1) ** (order - 1)
        places = (self.context(x) * symbols + y).flatten()
        counts = (
            torch.bincount(places, minlength=contexts * symbols).view(contexts, symbols) + added
        )
        self.table = nn.Parameter((counts / counts.sum(1, keepdim=True)).log())

    def context(self, x: Tensor) -> Tensor:
        """(B, T) int64, the number of what is seen at each step."""
        seen = torch.zeros_like(x)
        for back in reversed(range(self.order - 1)):
            before = torch.full_like(x[:, :back], self.symbols)
            seen = seen * (self.symbols + 1) + torch.cat([before, x[:, : x.shape[1] - back]], 1)
        return seen

    def forward(self, x: Tensor) -> Tensor:
        return self.table[self.context(x)]
