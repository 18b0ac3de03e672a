"""What the pages say can be done: links lead somewhere, commands are there, every leaf has its row."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from noisygce import __main__, __version__, settings

ROOT = settings.config_dir().parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
TEXT = {name: page.read_text() for name, page in zip(NAMES, PAGES, strict=True)}
CODE = re.compile(r"```.*?```", re.DOTALL)


def anchors(text: str) -> set[str]:
    """What code hosts call the headings of a page: lower case, no punctuation, a dash for each space."""
    titles = re.findall(r"^#+ (.*)$", CODE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_to_a_file_and_a_heading(name: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", CODE.sub("", TEXT[name]))
    for path, heading in links:
        if path.startswith("../../actions/"):  # the code host's page of CI
            continue
        there = (ROOT / name).parent / path if path else ROOT / name
        assert there.exists(), f"{name}: {path}"
        assert not heading or heading in anchors(there.read_text()), f"{name}: {path}#{heading}"


def commands() -> set[str]:
    """The commands that ``python -m noisygce`` lists."""
    return set(__main__.COMMANDS)


def test_the_readme_lists_the_commands_that_noisygce_lists() -> None:
    assert set(re.findall(r"python -m noisygce\.(\w+)", TEXT["README.md"])) >= commands()


@pytest.mark.parametrize("name", NAMES)
def test_every_command_on_a_page_is_a_command(name: str) -> None:
    assert set(re.findall(r"python -m noisygce\.(\w+)", TEXT[name])) <= commands()


def test_make_help_and_the_pages_name_the_same_targets() -> None:
    said = subprocess.run(["make", "-C", ROOT, "help"], capture_output=True, text=True, check=True).stdout
    offered = set(re.findall(r"^  make ([a-z-]+)", said, re.MULTILINE))
    named = {
        target for text in TEXT.values() for target in re.findall(r"(?:`|^    )make ([a-z-]+)", text, re.MULTILINE)
    }
    assert {"setup", "demo", "test"} <= named
    assert offered == named


def leaves(group: str) -> list[str]:
    return sorted(path.stem for path in (settings.config_dir() / group).glob("*.yaml"))


def test_the_first_sentence_counts_the_losses() -> None:
    count = len([*(settings.config_dir() / "loss").glob("*.yaml")])
    for page in ("README.md", "docs/index.md"):
        assert f": {count} losses, " in TEXT[page], page


def test_every_loss_is_in_one_family() -> None:
    families = TEXT["docs/losses.md"].split("| family |")[1].split("\n\n")[0]
    assert sorted(re.findall(r"`(\w+)`", families)) == leaves("loss")


def test_every_noise_has_its_row() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", TEXT["docs/noise.md"], re.MULTILINE))
    assert sorted(rows) == leaves("noise")


NEW = {"noisygce/losses/poly1.py", "configs/loss/poly1.yaml", "noisygce/NAME.py"}  # what a page tells to write


@pytest.mark.parametrize("name", [name for name in NAMES if name != "LOG.md"])  # which names the files of its day
def test_every_file_that_a_page_names_is_there(name: str) -> None:
    named = set(re.findall(r"(?<![\w/])(?:noisygce|configs|docs|tests)/[\w/]+\.(?:py|md|yaml)", TEXT[name]))
    if name == "docs/architecture.md":
        named |= set(re.findall(r"`((?:\w+/)+\w+\.py)`", TEXT[name]))
    assert [
        path for path in named - NEW if not (ROOT / path).exists() and not (ROOT / "noisygce" / path).exists()
    ] == []


def test_the_tree_of_folders_lists_every_package() -> None:
    tree = TEXT["docs/architecture.md"].split("## Where things are")[1].split("\n## ")[0]
    listed = re.findall(r"^      (\w+)/", tree, re.MULTILINE)
    assert sorted(listed) == sorted(path.parent.name for path in (ROOT / "noisygce").glob("*/__init__.py"))


def test_the_citation_names_this_version() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.findall(r"version = \{(.*)\}", TEXT["README.md"]) == [__version__]


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("_build", "generated"))
    (tmp_path / "results").symlink_to(ROOT / "results")
    build = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", tmp_path / "docs", tmp_path / "site"]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    losses = (tmp_path / "site" / "generated" / "losses.html").read_text()
    assert "noisygce.losses.GCE" in losses
