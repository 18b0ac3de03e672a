"""``python -m noisygce.predict RUN PICTURE...``: what the best model of a finished run says of pictures.

    python -m noisygce.predict results/runs/<id> cat.png dog.jpg     a run by its folder, or by its id
    python -m noisygce.predict <id> holiday/ out=said.csv            all pictures below a folder, into a file
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
from noisygce.errors import ConfigError, DataError
from noisygce.runs import atomic
from noisygce.settings import arguments
from noisygce.settings.command import printable

SHOWN = 4  # classes a line
_BATCH = 100  # pictures at a time


def main() -> None:
    arguments.main(run, __doc__)


def run(argv: list[str]) -> None:
    """Classifies the pictures that the words name."""
    options, named = arguments.take(argv, "out", "hydra.searchpath")  # --config-dir: a run holds its config
    if len(arguments.named(named, ["out"])) < 2:
        raise ConfigError("name a finished run, then pictures or folders of them; --help says more")
    if "out" in options:
        _refuse_place(Path(options["out"]))
    run = Path(named[0])
    trained = models.load(run if run.is_file() else results.finished(named[0]).folder)
    samples, called = _vectors(trained, named[1:]) if trained.preprocess.vectors else _pictures(named[1:])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ranks = ["", *(f"_{rank}" for rank in range(2, SHOWN + 1))]
    writer.writerow([called, *(f"{column}{rank}" for rank in ranks for column in ("class", "p"))])
    lines = list(predict(trained, [sample for _, sample in samples]))
    broken = [line for line in lines if isinstance(line, DataError)]
    if broken and len(broken) == len(lines):
        raise broken[0]
    for error in broken:  # one picture of a thousand does not cost the others
        print(printable(f"noisygce: {error}"), file=sys.stderr)
    for (name, _), line in zip(samples, lines, strict=True):
        writer.writerow([name, *([""] * 2 * SHOWN if isinstance(line, DataError) else line)])
    if "out" not in options:
        if sys.stdout.isatty():
            print("\n".join(map(printable, text.getvalue().splitlines())))
            return
        sys.stdout.flush()
        sys.stdout.buffer.write(text.getvalue().encode(errors="surrogateescape"))  # names of files may be no UTF-8
        return
    atomic.write_text(Path(options["out"]), text.getvalue())
    print(f"{options['out']}: {len(samples):,} {'rows' if trained.preprocess.vectors else 'pictures'}")


def _refuse_place(out: Path) -> None:
    """Raises ConfigError where no file can be written, before anything is predicted."""
    if out.is_dir():
        raise ConfigError(f"out={out}: this is a folder; name a file, such as out={out / 'said.csv'}")
    if not out.parent.is_dir():
        raise ConfigError(f"out={out}: there is no folder {out.parent}")


def _pictures(names: Sequence[str]) -> tuple[list[tuple[Any, Any]], str]:
    """The pictures that are named, each with its name, and what such names are."""
    return [(path, path) for path in listed(names)], "file"


def _vectors(trained: models.Trained, names: Sequence[str]) -> tuple[list[tuple[Any, Any]], str]:
    """The rows of an .npy file, each with its number. Raises ConfigError or DataError."""
    if len(names) != 1:
        raise ConfigError(f"{' '.join(names)}: this run was trained on vectors; name one .npy file of them")
    found, width = vectors(Path(names[0])), trained.preprocess.shape[2]
    if found.shape[1] != width:
        raise DataError(f"{names[0]} has {found.shape[1]} columns, and the run was trained on {width}")
    return list(enumerate(found)), "row"


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
    """For each sample its ``SHOWN`` likeliest classes, each with its p, in one list, the end empty where K is smaller;
    or why it cannot be read."""
    import torch

    for start in range(0, len(samples), _BATCH):
        batch = [_ready(trained, sample) for sample in samples[start : start + _BATCH]]
        there = [sample for sample in batch if not isinstance(sample, DataError)]
        with torch.inference_mode():
            p = trained.network(trained.preprocess(there)).double().softmax(1) if there else torch.empty(0, SHOWN)
        values, classes = p.topk(min(SHOWN, p.shape[1]), 1)
        likeliest = zip(classes.tolist(), values.tolist(), strict=True)
        for sample in batch:
            if isinstance(sample, DataError):
                yield sample
                continue
            line: list[str] = []
            for y, share in zip(*next(likeliest), strict=True):
                line += [trained.classes[y], f"{share:.4f}"]
            yield line + [""] * (2 * SHOWN - len(line))


def _ready(trained: models.Trained, sample: Any) -> Any:
    """A vector; the pixels of a picture, or the DataError of one that cannot be read."""
    if trained.preprocess.vectors:
        return sample
    try:
        return trained.preprocess.pixels(sample)
    except DataError as error:
        return error


if __name__ == "__main__":
    main()
