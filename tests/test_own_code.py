"""Models, noises and losses as people write them: their weights stay, dropout can be repeated, mistakes are told."""

from __future__ import annotations

import copy
import dataclasses
import math
import random
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_reliability import Command, one_line
from torch import nn

from noisygce import construct, losses, models, results, runs, settings
from noisygce.data import Data, Digits
from noisygce.errors import ConfigError, UserCodeError
from noisygce.losses.base import Learned
from noisygce.losses.own import refuse_incomplete
from noisygce.models import Model
from noisygce.noise import Noise
from noisygce.training import dropout
from noisygce.training.bf16 import weight_matrices
from noisygce.training.fit import Progress, Training, digest, fit
from noisygce.training.own_loss import refuse_untrained, repeatable

SHAPE = (8, 8, 1)


def model_of(make_network):
    """A model of one's own whose ``_layers`` is a function of nothing."""

    class Own(Model):
        def _layers(self, shape, classes):
            return make_network()

    return Own()


def dropping() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 3, bias=True), nn.BatchNorm2d(6), nn.GELU(), nn.Dropout2d(0.2), nn.Flatten()),
        *(nn.Linear(216, 20), nn.LayerNorm(20), nn.ReLU(), nn.Dropout(0.5), nn.Linear(20, 10)),
    )


@pytest.fixture
def train_own(make):
    """Makes a small training of a network of one's own."""

    def build(make_network, *overrides: str, seed: int = 0) -> Training:
        e = settings.read(
            settings.compose(
                ["data=digits", "data.subset=200", "schedule.epochs=3", "schedule.batch_size=64", *overrides]
            )
        )
        ready = make(*overrides)
        network = model_of(make_network).build(SHAPE, 10, seed)
        return Training(ready.task, e.preprocessing, network, e.loss, e.schedule, e.pruning, seed, e.precision, "cpu")

    return build


def test_the_id_holds_a_loss_and_what_it_imports_from_beside_it(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "noisygce").mkdir()
    texts = {
        "own_loss": "import torch\nimport own_top\nfrom own_package import near\nfrom noisygce.losses import Loss\n",
        "own_top": "import own_loss\n",  # a circle
        "own_package/__init__": "",
        "own_package/near": "from . import far\nfrom .deeper.end import *\n",
        "own_package/far/__init__": "def broken(",  # Python takes it before far.py
        "own_package/far": "",
        "own_package/deeper/__init__": "",
        "own_package/deeper/end": "from ..far import x\nfrom os import path\n",
        "own_package/other": "",
        "unused": "",
        "noisygce/losses": "",  # a folder of that name is not this package
    }
    for name, text in texts.items():
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    config = {"loss": {"first": {"_target_": "own_loss.Own"}}}
    found = runs.user_code(config)["code"]
    assert set(found) == {
        *("own_loss", "own_top", "own_package", "own_package.near", "own_package.far"),
        *("own_package.deeper", "own_package.deeper.end"),
    }
    (tmp_path / "own_package/deeper/end.py").write_text("x = 2\n")
    assert {k for k, v in runs.user_code(config)["code"].items() if v != found[k]} == {"own_package.deeper.end"}
    (tmp_path / "own_package/far.py").write_text("y = 3\n")
    assert "own_package.far" in found
    assert runs.user_code(config)["code"]["own_package.far"] == found["own_package.far"]
    assert "own_package" not in sys.modules, "nothing was run"


def test_code_that_cannot_be_read_is_refused_and_not_hashed_as_nothing(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "own_space").mkdir()  # a package without a file
    monkeypatch.syspath_prepend(tmp_path)
    for target in ("own_space.Own", "nowhere_at_all.Own", "__main__.Own"):
        monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
        with pytest.raises(ConfigError, match=f"{target}: the code of this class cannot be read"):
            runs.user_code({"loss": {"_target_": target}})


def test_weights_that_the_author_has_set_stay() -> None:
    def pretrained() -> nn.Module:
        network = dropping()
        for i, p in enumerate(network.parameters()):
            nn.init.constant_(p, i / 10)
        return network

    for i, p in enumerate(model_of(pretrained).build(SHAPE, 10, 0).parameters()):
        assert (p == torch.tensor(i / 10)).all()
    torch.manual_seed(5)
    first = model_of(dropping).build(SHAPE, 10, 3).state_dict()
    torch.manual_seed(6)
    again, other = (model_of(dropping).build(SHAPE, 10, seed).state_dict() for seed in (3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first), "what layers draw is drawn from the seed"
    assert not torch.equal(first["0.weight"], other["0.weight"])
    assert first["0.bias"].abs().max() > 0, "torch's own rule for a bias"


def test_layers_made_by_their_first_input_and_of_any_kind_are_made() -> None:
    def lazy() -> nn.Module:
        return nn.Sequential(nn.Unflatten(1, (1, 1)), nn.Conv3d(1, 2, (1, 3, 3)), nn.Flatten(), nn.LazyLinear(10))

    network = model_of(lazy).build(SHAPE, 10, 0)
    assert network[3].weight.shape == (10, 72)
    assert torch.equal(network[3].weight, model_of(lazy).build(SHAPE, 10, 0)[3].weight)


def test_dropout_zeroes_its_share_and_keeps_the_mean() -> None:
    x = torch.ones(200, 50, 4, 4)
    for p in (0.1, 0.5, 0.9):
        for channels in (False, True):
            layer = dropout.Dropout(p, channels, 0, 0, "cpu")
            y = layer(x)
            assert {round(v, 4) for v in y.unique().tolist()} == {0.0, round(1 / (1 - p), 4)}
            units = y[:, :, 0, 0] if channels else y
            assert (units == 0).float().mean().item() == pytest.approx(p, abs=4 * (p * (1 - p) / units.numel()) ** 0.5)
            if channels:
                assert torch.equal(y, y[:, :, :1, :1].expand_as(y))
            assert not torch.equal(layer(x), y), "each call draws anew"
            assert torch.equal(dropout.Dropout(p, channels, 0, 0, "cpu")(x), y)
            assert not torch.equal(dropout.Dropout(p, channels, 1, 0, "cpu")(x), y), "layers draw apart"
            assert not torch.equal(dropout.Dropout(p, channels, 0, 1, "cpu")(x), y), "and seeds"
            assert layer.eval()(x) is x
    assert (dropout.Dropout(1.0, False, 0, 0, "cpu")(x) == 0).all()


def test_dropout_passes_gradients_where_it_passes_values() -> None:
    x = torch.randn(30, 7, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = dropout.Dropout(0.4, False, 0, 0, "cpu")(x)
    y.sum().backward()
    assert torch.equal(x.grad, (y != 0) / torch.tensor(0.6))


def test_a_network_with_dropout_goes_on_from_any_step_with_the_same_bits(train_own) -> None:
    whole, saved = train_own(dropping), []

    def save(training: Training, _: int) -> None:
        tensors = {name: tensor.clone() for name, tensor in training.tensors().items()}
        saved.append((tensors, copy.deepcopy(dataclasses.asdict(training.progress))))

    rows = list(fit(whole, save))
    assert any(layer.training for layer in whole.network.modules() if isinstance(layer, dropout.Dropout))
    for tensors, progress in saved[::2]:
        again = train_own(dropping)
        again.load(tensors, Progress(**progress))
        torch.rand(3)  # the process's own generator is no part of it
        for _ in fit(again, lambda *_: None):
            pass
        assert again.progress.rows == rows
        assert digest(again.tensors()) == digest(whole.tensors())
    other = train_own(dropping)
    for name, tensor in dropout.calls(other.network).items():
        assert tensor == 0, name
    other.load({n: t + 1 if n.startswith("dropout.") else t for n, t in saved[0][0].items()}, Progress(**saved[0][1]))
    for _ in fit(other, lambda *_: None):
        pass
    assert other.progress.rows != rows, "what is dropped does matter here"


def test_a_kept_model_with_dropout_is_torch_s_own(train_own) -> None:
    assert set(train_own(dropping).best) == set(dropping().state_dict())


def test_frozen_weights_stay(train_own) -> None:
    def frozen() -> nn.Module:
        network = dropping()
        network[0].requires_grad_(False)
        network[5].weight.requires_grad_(False)
        return network

    for precision in ("fp32", "bf16"):
        t = train_own(frozen, f"precision={precision}")
        before = {name: p.clone() for name, p in t.network.named_parameters()}
        for _ in fit(t, lambda *_: None):
            pass
        for name, p in t.network.named_parameters():
            assert torch.equal(p, before[name]) == (name in ("0.weight", "0.bias", "5.weight")), name


def test_a_weight_without_a_part_in_the_loss_is_named(train_own) -> None:
    class Spare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = nn.Linear(64, 10), nn.Linear(3, 3)

        def forward(self, x):
            return self.used(x.flatten(1))

    for precision in ("fp32", "bf16"):
        with pytest.raises(UserCodeError, match=r"the weight spare\.weight takes no part in the loss"):
            next(fit(train_own(Spare, f"precision={precision}"), lambda *_: None))


def test_a_weight_that_stands_in_two_places_is_one(train_own) -> None:
    def tied() -> nn.Module:
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.Linear(64, 10))
        network[3].weight = network[1].weight
        return network

    for precision in ("fp32", "bf16"):
        t = train_own(tied, f"precision={precision}")
        before = t.network[1].weight.clone()
        next(fit(t, lambda *_: None))
        assert t.network[3].weight is t.network[1].weight
        assert not torch.equal(t.network[1].weight, before)


class Cosine(nn.Module):
    """Normalises a weight, and leaves autocast for its head, as heads of cosine similarity do."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.seen = nn.Linear(64, 16), nn.Linear(16, 10, bias=False), set()

    def forward(self, x):
        found = self.body(x.flatten(1))
        self.seen.add(self.head.weight.dtype)
        with torch.autocast(x.device.type, enabled=False):
            return nn.functional.linear(found.float(), nn.functional.normalize(self.head.weight, dim=1))


def test_a_layer_of_one_s_own_has_its_weights_in_float32_in_bf16_too(train_own) -> None:
    t = train_own(Cosine, "precision=bf16")
    assert t.precision == "bf16"
    next(fit(t, lambda *_: None))
    assert t.network.seen == {torch.float32}
    normed = nn.Sequential(nn.Linear(2, 3), nn.utils.weight_norm(nn.Linear(3, 3)))
    assert [*weight_matrices(normed)] == ["0.weight", "0.bias"]


def test_frozen_batch_norm_counts_nothing(train_own) -> None:
    class Frozen(nn.Sequential):
        def train(self, mode: bool = True):
            super().train(mode)
            self[1].eval()
            return self

    t = train_own(lambda: Frozen(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 10)))
    next(fit(t, lambda *_: None))
    assert int(t.network[1].num_batches_tracked) == 0


def test_a_model_may_be_made_of_another() -> None:
    inner = model_of(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
    network = model_of(lambda: nn.Sequential(inner.build(SHAPE, 10, 0))).build(SHAPE, 10, 0)
    assert torch.equal(network[0][1].weight, inner.build(SHAPE, 10, 0)[1].weight)


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(nn.functional.dropout(x.flatten(1), 0.1, self.training))


class Sometimes(nn.Linear):
    """Draws from a generator that is not torch's."""

    def __init__(self, draw) -> None:
        super().__init__(64, 10)
        self.draw = draw

    def forward(self, x):
        return super().forward(x) * (self.draw() < 0.5)


class Drop(nn.Dropout):
    """Not exactly one of torch's, and so not drawn from the seed."""


class Wrong(nn.Module):
    def forward(self, x):
        return x.flatten(1) @ torch.ones(3, 3)


REFUSED = {
    "of images (2, 1, 8, 8) it makes (2, 3), not logits (2, 10)": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3)),
    "forward (Noisy) draws random numbers of its own": Noisy,
    "1 (Sometimes) draws random numbers of its own": lambda: nn.Sequential(nn.Flatten(), Sometimes(random.random)),
    "1 (Sometimes) draws": lambda: nn.Sequential(nn.Flatten(), Sometimes(lambda: np.random.random())),
    "1 (Drop) draws random numbers of its own": lambda: nn.Sequential(nn.Flatten(), Drop(0.5), nn.Linear(64, 10)),
    "1 (RReLU) draws random numbers of its own": lambda: nn.Sequential(nn.Flatten(), nn.RReLU(), nn.Linear(64, 10)),
    "1 has momentum=None": lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64, momentum=None), nn.Linear(64, 10)),
    "must give a torch.nn.Module, not NoneType": lambda: None,
    "mat1 and mat2 shapes cannot be multiplied (2x64 and 3x3)": Wrong,
    "mat1 and mat2 shapes cannot be multiplied (2x64 and 7x10)": lambda: nn.Sequential(nn.Flatten(), nn.Linear(7, 10)),
    "KeyError: 'layers'": lambda: {}["layers"],
}


@pytest.mark.parametrize("says", REFUSED)
def test_a_network_that_cannot_be_trained_is_refused_in_one_line_with_its_place(says: str) -> None:
    with pytest.raises(UserCodeError) as told:
        model_of(REFUSED[says]).build(SHAPE, 10, 0)
    text = str(told.value)
    assert says in text
    assert f"{Path(__file__).name}:" in text
    assert "\n" not in text
    with pytest.raises(UserCodeError, match="Bare has no _layers"):
        type("Bare", (Model,), {})().build(SHAPE, 10, 0)


def test_attention_with_dropout_is_refused_and_without_it_trains(train_own) -> None:
    class Attends(nn.Module):
        def __init__(self, p: float) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
            self.layer.self_attn.dropout = p
            self.head = nn.Linear(64, 10)

        def forward(self, x):
            return self.head(self.layer(x[:, 0]).flatten(1))

    with pytest.raises(UserCodeError, match=r"layer\.self_attn \(MultiheadAttention\) draws random numbers"):
        model_of(lambda: Attends(0.1)).build(SHAPE, 10, 0)
    t = train_own(lambda: Attends(0.0))
    assert len(list(fit(t, lambda *_: None))) == 3


def test_a_parameter_of_one_s_own_loss_that_no_step_would_train_is_refused() -> None:
    class Keeps(losses.Loss):
        def __init__(self) -> None:
            super().__init__()
            self.e, self.head = nn.Parameter(torch.zeros(1)), nn.CrossEntropyLoss(reduction="none")

        def per_sample(self, logits, labels):
            return self.head(logits, labels) * self.e

    loss = Keeps.from_config()
    with pytest.raises(UserCodeError, match=r"Keeps: e holds a parameter that no step would train"):
        refuse_untrained(loss)
    loss.learned = lambda: {"e": Learned(loss.e, 0.1)}
    refuse_untrained(loss)
    loss.head = nn.Linear(2, 2)
    with pytest.raises(UserCodeError, match=r"Keeps: head holds a parameter"):
        refuse_untrained(losses.WeightedSum.from_config(a=1, b=1, first=losses.CE.from_config(), second=loss))


def test_what_a_loss_keeps_outside_of_its_state_is_refused() -> None:
    class Keeps(losses.Loss):
        def bind(self, **_):
            self.before, self.seen, self.epoch, self.calls, self.eye = torch.zeros(5), torch.zeros(5), 0, 0, None

        def state(self):
            return {"seen": self.seen.detach()}

        def per_sample(self, logits, labels):
            return logits.sum(1)

    loss = losses.WeightedSum.from_config(a=1, b=1, first=losses.CE.from_config(), second=Keeps.from_config())
    loss.bind(samples=5, classes=2, device="cpu", transition=None)
    own = loss.second
    own.unknown, own.sparse, own.part = math.nan, torch.eye(2).to_sparse(), own.seen[1:]
    with torch.inference_mode():
        own.table = torch.eye(2)
    own.norm, own.each, own.counts = nn.BatchNorm1d(2, affine=False), [torch.zeros(2)], np.zeros(2)
    with repeatable(loss, first=True):
        own.calls, own.eye = 2, torch.eye(2)  # made when they are first needed
    with repeatable(loss):
        own.seen[1], own.before = 1, own.before.clone()
    for name, change in {
        "before": lambda: own.before.__setitem__(0, 1),
        "calls": lambda: setattr(own, "calls", own.calls + 1),
        r"norm\.\w+": lambda: own.norm(torch.randn(4, 2, generator=torch.Generator().manual_seed(0))),
        r"each\[0\]": lambda: own.each[0].add_(1),
        "counts": lambda: own.counts.__setitem__(0, 1),
        "eye": lambda: setattr(own, "eye", torch.ones(2, 2)),
    }.items():
        with pytest.raises(UserCodeError, match=f"Keeps: a step changes {name}, which"), repeatable(loss):
            change()


def test_a_loss_that_keeps_the_epoch_knows_it_again_in_a_run_that_resumes(make) -> None:
    class Later(losses.CE):
        def start_epoch(self, epoch):
            self.weight = [1, 2, 3][epoch]  # a table has no entry beyond the last epoch

        def per_sample(self, logits, labels):
            return self.weight * super().per_sample(logits, labels)

    first, second, third = (make("schedule.epochs=3", "schedule.milestones=[1]") for _ in range(3))
    for each in (first, second, third):
        each.loss = each.step.loss = Later.from_config()
    third.estimate()
    first.progress.epoch = 2
    second.load(first.tensors(), first.progress)
    assert second.loss.weight == 3
    first.progress.epoch = 3
    second.load(first.tensors(), first.progress)


def test_a_sum_of_one_s_own_hands_on_and_remembers_nothing() -> None:
    class Sum(losses.Loss):
        def __init__(self, first, second):
            super().__init__()
            self.first, self.second = first, second

        def parts(self):
            return {"first": self.first, "second": self.second}

        def per_sample(self, logits, labels):
            return self.first.per_sample(logits, labels) + self.second.per_sample(logits, labels)

        def of_batch(self, logits, labels, index):
            return self.first.of_batch(logits, labels, index) + self.second.of_batch(logits, labels, index)

    class Weighs(Sum):
        def of_batch(self, logits, labels, index):
            return index * super().of_batch(logits, labels, index)

    class Remembers(Sum):
        def state(self):
            return super().state() | {"seen": torch.zeros(3)}

    assert not Sum.from_config(first=losses.CE(), second=losses.MAE()).uses_sample_index
    assert Sum.from_config(first=losses.CE(), second=losses.ELR()).uses_sample_index
    assert Remembers.from_config(first=losses.CE(), second=losses.MAE()).uses_sample_index
    assert Weighs.from_config(first=losses.CE(), second=losses.MAE()).uses_sample_index
    losses.Mixup(of=Sum(losses.CE(), losses.MAE()))
    logits, labels = torch.eye(3), torch.arange(3)
    whole = losses.CE()(logits, labels) + losses.MAE()(logits, labels)
    torch.testing.assert_close(Sum(losses.CE(), losses.MAE())(logits, labels), whole)


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"prunes": True}, "Own: prunes = True, and it has no keep"),
        ({"mixup": 1.0, "mixes_labels": True}, "Own: mixes_labels = True, and it has no of_mixed"),
        ({"mixup": 1.0, "views": 2}, "Own: mixup mixes one view of each image, and views = 2"),
        ({"needs_epochs": ["start"]}, r"Own: needs_epochs must be {parameter: outcome}, not \['start'\]"),
    ],
)
def test_a_loss_without_what_it_declares_is_refused(declared: dict[str, object], said: str) -> None:
    own = type("Own", (losses.CE,), declared)
    with pytest.raises(UserCodeError, match=said):
        refuse_incomplete(own.from_config())


@pytest.mark.parametrize(
    ("base", "method", "said"),
    [
        (
            losses.Loss,
            "per_sample(self, logits, labels, index)",
            r"must take \(logits, labels\), not \(logits, labels, in",
        ),
        (
            losses.Loss,
            "bind(self, *, samples, classes)",
            r"bind must take \(\*, samples.*, not \(\*, samples, classes\)",
        ),
        (Noise, "draw(self, labels, seed)", r"draw must take \(labels, images, classes, seed\), not \(labels, seed\)"),
        (Model, "_layers(self, shape)", r"_layers must take \(shape, classes\), not \(shape\)"),
        (Data, "_read(self)", r"_read must take \(root\), not \(\)"),
    ],
)
def test_a_method_that_could_not_be_called_is_refused_before_all_else(
    base, method, said, tmp_path, monkeypatch
) -> None:
    name, text = f"with_{method.partition('(')[0]}", f"from {base.__module__} import {base.__name__}\n\n\n"
    text += f"class Other({base.__name__}):\n    def {method}: ...\n\n\n"
    text += f"class Any({base.__name__}):\n    def {method.partition('(')[0]}(self, *each, **more): ...\n\n"
    text += "    def forward(self, x): ...\n\n    def _values(self): ...\n"  # are asked for by no page
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserCodeError, match=rf"{name}.py:4: Other: .*{said}"):
        construct.named(f"{name}.Other", base, "key")
    assert issubclass(construct.named(f"{name}.Any", base, "key"), base)


def test_a_file_that_noise_of_one_s_own_reads_is_in_the_id(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "measured.py").write_text(
        "from pathlib import Path\nfrom noisygce import inputs\nfrom noisygce.noise import Noise\n\n\n"
        "class Measured(Noise):\n    def __init__(self, rate, seed, file):\n        super().__init__(rate, seed)\n"
        "        self.file = file\n\n    def contents(self, root):\n"
        "        return {'file': inputs.sha256(root / self.file)}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def id_of(content: str, where: str) -> str:
        (tmp_path / where).write_text(content)
        words = ["data=digits", "noise=pair", "noise._target_=measured.Measured", f"+noise.file={where}"]
        return runs.run_id(runs.identity(settings.resolved(settings.compose([*words, f"paths.data={tmp_path}"]))))

    assert id_of("1", "a.csv") == id_of("1", "b.csv")
    assert id_of("1", "a.csv") != id_of("2", "a.csv")


def test_a_loss_that_draws_nothing_is_not_taken_for_one_that_does_while_another_run_is_made() -> None:
    class Plain(losses.Loss):
        def per_sample(self, logits, labels):
            return logits.sum(1)

    over = threading.Event()
    model = settings.read(settings.compose(["data=digits", "model.width=4"])).model

    def making() -> None:
        while not over.is_set():
            model.build(SHAPE, 10, 0)

    other = threading.Thread(target=making)
    other.start()
    try:
        for _ in range(30):
            with repeatable(Plain.from_config()):
                time.sleep(0.01)
        with pytest.raises(UserCodeError, match="Plain: it draws"), repeatable(Plain.from_config()):
            torch.rand(1)
        inner = losses.WeightedSum.from_config(a=1, b=1, first=losses.CE.from_config(), second=Plain.from_config())
        whole = losses.Mixup.from_config(alpha=1, of=inner)
        with pytest.raises(UserCodeError, match="Plain: it draws"), repeatable(whole):
            np.random.rand()
    finally:
        over.set()
        other.join()


MODULE = """import numpy as np
from torch import nn

from noisygce.losses import Loss
from noisygce.models import Model
from noisygce.noise import Noise


class Fails(Loss):
    def per_sample(self, logits, labels):
        return logits[:, 99]


class Mean(Loss):
    def per_sample(self, logits, labels):
        return logits.sum(1).mean()


class Flat(Loss):
    def per_sample(self, logits, labels):
        return logits.detach().sum(1)


class Draws(Loss):
    def per_sample(self, logits, labels):
        return nn.functional.dropout(logits).logsumexp(1)


class Nothing(Loss):
    def persample(self, logits, labels):
        return logits.sum(1)


class Odd(Noise):
    def transition(self, classes):
        return np.eye(len(classes) + 1)


class Half(Noise):
    def draw(self, labels, images, classes, seed):
        return labels / 2


class Breaks(Noise):
    def draw(self, labels, images, classes, seed):
        return labels + {"a": 1}["b"]


class Net(Model):
    def __init__(self, width):
        self.width = width + 1

    def _layers(self, shape, classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, self.width), nn.ReLU(), nn.Linear(self.width + 1, classes))
"""


def line(text: str) -> int:
    return MODULE[: MODULE.index(text)].count("\n") + 1


TOLD = {
    ("loss", "Fails", ""): f"mine.py:{line('return logits[:, 99]')}: IndexError: index 99 is out of bounds",
    ("loss", "Mean", ""): f"mine.py:{line('class Mean')}: Mean gives (), not the loss of each sample (B,)",
    ("loss", "Flat", ""): f"mine.py:{line('class Flat')}: Flat: its values have no gradient",
    ("loss", "Draws", ""): f"mine.py:{line('class Draws')}: Draws: it draws random numbers of its own",
    ("loss", "Nothing", ""): f"mine.py:{line('class Nothing')}: Nothing has no per_sample(logits, labels)",
    ("noise", "Odd", ""): f"mine.py:{line('class Odd')}: Odd: ",
    ("noise", "Half", ""): f"mine.py:{line('class Half')}: Half: draw must give 1500 integers in 0..9",
    ("noise", "Breaks", ""): f"mine.py:{line('return labels + {')}: KeyError: 'b'",
    ("model", "Net", "width: 5"): f"mine.py:{line('class Net')}: Net: RuntimeError: ",
    ("model", "Net", "width: a"): f"mine.py:{line('self.width = width + 1')}: TypeError: ",
}


@pytest.mark.parametrize(("group", "name", "value"), TOLD)
def test_mistakes_in_one_s_own_code_are_one_line_with_file_and_line(
    group: str, name: str, value: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(MODULE)
    leaf = tmp_path / "conf" / group / "mine.yaml"
    leaf.parent.mkdir(parents=True)
    more = {"noise": "rate: ${rate}\nseed: null"}.get(group, value)
    leaf.write_text(f"name: mine\n_target_: mine.{name}\n{more}\n")
    words = ("--config-dir", "conf", "data=digits", f"{group}=mine", "schedule.epochs=1", "schedule.milestones=[]")
    command = Command(tmp_path, *words, before=_here)
    assert command.wait() == 2, command.text()
    last = command.text().strip().splitlines()[-1]
    assert last.startswith("noisygce: ")
    assert TOLD[group, name, value] in last
    assert "Traceback" not in command.text()
    logs = list(tmp_path.glob("results/runs/*/train.log"))
    if "mine.py:" in last and "whole trace" in last:
        assert "Traceback" in logs[0].read_text()
        run = results.of_folder(logs[0].parent)
        assert run.state == "stopped"
        assert run.note.startswith("crashed: mine.py:")
    else:
        assert not logs, "what was refused before it began leaves no folder"


def test_a_module_that_cannot_be_read_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import torch\n\n\nclass Loss(:\n")
    (tmp_path / "conf" / "loss").mkdir(parents=True)
    (tmp_path / "conf" / "loss" / "mine.yaml").write_text("name: mine\n_target_: mine.Fails\n")
    command = Command(tmp_path, "--config-dir", "conf", "data=digits", "loss=mine", before=_here)
    assert command.wait() == 2, command.text()
    assert "loss._target_=mine.Fails: cannot be imported (mine.py:4: SyntaxError: " in one_line(command.text())


def _here() -> None:
    """Modules are found in the folder that the command runs in, as with python -m."""
    sys.path.insert(0, "")


def test_a_network_of_one_s_own_is_predicted_with_again(tmp_path: Path) -> None:
    source = MODULE.replace("self.width + 1, classes", "self.width, classes").replace(
        "nn.ReLU(), ", "nn.Dropout(0.3), "
    )
    (tmp_path / "mine.py").write_text(source)
    leaf = tmp_path / "conf" / "model" / "mine.yaml"
    leaf.parent.mkdir(parents=True)
    leaf.write_text("name: mine\n_target_: mine.Net\nwidth: 7\n")
    words = ("--config-dir", "conf", "data=digits", "model=mine", "schedule.epochs=1", "schedule.milestones=[]")
    command = Command(tmp_path, *words, before=_here)
    assert command.wait() == 0, command.text()
    (run,) = tmp_path.glob("results/runs/*")
    sys.path.insert(0, str(tmp_path))
    try:
        network, preprocess, classes = models.load(run)
    finally:
        sys.path.remove(str(tmp_path))
        del sys.modules["mine"]
    assert network(preprocess(Digits().load(tmp_path).train_images[:5])).shape == (5, len(classes))
