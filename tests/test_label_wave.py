"""Label Wave: the epoch before the first rise of the moving average of prediction changes; and what rules cost."""

import json
import math
import random
import runpy

import made_up
import pytest

from noisygce import results, runs, settings
from noisygce.errors import ConfigError
from noisygce.results import Result
from noisygce.runs.ids import flat
from noisygce.runs.label_wave import label_wave
from noisygce.sweep.plan import look
from noisygce.view import figures, tables
from noisygce.view.measures import MEASURES

subtables = runpy.run_path(str(settings.config_dir().parent / "scripts" / "selection_regret"))["subtables"]


def rows_of(changes):
    """Rows of metrics.csv with these prediction changes, and a test accuracy that names the epoch."""
    return [
        {
            "epoch": i,
            "prediction_changes": c,
            "test_accuracy": i / 100,
            "val_accuracy": None,
            "val_clean_accuracy": None,
        }
        for i, c in enumerate(changes, start=1)
    ]


def epoch_of(changes, window=3):
    return label_wave(rows_of(changes), window)["epoch"]


def by_averages(changes, window):
    """The definition, a loop over averages: of what epoch 1 cannot have, the rest."""
    values = changes[1:]
    averages = [math.fsum(values[i - window + 1 : i + 1]) / window for i in range(window - 1, len(values))]
    for i, (now, then) in enumerate(zip(averages[1:], averages, strict=False)):
        if now > then + 1e-12:
            return window + 1 + i
    return len(changes)


def test_a_wave_is_found_by_hand():
    # averages of epochs 4 to 8, of three changes each: 0.40, 0.30, 0.20, 0.20, 0.25
    assert epoch_of([None, 0.5, 0.4, 0.3, 0.2, 0.1, 0.3, 0.35]) == 7
    assert epoch_of([None, 0.5, 0.4, 0.3, 0.2, 0.1, 0.3, 0.35], window=1) == 6


def test_it_is_the_first_local_minimum_of_the_averages():
    drawn = random.Random(0)
    for _ in range(300):
        changes = [None, *(round(drawn.random(), 2) for _ in range(drawn.randint(0, 20)))]
        for window in (1, 2, 3, 5):
            if len(changes) > window:
                assert epoch_of(changes, window) == by_averages(changes, window), changes


def test_where_nothing_rises_it_is_the_last_epoch():
    assert epoch_of([None, 0.5, 0.4, 0.3, 0.2, 0.1]) == 6
    assert epoch_of([None, 0.5]) == 2  # no average yet
    assert epoch_of([None, 0.3, 0.3, 0.3, 0.3, 0.3]) == 6  # equal averages are no rise


def test_an_epoch_that_resumed_without_predictions_is_passed_over():
    assert epoch_of([None, 0.5, 0.4, None, 0.3, 0.2, 0.6]) == 6


def test_text_of_a_file_and_numbers_choose_alike():
    rows = [{k: "" if v is None else str(v) for k, v in row.items()} for row in rows_of([None, 3e-1, 2e-1, 1e-1, 4e-1])]
    assert label_wave(rows)["epoch"] == "4"


@pytest.mark.parametrize("rows", [[], [{"epoch": "1", "test_accuracy": "0.5"}], rows_of([None, None])])
def test_runs_without_the_column_have_none(rows):
    assert label_wave(rows) is None


CHANGES = [None, 0.5, 0.4, 0.3, 0.2, 0.3, 0.4, 0.5, 0.6, 0.6, 0.6, 0.6]  # rises first after epoch 6


def with_changes(tmp_path, run, **changed):
    """A finished run whose metrics.csv has the column; test accuracy climbs to 0.5 by 0.01 an epoch."""
    rows = [{**row, "prediction_changes": c} for row, c in zip(made_up.metrics(0.5), CHANGES, strict=True)]
    folder = made_up.begin(tmp_path, run, rows)
    (folder / "manifest.json").write_text(json.dumps(made_up.manifest(run, rows, **changed)))


def test_a_table_of_the_rule_shows_runs_that_have_the_column(demo, tmp_path):
    for i, run in enumerate(demo.runs):
        if run.identity["loss"]["name"] == "ce":
            with_changes(tmp_path, run)
        elif i:
            made_up.finish(tmp_path, run)
    table = tables.tabulate(demo, rule="label_wave")
    (ce,) = [line for line in table.subtables["label_wave"].body if line[0].text == "ce"]
    (gce,) = [line for line in table.subtables["label_wave"].body if line[0].text == "gce"]
    assert {entry.text for entry in ce[1:]} == {"44.00 ± 0.00"}  # 0.5 - 0.01 * (12 - 6)
    assert {entry.text for entry in gce[1:]} == {"-"}
    frame = results.frame(look(demo)).set_index("loss.name")
    assert (frame.loc["ce", "label_wave"] == 0.44).all()
    assert frame.loc["gce", "label_wave"].isna().all()
    assert runs.RULES == ("val", "last", "last10", "val_clean", "test")  # those of manifests


def test_an_experiment_may_name_the_rule_in_its_table(demo, tmp_path, monkeypatch):
    monkeypatch.setitem(demo.table, "rules", ["last", "label_wave"])
    for run in demo.runs:
        with_changes(tmp_path, run)
    assert [*tables.tabulate(demo).subtables] == ["last", "label_wave", "gap"]
    for refused in (["noisy_validation"], "val", []):
        monkeypatch.setitem(demo.table, "rules", refused)
        for view in (tables.tabulate, lambda plan: [*figures.draw_plan(plan, ["rates"])]):
            with pytest.raises(ConfigError, match=r"table.rules=.*must be a list, of val, .*label_wave"):
                view(demo)


def test_it_needs_no_validation_data(demo, tmp_path):
    nothing_held_out = {**dict.fromkeys(runs.RULES), "last": 0.5, "last10": 0.5, "test": 0.5}
    with_changes(tmp_path, demo.runs[0], results=nothing_held_out, noisy_validation={"best": None, "last": None})
    (run,) = [run for run in look(demo) if run.state == "done"]
    assert (run.number("val"), run.number("label_wave")) == (None, 0.44)
    assert MEASURES["auroc"].read(run, "label_wave") is None


class Known(Result):
    """A finished run with these numbers."""

    def number(self, rule):
        return self.manifest.get(rule)


def test_regret_is_what_the_best_epoch_has_more_by_seed_of_runs_that_have_all_rules(tmp_path):
    numbers = [
        (0, {"test": 0.9, "val": 0.78, "label_wave": 0.83}),
        (0, {"test": 0.9, "val": 0.82, "label_wave": 0.87}),
        (1, {"test": 0.7, "val": 0.7, "label_wave": 0.67}),
        (1, {"test": 0.7, "val": 0.1, "label_wave": None}),
    ]
    known = [Known(str(i), tmp_path, "done", {"seed": seed}, each) for i, (seed, each) in enumerate(numbers)]
    alone, pairs = subtables(known, ["label_wave", "val"])
    assert "no interval" in alone.note  # the second setting has one seed
    assert [entry.text for entry in alone.body[0]] == ["label_wave", "4.33", "-"]  # 7, 3 and 3 points
    assert [entry.text for entry in pairs.body[0]] == ["val − label_wave", "+2.33", "-", "-"]  # +5, +5 and -3
    alone, pairs = subtables([known[1], known[2]], ["label_wave", "val"])
    assert "no interval" not in alone.note
    assert [entry.text for entry in alone.body[0]] == ["label_wave", "3.00", "3.00 to 3.00"]
    # val - label_wave: +5 and -3 points: 1 ± 12.706 * (8 / sqrt 2) / sqrt 2
    assert [entry.text for entry in pairs.body[0]] == ["val − label_wave", "+1.00", "−49.82 to +51.82", "1 / 1"]


def test_seeds_of_different_settings_give_no_interval_of_regret(tmp_path):
    each = {"test": 0.9, "val": 0.8}
    configs = [{"seed": 0, "rate": 0.2}, {"seed": 1, "rate": 0.4}]  # as many runs, and not the same setting
    known = [Known(str(i), tmp_path, "done", config, each) for i, config in enumerate(configs)]
    alone, _ = subtables(known, ["val"])
    assert [entry.text for entry in alone.body[0]] == ["val", "10.00", "-"]


def test_runs_on_mixed_images_have_no_label_wave(tmp_path):
    """Predictions of two epochs are of different mixtures, which says nothing of the labels."""
    cells = []
    for loss in ("ce", "mixup", "elr_plus"):
        config = flat(settings.resolved(settings.compose(["data=digits", f"loss={loss}"])))
        run = Result("a", tmp_path, "done", config, {"results": {}})
        object.__setattr__(run, "rows", lambda: rows_of([None, 0.5, 0.4, 0.3, 0.2, 0.1, 0.3, 0.35]))
        cells.append(run.number("label_wave"))
    assert cells == [0.07, None, None]
    own = Result("a", tmp_path, "done", {}, {"mixes_images": True})
    assert own.mixes_images
