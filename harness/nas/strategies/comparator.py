"""Search guided by a network that is shown two architectures and says which is better."""

from __future__ import annotations

import functools
from collections.abc import Generator

import numpy as np
import torch
from torch import Tensor, nn

from harness.nas.space import Space
from harness.nas.strategies.regression import guided
from harness.nas.table import Proposal

WIDTH, RATE = 32, 1e-2
PAIRS = 256  # an update
UPDATES, MORE = 100, 30  # on new scores, and on each batch that is added to them
OPPONENTS = 32  # that each architecture is compared with to rank it
SHORT = 1 / 9  # of a full training: a noisy score


class Comparator(nn.Module):
    """Two graph convolutions over an architecture's graph (Kipf & Welling 2017), the mean over its
    nodes, and a classifier of two such means: AutoCTS+ (Wu et al. 2023), made small.

    Args:
        features: Of a node.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(features, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.left, self.right = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH, bias=False)
        self.last = nn.Linear(WIDTH, 1)

    def embed(self, adjacency: Tensor, features: Tensor) -> Tensor:
        """Normalised adjacencies (N, V, V) and features (N, V, F) to (N, WIDTH)."""
        hidden = torch.relu(self.first(adjacency @ features))
        pooled: Tensor = torch.relu(self.second(adjacency @ hidden)).mean(1)
        return pooled

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Embeddings (..., WIDTH) of pairs to (...) logits that the one is better."""
        hidden = torch.relu(self.left(one) + self.right(other))  # a layer over both, concatenated
        logits: Tensor = self.last(hidden).squeeze(-1)  # (..., 1) -> (...)
        return logits


@functools.lru_cache(maxsize=8)
def _graphs(space: Space) -> tuple[Tensor, Tensor]:
    """Of all architectures of a space: adjacency (N, V, V), both ways and with loops, each row
    summing to one, and features (N, V, F)."""
    found = [space.graph(a) for a in space.architectures]
    adjacency, features = (torch.from_numpy(np.stack(part)) for part in zip(*found, strict=True))
    both = ((adjacency + adjacency.mT) > 0).float() + torch.eye(adjacency.shape[-1])
    return both / both.sum(-1, keepdim=True), features


def fit(
    network: Comparator, space: Space, seen: list[int], scores: list[float],
    rng: np.random.Generator, updates: int = UPDATES,
) -> None:  # fmt: skip
    """Train the network on pairs of what has been seen, of which one is better.

    Args:
        seen, scores: Places in the space, and what each scored.
        updates: Of `PAIRS` pairs each, drawn at random.
    """
    adjacency, features = (part[seen] for part in _graphs(space))
    score = torch.tensor(scores)
    pairs = torch.nonzero(score[:, None] > score)  # (P, 2): the better and the other
    if not len(pairs):
        return
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)
    for _ in range(updates):
        drawn = pairs[torch.from_numpy(rng.integers(len(pairs), size=PAIRS))]
        turned = torch.from_numpy(rng.random(PAIRS) < 0.5)
        one, other = torch.where(turned[:, None], drawn.flip(1), drawn).unbind(1)
        embedded = network.embed(adjacency, features)
        logits = network(embedded[one], embedded[other])
        loss = nn.functional.binary_cross_entropy_with_logits(logits, (~turned).float())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()


@torch.no_grad()
def compared(network: Comparator, space: Space, rng: np.random.Generator) -> np.ndarray:
    """(N,) how likely each architecture of the space is better than one drawn at random."""
    embedded = network.embed(*_graphs(space))
    others = torch.from_numpy(rng.choice(len(space), min(OPPONENTS, len(space)), replace=False))
    logits = network(embedded[:, None], embedded[others][None])  # (N, 1, W), (1, M, W) -> (N, M)
    likely: np.ndarray = logits.sigmoid().mean(1).numpy()
    return likely


def comparator(
    space: Space, rng: np.random.Generator, first: int = 20, batch: int = 10, noisy: float = 0.5
) -> Generator[Proposal, float, None]:
    """Trains a comparator on pairs of many short trainings, then on those of few full ones, and
    from then on the `batch` that it puts highest, learning from each batch.

    Args:
        first: Full trainings, or as much, that are spent before it chooses.
        noisy: The share of these that is spent on short trainings.
    """
    clean = max(2, round(first * (1 - noisy)))
    short = min(round(first * noisy / SHORT), len(space))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        network = Comparator(_graphs(space)[1].shape[-1])
    if short:
        drawn = [int(number) for number in rng.permutation(len(space))[:short]]
        heard: list[float] = []
        for number in drawn:
            score = yield space.architectures[number], SHORT
            heard.append(score)
        fit(network, space, drawn, heard, rng)

    def predicted(seen: list[int], scores: list[float]) -> np.ndarray:
        fit(network, space, seen, scores, rng, UPDATES if len(seen) <= clean else MORE)
        return compared(network, space, rng)

    yield from guided(space, rng, predicted, [], [], clean, batch)


def comparator_clean(
    space: Space, rng: np.random.Generator, first: int = 20, batch: int = 10
) -> Generator[Proposal, float, None]:
    """The same with full trainings only, at equal cost."""
    yield from comparator(space, rng, first, batch, noisy=0.0)
