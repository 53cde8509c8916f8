"""Keyed randomness: every draw is a function of a key and an index, never of what ran before.

A counter-based generator (SplitMix64's finalizer; Steele, Lea & Flood 2014) in integer tensor
operations. A trial's batches, masks and noise depend on its own seed alone, so they are the same
whether it trains alone, in a pack, first or last.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)  # as signed 64-bit; sums and products wrap
_MUL1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MUL2 = 0x94D049BB133111EB - (1 << 64)

# One stream a purpose, so that adding a use of randomness never shifts another.
_WORD = (1 << 64) - 1
STREAMS = {
    "init": 1, "batches": 2, "noise": 3, "mask": 4, "subset": 5, "augment": 6, "task": 7,
    "buckets": 8, "step": 9, "split": 10, "member": 11, "bag": 12, "beside": 13,
}  # fmt: skip


def _shift(x: Tensor, by: int) -> Tensor:
    return (x >> by) & ((1 << (64 - by)) - 1)  # logical, not arithmetic


def _finalize(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _MUL1
    x = (x ^ _shift(x, 27)) * _MUL2
    return x ^ _shift(x, 31)


def mix(key: Tensor, word: Tensor | int) -> Tensor:
    """A new key from a key and a word, both int64 of shapes that broadcast."""
    if isinstance(word, int):  # not as a tensor: a GPU would wait for it to be brought over
        return _finalize((key ^ _signed(_finalized(word + _GOLDEN))) + _GOLDEN)
    return _finalize((key ^ _finalize(word + _GOLDEN)) + _GOLDEN)


def keys(seeds: list[int], stream: str, device: torch.device | str = "cpu") -> Tensor:
    """One key a trial, shape (K,) int64, for a named stream."""
    if stream not in STREAMS:
        raise ValueError(f"stream is {stream!r}; allowed: {', '.join(STREAMS)}")
    return mix(torch.tensor(seeds, dtype=torch.int64, device=device), STREAMS[stream])


def bits(key: Tensor, n: int) -> Tensor:
    """(K,) keys to (K, n) int64 words, uniform over all 64 bits."""
    return mix(key[:, None], torch.arange(n, device=key.device))  # (K, 1), (n,) -> (K, n)


def uniform(key: Tensor, n: int) -> Tensor:
    """(K,) keys to (K, n) float32 in [0, 1), with 24 random bits each."""
    return _shift(bits(key, n), 40).float() * 2.0**-24


def coins(key: Tensor, n: int) -> Tensor:
    """(K,) keys to (K, n) int64 in [0, 65536): four to a word, for masks that cost little."""
    words = bits(key, (n + 3) // 4)  # (K, n / 4)
    quarters = torch.stack([_shift(words, by) & 0xFFFF for by in (48, 32, 16)] + [words & 0xFFFF])
    return quarters.movedim(0, -1).flatten(1)[:, :n]  # (4, K, n / 4) -> (K, n)


def kept(key: Tensor, n: int, rate: Tensor | float) -> Tensor:
    """(K,) keys to (K, n) float32: 1 / (1 - rate) where `coins` are at least 65536 times the rate,
    else 0. Coins are compared as whole numbers in float32."""
    least = rate * 65536
    edge = (least.ceil() if isinstance(least, Tensor) else math.ceil(least)) - 1
    if _reads_parts():
        return (_coins_at_once(key, n) - (edge - 32768)).clamp(0, 1) / (1 - rate)
    return (coins(key, n).float() - edge).clamp(0, 1) / (1 - rate)


def _coins_at_once(key: Tensor, n: int) -> Tensor:
    """`coins` less 32768, as int16 has them, in float32: four read from a word at once, in half the
    time."""
    words = bits(key, (n + 3) // 4) ^ _signed(0x8000800080008000)
    quarters = words.view(torch.int16).view(len(key), -1, 4)  # (K, 4 m) -> (K, m, 4)
    return quarters.flip(2).flatten(1)[:, :n].float()  # the lowest bits lie first


@functools.cache
def _reads_parts() -> bool:
    """Whether this torch can batch that (2.13 can, 2.11 cannot)."""
    try:
        torch.func.vmap(lambda x: x.view(torch.int16))(torch.zeros(1, 1, dtype=torch.int64))
    except RuntimeError:
        return False
    return True


def normal(key: Tensor, n: int) -> Tensor:
    """(K,) keys to (K, n) float32, standard normal (Box & Muller 1958)."""
    half = (n + 1) // 2
    u = uniform(key, 2 * half)
    radius = (-2 * torch.log1p(-u[:, :half])).sqrt()
    angle = (2 * math.pi) * u[:, half:]
    return torch.cat([radius * angle.cos(), radius * angle.sin()], 1)[:, :n]


def places(key: Tensor, n: int, among: int) -> Tensor:
    """(K,) keys to (K, n) int64 in [0, among): with replacement, as good as uniform."""
    return _shift(bits(key, n), 16) % among


def permutation(key: Tensor, n: int) -> Tensor:
    """(K,) keys to (K, n) int64: an independent permutation of 0..n-1 for each trial."""
    words = bits(key, n)
    if words.device.type != "cpu":
        return words.argsort(dim=1, stable=True)
    # A sort that need not carry places along takes a third of the time: they are the last bits.
    low = (1 << n.bit_length()) - 1
    packed = (words & ~low) | torch.arange(n)
    return torch.from_numpy(np.sort(packed.numpy(), axis=1)) & low


def torch_seed(seed: int, stream: str) -> int:
    """A seed for torch's own generator, for code that cannot be keyed (module constructors)."""
    if stream not in STREAMS:
        raise ValueError(f"stream is {stream!r}; allowed: {', '.join(STREAMS)}")
    # `keys` in Python's numbers: a pack builds many modules, and a tensor for each takes longer
    word = _finalized(STREAMS[stream] + _GOLDEN)
    return _finalized((seed ^ word) + _GOLDEN) & ((1 << 63) - 1)


def _signed(x: int) -> int:
    """The same 64 bits, as int64 has them."""
    return x - (1 << 64) if x >> 63 else x


def _finalized(x: int) -> int:
    """`_finalize` of one number, as an unsigned one."""
    x &= _WORD
    x = ((x ^ (x >> 30)) * _MUL1) & _WORD
    x = ((x ^ (x >> 27)) * _MUL2) & _WORD
    return x ^ (x >> 31)
