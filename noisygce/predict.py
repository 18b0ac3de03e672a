"""``python -m noisygce.predict RUN PICTURE...``: what the best model of a finished run says of pictures.

    python -m noisygce.predict results/runs/<id> cat.png dog.jpg     a run by its folder, or by its id
    python -m noisygce.predict <id> holiday/ out=predictions.csv     all pictures below a folder, into a file
    python -m noisygce.predict model.safetensors cat.png             a model that was copied elsewhere
    python -m noisygce.predict <id> X.npy                            vectors, by a run on data=features

Writes CSV, a line a picture: file, the likeliest class and its p, then the three next. Pictures of any size are resized
as those of data=folder are; one that cannot be read is named, and its line is empty. A vector has the number of its row
in place of a file. Needs the run's model.safetensors (runtime.keep_model=best) and no data set.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from noisygce import models, results
from noisygce.data.features import vectors
from noisygce.data.listing import endings, is_picture
from noisygce.errors import ConfigError, DataError, counted
from noisygce.runs import atomic
from noisygce.settings import arguments
from noisygce.settings.command import printable

SHOWN = 4  # classes a line
_BATCH = 100  # pictures at a time


def main() -> None:
    arguments.main(run, __doc__)


def run(argv: list[str]) -> None:
    """Classifies the pictures or vectors that the words name."""
    options, names = arguments.take(argv, "out", "hydra.searchpath")  # --config-dir: a run holds its config
    if len(arguments.named(names, ["out"])) < 2:
        raise ConfigError("name a finished run, then pictures or folders of them; --help says more")
    if "out" in options:
        _refuse_file(Path(options["out"]))
    path = Path(names[0])
    trained = models.load(path if path.is_file() else results.finished(names[0]).folder)
    samples: Sequence[Any]
    if trained.preprocess.vectors:
        column, samples = "row", _vectors(trained, names[1:])
    else:
        column, samples = "file", [*listed(names[1:])]
    lines = [*predict(trained, samples)]
    broken = [line for line in lines if isinstance(line, DataError)]
    if broken and len(broken) == len(lines):
        raise broken[0]
    for error in broken:  # one picture that cannot be read must not cost the predictions for a thousand
        print(printable(f"noisygce: {error}"), file=sys.stderr)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ranks = ["", *(f"_{rank}" for rank in range(2, SHOWN + 1))]
    writer.writerow([column, *(f"{name}{rank}" for rank in ranks for name in ("class", "p"))])
    for name, line in zip(range(len(samples)) if column == "row" else samples, lines, strict=True):
        known = [] if isinstance(line, DataError) else line
        writer.writerow([name, *known, *[""] * (2 * SHOWN - len(known))])
    if "out" not in options:
        if sys.stdout.isatty():
            print("\n".join(map(printable, text.getvalue().splitlines())))
            return
        sys.stdout.flush()
        sys.stdout.buffer.write(text.getvalue().encode(errors="surrogateescape"))  # names of files may be no UTF-8
        return
    atomic.write_text(Path(options["out"]), text.getvalue())
    print(f"{options['out']}: {len(samples):,} {'rows' if trained.preprocess.vectors else 'pictures'}")


def _refuse_file(out: Path) -> None:
    """Raises ConfigError where no file can be written, before anything is predicted."""
    if out.is_dir():
        raise ConfigError(f"out={out}: this is a folder; name a file, such as out={out / 'predictions.csv'}")
    if not out.parent.is_dir():
        raise ConfigError(f"out={out}: there is no folder {out.parent}")


def _vectors(trained: models.Trained, names: Sequence[str]) -> Any:
    """The rows of an .npy file (n, width). Raises ConfigError or DataError."""
    if len(names) != 1:
        raise ConfigError(f"{' '.join(names)}: this run was trained on vectors; name one .npy file of them")
    found, width = vectors(Path(names[0])), trained.preprocess.shape[2]
    if found.shape[1] != width:
        raise DataError(f"{names[0]} has {counted(found.shape[1], 'column')}, and the run was trained on {width}")
    return found


def listed(names: Iterable[str]) -> Iterator[Path]:
    """The pictures that are named, those below a folder by their endings, in the order of their names."""
    for name in names:
        path = Path(name)
        if not path.exists():
            raise DataError(f"{name} is not there; name pictures or folders of them")
        if not path.is_dir():
            yield path
            continue
        found = sorted(each for each in path.rglob("*") if is_picture(each, path) and each.is_file())
        if not found:
            known = ", ".join(sorted(endings()))
            raise DataError(f"{name}: there is no picture below this folder, by its ending ({known})")
        yield from found


def predict(trained: models.Trained, samples: Sequence[Any]) -> Iterator[list[str] | DataError]:
    """For each sample its ``SHOWN`` likeliest classes (all, where there are fewer), each with its p, in one list; or
    why the sample cannot be read."""
    import torch

    for start in range(0, len(samples), _BATCH):
        batch = [_input(trained, sample) for sample in samples[start : start + _BATCH]]
        readable = [sample for sample in batch if not isinstance(sample, DataError)]
        lines: Iterator[list[str]] = iter(())
        if readable:
            with torch.inference_mode():
                p = trained.network(trained.preprocess(readable)).double().softmax(1)
            values, classes = (found.tolist() for found in p.topk(min(SHOWN, p.shape[1]), 1))
            lines = (_line(trained, *found) for found in zip(classes, values, strict=True))
        yield from (sample if isinstance(sample, DataError) else next(lines) for sample in batch)


def _line(trained: models.Trained, classes: Sequence[int], values: Sequence[float]) -> list[str]:
    return [text for y, p in zip(classes, values, strict=True) for text in (trained.classes[y], f"{p:.4f}")]


def _input(trained: models.Trained, sample: Any) -> Any:
    """A vector; the pixels of a picture, or the DataError of one that cannot be read."""
    if trained.preprocess.vectors:
        return sample
    try:
        return trained.preprocess.pixels(sample)
    except DataError as error:
        return error


if __name__ == "__main__":
    main()
