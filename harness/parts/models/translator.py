"""From one sequence to another: an encoder, a decoder, and attention between them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.parts.draws import progress, uniform
from harness.parts.objectives import CrossEntropy, Loss

ATTENTIONS = ("none", "dot", "additive")


class _Gated(nn.Module):
    """A layer of gated recurrent units in the form of `torch.nn.GRUCell`: (B, I), (B, H) to (B, H)."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.enter, self.again = nn.Linear(inputs, 3 * hidden), nn.Linear(hidden, 3 * hidden)

    def forward(self, driven: Tensor, h: Tensor) -> Tensor:
        """Of what the input adds (B, 3 H), which `enter` gives for all steps at once."""
        reset_in, update_in, new_in = driven.chunk(3, -1)
        reset, update, new = self.again(h).chunk(3, -1)
        new = (new_in + (reset_in + reset).sigmoid() * new).tanh()
        out: Tensor = new + (update_in + update).sigmoid() * (h - new)
        return out


class Translator(nn.Module):
    """An encoder reads a sequence of symbols, a decoder says another: gated recurrent units both
    (Cho et al. 2014), and attention (Bahdanau, Cho & Bengio 2015).

    The decoder begins with the encoder's last state. Before each step it looks at all of its states
    h, by their scores with its own state s: "dot" ``s h`` (Luong, Pham & Manning 2015), "additive"
    ``v tanh(W s + U h)``; with "none" that last state is all that it has. It is given the symbol
    before, and says the next.

    Args:
        symbols: How many there are, in both.
        hidden: Units of each, and numbers that a symbol is embedded in.
        attention: One of `ATTENTIONS`.
        backwards: Whether the source is read from its end (Sutskever, Vinyals & Le 2014).

    Shapes: source (B, T) int64, target (B, S) int64; output (B, S, symbols) logits.

    Raises:
        ValueError: no such attention.
    """

    def __init__(
        self, symbols: int, hidden: int, attention: str = "additive", backwards: bool = False
    ) -> None:
        super().__init__()
        if attention not in ATTENTIONS:
            raise ValueError(f"attention is {attention!r}; allowed: {', '.join(ATTENTIONS)}")
        self.symbols, self.attention, self.backwards = symbols, attention, backwards
        looks = hidden if attention != "none" else 0
        self.source = nn.Embedding(symbols, hidden)
        self.target = nn.Embedding(symbols + 1, hidden)  # and a sign to begin
        self.reader, self.writer = _Gated(hidden, hidden), _Gated(hidden + looks, hidden)
        if attention == "additive":
            self.query, self.key = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden, bias=False)
            self.score = nn.Parameter(torch.randn(hidden) * hidden**-0.5)
        self.say = nn.Linear(hidden + looks, symbols)

    def forward(self, x: Tensor, y: Tensor | None = None, sampled: Tensor | float = 0.0) -> Tensor:
        """What is said next at each step.

        Args:
            x: The source.
            y: The target, whose symbol before each step is given (teacher forcing). Without it as
                many are said as the source has, each given what was likeliest before.
            sampled: The chance at each step of each sequence that in place of the target's symbol the
                likeliest is given (scheduled sampling: Bengio et al. 2015).
        """
        states = self.encoded(x)  # (B, T, H)
        keys = self.key(states) if self.attention == "additive" else states
        h = states[:, -1]
        given, said = torch.full_like(x[:, 0], self.symbols), []
        for step in range((x if y is None else y).shape[1]):
            seen = [] if self.attention == "none" else [self.looked(h, keys, states)]
            h = self.writer(self.writer.enter(torch.cat([self.target(given), *seen], 1)), h)
            said.append(self.say(torch.cat([h, *seen], 1)))
            given = said[-1].max(-1).indices
            if y is not None:
                given = torch.where(uniform(len(x)).to(x.device) < sampled, given, y[:, step])
        return torch.stack(said, 1)

    def encoded(self, x: Tensor) -> Tensor:
        """The encoder's states (B, T, H) in the order that it reads."""
        driven = self.reader.enter(self.source(x.flip(1) if self.backwards else x))  # (B, T, 3 H)
        h, states = driven.new_zeros(len(x), self.source.embedding_dim), []
        for now in driven.unbind(1):
            h = self.reader(now, h)
            states.append(h)
        return torch.stack(states, 1)

    def looked(self, h: Tensor, keys: Tensor, states: Tensor) -> Tensor:
        """What a state (B, H) sees of others (B, T, H): their mean by its attention, (B, H)."""
        return (self.weights(h, keys).unsqueeze(2) * states).sum(1)

    def weights(self, h: Tensor, keys: Tensor) -> Tensor:
        """The attention of a state (B, H) to each of those of some keys (B, T, H): (B, T)."""
        if self.attention == "dot":
            return (keys * h.unsqueeze(1)).sum(2).softmax(1)
        both: Tensor = (keys + self.query(h).unsqueeze(1)).tanh()
        return (both * self.score).sum(2).softmax(1)


def _taught(net: nn.Module, x: Tensor, y: Tensor, begin: Tensor, end: Tensor) -> Tensor:
    said = net(x, y, begin + (end - begin) * progress())
    return CrossEntropy().loss(said.flatten(0, 1), y.flatten())


def _scored(net: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    told, said = net(x, y), net(x)
    hits = (said.max(-1).indices == y).float()  # (B, S)
    return {
        "loss": CrossEntropy().loss(told.flatten(0, 1), y.flatten()),
        "accuracy": hits.mean(),
        "whole_accuracy": hits.amin(1).mean(),
    }


def scheduled_sampling(begin: float = 0.0, end: float = 0.0) -> Loss:
    """The cross entropy of a `Translator`'s symbols, of which a share that goes from `begin` to
    `end` in a straight line is given what was said in place of the target's: teacher forcing where
    both are 0. Both may differ within a pack.

    Scores are the loss by teacher forcing; and of what it says by itself, the likeliest at each
    step, the share of symbols that are right (`accuracy`) and of sequences (`whole_accuracy`), which
    are as long as their sources.
    """
    return Loss(_taught, _scored, {"begin": begin, "end": end})
