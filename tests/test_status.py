"""Status: each state is printed, the time left is that of similar runs, and each manifest is read once."""

import dataclasses
import json
import re
import time

import made_up
import pytest

from noisygce import errors, results, runs, status, table
from noisygce.sweep.missing import hint
from noisygce.sweep.plan import look, plan_of


def report(plan, now=None):
    return "\n".join(status.report(plan.name, look(plan), time.time() if now is None else now))


def test_nothing_done(demo):
    said = report(demo)
    assert "demo: 24 runs: 24 missing" in said
    assert f"missing     {demo.runs[0].id}" in said
    assert "missing     and 14 more" in said
    assert "24 runs left; no time is known before a run of this kind is done" in said


def test_each_state_is_said(demo, tmp_path):
    for run in demo.runs[3:]:
        made_up.finish(tmp_path, run)
    (made_up.begin(tmp_path, demo.runs[0]) / "failed.json").write_text(json.dumps({"cause": "not finite"}))
    made_up.begin(tmp_path, demo.runs[1])
    run = runs.Run(tmp_path, demo.runs[1].identity)
    with run.claim():
        run.write_metrics(made_up.metrics(0.5)[:4])
        said = report(demo, now=time.time() + 120)
        run.write_metrics(made_up.metrics(0.5)[:10] * 4)  # all 40; its predictions are being computed
        assert f"running     {run.id}: finishing, for" in report(demo)
    assert "demo: 24 runs: 21 done, 1 running, 1 failed, 1 missing" in said
    assert re.search(rf"running     {run.id}: epoch 5/40, for 2 min, process \d+ on \S+", said)
    assert f"failed      {demo.runs[0].id}: not finite" in said
    # 60 s a run: 36 of 40 epochs of one, and another, by one worker
    assert said.endswith("2 runs left: about 2 min by 1 worker")


def test_what_does_not_go_on_by_itself_is_asked_of_the_reader(demo, tmp_path):
    for run in demo.runs[2:]:
        made_up.finish(tmp_path, run)
    failed, damaged = (made_up.begin(tmp_path, run) for run in demo.runs[:2])
    (failed / "failed.json").write_text(json.dumps({"cause": "not finite"}))
    (damaged / "manifest.json").write_text("{")
    said = report(demo)
    assert f"not finite; delete {failed / 'failed.json'} to train it again" in said
    assert f"incomplete; delete {damaged / 'manifest.json'} to train it again" in said
    assert said.endswith("nothing is left to do but for 2 that need you")


def test_a_crashed_run_is_left_to_do_and_says_why(demo, tmp_path):
    for run in demo.runs[1:]:
        made_up.finish(tmp_path, run)
    run = runs.Run(tmp_path, demo.runs[0].identity)
    with run.claim():
        run.crash("KeyError: 'a'")
    said = report(demo)
    assert f"stopped     {run.id} (crashed: KeyError: 'a')" in said
    assert "1 run left" in said


def test_a_list_of_all_runs_tells_how_to_drop_those_that_stopped(demo, tmp_path, capsys):
    made_up.finish(tmp_path, demo.runs[0])
    status.run([f"paths.results={tmp_path}"])
    assert "delete" not in capsys.readouterr().out
    run = runs.Run(tmp_path, demo.runs[1].identity)
    with run.claim():
        run.crash("KeyError: 'a'")
    status.run([f"paths.results={tmp_path}"])
    assert capsys.readouterr().out.endswith(f"delete its folder in {run.folder.parent}\n")


@pytest.mark.parametrize(("n", "counted"), [(0, "0 runs"), (1, "1 run"), (1200, "1,200 runs")])
def test_one_is_no_plural(n, counted):
    assert errors.counted(n, "run") == counted


def test_of_a_plan_without_a_run_the_most_alike_is_named(tmp_path, capsys):
    words = ["data=digits", "loss=gce", f"paths.results={tmp_path}"]
    (near,) = plan_of([*words, "schedule.epochs=12", "schedule.milestones=[]"]).runs
    (far,) = plan_of([*words, "schedule.epochs=12", "schedule.milestones=[]", "seed=3", "rate=0.1"]).runs
    for run in (near, far):
        made_up.finish(tmp_path, run)
    status.run([*words, "seed=0,1"])
    out = capsys.readouterr().out
    assert f"the most similar finished run is {near.id}, with schedule.epochs=12 schedule.milestones=[]" in out
    table.run([*words, "seed=0,1"])
    assert near.id in capsys.readouterr().out
    status.run([*words, "schedule.epochs=12", "schedule.milestones=[]", "seed=0,1"])
    assert "alike" not in capsys.readouterr().out


def test_done_is_done(demo, tmp_path):
    for run in demo.runs:
        made_up.finish(tmp_path, run)
    assert report(demo) == "demo: 24 runs: 24 done\nnothing is left to do"


def test_the_time_left_is_that_of_runs_alike(demo, tmp_path):
    seconds = {"ce": 10.0, "tgce": 3600.0}
    for run in demo.runs:
        loss = run.identity["loss"]["name"]
        if loss in seconds and run.identity["seed"] == 0:
            made_up.finish(tmp_path, run, seconds=seconds[loss])
    ce = tuple(run for run in demo.runs if "loss=ce" in run.job)
    tgce = tuple(run for run in demo.runs if "loss=tgce" in run.job)
    done = [run for run in tgce if run.identity["seed"] == 0]
    to_do = [run for run in tgce if run.identity["seed"] == 1]
    both = dataclasses.replace(demo, runs=(*ce, *done, to_do[0]))
    assert "4 runs left: about 60 min by one worker; none is running" in report(both)
    assert "3 runs left: about 30 s by one worker" in report(dataclasses.replace(demo, runs=ce))


def test_a_kind_of_which_no_run_is_done_has_no_time(demo, tmp_path):
    ce = [run for run in demo.runs if "loss=ce" in run.job]
    made_up.finish(tmp_path, ce[0])
    said = report(demo)
    assert (
        f"23 runs left: about {len(ce) - 1} min by one worker; none is running; the time of 18 of them is not" in said
    )


def test_a_killed_run_is_told_from_a_missing_one_and_values_that_an_id_does_not_show_are_named(tmp_path):
    plan = plan_of(["experiment=sweep_qk_digits", "loss.q=0.3,0.7", "seed=0", f"paths.results={tmp_path}"])
    folder = made_up.begin(tmp_path, plan.runs[0])
    (folder / "owner.json").write_text(json.dumps({"pid": 12345, "host": "elsewhere"}))
    said = report(plan)
    assert re.search(
        rf"stopped     {plan.runs[0].id} loss\.q=0\.3 loss\.k=\S+ \(killed or crashed: process 12345\)", said
    )
    assert re.search(rf"missing     {plan.runs[-1].id} loss\.q=0\.7 loss\.k=\S+$", said, re.MULTILINE)


def test_all_runs_without_an_experiment(demo, tmp_path, capsys):
    for run in demo.runs[:3]:
        made_up.finish(tmp_path, run)
    (tmp_path / "runs" / "stray.txt").touch()
    status.run([f"paths.results={tmp_path}"])
    assert "3 runs: 3 done" in capsys.readouterr().out


def test_an_empty_folder_is_no_error(tmp_path, capsys):
    status.run([f"paths.results={tmp_path}"])
    assert capsys.readouterr().out == f"{tmp_path}: 0 runs\nno runs\n"


def test_status_reads_each_manifest_once_and_no_metrics(demo, tmp_path, monkeypatch):
    for run in demo.runs:
        made_up.finish(tmp_path, run)
    read, opened = results.manifest.read, []
    monkeypatch.setattr(results.manifest, "read", lambda *given: opened.append(given) or read(*given))
    monkeypatch.setattr(results.archive, "read_rows", lambda path: opened.append(path))
    status.run([f"paths.results={tmp_path}"])
    assert len(opened) == len(demo.runs)


def with_code(run, digest):
    identity = {**run.identity, "code": {"my_losses": digest, "noise_of_mine": "1"}}
    return dataclasses.replace(run, identity=identity, id=runs.run_id(identity))


def test_runs_that_are_missing_as_own_code_has_changed_are_said_to_be_so(demo, tmp_path):
    asked = dataclasses.replace(demo, runs=tuple(with_code(run, "new") for run in demo.runs))
    for run in asked.runs[2:]:
        made_up.finish(tmp_path, run)
    assert hint(asked, look(asked)) == ""
    before = [with_code(run, "old") for run in demo.runs[:2]]
    for run in before:
        made_up.finish(tmp_path, run)
    said = "2 of the missing runs were trained before my_losses changed, such as "
    assert hint(asked, look(asked)) == said + before[0].id
    made_up.finish(tmp_path, asked.runs[0])
    assert hint(asked, look(asked)) == said.replace("2", "1") + before[1].id
