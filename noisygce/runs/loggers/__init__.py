"""Loggers: what a run tells other programs while it trains. None can change or harm it, and none is part of its id.

``logger=tensorboard``, ``logger=[mlflow,wandb]``, or a class of a person's own, named in a YAML (docs/loggers.md).

base.py  what a logger may do; those of a run, each on its own
tensorboard.py  mlflow.py  wandb.py  trackio.py
"""

from noisygce.runs.loggers.base import Logger, Loggers, read
from noisygce.runs.loggers.mlflow import MLflow
from noisygce.runs.loggers.tensorboard import TensorBoard
from noisygce.runs.loggers.trackio import Trackio
from noisygce.runs.loggers.wandb import Wandb

__all__ = ["Logger", "Loggers", "MLflow", "TensorBoard", "Trackio", "Wandb", "read"]
