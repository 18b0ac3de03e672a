"""Networks of timm train as those of noisygce do."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from noisygce import models, runs, settings
from noisygce.errors import ConfigError, DataError, UserCodeError
from noisygce.models import Timm

timm = pytest.importorskip("timm")
SHAPE = (32, 32, 3)
NAME = "test_resnet"  # a small one, which timm has for tests


def same(one: torch.nn.Module, other: torch.nn.Module, but: str = "nothing") -> bool:
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(t, states[1][name]) for name, t in states[0].items() if but not in name)


def test_initial_weights_are_a_function_of_the_seed_alone() -> None:
    before = torch.get_rng_state()
    first = Timm(NAME, None).build(SHAPE, 10, 0)
    torch.rand(3)
    assert same(first, Timm(NAME, None).build(SHAPE, 10, 0))
    assert not same(first, Timm(NAME, None).build(SHAPE, 10, 1))
    torch.set_rng_state(before)
    assert first(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_a_transformer_takes_the_size_of_the_images() -> None:
    assert Timm("test_vit", None).build((48, 48, 1), 4, 0)(torch.zeros(2, 1, 48, 48)).shape == (2, 4)


def test_weights_of_a_file_are_all_but_the_head(tmp_path: Path) -> None:
    trained = timm.create_model(NAME, num_classes=7)
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    model = Timm(NAME, str(tmp_path / "w.safetensors"))
    built = model.build(SHAPE, 10, 0)
    head = trained.default_cfg["classifier"]
    names = [name for name in trained.state_dict() if not name.startswith(head)]
    assert len(names) > 10
    assert all(torch.equal(built.state_dict()[name], trained.state_dict()[name]) for name in names)
    assert built(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    other = Timm("test_vit", str(tmp_path / "w.safetensors"))
    with pytest.raises(DataError, match="does not fit this network: "):
        other.build(SHAPE, 10, 0)


def test_the_digest_of_the_weights_is_in_the_id(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_file(timm.create_model(NAME).state_dict(), file)
    words = ["data=digits", "model=timm", f"model.name={NAME}", "noise=clean"]

    def run_id(*more: str) -> str:
        return runs.run_id(runs.identity(settings.resolved(settings.compose([*words, *more]))))

    moved = file.rename(tmp_path / "moved.safetensors")
    with pytest.raises(DataError, match="there is no such file"):
        run_id(f"model.weights={file}")
    first = run_id(f"model.weights={moved}")
    assert first != run_id()
    assert first == run_id(f"model.weights={moved.rename(file)}")
    assert f"-{NAME}-" in first


def test_the_version_of_timm_is_in_the_id(monkeypatch: pytest.MonkeyPatch) -> None:
    def identity(*words: str) -> dict[str, Any]:
        return runs.identity(settings.resolved(settings.compose(["data=digits", "noise=clean", *words])))

    words = ["model=timm", f"model.name={NAME}"]
    here = identity(*words)
    assert here["contents"] == {"model.timm": timm.__version__}
    monkeypatch.setattr(models.timm, "version", lambda _: "0.9")
    there = identity(*words)
    assert runs.run_id(here) != runs.run_id(there)
    assert {**there, "contents": here["contents"]} == here
    assert "contents" not in identity("model=resnet8")

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(models.timm, "version", missing)
    with pytest.raises(ConfigError, match=r"needs timm .*install"):
        identity(*words)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("test_resnett", ConfigError, "model.name=test_resnett: timm .* has no such network"),
        ("test_res", ConfigError, "has no such network, such as test_resnet"),
    ],
)
def test_a_name_that_timm_does_not_have_is_refused(name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Timm(name, None).build(SHAPE, 10, 0)


def test_a_network_that_draws_at_random_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *_, **values: create("test_vit", drop_path_rate=0.5, **values))
    with pytest.raises(UserCodeError, match="draws random numbers of its own"):
        Timm("test_vit", None).build(SHAPE, 10, 0)
