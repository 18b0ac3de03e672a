import inspect
import os
import sys
from pathlib import Path

import pytest
import yaml
from hydra.errors import HydraException
from omegaconf import OmegaConf

from noisygce import losses, settings
from noisygce.data import Data, Split, Verdicts
from noisygce.errors import ConfigError
from noisygce.losses import GCE, Loss, TruncatedGCE
from noisygce.models import Model
from noisygce.noise import Noise
from noisygce.schedule import Pruning, Schedule
from noisygce.settings import Runtime, build, compose, config_dir, read
from noisygce.settings.compose import as_typed, of_each_run
from noisygce.settings.hints import explain

BASES = {"data": Data, "noise": Noise, "loss": Loss, "model": Model}
LEAVES = [path for group in BASES for path in sorted((config_dir() / group).glob("*.yaml"))]


def leaf_values(path):
    """The values of a leaf, which is a group's content or, with @package _global_, has the group as a key."""
    content = yaml.safe_load(path.read_text())
    return content.get(path.parent.name, content)


def class_of(path):
    group = path.parent.name
    return settings.named(leaf_values(path)["_target_"], BASES[group], group)


def parts(path):
    """Keys that other leaves fill: ``first`` where the defaults say ``ce@first``."""
    defaults = [d for d in leaf_values(path).get("defaults", []) if isinstance(d, str)]
    return {d.partition("@")[2] for d in defaults if "@" in d}


def parameters(cls):
    found = [p for p in inspect.signature(cls.__init__).parameters.values() if p.name != "self"]
    return [p for p in found if p.kind is not p.VAR_POSITIONAL and p.kind is not p.VAR_KEYWORD]


def leaf(path):
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("path", LEAVES, ids=leaf)
def test_keys_of_a_leaf_are_the_parameters_of_its_class_and_none_has_a_default(path):
    """A value is written once, in the leaf. What has a default is keyword-only and no config's business: reduction;
    or null in the leaf and None in the class (check.DEFAULTS_ADDED_LATER)."""
    own = class_of(path)
    classes = [own, *((Split, Verdicts, own.fed) if path.parent.name == "data" else ())]
    found = [p for cls in classes for p in parameters(cls)]
    keys = {*(key for key in leaf_values(path) if key not in ("name", "_target_", "defaults")), *parts(path)}
    keys -= {"class_map"} if path.parent.name == "data" else set()  # noise=class_map refers to it
    later = {p.name for p in found if p.default is None}
    assert all(leaf_values(path)[key] is None for key in later)
    assert keys == {p.name for p in found if p.kind is not p.KEYWORD_ONLY} | later
    assert all(p.default is p.empty for p in found if p.kind is not p.KEYWORD_ONLY)
    assert {p.name for p in found} - keys <= {"reduction", "samples", "channels"}


@pytest.mark.parametrize("path", LEAVES, ids=leaf)
def test_a_leaf_is_named_as_its_file_and_its_class_is_of_its_group(path):
    assert leaf_values(path)["name"] == path.stem
    assert issubclass(class_of(path), BASES[path.parent.name])


def test_every_loss_noise_and_model_has_a_leaf():
    used = {class_of(path) for path in LEAVES}
    for base in (Loss, Noise, Model):
        module = sys.modules[base.__module__.removesuffix(".base")]
        own = [c for c in vars(module).values() if inspect.isclass(c) and issubclass(c, base) and c is not base]
        assert set(own) <= used


@pytest.mark.parametrize(
    ("key", "cls"),
    [("schedule", Schedule), ("prune", Pruning), ("runtime", Runtime), ("paths", settings.Paths)],
)
@pytest.mark.parametrize("data", ["cifar10", "cifar100", "fashion_mnist", "digits"])
def test_keys_of_the_other_groups_are_the_parameters_of_their_classes(key, cls, data):
    assert set(compose([f"data={data}"])[key]) == {p.name for p in parameters(cls)}
    assert all(p.default is p.empty for p in parameters(cls))


@pytest.mark.parametrize("path", LEAVES, ids=leaf)
def test_every_leaf_makes_a_config_that_can_be_read(path):
    features = ["data.features=X.npy", "data.labels=y.npy"] if path.parent.name == "data" else []
    own = {"file": ["noise.file=a.npy"], "folder": ["data.folder=mine"], "features": features}
    own["superclass"] = ["data=cifar100"]
    needed = own.get(path.stem, [])
    e = read(compose([f"{path.parent.name}={path.stem}", *needed]))
    assert type(getattr(e, path.parent.name)) is class_of(path)


@pytest.mark.parametrize("path", sorted((config_dir() / "experiment").glob("*.yaml")), ids=leaf)
def test_every_experiment_can_be_composed(path):
    read(compose([f"experiment={path.stem}"]))


def test_the_default_is_the_published_protocol_on_cifar10():
    e = read(compose([]))
    assert (type(e.data).__name__, type(e.noise).__name__, e.noise.rate) == ("Cifar10", "Uniform", 0.4)
    assert (e.model.depth, e.loss.q, e.schedule.epochs, e.pruning.mode) == (34, 0.7, 120, "drop")
    assert e.split.validation == 5000
    assert not e.noise.include_true


def test_a_value_that_not_each_run_has_becomes_a_choice_of_one_and_is_shown_as_it_was_typed():
    words = ["loss=agce,aul", "loss.a=2", "loss.q=0.3,0.5", "data.x=[1,2]", "rate=0.2"]
    made = of_each_run(words)
    assert made == ["loss=agce,aul", "loss.a=choice(2)", *words[2:]]
    assert [as_typed(word) for word in made] == words


def test_a_data_set_brings_its_model_and_schedule_unless_they_are_chosen():
    own = compose(["data=fashion_mnist"])
    assert (own.model.name, own.schedule.epochs, own.prune.start) == ("resnet18", 120, 40)
    assert compose(["data=cifar100"]).prune.start == 80
    digits = compose(["data=digits"])
    assert (digits.model.name, digits.schedule.epochs, digits.precision) == ("convnet", 40, "fp32")
    for order in (1, -1):
        overrides = ["data=digits", "model=resnet18", "schedule=cifar100", "precision=bf16", "schedule.lr=0.5"]
        cfg = compose(overrides[::order])
        assert (cfg.model.name, cfg.schedule.epochs, cfg.precision) == ("resnet18", 150, "bf16")
        assert cfg.schedule.lr == 0.5


def test_on_digits_a_loss_with_large_gradients_brings_the_rate_at_which_it_trains():
    assert compose(["data=digits", "loss=ce"]).schedule.lr == compose(["data=digits"]).schedule.lr == 0.1
    for loss in ("rce", "aul", "ldr_kl"):
        assert compose([f"loss={loss}", "data=digits"]).schedule.lr < 0.1
        assert compose([f"loss={loss}", "data=digits", "schedule.lr=0.5"]).schedule.lr == 0.5
        assert compose([f"loss={loss}"]).schedule == compose([]).schedule, "another data set's rate stays"


def test_values_reach_the_object():
    e = read(compose(["loss=tgce", "loss.q=0.3", "loss.k=0.2", "rate=0.6", "noise.include_true=true", "seed=9"]))
    assert isinstance(e.loss, TruncatedGCE)
    assert (e.loss.q, e.loss.k, e.noise.rate, e.noise.include_true, e.seed) == (0.3, 0.2, 0.6, True, 9)


def node(**values):
    return OmegaConf.create(values)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "noisygce.losses.cross_entropy",  # a function
        "noisygce.losses.Loss",  # the base itself
        "noisygce.noise.Uniform",  # of another group
        "noisygce.losses.check",  # a module
        "noisygce.losses.Nothing",
        "no_such_package.Loss",
        ".losses.CE",
        "CE",
        "",
        None,
        3,
    ],
)
def test_only_subclasses_of_the_base_are_built(target):
    with pytest.raises(ConfigError) as caught:
        build(node(_target_=target, name="x", q=0.7), Loss, "loss")
    assert str(caught.value).startswith(f"loss._target_={target}: ")


def test_a_class_that_is_refused_is_not_called(tmp_path):
    mark = tmp_path / "mark"
    with pytest.raises(ConfigError, match=r"must be a subclass of noisygce\.losses\.Loss"):
        build(node(_target_="os.mkdir", name="x", path=str(mark)), Loss, "loss")
    assert not mark.exists()
    assert os.path.isdir(tmp_path)


def test_unknown_and_missing_keys_are_named_with_those_there_are():
    with pytest.raises(ConfigError, match=r"loss\.p=1: TruncatedGCE has no such value; it has loss\.q, loss\.k"):
        build(node(_target_="noisygce.losses.TruncatedGCE", name="x", q=0.7, k=0.5, p=1), Loss, "loss")
    with pytest.raises(ConfigError, match=r"loss\.k is missing: TruncatedGCE needs it"):
        build(node(_target_="noisygce.losses.TruncatedGCE", name="x", q=0.7), Loss, "loss")
    with pytest.raises(ConfigError, match=r"loss\.reduction=sum: GCE has no such value"):
        build(node(_target_="noisygce.losses.GCE", name="x", q=0.7, reduction="sum"), Loss, "loss")


@pytest.mark.parametrize("name", ["", "a/b", "..", "a" * 41, "a b", None, 3, "tgçe"])
def test_a_name_that_could_not_be_part_of_a_file_name_is_refused(name):
    with pytest.raises(ConfigError, match=r"loss\.name="):
        build(node(_target_="noisygce.losses.CE", name=name), Loss, "loss")


def test_an_own_class_in_an_own_module_is_built(tmp_path, monkeypatch):
    source = "from noisygce.losses import CE\nclass Mine(CE):\n    def __init__(self, a):\n        self.a = a\n"
    (tmp_path / "my_losses.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    made = build(node(_target_="my_losses.Mine", name="mine", a=[1, {"b": 2}]), Loss, "loss")
    assert isinstance(made, losses.CE)
    assert made.a == [1, {"b": 2}]
    assert type(made.a) is list  # plain values, nothing of OmegaConf


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["rate=1"], "rate=1: rate must be a number in [0, 1)"),  # as typed, not noise.rate
        (["rate=nan"], "rate=nan: rate must be"),
        (["noise.rate=2"], "noise.rate=2: noise.rate must be a number in [0, 1)"),
        (["noise=clean", "rate=0.4"], "rate=0.4: rate must be 0 with noise=clean"),
        (["loss.q=0"], "loss.q=0: loss.q must be a number in (0, 1]"),
        (["loss.q=true"], "loss.q=true: loss.q must be a number in (0, 1]"),
        (["loss.q=null"], "loss.q=null: loss.q must be"),
        (["loss=tgce", "loss.k=1"], "loss.k=1: loss.k must be a number in (0, 1)"),
        (["seed=-1"], "seed=-1: seed must be an integer in [0, 4294967296)"),
        (["seed=1.5"], "seed=1.5: seed must be an integer"),
        (["precision=fp16"], "precision=fp16: precision must be one of bf16, fp32"),
        (["prune.mode=discard"], "prune.mode=discard: prune.mode must be one of drop, mask"),
        (["schedule.milestones=[1,0]"], "schedule.milestones[1]=0: schedule.milestones[1] must be"),
        (["model.depth=50"], "model.depth=50: model.depth must be 18 or 34"),
        (["data.subset=46000"], "data.subset=46000: data.subset must be an integer in [1, 45000]"),
        (["runtime.device=gpu"], "runtime.device=gpu: runtime.device must be auto, cpu, cuda or cuda:N"),
        (["runtime.stop_after=soon"], "runtime.stop_after=soon: runtime.stop_after must be a time such as 90s"),
        (["+loss.k=0.5"], "loss.k=0.5: GCE has no such value; it has loss.q"),
        (["+sed=1"], "sed: there is no such key; did you mean seed?"),
        (["schedule=cifar10", "prune=3"], "prune=3: prune is a group of values: prune.mode, prune.start, prune.every"),
    ],
)
def test_a_wrong_value_is_named_by_the_key_that_was_typed(overrides, message):
    with pytest.raises(ConfigError) as caught:
        read(compose(overrides))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss=gcee", "loss=gcee: there is no such loss; did you mean gce? There are "),
        ("noise=pairs", "noise=pairs: there is no such noise; did you mean pair?"),
        ("schedule.epoch=3", "schedule.epoch: there is no such key; did you mean schedule.epochs?"),
        ("q=0.3", "q: there is no such key; did you mean loss.q?"),
    ],
)
def test_a_typo_is_answered_with_what_was_meant(override, message):
    with pytest.raises(HydraException) as caught:
        compose([override])
    assert explain(caught.value).startswith(message)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("9m", 540), ("2h", 7200), ("1.5m", 90), (30, 30)])
def test_a_time_allowance_is_read_in_seconds(text, seconds):
    assert Runtime("cpu", None, "auto", "auto", 1, 300, text, False, None, False, "none", False).stop_after == seconds


def test_reading_a_config_does_not_change_it():
    cfg = compose(["data=digits", "loss=tgce"])
    before = OmegaConf.to_yaml(cfg)
    read(cfg)
    assert OmegaConf.to_yaml(cfg) == before
    assert OmegaConf.is_struct(cfg)


def test_objects_hold_plain_values():
    e = read(compose(["noise=class_map"]))
    for part in (
        e.data,
        e.split,
        e.verdicts,
        e.preprocessing,
        e.noise,
        e.loss,
        e.model,
        e.schedule,
        e.pruning,
        e.runtime,
        e.paths,
    ):
        assert not any(OmegaConf.is_config(value) for value in vars(part).values())


def test_the_config_folder_is_absolute_and_whole():
    assert config_dir().is_absolute()
    assert (config_dir() / "train.yaml").is_file()
    assert isinstance(read(compose([])).loss, GCE)
    assert read(compose(["paths.results='~/x'"])).paths.results == Path.home() / "x"
