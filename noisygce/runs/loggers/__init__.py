"""Loggers: what a run sends to other programs while it trains. None can change or harm it, and none is part of its id.

``logger=tensorboard``, ``logger=[mlflow,wandb]``, or a class of a person's own, named in a YAML (docs/loggers.md).

base.py      what a logger may do; the loggers of a run, each on its own
trackers.py  TensorBoard, Weights & Biases, MLflow, Trackio
"""

from noisygce.runs.loggers.base import Logger, Loggers, read
from noisygce.runs.loggers.trackers import MLflow, TensorBoard, Trackio, Wandb

__all__ = ["Logger", "Loggers", "MLflow", "TensorBoard", "Trackio", "Wandb", "read"]
