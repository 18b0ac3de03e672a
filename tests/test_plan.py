"""A plan is composed once, read by every view, and made anew when anything that its ids depend on changes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import noisygce
from noisygce import figure, runs, settings, status, table
from noisygce.errors import ConfigError
from noisygce.sweep import stored
from noisygce.sweep.plan import plan_of

WORDS = ["data=digits", "loss=ce,gce", "noise=uniform", "rate=0.4", "seed=0,1"]

OWN_LOSS = """
from noisygce.losses import CE


class Mine(CE):
    pass
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    return tmp_path


@pytest.fixture
def composed(monkeypatch):
    """How often Hydra composes a config."""
    count = []
    original = settings.compose

    def compose(*given, **how):
        count.append(given)
        return original(*given, **how)

    monkeypatch.setattr(settings, "compose", compose)
    return count


def finish(words):
    import made_up

    for run in plan_of(words).runs:
        made_up.finish(Path("results"), run)


def test_a_plan_is_composed_once_for_all_seeds_and_then_read(composed):
    first = plan_of(WORDS)
    assert len(composed) == 1 + 2  # what is common, and two losses of two seeds each
    assert plan_of(WORDS) == first
    assert len(composed) == 3
    lines = [json.loads(line) for line in next(Path("results/plans").iterdir()).read_text().splitlines()]
    assert [line["id"] for line in lines[1:]] == [run.id for run in first.runs]


def test_views_work_from_a_stored_plan_without_hydra_and_write_the_same_without_it(here, monkeypatch, capsys):
    finish(WORDS)
    capsys.readouterr()
    seen = []
    for kept in (True, False):
        if kept:
            monkeypatch.setattr(settings, "compose", lambda *_, **__: pytest.fail("composed"))
        else:
            monkeypatch.undo()
            monkeypatch.chdir(here)
            next(Path("results/plans").iterdir()).unlink()
        for view in (status, table, figure):
            view.run([*WORDS])
        written = {
            path: path.read_bytes()
            for path in sorted(Path("results").rglob("*"))
            if path.suffix in (".md", ".csv", ".png")
        }
        seen.append((capsys.readouterr().out, written))
    assert seen[0] == seen[1]
    assert len(seen[0][1]) > 2


def test_a_plan_of_one_results_folder_is_never_that_of_another(here):
    """An archive's plan is stored where one's own are; a results folder may be moved, or seen from elsewhere."""
    experiment = ["experiment=demo", "loss=ce", "noise=pair", "rate=0.2"]

    def folders(*words):
        plan = plan_of([*experiment, *words])
        placed = {settings.read(settings.compose(run.job)).paths.results for run in plan.runs}
        assert placed == {plan.results}
        return plan.results

    (here / "archive").mkdir()
    (here / "archive" / "runs.jsonl").write_text("")
    assert folders("paths.results=archive") == Path("archive")
    assert folders() == Path("results")
    assert folders("paths.results=archive") == Path("archive")
    (here / "results").rename(here / "moved")
    assert folders("paths.results=moved") == Path("moved")
    (here / "moved").rename(here / "again")
    assert folders(f"paths.results={here / 'again'}") == here / "again"
    assert folders("paths.results=again") == Path("again")


@pytest.mark.parametrize(
    "part", ["arguments", "the results folder", "a config file", "version", "NUMERICS", "a revision", "format"]
)
def test_whatever_ids_depend_on_makes_the_plan_anew(part, monkeypatch, tmp_path):
    leaf = tmp_path / "conf" / "loss" / "mine.yaml"
    leaf.parent.mkdir(parents=True)
    leaf.write_text("name: mine\n_target_: noisygce.losses.GCE\nq: 0.5\n")
    words = [f"hydra.searchpath=['file://{tmp_path / 'conf'}']", *WORDS]
    before = stored.key(words)
    if part == "arguments":
        words = [*words, "schedule.epochs=3"]
    elif part == "the results folder":
        words = [*words, "paths.results=elsewhere"]
    elif part == "a config file":
        leaf.write_text("name: mine\n_target_: noisygce.losses.GCE\nq: 0.6\n")
    elif part == "version":
        monkeypatch.setattr(noisygce, "__version__", "9")
    elif part == "NUMERICS":
        monkeypatch.setattr(runs, "NUMERICS", 9)
    elif part == "a revision":
        monkeypatch.setitem(stored.REVISIONS, "noisygce.losses.CE", 9)
    else:
        monkeypatch.setattr(stored, "FORMAT", 9)
    assert stored.key(words) != before


@pytest.mark.parametrize("form", ["['file://{}']", "[file://{}]", '["file://{}"]', "['file:///nowhere','file://{}']"])
def test_an_edited_config_of_a_person_makes_the_plan_anew_however_its_folder_is_given(form, tmp_path):
    """A folder that is not there, or no folder: nothing is stored at all."""
    leaf = tmp_path / "real" / "mine.yaml"
    leaf.parent.mkdir()
    leaf.write_text("name: mine\n_target_: noisygce.losses.GCE\nq: 0.5\n")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "loss").symlink_to(leaf.parent)
    words = ["hydra.searchpath=" + form.format(tmp_path / "conf"), "data=digits", "loss=mine", "seed=0"]
    before = [run.identity["loss"]["q"] for run in plan_of(words).runs]
    leaf.write_text(leaf.read_text().replace("0.5", "0.7"))
    assert (before, [run.identity["loss"]["q"] for run in plan_of(words).runs]) == ([0.5], [0.7])


def test_a_variable_that_a_config_may_read_makes_the_plan_anew(here, monkeypatch):
    ids = []
    for folder, label in (("a", 0), ("b", 1)):
        (here / folder).mkdir()
        np.save(here / folder / "x.npy", np.random.default_rng(label).normal(size=(60, 3)))
        np.save(here / folder / "y.npy", np.arange(60) % 3)
        monkeypatch.setenv("NOISYGCE_DATA", folder)
        (run,) = plan_of(["data=features", "data.features=x.npy", "data.labels=y.npy", "loss=ce"]).runs
        ids.append(run.id)
    assert ids[0] != ids[1]


def test_a_results_folder_that_is_computed_is_not_taken_literally():
    plan_of([*WORDS, "paths.results=${paths.data}"])
    assert not list(Path("results").iterdir())
    assert not Path("${paths.data}").exists()


def test_own_code_that_has_changed_makes_the_plan_anew(here, monkeypatch):
    Path("mine_of_plan.py").write_text(OWN_LOSS)
    monkeypatch.syspath_prepend(here)
    Path("conf/loss").mkdir(parents=True)
    Path("conf/loss/mine.yaml").write_text("name: mine\n_target_: mine_of_plan.Mine\n")
    words = [f"hydra.searchpath=['file://{here / 'conf'}']", "data=digits", "loss=mine", "seed=0,1"]
    before = [run.id for run in plan_of(words).runs]
    assert [run.id for run in plan_of(words).runs] == before
    Path("mine_of_plan.py").write_text(OWN_LOSS + "\n\nX = 1\n")
    assert [run.id for run in plan_of(words).runs] != before


def test_own_data_that_has_changed_makes_the_plan_anew_and_data_that_is_away_does_not(caplog):
    generator = np.random.default_rng(0)
    np.save("x.npy", generator.normal(size=(60, 3)))
    np.save("y.npy", np.arange(60) % 3)
    words = ["data=features", "data.features=x.npy", "data.labels=y.npy", "loss=ce,gce"]
    before = [run.id for run in plan_of(words).runs]
    away = Path("x.npy").rename("away.npy")
    assert [run.id for run in plan_of(words).runs] == before
    assert "stored plan" in caplog.text
    away.rename("x.npy")
    np.save("x.npy", generator.normal(size=(60, 3)))
    assert [run.id for run in plan_of(words).runs] != before


@pytest.mark.parametrize("damage", ["", "{}", "[1]", '{"key": 1}\n', "cut"])
def test_a_damaged_plan_is_made_anew(damage):
    first = plan_of(WORDS)
    (path,) = Path("results/plans").iterdir()
    path.write_text(path.read_text()[:-200] if damage == "cut" else damage)
    assert plan_of(WORDS) == first


def test_a_plan_that_cannot_be_written_lives_in_memory():
    Path("results").rmdir()
    Path("results").write_text("no folder")
    assert len(plan_of(WORDS).runs) == 4


def test_looking_at_runs_makes_no_results_folder():
    Path("results").rmdir()
    plan_of(WORDS)
    assert not Path("results").exists()


def test_runs_of_other_arguments_never_share_a_plan():
    paths = [stored.path_of(["data=folder", f"data.folder={folder}"]) for folder in ("/x/a/b", "/x/ab", "/x/a_b")]
    assert len(set(paths)) == 3
    assert stored.path_of(["experiment=demo"]).name == "demo.jsonl"
    assert stored.path_of(["experiment=demo", "paths.results=r"]) == Path("r/plans/demo.jsonl")
    nasty = "it's (mine), a \\ b"
    assert stored.path_of(["experiment=demo", settings.setting("paths.results", nasty)]).parents[1] == Path(nasty)


def test_ids_are_those_of_training_for_each_seed():
    for run in plan_of([*WORDS, "loss=tgce", "schedule.milestones=[]"]).runs:
        assert run.id == runs.run_id(runs.identity(settings.resolved(settings.compose(list(run.job)))))


def test_a_name_names_the_stored_plan_and_enters_no_id():
    named = plan_of([*WORDS, "name=mine"])
    assert named.runs == plan_of(WORDS).runs
    assert named.arguments == (*WORDS, "name=mine")
    assert Path("results/plans/mine.jsonl").is_file()
    assert not plan_of(["name=mine", *WORDS]).composed
    for name in ("..", "a/b", "", ".x", "x" * 101):
        with pytest.raises(ConfigError, match=r"must be 1 to 100 letters"):
            plan_of([*WORDS, f"name={name}"])


def test_a_run_that_cannot_be_is_named_before_any_starts():
    with pytest.raises(ConfigError, match=r"^loss\.q=7: .* \(in the run data=digits loss=gce loss\.q=7\)$"):
        plan_of(["data=digits", "loss=gce", "loss.q=0.7,7"], launching=True)
    assert not list(Path("results").iterdir())


@pytest.mark.parametrize(
    ("words", "runs_of"), [("human_cifar10_compact noise.set=worse", "worse"), ("sweep_qk_digits loss.k=0.4", "0.4")]
)
def test_a_key_of_what_the_grid_chooses_may_be_given(words: str, runs_of: str, tmp_path: Path) -> None:
    plan = plan_of([*f"experiment={words}".split(), f"paths.results={tmp_path}"])
    group, key = words.split()[1].partition("=")[0].split(".")
    assert {str(run.identity[group][key]) for run in plan.runs} == {runs_of}


def test_a_run_that_two_blocks_of_a_grid_give_by_other_words_is_planned_once():
    words = ["data=digits", "+grid=[{loss: [ce, gce]}, {loss: ce, rate: [0.4, 0.2]}]"]
    assert len(plan_of(words).runs) == 3  # rate=0.4 is the default
    cells = table.of(*words).cells
    assert {len(cell.runs) for cell in cells.cell.values()} == {1}


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        (["schedule=digits,folder", "schedule.milestones=[]"], ["loss.name", "schedule.batch_size"]),
        (["+grid=[{loss: gce, loss.q: [0.3, 0.7]}]"], ["loss.name", "loss.q"]),
        (["loss=gce", "loss.q=0.3,0.7"], ["loss.name", "loss.q"]),
        (["loss=ce,gce", "model=mlp,linear"], ["loss.name", "model.name"]),
        (["table.rows=[loss.name, loss.q]", "loss=gce", "loss.q=0.3,0.7"], ["loss.name", "loss.q"]),
        (["loss=mine,yours"], ["loss.name", "loss.q"]),
    ],
    ids=str,
)
def test_no_two_settings_of_a_plan_without_an_experiment_share_a_cell(words, rows, here):
    for name, q in (("mine", 0.2), ("yours", 0.8)):
        (here / "conf" / "loss").mkdir(parents=True, exist_ok=True)
        (here / "conf" / "loss" / f"{name}.yaml").write_text(f"name: own\n_target_: noisygce.losses.GCE\nq: {q}\n")
    words = [f"hydra.searchpath=['file://{here / 'conf'}']", "data=digits", "seed=0,1", *words]
    assert plan_of(words).table["rows"] == rows
    assert {len(cell.runs) for cell in table.of(*words).cells.cell.values()} == {2}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("{rule: [val]}", r"table\.rule: there is no such key; there are title, rows, columns, rules"),
        ("{decimal: 1}", r"table\.decimal: there is no such key"),
        ("{overview: {rows: [ce], colum: uniform 0.4}}", r"table\.overview\.colum: there is no such key"),
        ("7", "must be a mapping"),
    ],
)
def test_keys_that_no_table_has_are_refused(given, says):
    with pytest.raises(ConfigError, match=says):
        plan_of([*WORDS, f"+table={given}"])


def test_what_a_table_shows_is_no_part_of_a_job():
    words = ["table.rows=[loss.name, loss.q]", "++table.decimals=1", "loss=gce", "loss.q=0.3,0.7", "data=digits"]
    plan = plan_of(words, launching=True)
    assert not [word for run in plan.runs for word in run.job if "table" in word]
    assert plan.table["decimals"] == 1


@pytest.mark.parametrize("swept", ["runtime.threads=1,2", "++runtime.threads=1,2", "paths.results=a,b"])
def test_values_that_no_id_holds_are_not_swept(swept):
    with pytest.raises(ConfigError, match=r"is no part of a run's ID, each value would be the same run; give one"):
        plan_of(["data=digits", "loss=ce", swept])
