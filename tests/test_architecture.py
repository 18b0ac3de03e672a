"""Who may import whom, read from the source: the picture of the package, held."""

import ast
import subprocess
import sys

import pytest

from noisygce import config

ROOT = config.config_dir().parent
MODULES = sorted((ROOT / "noisygce").rglob("*.py"))
SOURCES = [*MODULES, *sorted((ROOT / "hydra_plugins").glob("*.py"))]

FREE = {"check", "errors", "__init__"}  # leaves that anyone may use

ALLOWED: dict[str, set[str]] = {
    # leaves: numpy or torch, nothing of ours
    "noise": set(),
    "losses": set(),
    "models": set(),
    "schedule": set(),
    "philox": set(),
    "device": set(),
    "atomic": set(),
    "spoken": set(),
    "labels": {"arguments", "atomic", "config", "data", "noise", "task"},  # a command too
    "folder": {"data"},
    "checkpoint": {"atomic"},
    # data -> task, loader -> step, prune, evaluate -> fit
    "data": set(),
    "task": {"data", "noise"},
    "loader": {"data", "philox"},
    "capture": set(),
    "evaluate": {"capture", "loader"},
    "step": {"capture", "evaluate", "loader", "losses", "schedule"},
    "prune": {"losses"},
    "fit": {"noise", "data", "evaluate", "loader", "losses", "prune", "schedule", "step", "task"},
    # only these know the config system
    "tree": set(),
    "explain": {"tree"},
    "command": {"explain"},
    "arguments": {"command", "config", "explain"},
    "guard": {"config"},
    "runs": {"atomic", "checkpoint"},
    "config": {"data", "explain", "losses", "models", "noise", "schedule", "tree"},
    "sweep": {"command", "config"},
    "watch": {"checkpoint", "config", "fit", "runs", "spoken"},
    "manifest": {"config", "fit", "labels", "runs", "watch"},
    "train": {
        *(
            "manifest",
            "capture",
            "checkpoint",
            "command",
            "config",
            "data",
            "device",
            "explain",
            "fit",
            "guard",
            "labels",
            "losses",
            "runs",
            "spoken",
            "task",
            "watch",
        ),
    },
    "reproduce": {"arguments", "config", "runs", "train"},
    "bench": {"arguments", "atomic", "config", "data", "device", "fit", "losses", "runs", "schedule", "task", "train"},
}
# What people look at reads files, and none of what trains.
TRAINING = {
    "data",
    "task",
    "loader",
    "evaluate",
    "step",
    "prune",
    "fit",
    "models",
    "losses",
    "philox",
    "device",
    "train",
    "watch",
}
VIEWS = {"results", "plan", "identities", "table", "figure", "report", "status", "view"}

HEAVY = {"torch", "torchvision", "pandas", "matplotlib", "scipy", "sklearn"}
# At import; imported by no command's start.
USE_TORCH = {"capture", "evaluate", "fit", "loader", "philox", "prune", "step"} | {
    "growth",
    "kernels",
    "plain",
    "setting",
    "steps",
}
CONFIG_SYSTEM = {"tree", "explain", "config", "guard", "sweep", "plan", "identities", "train", "noisygce_sweeper"}


def imports(path, everywhere=True):
    """Dotted names that a file imports; ``everywhere``: inside functions and for type checkers too."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if everywhere else tree.body
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(path):
    """Modules of the package that a file imports."""
    names = {room(module) for module in MODULES}
    for dotted in imports(path):
        first, *rest = dotted.split(".")
        if first == "noisygce":
            yield rest[0] if rest and rest[0] in names else "__init__"


def room(path):
    """The module, or the package that a file is part of: losses for noisygce/losses/gce.py."""
    inside = path.relative_to(ROOT / "noisygce").parts
    return inside[0].removesuffix(".py")


def stem(path):
    return path.stem


@pytest.mark.parametrize("path", [p for p in MODULES if room(p) in ALLOWED or room(p) in FREE], ids=stem)
def test_a_module_imports_only_what_it_may(path):
    assert set(own(path)) - FREE - {room(path)} <= ALLOWED.get(room(path), set())


def test_what_people_look_at_imports_nothing_that_trains():
    for path in MODULES:
        if room(path) in VIEWS:
            assert not set(own(path)) & TRAINING, path.name


def test_nothing_that_trains_imports_what_people_look_at():
    for path in MODULES:
        if room(path) in ALLOWED:
            assert not set(own(path)) & VIEWS


def test_the_picture_has_no_circle():
    def depth(name, above=()):
        assert name not in above, " -> ".join([*above, name])
        return 1 + max((depth(n, (*above, name)) for n in ALLOWED[name]), default=0)

    assert max(map(depth, ALLOWED)) < 10


def test_every_row_is_of_a_module_that_there_is():
    assert set(ALLOWED) | VIEWS <= {room(path) for path in MODULES}


@pytest.mark.parametrize("path", SOURCES, ids=stem)
def test_only_the_config_modules_know_the_config_system(path):
    used = {dotted.split(".")[0] for dotted in imports(path)} & {"hydra", "omegaconf"}
    assert not used or path.stem in CONFIG_SYSTEM


@pytest.mark.parametrize("path", [p for p in SOURCES if p.stem not in USE_TORCH], ids=stem)
def test_heavy_packages_are_imported_inside_functions(path):
    assert not {dotted.split(".")[0] for dotted in imports(path, everywhere=False)} & HEAVY


@pytest.mark.parametrize("path", SOURCES, ids=stem)
def test_no_hydra_instantiate_no_eval_and_no_pickle(path):
    called = [n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    assert not {f.id for f in called if isinstance(f, ast.Name)} & {"eval", "exec", "instantiate"}
    assert "instantiate" not in {f.attr for f in called if isinstance(f, ast.Attribute)}
    if path.stem != "human":  # CIFAR-N is a pickle; its reader makes arrays of numbers and calls nothing else
        assert not {dotted.split(".")[0] for dotted in imports(path)} & {"pickle", "dill", "cloudpickle"}


GLOBAL = {  # calls that read or move a global generator
    "torch": {"manual_seed", "seed", "rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial"},
    "random": {"*"},
    "np.random": {
        "seed",
        "rand",
        "randn",
        "randint",
        "random",
        "choice",
        "shuffle",
        "permutation",
        "normal",
        "uniform",
    },
}


@pytest.mark.parametrize("path", SOURCES, ids=stem)
def test_no_global_generator_is_used(path):
    assert "random" not in {dotted.split(".")[0] for dotted in imports(path)}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = ast.unparse(node.func.value).replace("numpy", "np")
            assert node.func.attr not in GLOBAL.get(owner, ()), f"{path.name}:{node.lineno}"


def in_a_new_process(code):
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


LIGHT = sorted({room(path) for path in MODULES} - USE_TORCH - {"figure", "table", "__init__"})


def test_light_modules_import_nothing_heavy():
    lines = "; ".join(f"import noisygce.{name}" for name in LIGHT)
    assert {"losses", "noise", "models", "data", "config", "runs", "train"} <= set(LIGHT)
    heavy = in_a_new_process(f"import sys; {lines}; print(*(set(sys.modules) & {HEAVY!r}))")
    assert heavy == []


def test_reading_a_config_imports_nothing_heavy():
    code = "import sys; from noisygce import config; config.read(config.compose(['loss=tgce']))"
    assert in_a_new_process(f"{code}; print(*(set(sys.modules) & {HEAVY!r}))") == []


def test_importing_the_package_does_no_work():
    assert in_a_new_process("import sys; import noisygce; print(*(m for m in sys.modules if 'noisygce.' in m))") == []
