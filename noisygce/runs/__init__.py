"""Runs: the folder of one run, from the id that its config gives to the manifest that ends it.

May import training and settings, and what is below them.

run.py         id, lock, files of a run; selection rules
manifest.py    what a finished run leaves on record
checkpoint.py  everything that a resume needs
watch.py       progress, checkpoints by time, requests to stop
messages.py    what a run says to the person who started it
atomic.py      files that are the old one or the new one, never a part
"""

from noisygce.runs.run import NUMERICS, ORACLES, RULES, Run, foreign_code, identity, read_manifest, run_id, select

__all__ = ["NUMERICS", "ORACLES", "RULES", "Run", "foreign_code", "identity", "read_manifest", "run_id", "select"]
