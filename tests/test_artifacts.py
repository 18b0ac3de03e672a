"""What a run keeps beside its numbers: model and predictions, whole or not at all, and no part of the result."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_reliability import SMALL, Command, run_folder, train, trained
from PIL import Image

from noisygce import models, results, runs, settings, verify
from noisygce.errors import DataError
from noisygce.runs import artifacts
from noisygce.runs.manifest import _reported
from noisygce.sweep.jobs import expand
from noisygce.training import detection
from noisygce.training.fit import fit
from noisygce.training.predictions import detect, predict


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    return trained(folder, *SMALL)


def manifest(folder: Path) -> dict:
    found = results.of_folder(folder)
    assert found.state == "done", found.note
    return dict(found.manifest)


def test_predictions_are_of_every_sample_and_by_the_best_model(make) -> None:
    t = make(
        "loss=tgce", "loss.k=0.08", "schedule.epochs=8", "schedule.milestones=[]", "prune.start=4", "prune.every=2"
    )
    for _ in fit(t, lambda *_: None):
        pass
    before = {name: tensor.clone() for name, tensor in t.tensors().items()}
    found = predict(t)
    detect(t, found)
    assert all(torch.equal(before[name], tensor) for name, tensor in t.tensors().items())
    splits = {"train": t.task.train, "validation": t.task.validation, "test": t.task.test}
    for split, index in splits.items():
        assert np.array_equal(found.index[found.split == split], np.sort(index))
    said = found.p[found.split == "validation"].argmax(1)
    given = found.given[found.split == "validation"]
    assert (said == given).mean() == pytest.approx(t.progress.best_accuracy)
    pruned = np.sort(found.index[~found.kept])
    assert np.array_equal(pruned, np.flatnonzero(~t.step.kept.numpy()))
    assert len(pruned) > 0


def test_the_measures_are_those_of_a_calculation_by_hand(make) -> None:
    t = make(
        "loss=tgce", "loss.k=0.08", "schedule.epochs=8", "schedule.milestones=[]", "prune.start=4", "prune.every=2"
    )
    for _ in fit(t, lambda *_: None):
        pass
    found = predict(t)
    measured = detect(t, found)
    mine = found.split == "train"
    own = found.p[mine, found.given[mine]]
    wrong = found.given[mine] != t.task.clean[found.index[mine]]
    pairs = own[wrong][:, None] - own[~wrong][None, :]
    assert measured["best"]["self_confidence"]["auroc"] == pytest.approx(((pairs < 0) + (pairs == 0) / 2).mean())
    assert measured["pruned"] == {k: t.progress.prunings[-1][k] for k in ("precision", "recall")}
    assert measured["last"] != measured["best"]


def test_where_truth_is_unknown_detection_is_null(make) -> None:
    t = make()
    t.task = dataclasses.replace(t.task, arrays=dataclasses.replace(t.task.arrays, truth=False))
    measured = detect(t, predict(t))
    nothing = {name: {"auroc": None, "ap": None} for name in detection.SCORES}
    assert measured == {"best": nothing, "last": nothing, "pruned": {"precision": None, "recall": None}}


def test_the_manifest_vouches_for_what_is_kept(finished: Path) -> None:
    files = manifest(finished)["files"]
    assert set(files) == set(artifacts.FILES)
    assert all((finished / name).stat().st_size == files[name]["bytes"] for name in files)
    assert list(artifacts.faults(finished, manifest(finished))) == []


def test_the_model_says_again_what_the_predictions_hold(finished: Path, tmp_path: Path) -> None:
    alone = tmp_path / "elsewhere.safetensors"  # without manifest, config or data set beside it
    alone.write_bytes((finished / models.saved.FILE).read_bytes())
    network, preprocess, classes = models.load(alone)
    found = artifacts.predictions(finished, manifest(finished))
    assert classes == found.classes == tuple("0123456789")
    assert not network.training
    assert not network(preprocess(np.zeros((1, 8, 8, 1), dtype=np.uint8))).requires_grad
    e = settings.read(settings.compose(["data=digits"]))
    images = e.data.load(e.paths.data).train_images
    with torch.no_grad():
        p = network(preprocess(images)).softmax(1).numpy()
    assert np.abs(p - found.p[found.split != "test"]).max() < 1e-3  # float16 has 11 bits
    measured = manifest(finished)["detection"]["best"]["margin"]["auroc"]
    mine = found.split == "train"
    noise = e.noise.draw(e.data.load(e.paths.data).train_labels, images, classes, 0)
    assert np.array_equal(noise[found.index[mine]], found.given[mine])
    wrong = found.given[mine] != e.data.load(e.paths.data).train_labels[found.index[mine]]
    assert detection.auroc(found.margin_log_odds[mine], wrong) == measured


def test_a_folder_of_runs_is_no_run_and_one_file_is_one_picture(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"is a folder of runs; name one of them, such as .*{finished.name}"):
        models.load(finished.parent)
    preprocess = models.load(finished).preprocess
    path = tmp_path / "one.png"
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(path)
    assert preprocess(path).equal(preprocess([path]))
    assert preprocess(str(path)).equal(preprocess([path]))


def test_a_sure_model_still_ranks_and_says_what_it_said(make, tmp_path: Path) -> None:
    t = make()
    for tensor in t.best.values():
        if tensor.is_floating_point() and tensor.dim() > 1:
            tensor.mul_(10)
    run = runs.Run(tmp_path, runs.identity(settings.resolved(settings.compose(["data=digits", "model.width=4"]))))
    run.folder.mkdir(parents=True)
    said = artifacts.write(run, t, settings.read(settings.compose(["data=digits"])).runtime)
    found, exact = artifacts.predictions(run.folder, said), predict(t)
    assert np.array_equal(found.predicted, exact.p.argmax(1))
    assert (found.predicted != found.p.argmax(1)).any() or len(np.unique(found.p.max(1))) < len(found.p)
    p = found.p.astype(float)
    margin = p[np.arange(len(p)), found.given] - detection.rival(p, found.given)[1]
    lost = margin == -1
    assert lost.sum() > 100, "p alone would tie them"
    assert len(np.unique(found.margin_log_odds[lost])) > 0.95 * lost.sum()


@pytest.mark.parametrize("normalise", ["channel", "pixel_mean"])
@pytest.mark.parametrize("padding", [0, 2])
def test_pictures_become_what_evaluation_had(make, normalise: str, padding: int, tmp_path: Path) -> None:
    t = make(f"data.normalise={normalise}", f"data.padding={padding}")
    run = runs.Run(tmp_path, runs.identity(settings.resolved(settings.compose(["data=digits", "model.width=4"]))))
    run.folder.mkdir(parents=True)
    runtime = settings.read(settings.compose(["data=digits"])).runtime
    artifacts.write(run, t, runtime)
    _, preprocess, _ = models.load(run.folder)
    index = torch.arange(50)
    assert torch.equal(preprocess(t.task.arrays.train_images[:50]), t.images.plain(index))


def test_what_is_kept_changes_neither_the_id_nor_a_number(finished: Path, tmp_path: Path) -> None:
    other = trained(tmp_path, *SMALL, "runtime.keep_model=none", "runtime.keep_predictions=false")
    assert other.name == finished.name
    assert (other / "metrics.csv").read_bytes() == (finished / "metrics.csv").read_bytes()
    assert manifest(other)["state_sha256"] == manifest(finished)["state_sha256"]
    assert manifest(other)["detection"] == manifest(finished)["detection"]
    assert manifest(other)["files"] == {}
    assert not {path.name for path in other.iterdir()} & set(artifacts.FILES)
    for ask in (models.load, lambda folder: artifacts.predictions(folder, manifest(folder))):
        with pytest.raises(DataError, match="reproduce"):
            ask(other)


@pytest.mark.parametrize("name", artifacts.FILES)
def test_killed_while_keeping_nothing_half_written_counts(name: str, tmp_path: Path) -> None:
    """Killed when a file has just been put in its place, and when it was only half written."""
    tiny = ("data=digits", "data.subset=200", "schedule.epochs=2", "schedule.milestones=[]", "runtime.threads=1")
    models_kept = []
    for cut in ("after", "within"):
        folder = tmp_path / cut
        assert Command(folder, *tiny, before=_die_at(name, cut)).wait() == -9
        run = run_folder(folder)
        assert not (run / "manifest.json").exists()
        with pytest.raises(DataError):
            artifacts.predictions(run, {})
        assert (run / name).exists() == (cut == "after")
        code, text = train(folder, *tiny, "runtime.keep_predictions=false")
        assert code == 0, text
        assert list(artifacts.faults(run, manifest(run))) == []
        assert set(manifest(run)["files"]) == {models.saved.FILE}
        assert not (run / artifacts.PREDICTIONS).exists(), "what the manifest does not vouch for is not left lying"
        assert not list(run.glob("*.tmp"))
        models_kept.append((run / models.saved.FILE).read_bytes())
    assert models_kept[0] == models_kept[1]


class _die_at:
    """Before a command: the process is to kill itself when the file ``name`` is written."""

    def __init__(self, name: str, cut: str) -> None:
        self.name, self.cut = name, cut

    def __call__(self) -> None:
        from noisygce.runs import atomic

        whole = atomic.write

        def write(path, parts, *rest, **more):
            if path.name != self.name:
                return whole(path, parts, *rest, **more)
            if self.cut == "within":
                content = b"".join(parts)
                path.with_name(f"{path.name}.{os.getpid()}.tmp").write_bytes(content[: len(content) // 2])
            else:
                whole(path, parts, *rest, **more)
            os.kill(os.getpid(), 9)

        atomic.write = write


@pytest.mark.parametrize("name", artifacts.FILES)
def test_a_changed_file_is_told(name: str, finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "results" / "runs" / finished.name
    run.mkdir(parents=True)
    for path in finished.iterdir():
        (run / path.name).write_bytes(path.read_bytes())
    content = bytearray((run / name).read_bytes())
    content[-20] ^= 1
    (run / name).write_bytes(content)
    command = Command(tmp_path, "results", module="verify")
    assert command.wait() == 1
    assert f"{name} is damaged or was changed" in command.text()
    with pytest.raises(DataError, match="is damaged or was changed"):
        models.load(run) if name == models.saved.FILE else artifacts.predictions(run, manifest(run))
    (run / name).unlink()
    command = Command(tmp_path, "results", module="verify")
    assert command.wait() == 0, "files may be deleted to make room"


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"\xff" * 100, b"\2\0\0\0\0\0\0\0{}"])
def test_a_file_that_is_no_model_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a model kept by a run"):
        models.load(path)


@pytest.mark.parametrize("target", ["os.system", "noisygce.losses.CE", "nowhere.Net", "", None])
def test_a_model_of_unknown_origin_cannot_name_other_code(target: str | None, tmp_path: Path) -> None:
    preprocess = models.Preprocess((8, 8, 1), torch.zeros(1), torch.ones(1))
    path = tmp_path / "model.safetensors"
    path.write_bytes(models.saved.packed({}, preprocess, ["a", "b"], {"seed": 0, "model": {"_target_": target}}))
    with pytest.raises(DataError, match="its network cannot be made here"):
        models.load(path)


def test_names_that_are_texts_are_read_again() -> None:
    names = np.array(["a" * 12_000, *(f"sample {i}" for i in range(6_000))])
    packed = io.BytesIO()
    np.savez_compressed(packed, name=names, index=np.arange(len(names)))
    assert names.nbytes > 2**28
    artifacts._refuse_bomb(packed.getvalue())
    packed = io.BytesIO()
    np.savez_compressed(packed, name=names[1:], index=np.zeros(2**26, np.int64))
    with pytest.raises(ValueError, match="unpack to"):
        artifacts._refuse_bomb(packed.getvalue())


def test_what_a_loss_says_of_itself_never_loses_a_run() -> None:
    told = {
        "rate": math.nan,
        "t": torch.eye(2),
        "n": np.int64(3),
        "results": 1,
        "which": {"a": (1, object)},
        "of": None,
    }
    said = _reported(told)
    assert json.loads(json.dumps(said, allow_nan=False))["t"] == [[1, 0], [0, 1]]
    assert (said["rate"], said["n"], said["loss_results"], said["of"]) == (None, 3, 1, None)
    assert "results" not in said


def test_big_experiments_keep_no_models_unless_asked() -> None:
    for path in sorted((settings.config_dir() / "experiment").glob("*.yaml")):
        cfg = settings.compose([f"experiment={path.stem}"])
        big = len(expand([], cfg.get("grid"))) > 20
        assert settings.read(cfg).runtime.keep_model == ("none" if big else "best"), path.stem
    both = settings.compose(["experiment=demo", "runtime.keep_model=best"])
    assert settings.read(both).runtime.keep_model == "best"


def test_verify_measures_detection_again(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / finished.name
    shutil.copytree(finished, run)
    verifier = verify.Verifier(tmp_path)
    assert verifier.faults(results.of_folder(run)) == ([], [])
    path = run / "manifest.json"
    text = json.loads(path.read_text())
    text["detection"]["best"]["margin"]["auroc"] += 1e-6
    text["detection"]["pruned"]["recall"] = 0.5
    path.write_text(json.dumps(text))
    wrong, unchecked = verifier.faults(results.of_folder(run))
    assert [fault.split(" is ")[0] for fault in wrong] == ["detection.best.margin.auroc", "detection.pruned.recall"]
    assert unchecked == []
