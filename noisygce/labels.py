"""What a manifest says of the noisy labels of a run."""

from __future__ import annotations

import hashlib
from typing import Any

from noisygce.noise import Labels, empirical_transition, realised_rate


def describe(rate: float, clean: Labels, noisy: Labels, classes: int) -> dict[str, Any]:
    """What was asked for and what was drawn, over the whole training set; digest of the labels as little-endian int64.

    clean, noisy (N,) in 0..classes-1.
    """
    return {
        "nominal_rate": rate,
        "realised_rate": realised_rate(clean, noisy),
        "transition": empirical_transition(clean, noisy, classes).round(6).tolist(),
        "labels_sha256": hashlib.sha256(noisy.astype("<i8").tobytes()).hexdigest(),
    }
