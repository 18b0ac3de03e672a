"""The house: who may import whom, read from the source; and what may not be imported or called at all."""

import ast
import subprocess
import sys

import pytest

from noisygce import settings

ROOT = settings.config_dir().parent
PACKAGE = ROOT / "noisygce"
MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = [*MODULES, *sorted((ROOT / "hydra_plugins").glob("*.py"))]

# A room imports rooms of lower floors, and its own modules. Nothing else.
FLOORS = [
    {"check", "errors"},
    {"construct"},
    {"data", "noise", "losses", "models", "schedule"},
    {"training", "settings"},
    {"runs"},
    {"results"},
    {"sweep"},
    {"train", "view"},
    {"table", "figure", "report", "status", "verify", "reproduce", "labels"}
    | {"predict", "suspects", "doctor", "bench", "__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms} | {"__init__": -1}

HEAVY = {"torch", "torchvision", "triton", "pandas", "matplotlib", "scipy", "sklearn"}
COMPUTES = (
    {  # import torch when they are imported, so that nothing that starts a command may import them
        f"noisygce.training.{name}"
        for name in (
            "augment",
            "cuda_graph",
            "dropout",
            "evaluate",
            "fit",
            "loader",
            "philox",
            "predictions",
            "prune",
            "step",
        )
    }
    | {f"noisygce.training.{name}" for name in ("prune", "step")}
    | {f"noisygce.models.{name}" for name in ("resnet", "fused", "fused_kernels", "peers", "pool")}
    | {"noisygce.losses.torch"}
    | {f"noisygce.bench.{path.stem}" for path in (PACKAGE / "bench").glob("[a-z]*.py")}
)
CONFIG_SYSTEM = {"settings", "sweep", "train"}  # know Hydra and OmegaConf


def room(path):
    """The top-level module or package that a file belongs to: losses for noisygce/losses/gce.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module(path):
    """The dotted name of a file of the package."""
    return ".".join(("noisygce", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def imports(path, everywhere=True):
    """Line and dotted name of what a file imports; ``everywhere``: inside functions and for type checkers too."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: a relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def packages(path, everywhere=True):
    return {dotted.partition(".")[0] for _, dotted in imports(path, everywhere)}


def upward(path):
    """The imports of a file that do not go down, each as FILE:LINE: what it imports."""
    own = room(path)
    for line, dotted in imports(path):
        first, *rest = dotted.split(".")
        if first != "noisygce" or not rest:
            continue
        name = rest[0] if rest[0] in FLOOR else "__init__"  # a name that noisygce/__init__.py gives
        if name != own and FLOOR[name] >= FLOOR[own]:
            yield f"noisygce/{path.relative_to(PACKAGE)}:{line}: {own} imports {name}, which is not below it"


def test_every_room_stands_on_one_floor():
    rooms = {room(path) for path in MODULES}
    assert rooms == set(FLOOR)
    assert sum(map(len, FLOORS)) == len(set().union(*FLOORS))


@pytest.mark.parametrize("path", MODULES, ids=module)
def test_imports_go_down(path):
    assert list(upward(path)) == []


def test_an_import_that_goes_up_is_named_with_file_and_line(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    (tmp_path / "runs").mkdir()
    wrong = tmp_path / "runs" / "manifest.py"
    wrong.write_text("import json\n\n\ndef read():\n    from noisygce import check, labels\n")
    assert list(upward(wrong)) == ["noisygce/runs/manifest.py:5: runs imports labels, which is not below it"]
    wrong.write_text("from noisygce.sweep.plan import Plan\nfrom noisygce.runs import atomic\n")
    assert list(upward(wrong)) == ["noisygce/runs/manifest.py:1: runs imports sweep, which is not below it"]


def test_a_stranger_sees_all_rooms_at_once():
    entries = [path for path in PACKAGE.iterdir() if not path.name.startswith((".", "__")) and path.suffix != ".typed"]
    assert len(entries) <= 26, sorted(path.name for path in entries)


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*/__init__.py")), ids=module)
def test_every_room_says_what_it_is(path):
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    files = [p.name for p in path.parent.glob("*.py") if not p.name.startswith("__")]
    assert all(name in text for name in files), f"{path}: names none of {[n for n in files if n not in text]}"


@pytest.mark.parametrize("path", MODULES, ids=module)
def test_only_settings_sweep_and_train_know_the_config_system(path):
    assert room(path) in CONFIG_SYSTEM or not packages(path) & {"hydra", "omegaconf"}


@pytest.mark.parametrize("path", [p for p in SOURCES if p not in MODULES or module(p) not in COMPUTES], ids=str)
def test_heavy_packages_are_imported_inside_functions(path):
    assert not packages(path, everywhere=False) & HEAVY


VIEWS = {"results", "view", "table", "figure", "report", "status"}


@pytest.mark.parametrize("path", [p for p in MODULES if room(p) in VIEWS], ids=module)
def test_what_people_look_at_never_imports_torch(path):
    assert "torch" not in packages(path)


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_no_hydra_instantiate_no_eval_and_no_pickle(path):
    called = [n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    assert not {f.id for f in called if isinstance(f, ast.Name)} & {"eval", "exec", "instantiate"}
    assert "instantiate" not in {f.attr for f in called if isinstance(f, ast.Attribute)}
    if (
        path.stem != "check"
    ):  # CIFAR and CIFAR-N are pickles; their reader makes arrays of numbers and calls nothing else
        assert not packages(path) & {"pickle", "dill", "cloudpickle"}


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


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_no_global_generator_is_used(path):
    assert "random" not in packages(path)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = ast.unparse(node.func.value).replace("numpy", "np")
            assert node.func.attr not in GLOBAL.get(owner, ()), f"{path.name}:{node.lineno}"


def in_a_new_process(code):
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def modules_after(code):
    return set(in_a_new_process(f"import sys; {code}; print(*sys.modules)"))


def test_modules_that_compute_nothing_import_nothing_heavy():
    light = [module(path) for path in MODULES if module(path) not in COMPUTES and not module(path).endswith("__main__")]
    assert {"noisygce.losses", "noisygce.noise", "noisygce.models", "noisygce.data", "noisygce.train"} <= set(light)
    assert not modules_after("; ".join(f"import {name}" for name in light)) & HEAVY


def test_reading_a_config_imports_nothing_heavy():
    found = modules_after("from noisygce import settings; settings.read(settings.compose(['loss=tgce']))")
    assert "hydra" in found
    assert not found & HEAVY


def test_reading_results_imports_neither_torch_nor_hydra():
    found = modules_after("from noisygce import results; assert results.found('results/reference')")
    assert not found & {"torch", "hydra", "omegaconf", "matplotlib"}


def test_importing_the_package_does_no_work():
    assert in_a_new_process("import sys; import noisygce; print(*(m for m in sys.modules if 'noisygce.' in m))") == []
