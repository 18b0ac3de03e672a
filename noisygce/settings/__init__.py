"""Settings: from a command line to checked objects. It knows Hydra.

compose.py     where the config files are; composing a config from them
experiment.py  a composed config -> ``Experiment``, every value checked once (construct.py makes the objects)
resolvers.py   what a config may compute when it is resolved
runtime.py     how and where it is run
hints.py       an error of Hydra in one line, and which key or choice was probably meant
guard.py       what a config may hold below ``hydra``
command.py     outcomes -> one line and an exit code
arguments.py   command lines, before Hydra reads them
"""

from noisygce.settings.compose import compose, config_dir, setting
from noisygce.settings.experiment import Experiment, build, build_data, named, node, read, resolved
from noisygce.settings.runtime import Paths, Runtime

__all__ = [
    "Experiment",
    "Paths",
    "Runtime",
    "build",
    "build_data",
    "compose",
    "config_dir",
    "named",
    "node",
    "read",
    "resolved",
    "setting",
]
