"""Few seeds: quantiles against closed forms and printed tables."""

import math

import pytest

from noisygce.view import stats
from noisygce.view.measures import MEASURES

SHARE = MEASURES["accuracy"]


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


@pytest.mark.parametrize(
    ("value", "text"),
    [(71.345, "71.35"), (73.345, "73.35"), (71.335, "71.34"), (50.125, "50.13"), (50.375, "50.38"), (0.005, "0.01")],
)
def test_a_half_is_rounded_away_from_zero_by_its_decimals(value, text):
    assert SHARE.text(value / 100) == SHARE.text(-value / 100).removeprefix("−") == text
    assert SHARE.spread(stats.Sample(2, value / 100, value / 100, None)) == f"{text} ± {text}"


def test_bits_beyond_the_ninth_decimal_do_not_round():
    assert SHARE.text(0.1 + 0.2) == SHARE.text(0.3) == "30.00"
    assert str(stats.rounded(0.5 - 1e-12, 0)) == "1"
