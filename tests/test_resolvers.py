"""noisygce is invisible to other Hydra programs of its environment, and a config computes nothing that could leak."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from noisygce import settings
from noisygce.errors import ConfigError
from noisygce.settings import resolvers

OTHER_APP = """
import sys

import hydra
from omegaconf import OmegaConf

OmegaConf.register_new_resolver("by", lambda x: f"their {x}")


@hydra.main(version_base=None, config_path=None, config_name=None)
def main(cfg):
    seen = OmegaConf.create({"secret": "${oc.env:SECRET}", "by": "${by:x}"})
    print(seen.secret, seen.by, [name for name in sys.modules if name.partition(".")[0] == "noisygce"])
    from hydra.core.plugins import Plugins
    from hydra.plugins.sweeper import Sweeper

    print("NoisygceSweeper" in [plugin.__name__ for plugin in Plugins.instance().discover(Sweeper)])


main()
"""


@pytest.mark.parametrize("mode", [(), ("-m", "+x=1")], ids=["run", "multirun"])
def test_another_hydra_program_of_the_environment_is_as_it_is_without_noisygce(tmp_path: Path, mode) -> None:
    """Hydra imports every module of hydra_plugins in every Hydra program."""
    (tmp_path / "app.py").write_text(OTHER_APP)
    done = subprocess.run(
        [sys.executable, "app.py", *mode, "hydra.output_subdir=null", "hydra/job_logging=none"],
        cwd=tmp_path,
        env={"PATH": "", "SECRET": "hidden"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["hidden their x []", "True"]


@pytest.mark.parametrize(
    "text",
    [
        "${oc.env:HOME}",
        "before ${oc.env:HOME} after",
        "${oc.env:NOISYGCE_DATA,${oc.env:HOME}}",
        "${noisygce.by:${oc.env:HOME},{a: 1}}",
        "${noisygce.by:'${oc.env:HOME}',{a: 1}}",
        "${oc.${x}:HOME}",
        "${${x}:HOME}",
        "${oc.env:${x}}",
        "${oc.decode:'x'}",
        "${oc.create:{a: 1}}",
        "${theirs:1}",
        "${hydra:runtime.cwd}",
        "${ oc.env:HOME}",
        "${oc.env : HOME}",
        "${oc.env:'HOME'}",
        "$${oc.env:HOME}",
        "\\\\${oc.env:HOME}",
        "${a}${oc.env:HOME}",
        "${rate:1}",
    ],
)
def test_a_config_calls_no_resolver_that_is_not_ours(text: str) -> None:
    said = r"a config may (read no environment variables|call no resolver) but"
    for cfg in ({"a": text}, {"a": [{"b": text}]}):
        with pytest.raises(ConfigError, match=said):
            settings.node(cfg)


def test_a_composed_config_is_looked_at_before_anything_in_it_is_resolved() -> None:
    with pytest.raises(ConfigError, match=r"rate=\$\{oc.env:HOME\}: a config may read no environment variables"):
        settings.compose(["rate=${oc.env:HOME}"])


@pytest.mark.parametrize(
    "text",
    [
        "${rate}",
        "${.rate}",
        "${oc.env:NOISYGCE_DATA,data}",
        "${noisygce.by:${data.name},{a: 1},2}",
        "$HOME",
        "{}",
        "${a.b[0]}",
    ],
)
def test_what_our_leaves_use_is_let_through(text: str) -> None:
    resolvers.refuse_others(OmegaConf.create({"a": text}))


def test_hydra_s_own_values_may_call_hydra_s_resolvers() -> None:
    resolvers.refuse_others(OmegaConf.create({"hydra": {"run": {"dir": "${now:%Y}/${hydra:job.name}"}}}))
    with pytest.raises(ConfigError, match=r"hydra\.run\.dir"):
        resolvers.refuse_others(OmegaConf.create({"hydra": {"run": {"dir": "${oc.env:HOME}"}}}))


def test_a_manifest_from_elsewhere_reads_no_environment_variable() -> None:
    """Its values are plain, and become a config again when the run is trained again."""
    with pytest.raises(ConfigError, match=r"data.name=\$\{oc.env:HOME\}"):
        settings.node({"data": {"name": "${oc.env:HOME}"}})
