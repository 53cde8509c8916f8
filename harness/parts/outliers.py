"""Outliers in time series: ensembles of autoencoders, what is as simple as can be, and how well scores
rank.

An autoencoder rebuilds windows of a series, and a point's score is its squared error, averaged over the
windows that it lies in. An ensemble is one module, whose parameters have its members as their first
axis: so that a loss can look across them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.parts.draws import uniform
from harness.parts.probes.moment import Moment
from harness.parts.probes.pictures import packed

STRIDE = 4  # points between windows that are scored
LAGS = (2, 4, 6, 8)  # steps that members' second connections reach back, in turn

# --- how well scores rank ------------------------------------------------------------------------


def average_precision(scores: Tensor, labels: Tensor) -> Tensor:
    """The area under the curve of precision over recall, as a sum over thresholds: the mean over
    outliers of the precision among all that score at least as high (scikit-learn's
    `average_precision_score`).

    Args:
        scores: (..., n), high where an outlier is suspected.
        labels: (..., n), 1 at outliers and else 0; at least one 1.

    Returns:
        (...)
    """
    labels = labels.to(scores.dtype).expand_as(scores)
    ranked = scores.sort(-1).values
    hits = torch.where(labels > 0, scores, -torch.inf).sort(-1).values
    at_least = [scores.shape[-1] - torch.searchsorted(some, scores) for some in (ranked, hits)]
    return (at_least[1] / at_least[0] * labels).sum(-1) / labels.sum(-1)


def by_chance(labels: Tensor) -> Tensor:
    """The mean average precision of all orders of n points, p of them outliers, (..., n) to (...):
    (H + (p - 1) (n - H) / (n - 1)) / n, with H = 1 + 1/2 + … + 1/n. For many points it is p / n.
    """
    n = labels.shape[-1]
    harmonic = float((1 / np.arange(1, n + 1)).sum())
    return (harmonic + (labels.sum(-1) - 1) * (n - harmonic) / (n - 1)) / n


def diversity(rebuilt: Tensor) -> Tensor:
    """The mean over pairs of members of the mean squared distance of what they rebuild (Campos et al.
    2022): (M, ...) to (), 0 for one member."""
    members = len(rebuilt)
    pairs = [
        (rebuilt[m] - rebuilt[n]).square().mean() for m in range(members) for n in range(m + 1, members)
    ]  # fmt: skip
    return torch.stack(pairs).mean() if pairs else rebuilt.new_zeros(())


def spread(rebuilt: Tensor) -> Tensor:
    """The mean squared distance of members to their mean, (M, ...) to (). Of M members `diversity` is
    2M / (M - 1) of it."""
    return (rebuilt - rebuilt.mean(0)).square().mean()


def middle(errors: Tensor, axis: int = -2) -> Tensor:
    """The median along an axis; of an even number the mean of the two in the middle."""
    ordered, half = errors.sort(axis).values, errors.shape[axis] // 2
    pair = (half - 1 + errors.shape[axis] % 2, half)
    return (ordered.select(axis, pair[0]) + ordered.select(axis, pair[1])) / 2


# --- series --------------------------------------------------------------------------------------

PLANTED = (1000, 300, 3000)  # points to train on, to validate and to test
SERIES = ("spikes", "shapes")


def planted(kind: str, seed: int) -> tuple[Tensor, ...]:
    """A periodic series of three harmonics and noise, of mean 0 and variance 1, and its outliers.

    Args:
        kind: "spikes": 60 points of the test part are moved by 1.5 to 3. "shapes": in 24 stretches
            of 16 points the harmonics are out of phase: values and their differences are distributed
            as ever, and only the curve is another.
        seed: Period, harmonics, noise and places go by it.

    Returns:
        Training, validation and test part, (n,) float32 each, and the labels (n,) of the last.
    """
    drawn, n = np.random.default_rng([seed, SERIES.index(kind)]), sum(PLANTED)
    period, heights = drawn.uniform(14, 22), np.array([1.0, 0.8, 0.5])
    phases, turns = drawn.uniform(0, 2 * np.pi, 3), np.zeros((n, 3))
    labels, test = np.zeros(n, np.float32), n - PLANTED[2]
    moved = np.zeros(n)
    if kind == "spikes":
        places = test + drawn.choice(PLANTED[2], 60, replace=False)
        moved[places] = drawn.uniform(1.5, 3, 60) * drawn.choice([-1, 1], 60)
        labels[places] = 1
    else:
        ramp = np.minimum(1, np.minimum(np.arange(1, 17), np.arange(16, 0, -1)) / 4)
        for slot in range(24):
            start = test + slot * PLANTED[2] // 24 + drawn.integers(20, 100)
            turn = drawn.uniform(np.pi / 2, np.pi, 3) * drawn.choice([-1, 1], 3)
            turns[start : start + 16] = ramp[:, None] * turn
            labels[start : start + 16] = 1
    angles = 2 * np.pi * np.arange(n)[:, None] / period * np.array([1, 2, 3]) + phases + turns
    clean = (heights * np.sin(angles)).sum(1) / np.sqrt((heights**2).sum() / 2)
    series = (clean + moved + 0.1 * drawn.normal(size=n)).astype(np.float32)
    parts = np.split(series, np.cumsum(PLANTED[:2]))
    return (*map(torch.from_numpy, parts), torch.from_numpy(labels[test:]))


# --- what scores ---------------------------------------------------------------------------------


def moving_average(series: Tensor, reach: int = 4) -> Tensor:
    """How far each point (n,) is from the mean of those at most `reach` away, itself among them."""
    padded = F.pad(series[None, None], (reach, reach), mode="replicate")
    return (series - F.avg_pool1d(padded, 2 * reach + 1, 1)[0, 0]).abs()


def windowed_gaussian(series: Tensor, before: Tensor, window: int = 64) -> Tensor:
    """How many standard deviations each point (n,) is from the mean of the `window` points before it, of
    which `before` are those before the first: as the tail of a Gaussian ranks them, NAB's baseline."""
    past = torch.cat([before[-window:], series]).unfold(0, window, 1)[: len(series)]  # (n, window)
    away: Tensor = (series - past.mean(1)).abs() / past.std(1).clamp_min(1e-6)
    return away


def _weights(*shape: int, fan: int) -> nn.Parameter:
    return nn.Parameter((torch.rand(shape) * 2 - 1) * fan**-0.5)


class Recurrent(nn.Module):
    """Autoencoders of tanh units: one layer reads a window, another rebuilds it from the last state,
    from the end to the beginning, and is fed what it has just said.

    With `sparse`, each member is a network of skips of its own (Kieu et al. 2019): a step has a connection
    to the state before, to that `LAGS` steps before, or to the mean of both, as drawn.

    Shapes: input (B, window), output (members, B, window).
    """

    kept: Tensor

    def __init__(self, members: int, window: int, units: int, sparse: bool = False) -> None:
        super().__init__()
        self.members, self.sparse = members, sparse
        groups = min(len(LAGS), members)
        cuts = [members * group // groups for group in range(groups + 1)]
        self.groups = tuple(zip(LAGS, cuts[:-1], cuts[1:], strict=False)) if sparse else ()
        wide = 2 * units if sparse else units
        self.reads_from, self.says_from = (_weights(members, wide, units, fan=units) for _ in "rs")
        self.reads_in, self.says_in = (_weights(members, 1, units, fan=units) for _ in "rs")
        self.reads_bias, self.says_bias = (_weights(members, 1, units, fan=units) for _ in "rs")
        self.out = _weights(members, units, 1, fan=units)
        self.bias = _weights(members, 1, 1, fan=units)
        drawn = torch.randint(3, (2, window, members))
        for lag, first, last in self.groups:
            drawn[:, :lag, first:last] = 0  # nothing lies so far back
        kinds = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]).repeat_interleave(units, 1)
        # (2, window, M, 1, 2 units): of the two layers, by how much each of both states is counted
        self.register_buffer("kept", kinds[drawn].unsqueeze(3) if sparse else torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        states, said = [x.new_zeros(self.members, len(x), self.out.shape[1])], []
        read = x.t()[:, None, :, None] * self.reads_in + self.reads_bias  # (T, M, B, units)
        for at, driven in enumerate(read.unbind(0)):
            states.append(self._step(0, at, driven, self.reads_from, states))
        states = [states[-1]]
        for at in range(x.shape[1]):
            said.append(torch.baddbmm(self.bias, states[-1], self.out))  # (M, B, 1)
            driven = said[-1] * self.says_in + self.says_bias
            states.append(self._step(1, at, driven, self.says_from, states))
        return torch.cat(said[::-1], 2)

    def _step(
        self, layer: int, at: int, driven: Tensor, weight: Tensor, states: list[Tensor]
    ) -> Tensor:
        """The state after a step, (M, B, units), from what drives it and those before."""
        state = states[-1]
        if self.sparse:
            back = [states[max(0, at + 1 - lag)][a:b] for lag, a, b in self.groups]
            state = torch.cat([state, torch.cat(back)], 2) * self.kept[layer, at]
        return torch.baddbmm(driven, state, weight).tanh()


class Convolutional(nn.Module):
    """Autoencoders of five convolutions, of which all but the last are gated (GLU): two of stride 2, one to
    two channels, and two after each of which there are twice as many places.

    With `transfer`, members are made one after another: all layers but the last are what those of the member
    before are, and what this one has learnt beyond it (Campos et al. 2022, for whole layers).

    Shapes: input (B, window), output (members, B, window); with `which`, a member () int64, (1, B, window).
    """

    def __init__(self, members: int, window: int, channels: int, transfer: bool = False) -> None:
        super().__init__()
        self.members, self.transfer = members, transfer
        c = channels
        # numbers in, out, kernel, stride, and how many times the places before it
        self.plan = (
            (1, 2 * c, 4, 2, 1), (c, 2 * c, 4, 2, 1), (c, 4, 1, 1, 1), (2, 2 * c, 3, 1, 2), (c, 1, 3, 1, 2),
        )  # fmt: skip
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for number, (inputs, outputs, kernel, _, _) in enumerate(self.plan):
            fan = inputs * kernel
            self.weights.append(_weights(members, fan, outputs, fan=fan))
            self.biases.append(_weights(members, 1, outputs, fan=fan))
            if transfer and number + 1 < len(self.plan):
                with torch.no_grad():
                    self.weights[-1][1:] = self.biases[-1][1:] = 0

    def _of(self, part: Tensor, number: int, which: Tensor | None) -> Tensor:
        """A layer's weights, of all members or of one."""
        if self.transfer and number + 1 < len(self.plan):
            left = part.detach()
            part = left.cumsum(0) - left + part
        return part if which is None else part[which].unsqueeze(0)

    def forward(self, x: Tensor, which: Tensor | None = None) -> Tensor:
        members = self.members if which is None else 1
        h = x[None, :, :, None].expand(members, -1, -1, 1)  # (M, B, T, C)
        for number, (_, _, kernel, stride, twice) in enumerate(self.plan):
            weight, bias = (self._of(p[number], number, which) for p in (self.weights, self.biases))
            if twice > 1:
                h = h.repeat_interleave(twice, 2)
            if kernel > 1:
                h = F.pad(h, (0, 0, 1, 1)).unfold(2, kernel, stride).flatten(3)  # (M, B, T', C k)
            out = torch.baddbmm(bias, h.flatten(1, 2), weight)
            h = out.view(*h.shape[:3], -1)
            if number + 1 < len(self.plan):
                h = F.glu(h, -1)
        return h.squeeze(-1)


Net = Recurrent | Convolutional


class Detector(nn.Module):
    """() loss of an ensemble on windows of a series; and the scores of its test part.

    Args:
        net: Builds the ensemble; called after the series is known.
        parts: Training, validation and test part (n,) of a series, and the last one's labels.
        batch: Windows an update, the same for all members.
        own: Whether it is trained on the test part, outliers and all.
        raised: By how many times `diversity` the loss is lowered. Beyond (M - 1) / 2M it has no minimum.

    Where the net is made by transfer, the member of number ``now`` is trained, and diversity is its distance
    to the mean of those before.
    """

    train_: Tensor
    valid: Tensor
    test: Tensor
    labels: Tensor
    raised: Tensor
    now: Tensor

    def __init__(
        self, net: Callable[[], Net], window: int, parts: tuple[Tensor, ...], batch: int,
        own: bool = False, raised: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.net, self.window, self.batch = net(), window, batch
        train, valid, test, labels = parts
        for name, value in (("train_", test if own else train), ("valid", valid), ("test", test)):
            self.register_buffer(name, value.clone())
        self.register_buffer("labels", labels)
        self.register_buffer("raised", torch.tensor(raised))
        self.turn = nn.Module()  # each member's number, for a stage to begin with
        if isinstance(self.net, Convolutional) and self.net.transfer:
            self.register_buffer("now", torch.tensor(0))
            for member in range(self.net.members):
                self.turn.register_buffer(str(member), torch.tensor(member))

    def forward(self) -> Tensor:
        starts = (uniform(self.batch) * (len(self.train_) - self.window + 1)).long()
        x = self.train_[starts.unsqueeze(1) + torch.arange(self.window, device=starts.device)]
        net = self.net
        if isinstance(net, Convolutional) and net.transfer:
            made = (torch.arange(net.members, device=x.device) < self.now).to(x.dtype)  # (M,)
            rest = (net(x).detach() * made[:, None, None]).sum(0) / made.sum().clamp_min(1)
            one = net(x, self.now)[0]
            apart = (one - rest).square().mean() * made.amax()
            error = (one - x).square().mean()
        else:
            rebuilt = net(x)
            # of the spread, which costs a tenth of all pairs
            apart = 2 * net.members / max(1, net.members - 1) * spread(rebuilt)
            error = (rebuilt - x).square().mean()
        loss: Tensor = error - self.raised * apart
        return loss

    def rebuilt(self, series: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Windows (B, window) that cover a series, where their points lie in it, and what members make of
        them (M, B, window)."""
        last = len(series) - self.window
        starts = torch.tensor([*range(0, last, STRIDE), last], device=series.device)
        places = starts.unsqueeze(1) + torch.arange(self.window, device=series.device)
        return series[places], places, self.net(series[places])

    def errors(self, series: Tensor) -> Tensor:
        """(M, n): the squared error of each point, averaged over the windows that it lies in."""
        x, places, rebuilt = self.rebuilt(series)
        flat = places.flatten()
        total = rebuilt.new_zeros(len(rebuilt), len(series))
        total = total.index_add(1, flat, (rebuilt - x).square().flatten(1))
        return total / torch.zeros_like(series).index_add(0, flat, torch.ones_like(x).flatten())


class Floor(nn.Module):
    """() nothing to be learnt; scores of the test part that need no network.

    Args:
        kind: "average" (`moving_average`), "gaussian" (`windowed_gaussian`) or "random", 256 times.
        parts: As of `Detector`.
    """

    scores: Tensor
    labels: Tensor

    def __init__(self, kind: str, parts: tuple[Tensor, ...]) -> None:
        super().__init__()
        train, valid, test, labels = parts
        kinds: dict[str, Callable[[], Tensor]] = {
            "average": lambda: moving_average(test)[None],
            "gaussian": lambda: windowed_gaussian(test, torch.cat([train, valid]))[None],
            "random": lambda: torch.rand(256, len(test)),
        }
        self.still = nn.Parameter(torch.zeros(1))
        self.register_buffer("scores", kinds[kind]())
        self.register_buffer("labels", labels)

    def forward(self) -> Tensor:
        return self.still.square().sum()


@dataclass(frozen=True)
class Found:
    """What a `Detector` or a `Floor` finds, and, of the first, how its members differ.

    ``valid_loss`` is the squared error of members' mean on the validation part, ``valid_member_loss`` theirs on
    average. With `test`, of the test part:

    - ``test_precision``, the average precision of members' median error; ``test_mean_precision``, that of
      their mean error; ``test_precision_1``, ``_2`` and ``_4``, that of the median of the first so many; and
      ``test_member_precision``, the median of members' own;
    - what the first of these is above the second (``test_over_mean``), above that of two
      (``test_over_two``) and above the last (``test_gain``);
    - of windows ``test_diversity``, over members' error; ``test_off_formula``, by how much 2M / (M - 1) times
      the spread differs from it, relatively; and ``test_off_identity``, by how much mean error less
      (M - 1) / 2M diversity differs from the error of the mean, over the mean error;
    - of random scores, which do not vote, the mean precision and what it is above the share of outliers
      (``test_over_share``) and above `by_chance` (``test_over_chance``); and ``test_off_share``, by how much
      that of equal scores differs from the share.

    Args:
        test: Whether the test part is scored.
        random: Whether members are random scores.
    """

    test: bool = True
    random: bool = False
    at_end: ClassVar[bool] = True

    def read(self, pack: Moment) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        if isinstance(pack.program.module, Detector):
            found = pack.ask(self._valid)
            if self.test:
                found |= pack.ask(self._apart)
        if self.test:
            scores = pack.ask(_scores)  # (K, M, n)
            labels = pack.buffers["labels"]  # (K, n)
            found |= self._ranked(scores, labels)
        return found

    def _valid(self, net: nn.Module) -> dict[str, Tensor]:
        assert isinstance(net, Detector)
        x, _, rebuilt = net.rebuilt(net.valid)
        return {
            "valid_loss": (rebuilt.mean(0) - x).square().mean(),
            "valid_member_loss": (rebuilt - x).square().mean(),
        }

    def _apart(self, net: nn.Module) -> dict[str, Tensor]:
        assert isinstance(net, Detector)
        x, _, rebuilt = net.rebuilt(net.test)
        members, error = len(rebuilt), (rebuilt - x).square().mean()
        if members == 1:
            return {}
        div = diversity(rebuilt)
        left = error - (members - 1) / (2 * members) * div
        return {
            "test_diversity": div / error,
            "test_off_formula": (2 * members / (members - 1) * spread(rebuilt) / div - 1).abs(),
            "test_off_identity": (left - (rebuilt.mean(0) - x).square().mean()).abs() / error,
        }

    def _ranked(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        each = average_precision(scores, labels.unsqueeze(1))  # (K, M)
        if self.random:
            flat, share = average_precision(torch.zeros_like(labels), labels), labels.mean(-1)
            return {
                "test_precision": each.mean(1),
                "test_over_share": each.mean(1) - share,
                "test_over_chance": each.mean(1) - by_chance(labels),
                "test_off_share": (flat - share).abs(),
            }
        found = {
            f"test_precision_{few}": average_precision(middle(scores[:, :few]), labels)
            for few in (1, 2, 4)
            if few < scores.shape[1]
        }
        voted, meant = (average_precision(one, labels) for one in (middle(scores), scores.mean(1)))
        found |= {
            "test_precision": voted, "test_mean_precision": meant, "test_over_mean": voted - meant,
            "test_member_precision": middle(each, -1), "test_gain": voted - middle(each, -1),
        }  # fmt: skip
        two = found.get("test_precision_2")
        return found if two is None else found | {"test_over_two": voted - two}


def _scores(net: nn.Module) -> Tensor:
    if isinstance(net, Detector):
        return net.errors(net.test)
    assert isinstance(net, Floor)
    return net.scores


@dataclass(frozen=True)
class Strips:
    """The scores of a `Detector`'s members, and below them their median, over the first points of the test
    part, as a picture ``strip`` of a row each: black is the 98th percentile of a row, or more."""

    points: int
    at_end: ClassVar[bool] = True

    def read(self, pack: Moment) -> dict[str, Tensor]:
        scores = pack.ask(_scores)  # (K, M, n)
        rows = torch.cat([scores, middle(scores).unsqueeze(1)], 1)[..., : self.points]
        return packed("strip", (rows / rows.quantile(0.98, -1, keepdim=True)).flatten(1))
