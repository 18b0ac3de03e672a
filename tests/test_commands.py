"""The commands by name: each says what it is for."""

from __future__ import annotations

import argparse
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers_reliability import train

import noisygce
from noisygce import __main__ as overview
from noisygce import status, table
from noisygce.errors import ConfigError
from noisygce.settings import arguments, command, config_dir

PACKAGE = Path(noisygce.__file__).parent
COMMANDS = sorted(
    [path.stem for path in PACKAGE.glob("[!_]*.py") if "__main__" in path.read_text()]
    + [path.parent.name for path in PACKAGE.glob("*/__main__.py")]
)


def test_python_m_noisygce_lists_every_command_on_one_screen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {"train", "status", "table", "verify", "reproduce", "labels"} <= set(COMMANDS)
    for words in ([], ["--help"]):
        monkeypatch.setattr(sys, "argv", ["noisygce", *words])
        overview.main()
        out, err = capsys.readouterr()
        assert err == ""
        listed = out.split("commands:\n")[1].split("\n\n")[0]
        assert {line.split()[0] for line in listed.splitlines()} == set(COMMANDS)
        assert len(out.splitlines()) <= 24
        assert max(map(len, out.splitlines())) <= 120


def noisygce_(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-m", "noisygce", *words], env=own, capture_output=True, text=True)


def test_noisygce_runs_the_command_that_it_is_given_and_refuses_any_other_in_one_line(tmp_path: Path) -> None:
    done = noisygce_("status", f"paths.results={tmp_path}")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{tmp_path}: 0 runs\nno runs\n", "")
    done = noisygce_("train", "loss.q=0")
    assert (done.returncode, done.stderr) == (2, "noisygce: loss.q=0: loss.q must be a number in (0, 1]\n")
    assert noisygce_("--version").stdout == f"noisygce {noisygce.__version__}\n"
    for word, said in {
        "trian": "unknown command 'trian'; did you mean 'train'?",
        "zzz": "unknown command 'zzz'; noisygce --help lists them",
        "\x1b[31m": r"unknown command '\x1b[31m'; noisygce --help lists them",
        "--typo": "unrecognized arguments: --typo",
    }.items():
        done = noisygce_(word)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"noisygce: {said}\n")


@pytest.mark.parametrize(("view", "line"), [(status, "mine: 2 runs: 2 missing"), (table, "(0/2)")])
@pytest.mark.parametrize("joined", [False, True])
def test_a_folder_of_one_s_own_configs_goes_with_every_command(
    view: Any, line: str, joined: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = tmp_path / "conf" / "experiment" / "mine.yaml"
    experiment.parent.mkdir(parents=True)
    experiment.write_text("# @package _global_\ndefaults: [override /data: digits]\ngrid: [{seed: [0, 1]}]\n")
    words = ["experiment=mine", f"paths.results={tmp_path}"]
    option = [f"--config-dir={tmp_path}/conf"] if joined else ["--config-dir", f"{tmp_path}/conf"]
    view.run(arguments.words([*option, *words]))
    out = capsys.readouterr().out
    assert line in out
    assert "searchpath" not in out
    if view is table:  # its command finds the folder again
        made_by = re.findall(r"Made by `python -m noisygce\.table (--config-dir .*)`", out)[0].split()
        assert arguments.words(made_by) == [f"hydra.searchpath=['file://{tmp_path}/conf']", *words]


def test_a_folder_of_configs_that_is_not_there_or_hides_one_of_noisygce_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere: there is no such folder"):
        arguments.words(["--config-dir", "nowhere"])
    hidden = tmp_path / "loss" / "gce.yaml"
    hidden.parent.mkdir(parents=True)
    hidden.write_bytes((config_dir() / "loss" / "gce.yaml").read_bytes())
    assert arguments.words(["--config-dir", str(tmp_path)]), "it is equal to noisygce's"
    hidden.write_text(hidden.read_text().replace("0.7", "0.3"))
    with pytest.raises(ConfigError, match=r"loss/gce\.yaml is hidden by noisygce's own; give yours another name"):
        arguments.words(["--config-dir", str(tmp_path)])


@pytest.mark.parametrize("words", [["train", "--help"], ["reproduce", "--help"], ["status"], ["--help"]], ids=str)
def test_a_reader_that_has_gone_ends_a_command_without_a_word(words: list[str], tmp_path: Path) -> None:
    for environment in ({}, {"PYTHONUNBUFFERED": "1"}):
        own = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), **environment}
        reader, writer = os.pipe()
        os.close(reader)
        command = [sys.executable, "-m", "noisygce", *words]
        done = subprocess.run(command, env=own, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True)
        os.close(writer)
        assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(
    ("ends", "code", "says"),
    [
        ("pass", 141, ""),
        ("raise ConfigError('a bad value')", 2, "noisygce: a bad value"),
        ("sys.exit(1)", 1, ""),
        ("raise RuntimeError('a fault')", 1, "RuntimeError: a fault"),
    ],
)
def test_what_went_wrong_is_told_also_where_no_one_reads_the_rest(ends: str, code: int, says: str) -> None:
    lines = ("import sys", "from noisygce.errors import ConfigError", "from noisygce.settings import command")
    program = "\n".join([*lines, "with command.exits():", "    print('a line')", f"    {ends}"])
    reader, writer = os.pipe()
    os.close(reader)
    own = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "PYTHONUNBUFFERED": ""}
    done = subprocess.run([sys.executable, "-c", program], env=own, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == code
    assert (done.stderr.strip().splitlines() or [""])[-1] == says


def test_control_characters_of_a_message_are_printed_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """A file from elsewhere must not move the cursor of a terminal, or forge a second line."""
    with pytest.raises(SystemExit), command.exits():
        raise ConfigError("loss._target_=x\x1b[2J\x9b1m\nnoisygce: done\x07: caf\xe9")
    assert capsys.readouterr().err == "noisygce: loss._target_=x\\x1b[2J\\x9b1m\\nnoisygce: done\\x07: café\n"


def test_options_with_their_values_come_before_settings() -> None:
    """The value of an option may be the name of a group."""
    assert arguments.ordered(["loss=tgce", "--cfg", "job", "-p", "loss"]) == ["--cfg", "job", "-p", "loss", "loss=tgce"]
    assert arguments.ordered(["seed=0,1", "-m"]) == ["-m", "seed=0,1"]


def _as_python_3_14() -> None:
    """Has argparse look at each help text at once, which older Pythons do when they print it."""
    add: Any = argparse._ActionsContainer.add_argument

    def adding(self: Any, *words: Any, **named: Any) -> Any:
        action = add(self, *words, **named)
        if hasattr(self, "_check_help"):
            self._check_help(action)
        return action

    def check(_: Any, action: argparse.Action) -> None:
        if action.help and not isinstance(action.help, str):
            raise ValueError("badly formed help string")

    argparse._ActionsContainer.add_argument, argparse.ArgumentParser._check_help = adding, check  # type: ignore


def test_hydra_s_parser_is_made_on_pythons_that_look_at_its_help_at_once(tmp_path: Path) -> None:
    code, text = train(tmp_path, "loss=tgce", "data=digits", "--cfg", "job", before=_as_python_3_14)
    assert code == 0, text
    assert "noisygce.losses.TruncatedGCE" in text


def test_the_name_of_a_plan_reaches_the_sweeper_by_a_value_of_hydra() -> None:
    assert arguments.ordered(["name=x", "-m", "seed=0,1"]) == ["-m", "hydra.job.name=x", "seed=0,1"]


def test_the_short_form_of_cfg_is_not_taken_for_config_dir(tmp_path: Path) -> None:
    assert arguments.words(["-c", "job"]) == ["-c", "job"]
    for given in (["-cd", str(tmp_path)], [f"-cd={tmp_path}"]):
        assert arguments.words([*given, "-c", "job"]) == [f"hydra.searchpath=['file://{tmp_path}']", "-c", "job"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("noisygce ta", {"table"}),
        ("noisygce ", set(COMMANDS)),
        ("noisygce train loss=t", {"loss=t_revision", "loss=taylor", "loss=tgce"}),
        ("noisygce train loss=tgce loss.", {"loss.k=", "loss.q=", "loss._target_=", "loss.name="}),
        ("noisygce table experi", {"experiment="}),
    ],
)
def test_bash_completes_commands_choices_and_keys(line: str, offered: set[str], tmp_path: Path) -> None:
    """By what ``eval "$(noisygce -sc install=bash)"`` defines, called as bash calls it on TAB."""
    command = tmp_path / "noisygce"  # as an installation makes it
    command.write_text(f"#!{sys.executable}\nfrom noisygce.__main__ import main\nmain()\n")
    command.chmod(0o755)
    script = """eval "$(noisygce -sc install=bash)"
    complete -p noisygce > /dev/null || exit 1
    typed=($COMP_LINE); COMP_CWORD=$(( ${#typed[@]} - 1 )); [[ $COMP_LINE == *" " ]] && COMP_CWORD=${#typed[@]}
    hydra_bash_completion
    printf '%s\\n' "${COMPREPLY[@]}"
    """
    own = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "COMP_LINE": line, "COMP_POINT": str(len(line))}
    own["PYTHONPATH"] = str(PACKAGE.parent)
    done = subprocess.run(["bash", "-c", script], env=own, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == offered


@pytest.mark.parametrize(
    ("name", "word"), [("status", "-h"), *((name, "--help") for name in COMMANDS if name != "train")]
)  # the help of train is Hydra's
def test_help_is_a_text_on_standard_output_that_begins_with_the_command(
    name: str, word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["noisygce", word])
    for there in (f"noisygce.{name}", f"noisygce.{name}.__main__"):  # or Python warns that it is there already
        monkeypatch.delitem(sys.modules, there, raising=False)
    runpy.run_module(f"noisygce.{name}", run_name="__main__")
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"python -m noisygce.{name}")
    assert "``" not in out
    assert f"\n    python -m noisygce.{name}" in out
    assert max(map(len, out.splitlines())) <= 120
