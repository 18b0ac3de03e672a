"""Sphinx extension: the reference pages, made from the commands, the config leaves and the docstrings at each build.

Pages: generated/commands.md, generated/config.md, generated/losses.md, generated/noise.md, generated/python.md.
"""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import yaml
from sphinx.application import Sphinx
from sphinx.util.inspect import stringify_signature

from noisygce import __main__, settings

CONFIGS = settings.config_dir()
GROUPS = {
    "data": "Data sets",
    "model": "Models",
    "schedule": "Schedules",
    "logger": "Loggers",
    "experiment": "Experiments",
}
MODULES = {
    "noisygce.api.returned": "Trained runs",
    "noisygce.losses.base": "What every loss has",
    "noisygce.noise.base": "What every noise has",
    "noisygce.models.base": "What every model has",
    "noisygce.models.saved": "Models of finished runs",
    "noisygce.data.base": "What every data set has",
    "noisygce.results": "Results",
    "noisygce.check": "Checks of values",
    "noisygce.inputs": "Files of people",
}


def commands() -> str:
    """Each command's ``--help``."""
    text = "# Commands\n\n`noisygce NAME` is short for `python -m noisygce.NAME`.\n"
    for name, line in __main__.COMMANDS.items():
        source = CONFIGS / "hydra" / "help" / "noisygce.yaml"
        usage = _train_help(source) if name == "train" else _usage(name)
        text += f"\n## {name}\n\n{line[0].upper()}{line[1:]}.\n\n```text\n{usage}\n```\n"
    return text


def _usage(name: str) -> str:
    """As ``--help`` prints it."""
    module = importlib.import_module(f"noisygce.{name}")
    if hasattr(module, "__path__"):
        module = importlib.import_module(f"noisygce.{name}.__main__")
    return (inspect.getdoc(module) or "").replace("``", "")


def _train_help(source: Path) -> str:
    template: str = yaml.safe_load(source.read_text())["template"]
    examples = template.partition("Choices (GROUP=CHOICE)")[0].replace("${hydra.help.header}", "").strip("\n")
    return inspect.cleandoc(examples) + "\n\nConfiguration keys: see the page of that name."


def config() -> str:
    """Every config file, as it is: its keys, their values, and what each means."""
    text = (
        "# Configuration keys\n\nEvery value of a run, with its default. `KEY=VALUE` on the command line changes one.\n"
    )
    text += f"\n## All runs\n\n{_yaml(CONFIGS / 'train.yaml')}"
    text += "\n[Losses](losses.md) and [label noise](noise.md) have pages of their own.\n"
    for group, title in GROUPS.items():
        text += f"\n## {title}: `{group}=`\n"
        for path in sorted((CONFIGS / group).glob("*.yaml")):
            text += f"\n### `{group}={path.stem}`\n\n{_yaml(path)}"
    return text


def _yaml(path: Path) -> str:
    return f"```yaml\n{path.read_text().rstrip()}\n```\n"


def leaves(group: str, title: str, intro: str) -> str:
    """The classes that the leaves of a group name, in the order of their names."""
    text = f"# {title}\n\n{intro}\n"
    shown: dict[str, list[str]] = {}
    for path in sorted((CONFIGS / group).glob("*.yaml")):
        shown.setdefault(_target(path), []).append(path.stem)
    for target, names in shown.items():
        text += f"\n## {', '.join(names)}\n\n```{{eval-rst}}\n.. autoclass:: {target}\n```\n\n"
        text += "\n".join(f"`{group}={name}`:\n\n{_yaml(CONFIGS / group / f'{name}.yaml')}" for name in names)
    return text


def _target(path: Path) -> str:
    """The class of a leaf, or of the leaf that it extends."""
    leaf: Any = yaml.safe_load(path.read_text())
    found = _find(leaf)
    if found:
        return found
    parents = [entry for entry in leaf.get("defaults", []) if isinstance(entry, str) and entry != "_self_"]
    return _target(path.with_name(f"{parents[0].partition('@')[0]}.yaml"))


def _find(leaf: Any) -> str:
    if not isinstance(leaf, dict):
        return ""
    return leaf.get("_target_") or next((found for value in leaf.values() if (found := _find(value))), "")


def python() -> str:
    text = "# Python\n\nWhat a program imports. Names that begin with an underscore may change.\n\n## Training\n"
    text += "\n```{eval-rst}\n.. autofunction:: noisygce.run\n.. autofunction:: noisygce.grid\n```\n"
    for module, title in MODULES.items():
        text += f"\n## {title}\n\n```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n```\n"
    return text


def write(app: Sphinx) -> None:
    """Writes the pages before Sphinx looks for them. Sphinx builds a page anew only where it has changed."""
    folder = Path(app.srcdir) / "generated"
    folder.mkdir(exist_ok=True)
    losses = (
        "Shapes: logits (B, K), labels (B,). p = softmax(logits), p_y the probability of the given label. "
        "A table of all: [losses](../losses.md)."
    )
    noise = (
        "T[y, z] = P(noisy z | true y), (K, K), each row sums to 1. All of them, with their T: [noise](../noise.md)."
    )
    pages = {
        "commands": commands(),
        "config": config(),
        "losses": leaves("loss", "Losses: classes", losses),
        "noise": leaves("noise", "Label noise: classes", noise),
        "python": python(),
    }
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


# What is plain text in a docstring and markup in reStructuredText; ``code`` stays.
_MARKUP = re.compile(r"(``.+?``)|([*|\\`]|(?<=\w)_(?=\W|$))")


def plain(*event: Any) -> None:
    """Docstrings are plain text: escapes markup, and shows each indented block as code."""
    lines: list[str] = event[-1]
    text: list[str] = []
    for line in lines:
        indented = line.startswith("    ")
        if indented and not (text and (text[-1].startswith("    ") or (text[-1] == "" and _in_block(text)))):
            text += ["", "::", ""]
        elif not indented and line and text and text[-1].startswith("    "):
            text.append("")
        text.append(line if indented else _MARKUP.sub(lambda m: m[1] or f"\\{m[2]}", line.lstrip()))
    lines[:] = text


def signature(_app: Sphinx, what: str, _name: str, found: Any, *_: Any) -> tuple[str, None] | None:
    """Of a class: its constructor's, also where ``__new__`` takes anything."""
    if what != "class":
        return None
    return stringify_signature(inspect.signature(found), show_return_annotation=False), None


def _in_block(text: list[str]) -> bool:
    last = next((line for line in reversed(text) if line), "")
    return last.startswith("    ") or last == "::"


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", write)
    app.connect("autodoc-process-docstring", plain)
    app.connect("autodoc-process-signature", signature)
    return {"parallel_read_safe": True}
