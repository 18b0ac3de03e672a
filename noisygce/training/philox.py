"""Philox 4x32-10: random bits as a pure function of a key and a counter (Salmon et al. 2011, SC'11).

In integer tensor arithmetic, so the CPU and every GPU give the same bits, in any order and any number of pieces:
nothing is consumed, nothing need be saved. Words are 32 bits, held in int64 tensors.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


def philox(counter: tuple[Tensor | int, ...], key: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four words of random bits, each in [0, 2^32), for each counter.

    counter: four words, tensors of one shape or plain integers, at least one of them a tensor. key: two words.
    """
    c0, c1, c2, c3 = (torch.as_tensor(word) for word in counter)
    k0, k1 = key
    for _ in range(10):
        # int64 products wrap; their upper 32 bits are those of the unsigned product once the sign is masked off.
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = ((p1 >> 32) & _MASK) ^ c1 ^ k0, p1 & _MASK, ((p0 >> 32) & _MASK) ^ c3 ^ k1, p0 & _MASK
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def below(word: Tensor, bound: int) -> Tensor:
    """Integers in 0..bound-1 from words: (word * bound) >> 32, each value within bound / 2^32 of equally likely."""
    return (word * bound) >> 32


def beta(one: Tensor, other: Tensor, alpha: float) -> Tensor:
    """Numbers of Beta(alpha, alpha), float64, from two words each; for any alpha > 0.

    (1 + t / sqrt(2 alpha + t^2)) / 2 with t of Student's distribution of 2 alpha degrees of freedom, which is
    sqrt(2 alpha (u^(-1 / alpha) - 1)) cos(2 pi v) for uniform u, v (Bailey 1994, Math. Comp. 62, 779-781).
    """
    u, v = ((word.double() + 0.5) / 2**32 for word in (one, other))
    cosine = (2 * math.pi * v).cos()
    return (1 + cosine / (cosine.square() + 1 / (-u.log() / alpha).expm1()).sqrt()) / 2
