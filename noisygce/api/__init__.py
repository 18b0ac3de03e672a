"""Python: a run or a grid of runs trained from a program or a notebook, as the command line trains them.

    import noisygce
    run = noisygce.run(data="digits", loss="gce", noise="pair", rate=0.4)
    runs = noisygce.grid(data="digits", loss=["ce", "gce"], seed=range(5))

calls.py         run and grid
returned.py      what they return
overrides.py     values of Python as overrides of Hydra
leaves.py        an object or a class in the place of a choice
isolation.py     logging, signal handlers and resolvers, restored after a call
"""

from noisygce.api.calls import grid, run
from noisygce.api.returned import TrainedRun, TrainedRuns

__all__ = ["TrainedRun", "TrainedRuns", "grid", "run"]
