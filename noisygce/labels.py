"""``python -m noisygce.labels``: writes the noisy labels of a run to a file.

    python -m noisygce.labels out=labels.npy data=cifar10 noise=pair rate=0.4 seed=0

Takes the settings of ``noisygce.train``. Writes N integers (int64), one for each training image in the data set's
order, so that other code can train on the same noise, and prints the command that trains on them here (noise=file).
Labels that ``data.verdicts`` changes are written as changed, and samples that it drops as drawn.
"""

from __future__ import annotations

import io
import shlex
from pathlib import Path

import numpy as np

from noisygce import settings
from noisygce.errors import ConfigError
from noisygce.noise import Noise, digest, realised_rate
from noisygce.runs import atomic
from noisygce.settings import arguments
from noisygce.training.task import prepare


def main() -> None:
    arguments.main(run, __doc__)


def run(argv: list[str]) -> None:
    """Writes the noisy labels of the run that the words describe."""
    options, rest = arguments.take(argv, "out")
    out = Path(options.get("out", "")).expanduser()
    if out.suffix != ".npy":
        raise ConfigError("out: must be the file to write, such as out=labels.npy")
    if not out.parent.is_dir():
        raise ConfigError(f"out={out}: there is no folder {out.parent}")
    arguments.split(rest, {})
    cfg = settings.compose(rest)
    e = settings.read(cfg)
    if type(e.noise).replace is not Noise.replace:
        raise ConfigError(f"{type(e.noise).__name__}: this noise changes images, not labels: there are none to write")
    task = prepare(e.data, e.split, e.verdicts, e.noise, e.seed, e.paths.data)
    buffer = io.BytesIO()
    np.save(buffer, task.noisy)
    atomic.write(out, [buffer.getvalue()])
    rate, sha256 = realised_rate(task.clean, task.noisy), digest(task.noisy)
    print(f"{out}: {len(task.noisy):,} labels, {100 * rate:.2f} % of them changed, SHA-256 {sha256}")
    others = [word for word in rest if not word.lstrip("+~").startswith(("noise", "rate=", "data.verdicts"))]
    file = settings.setting("noise.file", str(out.resolve()))
    others += ["grid=null"] if cfg.get("grid") else []  # of an experiment, whose other runs have other labels
    given = [*arguments.typed(others), "noise=file", file, f"noise.sha256={sha256}", f"rate={min(rate, 0.9999):.4f}"]
    print(f"to train on them: {shlex.join(['python', '-m', 'noisygce.train', *given])}")
    if dropped := task.verdicts.get("drop"):
        print(f"the {dropped:,} samples that data.verdicts drops are in the file, and are trained on with it")


if __name__ == "__main__":
    main()
