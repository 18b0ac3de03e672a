"""Runs: the folder of one run, from the id that its config gives to the manifest that ends it.

ids.py         what shapes the numbers of a run, and its id
own_files.py   a person's own code and files: their digests, and whether they have changed
loaded.py      whether own modules that are imported are as their files
run.py         lock and files of a run
manifest.py    what a finished run leaves on record; selection rules
label_wave.py  a selection rule that needs no validation data
unfinished.py  state, owner and config of a run without a manifest
archive.py     finished runs as one data set
artifacts.py   the model and the predictions that a run keeps
checkpoint.py  everything that a resume needs
begin.py       its training, at the beginning or from the checkpoint
watch.py       the monitor of a training: progress bar, checkpoints by time, requests to stop
stops.py       when a process stops: signals, its allowance of time
loggers/       what a run sends to TensorBoard, MLflow, Weights & Biases, Trackio or a hook of one's own
drawing.py     matplotlib by its own defaults, for all figures
messages.py    the messages of a run, on the console and in its train.log
atomic.py      writing files: the old one or the new one, never a part, never through a link
reading.py     reading files that may come from elsewhere, as plain values
"""

from noisygce.runs.ids import NUMERICS, UNREAD, given, identity, older, run_id
from noisygce.runs.label_wave import label_wave
from noisygce.runs.manifest import ORACLES, RULES, noisy_validation, select
from noisygce.runs.own_files import changed, moved, user_code, user_data
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
    "label_wave",
    "moved",
    "noisy_validation",
    "older",
    "run_id",
    "select",
    "user_code",
    "user_data",
]
