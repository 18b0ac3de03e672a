"""Ranks of losses over settings: by head, against scipy, and against the worked example of Demšar (2006)."""

import dataclasses
import itertools
import math
from types import SimpleNamespace

import made_up
import pytest

from noisygce.errors import ConfigError
from noisygce.sweep.plan import look
from noisygce.view import figures, ranks, records, tables
from noisygce.view.cells import Cell, Cells, lay_out
from noisygce.view.measures import MEASURES

scipy_stats = pytest.importorskip("scipy.stats")
posthocs = pytest.importorskip("scikit_posthocs")

LAST = {  # by column (rate): test accuracy of the last epoch of ce, mae, gce, tgce
    0.2: (0.70, 0.60, 0.80, 0.90),  # ranks 3, 4, 2, 1
    0.4: (0.60, 0.60, 0.80, 0.70),  # 3.5, 3.5, 1, 2
    0.6: (0.50, 0.40, 0.70, 0.70),  # 3, 4, 1.5, 1.5
}
LOSSES = ("ce", "mae", "gce", "tgce")


def finish(demo, tmp_path, but=()):
    for run in demo.runs:
        loss, rate, seed = run.identity["loss"]["name"], run.identity["rate"], run.identity["seed"]
        if (loss, rate) not in but:
            # the seeds' mean is what is ranked, and its last bits are not
            made_up.finish(tmp_path, run, LAST[rate][LOSSES.index(loss)] + (0.1 if seed else -0.1))
    return demo


def body(table, rule="last"):
    return [[entry.text for entry in line] for line in table.subtables[rule].body]


def test_rows_are_ranked_in_each_setting_and_sorted_by_their_mean(demo, tmp_path):
    table = tables.tabulate(finish(demo, tmp_path), rule="last", measure="rank")
    assert table.spec.title == "Rank of test accuracy on digits"
    assert [" ".join(head) for head in table.subtables["last"].header[1:]] == [
        "mean rank",
        "uniform 0.4",
        "uniform 0.6",
        "pair 0.2",
    ]
    assert body(table) == [
        ["gce", "1.5", "1.0", "1.5", "2.0"],
        ["tgce", "1.5", "2.0", "1.5", "1.0"],
        ["ce", "3.2", "3.5", "3.0", "3.0"],  # 9.5 / 3
        ["mae", "3.8", "3.5", "4.0", "4.0"],
    ]
    bold = {line[0].text: [entry.bold for entry in line[2:]] for line in table.subtables["last"].body}
    assert bold == {"gce": [True, True, False], "tgce": [False, True, True], "ce": [False] * 3, "mae": [False] * 3}
    assert table.pairs == []


def test_the_tests_are_those_of_scipy(demo, tmp_path):
    found = ranks.friedman(lay_out(demo, look(finish(demo, tmp_path))), "last")
    by_loss = list(zip(*LAST.values(), strict=True))
    expected = scipy_stats.friedmanchisquare(*by_loss)
    assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert [round(rank, 9) for rank in found.ranks.values()] == [round(r, 9) for r in (9.5 / 3, 11.5 / 3, 1.5, 1.5)]
    q = 3.6332 / math.sqrt(2)  # studentized range of four, infinitely many degrees of freedom, at 0.05
    assert found.critical == pytest.approx(q * math.sqrt(4 * 5 / (6 * 3)), rel=1e-4)
    note = tables.tabulate(demo, rule="last", measure="rank").subtables["last"].note
    assert f"3 settings, p = {expected.pvalue:.4f}" in note
    assert "settings for independent" in note


def of_ranks(table):
    """Cells whose accuracies are ranked so: a row of the table a setting; None: images are mixed, there is none."""

    def known(rank):
        run = SimpleNamespace(config={"seed": 0}, mixes_images=rank is None)
        return Cell((run,), lambda *_: None if rank is None else 1 - rank / 100)

    rows, columns = ([(i,) for i in range(n)] for n in (len(table[0]), len(table)))
    cell = {(r, c): known(table[c[0]][r[0]]) for r, c in itertools.product(rows, columns)}
    return Cells(("row",), ("column",), tuple(rows), tuple(columns), cell)


def test_without_ties_it_is_the_formula_of_friedman_and_the_distance_of_demsar():
    """Demšar 2006, 3.2.2: four classifiers on 14 data sets have a critical difference of 1.25."""
    orders = list(itertools.permutations((1, 2, 3, 4)))[:14]
    n, k = 14, 4
    found = ranks.friedman(of_ranks(orders), "last")
    means = [sum(column) / n for column in zip(*orders, strict=True)]
    assert list(found.ranks.values()) == pytest.approx(means)
    assert found.statistic == pytest.approx(12 * n / (k * (k + 1)) * (sum(r * r for r in means) - k * (k + 1) ** 2 / 4))
    assert round(found.critical, 2) == 1.25


def test_a_row_that_can_have_no_label_wave_takes_no_rank_from_the_others():
    cells = of_ranks([(1, None, 2, 3), (1, None, 3, 2)])
    found = ranks.friedman(cells, "label_wave")
    assert found.ranks == {(0,): 1.0, (2,): 2.5, (3,): 2.5}
    assert ranks.friedman(cells, "last") is None
    assert ranks.by_rank(cells, ["label_wave"]).cell[(2,), (1,)].sample("label_wave").mean == 3


def test_rows_a_critical_difference_apart_are_those_that_scikit_posthocs_tells_apart():
    found = ranks.friedman(of_ranks([(1, 2, 3, 4)] * 5), "last")  # 2.10 apart: 1 and 4 alone
    means = list(found.ranks.values())
    p = posthocs.posthoc_nemenyi_friedman([[1, 2, 3, 4]] * 5).to_numpy()
    apart = [[abs(one - other) >= found.critical for one in means] for other in means]
    assert apart == (p < ranks.LEVEL).tolist() == [[abs(i - j) == 3 for i in range(4)] for j in range(4)]


def test_a_setting_in_which_a_row_has_no_run_is_left_out(demo, tmp_path):
    table = tables.tabulate(finish(demo, tmp_path, but=[("gce", 0.4)]), rule="last", measure="rank")
    assert {line[0]: line[2] for line in body(table)} == dict.fromkeys(LOSSES, "-")
    assert "2 settings" in table.subtables["last"].note
    lines = tables.csv_text(table).splitlines()[1:]
    assert [line.split(",")[5] for line in lines if ",0.4," in line] == ["0"] * 4


@pytest.mark.parametrize("but", [[("gce", 0.4), ("ce", 0.2)], [(loss, 0.2) for loss in LOSSES] + [("ce", 0.6)]])
def test_one_setting_alone_is_not_tested(demo, tmp_path, but):
    table = tables.tabulate(finish(demo, tmp_path, but=but), rule="last", measure="rank")
    assert "needs three rows and two settings" in table.subtables["last"].note
    assert {line[1] for line in body(table)} == {"-"}
    assert ranks.diagram(lay_out(demo, look(demo)), ["last"]) is None


def test_where_all_rows_are_equal_the_test_has_no_p(demo, tmp_path):
    for run in demo.runs:
        made_up.finish(tmp_path, run, 0.5)
    text = str(tables.tabulate(demo, rule="last", measure="rank"))
    assert "p = -" in text
    assert "nan" not in text.lower()


def test_csv_has_the_ranks_and_the_number_of_seeds(demo, tmp_path):
    lines = tables.csv_text(tables.tabulate(finish(demo, tmp_path), rule="last", measure="rank")).splitlines()
    row = next(line for line in lines if line.startswith("ce,uniform,0.4,")).split(",")
    head = lines[0].split(",")
    found = dict(zip(head, row, strict=False))
    assert (found["measure"], found["n"], found["runs"], found["mean"]) == ("rank", "2", "2", "3.5")


def test_a_written_table_of_ranks_is_verified_from_its_record(demo, tmp_path):
    table = tables.tabulate(finish(demo, tmp_path), measure="rank")
    assert [*table.subtables] == ["val", "last"]
    records.write_table(tmp_path / "tables" / "ranks", table)
    assert {fault for _, fault in records.verified(tmp_path)} == {""}
    path = tmp_path / "tables" / "ranks.md"
    path.write_text(path.read_text().replace("3.2", "3.1"))
    assert {fault for name, fault in records.verified(tmp_path) if name == path} != {""}


def test_without_the_extra_one_line_says_what_to_install(demo, tmp_path, monkeypatch):
    finish(demo, tmp_path)

    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(ranks, "importlib", SimpleNamespace(import_module=absent))
    with pytest.raises(ConfigError, match=r"need scipy \(.* install.* 'noisygce\[ranks\]'\)"):
        _ = tables.tabulate(demo, measure="rank").subtables
    cells = lay_out(demo, look(demo))
    assert "accuracy" in [
        drawing.kind for drawing in figures.draw(demo, cells)
    ]  # all but ranks, which is drawn when asked for


def test_the_diagram_names_each_row_with_its_rank_and_joins_those_not_told_apart(demo, tmp_path):
    cells = lay_out(demo, look(finish(demo, tmp_path)))
    (drawing,) = figures.draw(dataclasses.replace(demo, table={**demo.table, "rules": ["last"]}), cells, ["ranks"])
    (axis,) = drawing.figure.axes
    assert drawing.kind == "ranks"
    assert {text.get_text() for text in axis.texts} == {"gce (1.5)", "tgce (1.5)", "ce (3.2)", "mae (3.8)"}
    bars = [line for line in axis.get_lines() if line.get_linewidth() == 1.6]
    # the critical difference is 2.7: no two of the four are told apart, and one bar goes from 1.5 to 3.8
    # from left to right, so that the files of equal figures are equal in every process
    assert [[round(float(x), 9) for x in bar.get_xdata()] for bar in bars] == [
        [1.5, 1.5, *(round(x / 3, 9) for x in (9.5, 11.5))]
    ]


def test_of_ranks_less_is_better_and_none_is_compared_with_published_numbers(demo, tmp_path):
    assert MEASURES["rank"].lower
    with pytest.raises(ConfigError, match="measure=rank: it has only the rules val, last"):
        tables.tabulate(finish(demo, tmp_path), rule="gap", measure="rank")
    with pytest.raises(ConfigError, match="against=reference compares shares"):
        tables.tabulate(demo, against="reference", measure="rank")
