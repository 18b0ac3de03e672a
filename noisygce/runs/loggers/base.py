"""A logger: what it may do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = Mapping[str, Any]


class Logger:
    """What a logger may do; every method may be left out. Shares are fractions, names those of metrics.csv.

    An exception leaves the logger out of the run, which goes on.
    """

    def begin(self, run_id: str, config: Row, folder: Path) -> int:
        """Before the first row. Returns how many epochs of the run it holds already: they are not told again."""
        return 0

    def epoch(self, row: Row) -> None:
        """A finished epoch: its row of metrics.csv, whose absent values are None."""

    def pruning(self, row: Row) -> None:
        """A round of pruning, as in the manifest."""

    def figure(self, name: str, figure: Figure) -> None:
        """A drawing of the whole run, at its end."""

    def done(self, manifest: Row) -> None:
        """The run is finished: its manifest, with test accuracy under every selection rule."""

    def close(self) -> None:
        """The run is finished, stopped or has failed."""


class Numbers(Logger):
    """A logger of numbers by step; pruning, too, by the epoch that it follows."""

    separator = "/"

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Numbers by name, of an epoch."""

    def epoch(self, row: Row) -> None:
        self.log(numbers(row), row["epoch"])

    def pruning(self, row: Row) -> None:
        self.log(numbers(row, f"pruning{self.separator}"), row["after_epoch"])


def numbers(row: Row, prefix: str = "") -> dict[str, float]:
    """The numbers of a row that are there, but for the epoch, under their names with a prefix."""
    names = [k for k, v in row.items() if isinstance(v, int | float) and k not in ("epoch", "after_epoch")]
    return {f"{prefix}{name}": float(row[name]) for name in names}
