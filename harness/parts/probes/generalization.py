"""Probes of how well a network generalises: errors on what it was trained on and on what it was
not, calibration, weights, and dropout's masks averaged.

They measure what training returns: the whole network without noise, augmentation or masks.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from harness.parts.keyed import mix
from harness.parts.models.layers import Dropout
from harness.parts.objectives import parted
from harness.parts.probes.moment import EVAL_ROWS, Moment


def _rows(pack: Moment, n: int) -> int:
    """How many of n examples are scored at once: the same for every pack."""
    return math.ceil(n / math.ceil(n / EVAL_ROWS[pack.loss.device.type]))


@dataclass(frozen=True)
class Errors:
    """The share of examples classified wrongly, in percent: metrics ``train_error`` (on the
    trial's own training examples), ``test_error``, and ``error_gap``, the second less the first
    (Overview, "Overfitting"). Where the test split is sealed, the first alone.

    Args:
        most: Training examples that are looked at, the first of the trial's: a whole large split
            would cost as much as an epoch.
    """

    most: int = 1000
    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        train = 100 * (1 - self._accuracy(pack))
        if pack.sealed:
            return {"train_error": train}
        test = 100 * (1 - pack.metrics["test_accuracy"])
        return {"train_error": train, "test_error": test, "error_gap": test - train}

    def _accuracy(self, pack: Moment) -> Tensor:
        assert pack.train is not None
        own = None if pack.subset is None else pack.subset[:, : self.most]
        n = min(self.most, len(pack.train[0]) if own is None else own.shape[1])
        rows, total = _rows(pack, n), torch.zeros_like(pack.loss)
        for start in range(0, n, rows):
            end = min(start + rows, n)
            if own is None:
                batch = tuple(part[start:end] for part in pack.train)
                found = pack.program.score(pack.params, pack.buffers, batch)
            else:
                chosen = own[:, start:end]  # (K, r)
                batch = tuple(
                    part.index_select(0, chosen.flatten()).view(*chosen.shape, *part.shape[1:])
                    for part in pack.train  # (K r, ...) -> (K, r, ...)
                )
                found = pack.program.score(pack.params, pack.buffers, batch, own=True)
            total = total + found["accuracy"] * ((end - start) / n)
        return total


def _test(pack: Moment) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
    """Inputs and classes of the test split, a part at a time.

    Raises:
        ValueError: there is no one target.
    """
    assert pack.splits is not None
    n = len(pack.splits.test[0])
    rows = _rows(pack, n)
    for start in range(0, n, rows):
        part = tuple(one[start : start + rows] for one in pack.splits.test)
        inputs, targets = parted(pack.program.objective, part)
        if len(targets) != 1:
            raise ValueError(
                f"a probe of classes has {len(targets)} targets of "
                f"{type(pack.program.objective).__name__}; allowed: an objective of one target"
            )
        yield inputs, targets[0]


@dataclass(frozen=True)
class Calibration:
    """The expected calibration error on the test split, in percent: how far confidence and
    accuracy are apart, averaged over bins of confidence of equal width, weighted by how many
    examples they hold (Naeini et al. 2015; Guo et al. 2017, eq. 3): metric ``calibration_error``.

    Args:
        bins: How many; 15 as in Guo et al.
    """

    bins: int = 15
    at_end: ClassVar[bool] = True

    def read(self, pack: Moment) -> dict[str, Tensor]:
        numbers = torch.arange(self.bins, device=pack.loss.device).unsqueeze(1)  # (bins, 1)
        surplus = torch.zeros(len(pack.loss), self.bins, device=pack.loss.device).double()
        count = 0
        for x, y in _test(pack):

            def more(
                params: dict[str, Tensor], buffers: dict[str, Tensor],
                x: tuple[Tensor, ...] = x, y: Tensor = y,
            ) -> Tensor:  # fmt: skip
                shares = torch.softmax(pack.program.output(params, buffers, x), -1)  # (r, C)
                confidence, said = shares.max(-1)
                place = ((confidence * self.bins).ceil() - 1).clamp(0, self.bins - 1)
                excess = confidence.double() - (said == y).double()  # (r,)
                return ((place == numbers) * excess).sum(-1)  # (bins, r) -> (bins,)

            surplus = surplus + pack.each(more)
            count += len(y)
        return {"calibration_error": (surplus.abs().sum(1) * (100 / count)).float()}


@dataclass(frozen=True)
class MaskAverage:
    """Dropout at test time by averaging: the test error, in percent, of the mean prediction of
    thinned networks, and how far the error of the one network with scaled weights is from it, in
    points (Srivastava et al. 2014, section 7.5): metrics ``averaged_error``, ``averaging_gap``.

    Args:
        masks: Thinned networks that are averaged; the paper's 50 match weight scaling.
    """

    masks: int = 50
    at_end: ClassVar[bool] = True

    def read(self, pack: Moment) -> dict[str, Tensor]:
        module = pack.program.module
        layers = [path for path, child in module.named_modules() if isinstance(child, Dropout)]
        hits, count = torch.zeros_like(pack.loss), 0
        for number, (x, y) in enumerate(_test(pack)):
            keys = {f"{path}.key": mix(pack.buffers[f"{path}.key"], -1 - number)
                    for path in layers}  # fmt: skip
            keyed = dataclasses.replace(pack, buffers=pack.buffers | keys)

            def right(
                params: dict[str, Tensor], buffers: dict[str, Tensor],
                x: tuple[Tensor, ...] = x, y: Tensor = y,
            ) -> Tensor:  # fmt: skip
                for path in layers:
                    module.get_submodule(path).train()
                total = pack.loss.new_zeros(())
                for mask in range(self.masks):
                    own = {f"{path}.key": mix(buffers[f"{path}.key"], mask)
                           for path in layers}  # fmt: skip
                    output = pack.program.output(params, buffers | own, x)
                    total = total + torch.softmax(output, -1)  # (r, C)
                return (total.argmax(-1) == y).float().sum()

            hits = hits + keyed.each(right)
            count += len(y)
        averaged = 100 * (1 - hits / count)
        scaled = 100 * (1 - pack.metrics["test_accuracy"])
        return {"averaged_error": averaged, "averaging_gap": (scaled - averaged).abs()}


@dataclass(frozen=True)
class Weights:
    """The Euclidean norm of all weights together, and the share of them nearer to zero than
    `zero`: metrics ``weight_norm`` and ``weight_sparsity``. Biases do not count.

    A gradient step on |w| crosses zero and comes back, so that L1 makes small weights, not zeros.
    """

    zero: float = 1e-3
    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        names = [name for name, w in pack.params.items() if w.dim() > 2]
        w = torch.cat([pack.params[name].flatten(1) for name in names], 1)  # (K, p)
        masks = [pack.masks[name].flatten(1) for name in names] if pack.masks else []
        own = torch.cat(masks, 1) if masks else torch.ones_like(w)
        small = (w.abs() < self.zero).float() * own
        return {"weight_norm": w.norm(dim=1), "weight_sparsity": small.sum(1) / own.sum(1)}
