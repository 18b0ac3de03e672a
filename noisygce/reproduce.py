"""``python -m noisygce.reproduce RUN``: trains a finished run again from its manifest, and compares.

    python -m noisygce.reproduce results/reference/runs/<id>    a run by its folder
    python -m noisygce.reproduce <id>                           by its id, below results or results/reference
    python -m noisygce.reproduce <id> paths.results=again       in a folder of its own, to go on there after a stop
    python -m noisygce.reproduce <id> runtime.device=cpu        elsewhere than on the GPU, if there is one

It trains in a temporary folder unless paths.results names one, with as many CPU threads as then unless runtime.threads
says how many. Says what differs and what may explain it. Exit code 1 where anything differs.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from noisygce import runs, settings, train
from noisygce.errors import ConfigError, Stopped
from noisygce.settings import arguments

Manifest = Mapping[str, Any]


def find(run: str, results: Path) -> Path:
    """The folder of a finished run. Raises ConfigError."""
    places = [Path(run), results / "runs" / run, results / "reference" / "runs" / run]
    for place in places:
        if (place / "manifest.json").is_file():
            return place
    looked = ", ".join(str(base / "runs") for base in (results, results / "reference"))
    raise ConfigError(f"{run}: there is no finished run of this id in {looked}, nor in a folder {run}")


def again(then: Manifest, overrides: list[str], results: Path) -> Path:
    """Trains the run of a manifest below ``results``, and returns its folder."""
    threads = [] if any(o.startswith("runtime.threads=") for o in overrides) else [f"runtime.threads={then['threads']}"]
    here = settings.compose([*overrides, *threads, f"paths.results='{results}'"])
    own = {key: value for key, value in then["config"].items() if key not in ("numerics", "code")}
    experiment = settings.read(settings.node({**own, "runtime": here.runtime, "paths": here.paths}))
    shaping = runs.identity(own)
    train.train(experiment, shaping)
    return runs.Run(results, shaping).folder


def differences(then: Path, now: Path) -> Iterator[str]:
    """What is not equal in two folders of one run: metrics byte for byte, digests of labels and final state."""
    was, is_ = (runs.read_manifest(folder, folder.name) for folder in (then, now))
    if was["noise"]["labels_sha256"] != is_["noise"]["labels_sha256"]:
        yield "the noisy labels"
    if (then / "metrics.csv").read_bytes() != (now / "metrics.csv").read_bytes():
        yield _first_difference(then / "metrics.csv", now / "metrics.csv")
    if was["state_sha256"] != is_["state_sha256"]:
        yield "the final weights, momenta and statistics"
    if was["results"] != is_["results"]:
        accuracies = (100 * manifest["results"]["val"] for manifest in (was, is_))
        yield "the test accuracy under val: {:.2f} % then, {:.2f} % now".format(*accuracies)


def _first_difference(then: Path, now: Path) -> str:
    was, is_ = (list(csv.DictReader(path.read_text().splitlines())) for path in (then, now))
    for old, new in zip(was, is_, strict=False):
        for column in old:
            if old[column] != new.get(column):
                return f"metrics.csv from epoch {old['epoch']} on: {column} {old[column]} then, {new.get(column)} now"
    return f"metrics.csv: {len(was)} epochs then, {len(is_)} now"


def causes(was: Manifest, is_: Manifest) -> Iterator[str]:
    """What was not the same when the two were trained, and may explain why their numbers differ."""
    for key in ("device", "threads", "commit"):
        if was.get(key) != is_.get(key):
            yield f"{key}: {was.get(key)} then, {is_.get(key)} now"
    for name in sorted({**was["versions"], **is_["versions"]}):
        if was["versions"].get(name) != is_["versions"].get(name):
            yield f"version of {name}: {was['versions'].get(name)} then, {is_['versions'].get(name)} now"
    if was["config"]["numerics"] != is_["config"]["numerics"]:
        yield f"numerics: {was['config']['numerics']} then, {is_['config']['numerics']} now (meant to differ)"
    for when, manifest in (("then", was), ("now", is_)):
        for other in manifest.get("also_made", ()):
            yield f"{when}, a part of it was made with {other['threads']} threads on {other['device']}"
        if manifest.get("dirty"):
            yield f"changes {when} that are in no commit"


def reproduce(then: Path, overrides: list[str], results: Path) -> bool:
    """Trains the run in ``then`` again below ``results``, and says whether it is equal."""
    was = runs.read_manifest(then, then.name)
    now = results / "runs" / then.name
    if now.exists() and now.samefile(then):
        raise ConfigError(f"{results} holds the run itself; name another folder with paths.results=FOLDER")
    now = again(was, overrides, results)
    found = list(differences(then, now))
    if not found:
        print(f"{then.name}: equal, metrics.csv byte for byte, noisy labels and final state by their digests")
        return True
    print(f"{then.name}: not equal")
    for difference in found:
        print(f"  {difference}")
    reasons = list(causes(was, runs.read_manifest(now, now.name)))
    print("  what may explain it:" if reasons else "  nothing that a manifest records explains it")
    for reason in reasons:
        print(f"    {reason}")
    return False


def main() -> None:
    if arguments.help_was_asked(__doc__):
        return
    train.prepare_process()
    with train.exits():
        words = [word for word in sys.argv[1:] if "=" not in word]
        overrides = [word for word in sys.argv[1:] if "=" in word]
        if len(words) != 1 or words[0].startswith("-"):
            given = " ".join(words) or "no run is named"
            raise ConfigError(f"{given}: name one finished run, by its id or its folder; --help says more")
        for override in overrides:
            if not override.startswith(("runtime.", "paths.")):
                raise ConfigError(f"{override}: a run is trained again as it was; only runtime.* and paths.* are free")
        experiment = settings.read(settings.compose(overrides))
        kept = any(override.startswith("paths.results=") for override in overrides)
        then = find(words[0], Path("results"))
        if kept:
            sys.exit(not reproduce(then, overrides, experiment.paths.results))
        try:
            with tempfile.TemporaryDirectory(prefix="noisygce-") as temporary:
                sys.exit(not reproduce(then, overrides, Path(temporary)))
        except Stopped:
            raise Stopped("stopped, and nothing is kept; with paths.results=FOLDER it can go on there") from None


if __name__ == "__main__":
    main()
