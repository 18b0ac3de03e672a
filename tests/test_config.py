import inspect
import sys
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from noisygce import losses, settings
from noisygce.data import Data, Split, Verdicts
from noisygce.errors import ConfigError
from noisygce.losses import Loss
from noisygce.models import Model
from noisygce.noise import Noise
from noisygce.schedule import Pruning, Schedule
from noisygce.settings import Runtime, build, compose, config_dir, read
from noisygce.settings.compose import as_typed, of_each_run, with_plus

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
    later = {p.name for p in found if p.kind is p.KEYWORD_ONLY and p.default is None} - {"ignore_index"}
    assert all(leaf_values(path)[key] is None for key in later)
    assert keys == {p.name for p in found if p.kind is not p.KEYWORD_ONLY} | later
    if not issubclass(own, Loss):  # whose defaults are those of the leaf (tests/test_losses_torch.py)
        assert all(p.default is p.empty for p in found if p.kind is not p.KEYWORD_ONLY)
    assert {p.name for p in found} - keys <= {"reduction", "ignore_index", "samples", "channels"}


@pytest.mark.parametrize("path", LEAVES, ids=leaf)
def test_a_leaf_is_named_as_its_file_and_its_class_is_of_its_group(path):
    assert leaf_values(path)["name"] == (path.stem if path.stem != "timm" else "resnet50")  # timm's own name
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
    own["arrays"] = ["data.images=X.npy", "data.labels=y.npy"]
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
    assert with_plus("table.decimals=1") == "++table.decimals=1"
    assert as_typed(with_plus("table.decimals=1")) == "table.decimals=1"  # else its plan would have another name


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


def node(**values):
    return OmegaConf.create(values)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "antigravity.Loss",  # importing it would act
        "builtins.eval",
        "noisygce.losses.log_p",  # a function
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


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("9m", 540), ("2h", 7200), ("1.5m", 90), (30, 30)])
def test_a_time_allowance_is_read_in_seconds(text, seconds):
    assert read(compose(["data=digits", f"runtime.stop_after={text}"])).runtime.stop_after == seconds


def test_reading_a_config_does_not_change_it():
    cfg = compose(["data=digits", "loss=tgce"])
    before = OmegaConf.to_yaml(cfg)
    read(cfg)
    assert OmegaConf.to_yaml(cfg) == before
    assert OmegaConf.is_struct(cfg)


def test_objects_hold_plain_values():
    e = read(compose(["noise=class_map"]))
    parts = [vars(part) for part in vars(e).values() if hasattr(part, "__dict__")]
    assert len(parts) == 11
    assert not any(OmegaConf.is_config(value) for part in parts for value in part.values())


def test_a_results_folder_below_home_is_expanded():
    assert read(compose(["paths.results='~/x'"])).paths.results == Path.home() / "x"
