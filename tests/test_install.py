"""An installed wheel does what a checkout does: without the repository, in an empty folder, without a network."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

import noisygce

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (
    "noisygce",
    "configs",
    "hydra_plugins",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "CITATION.cff",
    "MANIFEST.in",
)
# Two losses and two seeds of the demo, six epochs each, two of them before the first pruning.
DEMO = ("experiment=demo", "loss=gce,tgce", "noise=uniform", "rate=0.4", "seed=0,1")
DEMO += ("schedule.epochs=6", "prune.start=2", "prune.every=2")

NO_NETWORK = """
import socket


def refuse(*_, **__):
    raise OSError("there is no network in this test")


socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="needs setuptools to build a wheel"),
]


def built(what: str, source: Path) -> Path:
    """A "wheel" or an "sdist", by the backend that pyproject.toml names, as any front end would have it made."""
    build = f"from setuptools import build_meta; print(build_meta.build_{what}('dist'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return source / "dist" / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """From a copy of the sources."""
    folder = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return built("sdist", folder)


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """From the sdist, so that it too is known to hold all that is needed."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    return built("wheel", source)


def dependencies(of: metadata.Distribution) -> Iterator[metadata.Distribution]:
    """What a distribution needs, and what that needs, as installed here; extras only where they are asked for."""
    from packaging.requirements import Requirement

    seen: set[tuple[str, str]] = set()
    left = [(of, "")]
    while left:
        distribution, extra = left.pop()
        for text in distribution.requires or []:
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                for wanted in {"", *needed.extras} - {x for name, x in seen if name == needed.name}:
                    seen.add((needed.name, wanted))
                    found = metadata.distribution(needed.name)
                    left.append((found, wanted))
                    yield found


class Clean:
    """An environment with the wheel and what it says that it depends on, linked from this one; nothing else is there:
    neither the checkout nor its editable install, nor what only tests need."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        venv.create(folder / "env", with_pip=False)
        self.python = folder / "env" / "bin" / "python"
        inside = {"base": str(folder / "env"), "platbase": str(folder / "env")}
        self.packages = Path(sysconfig.get_path("purelib", "venv", inside))
        zipfile.ZipFile(wheel).extractall(self.packages)  # all that installing a wheel without scripts is
        (self.packages / "sitecustomize.py").write_text(NO_NETWORK)
        (own,) = metadata.distributions(name="noisygce", path=[str(self.packages)])
        for distribution in dependencies(own):
            for name in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
                if not (self.packages / name).exists():  # several share the folder nvidia
                    (self.packages / name).symlink_to(Path(str(distribution.locate_file(name))).resolve())
        self.folder = folder / "empty"
        self.folder.mkdir()

    def __call__(self, *arguments: str) -> str:
        """Runs its Python in the empty folder; what it has printed."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "NOISYGCE"))}
        own["NOISYGCE_CACHE"] = str(self.folder.parent / "cache")
        done = subprocess.run(
            [self.python, *arguments], cwd=self.folder, env=own, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Clean:
    return Clean(tmp_path_factory.mktemp("clean"), wheel)


def test_the_wheel_holds_all_that_the_package_is_made_of_and_nothing_else(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = {path for name in ("noisygce", "hydra_plugins", "configs") for path in (ROOT / name).rglob("*")}
    ours = {path.relative_to(ROOT).as_posix() for path in files if path.is_file() and path.suffix != ".pyc"}
    (entry_points,) = (name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("entry_points.txt"))
    assert "noisygce = noisygce.__main__:main" in zipfile.ZipFile(wheel).read(entry_points).decode()
    assert held == {f"noisygce/{name}" if name.startswith("configs/") else name for name in ours}


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        said = archive.read(name).decode()
        assert name.replace("METADATA", "licenses/LICENSE") in archive.namelist()
    head = said.partition("\n\n")[0].splitlines()
    assert f"Version: {noisygce.__version__}" in head
    assert "License-Expression: MIT AND CC-BY-4.0" in head
    assert "Requires-Python: >=3.11" in head
    assert any(line.startswith("Keywords: noisy labels") for line in head)
    assert "Classifier: Typing :: Typed" in head
    assert "# noisygce" in said  # the README


def test_the_environment_is_clean(clean: Clean) -> None:
    code = (
        "import noisygce, json, sys; from noisygce import settings; from importlib import metadata;"
        "from hydra_plugins import noisygce_sweeper as s; from hydra.core.plugins import Plugins;"
        "from hydra.plugins.sweeper import Sweeper;"
        "found = [c.__module__ for c in Plugins.instance().discover(Sweeper)];"
        "print(json.dumps([noisygce.__file__, s.__file__, str(settings.config_dir()),"
        "str(metadata.distribution('noisygce').locate_file('')), found, sys.path]))"
    )
    package, sweeper, configs, distribution, sweepers, path = json.loads(clean("-c", code))
    inside = str(clean.packages)
    assert all(Path(each).is_relative_to(inside) for each in (package, sweeper, configs, distribution))
    assert configs == str(clean.packages / "noisygce" / "configs")
    assert "hydra_plugins.noisygce_sweeper" in sweepers
    assert str(ROOT) not in path
    here = {str(Path(sysconfig.get_path(name)).resolve()) for name in ("purelib", "platlib")}
    assert not here & {str(Path(each).resolve()) for each in path}
    assert clean("-c", "import importlib.util as u; print(u.find_spec('pytest'))") == "None\n"
    refused = "import urllib.request as u\ntry: u.urlopen('http://127.0.0.1:9')\nexcept OSError as e: print(e)"
    assert "there is no network in this test" in clean("-c", refused)


def test_a_piece_of_the_demo_runs_from_the_wheel_and_nothing_else(clean: Clean) -> None:
    assert {"train", "table", "verify"} <= {*clean("-m", "noisygce").split()}
    clean("-m", "noisygce.train", "-m", *DEMO, "runtime.threads=1")
    manifests = [json.loads(path.read_text()) for path in clean.folder.glob("results/runs/*/manifest.json")]
    assert sorted((m["config"]["loss"]["name"], m["config"]["seed"]) for m in manifests) == [
        *(("gce", 0), ("gce", 1), ("tgce", 0), ("tgce", 1))
    ]
    assert [m["commit"] for m in manifests] == [None] * 4
    assert all(len(m["pruning"]) == 2 for m in manifests if m["config"]["loss"]["name"] == "tgce")
    assert "4 done" in clean("-m", "noisygce.status", *DEMO)
    said = clean("-m", "noisygce.table", *DEMO)
    assert "| tgce |" in said
    tables = sorted(path.suffix for path in (clean.folder / "results" / "tables").iterdir())
    assert tables == [".csv", ".json", ".md", ".tex"]
    clean("-m", "noisygce.figure", *DEMO)
    (drawn,) = clean.folder.glob("results/figures/demo*/accuracy.pdf")  # named by what differs from the experiment
    assert drawn.stat().st_size > 1000
    assert "4 of 4 finished runs below results are what they say" in clean("-m", "noisygce.verify")
    assert [path.name for path in clean.folder.iterdir()] == ["results"]
