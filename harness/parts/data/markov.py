"""Text of known entropy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class MarkovSource:
    """A machine that writes text, whose state is a function of what it has written (Shannon 1948,
    section 4): how many nats a symbol takes is known, whatever is remembered of the text.

    It begins every text in state 0.

    Args:
        emits: (states, symbols) how likely each symbol is.
        to: (states, symbols) the state after it.
    """

    emits: Array
    to: Array

    @property
    def symbols(self) -> int:
        return int(self.emits.shape[1])

    def texts(self, n: int, length: int, seed: int) -> Array:
        """(n, length) int64."""
        rng, rows = np.random.default_rng(seed), np.zeros((n, length), np.int64)
        state, upto = np.zeros(n, np.int64), self.emits.cumsum(1)
        for step in range(length):
            drawn = rng.random((n, 1)) * upto[state, -1:]
            rows[:, step] = (drawn >= upto[state]).sum(1)
            state = self.to[state, rows[:, step]]
        return rows

    def nats(self, texts: Array) -> Array:
        """(n, length) what each symbol of some texts takes, where all before it are known."""
        state, found = np.zeros(len(texts), np.int64), np.zeros(texts.shape)
        for step, now in enumerate(texts.T):
            found[:, step] = -np.log(self.emits[state, now])
            state = self.to[state, now]
        return found

    def floor(self, length: int, order: int | None = None) -> float:
        """The least nats a symbol, in the mean over symbols 2 to `length` of a text: where all before
        it are known, or the last order - 1 alone (at most 2), and not the place. No model that sees no more is
        better in expectation."""
        counts = self._joint(length)
        if order is None:
            by_state: Array = sum(counts.values(), np.zeros(len(self.emits)))
            return float((by_state * -_xlogx(self.emits).sum(1)).sum() / (length - 1))
        joint: dict[tuple[int, ...], Array] = {}
        for context, states in counts.items():
            seen = context[len(context) - (order - 1) :]
            joint[seen] = joint.get(seen, 0) + states @ self.emits
        total = sum(float(_xlogx(n.sum()) - _xlogx(n).sum()) for n in joint.values())
        return total / (length - 1)

    def _joint(self, length: int, longest: int = 2) -> dict[tuple[int, ...], Array]:
        """For each run of the last symbols, how often it is expected together with each state."""
        now = {(self.symbols,) * longest: np.eye(len(self.emits))[0]}
        found: dict[tuple[int, ...], Array] = {}
        for step in range(length):
            after: dict[tuple[int, ...], Array] = {}
            for context, states in now.items():
                if step:
                    found[context] = found.get(context, 0) + states
                for symbol in np.flatnonzero(states @ self.emits):
                    moved = np.zeros_like(states)
                    np.add.at(moved, self.to[:, symbol], states * self.emits[:, symbol])
                    key = (*context[1:], int(symbol))
                    after[key] = after.get(key, 0) + moved
            now = after
        return found


def _xlogx(x: Array) -> Array:
    return np.where(x > 0, x * np.log(np.where(x > 0, x, 1)), 0)
