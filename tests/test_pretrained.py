"""ResNets that start from weights trained elsewhere: torchvision's, or a file's; in these tests a file made here."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_reliability import run_folder, train
from PIL import Image
from safetensors.torch import save_file
from torchvision.models import ResNet18_Weights, ResNet34_Weights, resnet18, resnet34

from noisygce import models, results, runs, settings
from noisygce.check import Invalid
from noisygce.errors import DataError
from noisygce.models import ResNet, pretrained
from noisygce.models.pool import MaxPool3
from noisygce.runs import artifacts

SHAPE = (70, 65, 3)


@pytest.fixture(scope="module")
def theirs() -> torch.nn.Module:
    """torchvision's ResNet-18 with statistics of batch norm as a trained one has."""
    network = resnet18().train()
    with torch.no_grad():
        network(torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    return network.eval()


@pytest.fixture(scope="module")
def file(theirs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "mine.pth"
    torch.save(theirs.state_dict(), path)
    return path


def of(weights: object, frozen: bool = False, depth: int = 18) -> ResNet:
    return ResNet(depth, "he_normal", str(weights), frozen)


def test_our_table_of_files_is_torchvision_s() -> None:
    for depth, their in ((18, ResNet18_Weights), (34, ResNet34_Weights)):
        assert {name: f"{pretrained.ADDRESS}{file}" for name, file in pretrained.FILES[depth].items()} == {
            weights.name: weights.url for weights in their
        }


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_network_is_torchvision_s_with_another_head(theirs, file: Path, suffix: str, tmp_path: Path) -> None:
    if suffix == ".safetensors":
        file = tmp_path / "mine.safetensors"
        save_file(theirs.state_dict(), file)
    ours = of(file).build(SHAPE, 7, 0)
    head = ours.fc
    assert head.weight.shape == (7, 512)
    images = torch.randn(3, 3, 70, 65, generator=torch.Generator().manual_seed(1))
    before, theirs_fc = theirs.fc, torch.nn.Linear(512, 7)
    theirs_fc.load_state_dict(head.state_dict())
    theirs.fc = theirs_fc
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images), theirs(images), rtol=1e-4, atol=1e-4)
    theirs.fc = before
    other = of(file).build(SHAPE, 7, 1)
    assert torch.equal(other.conv1.weight, ours.conv1.weight)
    assert not torch.equal(other.fc.weight, head.weight), "the head is drawn from the seed"


def test_depth_34_fits_too(tmp_path: Path) -> None:
    torch.save(resnet34().state_dict(), tmp_path / "b.pth")
    of(tmp_path / "b.pth", depth=34).build((64, 64, 3), 5, 0)
    with pytest.raises(DataError, match=r"does not fit this network: "):
        of(tmp_path / "b.pth").build((64, 64, 3), 5, 0)


def test_frozen_weights_and_statistics_stay_and_the_head_learns(file: Path) -> None:
    network = of(file, frozen=True).build((40, 40, 3), 10, 0).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    images = torch.randn(4, 3, 40, 40, generator=torch.Generator().manual_seed(2))
    network(images).square().sum().backward()
    with torch.no_grad():
        for p in network.parameters():
            if p.grad is not None:
                p -= p.grad
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"fc.weight", "fc.bias"}


def test_a_folder_of_pictures_trains_from_weights_and_the_kept_model_needs_them_no_more(
    theirs, file: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for name, level in (("dark", 60), ("bright", 190)):
        (tmp_path / "mine" / "train" / name).mkdir(parents=True)
        for i in range(8):
            pixels = rng.normal(level, 20, (50, 40, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "mine" / "train" / name / f"{i}.png")
    weights = tmp_path / "w.pth"
    weights.write_bytes(file.read_bytes())
    code, text = train(
        *(tmp_path, "data=folder", "data.folder=mine", "noise=clean", "data.size=40", "data.validation=4"),
        *("model=resnet18", f"model.weights={weights}", "model.frozen=true", "precision=fp32", "schedule.epochs=3"),
        *("schedule.milestones=[]", "schedule.batch_size=4", "schedule.lr=0.01", "runtime.threads=1"),
    )
    assert code == 0, text
    weights.unlink()
    run = run_folder(tmp_path)
    network, preprocess, classes = models.load(run)
    assert torch.equal(network.layer3[0].conv1.weight, theirs.layer3[0].conv1.weight)
    found = artifacts.predictions(run, results.of_folder(run).manifest)
    with torch.no_grad():
        p = network(preprocess([tmp_path / "mine" / name for name in found.name])).softmax(1).numpy()
    assert classes == ("bright", "dark")
    assert np.abs(p - found.p).max() < 1e-3


def test_the_digest_of_the_weights_and_not_their_path_is_in_the_id(file: Path, tmp_path: Path) -> None:
    def id_of(*words: str) -> str:
        cfg = settings.compose(["data=digits", "model=resnet18", *words])
        return runs.run_id(runs.identity(settings.resolved(cfg)))

    first = id_of(f"model.weights={file}")
    copy = tmp_path / "copy.pth"
    copy.write_bytes(file.read_bytes())
    assert id_of(f"model.weights={copy}") == first
    torch.save(resnet18().state_dict(), copy)
    assert id_of(f"model.weights={copy}") != first
    assert (
        len({first, id_of(), id_of("model.weights=IMAGENET1K_V1"), id_of(f"model.weights={file}", "model.frozen=true")})
        == 4
    )
    run_config = runs.identity(settings.resolved(settings.compose(["model=resnet18", "model.weights=IMAGENET1K_V1"])))
    assert run_config["contents"] == {"model.weights": "f37072fd"}


def test_weights_that_are_not_there_give_no_id(tmp_path: Path) -> None:
    cfg = settings.compose(["data=digits", "model=resnet18", f"model.weights={tmp_path}/none.pth"])
    with pytest.raises(DataError, match=r"none\.pth: there is no such file; torchvision's are named IMAGENET1K_V1"):
        runs.identity(settings.resolved(cfg))


def test_what_cannot_be_loaded_is_told_in_one_line(file: Path, tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("not weights")
    torch.save([1, 2], tmp_path / "list.pth")
    less = torch.load(file, weights_only=True)
    del less["layer1.0.conv1.weight"]
    torch.save(less, tmp_path / "less.pth")
    for weights, says in {
        "IMAGENET1K_V9": "there is no such file; torchvision's are named IMAGENET1K_V1",
        tmp_path / "text.pth": "is not a file of weights",
        tmp_path / "list.pth": "it holds other than tensors by name",
        tmp_path / "less.pth": r"layer1\.0\.conv1\.weight is missing",
    }.items():
        with pytest.raises(DataError, match=says) as told:
            of(weights).build(SHAPE, 7, 0)
        assert "\n" not in str(told.value)
    with pytest.raises(DataError, match=r"conv1\.weight is \(64, 3, 7, 7\), not \(64, 1, 7, 7\)"):
        of(file).build((64, 64, 1), 7, 0)
    with pytest.raises(Invalid, match="frozen must be false where"):
        ResNet(18, "he_normal", None, True)


def test_without_a_network_one_line_says_where_the_file_belongs(file: Path, tmp_path: Path, monkeypatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "create_connection", no_network)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(DataError) as told:
        of("IMAGENET1K_V1").build(SHAPE, 7, 0)
    text = str(told.value)
    assert "\n" not in text
    for part in ("resnet18-f37072fd.pth is not in", str(tmp_path), "no network in this test", "model.weights=FILE"):
        assert part in text
    (tmp_path / "checkpoints" / "resnet18-f37072fd.pth").write_bytes(file.read_bytes())
    with pytest.raises(DataError, match="its SHA-256 does not begin with f37072fd"):
        of("IMAGENET1K_V1").build(SHAPE, 7, 0)


def test_the_pool_of_slices_is_torch_s_max_pool() -> None:
    for height, width in ((9, 12), (8, 7)):
        x = torch.randn(2, 5, height, width, generator=torch.Generator().manual_seed(0)).requires_grad_()
        plain, sliced = MaxPool3()(x), MaxPool3().of_slices(x)
        assert torch.equal(plain, sliced)
        assert torch.equal(*(torch.autograd.grad(y.square().sum(), x)[0] for y in (plain, sliced)))
