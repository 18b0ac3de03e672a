"""Finished runs are what they say, or are named as not; files of unknown origin do no harm."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_reliability import EACH_STEP, Command, one_line, run_folder, train

from noisygce import runs
from noisygce.reproduce import accuracy, causes

RUN = ("data=digits", "schedule.epochs=3", "runtime.threads=1")


def verify(folder: Path, *arguments: str) -> tuple[int, str]:
    return train(folder, *arguments, module="verify")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    code, text = train(folder, *RUN)
    assert code == 0, text
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def test_a_run_as_it_was_made_is_what_it_says(finished: Path) -> None:
    assert verify(finished) == (0, "1 of 1 finished runs below results are what they say\n")


def test_a_copy_of_a_manifest_that_another_program_keeps_is_no_run(copy: Path) -> None:
    artifacts = copy / "results" / "mlflow" / "artifacts" / ("0" * 32) / "artifacts"
    artifacts.mkdir(parents=True)
    shutil.copy(run_folder(copy) / "manifest.json", artifacts)
    assert verify(copy) == (0, "1 of 1 finished runs below results are what they say\n")


@pytest.mark.parametrize("below", [".", "results/runs", "results/runs/*"])
def test_runs_are_verified_from_any_folder_above_them_and_from_their_own(finished: Path, below: str) -> None:
    (folder,) = finished.glob(below) if "*" in below else [Path(below)]
    code, text = verify(finished, str(folder))
    assert code == 0, text
    assert text.startswith(f"1 of 1 finished runs below {folder} are")


def change(manifest: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split("/")
    for name in path:
        manifest = manifest[name]
    assert manifest[last] != value
    manifest[last] = value


CHANGES: list[tuple[str, Any, str]] = [
    ("results/val", 0.99, "results.val is 0.99, metrics.csv gives 0."),
    ("results/last10", 0.5, "results.last10 is 0.5, metrics.csv gives 0."),
    ("config/rate", 0.2, "is of another run: its config gives the id digits-convnet-uniform-0.2-gce-s0-"),
    ("config/seed", 1, "is of another run: its config gives the id digits-convnet-uniform-0.4-gce-s1-"),
    ("config/schedule/epochs", 4, "is of another run: its config gives the id"),
    ("noise/labels_sha256", "0" * 64, "noise.labels_sha256 is 000000"),
    ("noise/realised_rate", 0.4, "noise.realised_rate is 0.4, its config draws 0."),
    ("noise/transition", [], "noise.transition is [], its config draws [["),
    ("run_id", "another", "is of another run: its config gives the id digits-convnet-uniform-0.4-gce-s0-"),
    ("results", {}, "manifest.json is not a manifest: it lacks 'val'"),
    ("noise", None, "noise is not a mapping"),
]


@pytest.mark.parametrize(("key", "value", "said"), CHANGES, ids=[key for key, _, _ in CHANGES])
def test_a_changed_manifest_is_told(copy: Path, key: str, value: Any, said: str) -> None:
    path = run_folder(copy) / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest, key, value)
    path.write_text(json.dumps(manifest))
    code, text = verify(copy)
    assert code == 1
    assert said in text
    assert "0 of 1 finished runs below results are what they say" in text
    assert "Traceback" not in text


def test_a_mean_that_another_python_has_rounded_is_no_fault(copy: Path) -> None:
    path = run_folder(copy) / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest, "results/last10", math.nextafter(manifest["results"]["last10"], 1))
    path.write_text(json.dumps(manifest))
    assert verify(copy)[0] == 0


def drop_a_row(folder: Path) -> None:
    lines = (folder / "metrics.csv").read_text().splitlines(keepends=True)
    (folder / "metrics.csv").write_text("".join(lines[:-1]))


def flip_a_digit(folder: Path) -> None:
    lines = (folder / "metrics.csv").read_text().splitlines()
    names, row = lines[0].split(","), lines[-1].split(",")
    row[names.index("test_accuracy")] = "0.123"
    (folder / "metrics.csv").write_text("\n".join([*lines[:-1], ",".join(row)]) + "\n")


def rename(folder: Path) -> None:
    folder.rename(folder.with_name("better"))


def other_config(folder: Path) -> None:
    (folder / "config.yaml").write_text((folder / "config.yaml").read_text().replace("rate: 0.4", "rate: 0.5"))


def no_config(folder: Path) -> None:
    (folder / "config.yaml").unlink()


def no_yaml(folder: Path) -> None:
    (folder / "config.yaml").write_text("{")


@pytest.mark.parametrize("damage", [drop_a_row, flip_a_digit, rename, other_config, no_config, no_yaml])
def test_a_changed_file_beside_the_manifest_is_told(copy: Path, damage: Callable[[Path], None]) -> None:
    damage(run_folder(copy))
    code, text = verify(copy, "results")
    assert code == 1
    assert "0 of 1 finished runs" in text
    assert "Traceback" not in text


def test_labels_of_a_data_set_that_is_not_there_are_said_to_be_unchecked(copy: Path) -> None:
    """A run of CIFAR-10 on a machine without the data: everything else is looked at."""
    folder = run_folder(copy)
    manifest = json.loads((folder / "manifest.json").read_text())
    from noisygce import settings

    data = settings.resolved(settings.compose(["data=cifar10"]))["data"]
    manifest["config"]["data"] = json.loads(json.dumps(data))
    manifest["run_id"] = runs.run_id(manifest["config"])
    (folder / "manifest.json").write_text(json.dumps(manifest))
    import yaml

    (folder / "config.yaml").write_text(yaml.safe_dump(manifest["config"]))
    folder.rename(folder.with_name(manifest["run_id"]))
    code, text = verify(copy, "paths.data=elsewhere")
    assert code == 0
    assert "1 run could be verified in part only: " in text
    assert "cifar-10-batches-py/data_batch_1 is not in elsewhere (paths.data=FOLDER)" in text
    assert not (copy / "elsewhere").exists()


def test_runs_behind_a_link_and_in_a_folder_with_an_equals_sign_are_verified(copy: Path) -> None:
    code, _ = verify(copy)
    assert code == 0
    (copy / "results" / "runs").rename(copy / "disk=2")
    (copy / "results" / "runs").symlink_to(copy / "disk=2")
    code, text = verify(copy)
    assert code == 0
    assert "1 of 1 finished runs below results are what they say" in text
    (copy / "results").rename(copy / "a=b")
    code, text = verify(copy, "a=b")
    assert code == 0
    assert "1 of 1 finished runs below a=b are what they say" in text


def test_a_run_of_a_loss_whose_code_is_elsewhere_is_verified_but_for_what_needs_the_code(copy: Path) -> None:
    folder = run_folder(copy)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["config"]["loss"]["_target_"] = "not_here.Loss"
    manifest["run_id"] = runs.run_id(manifest["config"])
    (folder / "manifest.json").write_text(json.dumps(manifest))
    import yaml

    (folder / "config.yaml").write_text(yaml.safe_dump(manifest["config"]))
    folder.rename(folder.with_name(manifest["run_id"]))
    code, text = verify(copy)
    assert "1 run could be verified in part only: loss._target_=not_here.Loss: cannot be imported" in text
    assert code == 0


def test_a_written_table_is_made_again_and_a_changed_one_is_told(copy: Path) -> None:
    code, text = train(copy, "experiment=demo", "schedule.lr=1e-1", "rule=val", module="table")
    assert code == 0, text
    assert verify(copy)[1].endswith("3 of 3 files of tables and reports are what the runs give\n")
    for path in (copy / "results" / "tables").iterdir():
        if path.suffix != ".json":
            path.write_text(path.read_text().replace("uniform", "uniforn", 1))
    code, text = verify(copy)
    assert code == 1
    assert text.count("is not what the runs give to python -m noisygce.table experiment=demo schedule.lr=1e-1 ") == 2
    (copy / "results" / "tables" / "mine.md").write_text("# 99.9 %")
    assert "mine.md: has no mine.json beside it, by which it is verified: write it again" in verify(copy)[1]


def test_a_run_is_reproduced_from_its_manifest(finished: Path) -> None:
    name = run_folder(finished).name
    for which in (name, f"results/runs/{name}"):
        code, text = train(finished, which, module="reproduce")
        assert code == 0, text
        assert re.search(rf"^{re.escape(name)}, trained again \(q=.*\): test accuracy in %", text, re.MULTILINE), text
        assert f"{name}: equal, metrics digit for digit, noisy labels and final state by their digests" in text
    assert [path.name for path in (finished / "results" / "runs").iterdir()] == [name]


def temporary_files_in(folder: str) -> None:
    tempfile.tempdir = folder


def test_a_reproduction_that_is_stopped_goes_on_in_its_folder_and_leaves_no_other(
    finished: Path, tmp_path: Path
) -> None:
    def stopped(number: int, results: Path, *words: str) -> tuple[int, str]:
        command = Command(tmp_path, str(run_folder(finished)), *words, EACH_STEP, module="reproduce", before=here)
        command.until(lambda: any(results.glob("**/last.ckpt")))
        command.send(number)
        return command.wait(), one_line(command.text())

    here, again = partial(temporary_files_in, str(tmp_path)), "paths.results=again"
    code, said = stopped(signal.SIGINT, tmp_path)
    assert (code, said) == (75, "noisygce: stopped, and nothing is kept; with paths.results=FOLDER it can be resumed")
    assert not [*tmp_path.glob("noisygce-*")]
    assert stopped(signal.SIGTERM, tmp_path / "again", again)[0] == 75
    code, text = train(tmp_path, str(run_folder(finished)), again, module="reproduce")
    assert "resumes at epoch " in text
    assert (code, text.splitlines()[-1].partition(": ")[2][:6]) == (0, "equal,"), text


def test_a_run_on_one_s_own_data_is_reproduced_where_they_lie_now(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((40, 4, 4), np.uint8), labels=np.arange(40) % 2)
    words = ("data=arrays", f"data.images={tmp_path / 'a.npz'}", "loss=ce", "model=linear", "schedule.epochs=2")
    code, text = train(tmp_path, *words, "schedule.milestones=[]", "runtime.threads=1")
    assert code == 0, text
    name = run_folder(tmp_path).name
    (tmp_path / "a.npz").rename(tmp_path / "b.npz")
    code, text = train(tmp_path, name, f"data.images={tmp_path / 'b.npz'}", module="reproduce")
    assert code == 0, text
    assert f"{name}: equal" in text
    for word, said in (("data.validation=3", "it names no file of the run; there are: data.images"), ("x", "x")):
        code, text = train(tmp_path, name, word, module="reproduce")
        assert code == 2
        assert said in one_line(text)
    np.savez(tmp_path / "b.npz", images=np.zeros((40, 4, 4), np.uint8), labels=np.arange(40) % 4 // 2)
    code, text = train(tmp_path, name, f"data.images={tmp_path / 'b.npz'}", module="reproduce")
    assert code == 1
    assert "\n    SHA-256 or version of data.images: " in text


def test_the_largest_difference_of_test_accuracies_is_told() -> None:
    def of(**shares: float | None) -> dict[str, Any]:
        return {"results": shares}

    was = of(val=0.75, last=0.5, test=None)
    assert accuracy(was, of(val=0.75, last=0.5, test=None)).endswith("are equal under every selection rule")
    assert accuracy(was, of(val=0.5, last=0.51, test=None)).endswith("at most 25.00 percentage points (rule val)")
    assert accuracy(was, of(val=0.75, last=0.625, test=0.9)).endswith("at most 12.50 percentage points (rule last)")
    assert accuracy(of(val=None), of(val=None)) == "neither has a test accuracy to compare"


def test_what_two_manifests_record_and_what_differs_is_a_cause() -> None:
    made = {"config": {"numerics": 1}, "device": "cpu", "threads": 1, "versions": {"torch": "1"}}
    code = {"numerics": 1, "code": {"my_losses": "ab"}}
    assert not [*causes(made, made)]
    assert [*causes(made, {**made, "threads": 2})] == ["threads: 1 then, 2 now"]
    assert [*causes(made, {**made, "versions": {}})] == ["version of torch: 1 then, not recorded now"]
    assert [*causes({**made, "config": code}, made)] == ["SHA-256 of the module my_losses: ab then, not recorded now"]


def test_a_difference_is_told_with_what_may_explain_it(copy: Path) -> None:
    path = run_folder(copy) / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["state_sha256"] = "0" * 64
    manifest["versions"]["torch"] = "2.11.0"
    path.write_text(json.dumps(manifest))
    flip_a_digit(path.parent)
    code, text = train(copy, path.parent.name, module="reproduce")
    assert code == 1
    assert "metrics.csv from epoch 3 on: test_accuracy 0.123 then, 0." in text
    assert "the final weights, momenta and statistics" in text
    assert "\n  the test accuracies are equal under every selection rule\n" in text
    assert "version of torch: 2.11.0 then, 2." in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "nothing: there is no finished run of this id in results/runs or "),
        (["{}", "loss.q=1"], "loss.q=1: a run is trained again as it was; only runtime.* and paths.* are free"),
        (["{}", "paths.results=results"], "results holds the run itself; name another folder"),
        (["{}", "runtime.threads=0"], "runtime.threads=0: runtime.threads must be an integer in [1, 1024]"),
        ([], "no run is named: name one finished run, by its id or its folder; --help says more"),
        (["{}", "another"], "{} another: name one finished run"),
    ],
)
def test_what_cannot_be_reproduced_is_refused(finished: Path, arguments: list[str], said: str) -> None:
    name = run_folder(finished).name
    code, text = train(finished, *[argument.format(name) for argument in arguments], module="reproduce")
    assert code == 2
    assert one_line(text).startswith(f"noisygce: {said.format(name)}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["results", "loss=ce"], "loss=ce: runs are verified as they are; only paths.data and paths.results are free"),
        (["results", "others"], "results others: name one folder, such as results/reference"),
        (["--all"], "--all: name one folder"),
    ],
)
def test_what_cannot_be_verified_is_refused(finished: Path, arguments: list[str], said: str) -> None:
    code, text = verify(finished, *arguments)
    assert code == 2
    assert one_line(text).startswith(f"noisygce: {said}")


GLOBAL = "# @package _global_\nhydra:\n"
HOSTILE = {  # file: what is in it, and what is said to it
    "loss/os.yaml": ("name: x\n_target_: os.system\ncommand: touch attacked\n", "must be a subclass of"),
    "loss/stdlib.yaml": ("name: x\n_target_: antigravity.Loss\n", "must be a subclass of"),
    "loss/up.yaml": ("name: ../../up\n_target_: noisygce.losses.CE\n", "must be 1 to 40 letters"),
    "loss/long.yaml": (f"name: {'x' * 300}\n_target_: noisygce.losses.CE\n", "must be 1 to 40 letters"),
    "loss/spy.yaml": ("name: ${oc.env:SECRET}\n_target_: noisygce.losses.CE\n", "SECRET}: a config may read no"),
    "loss/detour.yaml": (
        "name: ${${.r}:SECRET}\nr: oc.env\n_target_: noisygce.losses.CE\n",
        "SECRET}: a config may call no resolver but",
    ),
    "loss/object.yaml": ("!!python/object/apply:os.system [touch attacked]\n", "could not determine a constructor"),
    "loss/torn.yaml": ("name: [x\n", "while parsing a flow sequence"),
    "experiment/callback.yaml": (
        GLOBAL + "  callbacks:\n    x: {_target_: os.system, command: touch attacked}\n",
        "hydra.callbacks={'x': {'_target_': 'os.system', 'command': 'touch attacked'}}: a config file may not set it",
    ),
    "experiment/nested_callback.yaml": (
        GLOBAL + "  callbacks:\n    x:\n      _target_: hydra.experimental.callbacks.LogJobReturnCallback\n"
        "      y: [{z: {_target_: pathlib.Path.touch, self: attacked}}]\n",
        "'attacked'}}]}}: a config file may not set it",
    ),
    "experiment/logging.yaml": (
        GLOBAL + "  job_logging:\n    version: 1\n    root: {handlers: [x]}\n"
        "    handlers:\n      x: {(): os.system, command: touch attacked}\n",
        "'touch attacked'}}}: must be as hydra/job_logging=none has it",
    ),
    "experiment/log_file.yaml": (
        GLOBAL + "  hydra_logging:\n    version: 1\n    root: {handlers: [x]}\n"
        "    handlers:\n      x: {class: logging.FileHandler, filename: attacked}\n",
        "'filename': 'attacked'}}}: must be as hydra/job_logging=none has it",
    ),
    "experiment/sweeper.yaml": (
        GLOBAL + "  mode: MULTIRUN\n  sweeper: {_target_: os.system}\n",
        "hydra.sweeper._target_=os.system: must be of an installed sweeper of Hydra",
    ),
    "experiment/params.yaml": (
        "# @package _global_\ndefaults: [override /hydra/sweeper: basic]\nhydra:\n  mode: MULTIRUN\n"
        "  sweeper: {params: {+hydra.job.env_set.PATH: 'a,b'}}\n",
        "+hydra.job.env_set.PATH: a sweep cannot vary Hydra's own values",
    ),
    "experiment/copy.yaml": (
        GLOBAL + "  job: {env_copy: [SECRET]}\n",
        "hydra.job.env_copy=['SECRET']: a config may neither set nor copy environment variables",
    ),
    "experiment/folder.yaml": (
        GLOBAL + "  run: {dir: attacked}\n  output_subdir: attacked\n",
        "hydra.run.dir=attacked: must be .; runs and tables are written below paths.results",
    ),
    "experiment/folder_of_a_sweep.yaml": (
        GLOBAL + "  mode: MULTIRUN\n  sweep: {dir: attacked}\n",
        "hydra.sweep.dir=attacked: must be .",
    ),
    "experiment/folder_of_a_grid.yaml": (
        GLOBAL + "  mode: MULTIRUN\ngrid: [{hydra.sweep.subdir: attacked}]\n",
        "hydra.sweep.subdir=attacked: must be .",
    ),
    "experiment/subfolder.yaml": (
        GLOBAL + "  output_subdir: ../attacked\n",
        "hydra.output_subdir=../attacked: must be",
    ),
    "experiment/elsewhere.yaml": (
        GLOBAL + "  run: {dir: .}\n  job: {chdir: true}\n",
        "hydra.job.chdir=True: must be false",
    ),
    "experiment/launcher.yaml": (
        GLOBAL + "  mode: MULTIRUN\n  launcher: {_target_: os.system}\n",
        "hydra.launcher._target_=os.system: must be of an installed launcher of Hydra",
    ),
    "experiment/launcher_of_a_grid.yaml": (
        GLOBAL + "  mode: MULTIRUN\ngrid: [{hydra.launcher._target_: os.system}]\n",
        "hydra.launcher._target_=os.system: must be of an installed launcher of Hydra",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_config_file_builds_and_runs_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / "theirs" / name
    path.parent.mkdir(parents=True)
    content, said = HOSTILE[name]
    path.write_text(content)
    choice = f"{path.parent.name}={path.stem}"
    code, text = train(tmp_path, "data=digits", "--config-dir=theirs", choice, before=_secret)
    assert code == 2
    assert said in one_line(text)
    assert "s3cret" not in text
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith("output")] == ["theirs"]


def test_a_config_file_cannot_have_a_sweeper_vary_hydra(tmp_path: Path) -> None:
    path = tmp_path / "theirs" / "experiment" / "params.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(HOSTILE["experiment/params.yaml"][0])
    code, text = train(tmp_path, "--config-dir=theirs", "experiment=params", "hydra/sweeper=basic")
    assert (code, one_line(text)) == (2, "noisygce: +hydra.job.env_set.PATH: a sweep cannot vary Hydra's own values")


def _secret() -> None:
    os.environ["SECRET"] = "s3cret"


def test_a_config_file_cannot_set_the_environment_of_programs_that_a_run_starts(tmp_path: Path) -> None:
    leaf = tmp_path / "conf" / "experiment" / "evil.yaml"
    leaf.parent.mkdir(parents=True)
    hook = f"touch {tmp_path}/harm; false"
    leaf.write_text(
        "# @package _global_\nhydra: {job: {env_set: {GIT_CONFIG_COUNT: '1', GIT_CONFIG_KEY_0: core.fsmonitor, "
        f"GIT_CONFIG_VALUE_0: '{hook}'}}}}}}\n"
    )
    code, text = train(tmp_path, "--config-dir", "conf", "experiment=evil", *RUN)
    assert code == 2, text
    assert "hydra.job.env_set" in text
    assert not (tmp_path / "harm").exists()
