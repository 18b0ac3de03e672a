"""``python -m noisygce.table``: the table of an experiment, or of any runs, complete or not.

    python -m noisygce.table experiment=demo
    python -m noisygce.table data=digits loss=gce,tgce rate=0.2,0.4 seed=0,1  rows and columns: what varies
    python -m noisygce.table experiment=demo rule=val                 one selection rule: val, last, last10,
                                                                      val_clean, test, gap (last - val), label_wave, or
                                                                      noisy_validation, the default without a test set
    python -m noisygce.table experiment=demo measure=auroc            how well wrong labels are found: auroc or ap
    python -m noisygce.table experiment=demo measure=ece              calibration: ece, ece_equal_width, nll, brier, and
                                                                      after temperature scaling ece_scaled, ...
    python -m noisygce.table experiment=demo measure=per_class        test accuracy of each class
    python -m noisygce.table experiment=transition_cifar10_compact measure=t_error    error of the estimated T
    python -m noisygce.table experiment=benchmark_digits measure=rank ranks over the settings, with Friedman's test
    python -m noisygce.table experiment=table1_cifar10 against=published     or against=reference
    python -m noisygce.table experiment=demo against=mine.csv         numbers of your own, in the columns of
                                                                      noisygce/view/published.csv
    python -m noisygce.table experiment=demo name=table1              files table1.tex, ..., labels tab:table1-val, ...
    python -m noisygce.table experiment=demo paths.results=elsewhere  results below another folder

Prints Markdown; writes Markdown, LaTeX (booktabs, adjustbox), CSV (fractions, full precision) and a record of the runs
(JSON) to results/tables. Other arguments are those of noisygce.train: experiment=demo seed=0,1 makes the table of these
seeds. table.decimals=1 and table.names={tgce: ours} set how numbers and names are printed.
"""

from __future__ import annotations

from noisygce.settings import arguments
from noisygce.sweep.missing import hint
from noisygce.sweep.plan import shown
from noisygce.view import escape, paths, records
from noisygce.view.tables import OPTIONS, Table, tabulate


def main() -> None:
    arguments.main(run, __doc__)


def run(argv: list[str], *, publish: bool = False) -> None:
    """Prints the table that the arguments ask for and writes its files; publish: into the archive of its runs."""
    options, rest = arguments.split(argv, OPTIONS)
    plan = shown(rest)
    table = tabulate(plan, **options)
    stem = paths.stem(plan, "table", table.spec.options, publish=publish)
    print(table, flush=True)  # also where nothing can be written, as in a colleague's folder
    records.write_table(stem, table, paths.source(plan, publish))
    print(f"Written: {stem}.md, .tex, .csv, .json")
    if reason := hint(plan, table.runs):
        print(escape.plain(reason))


def of(*words: str) -> Table:
    """The table that the arguments of the command ask for, which draws itself in a notebook:
    ``table.of("experiment=demo", "rule=val")``. Raises NoisygceError, or what Hydra raises."""
    options, rest = arguments.split(words, OPTIONS)
    return tabulate(shown(rest), **options)


if __name__ == "__main__":
    main()
