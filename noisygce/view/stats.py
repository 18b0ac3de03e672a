"""Statistics of a few seeds: mean, spread, t interval, and a paired test over settings. Plain Python, exact.

Five seeds can never give p < 0.0625 in a paired Wilcoxon test, so no cell of a table carries a star; losses are
compared over settings. For a cell, the t interval covers 94.9 % at n = 5 where a percentile bootstrap covers 83 %.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """n values: their mean, sample standard deviation (None below two), and half the width of the 95 % t interval."""

    n: int
    mean: float
    std: float | None
    half: float | None


def describe(values: Sequence[float]) -> Sample | None:
    """Mean and spread of ``values``; None where there are none."""
    n = len(values)
    if not n:
        return None
    mean = math.fsum(values) / n
    if n == 1:
        return Sample(1, mean, None, None)
    std = statistics.stdev(values)
    return Sample(n, mean, std, t_quantile(0.975, n - 1) * std / math.sqrt(n))


def t_quantile(p: float, df: int) -> float:
    """The p-quantile of Student's t with ``df`` degrees of freedom, by bisection of its distribution function."""
    assert 0 < p < 1, p
    assert df >= 1, df
    low, high = -math.pi / 2, math.pi / 2  # of the angle whose tangent is t / sqrt(df)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_below(middle, df) < p else (low, middle)
    return math.sqrt(df) * math.tan((low + high) / 2)


def _t_below(angle: float, df: int) -> float:
    """P(T <= sqrt(df) tan(angle)): for whole df a finite sum (Abramowitz & Stegun, 26.7.3 and 26.7.4)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    term, total = (cosine, 0.0) if df % 2 else (1.0, 0.0)
    for i in range(1 + df % 2, df, 2):
        total += term
        term *= cosine * cosine * i / (i + 1)
    share = 2 / math.pi * (angle + sine * total) if df % 2 else sine * total
    return (1 + share) / 2


@dataclass(frozen=True)
class Wilcoxon:
    """n: differences other than 0. p: two-sided. exact: from all 2^n signs, else from the normal approximation."""

    n: int
    p: float
    exact: bool


def wilcoxon(differences: Sequence[float], exact_up_to: int = 50) -> Wilcoxon | None:
    """Signed-rank test that the differences are symmetric about 0 (Wilcoxon 1945); None where all of them are 0.

    Zeros are left out and ties share their mean rank; the exact distribution is that of the ranks as they are.
    """
    present = [d for d in differences if round(d, 12) != 0]
    n = len(present)
    if not n:
        return None
    doubled = _doubled_ranks([abs(d) for d in present])  # twice the rank, so that a mean of ranks stays whole
    above = sum(rank for rank, d in zip(doubled, present, strict=True) if d > 0)
    smaller = min(above, sum(doubled) - above)
    if n > exact_up_to:
        spread = math.sqrt(sum(rank * rank for rank in doubled) / 4)
        z = (smaller + 1 - sum(doubled) / 2) / spread  # 1: half a rank, as a correction for continuity
        return Wilcoxon(n, min(1.0, math.erfc(-z / math.sqrt(2))), exact=False)
    ways = [1] + [0] * sum(doubled)  # ways[s]: subsets of the ranks whose sum is s
    for rank in doubled:
        for s in range(len(ways) - 1, rank - 1, -1):
            ways[s] += ways[s - rank]
    return Wilcoxon(n, min(1.0, 2 * sum(ways[: smaller + 1]) / 2**n), exact=True)


def _doubled_ranks(sizes: Sequence[float]) -> list[int]:
    """Twice the rank of each size, ties at their mean. Sizes that differ by rounding alone count as equal."""
    rounded = [round(size, 12) for size in sizes]
    counts, below, rank_of = Counter(rounded), 0, {}
    for size in sorted(counts):
        rank_of[size] = 2 * below + counts[size] + 1
        below += counts[size]
    return [rank_of[size] for size in rounded]
