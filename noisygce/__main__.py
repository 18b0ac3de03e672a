"""The command ``noisygce``: lists all commands, and runs the one on the command line."""

from __future__ import annotations

import argparse
import difflib
import os
import runpy
import sys
from typing import NoReturn

from noisygce import __version__
from noisygce.errors import exit_quietly_on_broken_pipe

# A command is the module noisygce.NAME, and one line here.
COMMANDS = {
    "train": "train a run, or with -m a sweep of runs; start it again to resume",
    "status": "show the progress of a sweep and the time left",
    "table": "print the table of a sweep, complete or not; write Markdown, LaTeX, CSV",
    "figure": "draw the figures of a sweep: PDF, PNG, SVG",
    "report": "write one HTML page with the table and the figures of a sweep",
    "verify": "check finished runs against their files, without training",
    "reproduce": "train a finished run again and compare the two",
    "predict": "classify images with the model of a finished run",
    "clean": "list the wrong labels of your own pictures, vectors or arrays, in one command",
    "suspects": "list labels that are probably wrong, with a page on which to judge them",
    "bench": "measure training speed on this machine, beside a plain loop",
    "labels": "write noisy labels to a file, for another code base",
    "doctor": "check that this machine can train, and print what to do if not",
}
_EPILOG = """
noisygce COMMAND --help shows examples; python -m noisygce.COMMAND does the same. Completion by TAB:
eval "$(noisygce -sc install=bash)"; zsh: the same after bashcompinit; fish: noisygce -sc install=fish | source
"""


def main() -> None:
    """Runs the command that the command line names, or prints what there is; exit code 2 where it names no command."""
    with exit_quietly_on_broken_pipe():
        parser = _parser()
        given = parser.parse_args()
        if given.shell_completion is not None:
            _complete(given.shell_completion)
        elif given.help or given.command is None:
            print(parser.format_help().strip())
        elif given.command in COMMANDS:
            _run(given.command, given.arguments)
        else:
            close = difflib.get_close_matches(given.command, COMMANDS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "noisygce --help lists them"
            _refuse(f"unknown command {given.command!r}; {hint}")


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:<10} {line}" for name, line in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="noisygce",
        usage="noisygce COMMAND [ARGUMENTS]",
        description=f"Reproducible experiments on learning with noisy labels.\ncommands:\n{listed}",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,  # argparse's own prints nothing, and ends with 0, where no one reads it
        allow_abbrev=False,
    )
    parser.error = _refuse  # type: ignore[method-assign]
    parser.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.add_argument("-h", "--help", action="store_true", help="show this text")
    parser.add_argument("--version", action="version", version=f"noisygce {__version__}")
    parser.add_argument("-sc", "--shell-completion", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _refuse(message: str) -> NoReturn:
    print(f"noisygce: {message}", file=sys.stderr)
    sys.exit(2)


def _run(name: str, words: list[str]) -> None:
    """As ``python -m noisygce.NAME`` would, which finds a person's own classes in the folder that it is started in."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    sys.argv[1:] = words
    runpy.run_module(f"noisygce.{name}", run_name="__main__", alter_sys=True)


def _complete(words: list[str]) -> None:
    """Shell completion: Hydra's, which knows every group, choice and key, behind the name of a command."""
    typed = os.environ.get("COMP_LINE", "").split(" ")
    if words[:1] and words[0].startswith("query="):
        if len(typed) <= 2:
            print("\n".join(name for name in COMMANDS if name.startswith("".join(typed[1:]))))
            return
        os.environ["COMP_LINE"] = " ".join([typed[0], *typed[2:]])
    from noisygce import train

    sys.argv = ["noisygce", "--shell-completion", *words]
    train.main()


if __name__ == "__main__":
    main()
