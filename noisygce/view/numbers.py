"""Numbers as a person reads them."""

from __future__ import annotations


def percent(share: float, signed: bool = False) -> str:
    """A fraction in per cent, two decimals, with a true minus sign."""
    return f"{100 * share:{'+' if signed else ''}.2f}".replace("-", "−")


def spread(mean: float, std: float | None, signed: bool = False) -> str:
    """Mean ± standard deviation, fractions, in per cent; the mean alone where there is no deviation."""
    return percent(mean, signed) + ("" if std is None else f" ± {100 * std:.2f}")
