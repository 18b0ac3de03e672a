"""Sweeps: which runs a command line asks for, and how all of them end. It knows Hydra.

jobs.py        the runs that a command line or a grid asks for
plan.py        the same runs by the IDs that training gives them, and the state of each
axes.py        rows and columns of a plan's table
stored.py      plans on disk, composed once
launch.py      the runs of a plan that are not finished, launched
engines.py     launchers that start processes: where results are written, dead workers
worker.py      a process that a launcher has started
missing.py     why runs of a plan have no result
tuning.py      searches for hyper-parameters
"""
