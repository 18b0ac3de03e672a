"""Measures of calibration in tables and figures: which number, how it is written, and that less is better."""

import made_up
import numpy as np
import pytest

from noisygce import table
from noisygce.errors import ConfigError
from noisygce.sweep.plan import look
from noisygce.training import calibration
from noisygce.view import figures, reliability, tables
from noisygce.view.cells import lay_out
from noisygce.view.measures import MEASURES

LOSSES = ("ce", "mae", "gce", "tgce")


def calibrated(loss, seed):
    """ece 0.40, 0.30, 0.20, 0.10 by loss, a point more for seed 1; nll twice, brier three times as much; the last model
    has 0.05 more, scaling takes 0.02 off."""
    ece = 0.4 - 0.1 * LOSSES.index(loss) + 0.01 * seed

    def numbers(value):
        return {"nll": 2 * value, "brier": 3 * value, "ece": value, "ece_equal_width": value + 0.001}

    bins = [{"count": 20, "confidence": c, "accuracy": c - ece / 2} for c in (0.5, 0.7, 0.9)]
    return {
        model: {"plain": {**numbers(e), "bins": bins}, "scaled": numbers(e - 0.02), "temperature": 2.0}
        for model, e in (("best", ece), ("last", ece + 0.05))
    }


@pytest.fixture
def made(demo, tmp_path):
    for run in demo.runs:
        found = calibrated(run.identity["loss"]["name"], run.identity["seed"])
        made_up.finish(tmp_path, run, calibration=found)
    return demo


def first_column(sheet):
    return {line[0].text: (line[1].text, line[1].bold) for line in sheet.body}


def test_the_least_error_is_bold_and_in_per_cent(made):
    of = tables.tabulate(made, measure="ece")
    assert of.spec.title == "Expected calibration error in % on digits"
    assert first_column(of.subtables["val"])["ce"] == ("40.50 ± 0.71", False)  # 0.40 and 0.41
    assert first_column(of.subtables["last"])["tgce"] == ("15.50 ± 0.71", True)
    assert [label for label, (_, bold) in first_column(of.subtables["val"]).items() if bold] == ["tgce"]
    assert [*of.subtables] == ["val", "last"]


def test_what_is_no_share_is_written_as_it_is(made):
    assert first_column(tables.tabulate(made, measure="nll").subtables["val"])["ce"] == ("0.810 ± 0.014", False)
    assert first_column(tables.tabulate(made, measure="brier").subtables["val"])["gce"] == ("0.615 ± 0.021", False)
    scaled = tables.tabulate(made, rule="last", measure="nll_scaled")
    assert scaled.spec.title == "Negative log-likelihood after temperature scaling on digits"
    assert first_column(scaled.subtables["last"])["mae"] == (
        "0.670 ± 0.014",
        False,
    )  # 2 (0.3 + 0.05 - 0.02), and 0.02 more


def test_of_two_rows_the_one_with_less_error_is_better(made):
    (pairs,) = tables.tabulate(made, rule="val", measure="nll").pairs
    found = {line[0].text: [entry.text for entry in line[1:4]] for line in pairs.body}
    assert found["gce − ce"] == ["−0.400", "−0.400 to −0.400", "3 / 0"]
    assert found["mae − ce"] == ["−0.200", "−0.200 to −0.200", "3 / 0"]
    assert "percentage points" not in pairs.note


def test_csv_has_all_digits_and_the_measure(made):
    lines = tables.csv_text(tables.tabulate(made, rule="val", measure="brier")).splitlines()
    assert lines[1].split(",")[3:5] == ["brier", "val"]
    assert any("1.2000000000000002 1.23" in line for line in lines)


def test_it_is_known_of_two_models_and_compared_where_shares_have_a_tolerance(made):
    with pytest.raises(ConfigError, match="measure=ece: it has only the rules val, last"):
        tables.tabulate(made, rule="last10", measure="ece")
    with pytest.raises(ConfigError, match="measure=nll: against=reference compares shares"):
        tables.tabulate(made, against="reference", measure="nll")
    assert tables.tabulate(made, against="reference", measure="ece").subtables["val-reference"].body


def test_runs_without_calibration_validation_or_test_samples_have_none(demo, tmp_path):
    held_out_none = {"best": None, "last": {"plain": {"ece": 0.25, "bins": []}, "scaled": None, "temperature": None}}
    for run, found in zip(demo.runs, (None, {"best": None, "last": None}, held_out_none), strict=False):
        made_up.finish(tmp_path, run, **({} if found is None else {"calibration": found}))
    one, other, third = look(demo)[:3]
    for measure in MEASURES.keys() - {"accuracy", "per_class", "rank"}:
        assert {MEASURES[measure].read(run, rule) for run in (one, other) for rule in ("val", "last")} == {None}
    assert (
        MEASURES["ece"].read(third, "last"),
        MEASURES["ece_scaled"].read(third, "last"),
        MEASURES["ece"].read(third, "val"),
    ) == (
        0.25,
        None,
        None,
    )


def test_the_error_of_an_estimated_matrix_is_shown_under_last_and_its_least_is_bold(demo, tmp_path):
    for run in demo.runs:
        loss = run.identity["loss"]["name"]
        estimate = {"transition_hat": {"error": 0.5 if loss == "gce" else 0.25}} if loss in ("gce", "tgce") else {}
        made_up.finish(tmp_path, run, **estimate)
    sheets = tables.tabulate(demo, measure="t_error").subtables
    assert [*sheets] == ["last"]
    assert first_column(sheets["last"])["gce"] == ("0.500 ± 0.000", False)
    assert first_column(sheets["last"])["tgce"] == ("0.250 ± 0.000", True)
    assert first_column(sheets["last"])["ce"][0].startswith("-")


def test_every_measure_of_a_manifest_is_one_of_a_table():
    shown = {name.removesuffix("_scaled") for name in MEASURES if name.endswith("_scaled")}
    made = calibration.measure(np.log([[0.8, 0.2]]), np.array([0]))
    assert shown == made.keys() - {"bins"}
    assert {*tables.OPTIONS["measure"]} == {*MEASURES}


def test_the_command_takes_the_measure(made, monkeypatch):
    monkeypatch.setattr(table, "shown", lambda _: made)
    assert "measure=ece_scaled" in table.of("experiment=demo", "measure=ece_scaled").spec.command


def test_a_reliability_diagram_has_the_bins_of_each_seed_and_a_line_through_their_means(made):
    cells = lay_out(made, look(made))
    axes = reliability.reliability(cells).axes
    assert [axis.get_title() for axis in axes] == ["uniform 0.4", "uniform 0.6", "pair 0.2"]
    _, *lines = axes[0].get_lines()
    assert len(lines) == 4 * (2 + 1)
    seeds, mean = lines[:2], lines[2]  # of ce: 0.40 and 0.41 in all, and half of it in each bin
    assert mean.get_xdata() == pytest.approx([50, 70, 90])
    assert seeds[1].get_ydata() == pytest.approx([29.5, 49.5, 69.5])
    assert mean.get_ydata() == pytest.approx([29.75, 49.75, 69.75])
    assert [drawing.kind for drawing in figures.draw(made, cells, ["calibration"])] == ["calibration"]


def test_without_calibration_there_is_no_diagram(demo, tmp_path):
    made_up.finish(tmp_path, demo.runs[0])
    assert reliability.reliability(lay_out(demo, look(demo))) is None


def test_the_kept_model_is_drawn_and_that_is_the_last_one_without_validation(demo, tmp_path):
    found = calibrated("ce", 0) | {"best": None}
    found["last"]["plain"]["bins"] = [{"count": 9, "confidence": 0.6, "accuracy": 0.5}]
    made_up.finish(tmp_path, demo.runs[0], calibration=found, noisy_validation={"best": None, "last": None})
    (axis,) = reliability.reliability(lay_out(demo, look(demo))).axes
    assert axis.get_lines()[1].get_ydata() == pytest.approx([50])
