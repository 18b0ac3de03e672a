"""A run goes on from any step as if it had never stopped, whatever the loss keeps in memory."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from helpers_reliability import call

CASES = [
    *(
        pytest.param((loss,), marks=pytest.mark.slow, id=loss)
        for loss in ("loss=ce", "loss=mae", "loss=gce", "loss=gjs", "loss=jocor", "loss=forward", "loss=sce")
    ),
    pytest.param(("loss=elr", "data.flip=true"), id="loss=elr, mirrored"),
    pytest.param(("loss=co_teaching_plus", "loss.gradual=3", "loss.warm_up=2"), id="loss=co_teaching_plus"),
    pytest.param(("loss=mixup",), id="loss=mixup"),
    pytest.param(("loss=elr_plus", "loss.gamma=0.9", "loss.ramp=8"), id="loss=elr_plus"),
    pytest.param(("loss=sop",), id="loss=sop"),
    pytest.param(("loss=volminnet", "schedule.ema=0.9"), id="loss=volminnet, ema"),
    pytest.param(("loss=tgce", "loss.k=0.15", "prune.mode=drop"), id="drop"),
    pytest.param(("loss=tgce", "loss.k=0.15", "prune.mode=mask"), id="mask"),
]
RUN = (
    "data=digits",
    "schedule.batch_size=256",
    "schedule.epochs=4",
    "prune.start=1",
    "prune.every=1",
    "data.padding=1",
)


def _training(overrides: tuple[str, ...]) -> Any:
    from noisygce import settings
    from noisygce.runs.begin import training_of
    from noisygce.training import device

    e = settings.read(settings.compose([*RUN, *overrides, "runtime.threads=1"]))
    return training_of(e, device.prepare("cpu", 1))


def _equal_from_each(folder: Path, overrides: tuple[str, ...], every: int) -> None:
    """Saves after each step through a real checkpoint, goes on from some in a fresh training, compares the end.

    The last step of an epoch comes before its evaluation and pruning, the first one after.
    """
    import dataclasses

    from noisygce.runs import checkpoint
    from noisygce.training.fit import Progress, digest, fit

    saved: list[dict[str, Any]] = []

    def save(training: Any, _: int) -> None:
        tensors = {name: tensor.clone() for name, tensor in training.tensors().items()}
        at = copy.deepcopy(dataclasses.asdict(training.progress))
        checkpoint.write(folder, {"run_id": "x", "tensors": tensors, "progress": at, "seconds": 0.0, "made": []})
        saved.append(checkpoint.read(folder, "x")[0] or {})

    whole = _training(overrides)
    rows = list(fit(whole, save))
    assert len(rows) == 4
    assert len(saved) >= 10
    if "loss=tgce" in overrides:
        assert any(row["kept"] < 1350 for row in rows)
    last = {c["progress"]["epoch"]: i for i, c in enumerate(saved)}.values()
    for content in [c for i, c in enumerate(saved) if i % every == 0 or i in last]:
        again = _training(overrides)
        again.load(content["tensors"], Progress(**content["progress"]))
        for _ in fit(again, lambda *_: None):
            pass
        assert again.progress.rows == rows, content["progress"]
        assert again.progress.prunings == whole.progress.prunings
        assert digest(again.tensors()) == digest(whole.tensors()), content["progress"]


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)], ids=["epochs", "every step"])
@pytest.mark.parametrize("overrides", CASES)
def test_a_run_that_goes_on_from_any_step_ends_with_the_same_bits(
    tmp_path: Path, overrides: tuple[str, ...], every: int
) -> None:
    call(_equal_from_each, tmp_path, overrides, every)
