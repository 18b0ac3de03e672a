"""Measures: what a table may show of its runs, how that is written, and whether more of it is better."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from noisygce import results, runs
from noisygce.results import Result
from noisygce.view.published import Number
from noisygce.view.stats import Sample, rounded


@dataclass(frozen=True)
class Measure:
    """name: as titles have it. of: on what it is measured, "{}" standing for the model. rules: under which it is known;
    none: it depends on the runs. keys: of a manifest, "{model}" standing for the one of a rule; none: test accuracy.
    lower: less is better. share: a fraction, written in per cent with two decimals; any other number has
    ``decimals``."""

    name: str
    of: str = ""
    rules: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    lower: bool = False
    share: bool = True
    decimals: int = 3

    def read(self, run: Result, rule: str) -> float | None:
        """The measure of a run under a selection rule; None where there is none."""
        if not self.keys:
            return run.number(rule)
        if rule == "gap":
            val, last = self.read(run, "val"), self.read(run, "last")
            return None if val is None or last is None else last - val
        model = results.MODELS.get(rule, "")
        return run.recorded(*(key.format(model=model) for key in self.keys)) if rule in self.rules else None

    def titled(self, title: str) -> str:
        """A title of test accuracy as one of this measure; any other title after the measure's name."""
        unit = r"\1" if self.share else ""
        titled, found = re.subn("Test accuracy( in %)?", self.name + unit, title)
        return titled if found or self.name == "Test accuracy" else f"{self.name}: {title}"

    @property
    def unit(self) -> str:
        """What differences are in, as sentences have it; three decimals speak for themselves."""
        return " in percentage points" if self.share else ""

    def text(self, value: float, decimals: int = 2, signed: bool = False) -> str:
        """A value or a difference, with a true minus sign. decimals: of per cent."""
        number = rounded(100 * value, decimals) if self.share else rounded(value, self.decimals)
        return f"{number:{'+' if signed else ''}}".replace("-", "−")

    def spread(self, number: Sample | Number | None, decimals: int = 2, signed: bool = False) -> str:
        """Mean ± standard deviation; the mean alone where there is no deviation, - where there is nothing."""
        if number is None:
            return "-"
        deviation = "" if number.std is None else f" ± {self.text(number.std, decimals)}"
        return self.text(number.mean, decimals, signed) + deviation

    def interval(self, sample: Sample | None, decimals: int = 2, signed: bool = False) -> str:
        """The 95 % t interval; - where there is none."""
        ends = sample and sample.interval
        return " to ".join(self.text(end, decimals, signed) for end in ends) if ends else "-"

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


def _detection(name: str, title: str) -> Measure:
    return Measure(title, _WRONG, ("val", "last", "gap"), ("detection", "{model}", "margin", name))


def _calibration(part: str, after: str, at: str) -> list[Measure]:
    return [
        Measure(
            f"{title}{after}",
            f"of {{}} on the test set{at}, {how}; less is better",
            ("val", "last"),
            ("calibration", "{model}", part, name),
            lower=True,
            share=share,
        )
        for name, (title, how, share) in _CALIBRATION.items()
    ]


_SCALED = " after temperature scaling", ", at the temperature that fits the noisy validation labels"
_T_ERROR = "L1 error of the estimated transition matrix", "sum |T_hat - T| / sum T; less is better"
_RANKED = (*runs.RULES, results.NOISY_VALIDATION, results.LABEL_WAVE)
MEASURES: Mapping[str, Measure] = {
    "accuracy": Measure("Test accuracy"),
    "auroc": _detection("auroc", "Area under the ROC curve of finding wrong labels"),
    "ap": _detection("ap", "Average precision of finding wrong labels"),
    "per_class": Measure("Test accuracy of each class", _CLASS),
    "t_error": Measure(*_T_ERROR, ("last",), ("transition_hat", "error"), lower=True, share=False),
    "rank": Measure("Rank of test accuracy", rules=_RANKED, lower=True, share=False, decimals=1),
    **dict(zip(_CALIBRATION, _calibration("plain", "", ""), strict=True)),
    **dict(zip((f"{name}_scaled" for name in _CALIBRATION), _calibration("scaled", *_SCALED), strict=True)),
}
