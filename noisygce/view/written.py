"""Written tables, held against the runs beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from noisygce.errors import NoisygceError
from noisygce.settings import arguments, hints
from noisygce.sweep.plan import plan_of
from noisygce.view import places, provenance
from noisygce.view.tables import OPTIONS, TEXTS, Table, tabulate


def tables(folder: Path) -> Iterator[tuple[Path, str]]:
    """The written tables below ``folder``, each with what is wrong with it or nothing."""
    made: dict[str, Table] = {}  # one for the three forms of each
    for path in places.tables(folder):
        name = str(path.with_suffix(""))
        try:
            if name not in made:
                own, rest = arguments.split(arguments.words(places.arguments(path)), OPTIONS)
                made[name] = tabulate(plan_of(rest), **own)
        except Exception as error:
            if not (isinstance(error, NoisygceError) or hints.of_config(error)):
                raise
            yield path, f"cannot be made again: {hints.explain(error)}"
            continue
        same = path.suffix in TEXTS and TEXTS[path.suffix](made[name]).encode() == path.read_bytes()
        yield path, "" if same else _why(path, made[name])


def _why(path: Path, table: Table) -> str:
    """Why a written table is not the one that the runs give now: made before all of them were done, or else changed."""
    then = provenance.done_when_made(path.with_suffix(".md").read_text())
    now = sum(run.state == "done" for run in table.runs)
    if then is not None and then < now:
        return f"was made when {then} of {len(table.runs)} runs were done, and now {now} are: {table.command}"
    return f"is not what the runs give to {table.command}"
