"""Sweeps: which runs a command line asks for, and how all of them end. It knows Hydra.

May import results and what is below it.

jobs.py        the runs of a command line or a grid; launching them
plan.py        the same runs by the ids that training gives them, and what is there of each
stored.py      plans on disk, composed once
engines.py     launchers that start processes: dead workers, stopped ones, and where their results are
missing.py     why runs of a plan have no result
tuning.py      what a search for hyper-parameters has found
"""
