"""Measures: what a table may show of its runs, how that is written, and whether more of it is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from noisygce import results, runs
from noisygce.view import stats


@dataclass(frozen=True)
class Measure:
    """name: as titles have it. of: on what it is measured, "{}" standing for the model. rules: under which it is known;
    none: it depends on the runs. lower: less is better. share: a fraction, written in per cent with two decimals; any
    other number has ``decimals``."""

    name: str
    of: str = ""
    rules: tuple[str, ...] = ()
    lower: bool = False
    share: bool = True
    decimals: int = 3

    def titled(self, title: str) -> str:
        """A title of test accuracy as one of this measure."""
        whole = title.replace("Test accuracy in %", f"{self.name} in %" if self.share else self.name)
        return whole.replace("Test accuracy", self.name)

    @property
    def unit(self) -> str:
        """What differences are in, as sentences have it; three decimals speak for themselves."""
        return " in percentage points" if self.share else ""

    def text(self, value: float, decimals: int = 2, signed: bool = False) -> str:
        """decimals: of per cent."""
        if self.share:
            return stats.percent(value, decimals, signed)
        return f"{stats.rounded(value, self.decimals):{'+' if signed else ''}}".replace("-", "−")

    def spread(self, mean: float, std: float | None, decimals: int = 2, signed: bool = False) -> str:
        """Mean ± standard deviation; the mean alone where there is no deviation."""
        return self.text(mean, decimals, signed) + ("" if std is None else f" ± {self.text(std, decimals)}")

    def better(self, difference: float) -> float:
        """A difference, turned so that what is positive is better."""
        return -difference if self.lower else difference


_WRONG = "by the margin of {}, among the training samples"
_CLASS = "of the test samples of each class, those that {} is right about"
_CALIBRATION = {
    "ece": ("Expected calibration error", "in 15 bins of equal mass", True),
    "ece_equal_width": ("Expected calibration error", "in 15 bins of equal width", True),
    "nll": ("Negative log-likelihood", "in nats", False),
    "brier": ("Brier score", "from 0 to 2", False),
}
_PLAIN = "of {} on the test set"
_SCALED = "of {} on the test set, at the temperature that fits the noisy validation labels"


def _of_calibration(after: str, of: str) -> dict[str, Measure]:
    rules = ("val", "last")
    return {
        name: Measure(f"{title}{after}", f"{of}, {how}; less is better", rules, lower=True, share=share)
        for name, (title, how, share) in _CALIBRATION.items()
    }


_RANKED = (*runs.RULES, results.NOISY_VALIDATION, results.LABEL_WAVE)
MEASURES: Mapping[str, Measure] = {
    "accuracy": Measure("Test accuracy"),
    "auroc": Measure("Area under the ROC curve of finding wrong labels", _WRONG, ("val", "last", "gap")),
    "ap": Measure("Average precision of finding wrong labels", _WRONG, ("val", "last", "gap")),
    "per_class": Measure("Test accuracy of each class", _CLASS),
    "t_error": Measure(
        "L1 error of the estimated transition matrix", "sum |T_hat - T| / sum T; less is better", ("last",), True, False
    ),
    "rank": Measure("Rank of test accuracy", rules=_RANKED, lower=True, share=False, decimals=1),
    **_of_calibration("", _PLAIN),
    **{f"{k}_scaled": m for k, m in _of_calibration(" after temperature scaling", _SCALED).items()},
}
