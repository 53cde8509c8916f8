"""What is said: at which places a translation is right, where attention looked, how often a name is
right that was read long ago, and what of a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from harness.parts.data import made
from harness.parts.data.markov import MarkovSource
from harness.parts.models import Translator
from harness.parts.probes.moment import Moment
from harness.parts.probes.pictures import packed


@dataclass(frozen=True)
class Places:
    """Of test sentences, how often the symbol that a `Translator` says at each place is right:
    ``right_test_1`` and on."""

    at_end: ClassVar[bool] = True

    def read(self, pack: Moment) -> dict[str, Tensor]:
        x, y = _test(pack)

        def right(net: nn.Module) -> Tensor:
            hits: Tensor = net(x).max(-1).indices == y  # (n, T)
            return hits.float().mean(0)

        return {f"right_test_{n + 1}": one for n, one in enumerate(pack.ask(right).unbind(1))}


@dataclass(frozen=True)
class Alignment:
    """Where a `Translator` with additive attention looks at each symbol of one test sentence's
    target, which it is given, as a picture: a row a symbol that is said, a column a symbol that is
    read, from the first.

    Args:
        example: Which test sentence.
        name: What its metrics' names begin with.
    """

    example: int
    name: str = "looks_test"
    at_end: ClassVar[bool] = True

    def read(self, pack: Moment) -> dict[str, Tensor]:
        x, y = (part[self.example : self.example + 1] for part in _test(pack))

        def looks(module: nn.Module) -> Tensor:
            net, rows = cast(Translator, module), []
            states = net.encoded(x)  # (1, T, H)
            keys, h, given = net.key(states), states[:, -1], torch.full_like(x[:, 0], net.symbols)
            for now in y.unbind(1):
                rows.append(net.weights(h, keys))
                seen = torch.cat([net.target(given), net.looked(h, keys, states)], 1)
                h, given = net.writer(net.writer.enter(seen), h), now
            found = torch.cat(rows)  # (S, T) in the order that the encoder reads
            return (found.flip(1) if net.backwards else found).flatten()

        return packed(self.name, pack.ask(looks))


@dataclass(frozen=True)
class Asked:
    """Of test texts of `made.names`, of a model that says what comes next: how often the name is right
    that is asked for after so many letters, ``after_test_1`` and on; ``near_test``, after 1 to 3,
    and ``near_less_far_test``, that less after 10 or more. And the test loss less what the source itself
    takes of the same texts (``excess_test``), or less its floor (``over_floor_test``), in nats.

    Args:
        source: What wrote the texts, of `length` symbols.
        length: Of a text.
        order: Of an n-gram, whose floor is taken; 0 for the whole past.
        most: Letters up to which they are told apart.
    """

    source: MarkovSource
    length: int
    order: int = 0
    most: int = 15
    at_end: ClassVar[bool] = True

    def read(self, pack: Moment) -> dict[str, Tensor]:
        x, y = _test(pack)
        step = torch.arange(x.shape[1], device=x.device)
        since = step - torch.where(x < made.NAMES, step, 0).cummax(1).values  # (n, T)
        letters = torch.where(x == made.NAMES + made.LETTERS, since - 1, 0)  # 0: not asked
        right = pack.ask(lambda net: (net(x).max(-1).indices == y).float())  # (K, n, T)

        def share(first: int, last: int) -> Tensor:
            here = ((letters >= first) & (letters <= last)).float()
            return cast(Tensor, (right * here).sum((1, 2)) / here.sum())

        near, loss = share(1, 3), pack.metrics["test_loss"]
        texts = torch.cat([x[:, :1], y], 1).cpu().numpy()
        found = {f"after_test_{n}": share(n, n) for n in range(1, self.most + 1)}
        found |= {"near_test": near, "near_less_far_test": near - share(10, self.length)}
        found["excess_test"] = loss - float(self.source.nats(texts)[:, 1:].mean())
        if self.order:
            found["over_floor_test"] = loss - self.source.floor(self.length, self.order)
        return found


@dataclass(frozen=True)
class Captions:
    """Of test pictures of `made.captions`: how often the relation is right (``relation_test``), and what
    a `Captioner` says of the first, the numbers of its words (``word_test_0`` and on).

    Args:
        shown: Of how many pictures.
    """

    shown: int
    at_end: ClassVar[bool] = True

    def read(self, pack: Moment) -> dict[str, Tensor]:
        image, bag, y = _test(pack)
        said = pack.ask(lambda net: net(image, bag).max(-1).indices)  # (K, n, 5)
        words = said[:, : self.shown].flatten(1).float().unbind(1)
        found = {f"word_test_{n}": one for n, one in enumerate(words)}
        return found | {"relation_test": (said[..., 2] == y[:, 2]).float().mean(1)}


def _test(pack: Moment) -> tuple[Tensor, ...]:
    if pack.splits is None:
        raise ValueError("a probe of sentences was given no data; allowed: a training with some")
    return pack.splits.test
