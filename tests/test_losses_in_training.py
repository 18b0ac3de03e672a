"""What a loss may ask of training: state per sample, two views, mixed images, another run's estimate of T."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from noisygce import losses, results, runs, settings, train, verify
from noisygce.errors import ManifestError, Stopped
from noisygce.runs import checkpoint
from noisygce.runs.begin import training_of
from noisygce.runs.stops import process
from noisygce.training import estimates, fit
from noisygce.training.fit import Training
from noisygce.training.images import BatchSpec, Images
from noisygce.training.loader import Loader

SMALL = ["data=digits", "data.subset=300", "schedule.epochs=3", "runtime.threads=1", "runtime.device=cpu"]
AUGMENTED = ["data.padding=1", "data.flip=true"]


def training(*overrides: str) -> Training:
    return training_of(settings.read(settings.compose([*SMALL, *overrides])), "cpu")


def test_elr_targets_are_in_the_state_and_estimating_the_time_leaves_them_alone() -> None:
    t = training("loss=elr")
    assert t.tensors()["loss.targets"].shape == (1500, 10)
    t.estimate()
    assert not t.tensors()["loss.targets"].any()
    list(fit.fit(t, lambda *_: None))
    trained_on = t.tensors()["loss.targets"].sum(1) > 0
    assert trained_on[t.train].all()
    assert trained_on.sum() == len(t.train)


def test_the_first_view_is_the_one_there_would_be_alone_and_the_second_is_another() -> None:
    e = settings.read(settings.compose([*SMALL, *AUGMENTED]))
    arrays = e.data.load(Path())
    images = Images(arrays.train_images, e.preprocessing, arrays.train_images, "cpu")
    inside = torch.ones(1500, dtype=torch.bool)
    one, two = (Loader(images, torch.arange(1000), 128, 0, views).epoch(2, inside) for views in (1, 2))
    assert len(one) == len(two) == 8
    for a, b in zip(one, two, strict=True):
        assert (a.index == b.index).all()
        size = len(a.index)
        assert len(b.top) == 2 * size
        assert (images.crop(b)[:size] == images.crop(a)).all()
        assert (images.crop(b)[size:] != images.crop(a)).any()
    second = torch.cat([draw.top.unflatten(0, (2, -1))[1] for draw in two])
    assert (torch.bincount(second, minlength=3) > 250).all()  # 3 places, about evenly


def test_gjs_trains_on_both_views() -> None:
    t = training("loss=gjs", *AUGMENTED)
    draw = t.batches()[0]
    network = copy.deepcopy(t.network)
    logits = network(t.images.crop(draw))
    expected = losses.GJS(0.5)(logits, t.noisy[draw.index]).item()
    t.step.start_epoch(0)
    t.step(draw)
    assert t.step.loss_sum.item() == pytest.approx(expected, rel=1e-6)
    assert (t.step.predictions[draw.index] == logits[: len(draw.index)].argmax(1)).all()


def mixing(mixup: float, seed: int = 0, batch_size: int = 64, epoch: int = 2) -> list[BatchSpec]:
    e = settings.read(settings.compose([*SMALL, *AUGMENTED]))
    arrays = e.data.load(Path())
    images = Images(arrays.train_images, e.preprocessing, arrays.train_images, "cpu")
    return Loader(images, torch.arange(1000), batch_size, seed, mixup=mixup).epoch(epoch, torch.ones(1500, dtype=bool))  # type: ignore[arg-type]


def test_partners_are_a_permutation_of_the_batch_and_weights_are_one_a_batch() -> None:
    draws = mixing(8.0)
    for draw in draws:
        assert draw.partner is not None
        assert sorted(draw.partner.tolist()) == list(range(len(draw.index)))
        assert not torch.equal(draw.partner, torch.arange(len(draw.index)))
        assert draw.weight is not None
        assert draw.weight.shape == ()
        assert 0 < draw.weight < 1
    assert len({float(draw.weight) for draw in draws if draw.weight is not None}) == len(draws) == 16
    for alone, mixed in zip(mixing(0.0), draws, strict=True):  # all else is as it would be without
        assert alone.partner is alone.weight is None
        assert all(torch.equal(a, b) for a, b in zip(alone.tensors(), mixed.tensors()[:5], strict=True))


def test_partners_and_weights_are_a_function_of_seed_and_epoch() -> None:
    def drawn(*how: Any) -> list[Tensor]:
        return [tensor for draw in mixing(8.0, *how) for tensor in draw.tensors()[5:]]

    first = drawn(0)
    assert all(torch.equal(a, b) for a, b in zip(first, drawn(0), strict=True))
    for other in (drawn(1), drawn(0, 64, 3)):
        assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("augmented", [[], AUGMENTED])
def test_a_step_of_mixup_is_the_one_by_hand(augmented: list[str]) -> None:
    """Mixed images, and cross entropy of the mixed labels."""
    t = training("loss=mixup", *augmented)
    draw = t.batches()[0]
    assert draw.partner is not None
    images = t.images.crop(BatchSpec(*draw.tensors()[:5]))
    network, labels = copy.deepcopy(t.network), F.one_hot(t.noisy[draw.index], 10).float()
    mixed, soft = (draw.weight * x + (1 - draw.weight) * x[draw.partner] for x in (images, labels))  # type: ignore[operator]
    torch.testing.assert_close(t.images.crop(draw), mixed)
    expected = F.cross_entropy(network(mixed), soft)
    expected.backward()
    before = [p.detach().clone() for p in t.network.parameters()]
    t.step.start_epoch(0)
    t.step(draw)
    assert t.step.loss_sum.item() == pytest.approx(expected.item(), rel=1e-6)
    lr, decay = t.schedule.lr, t.schedule.weight_decay
    for old, new, p in zip(before, t.network.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(old - lr * (p.grad + decay * old), new, rtol=1e-5, atol=1e-6)  # type: ignore[operator]


def test_any_loss_can_be_mixed_and_a_pruned_sample_has_weight_0_in_either_place() -> None:
    e = settings.read(settings.compose([*SMALL, *AUGMENTED]))
    t = training_of(dataclasses.replace(e, loss=losses.Mixup(8, losses.GCE(0.7))), "cpu")
    draw = t.batches()[0]
    assert draw.partner is not None
    assert draw.weight is not None
    t.step.kept[draw.index[::2]] = False
    values = losses.GCE(0.7, reduction="none")
    logits, index, partner = copy.deepcopy(t.network)(t.images.crop(draw)), draw.index, draw.index[draw.partner]
    one, other = (values(logits, t.noisy[i]) * t.step.kept[i] for i in (index, partner))
    t.step.start_epoch(0)
    t.step(draw)
    expected = (draw.weight * one + (1 - draw.weight) * other).mean()
    assert t.step.loss_sum.item() == pytest.approx(expected.item(), rel=1e-6)


def test_t_hat_shows_what_the_model_says_of_the_sample_at_the_quantile() -> None:
    t = training("loss=ce")
    list(fit.fit(t, lambda *_: None))
    p = fit.logits_of_best(t).double().softmax(1).numpy()
    for quantile in (0.97, 1.0):
        found = estimates.anchored(p, quantile)
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-12)
        share_above = (p > np.diag(found)).mean(0)
        np.testing.assert_allclose(share_above, 1 - quantile, atol=1 / len(p) + 1e-9)
        assert all((row == p).all(1).any() for row in found)  # each row is what was said of one sample


def _run(tmp_path: Path, *overrides: str) -> tuple[runs.Run, float]:
    cfg = settings.compose([*SMALL, f"paths.results={tmp_path}", *overrides])
    run_config = runs.identity(settings.resolved(cfg))
    accuracy = train.train(settings.read(cfg), run_config)
    return runs.Run(tmp_path, run_config), accuracy


def test_forward_hat_trains_the_ce_run_that_it_needs_and_finds_one_that_is_there(tmp_path: Path) -> None:
    hat, _ = _run(tmp_path, "loss=forward_hat")
    ce, _ = _run(tmp_path, "loss=ce")
    assert len(list((tmp_path / "runs").iterdir())) == 2  # loss=ce found the run that forward_hat had trained
    manifest, hats = hat.manifest(), ce.transition_hat()
    assert manifest is not None
    said = manifest["transition_hat"]
    assert said["run_id"] == ce.id
    assert said["transition"] == hats["q97"]
    exact = training().task.transition
    assert said["error"] == pytest.approx(abs(np.array(hats["q97"]) - exact).sum() / 10)
    assert "transition_hat" not in (ce.manifest() or {})

    before = (ce.folder / "manifest.json").stat().st_mtime_ns
    other, _ = _run(tmp_path, "loss=forward_hat", "loss.anchor=max")
    assert (other.manifest() or {})["transition_hat"]["transition"] == hats["max"]
    assert (ce.folder / "manifest.json").stat().st_mtime_ns == before
    assert not (hat.folder / "transition_hat.json").exists()


def test_a_loss_of_one_s_own_that_starts_from_ce_finds_the_run_of_ce(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_hat.py").write_text("from noisygce.losses import ForwardHat\n\n\nclass Own(ForwardHat): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    own, _ = _run(tmp_path, "loss=forward_hat", "loss._target_=own_hat.Own")
    ce, _ = _run(tmp_path, "loss=ce")
    revised, _ = _run(tmp_path, "loss=t_revision")  # a class of REVISIONS
    assert (revised.manifest() or {})["transition_hat"]["run_id"] == ce.id
    assert "revisions" in revised.identity
    assert "code" in own.identity
    assert (own.manifest() or {})["transition_hat"]["run_id"] == ce.id


def test_forward_hat_goes_on_with_a_ce_run_that_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = _run(tmp_path / "whole", "loss=ce")
    with monkeypatch.context() as patch:
        answers = iter([*[""] * 5, "a test"])
        patch.setattr(process, "reason_to_stop", lambda _: next(answers))
        with pytest.raises(Stopped):
            _run(tmp_path, "loss=ce")
    stopped = runs.Run(tmp_path, whole.identity)
    assert (stopped.folder / checkpoint.LAST).exists()
    _run(tmp_path, "loss=forward_hat")
    assert (stopped.manifest() or {})["state_sha256"] == (whole.manifest() or {})["state_sha256"]
    assert stopped.transition_hat() == whole.transition_hat()


def test_a_ce_run_without_its_estimate_is_said_to_be_so(tmp_path: Path) -> None:
    ce, _ = _run(tmp_path, "loss=ce")
    (ce.folder / "transition_hat.json").unlink()
    with pytest.raises(ManifestError, match=r"transition_hat\.json is missing or damaged; delete its folder"):
        _run(tmp_path, "loss=forward_hat")


def test_an_estimate_that_is_not_the_one_that_was_made_is_told_and_not_trained_from(tmp_path: Path) -> None:
    ce, _ = _run(tmp_path, "loss=ce")
    path, verifier = ce.folder / "transition_hat.json", verify.Verifier(tmp_path)
    hats = json.loads(path.read_text())
    assert hashlib.sha256(path.read_bytes()).hexdigest() == (ce.manifest() or {})["transition_hat_sha256"]
    assert verifier.faults(results.of_folder(ce.folder)) == ([], [])
    hats["q97"][0][0] += 1e-9  # as good a matrix as the one before
    path.write_text(json.dumps(hats) + "\n")
    with pytest.raises(ManifestError, match=r"transition_hat\.json is missing or damaged; delete its folder"):
        _run(tmp_path, "loss=forward_hat")
    (fault,) = verifier.faults(results.of_folder(ce.folder))[0]
    assert fault.startswith("transition_hat_sha256 is ")
    path.unlink()  # as in the reference, which has no such files
    assert verifier.faults(results.of_folder(ce.folder)) == ([], [])


def test_the_manifest_of_a_loss_without_a_source_says_nothing_of_one(tmp_path: Path) -> None:
    run, _ = _run(tmp_path, "loss=gce")
    assert not (run.folder / "transition_hat.json").exists()
    assert (
        not {"transition_hat", "transition_hat_sha256"} & json.loads((run.folder / "manifest.json").read_text()).keys()
    )
