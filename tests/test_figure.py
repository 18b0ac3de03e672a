"""Figures from made-up manifests: what is drawn, and equal bytes when drawn again."""

import dataclasses
import html
import re
from colorsys import rgb_to_hsv
from itertools import pairwise

import made_up
import pandas
import pytest
from matplotlib.colors import to_rgba
from matplotlib.text import Text

from noisygce import figure
from noisygce.errors import ConfigError, NoisygceError
from noisygce.settings import config_dir
from noisygce.sweep.plan import look, plan_of
from noisygce.view import canvas, curves, heatmaps, memorisation, rates, tables
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


def test_rates_has_a_panel_a_setting_and_rule_and_the_mean_of_each_rate(demo, tmp_path):
    cells = laid_out(demo, tmp_path)
    axes = rates.rates(cells, ["val", "last"]).axes
    assert [axis.get_title() for axis in axes] == ["uniform, val", "uniform, last"]  # pair has one rate
    line = axes[1].get_lines()[0]  # of ce, seeds 0 and 1
    assert line.get_xdata().tolist() == [0.4, 0.6]
    assert line.get_ydata() == pytest.approx([46.5, 44.5])
    one_rate = cells.only([place for place in cells.places if place[1] != ("uniform", 0.6)])
    assert rates.rates(one_rate, ["val"]) is None


def test_rates_stands_beside_the_published_numbers_of_any_network(tmp_path):
    words = ["experiment=uniform_noise_fast", "rate=0.6,0.8", "loss=ce", f"paths.results={tmp_path}"]
    axes = rates.rates(laid_out(plan_of(words), tmp_path), ["val", "last"], "published").axes
    paper = [line for line in axes[0].get_lines() if line.get_linestyle() == ":"]
    assert [line.get_ydata().tolist() for line in paper] == [pytest.approx([74.14, 53.82])]  # one, of two rows of ce
    assert paper[0].get_color() not in [line.get_color() for line in axes[0].get_lines() if line is not paper[0]]
    assert len(axes[0].get_lines()) == len(axes[1].get_lines()) + 1  # under last none is published


def test_published_numbers_are_for_rates_alone():
    with pytest.raises(ConfigError, match="against=published is for kind=rates"):
        figure.run(["experiment=demo", "kind=noise", "against=published"])


def test_labels_that_are_taken_as_they_are_have_no_noise_to_draw(tmp_path):
    words = ["data=digits", "loss=ce", "noise=clean", "rate=0", "seed=0", f"paths.results={tmp_path}"]
    assert heatmaps.noise(laid_out(plan_of(words), tmp_path)) is None


def test_a_subset_of_the_training_set_is_named_in_figures_and_captions(tmp_path):
    words = ["data=cifar10", "data.subset=2000", "loss=ce", "noise=uniform", "rate=0.4", "seed=0,1"]
    cells = laid_out(plan_of([*words, f"paths.results={tmp_path}"]), tmp_path)
    assert "cifar10 (2,000 training samples)" in cells.caption("val")
    assert "cifar10 (2,000 training samples)" in heatmaps.noise(cells).get_supxlabel()


def test_without_a_test_set_accuracy_on_noisy_validation_is_drawn(demo, tmp_path):
    cells = laid_out(demo, tmp_path)
    for path in tmp_path.glob("runs/*/metrics.csv"):
        table = pandas.read_csv(path)
        table["test_accuracy"] = ""
        table.to_csv(path, index=False)
    cells = lay_out(demo, look(demo))
    drawn = curves.accuracy(cells)
    assert drawn.get_supylabel() == "noisy validation accuracy in %"
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
    assert [text.get_text() for legend in drawn.legends for text in legend.get_texts()] == ["kept share"]


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
    shares = memorisation.shares(cells.at(("tgce",), ("uniform", 0.4)))
    assert shares.loc[made_up.PRUNED_AFTER[0]].tolist() == [75, 12.5, 12.5, 0]
    assert shares.loc[made_up.PRUNED_AFTER[0] + 1].tolist() == [18.75, 3.125, 3.125, 75]  # recall 0.75
    assert not memorisation.shares(cells.at(("ce",), ("uniform", 0.4)))["pruned"].any()


def test_masked_samples_are_still_said_something_of(demo, tmp_path):
    masked = dataclasses.replace(demo, runs=tuple(runs_with(demo, ["prune.mode=mask"])))
    cells = laid_out(masked, tmp_path)
    assert not memorisation.shares(cells.at(("tgce",), ("uniform", 0.4)))["pruned"].any()


def runs_with(demo, more):
    jobs = [[*run.job, *more] for run in demo.runs if "loss=tgce" in run.job and "rate=0.4" in run.job]
    return plan_of(["experiment=demo", "grid=null", *jobs[0][:3], *more, "seed=0,1"]).runs


def test_noise_is_drawn_once_a_setting(demo, tmp_path):
    cells = laid_out(demo, tmp_path, but=demo.runs[:1])
    axes = heatmaps.noise(cells).axes
    assert [axis.get_title() for axis in axes][:3] == ["uniform 0.4", "uniform 0.6", "pair 0.2"]
    assert [text.get_text() for text in axes[0].texts] == ["60", "40", "40", "60"]


def test_q_and_k_of_all_settings_share_one_labelled_scale(sweep, tmp_path):
    plan = dataclasses.replace(sweep, results=tmp_path)
    cells = laid_out(plan, tmp_path)
    *panels, bar = heatmaps.q_and_k(cells, ["val", "last"]).axes
    assert len(panels) == 2
    assert len({panel.get_images()[0].get_clim() for panel in panels}) == 1
    assert bar.get_ylabel() == "test accuracy in %"


def test_memorisation_shows_the_settings_that_fit_a_page(demo, tmp_path, monkeypatch):
    cells = laid_out(demo, tmp_path)
    assert len(memorisation.memorisation(cells).axes) == 12
    monkeypatch.setattr(canvas, "PAGE", 8)
    figure = memorisation.memorisation(cells, "pair 0.2")
    assert len(figure.axes) == 8
    assert "Left out: uniform 0.6." in figure.get_supxlabel()


def test_confusion_is_that_of_the_predictions_that_runs_have_kept(demo, tmp_path):
    run = demo.runs[0]
    made_up.keep(made_up.finish(tmp_path, run), p=[[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]], given=[0, 0, 1])
    made_up.finish(tmp_path, demo.runs[1])
    (found, _) = (result for result in look(demo)[:2])
    assert found.confusion == {"cat": {"cat": 1, "dog": 1}, "dog": {"cat": 0, "dog": 1}}
    cells = lay_out(demo, look(demo))
    panel, bar = heatmaps.confusion(cells).axes
    assert panel.get_title() == "ce, uniform 0.4"
    assert [text.get_text() for text in panel.texts] == ["50", "50", "100"]
    assert bar.get_ylabel() == "share in %"
    assert [text.get_text() for text in panel.get_yticklabels()] == ["cat", "dog"]
    assert heatmaps.confusion(lay_out(demo, look(demo)[1:])) is None
    drawn = heatmaps.confusion(lay_out(demo, look(demo)))
    assert "Seeds: 1." in drawn.get_supxlabel()  # the other seed of this setting is done, and has kept none
    by_class = tables.tabulate(demo, measure="per_class")
    assert [cells_of[-1] for cells_of in by_class.cells.columns] == ["cat", "dog"]
    (shown,) = by_class.subtables.values()
    assert shown.header == [("loss",), ("uniform 0.4", "cat"), ("uniform 0.4", "dog")]
    assert "| ce   | 50.00 (1/2) | 100.00 (1/2) |".replace(" ", "") in str(by_class).replace(" ", "").replace("*", "")
    other = next(run for run in demo.runs if run.job[:3] == ("loss=ce", "noise=pair", "rate=0.2"))
    made_up.keep(made_up.finish(tmp_path, other), p=[[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]], given=[0, 0, 1])
    shown = tables.tabulate(demo, measure="per_class").subtables
    assert [len(each.header) for each in shown.values()] == [3, 3], "a subtable a setting"


def test_settings_that_differ_in_more_say_so(tmp_path):
    words = ["experiment=demo", "grid=null", "loss=ce", "noise=uniform", "noise.include_true=true,false"]
    plan = plan_of([*words, f"paths.results={tmp_path}"])
    told = dataclasses.replace(plan, table={**plan.table, "columns": ["noise.include_true"]})
    assert list(heatmaps.settings(look(told))) == ["uniform 0.4 include_true true", "uniform 0.4 include_true false"]


def test_human_labels_and_their_twins_are_titled_by_their_data_set(tmp_path):
    words = ["experiment=human_cifar10_compact", "grid=null", "noise=human,human_twin", "noise.set=worse"]
    found = list(heatmaps.settings(look(plan_of([*words, f"paths.results={tmp_path}"]))))
    assert found == ["human set worse", "human_twin set worse"]
    _, axes = canvas.panels([*found, "human set noisy"], across=3)
    titles = [axis.get_title().replace("\n", " ") for axis in axes]
    assert titles == ["CIFAR-10N worse", "CIFAR-10N worse, synthetic twin", "CIFAR-100N noisy"]


def test_q_and_k_are_drawn_where_both_are_swept(demo, sweep, tmp_path):
    assert heatmaps.q_and_k(lay_out(demo, look(demo)), ["val"]) is None
    swept = dataclasses.replace(sweep, results=tmp_path)
    cells = laid_out(swept, tmp_path, but=swept.runs[:1])
    axis, _ = heatmaps.q_and_k(cells, ["last"]).axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["0.3", "0.7"]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["0.3", "0.5", "0.7"]
    written = [text.get_text() for text in axis.texts]
    assert written[3] == "76.50\n± 0.71\n(2)"
    assert written[0] == "77.00\n(1)"  # the seed 0 of q 0.3, k 0.3 is not done


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
    words = ["data=digits", "loss=ce,forward", "noise=uniform", "rate=0.2,0.4", f"paths.results={tmp_path}/rates"]
    plan = dataclasses.replace(plan_of(words), table={"rows": ["loss.name"], "columns": ["rate"]})
    for run in plan.runs:
        made_up.finish(plan.results, run, 0.5)
    shown = {"rows": ["ce", "forward"], "column": 0.4}  # a number, as YAML has it; and a row that is an oracle
    drawn = memorisation.overview(lay_out(plan, look(plan)), shown)
    assert [axis.get_title() for axis in drawn.axes[1:]] == ["ce", "forward (oracle)"]


def test_q_and_k_have_no_map_before_a_run_is_done(sweep, tmp_path):
    assert heatmaps.q_and_k(laid_out(sweep, tmp_path, but=sweep.runs), ["val", "last"]) is None


def test_nothing_to_draw_is_said(tmp_path):
    with pytest.raises(NoisygceError, match=r"the runs that are done below .* give nothing to draw"):
        figure.run(["experiment=demo", "grid=null", "seed=0", f"paths.results={tmp_path}"])


def test_the_command_writes_three_formats(tmp_path, capsys):
    words = ["experiment=demo", "grid=null", "loss=tgce", "noise=uniform", "rate=0.4", f"paths.results={tmp_path}"]
    made_up.finish(tmp_path, plan_of(words).runs[0])
    figure.run(words)
    names = {"overview", "accuracy", "pruning", "memorisation", "noise"}
    (folder,) = (tmp_path / "figures").iterdir()
    assert folder.name.startswith(
        "demo+grid=null+loss=tgce+noise=uniform+rate=0.4-"
    )  # the experiment's own are in demo
    there = {path.name for path in folder.iterdir()}
    assert there == {f"{name}.{ending}" for name in names for ending in ("pdf", "png", "svg")}
    assert capsys.readouterr().out.count("\n") == 5


@pytest.fixture
def one_setting(demo, tmp_path):
    """Four losses in one setting."""
    runs = [run for run in demo.runs if "rate=0.4" in run.job]
    return laid_out(dataclasses.replace(demo, runs=tuple(runs)), tmp_path)


def test_predictions_on_mixed_images_have_a_footnote(one_setting, tmp_path):
    words = ["data=digits", "loss=ce,mixup,elr_plus", "noise=uniform", "rate=0.4", f"paths.results={tmp_path}/mixed"]
    plan = plan_of(words)
    for run in plan.runs:
        made_up.finish(plan.results, run, 0.5)
    cells = lay_out(plan, look(plan))
    figure = memorisation.memorisation(cells)
    assert [axis.get_title() for axis in figure.axes] == ["ce", "mixup *", "elr_plus *"]
    assert "seeds." not in figure.get_supxlabel()  # of one there is no mean
    assert "* Predictions on images mixed" in figure.get_supxlabel()
    figure = memorisation.overview(cells, {"rows": ["ce", "mixup"], "column": "uniform 0.4"})
    assert [axis.get_title() for axis in figure.axes[1:]] == ["ce", "mixup *"]
    assert "* Predictions on images mixed" in figure.get_supxlabel()
    assert "*" not in memorisation.memorisation(one_setting).get_supxlabel()


def colours(figure):
    (legend,) = figure.legends
    handles = zip(legend.get_texts(), legend.legend_handles, strict=True)
    return {text.get_text(): handle.get_color() for text, handle in handles if hasattr(handle, "get_color")}


def test_a_loss_has_one_colour_in_all_figures_whatever_else_they_show(demo, tmp_path):
    cells = laid_out(demo, tmp_path)
    here, beside = colours(curves.accuracy(cells)), colours(memorisation.overview(cells, demo.table["overview"]))
    assert beside.items() <= here.items()
    words = ["data=digits", "loss=tgce,gce", "noise=uniform", "rate=0.4", "seed=0", f"paths.results={tmp_path}/other"]
    other = colours(curves.accuracy(laid_out(plan_of(words), tmp_path / "other")))
    assert other == {"tgce": here["tgce"], "gce": here["gce"]}


def test_all_losses_of_the_package_look_different_and_so_does_a_person_s_own():
    packaged = [path.stem for path in (config_dir() / "loss").glob("*.yaml")]
    styles = canvas.loss_styles([*packaged, "mine", "yours"])
    assert len({str(style) for style in styles.values()}) == len(packaged) + 2
    assert canvas.loss_styles(packaged).items() <= styles.items()


def test_rows_of_one_loss_share_its_colour_and_differ_in_line_style(tmp_path):
    words = ["data=digits", "loss=ce,gce", "model=convnet,cnn8", "noise=uniform", "rate=0.4", "seed=0"]
    plan = plan_of([*words, f"paths.results={tmp_path}"])
    plan = dataclasses.replace(plan, table={**plan.table, "rows": ["loss.name", "model.name"], "columns": ["rate"]})
    styles = curves.row_styles(laid_out(plan, tmp_path))
    assert styles["gce", "convnet"]["color"] == styles["gce", "cnn8"]["color"] != styles["ce", "cnn8"]["color"]
    assert len({str(style) for style in styles.values()}) == 4


def lightness(colour):
    """L* of CIELAB."""
    luminance = heatmaps.luminance(to_rgba(colour))
    return 116 * luminance ** (1 / 3) - 16 if luminance > 0.008856 else 903.3 * luminance


def test_fills_share_no_hue_with_lines_and_neighbours_differ_in_grey():
    def hue(colour):
        h, s, _ = rgb_to_hsv(*to_rgba(colour)[:3])
        return [360 * h] if s > 0.2 else []

    fills = [look["facecolor"] for look in (*memorisation.PREDICTIONS.values(), memorisation.PRUNED)]
    lines = [
        hue(style["color"])
        for style in canvas.loss_styles(["ce", "gce", "tgce", "mae", "elr", "forward", "sce"]).values()
    ]
    for fill in (found for colour in fills for found in hue(colour)):
        assert all(30 <= abs(fill - line) <= 330 for found in lines for line in found)
    steps = [abs(lightness(one) - lightness(other)) for one, other in pairwise(fills)]
    assert min(steps) >= 20


def test_text_on_a_map_can_be_read(demo, sweep, tmp_path):
    swept = dataclasses.replace(sweep, results=tmp_path / "swept")
    maps = [heatmaps.noise(laid_out(demo, tmp_path)), heatmaps.q_and_k(laid_out(swept, tmp_path / "swept"), ["last"])]
    texts = [(axis.get_images()[0], text) for figure in maps for axis in figure.axes for text in axis.texts]
    assert {text.get_color() for _, text in texts} == {"black", "white"}
    for image, text in texts:
        x, y = text.get_position()
        found = sorted(
            heatmaps.luminance(c) for c in (to_rgba(text.get_color()), image.to_rgba(image.get_array()[y, x]))
        )
        assert (found[1] + 0.05) / (found[0] + 0.05) >= 4.5


def test_what_pruning_keeps_falls_in_steps(demo, tmp_path):
    cells = laid_out(demo, tmp_path)
    for axis in curves.pruning(cells).axes:
        kept = axis.get_lines()[-1]
        assert kept.get_drawstyle() == "steps-post"
        assert list(kept.get_xdata()) == [0, *made_up.PRUNED_AFTER, demo.runs[0].identity["schedule"]["epochs"]]
        assert list(kept.get_ydata()) == [100, 60, 60, 60]
    tgce = memorisation.memorisation(cells).axes[-1]
    for patch in tgce.patches:
        assert list(patch.get_data().edges) == list(range(made_up.EPOCHS + 1))
    assert sum(patch.get_data().values - patch.get_data().baseline for patch in tgce.patches) == pytest.approx(100)


def test_final_accuracies_of_many_rows_are_sorted_means_with_t_intervals(demo, tmp_path, monkeypatch):
    monkeypatch.setattr(curves, "MOST", 3)
    axes = curves.accuracy(laid_out(demo, tmp_path)).axes
    assert [axis.get_title() for axis in axes] == ["uniform 0.4", "uniform 0.6", "pair 0.2"]
    assert [text.get_text() for text in axes[0].get_yticklabels()] == ["ce", "mae", "gce", "tgce"]
    _, last = axes[2].containers
    assert list(last.lines[0].get_xdata()) == pytest.approx([48.5, 58.5, 68.5, 78.5])  # seeds 0 and 1: a point apart
    (start, _), (end, _) = last.lines[2][0].get_segments()[0]
    assert (end - start) / 2 == pytest.approx(12.7062 * 0.5, rel=1e-4)  # t(0.975, 1) * 0.7071 / sqrt(2)


def test_an_axis_of_accuracies_ends_at_0_and_100_however_wide_the_intervals_are(demo, tmp_path, monkeypatch):
    for run in demo.runs:
        made_up.finish(tmp_path, run, 0.97 if run.identity["seed"] else 0.13)
    cells = lay_out(demo, look(demo))
    assert rates.rates(cells, ["last"]).axes[0].get_ylim() == (0, 100)
    monkeypatch.setattr(curves, "MOST", 3)
    assert curves.accuracy(cells).axes[0].get_xlim() == (0, 100)


def test_settings_without_a_finished_run_have_no_panel(demo, tmp_path):
    done = [run for run in demo.runs if "rate=0.6" in run.job and "loss=ce" in run.job]
    cells = laid_out(demo, tmp_path, but=[run for run in demo.runs if run not in done])
    for draw in (curves.accuracy, memorisation.memorisation):
        (axis,) = draw(cells).axes
        assert "uniform 0.6" in axis.get_title()


def test_accuracies_of_two_models_share_no_field_and_a_scale_spans_two_points_at_least(tmp_path):
    words = ["data=digits", "loss=tgce", "loss.q=0.3,0.7", "loss.k=0.3,0.5", "model=convnet,cnn8", "seed=0,1"]
    plan = plan_of([*words, "noise=uniform", "rate=0.4", f"paths.results={tmp_path}"])
    for run in plan.runs:
        made_up.finish(tmp_path, run, {"convnet": 0.6, "cnn8": 0.601}[run.identity["model"]["name"]])
    *panels, _ = heatmaps.q_and_k(lay_out(plan, look(plan)), ["last"]).axes
    assert [panel.get_title() for panel in panels] == ["uniform 0.4 convnet, rule last", "uniform 0.4 cnn8, rule last"]
    for panel, mean in zip(panels, ("60.00", "60.10"), strict=True):
        assert {text.get_text() for text in panel.texts} == {f"{mean}\n± 0.00\n(2)"}
        low, high = panel.get_images()[0].get_clim()
        assert high - low == pytest.approx(2)


def test_classes_of_a_known_data_set_are_named(tmp_path):
    words = ["data=cifar10", "loss=ce", "noise=uniform", "rate=0.4", "seed=0", f"paths.results={tmp_path}"]
    plan = plan_of(words)
    made_up.finish(tmp_path, plan.runs[0], 0.5, noise={"transition": [[0.1] * 10] * 10})
    panel, _ = heatmaps.noise(lay_out(plan, look(plan))).axes
    assert [text.get_text() for text in panel.get_yticklabels()][:2] == ["airplane", "automobile"]


@pytest.mark.parametrize("name", ["$5-$10", "$\\frac$", "a\\b<b>"])
def test_names_are_drawn_as_they_are_written(demo, tmp_path, name):
    cells = laid_out(demo, tmp_path)
    cell = cells.at(("tgce",), ("uniform", 0.4))
    for run in cell.runs:
        run.config["loss.name"] = name
        run.__dict__["confusion"] = {name: {name: 1, "b": 0}, "b": {name: 0, "b": 1}}
    row, column = (name,), (name, 0.4)
    cells = dataclasses.replace(cells, rows=(row,), columns=(column,), cell={(row, column): cell})
    overview = memorisation.overview(cells, {"rows": [name], "column": f"{name} 0.4"})
    drawn = [curves.accuracy(cells), memorisation.memorisation(cells), curves.pruning(cells), heatmaps.confusion(cells)]
    for figure_of in [*drawn, overview]:
        assert f"<!-- {html.escape(name, quote=False)}" in canvas.file(figure_of, "svg", "x").decode()
        assert canvas.file(figure_of, "png", "x")
        texts = [text for text in figure_of.findobj(Text) if name in text.get_text()]
        assert texts
        assert not any(text.get_parse_math() for text in texts)


def test_a_file_does_not_depend_on_the_files_written_before(demo, tmp_path):
    cells = laid_out(dataclasses.replace(demo, runs=demo.runs[:2]), tmp_path)
    one, other = curves.accuracy(cells), curves.accuracy(cells)
    first = {ending: canvas.file(one, ending, "x") for ending in ("pdf", "svg", "png")}
    assert canvas.file(other, "png", "x") == first["png"]
    assert canvas.file(one, "pdf", "x") == first["pdf"]
