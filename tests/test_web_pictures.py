"""The experiments of Clothing1M and WebVision train on made-up pictures in the layouts of these data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from noisygce import results, runs, settings, train

timm = pytest.importorskip("timm")
SMALL = "test_resnet"  # which timm has for tests
# Two steps of pictures of 32 x 32. The rest is the experiment's.
LESS = ["data.size=32", "data.padding=2", "schedule.epochs=1", "schedule.milestones=[]", "schedule.batch_size=4"]


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 30 + seed % 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def trained(root: Path, *words: str) -> results.Result:
    asked = [*words, *LESS, f"paths.data={root}", f"paths.results={root / 'results'}"]
    cfg = settings.compose([*asked, "runtime.threads=1", "runtime.device=cpu", "precision=fp32"])
    run_config = runs.identity(settings.resolved(cfg))
    train.train(settings.read(cfg), run_config)
    found = results.of_folder(runs.Run(root / "results", run_config).folder)
    assert found.state == "done", found.note
    return found


def experiment(name: str) -> settings.Experiment:
    return settings.read(settings.compose([f"experiment={name}"]))


def test_clothing1m_trains_from_weights_on_the_tables_of_its_lists(tmp_path: Path) -> None:
    """Pictures lie three folders deep; 14 classes are numbers; the lists are text, which awk makes into FILE,LABEL."""
    for part, pictures in (("train", 20), ("test", 14)):
        rows = []
        for i in range(pictures):
            rows.append(f"images/{i % 3}/{i:02}/{part}{i}.jpg,{i % 14}")
            draw(tmp_path / "clothing1m" / rows[-1].partition(",")[0], i)
        (tmp_path / "clothing1m" / f"{part}.csv").write_text("\n".join(rows) + "\n")
    save_file(timm.create_model(SMALL).state_dict(), tmp_path / "w.safetensors")
    weights = f"model.weights={tmp_path / 'w.safetensors'}"
    done = trained(tmp_path, "experiment=clothing1m", "loss=elr", f"model.name={SMALL}", weights, "data.validation=6")
    assert done.id.startswith(f"clothing1m-{SMALL}-clean-0-elr-s0-")
    assert len(done.manifest["noise"]["transition"]) == 14
    assert done.manifest["results"]["val"] is not None
    assert timm.is_model(experiment("clothing1m").model.architecture)


def test_webvision_trains_on_folders_of_classes_and_holds_nothing_out(tmp_path: Path) -> None:
    for part, each in (("train", 4), ("test", 1)):
        for i in range(2 * each):
            draw(tmp_path / "webvision" / part / f"n0{i % 2}" / f"{i}.jpg", i)
    done = trained(tmp_path, "experiment=webvision", "loss=elr", f"model.name={SMALL}")
    assert done.id.startswith(f"webvision-{SMALL}-clean-0-elr-s0-")
    assert done.manifest["results"]["last"] is not None
    assert done.manifest["results"]["val"] is None
    assert timm.is_model(experiment("webvision").model.architecture)
