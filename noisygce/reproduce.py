"""``python -m noisygce.reproduce RUN``: trains a finished run again from its manifest, and compares.

    python -m noisygce.reproduce <id>                           by its ID, below results or results/reference
    python -m noisygce.reproduce elsewhere/runs/<id>            by its folder
    python -m noisygce.reproduce <id> paths.results=again       in this folder, where it can resume after a stop
    python -m noisygce.reproduce <id> runtime.device=cpu        on a CPU
    python -m noisygce.reproduce <id> data.folder=/new/place    on your own data, which lie elsewhere now

Trains in a temporary folder unless paths.results names one, with the manifest's number of CPU threads unless
runtime.threads sets it. Prints what differs and what may explain it. Exit code 1 if anything differs.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from noisygce import results, runs, settings, train
from noisygce.errors import ConfigError, Stopped, counted
from noisygce.results import Result
from noisygce.runs import manifest
from noisygce.runs.ids import flat
from noisygce.runs.reading import Rows
from noisygce.settings import arguments
from noisygce.settings.command import printable

Manifest = Mapping[str, Any]
_PLACES = ("data.", "noise.", "model.")  # of files of one's own
_ADDED_LATER = ("prediction_changes",)  # empty for an epoch in which a run was resumed from an older checkpoint


def again(then: Manifest, overrides: list[str], folder: Path) -> Result:
    """Trains the run of a manifest below the results folder ``folder``."""
    threads = [] if any(o.startswith("runtime.threads=") for o in overrides) else [f"runtime.threads={then['threads']}"]
    moved = [word for word in overrides if word.startswith(_PLACES)]
    free = [word for word in overrides if word not in moved]
    here = settings.compose([*free, *threads, settings.setting("paths.results", str(folder))])
    config = runs.given(runs.moved(then["config"], moved))
    cfg = settings.node({**config, "runtime": here.runtime, "paths": here.paths})
    experiment, run_config = settings.read(cfg), runs.identity(settings.resolved(cfg))
    train.train(experiment, run_config, say=_announce)
    return results.of_folder(runs.Run(folder, run_config).folder)


def _announce(run: runs.Run, manifest: dict[str, Any], finished_before: bool) -> None:
    train.announce(run, manifest, finished_before, f"{run.id}, trained again")


def differences(then: Result, now: Result) -> Iterator[str]:
    """How two runs differ: in metrics, digit for digit, in the digests of labels and final state."""
    was, is_ = then.manifest, now.manifest
    if was["noise"]["labels_sha256"] != is_["noise"]["labels_sha256"]:
        yield "the noisy labels"
    yield from _first_difference(then.rows(), now.rows())
    if was["state_sha256"] != is_["state_sha256"]:
        yield "the final weights, momenta and statistics"
    then_calibrated, calibrated = (flat(each.get("calibration", {})) for each in (was, is_))
    for name in then_calibrated.keys() & calibrated.keys():
        if then_calibrated[name] != calibrated[name]:
            yield f"calibration.{name}: {then_calibrated[name]} then, {calibrated[name]} now"
            break
    for rule, share in was["results"].items():
        if not manifest.same(share, is_["results"].get(rule)):
            yield f"the test accuracy under {rule}: {share} then, {is_['results'].get(rule)} now"


def accuracy(was: Manifest, is_: Manifest) -> str:
    """By how much test accuracies differ at most, whatever the bits do."""
    gaps = {
        rule: 0.0 if manifest.same(then, now) else abs(then - now)
        for rule, then in was["results"].items()
        if then is not None and (now := is_["results"].get(rule)) is not None
    }
    rule = max(gaps, key=lambda each: gaps[each], default="")
    if not rule:
        return "neither has a test accuracy to compare"
    if not gaps[rule]:
        return "the test accuracies are equal under every selection rule"
    return f"the test accuracies differ by at most {100 * gaps[rule]:.2f} percentage points (rule {rule})"


def _first_difference(was: Rows, is_: Rows) -> Iterator[str]:
    for old, new in zip(was, is_, strict=False):
        for column in (name for name in old if name in new):  # either may have columns that the other's code lacked
            if column in _ADDED_LATER and not (old[column] and new[column]):
                continue
            if (then := old.get(column, "")) != (now := new.get(column, "")):
                yield f"metrics.csv from epoch {old['epoch']} on: {column} {then or '-'} then, {now or '-'} now"
                return
    if len(was) != len(is_):
        yield f"metrics.csv: {counted(len(was), 'epoch')} then, {len(is_)} now"


def causes(was: Manifest, is_: Manifest) -> Iterator[str]:
    """What was not the same when the two were trained, and may explain why their numbers differ."""
    then, now = _recorded(was), _recorded(is_)
    for name in {**then, **now}:
        if then.get(name) != now.get(name):
            yield f"{name}: {then.get(name, 'not recorded')} then, {now.get(name, 'not recorded')} now"
    for when, made in (("then", was), ("now", is_)):
        for other in made.get("also_made", ()):
            yield f"{when}, a part of it was made with {other.get('threads')} threads on {other.get('device')}"
        if made.get("dirty"):
            yield f"changes {when} that are in no commit"


def _recorded(made: Manifest) -> dict[str, Any]:
    """How a run was made, as its manifest records it: machine, versions, code and data."""
    config, meant = made["config"], "(numbers are meant to differ)"
    return {
        **{key: made[key] for key in ("device", "processor", "threads", "commit") if key in made},
        **{f"version of {name}": version for name, version in made.get("versions", {}).items()},
        **{f"SHA-256 of the module {name}": digest for name, digest in config.get("code", {}).items()},
        **{f"SHA-256 or version of {name}": digest for name, digest in config.get("contents", {}).items()},
        f"numerics {meant}": config["numerics"],
        **{f"revision of {name} {meant}": number for name, number in config.get("revisions", {}).items()},
    }


def reproduce(then: Result, overrides: list[str], folder: Path) -> bool:
    """Trains a run again below ``folder``, and says whether it is equal."""
    if (there := folder / "runs" / then.id).exists() and there.samefile(then.folder):
        raise ConfigError(f"{folder} holds the run itself; name another folder with paths.results=FOLDER")
    now = again(then.manifest, overrides, folder)
    found = list(differences(then, now))
    if not found:
        print(f"{then.id}: equal, metrics digit for digit, noisy labels and final state by their digests")
        return True
    print(f"{then.id}: not equal")
    for difference in found:
        print(printable(f"  {difference}"))
    print(f"  {accuracy(then.manifest, now.manifest)}")
    reasons = list(causes(then.manifest, now.manifest))
    print("  what may explain it:" if reasons else "  nothing that a manifest records explains it")
    for reason in reasons:
        print(printable(f"    {reason}"))
    return False


def main() -> None:
    with train.exits():
        train.prepare_process()
        if arguments.help_was_asked(__doc__):
            return
        line = arguments.words(sys.argv[1:])
        words = [word for word in line if "=" not in word or Path(word).exists()]
        overrides = [word for word in line if word not in words]
        if len(words) != 1 or words[0].startswith("-"):
            given = " ".join(words) or "no run is named"
            raise ConfigError(f"{given}: name one finished run, by its id or its folder; --help says more")
        for override in overrides:
            if not override.startswith(("runtime.", "paths.", "hydra.searchpath=", *_PLACES)):
                raise ConfigError(
                    f"{override}: a run is trained again as it was; only runtime.* and paths.* are free, and where its "
                    "files lie"
                )
        experiment = settings.read(settings.compose([word for word in overrides if not word.startswith(_PLACES)]))
        kept = any(override.startswith("paths.results=") for override in overrides)
        then = results.finished(words[0])
        if kept:
            sys.exit(not reproduce(then, overrides, experiment.paths.results))
        try:
            with tempfile.TemporaryDirectory(prefix="noisygce-") as temporary:
                sys.exit(not reproduce(then, overrides, Path(temporary)))
        except Stopped:
            raise Stopped("stopped, and nothing is kept; with paths.results=FOLDER it can be resumed") from None


if __name__ == "__main__":
    main()
