"""``python -m noisygce.labels``: the noisy labels of a run as a file.

    python -m noisygce.labels out=labels.npy data=cifar10 noise=pair rate=0.4 seed=0

Takes the settings of ``noisygce.train``; writes N integers (int64), one for each training image in the data set's
order, so that another code base can train on the very same noise, and says how to bring them back (noise=file).
"""

from __future__ import annotations

import io
from pathlib import Path

from noisygce.noise import digest, realised_rate


def _answer(given: list[str]) -> None:
    import numpy as np

    from noisygce import settings
    from noisygce.errors import ConfigError
    from noisygce.runs import atomic
    from noisygce.settings import arguments
    from noisygce.training.task import prepare

    out = [argument.partition("=")[2] for argument in given if argument.startswith("out=")]
    if len(out) != 1 or not out[0].endswith(".npy"):
        raise ConfigError("out: must be the file to write, such as out=labels.npy")
    _, words = arguments.split([argument for argument in given if not argument.startswith("out=")], {})
    e = settings.read(settings.compose(words))
    task = prepare(e.data, e.split, e.verdicts, e.noise, e.seed, e.paths.data)
    buffer = io.BytesIO()
    np.save(buffer, task.noisy)
    atomic.write(Path(out[0]), [buffer.getvalue()])
    rate, sha256 = realised_rate(task.clean, task.noisy), digest(task.noisy)
    print(f"{out[0]}: {len(task.noisy):,} labels, {100 * rate:.2f} % of them changed, SHA-256 {sha256}")
    kept = " ".join(word for word in words if not word.startswith(("noise", "rate=")))
    print(
        f"to train on them: {kept} noise=file noise.file={Path(out[0]).resolve()} noise.sha256={sha256} rate={rate:.4f}"
    )


if __name__ == "__main__":
    from noisygce.settings import arguments

    arguments.main(_answer, __doc__)
