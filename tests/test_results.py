"""What is there of each run, and that a plan asks for the very runs that training makes."""

import json
import re
import subprocess
import sys

import made_up
import pytest

from noisygce import results, runs, settings
from noisygce.errors import ConfigError, DataError
from noisygce.settings import command
from noisygce.sweep.jobs import expand
from noisygce.sweep.plan import look, plan_of


def states(plan):
    return {run.id: run.state for run in look(plan)}


CASES = [
    ["experiment=demo", "seed=0,1", "loss=tgce"],
    ["experiment=sweep_qk_digits", "seed=1", "loss.q=0.3,0.9"],
    ["experiment=table1_cifar100", "seed=4", "rate=0.2", "loss=mae,tgce"],
    ["experiment=demo", "noise.seed=3", "data.mean=[0.5],[0.25]", "seed=0", "rate=0.4", "loss=gce"],
    ["experiment=demo", "noise.seed='${seed}'", "seed=0,1", "loss=gce", "rate=0.4"],
    ["experiment=demo", "grid=null", "loss=ce", "noise=clean", "seed=0,1", "schedule.lr=0.1,1"],
    [
        "experiment=demo",
        "grid=null",
        "noise=clean,uniform,pair",
        "loss=tgce,ce",
    ],  # a leaf that does more, and plain ones
    [
        "experiment=demo",
        "grid=null",
        "data=digits,fashion_mnist",
        "model=convnet,resnet18",
        "loss=tgce",
        "loss.q=0.1,1",
    ],
]


@pytest.mark.parametrize("arguments", CASES, ids=" ".join)
def test_a_plan_gives_the_ids_that_training_gives(arguments):
    plan = plan_of(arguments)
    composed = [runs.run_id(runs.identity(settings.resolved(settings.compose(run.job)))) for run in plan.runs]
    assert [run.id for run in plan.runs] == composed
    assert len(set(composed)) == len(composed) > 1


# What a choice, or an experiment, does beside putting a leaf in its place.
LOSSES = ("gce", "other", "tgce")
LEAF = "name: other\n_target_: noisygce.losses.GCE\nq: 0.5\n"
GLOBAL = "# @package _global_\n"
OVERLAYS = {
    "what an experiment says of the loss": {"experiment/mine": GLOBAL + "loss: {q: 0.7}\n", "loss/other": LEAF},
    "a default that follows the loss": {
        "experiment/mine": GLOBAL + "defaults:\n  - override /schedule: ${loss}\n",
        "loss/other": LEAF,
        **{
            f"schedule/{loss}": f"defaults: [digits, _self_]\nlr: {lr}\n"
            for loss, lr in zip(LOSSES, (1, 2, 3), strict=True)
        },
    },
    "a loss that brings a rate": {
        "experiment/mine": GLOBAL,
        "loss/other": GLOBAL + "rate: 0.1\nloss: {name: other, _target_: noisygce.losses.GCE, q: 0.5}\n",
    },
    "a loss that brings a way of pruning": {
        "experiment/mine": GLOBAL,
        "schedule/mask": "mode: mask\n",
        "loss/other": "defaults: [/schedule@_global_.prune: mask]\n" + LEAF,
    },
}


@pytest.mark.parametrize("files", OVERLAYS.values(), ids=OVERLAYS)
def test_a_plan_gives_the_ids_that_training_gives_whatever_else_a_choice_does(files, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text(text)
    where = f"hydra.searchpath=['file://{tmp_path}']"
    plan = plan_of([where, "experiment=mine", "data=digits", f"loss={','.join(LOSSES)}", "noise=uniform,pair"])
    composed = [runs.run_id(runs.identity(settings.resolved(settings.compose([where, *run.job])))) for run in plan.runs]
    assert [run.id for run in plan.runs] == composed
    assert len(set(composed)) == 6


def test_a_plan_follows_the_order_of_the_sweep(demo):
    grid = settings.compose(["experiment=demo"]).grid
    assert [list(run.job) for run in demo.runs] == expand(demo.arguments, grid)


def test_a_value_that_a_loss_does_not_have_is_refused_as_in_training():
    with pytest.raises(ConfigError, match=r"^loss\.q: .*in the run .*loss=ce loss\.q=0\.5"):
        plan_of(["experiment=demo", "grid=null", "loss=gce,ce", "loss.q=0.5"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no run is named.*experiments are .*demo"),
        (["experiment=dmeo"], "did you mean demo"),
        (["experiment=demo,sweep_qk"], "name one experiment in a command"),
        (["experiment=demo", "rate=7"], "rate must be a number in"),
        (["experiment=demo", "loss=gcee"], "did you mean gce"),
    ],
    ids=str,
)
def test_a_plan_that_cannot_be_ends_with_code_2_and_says_why(arguments, said, capsys):
    with pytest.raises(SystemExit, match="2"), command.exits():
        plan_of(arguments)
    assert re.search(said, capsys.readouterr().err)


def test_every_state_is_told(demo, tmp_path):
    done, failed, running, stopped, damaged, other, missing = demo.runs[:7]
    made_up.finish(tmp_path, done)
    (made_up.begin(tmp_path, failed) / "failed.json").write_text(json.dumps({"cause": "the loss was not finite"}))
    folder = made_up.begin(tmp_path, running, made_up.metrics(0.5)[:3])
    made_up.begin(tmp_path, stopped, made_up.metrics(0.5)[:3])
    (made_up.finish(tmp_path, damaged) / "manifest.json").write_text('{"run_id": ')
    (made_up.finish(tmp_path, other) / "manifest.json").write_text(
        (tmp_path / "runs" / done.id / "manifest.json").read_text()
    )
    run = runs.Run(tmp_path, running.identity)
    with run.claim():
        run.write_metrics(made_up.metrics(0.5)[:3])
        found = {r.id: r for r in look(demo)}
        assert found[running.id].state == "running"
        assert found[running.id].owner.keys() >= {"pid", "host", "since"}
        assert [r.state for r in results.found(tmp_path)].count("running") == 1
    assert states(demo)[running.id] == "stopped"  # the lock is free again
    (folder / "owner.json").write_text(json.dumps({"pid": 1, "host": "gone"}))  # left by a kill
    assert states(demo)[running.id] == "stopped"
    assert found[done.id].state == "done"
    assert (found[failed.id].state, found[failed.id].note) == ("failed", "the loss was not finite")
    assert found[stopped.id].state == "stopped"
    assert found[damaged.id].state == "unreadable"
    assert "manifest.json is damaged or incomplete" in found[damaged.id].note
    assert found[other.id].state == "unreadable"
    assert f"gives the id {done.id}" in found[other.id].note
    assert found[missing.id].state == "missing"


def test_frame_is_tidy(demo, tmp_path):
    for run in demo.runs[:3]:
        made_up.finish(tmp_path, run)
    frame = results.frame(look(demo))
    assert len(frame) == len(demo.runs)
    assert list(frame["state"][:4]) == ["done"] * 3 + ["missing"]
    first = frame.iloc[0]
    assert (first["loss.name"], first["noise.name"], first["rate"], first["seed"]) == ("ce", "uniform", 0.4, 0)
    assert first["last"] == made_up.accuracy(demo.runs[0]) == 0.46
    assert first["val"] == 0.44
    assert first["gap"] == pytest.approx(0.02)
    assert frame["val"].notna().sum() == 3
    assert list(frame["noisy_validation"][:3]) == [0.6] * 3
    assert frame["noisy_validation"].notna().sum() == 3


def test_damaged_metrics_are_named(demo, tmp_path):
    folder = made_up.finish(tmp_path, demo.runs[0])
    text = (folder / "metrics.csv").read_text()
    (folder / "metrics.csv").write_text(text.replace("0.125", "0.1x5", 1))
    run = results.of_folder(folder)
    for read in (run.metrics, run.epochs):
        with pytest.raises(DataError, match=r"metrics\.csv is damaged: mislabelled_as_noisy is '0\.1x5'"):
            read()


def test_predictions_count_once_the_run_is_done(demo, tmp_path):
    folder = made_up.finish(tmp_path, demo.runs[0])
    made_up.keep(folder, p=[[0.9, 0.1], [0.2, 0.8]], given=[0, 1])
    assert results.of_folder(folder).confusion
    (folder / "manifest.json").rename(tmp_path / "later")
    assert results.of_folder(folder).confusion == {}
    (folder / "manifest.json").write_text("{")
    assert results.of_folder(folder).confusion == {}


def test_an_absent_value_in_metrics_is_nan(demo, tmp_path):
    folder = made_up.begin(tmp_path, demo.runs[0], made_up.metrics(0.5, noisy=False))
    columns = results.of_folder(folder).metrics()
    assert columns["mislabelled_as_true"].isna().all()
    assert columns["epoch"].tolist() == list(range(1, made_up.EPOCHS + 1))
    assert results.of_folder(tmp_path / "runs" / "none").metrics().empty


def test_no_view_imports_torch(tmp_path):
    here = f"'experiment=demo', 'paths.results={settings.config_dir().parent / 'results' / 'reference' / 'demo'}'"
    code = (
        "import sys; from noisygce import table, figure, report, status, results\n"
        f"str(table.of({here})); figure.of({here}, 'kind=memorisation'); status.run([{here}])\n"
        "print(*({'torch', 'torchvision'} & set(sys.modules)), 'end')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=True
    )
    assert done.stdout.split()[-1] == "end"
    assert "torch" not in done.stdout.splitlines()[-1]


def test_a_class_without_test_samples_has_no_accuracy(demo, tmp_path):
    """cat: 1 of 2 right; dog: predicted once, but no test sample is one."""
    folder = made_up.finish(tmp_path, demo.runs[0])
    made_up.keep(folder, [[0.9, 0.1], [0.2, 0.8]], [0, 0])
    run = results.of_folder(folder)
    assert run.confusion == {"cat": {"cat": 1, "dog": 1}, "dog": {"cat": 0, "dog": 0}}
    assert [run.class_accuracy(name) for name in ("cat", "dog", "cow")] == [0.5, None, None]


def test_a_stopped_run_hides_no_finished_one_of_an_archive(tmp_path):
    words = ["data=digits", "loss=ce", "rate=0.4", "seed=0"]
    (run,) = plan_of(words).runs
    made_up.finish(tmp_path, run)
    manifest = json.loads((tmp_path / "runs" / run.id / "manifest.json").read_text())
    (tmp_path / "runs" / run.id / "manifest.json").unlink()
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "runs.jsonl").write_text(json.dumps(manifest) + "\n")
    (found,) = results.found(tmp_path)
    assert found.state == "done"
    (tmp_path / "published" / "runs.jsonl").write_text("")
    (found,) = results.found(tmp_path)
    assert found.state == "stopped"
