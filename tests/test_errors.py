"""Whose fault an error is: a person's own code is what noisygce calls, not what calls noisygce, and no plugin."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from noisygce import check
from noisygce.errors import user_code_error
from noisygce.sweep.launch import launch_all


def function_in(path: Path, text: str) -> Any:
    """The only function that a file defines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    names: dict[str, Any] = {}
    exec(compile(text, str(path), "exec"), names)
    return next(value for name, value in names.items() if name != "__builtins__")


def raised(call: Callable[[], object]) -> Exception:
    with pytest.raises((KeyError, AssertionError)) as found:
        call()
    return found.value


def files(error: BaseException) -> list[str]:
    found, trace = [], error.__traceback__
    while trace is not None:
        found.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    return found


RAISES = "def fails(*_):\n    raise KeyError('x')\n"


def test_code_that_noisygce_calls_is_a_person_s_own(tmp_path: Path) -> None:
    model = function_in(tmp_path / "model.py", RAISES)
    assert str(user_code_error(raised(lambda: launch_all(model, [[]])))) == f"{tmp_path}/model.py:2: KeyError: 'x'"


@pytest.mark.parametrize("installed", ["hydra_plugins", "lib/python3/site-packages"])
def test_a_program_around_noisygce_and_an_installed_plugin_are_not(tmp_path: Path, installed: str) -> None:
    program = function_in(tmp_path / "bin" / "noisygce", "def call(function):\n    return function()\n")
    plugin = function_in(tmp_path / installed / "launcher.py", RAISES)
    error = raised(lambda: program(lambda: launch_all(plugin, [[]])))
    assert {f"{tmp_path}/bin/noisygce", f"{tmp_path}/{installed}/launcher.py"} <= {*files(error)}
    assert user_code_error(error) is None


def test_the_sweeper_of_a_checkout_is_not() -> None:
    from hydra_plugins import noisygce_sweeper

    error = raised(lambda: launch_all(noisygce_sweeper.NoisygceSweeper().sweep, [[]]))  # it has not been set up
    assert noisygce_sweeper.__file__ in files(error)
    assert user_code_error(error) is None


def test_an_invalid_value_is_told_alike_after_a_launcher_has_pickled_it() -> None:
    error = check.Invalid("compile", True, "false")
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "compile=true: compile must be false"
