"""Few seeds: quantiles against closed forms and printed tables, the signed-rank test against all sign patterns."""

import itertools
import math

import pytest

from noisygce.view import stats


@pytest.mark.parametrize("p", [0.6, 0.9, 0.975, 0.999])
def test_t_quantile_of_one_and_two_degrees_is_the_closed_form(p):
    assert stats.t_quantile(p, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)), rel=1e-10)
    assert stats.t_quantile(p, 2) == pytest.approx((2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p))), rel=1e-10)


@pytest.mark.parametrize(
    ("df", "printed"), [(3, 3.182), (4, 2.776), (5, 2.571), (9, 2.262), (10, 2.228), (30, 2.042), (120, 1.980)]
)
def test_t_quantile_is_that_of_the_printed_tables(df, printed):
    assert stats.t_quantile(0.975, df) == pytest.approx(printed, abs=5e-4)
    assert stats.t_quantile(0.025, df) == pytest.approx(-printed, abs=5e-4)


def test_describe_by_head():
    assert stats.describe([]) is None
    assert stats.describe([0.5]) == stats.Sample(1, 0.5, None, None)
    found = stats.describe([0.1, 0.2, 0.3])
    assert (found.n, found.mean, found.std) == (3, pytest.approx(0.2), pytest.approx(0.1))
    assert found.half == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-6)


def by_all_signs(differences):
    """The two-sided p by going through all 2^n signs; ranks of ties are their mean."""
    sizes = [abs(d) for d in differences if d]
    ranks = [sum(o < s for o in sizes) + (sum(o == s for o in sizes) + 1) / 2 for s in sizes]
    signed = [d for d in differences if d]
    seen = sum(rank for rank, d in zip(ranks, signed, strict=True) if d > 0)
    seen = min(seen, sum(ranks) - seen)
    every = [sum(r for r, s in zip(ranks, s, strict=True) if s) for s in itertools.product((0, 1), repeat=len(ranks))]
    return min(1.0, 2 * sum(total <= seen + 1e-9 for total in every) / len(every))


@pytest.mark.parametrize(
    "differences",
    [[1, 2, 3, 4, 5], [1, 1, 1, 2, -3], [1, -2, 3, 4, -5, 6], [1, 1, -1, 2], [0, 0, 3, -1], [2, 2, 2, 2, -2], [1, -1]],
    ids=str,
)
def test_wilcoxon_is_exact_with_ties_and_zeros(differences):
    assert stats.wilcoxon(differences).p == pytest.approx(by_all_signs(differences), abs=1e-12)


def test_five_pairs_cannot_be_significant():
    assert stats.wilcoxon([1, 2, 3, 4, 5]).p == 0.0625


def test_wilcoxon_without_a_difference_says_nothing():
    assert stats.wilcoxon([]) is None
    assert stats.wilcoxon([0.0, 1e-17]) is None


def test_the_normal_approximation_is_close_to_the_exact_one():
    differences = [i if i % 3 else -i for i in range(1, 41)]
    exact, normal = stats.wilcoxon(differences), stats.wilcoxon(differences, exact_up_to=10)
    assert (exact.exact, normal.exact) == (True, False)
    assert normal.p == pytest.approx(exact.p, rel=0.02)
