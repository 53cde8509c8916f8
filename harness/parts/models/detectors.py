"""What finds outliers in a time series: ensembles of autoencoders, and what is as simple as can be.

An autoencoder rebuilds windows of a series, and a point's score is its squared error, averaged over the
windows that it lies in. An ensemble is one module, whose parameters have its members as their first
axis: so that a loss can look across them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.parts.draws import uniform

STRIDE = 4  # points between windows that are scored
LAGS = (2, 4, 6, 8)  # steps that members' second connections reach back, in turn


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
