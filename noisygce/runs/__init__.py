"""Runs: the folder of one run, from the id that its config gives to the manifest that ends it.

May import training and settings, and what is below them.

ids.py         what shapes the numbers of a run, and its id
loaded.py      whether own modules that are imported are as their files
run.py         lock and files of a run
manifest.py    what a finished run leaves on record; selection rules
unfinished.py  what the folder of any other run says of it
archive.py     finished runs as one data set
kept.py        the model and the predictions that a run keeps
checkpoint.py  everything that a resume needs
begin.py       its training, at the beginning or from the checkpoint
watch.py       what goes on around the steps: progress, checkpoints by time
stops.py       when a process stops: signals, its allowance of time
loggers/       what a run tells TensorBoard, MLflow, Weights & Biases, Trackio or a hook of one's own
drawing.py     matplotlib by its own defaults, for all figures
messages.py    what a run says to the person who started it
atomic.py      files that are the old one or the new one, never a part
"""

from noisygce.runs.ids import NUMERICS, UNREAD, changed, given, identity, older, run_id, user_code, user_data
from noisygce.runs.manifest import ORACLES, RULES, noisy_validation, select
from noisygce.runs.run import Run

__all__ = [
    "NUMERICS",
    "ORACLES",
    "RULES",
    "UNREAD",
    "Run",
    "changed",
    "given",
    "identity",
    "noisy_validation",
    "older",
    "run_id",
    "select",
    "user_code",
    "user_data",
]
