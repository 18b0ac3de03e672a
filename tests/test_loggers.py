"""Loggers: each epoch is told once, whatever stops the run; one that fails harms none; real packages are read back."""

from __future__ import annotations

import json
import logging
import os
import re
import struct
import sys
import time
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL

from noisygce import results, runs, settings, train
from noisygce.errors import ConfigError, Stopped
from noisygce.runs import drawing
from noisygce.runs.loggers import Logger, Loggers, MLflow, base, read
from noisygce.runs.stops import process

K = 0.11
RUN = (*SMALL, "loss=tgce", f"loss.k={K}", "prune.start=2", "prune.every=2", "runtime.threads=1", "runtime.device=cpu")
SPEC = ModuleSpec("made_up", None, origin="made_up.py")
EPOCHS, PRUNED_AFTER = range(1, 6), [2, 4]


def run(folder: Path, *words: str, hook: Logger | None = None) -> results.Result:
    """Trains the run, or goes on with it; what it has left."""
    cfg = settings.compose([*RUN, *words, f"paths.results={folder}"])
    run_config = runs.identity(settings.resolved(cfg))
    train.train(settings.read(cfg), run_config, followers=Loggers({"hook": hook}) if hook else read(cfg))
    return results.of_folder(runs.Run(folder, run_config).folder)


def stopped_and_continued(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str, hook: Any = None
) -> results.Result:
    """The run, stopped in its third epoch and started again."""
    with monkeypatch.context() as patch:
        rows = lambda: [len(path.read_text().splitlines()) - 1 for path in folder.glob("runs/*/metrics.csv")]  # noqa: E731
        patch.setattr(process, "reason_to_stop", lambda _: "a test" if rows() == [2] else "")
        with pytest.raises(Stopped, match="epoch 3"):
            run(folder, *words, hook=hook and hook())
    return run(folder, *words, hook=hook and hook())


class Hook(Logger):
    """Writes down what it is told, and on the second start knows what it was told at the first."""

    told: list[tuple[str, Any]] = []

    def begin(self, run_id: str, config: Any, folder: Path) -> int:
        assert (config["loss"]["name"], run_id) == ("tgce", folder.name)
        return sum(kind == "epoch" for kind, _ in self.told)

    def epoch(self, row: Any) -> None:
        self.told.append(("epoch", row["epoch"]))

    def pruning(self, row: Any) -> None:
        self.told.append(("pruning", row["after_epoch"]))

    def figure(self, name: str, figure: Any) -> None:
        assert len(figure.axes) == 2
        self.told.append(("figure", name))

    def done(self, manifest: Any) -> None:
        self.told.append(("done", manifest["results"]["val"]))

    def close(self) -> None:
        self.told.append(("close", None))


def test_a_hook_is_told_each_epoch_and_pruning_once_also_when_a_run_is_stopped_or_finished_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hook, "told", [])
    done = stopped_and_continued(tmp_path, monkeypatch, hook=Hook)
    order = [1, 2, ("pruning", 2), ("close", None), 3, 4, ("pruning", 4), 5]
    expected = [x if isinstance(x, tuple) else ("epoch", x) for x in order]
    end = [("figure", "curves"), ("done", done.manifest["results"]["val"]), ("close", None)]
    assert Hook.told == expected + end
    Hook.told = []
    run(tmp_path, hook=Hook())  # finished: it is told all of it
    assert Hook.told == [x for x in expected if x[0] != "close"] + end


def test_epochs_trained_again_after_a_kill_are_not_told_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Killed after epoch 4 with a checkpoint of epoch 2."""
    monkeypatch.setattr(Hook, "told", [("epoch", epoch) for epoch in (1, 2, 3, 4)])
    followers, rows = Loggers({"hook": Hook()}), [{"epoch": 1}, {"epoch": 2}]
    with followers.following(tmp_path.name, {"loss": {"name": "tgce"}}, tmp_path, rows, [{"after_epoch": 3}]):
        for epoch in (3, 4, 5):
            followers.epoch({"epoch": epoch})
    assert Hook.told == [*(("epoch", epoch) for epoch in (1, 2, 3, 4, 5)), ("close", None)]


class Fails(Logger):
    def __init__(self, when: str) -> None:
        self.when = when
        self.closed = 0

    def close(self) -> None:
        self.closed += 1

    def __getattribute__(self, name: str) -> Any:
        if name == object.__getattribute__(self, "when"):
            raise ConnectionError("no server\nfor a long time")
        return object.__getattribute__(self, name)


@pytest.mark.parametrize("when", ["begin", "epoch", "pruning", "done", "close"])
def test_a_logger_that_fails_says_so_once_and_changes_no_bit_of_a_run(
    tmp_path: Path, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    hook = Fails(when)
    plain, failed = run(tmp_path / "plain"), run(tmp_path / "failed", hook=hook)
    assert hook.closed == (when != "close")
    place = r"logger hook: \S*test_loggers.py:\d+: ConnectionError: no server; the run continues without it"
    assert len(re.findall(place, caplog.text)) == 1
    assert plain.id == failed.id
    assert plain.manifest["state_sha256"] == failed.manifest["state_sha256"]
    assert (plain.folder / "metrics.csv").read_bytes() == (failed.folder / "metrics.csv").read_bytes()


class Sets(Logger):
    environment = {"OF_A_PACKAGE": "2", "OF_THE_USER": "3"}
    within: list[Any] = []

    def begin(self, *_: Any) -> int:
        self.within.append([os.environ[name] for name in self.environment])
        raise ConnectionError

    def close(self) -> None:
        self.begin()


def test_environment_variables_of_a_logger_are_there_for_its_runs_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_USER", "9")
    before = dict(os.environ)
    first, second = (Loggers({"sets": Sets()}).following("x", {}, tmp_path, [], []) for _ in range(2))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert os.environ["OF_A_PACKAGE"] == "2"  # the second run still needs it
    second.__exit__(None, None, None)
    assert dict(os.environ) == before
    assert Sets.within == [["2", "9"]] * 4  # in begin and, after its failure, in close


@pytest.mark.parametrize(("kind", "reason"), [(ValueError, "Key backend: no\nsuch"), (ImportError, "matplotlib")])
def test_a_run_whose_curves_cannot_be_drawn_is_done_and_its_loggers_have_the_rest(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: type[Exception],
    reason: str,
) -> None:
    def fails(_: Any) -> None:
        raise kind(reason)

    monkeypatch.setattr(drawing, "curves", fails)
    monkeypatch.setattr(Hook, "told", [])
    assert run(tmp_path, hook=Hook()).state == "done"
    assert [what for what, _ in Hook.told[-2:]] == ["done", "close"]
    assert [line for line in caplog.messages if line.startswith("logger")] == [
        f"logger hook: no curves ({kind.__name__}: {reason.splitlines()[0]})"
    ]


def test_a_logger_that_ends_the_program_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Ends(Logger):
        def done(self, manifest: Any) -> None:
            sys.exit("no licence")

    assert run(tmp_path, hook=Ends()).state == "done"
    assert "logger hook: SystemExit: no licence; the run continues without it" in caplog.text


def test_a_run_whose_result_no_one_reads_is_done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def closed(*_: Any, **__: Any) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", closed)
    assert run(tmp_path).state == "done"


def test_a_package_that_is_missing_is_said_once_with_a_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = settings.compose(["logger=tensorboard"])
    for pip, command in (
        (None, f"uv pip install --python {sys.executable}"),
        (SPEC, f"{sys.executable} -m pip install"),
    ):
        monkeypatch.setattr(base, "_missing", set())
        monkeypatch.setattr(base.importlib.util, "find_spec", {"tensorboard": None, "pip": pip}.get)
        caplog.clear()
        assert [read(cfg).active for _ in range(3)] == [{}, {}, {}]
        (said,) = caplog.messages
        assert f"tensorboard is not installed, and runs continue without it; install it ({command} tensorboard)" in said


def test_a_logger_is_no_part_of_an_id_and_a_wrong_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_installed", lambda *_: True)

    def identity(*words: str) -> dict[str, Any]:
        return runs.identity(settings.resolved(settings.compose([*RUN, *words])))

    assert identity() == identity("logger=[tensorboard,mlflow,wandb,trackio]") == identity("logger=wandb")
    with pytest.raises(ConfigError, match=r"logger\.wandb\._target_=noisygce\.losses\.CE: must be a subclass of"):
        read(settings.compose(["logger=wandb", "logger.wandb._target_=noisygce.losses.CE"]))
    assert [*read(settings.compose(["logger=[wandb,mlflow]"])).active] == ["wandb", "mlflow"]


HOOK = """
from noisygce.runs import drawing
from noisygce.runs.loggers import Logger


class Best(Logger):
    def __init__(self, file):
        self.file, self.best = file, 0.0

    def epoch(self, row):
        self.best = max(self.best, row["val_accuracy"])

    def done(self, manifest):
        print(self.best, manifest["results"]["val"], file=open(self.file, "w"))
"""


def test_a_hook_of_one_s_own_is_a_class_and_a_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leaf = tmp_path / "conf" / "logger" / "mine.yaml"
    leaf.parent.mkdir(parents=True)
    leaf.write_text(f"# @package logger.mine\nname: mine\n_target_: my_hook.Best\nfile: {tmp_path}/best\n")
    (tmp_path / "my_hook.py").write_text(HOOK)
    monkeypatch.syspath_prepend(str(tmp_path))
    done = run(tmp_path, f"hydra.searchpath=['file://{tmp_path}/conf']", "logger=mine")
    best, val = map(float, (tmp_path / "best").read_text().split())
    leaf.write_text(leaf.read_text().partition("\n")[2])
    with pytest.raises(ConfigError, match=r"begin the YAML of a logger with '# @package logger\.NAME'"):
        run(tmp_path, f"hydra.searchpath=['file://{tmp_path}/conf']", "logger=mine")
    assert (best, val) == (done.manifest["noisy_validation"]["best"], done.manifest["results"]["val"])


def history(found: results.Result, name: str = "test_accuracy") -> dict[int, float]:
    """What a logger should hold of a metric: its value at each epoch."""
    return {int(row["epoch"]): float(row[name]) for row in found.rows()}


def test_tensorboard_holds_each_epoch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    done = stopped_and_continued(tmp_path, monkeypatch, "logger=tensorboard")
    run(tmp_path, "logger=tensorboard")  # finished, and told anew
    held = EventAccumulator(str(tmp_path / "tensorboard" / done.id)).Reload()
    assert {e.step: e.value for e in held.Scalars("test_accuracy")} == pytest.approx(history(done))
    assert [e.step for e in held.Scalars("test_accuracy")] == [*EPOCHS]
    assert [e.step for e in held.Scalars("pruning/recall")] == PRUNED_AFTER
    assert held.Scalars("results/val")[-1].value == pytest.approx(done.manifest["results"]["val"])
    assert held.Tags()["images"] == ["curves"]
    assert b"loss.k: %g" % K in held.Tensors("config/text_summary")[0].tensor_proto.string_val[0]


def test_mlflow_holds_each_epoch_once_and_finds_its_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    done = stopped_and_continued(tmp_path, monkeypatch, "logger=mlflow")
    run(tmp_path, "logger=mlflow")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow/mlflow.db")
    (held,) = client.search_runs([client.get_experiment_by_name("noisygce").experiment_id])
    assert (held.info.run_name, held.info.status, held.data.params["loss.k"]) == (done.id, "FINISHED", str(K))
    told = client.get_metric_history(held.info.run_id, "test_accuracy")
    assert [m.step for m in told] == [*EPOCHS]
    assert {m.step: m.value for m in told} == history(done)
    assert [m.step for m in client.get_metric_history(held.info.run_id, "pruning.recall")] == PRUNED_AFTER
    assert held.data.metrics["results.last"] == done.manifest["results"]["last"]
    assert {f.path for f in client.list_artifacts(held.info.run_id)} == {"curves.png", "manifest.json"}


def test_mlflow_says_of_a_run_that_goes_on_that_it_is_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    status = []
    for _ in range(2):
        logger = MLflow(None, str(tmp_path), "noisygce")
        logger.begin("id", {}, tmp_path)
        status.append(logger.client.get_run(logger.run).info.status)
        logger.close()
        status.append(logger.client.get_run(logger.run).info.status)
    assert status == ["RUNNING", "KILLED", "RUNNING", "KILLED"]


def test_a_server_of_mlflow_that_is_gone_does_not_hold_a_run_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("mlflow")
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    begun = time.monotonic()
    run(tmp_path, "logger=mlflow", "logger.mlflow.uri=http://127.0.0.1:9")
    assert time.monotonic() - begun < 180  # mlflow itself waits for more than 200 s, and computes nothing meanwhile
    assert caplog.text.count("the run continues without it") == 1


def test_wandb_offline_holds_each_epoch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    done = stopped_and_continued(tmp_path, monkeypatch, "logger=wandb")
    run(tmp_path, "logger=wandb")
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    deadline = time.monotonic() + 600  # wandb's own process writes on for a moment
    while not (records := list(wandb_records(file.read_bytes()))) or not records[-1].HasField("exit"):
        assert time.monotonic() < deadline
        time.sleep(0.1)

    def plain(items: Any) -> dict[str, Any]:
        return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}

    told = [plain(record.history.item) for record in records if record.HasField("history")]
    told = [row for row in told if "test_accuracy" in row]
    assert [row["epoch"] for row in told] == [*EPOCHS]
    assert {row["epoch"]: row["test_accuracy"] for row in told} == history(done)
    begun = next(record.run for record in records if record.HasField("run"))
    assert (begun.display_name, plain(begun.config.update)["loss"]["k"]) == (done.id, K)
    assert len([*file.parent.glob("files/media/images/curves_*.png")]) == 1
    summary = [plain(record.summary.update) for record in records if record.HasField("summary")]
    assert {"results/val": done.manifest["results"]["val"]}.items() <= {
        k: v for s in summary for k, v in s.items()
    }.items()


def wandb_records(content: bytes) -> Iterator[Any]:
    """The records of an offline run: LevelDB's log format, 32 KiB blocks of chunks behind a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    at, whole = 7, b""
    while at + 7 <= len(content):
        if at % 32768 > 32768 - 7:  # no header fits in the rest of a block
            at += 32768 - at % 32768
            continue
        size, kind = struct.unpack("<HB", content[at + 4 : at + 7])
        whole += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # a whole record, or the last chunk of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


def test_trackio_holds_each_epoch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", os.environ.get("TRACKIO_DIR", str(tmp_path / "trackio")))
    trackio = pytest.importorskip("trackio")
    project = f"test-{tmp_path.name}"
    words = ("logger=trackio", f"logger.trackio.project={project}")
    done = stopped_and_continued(tmp_path, monkeypatch, *words)
    run(tmp_path, *words)
    (held,) = trackio.Api().runs(project)
    assert (held.name, held.config["loss.k"]) == (done.id, K)
    told = [row for row in trackio.SQLiteStorage.get_logs(project, done.id) if "test_accuracy" in row]
    assert [row["epoch"] for row in told] == [*EPOCHS]
    assert {row["epoch"]: row["test_accuracy"] for row in told} == history(done)
    (curves,) = (row["curves"] for row in trackio.SQLiteStorage.get_logs(project, done.id) if "curves" in row)
    assert curves["_type"] == "trackio.image"
    (drawn,) = Path(os.environ["TRACKIO_DIR"], "media", project, done.id).rglob("*.png")  # once, though told twice
    assert drawn.stat().st_size > 1000


def test_a_logger_of_a_package_is_quiet_while_any_run_needs_it_and_as_before_afterwards() -> None:
    package = logging.getLogger("of_a_package")
    package.setLevel(logging.INFO)
    first, second = base._quiet({"of_a_package"}), base._quiet({"of_a_package"})
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert package.level == logging.WARNING  # the second run still needs it
    second.__exit__(None, None, None)
    assert package.level == logging.INFO
