"""Selection rules as tables show them: what each means, and the subtable of one rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from noisygce import runs
from noisygce.errors import ConfigError
from noisygce.results import LABEL_WAVE, NOISY_VALIDATION
from noisygce.view.cells import Cells, Key
from noisygce.view.measures import MEASURES
from noisygce.view.subtable import Entry, Subtable

RULES = (*runs.RULES, "gap", NOISY_VALIDATION, LABEL_WAVE)
MEANING = {
    "val": "test accuracy at the epoch of best noisy validation accuracy",
    "last": "test accuracy at the last epoch",
    "last10": "mean test accuracy of the last ten epochs",
    "val_clean": "ORACLE, looks at clean labels: test accuracy at the epoch of best clean validation accuracy",
    "test": "ORACLE, looks at the test set: best test accuracy of any epoch",
    "label_wave": "test accuracy at the epoch before the changes of training predictions, averaged over three epochs, "
    "rise for the first time (Label Wave); it looks at no validation data",
    "noisy_validation": "best accuracy on the noisy validation labels of any epoch, wrong labels among them",
    "gap": "last − val of each run, in percentage points: what training to the end costs (−) or brings (+)",
}
_MODELS = {"val": "the best-validation model", "last": "the model at the end"}  # whose other measures these rules give


def of_table(table: Mapping[str, Any], otherwise: Sequence[str]) -> list[str]:
    """The rules that an experiment's table names, of those that choose an epoch. Raises ConfigError."""
    asked, allowed = table.get("rules", otherwise), (*runs.RULES, LABEL_WAVE)
    if not isinstance(asked, list | tuple) or not asked or not all(rule in allowed for rule in asked):
        raise ConfigError(f"table.rules={asked}: must be a list, of {', '.join(allowed)}")
    return [*asked]


def title(rule: str) -> str:
    return f"Rule `{rule}`{' (oracle)' if rule in runs.ORACLES else ''}"


def subtable(cells: Cells, rule: str, decimals: int = 2) -> Subtable:
    """Rows times columns under one selection rule, which its title names."""
    measure, gap, bold = MEASURES[cells.measure], rule == "gap", cells.bold(rule)

    def entry(row: Key, column: Key) -> Entry:
        cell = cells.at(row, column)
        if cell is None:
            return Entry("")
        return Entry(measure.spread(cell.sample(rule), decimals, gap), (row, column) in bold, cell.count(rule))

    body = [[Entry(cells.row_label(row)), *(entry(row, column) for column in cells.columns)] for row in cells.rows]
    corner = ", ".join(key.removesuffix(".name").rpartition(".")[2] for key in cells.row_keys)
    meaning = measure.of.format(_MODELS[rule]) if measure.of and rule in _MODELS else MEANING[rule]
    note = f"{meaning[0].upper() + meaning[1:]}. Mean ± sample standard deviation (runs)."
    if not gap:
        note += " Bold: the best and all within its 95 % t interval."
    return Subtable(title(rule), note, [(corner,), *cells.header()], body)
