"""Trackio."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisygce.runs.ids import flat
from noisygce.runs.loggers.base import Numbers, Row, numbers, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Trackio(Numbers):
    """A run of a Trackio project in a folder. A run that goes on is written anew, so that no step is there twice."""

    package = "trackio"

    def __init__(self, project: str, folder: str) -> None:
        self.project, self.folder = project, Path(folder).resolve()

    def begin(self, run_id: str, config: Row, folder: Path) -> int:
        os.environ.setdefault("TRACKIO_DIR", str(self.folder))  # which trackio reads when it is imported
        with _quiet():
            import trackio

            if trackio.SQLiteStorage.get_project_db_path(self.project).exists():
                for old in trackio.Api().runs(self.project):
                    if old.name == run_id:
                        old.delete()
                        media = Path(os.environ["TRACKIO_DIR"], "media", self.project, run_id)
                        shutil.rmtree(media, ignore_errors=True)  # which trackio leaves
            options: dict[str, Any] = {"auto_log_gpu": False, "auto_log_cpu": False, "embed": False}
            self.run = trackio.init(self.project, name=run_id, config=flat(config), **options)
        return 0

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.step = step
        self.run.log({"epoch": step, **values}, step=step)

    def figure(self, name: str, figure: Figure) -> None:
        import trackio

        self.run.log({name: trackio.Image(picture(figure))}, step=self.step)

    def done(self, manifest: Row) -> None:
        self.log(numbers(manifest["results"], "results/"), self.step)

    def close(self) -> None:
        import trackio

        with _quiet():
            trackio.finish()  # of this thread's run


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what a package prints of itself."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
