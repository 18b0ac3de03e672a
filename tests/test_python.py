"""noisygce.run and noisygce.grid: the runs of the command line, and a process that is as it was after them."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer

import noisygce
from noisygce import losses, runs, settings
from noisygce.api import leaves
from noisygce.api.overrides import overrides_of
from noisygce.errors import ConfigError, DataError, Locked, SweepFailed, UserCodeError
from noisygce.runs import loggers
from noisygce.runs.stops import SIGNALS
from noisygce.settings import arguments
from noisygce.sweep.plan import plan_of

WORDS = ["data.subset=200", "model.width=4", "schedule.epochs=3", "schedule.batch_size=64", "schedule.milestones=[2]"]
DIGESTS = ("run_id", "state_sha256", "metrics_sha256")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def digests(manifest: dict[str, Any]) -> list[Any]:
    return [*(manifest[name] for name in DIGESTS), manifest["noise"]["labels_sha256"]]


def command(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "NOISYGCE_DATA"}
    line = [sys.executable, "-m", "noisygce.train", *words]
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=600)


def test_a_run_from_python_is_that_of_the_command_line_and_is_returned_once_it_is_finished(tmp_path: Path) -> None:
    run = noisygce.run(*WORDS, data="digits", loss="tgce", noise="pair", rate=0.3, **{"loss.q": 0.5, "prune.start": 2})
    words = [*WORDS, "data=digits", "loss=tgce", "noise=pair", "rate=0.3", "loss.q=0.5", "prune.start=2"]
    told = command(*words, "paths.results=other")
    assert told.returncode == 0, told.stderr
    (manifest,) = (tmp_path / "other").glob("runs/*/manifest.json")
    assert digests(json.loads(manifest.read_text())) == digests(run.manifest)
    assert run.folder.resolve() == tmp_path / "results" / "runs" / run.id
    before = (run.folder / "manifest.json").stat().st_mtime_ns
    again = noisygce.run(*words)
    assert (again.id, again.manifest) == (run.id, run.manifest)
    assert (run.folder / "manifest.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "word", ["hydra/sweeper=optuna", "hydra/launcher=joblib", "runtime.trial_seeds=[0,1]", "runtime.share=1/2"]
)
def test_grid_refuses_what_only_the_command_line_does(word: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{re.escape(word)}: .* use python -m noisygce\.train -m"):
        noisygce.grid(word, data="digits", loss=["ce", "gce"])


def test_run_refuses_a_grid_instead_of_training_one_run_of_it() -> None:
    with pytest.raises(ConfigError, match=r"noisygce\.grid trains the grid"):
        noisygce.run("experiment=demo")


def test_finished_runs_reach_a_logger_of_a_grid_too(monkeypatch: pytest.MonkeyPatch) -> None:
    noisygce.grid(*WORDS, data="digits", seed=[0, 1])
    done: list[str] = []

    class Recording(loggers.Logger):
        def done(self, manifest: Any) -> None:
            done.append(manifest["run_id"])

    monkeypatch.setattr(loggers, "read", lambda _: loggers.Loggers({"mine": Recording()}))
    runs_of = noisygce.grid(*WORDS, "logger=tensorboard", data="digits", seed=[0, 1])
    assert done == [run.id for run in runs_of]


def test_a_finished_run_gives_its_metrics_predictions_and_model() -> None:
    run = noisygce.run(*WORDS, data="digits")
    assert run.metrics["epoch"].tolist() == [1, 2, 3]
    assert run.metrics["test_accuracy"].iloc[-1] == run.results["last"]
    found = run.predictions
    assert len(found) == 200 + 22 + 44
    columns = [f"p_{name}" for name in "0123456789"]
    largest = found[columns].astype(float).idxmax(axis=1).str.removeprefix("p_")
    assert (largest == found["predicted"].astype(str)).mean() > 0.98  # float16 ties
    network, preprocess, classes = run.model()
    assert classes == tuple("0123456789")
    assert preprocess.shape == (8, 8, 1)
    assert network(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
    assert run.id in repr(run)
    assert "<table" in run._repr_html_()


def test_a_grid_has_the_runs_of_a_sweep_and_trains_no_run_twice() -> None:
    alone = noisygce.run(*WORDS, data="digits", loss="ce", seed=1)
    before = (alone.folder / "manifest.json").stat().st_mtime_ns
    found = noisygce.grid(*WORDS, data="digits", loss=["ce", "gce"], seed=range(2))
    assert [(r.manifest["config"]["loss"]["name"], r.manifest["config"]["seed"]) for r in found] == [
        *(("ce", 0), ("gce", 0), ("ce", 1), ("gce", 1))
    ]
    assert found[2].id == alone.id
    assert (alone.folder / "manifest.json").stat().st_mtime_ns == before
    assert found.frame["run_id"].tolist() == [run.id for run in found]
    assert found.table().cells.rows == (("ce",), ("gce",))
    assert found.plot("accuracy")._repr_png_()[:4] == b"\x89PNG"
    told = command("-m", *WORDS, "data=digits", "loss=ce,gce", "seed=0,1")
    assert "4 of 4 runs are done" in told.stderr
    assert (alone.folder / "manifest.json").stat().st_mtime_ns == before


def state() -> dict[str, Any]:
    """All of a process that training could change."""
    from hydra.core.config_store import ConfigStore
    from hydra.core.singleton import Singleton

    log = logging.getLogger("noisygce")
    kernels = torch.backends.cudnn, torch.backends.cuda.matmul
    return {
        "signals": [signal.getsignal(getattr(signal, name)) for name in SIGNALS],
        "logging": (log.handlers[:], log.level, log.propagate, logging.raiseExceptions, logging.root.handlers[:]),
        "resolvers": dict(BaseContainer._resolvers),
        "hydra": {kind.__name__: id(each) for kind, each in Singleton._instances.items()},
        "choices": {
            group: sorted(each) for group, each in ConfigStore.instance().repo.items() if isinstance(each, dict)
        },
        "threads": torch.get_num_threads(),
        "mode": torch.get_deterministic_debug_mode(),
        "fills": torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        "kernels": [(each.allow_tf32, getattr(each, "deterministic", 0)) for each in kernels],
        "generator": torch.random.get_rng_state().tolist(),
        "environment": dict(os.environ),
        "thread": threading.current_thread().name,
        "argv": sys.argv[:],
        "path": sys.path[:],
    }


def failing() -> None:
    with pytest.raises(ConfigError):
        noisygce.run(data="digits", loss="no_such_loss")


@pytest.mark.parametrize(
    "call",
    [
        lambda: noisygce.run(*WORDS, data="digits", loss=losses.CE),
        lambda: noisygce.grid(*WORDS, data="digits", seed=[0, 1]),
        failing,
    ],
)
def test_the_process_is_as_before(call: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    noisygce.run(*WORDS, data="digits", seed=9)  # imports stay
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    OmegaConf.clear_resolvers()
    OmegaConf.register_new_resolver("now", lambda _: "a program's own")
    mode = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("default")
    torch.set_num_threads(2)
    try:
        before = state()
        call()
        assert state() == before
        assert OmegaConf.create({"at": "${now:x}"}).at == "a program's own"
    finally:
        torch.set_num_threads(1)
        torch.set_deterministic_debug_mode(mode)
        OmegaConf.clear_resolver("now")


def test_two_threads_train_at_once_and_torch_is_as_before_when_both_are_done() -> None:
    expected = [noisygce.run(*WORDS, data="digits", seed=s, **{"paths.results": "alone"}) for s in (0, 1)]
    mode = torch.get_deterministic_debug_mode()
    found: dict[int, Any] = {}

    def train(seed: int) -> None:
        try:
            found[seed] = noisygce.run(*WORDS, data="digits", seed=seed)
        except BaseException as error:
            found[seed] = error

    threads = [threading.Thread(target=train, args=(seed,), name=f"mine {seed}") for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [thread.name for thread in threads] == ["mine 0", "mine 1"]
    assert [digests(found[seed].manifest) for seed in (0, 1)] == [digests(run.manifest) for run in expected]
    assert torch.get_deterministic_debug_mode() == mode


def test_the_environment_is_as_before_when_the_last_of_two_overlapping_trainings_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from noisygce.training import device

    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    first, second = device.prepared("cpu", 1), device.prepared("cpu", 1)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    second.__exit__(None, None, None)
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


@pytest.mark.parametrize("fails", [False, True])
def test_a_signal_that_comes_too_late_to_stop_a_call_goes_to_the_handler_of_the_program(fails: bool) -> None:
    from noisygce.runs.stops import process

    received: list[int] = []
    former = signal.signal(signal.SIGUSR1, lambda number, _: received.append(number))
    try:
        with pytest.raises(ConfigError) if fails else contextlib.nullcontext(), process.listening():
            with process.training():
                signal.raise_signal(signal.SIGUSR1)
            assert not received
            if fails:
                raise ConfigError
        assert received == [signal.SIGUSR1]
        with process.listening():
            pass
        assert received == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, former)


def test_ctrl_c_saves_and_the_same_call_resumes_with_equal_results(monkeypatch: pytest.MonkeyPatch) -> None:
    from noisygce.training import fit

    whole = noisygce.run(*WORDS, data="digits", **{"paths.results": "whole"})
    measure, epochs = fit._measure, []

    def interrupted(*arguments: Any) -> Any:
        epochs.append(1)
        if len(epochs) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return measure(*arguments)

    monkeypatch.setattr(fit, "_measure", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"is saved at epoch 2, step \d+ \(SIGINT\)"):
        noisygce.run(*WORDS, data="digits")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert [*Path("results").glob("runs/*/last.ckpt")]
    assert digests(noisygce.run(*WORDS, data="digits").manifest) == digests(whole.manifest)


def test_messages_go_to_the_logging_of_the_program_where_it_asks_for_them(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, "noisygce"):
        noisygce.run(*WORDS, data="digits")
    assert {record.levelno for record in caplog.records} == {logging.INFO}
    assert "epoch 3/3" in caplog.text
    assert capsys.readouterr() == ("", "")
    caplog.clear()
    noisygce.run(*WORDS, data="digits", seed=1)
    assert not caplog.records
    told = capsys.readouterr()
    assert (told.out, "epoch 3/3" in told.err) == ("", True)


def test_importing_it_costs_nothing() -> None:
    code = (
        "import sys, time; t = time.process_time(); import noisygce; t = time.process_time() - t\n"
        "assert t < 0.2, t\n"
        "assert {'run', 'grid'} <= {*dir(noisygce)}\n"
        "assert not {'torch', 'pandas', 'hydra', 'omegaconf', 'numpy'} & {*sys.modules}"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=600).returncode == 0


def test_no_public_name_is_that_of_a_module() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'sweep_all'"):
        _ = noisygce.sweep_all  # type: ignore[attr-defined]
    for name in noisygce.__all__:
        assert importlib.util.find_spec(f"noisygce.{name}") is None
        assert getattr(noisygce, name).__doc__


# --- words ------------------------------------------------------------------------------------------------------------


def test_a_grid_whose_runs_another_process_trains_says_so(tmp_path: Path) -> None:
    words = {"data": "digits", "loss": "ce", "paths.results": str(tmp_path)}
    held = runs.Run(tmp_path, plan_of([f"{key}={value}" for key, value in words.items()]).runs[0].identity)
    said = rf"another process trains 1 run of these 1, {held.id} first \(process {os.getpid()} on"
    with held.claim(), pytest.raises(Locked, match=said):
        noisygce.grid(**words, seed=[0])


def test_a_home_folder_is_found_by_all_that_reads_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("~/r", "'~/r'"):
        cfg = settings.compose(arguments.words(["data=digits", "logger=tensorboard", f"paths.results={value}"]))
        assert cfg.paths.results == str(tmp_path / "r")
        assert cfg.logger.tensorboard.folder == str(tmp_path / "r" / "tensorboard")


def test_values_are_typed() -> None:
    values = {"rate": 0.1, "seed": torch.tensor(3), "compile": False, "loss": "ce", "loss.clip": None}
    cfg = settings.compose(overrides_of(["data=digits"], {**values, "schedule.milestones": (1, 2)}, swept=False))
    assert (cfg.rate, cfg.seed, cfg.compile, cfg.loss.clip, cfg.schedule.milestones) == (0.1, 3, False, None, [1, 2])
    for awkward in ("a b", "null", "1e3", "it's", "x=1,2", "${rate}", r"C:\x", "é"):
        assert settings.compose(overrides_of([], {"data.name": awkward}, swept=False)).data.name == awkward
    for mapping in ({"cat": "dog"}, {3: 8, 8: 3}, {"a": [1, 2.5], "b c": None}):
        assert (
            settings.compose(overrides_of(["noise=class_map"], {"noise.map": mapping}, swept=False)).noise.map
            == mapping
        )
    assert overrides_of([], {"seed": range(3), "rate": 0.2}, swept=True) == ["seed=0,1,2", "rate=0.2"]
    assert overrides_of([], {"schedule.milestones": [[1, 2], []]}, swept=True) == ["schedule.milestones=[1,2],[]"]


def test_a_number_of_numpy_or_torch_is_the_word_that_a_person_types() -> None:
    for kind in (np.float16, np.float32, np.float64):
        assert overrides_of([], {"rate": kind(0.1), "seed": np.int64(3)}, swept=False) == ["rate=0.1", "seed=3"]
        assert overrides_of([], {"data.mean": np.array([0.1, 0.3], kind)}, swept=False) == ["data.mean=[0.1,0.3]"]
    assert overrides_of([], {"rate": torch.tensor(0.1)}, swept=False) == ["rate=0.1"]
    steps = np.arange(0.1, 0.5, 0.1)
    assert steps[2] != 0.3
    for several in (steps, [*steps], steps.astype(np.float32), torch.tensor(steps)):
        assert overrides_of([], {"rate": several}, swept=True) == ["rate=0.1,0.2,0.3,0.4"]
    assert overrides_of([], {"rate": 0.1 + 0.2}, swept=False) == ["rate=0.30000000000000004"]
    assert overrides_of([], {"compile": np.bool_(True)}, swept=False) == ["compile=true"]


REFUSED: dict[str, tuple[Callable[[], object], type[Exception]]] = {
    "rate=0.9x": (lambda: noisygce.run(data="digits", rate="0.9x"), ConfigError),
    "loss.q=2.0: loss.q must be a number in (0, 1]": (lambda: noisygce.run(**{"loss.q": 2.0}), ConfigError),
    "losss: there is no such key; did you mean loss?": (lambda: noisygce.run(losss="gce"), ConfigError),
    "-m: options are for the command line": (lambda: noisygce.run("-m", loss="gce"), ConfigError),
    "data=array(": (lambda: noisygce.run(data=np.zeros((300, 4))), ConfigError),
    "data.features: an array of shape (3, 4); numpy.save it": (
        lambda: noisygce.run(data="features", **{"data.features": np.zeros((3, 4))}),
        ConfigError,
    ),
    "seed=[]: no value to train with; [[]] is one value, an empty list": (
        lambda: noisygce.grid(data="digits", seed=[]),
        ConfigError,
    ),
    "must be a number, a text": (lambda: noisygce.run(rate=object()), ConfigError),
    "there is no such folder": (lambda: noisygce.run(data="folder", **{"data.folder": "nowhere"}), DataError),
    "loss: a run has one loss; noisygce.grid": (
        lambda: noisygce.run(data="digits", loss=["ce", losses.GCE()]),
        ConfigError,
    ),
    "seed: a run has one seed; noisygce.grid": (lambda: noisygce.run(data="digits", seed=range(2)), ConfigError),
    "WORLD_SIZE=2": (lambda: noisygce.run(data="digits"), ConfigError),
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_the_command_refuses_is_an_exception_with_the_same_line(line: str, monkeypatch) -> None:
    call, kind = REFUSED[line]
    if line.startswith("WORLD_SIZE"):
        monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(kind) as refused:
        call()
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_grid_trains_the_other_runs_and_then_names_what_has_failed() -> None:
    rates = {"schedule.lr": [0.1, 100.0]}
    with pytest.raises(SweepFailed, match="1 of 2 runs failed") as failed:
        noisygce.grid(*WORDS, data="digits", loss="ldr_kl", **rates, **{"schedule.weight_decay": 0.99})
    assert "schedule.lr=100.0" in failed.value.__notes__[0]
    assert "not finite" in failed.value.__notes__[0]
    assert len([*Path("results").glob("runs/*/manifest.json")]) == 1


# --- objects ----------------------------------------------------------------------------------------------------------

MINE = """
from noisygce import check
from noisygce.losses import Loss, log_p


class PolyOne(Loss):
    def __init__(self, e, *, reduction="mean"):
        super().__init__(reduction=reduction)
        self.e = check.number("e", e, "[0, 10]")

    def per_sample(self, logits, labels):
        log_py = log_p(logits, labels)
        return -log_py + self.e * (1 - log_py.exp())
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "mine_poly.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine_poly", raising=False)
    importlib.invalidate_caches()
    return importlib.import_module("mine_poly")


def test_an_object_gives_the_id_that_its_yaml_gives(tmp_path: Path, mine: Any) -> None:
    leaf = tmp_path / "conf" / "loss" / "poly_one.yaml"
    leaf.parent.mkdir(parents=True)
    leaf.write_text("name: poly_one\n_target_: mine_poly.PolyOne\ne: 0.5\n")
    by_name = noisygce.run("--config-dir", "conf", *WORDS, data="digits", loss="poly_one")
    assert noisygce.run(*WORDS, data="digits", loss=mine.PolyOne(0.5)).id == by_name.id
    both = noisygce.grid(*WORDS, data="digits", loss=[mine.PolyOne(0.5), mine.PolyOne(2), "ce"])
    assert both[0].id == by_name.id
    assert both[1].manifest["config"]["loss"]["e"] == 2
    assert [*both[1].manifest["config"]["code"]] == ["mine_poly"]
    by_row = {cell.config.get("loss.e") for cell in both.table().cells.cell.values()}
    assert by_row == {0.5, 2, None}  # a row each, although two have one name
    made = str(both.table()).splitlines()[-1]
    assert "Made by `noisygce.grid('data.subset=200', " in made  # no command line can name the objects
    assert "loss=[PolyOne(e=0.5, " in made


def id_of(**values: Any) -> str:
    with leaves.chosen({"data": "digits", **values}) as plain:
        cfg = settings.compose(overrides_of([], plain, swept=False))
    return runs.run_id(runs.identity(settings.resolved(cfg)))


def test_a_data_set_of_noisygce_is_its_choice_with_all_values_of_its_leaf() -> None:
    from noisygce import data

    for cls, choice in (
        (data.Digits, "digits"),
        (data.Cifar10, "cifar10"),
        (data.Cifar100, "cifar100"),
        (data.FashionMnist, "fashion_mnist"),
    ):
        assert id_of(data=cls()) == id_of(data=cls) == id_of(data=choice)


def test_an_object_of_noisygce_is_its_choice() -> None:
    from noisygce import models, noise

    assert id_of(loss=losses.GCE(q=0.7)) == id_of(loss="gce")
    assert id_of(loss=losses.TruncatedGCE(q=0.7, k=0.5)) == id_of(loss="tgce")
    assert id_of(noise=noise.Pair(0.2, None)) == id_of(noise="pair", rate=0.2)
    assert id_of(model=models.MLP([256], "he_normal")) == id_of(model="mlp")
    # of classes with several choices
    assert id_of(model=models.MLP([], "he_normal")) == id_of(model="linear")
    assert id_of(model=models.ResNet(18, "torch", None, False)) == id_of(model="resnet18")
    assert id_of(loss=losses.WeightedSum(1, 1, losses.NCE(), losses.RCE())) == id_of(loss="nce_rce")
    assert id_of(loss=losses.WeightedSum(0.1, 1, losses.CE(), losses.RCE())) == id_of(loss="sce")
    assert "-weighted_sum-" in id_of(loss=losses.WeightedSum(1, 1, losses.GCE(), losses.RCE()))
    assert "-mlp-" in id_of(model=models.MLP([9], "he_normal"))


def test_code_that_no_id_can_hold_is_refused_with_the_reason(mine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Local(losses.CE):
        pass

    with pytest.raises(ConfigError, match="give an object of it, not the class"):
        noisygce.run(data="digits", loss=mine.PolyOne)
    monkeypatch.setattr(mine.PolyOne, "__module__", "__main__")
    for value, reason in ((Local(), "written in a function"), (mine.PolyOne(1), "written in a notebook cell")):
        with pytest.raises(ConfigError, match=f"{reason}.*put it into a .py file of its own"):
            noisygce.run(data="digits", loss=value)


def test_code_that_was_changed_since_it_was_imported_is_refused_until_it_is_reloaded(
    tmp_path: Path, mine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = noisygce.run(*WORDS, data="digits", loss=mine.PolyOne(0.5))
    (tmp_path / "mine_poly.py").write_text(MINE.replace("1 - log_py", "2 - log_py"))
    with pytest.raises(ConfigError, match=r"mine_poly\.py has changed since mine_poly was imported"):
        noisygce.run(*WORDS, data="digits", loss=mine.PolyOne(0.5))
    old = mine.PolyOne(0.5)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    importlib.invalidate_caches()
    for cached in (tmp_path / "__pycache__").glob("mine_poly*"):
        cached.unlink()  # of the same second and length
    importlib.reload(mine)
    with pytest.raises(ConfigError, match="is another class by now"):
        noisygce.run(*WORDS, data="digits", loss=old)
    assert noisygce.run(*WORDS, data="digits", loss=mine.PolyOne(0.5)).id != first.id


KINDS = """
from noisygce.losses import CE


class Base(CE):
    def __init__(self, e=1.0):
        super().__init__()
        self.e = e

class Percent(Base):
    def __init__(self, e):
        super().__init__(e / 100)

class Derived(Base):
    def __init__(self, e):
        super().__init__(e)
        self.twice = 2 * e

class Several(Base):
    def __init__(self, *args):
        super().__init__(*args)

class Named(Base):
    def __init__(self, **values):
        super().__init__(**values)

class Keyword(Base):
    def __init__(self, *, e):
        super().__init__(e)

class Positional(Base):
    def __init__(self, e, /):
        super().__init__(e)

class Outer:
    class Inner(CE):
        pass
"""


def test_an_object_whose_values_no_id_would_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_kinds.py").write_text(KINDS)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    kinds = importlib.import_module("mine_kinds")
    changed = kinds.Derived(1.0)
    changed.twice = 3.0
    for loss, reason in (
        (kinds.Percent(50.0), "attribute e is 0.5, and 0.005"),
        (changed, "attribute twice is 3.0, and 2.0"),
        (kinds.Several(2.0), r"parameter \*args"),
        (kinds.Named(e=2.0), r"parameter \*\*values"),
        (kinds.Keyword(e=2.0), "parameter e, which can only be given by keyword"),
        (kinds.Positional(2.0), "parameter e;"),
        (kinds.Outer.Inner(), "in another class, and a class must be at the top level of a module"),
        (losses.CE(reduction="sum"), "leave out reduction='sum'"),
        (losses.GCE(ignore_index=-100), "leave out ignore_index=-100"),
    ):
        with pytest.raises(ConfigError, match=reason):
            id_of(loss=loss)
    assert id_of(loss=kinds.Base(2.0)) != id_of(loss=kinds.Base())
    assert id_of(loss=losses.CE(clip=0.1)) == id_of(loss="ce", **{"loss.clip": 0.1})


SOURCES = """
from noisygce.losses import CE, GCE, ELR


class OfCE(CE):
    source = CE.from_config()

class OfClippedCE(CE):
    source = CE.from_config(clip=0.1)

class OfMine(CE):
    source = OfCE.from_config()

class OfGCE(CE):
    source = GCE.from_config(q=0.3)
"""


def test_a_source_that_no_id_would_hold_or_that_estimates_no_t_is_refused_before_any_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_sources.py").write_text(SOURCES)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    sources = importlib.import_module("mine_sources")
    for loss, reason in (
        (sources.OfClippedCE, "no source but CE"),
        (sources.OfMine, "no source but CE"),
        (sources.OfGCE, "no p that estimates"),
    ):
        with pytest.raises(UserCodeError, match=reason) as refused:
            noisygce.run(*WORDS, data="digits", loss=loss)
        assert "\n" not in str(refused.value)
    assert not [*tmp_path.glob("results/runs/*/manifest.json")]
    noisygce.run(*WORDS, data="digits", loss=sources.OfCE)
    assert len([*tmp_path.glob("results/runs/*/manifest.json")]) == 2


def test_a_network_of_timm_has_the_name_of_its_architecture() -> None:
    pytest.importorskip("timm")
    from noisygce.models import Timm

    alone = id_of(model=Timm("resnet26", None))
    assert "-resnet26-" in alone
    assert alone == id_of(model="timm", **{"model.name": "resnet26"})


SHELLS = """
from pathlib import Path

import numpy as np

from noisygce import inputs
from noisygce.data import Arrays, Data


class Shells(Data):
    channels = 3

    def __init__(self, file):
        self.file = file

    def inputs(self, root):
        return [Path(self.file)]

    def contents(self, root):
        return {"file": inputs.sha256(Path(self.file))}

    def _read(self, root):
        x = np.load(self.file)
        return Arrays(x, (x[:, 0, 0, 0] > 99).astype(np.int64), x[:0], np.arange(0), ("left", "right"), truth=False)
"""


def test_a_data_set_and_a_noise_of_one_s_own_are_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from noisygce.noise import Uniform

    (tmp_path / "shells.py").write_text(SHELLS)
    monkeypatch.syspath_prepend(tmp_path)
    Shells = importlib.import_module("shells").Shells
    np.save("shells.npy", np.random.default_rng(0).integers(0, 200, (60, 8, 8, 3), dtype=np.uint8))
    small = {"schedule.epochs": 2, "schedule.milestones": []}
    run = noisygce.run(data=Shells("shells.npy"), noise=Uniform(0.1, None, False, False), model="linear", **small)
    config = run.manifest["config"]
    assert ([*config["contents"]], [*config["code"]], config["rate"]) == (["data.file"], ["shells"], 0.1)
    assert config["data"]["name"] == "shells"
    assert run.results["val"] is None
    assert run.manifest["noisy_validation"]["best"] is not None


@pytest.mark.parametrize("late", ["data", "weights"])
def test_files_that_change_between_the_id_and_the_training_are_refused(
    late: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from noisygce import models, train
    from noisygce.data import Digits

    content = {"data": "a", "weights": "a"}
    monkeypatch.setattr(Digits, "contents", lambda *_: {"file": 16 * content["data"]})
    monkeypatch.setattr(models.ConvNet, "contents", lambda *_: {"weights": 16 * content["weights"]})
    made = train.training_of

    def changing(*arguments: Any) -> Any:
        content[late] = "b"
        return made(*arguments)

    monkeypatch.setattr(train, "training_of", changing)
    with pytest.raises(DataError, match=r"^(data.file|model.weights)=.* has changed since"):
        noisygce.run(*WORDS, data="digits")
    monkeypatch.setattr(train, "training_of", made)
    assert not [*tmp_path.glob("results/runs/*/manifest.json")]
    noisygce.run(*WORDS, data="digits")


def test_an_allowance_of_time_counts_from_the_call_in_a_thread_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from noisygce.runs.stops import process

    runtime = SimpleNamespace(stop_after=600.0, whole_runs=True)
    monkeypatch.setattr(process, "started", time.monotonic() - 10_000)
    monkeypatch.setattr(process, "longest_run", 1e6)
    found: list[str] = []

    def call() -> None:
        with process.listening():
            found.append(process.reason_to_stop(runtime))  # type: ignore[arg-type]
        found.append(process.reason_to_stop(runtime))  # type: ignore[arg-type]

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert found == ["", "runtime.stop_after=600s"]
    with process.listening():
        assert not process.reason_to_stop(runtime)  # type: ignore[arg-type]
        assert not process.reason_not_to_start(runtime)  # type: ignore[arg-type]


def test_ctrl_c_is_a_keyboard_interrupt_where_asyncio_has_the_signal_too() -> None:
    from noisygce.runs.stops import process

    async def call() -> None:
        with process.listening():
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(call())


def test_a_run_is_found_when_the_program_has_changed_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = noisygce.grid(*WORDS, data="digits", seed=[0], **{"paths.results": "moved"})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert len(found[0].predictions)
    assert found[0].model().classes
    assert found.frame["state"].tolist() == ["done"]
