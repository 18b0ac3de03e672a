"""``python -m noisygce.labels``: the noisy labels of a run as a file.

    python -m noisygce.labels out=labels.npy data=cifar10 noise=pair rate=0.4 seed=0

Takes the settings of ``noisygce.train``; writes N integers (int64), one for each training image in the data set's
order, so that another code base can train on the very same noise, and says how to bring them back (noise=file).
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from noisygce.noise import Labels, digest, empirical_transition, realised_rate


def describe(rate: float, clean: Labels, noisy: Labels, classes: int) -> dict[str, Any]:
    """What was asked for and what was drawn, over the whole training set; digest of the labels as little-endian int64.

    clean, noisy (N,) in 0..classes-1.
    """
    return {
        "nominal_rate": rate,
        "realised_rate": realised_rate(clean, noisy),
        "transition": empirical_transition(clean, noisy, classes).round(6).tolist(),
        "labels_sha256": digest(noisy),
    }


def _answer(given: list[str]) -> None:
    import numpy as np

    from noisygce import arguments, atomic, config
    from noisygce.errors import ConfigError
    from noisygce.task import prepare

    out = [argument.partition("=")[2] for argument in given if argument.startswith("out=")]
    if len(out) != 1 or not out[0].endswith(".npy"):
        raise ConfigError("out: must be the file to write, such as out=labels.npy")
    _, settings = arguments.split([argument for argument in given if not argument.startswith("out=")], {})
    e = config.read(config.compose(settings))
    task = prepare(e.data, e.noise, e.seed, e.paths.data)
    buffer = io.BytesIO()
    np.save(buffer, task.noisy)
    atomic.write(Path(out[0]), [buffer.getvalue()])
    rate, sha256 = realised_rate(task.clean, task.noisy), digest(task.noisy)
    print(f"{out[0]}: {len(task.noisy):,} labels, {100 * rate:.2f} % of them changed, SHA-256 {sha256}")
    kept = " ".join(word for word in settings if not word.startswith(("noise", "rate=")))
    print(
        f"to train on them: {kept} noise=file noise.file={Path(out[0]).resolve()} noise.sha256={sha256} rate={rate:.4f}"
    )


if __name__ == "__main__":
    from noisygce import arguments

    arguments.main(_answer, __doc__)
