"""Label Wave: the epoch to stop at, chosen without validation data (Yuan et al. 2024, arXiv 2502.07551)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WINDOW = 3  # epochs of the moving average


def label_wave(rows: Sequence[Mapping[str, Any]], window: int = WINDOW) -> Mapping[str, Any] | None:
    """The row of metrics.csv that Label Wave chooses: the last epoch before the moving average of prediction changes
    rises for the first time, or the last epoch of all where it never rises. None where no row has prediction_changes.

    The paper's: the prediction of the training step is compared with that of the epoch before, for each sample, and the
    first local minimum of the moving average of these changes is where to stop. The authors' code (GitHub,
    tmllab/2024_ICLR_LabelWave at cf3e9eb) writes the number of changes to a file and has neither average nor rule.
    Ours: the average is over the last ``window`` epochs, three, and begins with the first epoch that has so many;
    changes are a share of the samples that both epochs trained on, since a loss that prunes drops some; an equal
    average is no rise; an epoch without the number is passed over: the first one, and one that resumed from a
    checkpoint without predictions.
    """
    known = [row for row in rows if row.get("prediction_changes") not in (None, "")]
    if not known:
        return None
    changes = [float(row["prediction_changes"]) for row in known]
    for end in range(window, len(known)):
        if changes[end] > changes[end - window]:  # the average up to the next epoch is above the average up to this one
            return known[end - 1]
    return rows[-1]
