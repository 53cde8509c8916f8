"""Searches of forecasters of several series, each really trained: wirings of `Searchable` with their
training settings.

A search may spend a number of full trainings, counted in passes of examples forward and backward
through the space's one program, which does all operations whatever their weights are. A candidate is
judged by its validation loss. Beside random search and candidates made by hand there are

- differentiable search, AutoCTS (Wu et al. 2022), weights and wiring by gradient on two halves of the data
  in turn (DARTS), from several seeds, of which the best derived candidate counts;
- a comparator, AutoCTS+ (Wu et al. 2023), a comparator that learns from many trainings stopped early, then
  from few full ones, and says which of many candidates are trained.

Departures: the comparator is a network that scores a candidate's choices, and the logistic loss of a
pair's difference, in place of a graph network of both; first order only.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.engine.pack import train
from harness.engine.stages import Beside, Player
from harness.engine.training import Training
from harness.parts.data import Data, train_size
from harness.parts.models.forecasters import BLOCKS, CHAIN, EDGES, OPERATIONS, Searchable, one_hot
from harness.parts.models.networks import MLP
from harness.parts.objectives import Loss, SquaredError
from harness.parts.optimizers import Optimizer
from harness.parts.probes import Moment
from harness.parts.schedules import Cosine

RATES, DECAYS = (3e-3, 1e-2, 3e-2, 1e-1), (0.0, 0.1, 1.0)
USUAL = (1e-2, 0.0)  # the rate and the decay of a search of wirings alone
POOL = 1024  # candidates that a comparator chooses among
PAIRS, UPDATES, COMPARED_RATE = 256, 150, 1e-2  # of an update; on each set of scores


@dataclass(frozen=True)
class Candidate:
    """A wiring (`Searchable`) and how it is trained: a rate and AdamW's decay."""

    cells: tuple[tuple[str, ...], ...]
    links: tuple[int, ...] = CHAIN
    rate: float = USUAL[0]
    decay: float = USUAL[1]

    def features(self) -> Tensor:
        """Its choices as ones and zeros."""
        settings = [self.rate == rate for rate in RATES] + [self.decay == decay for decay in DECAYS]
        cells = torch.stack([one_hot(cell) for cell in self.cells])
        return torch.cat([cells.flatten(), torch.tensor([*self.links, *settings]).float()])


def drawn(rng: np.random.Generator, joint: bool) -> Candidate:
    """A random one; with the usual training settings unless `joint`. The wiring is the same either way."""
    cells = rng.choice(OPERATIONS, (BLOCKS, EDGES)).tolist()
    links = rng.integers(2, size=2).tolist()
    settings = float(rng.choice(RATES)), float(rng.choice(DECAYS))
    rate, decay = settings if joint else USUAL
    return Candidate(tuple(map(tuple, cells)), tuple(links), rate, decay)


@dataclass(frozen=True)
class Task:
    """What is forecast, and how long a full training is.

    Args:
        data: Of x (n, steps, N) and y (n, N, ahead).
        back, ahead, series, neighbours, width: As of `Searchable`.
        updates, batch: Of a full training, and examples an update.
    """

    data: Data
    back: int
    ahead: int
    series: int
    neighbours: tuple[int, ...]
    width: int
    updates: int
    batch: int

    def training(self, one: Candidate, share: float = 1.0) -> Training:
        """Of a candidate, for a share of a full one."""
        updates = max(2, round(self.updates * share))
        return Training(
            partial(Searchable, *self._sizes, one.cells, one.links, self.width),
            Optimizer("adamw", Cosine(), lr=one.rate, weight_decay=one.decay),
            self.data, SquaredError(), steps=updates, every=(updates,), batch_size=self.batch,
            sealed=share < 1,
        )  # fmt: skip

    @property
    def _sizes(self) -> tuple[int, int, int, tuple[int, ...]]:
        return self.back, self.ahead, self.series, self.neighbours

    def relaxed(self, macro: bool, share: float) -> Training:
        """Of all wirings at once: weights on the first half of the training split and mixing weights on
        the second in turn, for a share of a full training each.

        Args:
            macro: Whether each block has mixing weights of its own and links have, too; otherwise
                blocks share theirs and follow each other.
            share: Of a full training, which has as many updates of each.
        """
        half = train_size(self.data) // 2
        ours = replace(self.data, train=half)
        theirs = replace(ours, after=half)
        updates = max(2, round(self.updates * share))
        mixing = Optimizer("adam", lr=MOVE / updates, beta1=0.5, weight_decay=1e-3)
        return Training(
            partial(Searchable, *self._sizes, None, None if macro else CHAIN, self.width),
            Optimizer("adamw", Cosine(), lr=USUAL[0], weight_decay=USUAL[1]),
            ours, beside=Beside(theirs, self.batch), steps=updates, every=(updates,),
            batch_size=self.batch, probes=(Mixing(),), sealed=True,
            players=(
                Player("mixing", Loss(_of_mixing, SquaredError()), ("alpha", "beta")[: 1 + macro], mixing),
                Player("weights", Loss(_of_weights, SquaredError()), ("stem.*", "blocks.*", "out.*", "own.*")),
            ),
        )  # fmt: skip


MOVE = 3e-4 * 50 * 390  # how far mixing weights may go in all, as in DARTS


def _of_weights(net: nn.Module, x: Tensor, y: Tensor, *_: Tensor) -> Tensor:
    return functional.mse_loss(net(x), y)


def _of_mixing(net: nn.Module, x: Tensor, y: Tensor, other: Tensor, target: Tensor) -> Tensor:
    return functional.mse_loss(net(other), target)


def _mixing(net: nn.Module) -> Tensor:
    assert isinstance(net, Searchable)
    return torch.cat([part.flatten() for part in net.mixing()])


@dataclass(frozen=True)
class Mixing:
    """The mixing weights of operations and links, as ``mixing_0`` and on."""

    at_end: ClassVar[bool] = True

    def read(self, pack: Moment) -> dict[str, Tensor]:
        found = pack.ask(_mixing)  # (K, blocks edges operations + 4)
        return {f"mixing_{place}": one for place, one in enumerate(found.unbind(1))}


def derived(mixing: Sequence[float]) -> Candidate:
    """The candidate of the strongest operations, "none" not among them, and links."""
    weights = np.array(mixing)
    cells = weights[:-4].reshape(BLOCKS, EDGES, -1)[..., 1:].argmax(2) + 1
    named = tuple(tuple(OPERATIONS[place] for place in cell) for cell in cells)
    return Candidate(named, tuple(int(one) for one in weights[-4:].reshape(2, 2).argmax(1)))


# --- searches ------------------------------------------------------------------------------------

# Candidates to be trained to the end, and the full trainings spent on anything else before; sent back
# are their validation losses.
Proposals = Generator[tuple[Sequence[Candidate], float], list[float], None]


def searched(
    task: Task, strategy: str, trainings: int, seed: int, hands: Sequence[Candidate] = (),
    joint: bool = False,
) -> Iterator[dict[str, float]]:  # fmt: skip
    """Run a search: rows of the validation and test loss of the best so far on validation data, at
    the full trainings that have been spent.

    Args:
        task: What is searched.
        strategy: "hand" (candidates `hands` at every rate), "random", "micro", "macro" (differentiable),
            "noisy" (a comparator that learns from early stops first) or "clean".
        trainings: What may be spent, a multiple of 4.
        seed: The search's own.
        hands: Those made by hand.
        joint: Whether training settings are searched, too, by "random", "noisy" and "clean".

    Raises:
        ValueError: no such strategy.
    """
    rng = np.random.default_rng([seed, 0])
    if strategy == "hand":
        proposals = _given([replace(one, rate=rate) for one in hands for rate in RATES][:trainings])
    elif strategy == "random":
        proposals = _given([drawn(rng, joint) for _ in range(trainings)])
    elif strategy in ("micro", "macro"):
        proposals = _differentiable(task, strategy == "macro", trainings, seed)
    elif strategy in ("noisy", "clean"):
        proposals = _compared(task, strategy == "noisy", trainings, seed, rng, joint)
    else:
        allowed = "hand, random, micro, macro, noisy, clean"
        raise ValueError(f"strategy is {strategy!r}; allowed: {allowed}")
    best, spent, trained = (math.inf, math.inf), 0.0, 0
    with contextlib.suppress(StopIteration):
        candidates, cost = next(proposals)
        while True:
            spent += cost
            losses = fitted(
                task, candidates, [_seed(seed, 0, trained + n) for n, _ in enumerate(candidates)]
            )
            for loss in losses:
                spent += 1
                trained += 1
                best = min(best, loss)
                yield {"step": round(spent), "valid_loss": best[0], "test_loss": best[1]}
            candidates, cost = proposals.send([valid for valid, _ in losses])


def _seed(search: int, stream: int, place: int) -> int:
    return (10 * search + stream) * 1000 + place


def fitted(
    task: Task, candidates: Sequence[Candidate], seeds: Sequence[int], share: float = 1.0
) -> list[tuple[float, float]]:
    """Validation and test loss of candidates, trained together; of what diverged infinite ones. Where
    training stops early nothing is tested."""
    outcomes = train([task.training(one, share) for one in candidates], seeds)
    return [
        (one.metrics["valid_loss"][-1], one.metrics.get("test_loss", [math.inf])[-1])
        if one.status == "finished"
        else (math.inf, math.inf)
        for one in outcomes
    ]


def _given(candidates: Sequence[Candidate]) -> Proposals:
    yield candidates, 0.0


def _differentiable(task: Task, macro: bool, trainings: int, seed: int) -> Proposals:
    """Three quarters of what may be spent on supernets, two passes an update; the rest on what they
    say, one each."""
    count = trainings // 4
    one = task.relaxed(macro, share=3 / 2)
    outcomes = train([one] * count, [_seed(seed, 1, place) for place in range(count)])
    size = BLOCKS * EDGES * len(OPERATIONS) + 4
    yield (
        [derived([o.metrics[f"mixing_{place}"][-1] for place in range(size)]) for o in outcomes],
        3.0 * count,
    )


def _compared(
    task: Task, noisy: bool, trainings: int, seed: int, rng: np.random.Generator, joint: bool
) -> Proposals:
    """Half of what may be spent on scores to learn from, early stops at a quarter or full trainings;
    then twice a quarter on those of a pool of random candidates that the comparator puts highest."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = MLP((len(drawn(rng, joint).features()), 32, 1))
    half = trainings // 2
    if noisy:
        some = [drawn(rng, joint) for _ in range(half * 4)]
        losses = fitted(task, some, [_seed(seed, 2, place) for place, _ in enumerate(some)], 1 / 4)
        heard, cost = [valid for valid, _ in losses], float(half)
    else:
        some = [drawn(rng, joint) for _ in range(half)]
        heard, cost = (yield some, 0.0), 0.0
    learn(network, some, heard, rng)
    seen: list[Candidate] = [] if noisy else some
    clean: list[float] = [] if noisy else heard
    for _ in range(2):
        pool = [drawn(rng, joint) for _ in range(POOL)]
        with torch.no_grad():
            said = network(torch.stack([one.features() for one in pool])).squeeze(1)
        chosen = [pool[int(place)] for place in said.argsort(descending=True)[: trainings // 4]]
        clean = clean + (yield chosen, cost)
        seen, cost = seen + chosen, 0.0
        learn(network, seen, clean, rng)


def learn(
    network: nn.Module, candidates: Sequence[Candidate], losses: Sequence[float],
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Train a comparator on pairs of candidates: the difference of what it says of two is the logit that
    the first has the lower loss (Bradley & Terry 1952)."""
    features, loss = torch.stack([one.features() for one in candidates]), torch.tensor(losses)
    pairs = torch.nonzero(loss[:, None] < loss)  # (P, 2): the better and the other
    if not len(pairs):
        return
    optimizer = torch.optim.Adam(network.parameters(), lr=COMPARED_RATE)
    for _ in range(UPDATES):
        better, other = pairs[torch.from_numpy(rng.integers(len(pairs), size=PAIRS))].unbind(1)
        said = network(features).squeeze(1)
        optimizer.zero_grad()
        torch.autograd.backward(functional.softplus(said[other] - said[better]).mean())
        optimizer.step()
