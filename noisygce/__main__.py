"""noisygce: reproducible experiments on learning with noisy labels.

    python -m noisygce.train loss=tgce noise=pair rate=0.4      trains one run, or goes on with it
    python -m noisygce.train -m experiment=demo                 trains a sweep of runs; start it again to go on
    python -m noisygce.status experiment=demo                   how far its runs are, and the time left
    python -m noisygce.table experiment=demo                    its table, complete or not: Markdown, LaTeX, CSV
    python -m noisygce.figure experiment=demo                   its figures: PDF, PNG, SVG
    python -m noisygce.report experiment=demo                   one HTML page with all of it
    python -m noisygce.verify                                   whether results are what they say, without training
    python -m noisygce.reproduce RUN                            trains a finished run again and compares the two
    python -m noisygce.predict RUN cat.png                      what the model of a finished run says of pictures
    python -m noisygce.suspects RUN                             labels that are probably wrong: a list, a page to judge
    python -m noisygce.bench                                    how fast it is here, beside a plain loop
    python -m noisygce.labels out=labels.npy noise=pair         noisy labels as a file, for another code base
    python -m noisygce.doctor                                   whether this machine can train, and what to do if not

Each says more with --help; noisygce.train --help lists every data set, noise, loss and value. Installed, the command
noisygce does the same in fewer letters: noisygce train loss=tgce, noisygce --version, and completion by TAB after
eval "$(noisygce -sc install=bash)" (zsh: the same after bashcompinit; fish: noisygce -sc install=fish | source).
"""

from __future__ import annotations

import difflib
import os
import re
import runpy
import sys

from noisygce.errors import until_unread

COMMANDS = tuple(dict.fromkeys(re.findall(r"^    python -m noisygce\.(\w+) ", __doc__, re.MULTILINE)))


def main() -> None:
    """Runs the command that the command line names, or prints what there is; exit code 2 where it names no command."""
    with until_unread():
        _main(*(sys.argv[1:] or ["--help"]))


def _main(first: str, *rest: str) -> None:
    if first in ("-h", "--help"):
        print(__doc__.strip())
    elif first == "--version":
        from noisygce import __version__

        print(f"noisygce {__version__}")
    elif first in ("-sc", "--shell-completion"):
        _complete([*rest])
    elif first in COMMANDS:
        _run(first, [*rest])
    else:
        close = difflib.get_close_matches(first, COMMANDS, n=1)
        hint = f"did you mean {close[0]}? There" if close else "there"
        print(f"noisygce: {first}: there is no such command; {hint} are {', '.join(COMMANDS)}", file=sys.stderr)
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
