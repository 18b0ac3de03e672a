"""A command that noisygce prints runs as it stands, in bash, whatever signs the names of files and folders have."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers_reliability import train

from noisygce import report, settings, table
from noisygce.settings.compose import parsed
from noisygce.sweep.plan import plan_of
from noisygce.view import paths
from noisygce.view.cells import lay_out

NAMES = ["plain", "my labels (v2)", "it's $5 & `more`", 'a "b" \\', "x=1,2 [y] {z} #", "${rate}", "naïve ~"]
SMALL = ("data=digits", "data.subset=100", "schedule.epochs=1", "schedule.milestones=[]", "runtime.threads=1")


def bash(command: str, folder: Path) -> str:
    """What a command gives in bash, with the Python of these tests as ``python``; it must not fail."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def words(command: str) -> list[str]:
    """The words that bash makes of a command."""
    return bash(f"printf '%s\\0' {command}", Path.cwd()).split("\0")[:-1]


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_holds_any_text_as_it_is(name: str) -> None:
    (override,) = parsed([settings.setting("paths.results", f"/{name}/x")])
    assert override.key_or_group == "paths.results"
    cfg = settings.compose([settings.setting("paths.results", f"/{name}/x")])
    assert settings.read(cfg).paths.results == Path(f"/{name}/x")


@pytest.mark.parametrize("text", ["12", "null", "True", "1.5", "", "1e3", "~", "a b"])
def test_a_setting_of_a_text_is_a_text(text: str) -> None:
    assert parsed([settings.setting("paths.results", text)])[0].value() == text


@pytest.mark.parametrize("name", NAMES[2:4])
def test_the_command_that_labels_prints_trains_on_them(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    code, text = train(tmp_path, f"out={name}/l.npy", *SMALL, "noise=pair", "rate=0.3", module="labels")
    assert code == 0, text
    assert "test accuracy in %" in bash(text.partition("to train on them: ")[2], tmp_path)
    (run,) = (tmp_path / "results" / "runs").iterdir()
    with np.load(run / "predictions.npz") as kept:
        mine = kept["split"] != "test"
        assert np.array_equal(kept["given"][mine], np.load(tmp_path / name / "l.npy")[kept["index"][mine]])


def test_labels_of_noise_that_changes_images_are_not_written(tmp_path: Path) -> None:
    code, text = train(tmp_path, "out=l.npy", "data=cifar10", "noise=open_set", "rate=0.4", module="labels")
    assert code == 2, text
    assert "changes images, not labels" in text
    assert not (tmp_path / "l.npy").exists()


def test_the_command_that_labels_prints_does_not_judge_labels_again_that_verdicts_have_changed(tmp_path: Path) -> None:
    classes = [str(i) for i in range(10)]
    base = (*SMALL, "noise=clean", "rate=0")
    assert train(tmp_path, "out=before.npy", *base, module="labels")[0] == 0
    before = np.load(tmp_path / "before.npy")
    other = classes[(before[0] + 1) % 10]
    judged = [f"0,,{before[0]},{other},relabel", f"1,,{before[1]},{before[1]},drop"]
    (tmp_path / "v.csv").write_text("\n".join(["index,file,given,suggested,verdict", *judged]) + "\n")
    code, text = train(
        tmp_path, "out=l.npy", *base, "data.verdicts=v.csv", "data.verdicts_sha256=" + "0" * 64, module="labels"
    )
    sha256 = re.search(r"has data.verdicts_sha256=([0-9a-f]{64})", text)
    assert sha256, text
    code, text = train(
        tmp_path, "out=l.npy", *base, "data.verdicts=v.csv", f"data.verdicts_sha256={sha256[1]}", module="labels"
    )
    assert code == 0, text
    assert "the 1 samples that data.verdicts drops are in the file" in text
    assert np.load(tmp_path / "l.npy")[0] == int(other)
    assert "test accuracy in %" in bash(text.partition("to train on them: ")[2].splitlines()[0], tmp_path)


def test_the_command_of_the_table_that_a_sweep_prints_makes_its_table(tmp_path: Path) -> None:
    results, conf = "it's (v2) $5", tmp_path / "my conf's (2)" / "model"
    conf.mkdir(parents=True)
    (conf / "tiny.yaml").write_text("name: tiny\n_target_: noisygce.models.ConvNet\nwidth: 4\ninit: torch\n")
    code, text = train(
        tmp_path,
        *("-m", "--config-dir", str(conf.parent), *SMALL, "model=tiny", "seed=0,1"),
        settings.setting("paths.results", results),
    )
    assert code == 0, text
    made = bash(text.partition("their table: ")[2].splitlines()[0], tmp_path)
    assert "Complete: all 2 runs are done." in made
    assert [path.suffix for path in sorted((tmp_path / results / "tables").iterdir())] == [
        ".csv",
        ".json",
        ".md",
        ".tex",
    ]


def test_the_command_of_a_cell_of_a_report_is_words_for_bash(tmp_path: Path) -> None:
    asked = ["data=digits", "loss=ce,gce", "schedule.milestones=[]", "noise=class_map", "noise.map={3:8}", "rate=0.3"]
    plan = plan_of([*asked, f"paths.results={tmp_path}"])
    cells = lay_out(plan, table.tabulate(plan).runs)
    for cell in cells.cell.values():
        python, m, command, multirun, *given = words(report.reproduce(plan, cell))
        assert (python, m, command, multirun) == ("python", "-m", "noisygce.train", "-m")
        assert [run.id for run in plan_of(given).runs] == [run.id for run in cell.runs]


def test_the_command_below_a_table_names_the_results_that_it_is_of(tmp_path: Path) -> None:
    (tmp_path / "it's").mkdir()
    plan = plan_of(["experiment=demo", settings.setting("paths.results", str(tmp_path / "it's"))])
    assert plan_of(words(shlex.join(paths.argv(plan, "table", {})))[3:]).results == tmp_path / "it's"
