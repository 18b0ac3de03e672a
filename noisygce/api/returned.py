"""The return values of training from Python: one run, or the runs of a grid. A notebook draws both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from noisygce import check, results
from noisygce.errors import NoisygceError
from noisygce.results import Result
from noisygce.runs import artifacts, messages
from noisygce.sweep.plan import Plan, look
from noisygce.view.figures import TITLES, Drawing, draw_plan
from noisygce.view.tables import Table, tabulate

if TYPE_CHECKING:
    from pandas import DataFrame

    from noisygce.models.saved import Trained


class TrainedRun:
    """A finished run. It reads the files of its folder when they are first used.

    id: readable label and 8 hex digits of a hash of every setting that affects results. folder: the run's folder.
    manifest: results, noise, digests, versions, device. results: test accuracy, a fraction, under each selection rule
    (val, last, last10, val_clean, test), or None.
    """

    def __init__(self, folder: Path) -> None:
        found = results.of_folder(folder.absolute())  # a program may change its folder later
        if found.state != "done":
            raise NoisygceError(f"{folder}: this run is {found.state}{f', {found.note}' if found.note else ''}")
        self.id, self.folder = found.id, folder
        self.manifest: dict[str, Any] = dict(found.manifest)
        self.results: dict[str, float | None] = dict(self.manifest["results"])
        self._found: Result = found

    @cached_property
    def metrics(self) -> DataFrame:
        """A row an epoch, with the columns of metrics.csv; shares are fractions, an absent value is NaN."""
        return self._found.metrics()

    @cached_property
    def predictions(self) -> DataFrame:
        """A row a sample, by the model that the run keeps: index, split, name (if any), given and predicted class,
        whether it was kept, the scores that rank wrong labels, and the probability p_CLASS of each class.

        Raises DataError if the run has kept no predictions.
        """
        import pandas as pd

        found = artifacts.predictions(self._found.folder, self.manifest)
        columns: dict[str, Any] = {name: vars(found)[name] for name in ("index", "split", "name")}
        kind = pd.CategoricalDtype([*found.classes])
        columns |= {name: pd.Categorical.from_codes(vars(found)[name], dtype=kind) for name in ("given", "predicted")}
        columns |= {name: vars(found)[name] for name in ("kept", "margin_log_odds", "log_p_given")}
        columns |= {f"p_{name}": found.p[:, k].astype("float32") for k, name in enumerate(found.classes)}
        return pd.DataFrame(columns)

    def model(self) -> Trained:
        """The network that the run keeps, in eval mode on the CPU, its preprocessing, and the names of the K classes:

            network, preprocess, classes = run.model()
            p = network(preprocess(["cat.png"])).softmax(1)          # (1, K)

        Raises DataError where the run has kept no model.
        """
        from noisygce import models

        return models.load(self._found.folder)

    def __repr__(self) -> str:
        return messages.result(self.folder, self.manifest)

    def _repr_html_(self) -> str:
        import pandas as pd

        numbers, what = self.results, "Test accuracy in %"
        if set(numbers.values()) == {None}:
            numbers, what = self.manifest["noisy_validation"], "Accuracy on noisy validation in %"
        percent = {name: None if share is None else 100 * share for name, share in numbers.items()}
        shown = pd.DataFrame([percent], index=[self.id]).style.format("{:.2f}", na_rep="-")
        return shown.set_caption(what).to_html()


class TrainedRuns:
    """The runs of a grid, seed by seed: a sequence of ``TrainedRun``, and views of them all."""

    def __init__(self, plan: Plan, call: str = "") -> None:
        """call: what has made the runs, where no command line can: of objects."""
        self._runs = [TrainedRun(found.folder) for found in look(plan)]
        self._plan, self._call = replace(plan, results=plan.results.absolute()), call

    def __len__(self) -> int:
        return len(self._runs)

    @overload
    def __getitem__(self, place: int) -> TrainedRun: ...
    @overload
    def __getitem__(self, place: slice) -> list[TrainedRun]: ...
    def __getitem__(self, place: int | slice) -> TrainedRun | list[TrainedRun]:
        return self._runs[place]

    def __iter__(self) -> Iterator[TrainedRun]:
        return iter(self._runs)

    @cached_property
    def frame(self) -> DataFrame:
        """A row a run: id, config under dotted keys, test accuracy under each rule, digests (``results.frame``)."""
        return results.frame(look(self._plan))

    def table(self, rule: str = "", against: str = "", measure: str = "accuracy") -> Table:
        """Mean ± standard deviation over seeds, rows and columns for all that varies, as ``noisygce.table`` has it.

        rule: one selection rule, else several. against: published, reference or a CSV file of numbers. measure: as of
        the command. Raises ConfigError, naming what each may be.
        """
        made = tabulate(self._plan, rule, against, measure)
        return replace(made, spec=replace(made.spec, argv=(self._call,))) if self._call else made

    def plot(self, kind: str = "accuracy") -> Drawing:
        """A figure of matplotlib, ``.figure``; kind: as of ``noisygce.figure``, such as accuracy or calibration.

        Raises NoisygceError where the runs give none.
        """
        check.choice("kind", kind, TITLES)
        return next(draw_plan(self._plan, [kind]))

    def __repr__(self) -> str:
        return repr(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()
