"""Figures from made-up manifests: what is drawn, and equal bytes when drawn again."""

import contextlib
import dataclasses
import html
import re

import made_up
import pandas
import pytest

from noisygce import figure
from noisygce.errors import ConfigError, NoisygceError
from noisygce.runs import drawing
from noisygce.sweep.plan import look, plan_of
from noisygce.view import canvas, curves, heat, memorisation, tables
from noisygce.view import cells as module_of_cells
from noisygce.view.cells import lay_out


@pytest.fixture(scope="module")
def sweep():
    return plan_of(["experiment=sweep_qk_digits", "loss.q=0.3,0.7", "seed=0,1"])


def laid_out(plan, tmp_path, but=()):
    for run in plan.runs:
        if run not in but:
            made_up.finish(tmp_path, run)
    return lay_out(plan, look(plan))


def test_accuracy_has_a_panel_a_setting_and_a_line_a_seed_and_mean(demo, tmp_path):
    cells = laid_out(demo, tmp_path, but=demo.runs[:1])
    axes = curves.accuracy(cells).axes
    assert [axis.get_title() for axis in axes] == ["uniform 0.4", "uniform 0.6", "pair 0.2"]
    lines = axes[1].get_lines()
    assert len(lines) == 4 * (2 + 1)
    mean = lines[2]  # of ce at 0.6, seeds 0 and 1: 44 and 45 % at the last epoch
    assert mean.get_ydata()[-1] == pytest.approx(44.5)
    assert mean.get_linewidth() > 2 * lines[0].get_linewidth()
    assert len(axes[0].get_lines()) == 4 * 3 - 1


def test_without_a_test_set_accuracy_on_noisy_validation_is_drawn(demo, tmp_path):
    cells = laid_out(demo, tmp_path)
    for path in tmp_path.glob("runs/*/metrics.csv"):
        table = pandas.read_csv(path)
        table["test_accuracy"] = ""
        table.to_csv(path, index=False)
    cells = lay_out(demo, look(demo))
    drawn = curves.accuracy(cells)
    assert "noisy validation accuracy in %" in [text.get_text() for text in drawn.texts]
    line = drawn.axes[0].get_lines()[0]
    metrics = cells.at(("ce",), ("uniform", 0.4)).runs[0].metrics()
    assert list(line.get_ydata()) == pytest.approx([100 * share for share in metrics["val_accuracy"]])


def test_precision_that_is_not_known_has_no_place_in_the_legend(demo, tmp_path):
    cells = laid_out(demo, tmp_path)
    for cell in cells.cell.values():
        for run in cell.runs:
            for row in run.manifest.get("pruning", []):
                row["precision"] = row["recall"] = None
    drawn = curves.pruning(cells)
    assert [text.get_text() for legend in drawn.legends for text in legend.get_texts()] == ["kept of all"]


def test_pruning_has_panels_in_the_order_of_accuracy_and_marks_whole_epochs(tmp_path):
    plan = plan_of(
        ["data=digits", "loss=tgce", "noise=pair,uniform", "rate=0.4,0.2", "seed=0", f"paths.results={tmp_path}"]
    )
    cells = laid_out(plan, tmp_path)
    drawn = curves.pruning(cells)
    titles = [axis.get_title() for axis in drawn.axes]
    assert titles == [axis.get_title() for axis in curves.accuracy(cells).axes]
    assert titles == ["pair 0.2", "pair 0.4", "uniform 0.2", "uniform 0.4"]
    drawn.axes[0].set_xlim(1, 3)  # where matplotlib's own ticks are halves
    drawn.draw_without_rendering()
    assert all(float(tick).is_integer() for axis in drawn.axes for tick in axis.get_xticks())


def test_memorisation_counts_what_was_pruned(demo, tmp_path):
    cells = laid_out(demo, tmp_path)
    (tgce, _) = memorisation._fates(cells.at(("tgce",), ("uniform", 0.4)))
    before, after = (0, made_up.PRUNED_AFTER[0])  # the first epoch, and the first one without the pruned
    parts = ("mislabelled_as_true", "mislabelled_as_noisy", "mislabelled_as_other", "pruned")
    assert [tgce[key][before] for key in parts] == [0.75, 0.125, 0.125, 0]
    assert [tgce[key][after] for key in parts] == [0.1875, 0.03125, 0.03125, 0.75]  # recall 0.75
    (ce, _) = memorisation._fates(cells.at(("ce",), ("uniform", 0.4)))
    assert ce["pruned"] == [0] * made_up.EPOCHS


def test_masked_samples_are_still_said_something_of(demo, tmp_path):
    masked = dataclasses.replace(demo, runs=tuple(runs_with(demo, ["prune.mode=mask"])))
    cells = laid_out(masked, tmp_path)
    (tgce, _) = memorisation._fates(cells.at(("tgce",), ("uniform", 0.4)))
    assert tgce["pruned"] == [0] * made_up.EPOCHS


def runs_with(demo, more):
    jobs = [[*run.job, *more] for run in demo.runs if "loss=tgce" in run.job and "rate=0.4" in run.job]
    return plan_of(["experiment=demo", "grid=null", *jobs[0][:3], *more, "seed=0,1"]).runs


def test_mean_leaves_out_what_is_absent():
    assert curves.mean([[1.0, None, None], [0.5, 0.25, None]]) == [0.75, 0.25, None]


def test_noise_is_drawn_once_a_setting(demo, tmp_path):
    cells = laid_out(demo, tmp_path, but=demo.runs[:1])
    assert list(heat.settings(cells)) == ["uniform 0.4", "uniform 0.6", "pair 0.2"]
    axes = heat.noise(cells).axes
    assert [axis.get_title() for axis in axes][:3] == ["uniform 0.4", "uniform 0.6", "pair 0.2"]
    assert [text.get_text() for text in axes[0].texts] == ["60", "40", "40", "60"]


def test_q_and_k_of_all_settings_share_one_labelled_scale(sweep, tmp_path):
    plan = dataclasses.replace(sweep, results=tmp_path)
    cells = laid_out(plan, tmp_path)
    *panels, bar = heat.q_and_k(cells, ["val", "last"]).axes
    assert len(panels) == 2
    assert len({panel.get_images()[0].get_clim() for panel in panels}) == 1
    assert bar.get_ylabel() == "test accuracy"


def test_where_losses_are_many_each_has_a_panel_with_the_range_of_all_in_grey(demo, tmp_path, monkeypatch):
    monkeypatch.setattr(curves, "MOST", 3)
    cells = laid_out(demo, tmp_path, but=demo.runs[:1])
    axes = curves.accuracy(cells, "pair 0.2").axes
    assert [axis.get_title() for axis in axes][3:6] == ["tgce, uniform 0.4", "ce, uniform 0.6", "mae, uniform 0.6"]
    monkeypatch.setattr(module_of_cells, "_PAGE", 4)
    figure = curves.accuracy(cells, "pair 0.2")
    assert [axis.get_title() for axis in figure.axes] == ["ce", "mae", "gce", "tgce"]
    assert figure.get_supylabel() == "test accuracy in %"
    assert "pair 0.2" in [text.get_text() for text in figure.texts]
    for axis in figure.axes:
        assert [line.get_color() for line in axis.get_lines()] == [canvas.BLUE] * (2 + 1)
        bands = [band.get_paths()[0].vertices for band in axis.collections]
        ends = [{round(y, 2) for x, y in band if x == made_up.EPOCHS} for band in bands]
        assert ends == [{48.5, 78.5}, {58.5, 68.5}]  # ce, tgce; mae, gce at 0.2: means of the two seeds


def test_memorisation_shows_the_settings_that_fit_a_page(demo, tmp_path, monkeypatch):
    cells = laid_out(demo, tmp_path)
    assert len(memorisation.memorisation(cells).axes) == 12
    monkeypatch.setattr(module_of_cells, "_PAGE", 8)
    assert [cells.column_label(column) for column in cells.page("pair 0.2")] == ["uniform 0.4", "pair 0.2"]
    assert len(memorisation.memorisation(cells, "pair 0.2").axes) == 8


def test_confusion_is_that_of_the_predictions_that_runs_have_kept(demo, tmp_path):
    run = demo.runs[0]
    made_up.keep(made_up.finish(tmp_path, run), p=[[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]], given=[0, 0, 1])
    made_up.finish(tmp_path, demo.runs[1])
    (found, _) = (result for result in look(demo)[:2])
    assert found.confusion == {"cat": {"cat": 1, "dog": 1}, "dog": {"cat": 0, "dog": 1}}
    cells = lay_out(demo, look(demo))
    panel, bar = heat.confusion(cells).axes
    assert panel.get_title() == "ce, uniform 0.4"
    assert [text.get_text() for text in panel.texts] == ["50", "50", "100"]
    assert bar.get_ylabel().replace("\n", " ") == "share of the test samples of a class"
    assert heat.confusion(lay_out(demo, look(demo)[1:])) is None
    by_class = tables.tabulate(demo, measure="per_class")
    assert [cells_of[-1] for cells_of in by_class.cells.columns] == ["cat", "dog"]
    assert "| ce   | 50.00 (1/2) | 100.00 (1/2) |".replace(" ", "") in str(by_class).replace(" ", "").replace("*", "")


def test_settings_that_differ_in_more_say_so(tmp_path):
    words = ["experiment=demo", "grid=null", "loss=ce", "noise=uniform", "noise.include_true=true,false"]
    plan = plan_of([*words, f"paths.results={tmp_path}"])
    told = dataclasses.replace(plan, table={**plan.table, "columns": ["noise.include_true"]})
    assert list(heat.settings(lay_out(told, look(told)))) == [
        "uniform 0.4 include_true true",
        "uniform 0.4 include_true false",
    ]


def test_q_and_k_are_drawn_where_both_are_swept(demo, sweep, tmp_path):
    assert heat.q_and_k(lay_out(demo, look(demo)), ["val"]) is None
    swept = dataclasses.replace(sweep, results=tmp_path)
    cells = laid_out(swept, tmp_path, but=swept.runs[:1])
    axis, _ = heat.q_and_k(cells, ["last"]).axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["0.7", "0.3"]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["0.3", "0.5", "0.7"]
    said = [text.get_text() for text in axis.texts]
    assert said[0] == "76.50\n± 0.71\n(2)"
    assert said[3] == "77.00\n(1)"  # the seed 0 of q 0.3, k 0.3 is not done


@pytest.mark.parametrize("ending", canvas.FORMATS)
def test_bytes_are_equal_when_drawn_again(demo, tmp_path, ending):
    plan = dataclasses.replace(demo, runs=demo.runs[:2])
    cells = laid_out(plan, tmp_path)
    first, second = (canvas.file(curves.accuracy(cells), ending, "accuracy") for _ in range(2))
    assert first == second
    assert not re.search(rb"CreationDate|<dc:date>|tIME", first)


def test_an_inline_figure_takes_the_colour_of_the_page(demo, tmp_path):
    plan = dataclasses.replace(demo, runs=demo.runs[:2])
    text = canvas.inline(curves.accuracy(laid_out(plan, tmp_path)), "accuracy", "A title")
    assert text.startswith("<svg role=")
    assert "currentColor" in text
    assert canvas.INK not in text
    assert "<metadata" not in text
    ids = set(re.findall(r'\bid="([^"]+)"', text))
    assert all(name.startswith("accuracy-") for name in ids)
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) <= ids


def test_the_overview_shows_the_rows_and_the_setting_that_the_experiment_names(demo, tmp_path):
    cells = laid_out(demo, tmp_path, but=demo.runs[:1])
    left, *right = memorisation.overview(cells, demo.table["overview"]).axes
    assert [axis.get_title() for axis in right] == ["ce", "gce", "tgce"]
    assert [line.get_ydata()[-1] for line in left.get_lines() if line.get_linewidth() > 1] == [
        pytest.approx(value)
        for value in (47, 66.5, 76.5)  # seed 1 alone of ce
    ]
    assert memorisation.overview(cells, {"rows": ["gce"], "column": "pair 0.9"}) is None
    assert memorisation.overview(cells, {}) is None


def test_one_kind_of_figure_is_drawn_where_one_is_named(tmp_path, capsys):
    words = ["experiment=demo", "loss=tgce", "noise=uniform", "rate=0.4", "seed=0", f"paths.results={tmp_path}"]
    made_up.finish(tmp_path, plan_of(words).runs[0])
    figure.answer([*words, "kind=pruning"])
    assert re.findall(r"(\w+)\.pdf", capsys.readouterr().out) == ["pruning"]


def test_nothing_to_draw_is_said(tmp_path):
    with pytest.raises(NoisygceError, match=r"the runs that are done below .* give nothing to draw"):
        figure.answer(["experiment=demo", "grid=null", "seed=0", f"paths.results={tmp_path}"])


def test_the_command_writes_three_formats(tmp_path, capsys):
    words = ["experiment=demo", "grid=null", "loss=tgce", "noise=uniform", "rate=0.4", f"paths.results={tmp_path}"]
    made_up.finish(tmp_path, plan_of(words).runs[0])
    figure.answer(words)
    names = {"overview", "accuracy", "pruning", "memorisation", "noise"}
    (folder,) = (tmp_path / "figures").iterdir()
    assert folder.name.startswith(
        "demo+grid=null+loss=tgce+noise=uniform+rate=0.4-"
    )  # the experiment's own are in demo
    there = {path.name for path in folder.iterdir()}
    assert there == {f"{name}.{ending}" for name in names for ending in ("pdf", "png", "svg")}
    assert capsys.readouterr().out.count("\n") == 5


def drawn_apart(figure):
    """Whether no text, legend or panel of a figure lies on another, and all are in the picture that a file shows."""
    figure.draw_without_rendering()
    parts = [*figure.texts, *figure.legends, *figure.axes]
    boxes = [part.get_tightbbox() for part in parts]
    whole = figure.get_tightbbox().padded(0.01)
    dpi = figure.dpi
    inside = all(whole.x0 <= b.x0 / dpi and b.x1 / dpi <= whole.x1 for b in boxes)
    inside &= all(whole.y0 <= b.y0 / dpi and b.y1 / dpi <= whole.y1 for b in boxes)
    return inside and not any(
        one.padded(-1).overlaps(other.padded(-1)) for i, one in enumerate(boxes) for other in boxes[:i]
    )


@pytest.fixture
def one_setting(demo, tmp_path):
    """Four losses in one setting."""
    runs = [run for run in demo.runs if "rate=0.4" in run.job]
    return laid_out(dataclasses.replace(demo, runs=tuple(runs)), tmp_path)


@pytest.mark.parametrize("draw", [curves.accuracy, memorisation.memorisation, curves.pruning, heat.noise])
@pytest.mark.parametrize("name", ["{}", "{} of a name that fills a line", "{} of a name that is wider than the panel"])
def test_of_one_setting_nothing_lies_on_another_and_the_panel_keeps_its_size(draw, name, one_setting):
    long = tuple((name.format(row[0]),) for row in one_setting.rows)
    renamed = dict(zip(one_setting.rows, long, strict=True))
    cell = {(renamed[row], column): each for (row, column), each in one_setting.cell.items()}
    figure = draw(dataclasses.replace(one_setting, rows=long, cell=cell))
    if draw != memorisation.memorisation or name == "{}":  # there a name stands above each panel
        assert drawn_apart(figure)
    panel = figure.axes[0].get_window_extent()
    assert min(panel.width, panel.height) / figure.dpi > 0.8


def test_the_setting_of_all_panels_stands_above_them(one_setting):
    figure = memorisation.memorisation(one_setting)
    assert figure.get_supylabel() == "share in %"
    assert "Mislabelled training samples, uniform 0.4" in [text.get_text() for text in figure.texts]


@pytest.mark.parametrize("most", [8, 3])
def test_a_loss_has_one_colour_in_all_figures_of_an_experiment(demo, tmp_path, monkeypatch, most):
    monkeypatch.setattr(curves, "MOST", most)
    cells = laid_out(demo, tmp_path)

    def colours(legend):
        return {t.get_text(): h.get_color() for t, h in zip(legend.get_texts(), legend.legend_handles, strict=True)}

    overview = memorisation.overview(cells, demo.table["overview"])
    found = colours(overview.subfigs[0].legends[0])
    if most == 8:
        assert found.items() <= colours(curves.accuracy(cells).legends[0]).items()
    assert len(set(found.values())) == 3
    assert not set(found.values()) & {colour for _, _, colour in memorisation._FATES}  # which stand beside them


def test_the_scale_is_as_high_as_its_panels_and_they_as_close_as_they_can(one_setting):
    figure = heat.noise(one_setting)
    figure.draw_without_rendering()
    panel, bar = figure.axes
    assert panel.get_window_extent().height == pytest.approx(bar.get_window_extent().height)
    assert bar.get_window_extent().x0 - panel.get_window_extent().x1 < 0.2 * panel.figure.dpi
    assert bar.yaxis.label.get_window_extent().height < bar.get_window_extent().height


def test_each_panel_that_has_none_below_it_and_its_neighbours_show_their_x_axis():
    _, axes = canvas.panels(5)
    assert [axis.xaxis.get_tick_params()["labelbottom"] for axis in axes] == [True] * 5
    _, axes = canvas.panels(12)
    assert [axis.xaxis.get_tick_params()["labelbottom"] for axis in axes] == [False] * 8 + [True] * 4


def test_what_a_network_says_of_mixed_images_has_a_footnote(one_setting, tmp_path):
    words = ["data=digits", "loss=ce,mixup", "noise=uniform", "rate=0.4", "seed=0", f"paths.results={tmp_path}/mixed"]
    plan = plan_of(words)
    for run in plan.runs:
        made_up.finish(plan.results, run, 0.5)
    cells = lay_out(plan, look(plan))
    figure = memorisation.memorisation(cells)
    assert [axis.get_title() for axis in figure.axes] == ["ce", "mixup *"]
    assert any(text.get_text().startswith("* Asked of images mixed") for text in figure.texts)
    figure = memorisation.overview(cells, {"rows": ["ce", "mixup"], "column": "uniform 0.4"})
    assert [axis.get_title() for axis in figure.axes[1:]] == ["ce", "mixup *"]
    assert any(text.get_text().startswith("* Asked of images mixed") for text in figure.texts)
    assert not any(text.get_text().startswith("*") for text in memorisation.memorisation(one_setting).texts)


@pytest.mark.parametrize("name", ["$5-$10", "10_$", "a^b", "a|b", "x&y", "50%", "#1", "a\\b", "$\\frac$", "<b>"])
def test_the_name_of_a_class_is_drawn_as_it_is(name):
    with drawing.by_default():
        figure, (axis,) = canvas.panels(1)
        canvas.title(axis, name)
        heat._field(axis, [[0.9, 0.1], [0.1, 0.9]], [name, "plain"])
    svg = canvas.file(figure, "svg", "confusion").decode()
    assert canvas.file(figure, "png", "confusion")
    assert f"<!-- {html.escape(name, quote=False)} -->" in svg
    assert axis.get_xticklabels()[0].get_text() == name


@pytest.mark.xfail(
    strict=True, reason="noisygce/view/heat.py, q_and_k: a field is the mean of all runs of its q and k, of any model"
)
def test_a_field_of_q_and_k_is_no_mean_of_two_models(tmp_path):
    """Refused, or a panel each: 15 % of one model and 95 % of another are no 55 ± 57."""
    swept = ["loss.q=0.3,0.7", "loss.k=0.3,0.5", "model=convnet,linear", "seed=0"]
    plan = plan_of(["data=digits", "loss=tgce", *swept, f"paths.results={tmp_path}"])
    for run in plan.runs:
        made_up.finish(tmp_path, run, 0.15 if run.identity["model"]["name"] == "linear" else 0.95)
    numbers = []
    with contextlib.suppress(ConfigError):
        drawn = heat.q_and_k(lay_out(plan, look(plan)), ["last"])
        numbers = [text.get_text().split()[0] for axis in drawn.axes for text in axis.texts]
    assert set(numbers) <= {"15.00", "95.00"}
