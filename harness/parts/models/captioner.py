"""From a picture to a sentence: what is seen goes into an LSTM first, and it says the words."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.parts.models.recurrent import LSTM
from harness.parts.objectives import CrossEntropy, Loss


class Captioner(nn.Module):
    """A convolution and an LSTM that is given what it sees, then word after word (Vinyals et al.
    2015); or the same LSTM that is told which objects there are, and not where.

    Args:
        words: How many there are.
        length: Words of a caption.
        hidden: Units of the LSTM, and numbers that a word is embedded in.
        told: Kinds of objects that it is told of in place of the picture, or 0.

    Shapes: image (B, 3, 8, 8), bag (B, kinds), caption (B, length) int64; output (B, length,
    words) logits.
    """

    def __init__(self, words: int, length: int, hidden: int, told: int = 0) -> None:
        super().__init__()
        self.length, self.told = length, bool(told)
        self.look: nn.Module
        if told:
            self.look = nn.Linear(told, hidden)
        else:
            look = nn.Conv2d(3, 24, 4, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 4, hidden)
            self.look = nn.Sequential(*look)
        self.word = nn.Embedding(words, hidden)
        self.cell = LSTM(hidden, hidden, std=hidden**-0.5)
        self.say = nn.Linear(hidden, words)

    def forward(self, image: Tensor, bag: Tensor, y: Tensor | None = None) -> Tensor:
        """What is said at each place, after the caption's words before it, or without a caption after
        the likeliest ones."""
        seen = self.look(bag if self.told else image).unsqueeze(1)  # (B, 1, H)
        if y is not None:
            return self._said(seen, y[:, :-1])
        out = self._said(seen, torch.zeros(len(bag), 0, dtype=torch.int64, device=bag.device))
        for _ in range(self.length - 1):
            out = self._said(seen, out.max(-1).indices)
        return out

    def _said(self, seen: Tensor, words: Tensor) -> Tensor:
        x = torch.cat([seen, self.word(words)], 1)  # (B, 1 + words, H)
        out: Tensor = self.say(torch.stack(self.cell(x.unsqueeze(2)), 1))
        return out


def _taught(net: nn.Module, image: Tensor, bag: Tensor, y: Tensor) -> Tensor:
    return CrossEntropy().loss(net(image, bag, y), y)


def _scored(net: nn.Module, image: Tensor, bag: Tensor, y: Tensor) -> dict[str, Tensor]:
    hits = (net(image, bag).max(-1).indices == y).float()  # (B, length)
    scores = {"accuracy": hits.mean(), "whole_accuracy": hits.amin(1).mean()}
    return {"loss": _taught(net, image, bag, y)} | scores


# The cross entropy of words by teacher forcing; and of what is said without, the share of words
# (`accuracy`) and of captions (`whole_accuracy`) that are right.
CAPTIONED = Loss(_taught, _scored)
