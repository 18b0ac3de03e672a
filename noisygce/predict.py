"""``python -m noisygce.predict RUN PICTURE...``: classifies pictures with the best model of a finished run.

    python -m noisygce.predict results/runs/<id> cat.png dog.jpg     a run by its folder or ID
    python -m noisygce.predict <id> holiday/ out=predictions.csv     all pictures below a folder, into a file
    python -m noisygce.predict model.safetensors cat.png             a model that was copied elsewhere
    python -m noisygce.predict <id> X.npy                            vectors, by a run on data=features; or images
                                                                     of the run's size, uint8 (n, H, W, C)

Writes CSV, a line a picture: file, the likeliest class and its p, then the next three. Pictures of any size are resized
as data=folder resizes them; the line of an unreadable picture is empty. Samples of an .npy file have the number of
their row in place of a file. Needs the run's model.safetensors (runtime.keep_model=best) and no data set.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from noisygce import models, results
from noisygce.data.features import vectors
from noisygce.data.listing import endings, is_picture, walk
from noisygce.data.own_files import array, as_bytes
from noisygce.errors import ConfigError, DataError, counted
from noisygce.runs import atomic
from noisygce.settings import arguments
from noisygce.settings.command import printable

SHOWN = 4  # classes a line
_COLUMNS = [f"{name}{rank}" for rank in ("", *(f"_{i}" for i in range(2, SHOWN + 1))) for name in ("class", "p")]
_BATCH = 100  # pictures at a time


def main() -> None:
    arguments.main(run, __doc__)


def run(argv: list[str]) -> None:
    """Classifies the pictures or vectors that the words name."""
    import pandas as pd

    options, names = arguments.take(argv, "out", "hydra.searchpath")  # --config-dir: a run holds its config
    if len(arguments.named(names, ["out"])) < 2:
        raise ConfigError("name a finished run, then pictures or folders of them; --help says more")
    if "out" in options:
        _refuse_file(Path(options["out"]).expanduser())
    path = Path(names[0])
    trained = models.load(path if path.is_file() else results.with_files(names[0]).folder)
    of_array = trained.preprocess.vectors or any(name.lower().endswith((".npy", ".npz")) for name in names[1:])
    samples: Sequence[Any] = _rows(trained, names[1:]) if of_array else [*listed(names[1:])]
    lines = [*predict(trained, samples)]
    broken = [line for line in lines if isinstance(line, DataError)]
    if broken and len(broken) == len(lines):
        raise broken[0]
    for error in broken:  # one picture that cannot be read must not cost the predictions for a thousand
        print(printable(f"noisygce: {error}"), file=sys.stderr)
    known = [{} if isinstance(line, DataError) else dict(zip(_COLUMNS, line, strict=False)) for line in lines]
    frame = pd.DataFrame(known, columns=_COLUMNS, dtype=object)
    frame.insert(0, "row" if of_array else "file", range(len(samples)) if of_array else [*map(str, samples)])
    text = frame.to_csv(index=False, lineterminator="\n")
    if "out" in options:
        atomic.write_text(Path(options["out"]).expanduser(), text)
        print(f"{options['out']}: {len(samples):,} {'rows' if of_array else 'pictures'}")
    elif sys.stdout.isatty():
        print("\n".join(map(printable, text.splitlines())))
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode(errors="surrogateescape"))  # names of files may be no UTF-8


def _refuse_file(out: Path) -> None:
    """Raises ConfigError where no file can be written, before anything is predicted."""
    if out.is_dir():
        raise ConfigError(f"out={out}: this is a folder; name a file, such as out={out / 'predictions.csv'}")
    if not out.parent.is_dir():
        raise ConfigError(f"out={out}: there is no folder {out.parent}")


def _rows(trained: models.Trained, names: Sequence[str]) -> Any:
    """The samples of an .npy file: vectors (n, D), or images as uint8 (n, H, W, C). Raises ConfigError or DataError."""
    if len(names) != 1:
        raise ConfigError(f"{' '.join(names)}: name one .npy file, and nothing beside it")
    path, shape = Path(names[0]), trained.preprocess.shape
    if not trained.preprocess.vectors:
        return _images(path, shape)
    found = vectors(path)
    if found.shape[1] != shape[2]:
        raise DataError(f"{path} has {counted(found.shape[1], 'column')}, and the run was trained on {shape[2]}")
    return found


def _images(path: Path, shape: tuple[int, int, int]) -> Any:
    """The images of an .npy file, whose layout their shape says, as uint8 (n, H, W, C). Raises DataError."""
    found, (height, width, channels) = array(path), shape
    if found.dtype == "uint8" and found.ndim > 1:
        if found.shape[1:] == shape:
            return found
        if found.shape[1:] == (channels, height, width):
            return found.transpose(0, 2, 3, 1)
        if (*found.shape[1:], 1) == shape:
            return found[..., None]
    raise DataError(
        f"{path} holds {found.dtype} of shape {found.shape}; the run's images are uint8 "
        f"(n, {height}, {width}, {channels}){as_bytes(found)}"
    )


def listed(names: Iterable[str]) -> Iterator[Path]:
    """The pictures that are named, those below a folder by their endings, in the order of their names."""
    for name in names:
        path = Path(name)
        if not path.exists():
            raise DataError(f"{name} is not there; name pictures or folders of them")
        if not path.is_dir():
            yield path
            continue
        found = sorted(each for each in walk(path, []) if is_picture(each, path) and each.is_file())
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
        found: list[list[str]] = []
        if readable:
            with torch.inference_mode():
                p = trained.network(trained.preprocess(readable)).double().softmax(1)
            values, classes = (best.tolist() for best in p.topk(min(SHOWN, p.shape[1]), 1))
            found = [_line(trained, *each) for each in zip(classes, values, strict=True)]
        lines = iter(found)
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
