"""Whose fault an error is: a person's own code is what noisygce calls, not what calls noisygce, and no plugin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from noisygce.errors import user_code_error
from noisygce.sweep.jobs import check_all


def written(path: Path, text: str) -> dict[str, Any]:
    """The names that a file defines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    names: dict[str, Any] = {}
    exec(compile(text, str(path), "exec"), names)
    return names


def raised(call: Callable[[], object]) -> Exception:
    with pytest.raises(KeyError) as found:
        call()
    return found.value


CALL = "def call(function):\n    return function()\n"


def test_a_model_that_noisygce_calls_is_a_person_s_own(tmp_path: Path) -> None:
    model = written(tmp_path / "model.py", "def build(*_):\n    raise KeyError('x')\n")["build"]
    assert str(user_code_error(raised(lambda: check_all(model, [[]])))) == f"{tmp_path}/model.py:2: KeyError: 'x'"


def test_a_program_that_calls_noisygce_is_not(tmp_path: Path) -> None:
    call = written(tmp_path / "bin" / "noisygce", CALL)["call"]
    installed = written(tmp_path / "site-packages" / "x.py", "def fails(*_):\n    raise KeyError('x')\n")["fails"]
    error = raised(lambda: call(lambda: check_all(installed, [[]])))
    assert f"{tmp_path}/bin/noisygce" in _files(error)
    assert user_code_error(error) is None


def _files(error: BaseException) -> list[str]:
    found, trace = [], error.__traceback__
    while trace is not None:
        found.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    return found


@pytest.mark.parametrize("folder", ["hydra_plugins", "lib/python3/site-packages"])
def test_a_plugin_of_hydra_is_not(tmp_path: Path, folder: str) -> None:
    plugin = written(tmp_path / folder / "launcher.py", "def launch(*_):\n    raise KeyError('x')\n")["launch"]
    error = raised(lambda: check_all(plugin, [[]]))
    assert f"{tmp_path}/{folder}/launcher.py" in _files(error)
    assert user_code_error(error) is None


def test_the_sweeper_of_a_checkout_is_not() -> None:
    from hydra_plugins import noisygce_sweeper

    with pytest.raises(AssertionError) as found:  # it has not been set up
        check_all(noisygce_sweeper.NoisygceSweeper().sweep, [[]])
    assert noisygce_sweeper.__file__ in _files(found.value)
    assert user_code_error(found.value) is None
