"""Images that stay in host memory, since they do not fit on the device: training and predictions have the same bits."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SMALL
from test_capture import DEVICES, experiment, trained

from noisygce import settings
from noisygce.data import Preprocessing
from noisygce.runs.begin import training_of
from noisygce.training import evaluate, hardware
from noisygce.training.fit import digest, fit
from noisygce.training.images import Images
from noisygce.training.predictions import predict

KINDS = {
    "pruned": [],
    "two views": ["loss=gjs"],
    "teachers, mixed": ["loss=elr_plus"],
    "mixed, turned": ["loss=mixup", "data.rotation=10", "data.cutout=3"],
    "pixel mean": ["loss=ce", "data.normalise=pixel_mean"],
    "randaugment": ["loss=ce", "data.randaugment=[2,9]", "data.normalise=channel"],
    "as they are": ["loss=ce", "data.padding=0", "data.flip=false"],
}


@pytest.fixture
def too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """No image fits on the device. Evaluation has full batches, which a graph replays."""
    monkeypatch.setattr(hardware, "memory", lambda _: 0)
    monkeypatch.setattr(evaluate, "BATCH", 50)


def resident(at: str, *words: str, graph: bool = False) -> tuple[str, list[dict[str, Any]]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "BATCH", 50)
        patch.setattr(hardware, "memory", lambda _: 2**40)
        return trained(experiment(at, graph, *words), at)


@pytest.mark.usefixtures("too_small")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", DEVICES)
def test_training_has_the_bits_of_images_on_the_device(at: str, kind: str) -> None:
    words = ["schedule.epochs=6", *KINDS[kind]]
    assert training_of(experiment(at, False, *words), at).images.on_host
    assert trained(experiment(at, at != "cpu", *words), at) == resident(at, *words)


@pytest.mark.usefixtures("too_small")
@pytest.mark.parametrize("kind", ["pruned", "mixed, turned"])
def test_what_surrounds_a_graph_changes_nothing(as_on_a_gpu: list[Any], kind: str) -> None:
    captured = trained(experiment("cpu", False, *KINDS[kind]), "cpu")
    assert len(as_on_a_gpu) > 40
    assert captured == resident("cpu", *KINDS[kind])


@pytest.mark.usefixtures("too_small")
def test_training_goes_on_from_the_middle_of_an_epoch_wherever_its_images_lie() -> None:
    assert trained(experiment("cpu", False), "cpu", stop=13) == resident("cpu")


@pytest.mark.parametrize("normalise", ["standard", "none"])
def test_vectors_and_predictions_have_the_same_bits(tmp_path: Path, normalise: str) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "X.npy", rng.normal(5, 3, (120, 7)))
    np.save(tmp_path / "y.npy", np.arange(120) % 3)
    words = ["data=features", "data.features=X.npy", "data.labels=y.npy", f"paths.data={tmp_path}", "loss=elr"]
    e = settings.read(settings.compose([*words, f"data.normalise={normalise}", "schedule.epochs=2"]))
    found = []
    for on_host in (False, True):
        t = training_of(dataclasses.replace(e), "cpu", on_host)
        rows = list(fit(t, lambda *_: None))
        found.append((digest(t.tensors()), rows, predict(t).p.tobytes()))
    assert found[0] == found[1]


def test_images_stay_on_the_host_where_they_take_more_than_half_of_the_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    images = np.zeros((5, 6, 8, 3), dtype=np.uint8)
    size = 5 * (6 + 4) * (8 + 4) * 3  # padded by 2
    how = Preprocessing("channel", [0.5], [0.5], 2, True, 0, None, 0)
    for memory, on_host in ((2 * size, False), (2 * size - 1, True)):
        monkeypatch.setattr(hardware, "memory", lambda _, memory=memory: memory)
        made = Images(images, how, images, "cpu")
        assert made.on_host == on_host == ("5 images of 0.0 GB stay in host memory" in caplog.text)
    assert made.pixels.data_ptr() == images.ctypes.data  # no copy


def test_a_step_of_images_on_the_host_can_be_recorded() -> None:
    """On the meta device, that of the images of a batch and no other memory is read: the rest would meet the host."""
    e = settings.read(settings.compose([*SMALL, "loss=ce"]))
    t = training_of(e, "cpu", on_host=True)
    draw = t.images.fetched(t.batches()[0])
    assert draw.rows is None
    images = training_of(e, "meta", on_host=True).images
    meta = dataclasses.replace(draw, **{name: getattr(draw, name).to("meta") for name in draw.names()})
    assert images.crop(meta).device == torch.device("meta")
