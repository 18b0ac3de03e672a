"""``python -m noisygce.table``: the table of an experiment at any moment, complete or not.

    python -m noisygce.table experiment=demo
    python -m noisygce.table experiment=demo rule=val                 one selection rule: val, last, last10,
                                                                      val_clean, test, or gap (last - val)
    python -m noisygce.table experiment=table1_cifar10 against=published     or against=reference
    python -m noisygce.table experiment=demo paths.results=elsewhere  results below another folder

Prints Markdown; writes Markdown, LaTeX (booktabs) and CSV (fractions, full precision) to results/tables. The other
arguments are those of noisygce.train: experiment=demo seed=0,1 makes the table of these seeds.
"""

from __future__ import annotations

from noisygce.runs import atomic
from noisygce.settings import arguments
from noisygce.sweep.plan import plan
from noisygce.view import places
from noisygce.view.tables import AGAINST, RULES, TEXTS, tabulate


def main() -> None:
    arguments.main(answer, __doc__)


def answer(words: list[str]) -> None:
    """Prints the table that the arguments ask for and writes its files."""
    own, rest = arguments.split(words, {"rule": RULES, "against": AGAINST})
    asked = plan(rest)
    table = tabulate(asked, own.get("rule", ""), own.get("against", ""))
    stem = places.stem(asked, "table", *own.values())
    stem.parent.mkdir(parents=True, exist_ok=True)
    for ending, text in TEXTS.items():
        atomic.write_text(stem.with_name(f"{stem.name}{ending}"), text(table), durable=False)
    print(TEXTS[".md"](table))
    print(f"Written: {stem}.md, .tex, .csv")


if __name__ == "__main__":
    main()
