"""How well scores of outliers rank, and how the members of an ensemble of `Detector` differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from harness.parts.models.detectors import Detector, Floor, diversity, spread
from harness.parts.probes.moment import Moment
from harness.parts.probes.pictures import packed


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


def middle(errors: Tensor, axis: int = -2) -> Tensor:
    """The median along an axis; of an even number the mean of the two in the middle."""
    ordered, half = errors.sort(axis).values, errors.shape[axis] // 2
    pair = (half - 1 + errors.shape[axis] % 2, half)
    return (ordered.select(axis, pair[0]) + ordered.select(axis, pair[1])) / 2


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
