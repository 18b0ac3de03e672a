import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from noisygce import check, results, runs, settings
from noisygce.errors import ConfigError, Locked, ManifestError, NonFinite
from noisygce.runs import Run, atomic, identity, manifest, run_id, select
from noisygce.sweep.plan import plan_of

ROOT = settings.config_dir().parent


def run_config(*overrides):
    return identity(settings.resolved(settings.compose(["data=digits", *overrides])))


def id_of(*overrides):
    return run_id(run_config(*overrides))


def test_no_run_is_trained_into_an_archive(tmp_path):
    (tmp_path / "runs.jsonl").touch()
    with pytest.raises(ConfigError, match=r"is an archive of finished runs, which is only read"), run(tmp_path).claim():
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["runs.jsonl"]


def test_ctrl_c_saves_also_where_it_has_ended_the_reader_of_standard_error():
    code = """if True:
        import os, signal, sys
        from noisygce.runs.stops import process
        process.listen()
        with process.training():
            signal.raise_signal(signal.SIGINT)
            os.write(1, process.signal.encode())
        os._exit(0)"""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=writer, check=False)
    os.close(writer)
    assert (done.returncode, done.stdout) == (0, b"SIGINT")


def test_id_is_readable():
    assert id_of("loss=tgce", "rate=0.2", "seed=3").startswith("digits-convnet-uniform-0.2-tgce-s3-")


def test_id_does_not_depend_on_the_order_of_keys():
    def turned(value):
        return {k: turned(value[k]) for k in reversed(value)} if isinstance(value, dict) else value

    cfg = settings.resolved(settings.compose(["data=digits"]))
    assert list(turned(cfg)) != list(cfg)
    assert run_id(identity(turned(cfg))) == run_id(identity(cfg))
    assert id_of("loss=tgce", "rate=0.2") == id_of("rate=0.2", "loss=tgce")


@pytest.mark.parametrize(
    "override",
    ["runtime.device=cpu", "runtime.threads=7", "runtime.stop_after=90s", "runtime.checkpoint_every=1", "paths.data=x"],
)
def test_id_does_not_depend_on_how_or_where_a_run_is_made(override):
    assert id_of(override) == id_of()


def test_id_is_the_same_alone_and_in_an_experiment():
    assert id_of("experiment=demo") == id_of()


@pytest.mark.parametrize(
    "override",
    [
        "loss.q=0.71",
        "loss=ce",
        "noise.include_true=true",
        "noise.seed=5",
        "rate=0.41",
        "seed=1",
        "precision=bf16",
        "model.width=17",
        "schedule.lr=0.11",
        "prune.mode=mask",
        "data.subset=100",
        "data.normalise=pixel_mean",
    ],
)
def test_id_depends_on_whatever_shapes_a_number(override):
    assert id_of(override) != id_of()


@pytest.mark.parametrize(
    ("chosen", "override"),
    [
        ("noise=class_map", "noise.sequential=true"),
        ("noise=class_map", "noise.exact=true"),
        ("noise=uniform", "noise.exact=true"),
        ("noise=instance", "noise.pixels=normalised"),
        ("model=convnet", "model.init=torch"),
        ("model=resnet6", "model.init=he_uniform"),
        ("schedule=digits", "schedule.clip_norm=5"),
        ("schedule=digits", "schedule.nesterov=true"),
        ("schedule=digits", "schedule.gamma=0.01"),
        ("schedule=digits", "schedule.ema=0.999"),
    ],
)
def test_a_value_that_is_younger_than_published_runs_leaves_their_ids_as_they_were(chosen, override):
    group, _, key = override.partition("=")[0].partition(".")
    cfg = settings.resolved(settings.compose(["data=digits", chosen]))
    assert cfg[group][key] == check.DEFAULTS_ADDED_LATER[group][key]
    assert key not in identity(cfg)[group]
    older = {**cfg, group: {k: v for k, v in cfg[group].items() if k != key}}
    assert run_id(identity(older)) == id_of(chosen) != id_of(chosen, override)
    assert vars(getattr(settings.read(settings.node(older)), group))[key] == check.DEFAULTS_ADDED_LATER[group][key]


def test_initial_weights_of_a_resnet_are_torchs_and_stand_in_its_id():
    for model in ("resnet18", "resnet34"):
        assert identity(settings.resolved(settings.compose([f"model={model}"])))["model"]["init"] == "torch"
    assert id_of("model=resnet34") != id_of("model=resnet34", "model.init=he_normal")


def test_id_depends_on_the_version_of_the_numbers(monkeypatch):
    before = id_of()
    monkeypatch.setattr(runs.ids, "NUMERICS", runs.NUMERICS + 1)
    assert id_of() != before


@pytest.mark.parametrize(("one", "other"), [("loss.q=1", "loss.q=1.0"), ("schedule.lr=0.10", "schedule.lr=1e-1")])
def test_two_spellings_of_a_number_are_one_run(one, other):
    assert id_of(one) == id_of(other)


def test_true_is_not_1():
    assert run_id(odd(flag=True)) != run_id(odd(flag=1))


def odd(data="digits", rate=0.4, seed=0, **more):
    return identity(
        {"data": {"name": data}, "model": {"name": "m"}, "noise": {"name": "n"}, "loss": {"name": "l"}}
        | {"rate": rate, "seed": seed, **more}
    )


@pytest.mark.parametrize(
    "name",
    [
        "../../etc",
        "/root",
        "a b",
        "-rf",
        "..",
        ".",
        "",
        "x" * 500,
        "é" * 300,
        "a\nb",
        "a\0b",
        "CON:",
        "~",
        "$HOME",
        "*",
    ],
)
def test_id_is_short_and_safe_as_a_file_name_whatever_the_names(name, tmp_path):
    found = run_id(odd(data=name))
    assert len(found.encode()) <= 200
    assert not set(found) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")
    assert found[0] not in ".-"
    folder = Run(tmp_path, odd(data=name)).folder
    assert folder.resolve().parent == tmp_path / "runs"
    assert run_id(odd(data=name + "x")) != found


def test_a_number_that_json_has_not_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        run_id({**odd(), "rate": float("nan")})


def rows(*accuracies):
    keys = ("val_accuracy", "val_clean_accuracy", "test_accuracy")
    return [dict(zip(keys, values, strict=True)) for values in accuracies]


def test_selection_rules_by_head():
    found = select(rows((0.1, 0.9, 0.30), (0.5, 0.6, 0.50), (0.4, 0.7, 0.70), (0.3, 0.8, 0.60)))
    assert found == {
        "val": 0.50,
        "last": 0.60,
        "last10": pytest.approx((0.3 + 0.5 + 0.7 + 0.6) / 4),  # all there are
        "val_clean": 0.30,
        "test": 0.70,
    }
    assert tuple(found) == runs.RULES


def test_the_earliest_epoch_wins_ties():
    found = select(rows((0.1, 0.2, 0.1), (0.5, 0.8, 0.2), (0.5, 0.8, 0.3), (0.5, 0.8, 0.3)))
    assert (found["val"], found["val_clean"], found["test"]) == (0.2, 0.2, 0.3)


def test_last10_is_the_mean_of_the_last_ten_epochs():
    assert select(rows(*[(0, 0, n) for n in range(100, 125)]))["last10"] == pytest.approx(119.5)
    assert select(rows(*[(0, 0, 0.1)] * 10))["last10"] == 0.09999999999999999  # from left to right on every Python


def test_selection_reads_the_text_of_a_csv_as_well_as_numbers():
    values = rows((0.25, 0.5, 0.125), (0.1, 0.75, 0.0625), (1.0, 0.0, 0.5))
    assert select([{k: str(v) for k, v in row.items()} for row in values]) == select(values)


def run(tmp_path, *overrides):
    return Run(tmp_path, run_config(*overrides))


def test_metrics_read_back_to_the_last_bit(tmp_path):
    r = run(tmp_path)
    written = [{"epoch": 1, "loss": 0.1 + 0.2, "share": None}, {"epoch": 2, "loss": 1e-17, "share": 1 / 3}]
    with r.claim():
        r.write_metrics(written)
        text = (r.folder / "metrics.csv").read_bytes()
        assert text == b"epoch,loss,share\n1,0.30000000000000004,\n2,1e-17,0.3333333333333333\n"
        read = list(csv.DictReader(text.decode().splitlines()))
        assert [float(row["loss"]) for row in read] == [row["loss"] for row in written]
        r.write_metrics(written[:1])  # going on from before the second epoch
        assert (r.folder / "metrics.csv").read_bytes() == b"epoch,loss,share\n1,0.30000000000000004,\n"


def test_a_run_is_finished_when_its_manifest_is_there(tmp_path):
    r = run(tmp_path)
    assert r.manifest() is None
    assert not r.folder.exists()  # asking makes nothing
    with r.claim():
        assert r.manifest() is None
        (r.folder / "last.ckpt").touch()
        r.write_metrics([])
        manifest = {"run_id": r.id, "config": r.identity, "results": dict.fromkeys(runs.RULES, 0.5)}
        r.finish(manifest)
    assert r.manifest() == manifest
    assert not (r.folder / "last.ckpt").exists()


def test_a_damaged_manifest_is_an_error_and_not_an_unfinished_run(tmp_path):
    r = run(tmp_path)
    r.folder.mkdir(parents=True)
    whole = {"run_id": r.id, "config": r.identity, "results": dict.fromkeys(runs.RULES, 0.5)}
    for text, said in {
        '{"results": {"va': "is damaged or incomplete",
        "[]": "is not a manifest",
        "null": "is not a manifest",
        json.dumps({"run_id": r.id}): "is not a manifest: it lacks 'config'",
        json.dumps(whole | {"run_id": "another"}): f"is of another run: its config gives the id {r.id}",
        json.dumps(whole | {"config": run_config("seed=1")}): "is of another run",
        json.dumps(
            whole | {"results": {**whole["results"], "last10": 2}}
        ): "is not a manifest: results.last10 is not a number in [0, 1]",
    }.items():
        (r.folder / "manifest.json").write_text(text)
        with pytest.raises(
            ManifestError, match=rf"manifest\.json {re.escape(said)}.*; delete it to train this run again"
        ):
            r.manifest()
    (r.folder / "manifest.json").write_text(json.dumps(whole))
    assert r.manifest() == whole


def test_config_of_a_claimed_run_gives_its_id_again(tmp_path):
    import yaml

    r = run(tmp_path, "loss=tgce", "noise=class_map")
    with r.claim():
        saved = yaml.safe_load((r.folder / "config.yaml").read_text())
    assert saved == r.identity
    numerics = saved.pop("numerics")
    assert numerics == runs.NUMERICS
    assert run_id(identity(saved)) == r.id


def test_claiming_sweeps_what_a_kill_has_left(tmp_path):
    r = run(tmp_path)
    r.folder.mkdir(parents=True)
    (r.folder / "last.ckpt.123.tmp").touch()
    with r.claim():
        assert sorted(p.name for p in r.folder.iterdir()) == ["config.yaml", "lock", "owner.json"]


HOLD = """
import json, sys, time
from pathlib import Path
from noisygce.runs import Run
with Run(Path(sys.argv[1]), json.loads(sys.argv[2])).claim():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_run_that_another_process_holds_is_refused_naming_it_and_free_once_it_is_killed(tmp_path):
    r = run(tmp_path)
    command = [sys.executable, "-c", HOLD, str(tmp_path), json.dumps(run_config())]
    other = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(Locked, match=f"{r.id} is being trained by process {other.pid} on "), r.claim():
            pass
        with run(tmp_path, "seed=1").claim():  # another run is free
            pass
    finally:
        other.kill()
        other.wait()
        other.stdin.close()
        other.stdout.close()
    with r.claim():
        assert json.loads((r.folder / "owner.json").read_text())["pid"] == os.getpid()


def test_a_failed_run_is_refused_until_its_mark_is_deleted(tmp_path):
    r = run(tmp_path)
    r.refuse_if_failed()
    with r.claim():
        (r.folder / "last.ckpt").touch()
        r.fail("the loss was not finite at epoch 2, step 3")
    with pytest.raises(NonFinite, match=r"epoch 2, step 3; delete .*failed\.json"):
        r.refuse_if_failed()
    assert not (r.folder / "last.ckpt").exists()
    (r.folder / "failed.json").unlink()
    r.refuse_if_failed()


def test_a_crashed_run_says_why_and_may_be_tried_again(tmp_path):
    r = run(tmp_path)
    with r.claim():
        (r.folder / "last.ckpt").touch()
        r.crash("RuntimeError: of one's own")
    assert results.of_folder(r.folder).state == "stopped"
    assert results.of_folder(r.folder).note == "crashed: RuntimeError: of one's own"
    r.refuse_if_failed()
    with r.claim():
        assert not (r.folder / "failed.json").exists()
        assert (r.folder / "last.ckpt").exists()


def test_a_run_that_was_refused_leaves_no_folder_and_one_that_was_begun_stays(tmp_path):
    r = run(tmp_path)
    with r.claim():
        r.write_metrics([])
        assert r.forget()
    assert not r.folder.exists()
    with r.claim():
        (r.folder / "last.ckpt").touch()
        assert not r.forget()
    assert (r.folder / "last.ckpt").exists()
    r.fail("of another process, meanwhile")
    with pytest.raises(NonFinite, match="has failed: of another process"), r.claim():
        pass


def test_a_write_leaves_the_old_file_where_the_new_one_cannot_be_written(tmp_path):
    path = tmp_path / "file"
    atomic.write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        atomic.write_text(path, "new \ud800")  # half a surrogate pair is no UTF-8
    assert path.read_text() == "old"
    assert [p.name for p in Path(tmp_path).iterdir()] == ["file"]


def test_a_revision_enters_the_ids_that_name_its_class_and_no_others(monkeypatch):
    def ids(*words: str) -> list[str]:
        return [run.id for run in plan_of(["data=digits", "loss=ce,sce", *words]).runs]

    before = ids()
    monkeypatch.setitem(runs.ids.REVISIONS, "noisygce.losses.RCE", 2)  # a part of sce, and nothing of ce
    now = ids()
    assert now[0] == before[0]
    assert now[1] != before[1]
    sce = runs.identity(settings.resolved(settings.compose(["data=digits", "loss=sce"])))
    assert sce["revisions"] == {"noisygce.losses.RCE": 2}
    assert runs.identity(runs.given(sce)) == sce


def test_a_number_that_json_has_not_is_refused_by_its_key():
    config = settings.resolved(settings.compose(["data=digits"]))
    for value in (float("inf"), float("nan")):
        config["loss"]["top"] = {"deep": [1.0, value]}
        with pytest.raises(ConfigError, match=rf"^loss\.top\.deep={value}: must be a finite number"):
            identity(config)


def test_two_runs_of_one_id_are_refused(monkeypatch):
    whole = runs.run_id
    monkeypatch.setattr(runs, "run_id", lambda identity: whole(identity)[:-8])  # as if all digits were equal
    with pytest.raises(ConfigError, match=r"loss\.q=0\.5.*: its ID, .*, is that of .*loss\.q=0\.3"):
        plan_of(["data=digits", "loss=gce", "loss.q=0.3,0.5", "seed=0"])
    assert len(plan_of(["data=digits", "loss=gce", "loss.q=0.5,0.50", "seed=0"]).runs) == 1


def test_a_manifest_names_the_commit_and_its_changes_and_runs_no_program_of_the_checkout(tmp_path, monkeypatch):
    def git(*words):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=tmp_path, check=True)

    def now():
        manifest.commit.cache_clear()
        return manifest.commit()

    monkeypatch.setattr(manifest, "__file__", str(tmp_path / "noisygce" / "runs" / "manifest.py"))
    try:
        assert now() == {"commit": None, "dirty": None}
        code = tmp_path / "noisygce" / "code.py"
        code.parent.mkdir()
        code.write_text("1")
        (tmp_path / "LOG.md").write_text("1")
        git("init", "-q")
        git("add", ".")
        git("commit", "-qm", "x")
        git("config", "core.fsmonitor", "touch harm; false")
        (tmp_path / "LOG.md").write_text("2")
        assert now()["dirty"] is False
        code.write_text("2")
        assert manifest.commit()["dirty"] is False  # what this process has imported
        assert now()["dirty"] is True
        assert not (tmp_path / "harm").exists()
        git("config", "--unset", "core.fsmonitor")
        git("commit", "-aqm", "y")
        (code.parent / "new.py").touch()
        assert now()["dirty"] is True
        (tmp_path / ".git" / "index").write_bytes(b"damaged")
        assert now()["dirty"] is None
    finally:
        manifest.commit.cache_clear()
