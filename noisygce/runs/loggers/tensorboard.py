"""TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from noisygce.runs.ids import flat
from noisygce.runs.loggers.base import Numbers, Row, numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class TensorBoard(Numbers):
    """``tensorboard --logdir FOLDER``. A run that goes on is written anew, so that no step is there twice."""

    package = "tensorboard"

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def begin(self, run_id: str, config: Row, folder: Path) -> int:
        from torch.utils.tensorboard import SummaryWriter

        events = self.folder / run_id
        for old in events.glob("events.out.tfevents.*"):
            old.unlink()
        self.config = flat(config)
        self.writer = SummaryWriter(str(events))
        self.writer.add_text("config", "\n".join(f"    {key}: {value}" for key, value in self.config.items()))
        return 0

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def figure(self, name: str, figure: Figure) -> None:
        self.writer.add_figure(name, figure, close=False)

    def done(self, manifest: Row) -> None:
        shown = {k: v if isinstance(v, int | float | str | bool) else str(v) for k, v in self.config.items()}
        self.writer.add_hparams(shown, numbers(manifest["results"], "results/"), run_name=".")

    def close(self) -> None:
        self.writer.close()
