"""The committed numbers are what the code and their manifests give; an archive loses nothing and hides nothing."""

import csv
import dataclasses
import re
import runpy
from collections import Counter
from pathlib import Path

import made_up
import pandas as pd
import pytest

from noisygce import figure, report, results, runs, settings, table, verify
from noisygce.errors import ConfigError, NoisygceError
from noisygce.runs import archive
from noisygce.sweep.plan import plan_of
from noisygce.view import canvas, paths, records

ROOT = settings.config_dir().parent
REFERENCE = ROOT / "results" / "reference"
ARCHIVES = sorted(path.parent for path in REFERENCE.glob(f"*/{archive.RUNS}"))
publish = runpy.run_path(str(ROOT / "scripts" / "publish"))["main"]

# Classes with a newer revision than their published runs, which are to be trained and published again. Only those runs
# and the tables of their archives are exempt below; once they are published again, the tests ask for the empty set.
TO_RETRAIN: set[str] = set()


def revised(run) -> set[str]:
    """The classes of a run that have a newer revision than it was trained with."""
    then, now = (config.get("revisions", {}) for config in (run.manifest["config"], again(run)))
    return {name for name, revision in now.items() if revision > then.get(name, 1)}


def again(run) -> dict:
    """The identity of a run, recomputed from its config."""
    return runs.identity(runs.given(run.manifest["config"]))


def test_committed_runs_verify_and_their_tables_are_rebuilt_byte_for_byte(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    right = verify.verify(Path("results/reference"), settings.read(settings.compose([])).paths.data)
    said = capsys.readouterr().out
    assert right, said
    assert re.search(r"^(\d+) of \1 finished runs", said, re.MULTILINE), said
    assert re.search(r"^(\d+) of \1 files of tables and reports are what the runs give", said, re.MULTILINE), said


def test_every_reference_run_still_has_the_id_that_it_was_published_under():
    """An id that moves makes a finished run count as missing: recomputed from its config, of all reference runs."""
    runs_seen, newer = set(), set()
    for folder in ARCHIVES:
        for run in results.of_archive(folder):
            config, now = run.manifest["config"], again(run)
            if classes := revised(run):
                newer |= classes
                now.pop("revisions")
                now |= {"revisions": config["revisions"]} if "revisions" in config else {}
            assert now == config, run.id
            assert runs.run_id(now) == run.id
            runs_seen.add((folder.name, run.id))
    assert len(runs_seen) >= 1596
    assert newer == TO_RETRAIN


@pytest.mark.slow
@pytest.mark.parametrize("folder", ARCHIVES, ids=lambda folder: folder.name)
def test_an_experiment_still_asks_for_the_runs_that_were_published(folder):
    asked = {run.id for run in plan_of([f"experiment={folder.name}"]).runs}
    assert {run.id for run in results.of_archive(folder) if not revised(run)} <= asked


def test_only_what_a_number_rests_on_and_what_is_made_of_it_is_committed():
    files = [path for path in REFERENCE.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".jsonl", ".csv", ".json", ".md", ".tex", ".png", ".html"}
    assert max(Counter(path.parent for path in files).values()) <= 18  # an experiment, with ranks


def test_an_archive_is_read_by_pandas_as_the_readme_says():
    runs = pd.read_json(REFERENCE / "demo" / "runs.jsonl", lines=True)
    epochs = pd.read_csv(REFERENCE / "demo" / "metrics.csv")
    last = epochs.groupby("run_id").tail(1).set_index("run_id")["test_accuracy"]
    assert last.to_dict() == {r["run_id"]: pytest.approx(r["results"]["last"]) for r in runs.to_dict("records")}


@pytest.fixture
def there(tmp_path, monkeypatch):
    """A folder to publish in, and the plan of a demo whose runs are elsewhere and do not depend on its data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(verify.Verifier, "noise", lambda *_: iter(()))
    monkeypatch.setattr(made_up, "EPOCHS", 40)
    for view in (figure, report):  # their bytes have tests of their own
        monkeypatch.setattr(view, "run", lambda words, **_: Path(words[1].partition("=")[2], "accuracy.png").touch())
    return plan_of(["experiment=demo", "paths.results=elsewhere"])


def test_runs_are_published_without_a_loss_as_they_are_done_and_to_equal_bytes(there, capsys):
    words = ["experiment=demo", "paths.results=elsewhere"]
    third = 1 / 3
    for run in there.runs[:3]:
        made_up.finish(Path("elsewhere"), run, third, device="NVIDIA H100 80GB HBM3", threads=8)
    publish(words)
    assert "3 of 60 runs are in results/reference/demo" in capsys.readouterr().out
    made_up.finish(Path("elsewhere"), there.runs[3])
    publish(words)
    folder = Path("results/reference/demo")
    assert "uniform 0.4" in (folder / "table.md").read_text()
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {"runs.jsonl", "metrics.csv", "table.md", "table.tex", "table.csv", "table.json", "accuracy.png"} == {*whole}
    published = {run.id: run for run in results.found(folder)}
    assert list(published) == sorted(run.id for run in there.runs[:4])
    for run in there.runs[:4]:
        before = results.of_folder(Path("elsewhere/runs") / run.id)
        now = published[run.id]
        assert (now.manifest, now.rows(), now.epochs()) == (before.manifest, before.rows(), before.epochs())
    assert published[there.runs[0].id].rows()[-1]["test_accuracy"] == "0.333333"  # as the run has it
    for path in folder.iterdir():
        path.unlink()
    publish(words)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole


@pytest.mark.parametrize(
    ("words", "changed", "said"),
    [
        ([], {"dirty": True}, "1 runs were made with changes in no commit"),
        ([], {"run_id": "another"}, "no run of demo is done below elsewhere"),
        ([], {"config.yaml": "rate: 0.9"}, "nothing was published: digits-convnet-uniform-0.4-ce-s0-"),
        (["loss=ce"], {}, "loss=ce: an experiment is published as it is"),
        (["paths.results=nowhere"], {}, "no run of demo is done below nowhere"),
        (["measure=typo"], {}, "measure=typo: measure must be one of accuracy"),
        (["measure=ece", "kind=noise"], {}, "measure=ece kind=noise: a table has rule or measure, a figure kind"),
        (["against=mine.csv"], {}, "against=mine.csv: against must be one of published"),
    ],
)
def test_what_may_not_be_published_is_refused(there, words, changed, said):
    text = changed.pop("config.yaml", "")
    folder = made_up.finish(Path("elsewhere"), there.runs[0], **changed)
    if text:
        (folder / "config.yaml").write_text(text)
    with pytest.raises((NoisygceError, ConfigError), match=re.escape(said)):
        publish(["experiment=demo", "paths.results=elsewhere", *words])
    assert not Path("results/reference").exists()


@pytest.fixture
def written(demo, tmp_path, monkeypatch):
    """An archive of two made-up runs, and the folder that they are in too."""
    monkeypatch.setattr(made_up, "EPOCHS", 40)
    for run in demo.runs[:2]:
        made_up.finish(tmp_path, run)
    runs = {run.id: (run.manifest, run.rows()) for run in results.found(tmp_path)}
    archive.write(tmp_path / "kept", runs)
    return tmp_path / "kept", sorted(runs)


def test_a_run_that_is_in_a_folder_and_in_an_archive_is_found_once(written):
    folder, names = written
    assert [(run.id, run.archive is None) for run in results.found(folder.parent)] == [(n, True) for n in names]


@pytest.mark.parametrize(("folder", "begins"), [("demo", "table"), ("other", "table+experiment=demo-")])
def test_a_table_beside_an_archive_takes_the_place_of_no_other_experiments_table(demo, tmp_path, folder, begins):
    plan = dataclasses.replace(demo, arguments=("experiment=demo",), results=tmp_path / folder)
    assert paths.stem(plan, "table", publish=True).name.startswith(begins)
    assert (paths.stem(plan, "table", publish=True).name == "table") == (folder == "demo")


def test_an_archive_is_only_read_and_views_of_its_runs_are_verified_by_it_from_anywhere(written, monkeypatch, capsys):
    kept, _ = written
    monkeypatch.chdir(kept.parent)
    folder = kept.rename("demo").absolute()
    words = ["experiment=demo", "paths.results=demo"]
    table.run(words, publish=True)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    words = ["experiment=demo", "paths.results=../demo"]
    for more in ([], ["rule=last"], ["measure=auroc"], ["seed=0"], ["name=mine"]):
        table.run([*words, *more])
    for more in ([], ["against=reference"]):
        report.run([*words, *more])
    figure.run([*words, "kind=memorisation"])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    [views] = Path("results/views").iterdir()  # of this one archive, whose views overwrite no others
    assert sorted(re.sub("[0-9a-f]{8}", "#", f"{path.relative_to(views)}") for path in views.rglob("*.json")) == [
        "report/demo-reference-#.json",
        "report/demo.json",
        "tables/demo+seed=0-#.json",
        "tables/demo-auroc-#.json",
        "tables/demo-last-#.json",
        "tables/demo.json",
        "tables/mine.json",
    ]
    assert len([*views.glob("figures/demo/memorisation.*")]) == len(canvas.FORMATS)
    monkeypatch.chdir("results")
    capsys.readouterr()
    assert verify.verify(Path(), Path())
    assert "19 of 19 files of tables and reports are what the runs give" in capsys.readouterr().out
    folder.rename(folder.with_name("moved"))
    said = {fault for _, fault in records.verified(Path())}
    assert said == {f"cannot be made again: its runs were in the archive {folder}, which is not there"}


def test_the_digest_of_metrics_is_that_of_the_run_and_of_its_rows_in_an_archive_with_more_columns(written):
    folder, names = written
    own = archive.read_rows(folder.parent / "runs" / names[0] / archive.METRICS)
    longer = [{"first": "", **{name: row[name] for name in reversed(row)}, "more": ""} for row in own]
    assert archive.digest(own) == archive.digest(longer) == archive.digest(archive.Archive(folder).metrics[names[0]])
    own[-1]["test_accuracy"] += "1"
    assert archive.digest(own) != archive.digest(longer)


def test_a_line_that_is_no_manifest_is_named_and_the_others_are_read(written):
    folder, names = written
    lines = (folder / archive.RUNS).read_text().splitlines()
    (folder / archive.RUNS).write_text("\n".join([lines[0][:99], lines[0], lines[0], lines[1], "{}"]))
    found = results.found(folder)
    assert [run.id for run in found if run.state == "done"] == names
    assert [run.note for run in found if run.state == "unreadable"] == [
        "line 1 is damaged or incomplete",
        f"line 3 repeats the run of an earlier line: {names[0]}",
        "line 5 is not a manifest: it lacks 'config'",
    ]


def test_a_changed_digit_in_an_archive_is_told(written):
    folder, names = written
    rows = list(csv.reader((folder / archive.METRICS).read_text().splitlines()))
    rows[-1][rows[0].index("test_accuracy")] = "0.123"
    (folder / archive.METRICS).write_text("".join(",".join(row) + "\n" for row in rows))
    found = {run.id: list(verify.metrics(run)) for run in results.of_archive(folder)}
    assert found[names[0]] == []
    assert found[names[1]][0].endswith("metrics.csv gives 0.123")


def test_a_reference_run_is_found_by_its_id_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = next(results.of_archive(REFERENCE / "demo"))
    assert results.finished(run.id).manifest == run.manifest
    assert results.reference() == REFERENCE
