"""``python -m noisygce.labels``: the noisy labels of a run as a file.

    python -m noisygce.labels out=labels.npy data=cifar10 noise=pair rate=0.4 seed=0

Takes the settings of ``noisygce.train``; writes N integers (int64), one for each training image in the data set's
order, so that another code base can train on the very same noise, and says how to bring them back (noise=file).
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from noisygce import settings
from noisygce.errors import ConfigError
from noisygce.noise import digest, realised_rate
from noisygce.runs import atomic
from noisygce.settings import arguments
from noisygce.training.task import prepare


def main() -> None:
    arguments.main(answer, __doc__)


def answer(words: list[str]) -> None:
    """Writes the noisy labels of the run that the words describe."""
    options, rest = arguments.take(words, "out")
    out = Path(options.get("out", ""))
    if out.suffix != ".npy":
        raise ConfigError("out: must be the file to write, such as out=labels.npy")
    arguments.split(rest, {})
    e = settings.read(settings.compose(rest))
    task = prepare(e.data, e.split, e.verdicts, e.noise, e.seed, e.paths.data)
    buffer = io.BytesIO()
    np.save(buffer, task.noisy)
    atomic.write(out, [buffer.getvalue()])
    rate, sha256 = realised_rate(task.clean, task.noisy), digest(task.noisy)
    print(f"{out}: {len(task.noisy):,} labels, {100 * rate:.2f} % of them changed, SHA-256 {sha256}")
    kept = " ".join(arguments.typed([word for word in rest if not word.startswith(("noise", "rate="))]))
    print(f"to train on them: {kept} noise=file noise.file={out.resolve()} noise.sha256={sha256} rate={rate:.4f}")


if __name__ == "__main__":
    main()
