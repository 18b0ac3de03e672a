"""Tables from made-up manifests: numbers by head, nothing hidden, equal bytes when rebuilt."""

import csv
import dataclasses
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import made_up
import pytest

from noisygce import figure, report, results, runs, settings, table
from noisygce.errors import ConfigError, DataError, NoisygceError
from noisygce.runs import archive
from noisygce.runs.ids import flat
from noisygce.settings import arguments
from noisygce.sweep.plan import identities, look, plan_of
from noisygce.view import cells, compare, escape, paths, published, records, subtable, tables
from noisygce.view.measures import MEASURES
from noisygce.view.stats import Sample
from noisygce.view.subtable import Entry, Subtable


def made(demo, tmp_path, but=()):
    for run in demo.runs:
        if run not in but:
            made_up.finish(tmp_path, run)


def row(text, label, section):
    """The cells of a row of a Markdown table."""
    part = text.split(f"## {section}\n")[1].split("\n## ")[0]
    (line,) = [line for line in part.splitlines() if re.match(rf"\| {label} +\|", line)]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_numbers_by_head(demo, tmp_path):
    made(demo, tmp_path)
    text = tables.markdown(tables.tabulate(demo))
    # last: 0.50 - 0.04 + 0 or 0.01; std of two values 0.01 apart is 0.01 / sqrt 2
    assert row(text, "ce", "Rule `last`") == ["46.50 ± 0.71 (2)", "44.50 ± 0.71 (2)", "48.50 ± 0.71 (2)"]
    assert row(text, "ce", "Rule `val`") == ["44.50 ± 0.71 (2)", "42.50 ± 0.71 (2)", "46.50 ± 0.71 (2)"]
    assert row(text, "ce", "Rule `gap`") == ["+2.00 ± 0.00 (2)"] * 3
    assert row(text, "gce − ce", "Rule `val`, paired over settings") == ["+20.00", "+20.00 to +20.00", "3 / 0", "3"]
    assert "Complete: all 24 runs are done." in text


def test_an_exact_tie_is_neither_better_nor_worse(demo, tmp_path):
    """0.1 + 0.2 - 0.3 is 5.6e-17: means of equal accuracies differ in their last bits."""
    one = of_one_setting(demo)
    for run in one.runs:
        made_up.finish(tmp_path, run, 0.5)
    laid = cells.lay_out(dataclasses.replace(one, results=tmp_path), look(dataclasses.replace(one, results=tmp_path)))
    for cell in laid.cell.values():
        for i, run in enumerate(cell.runs):
            run.manifest["results"]["last"] = 0.3 if cell is next(iter(laid.cell.values())) else (0.1 + 0.2, 0.3)[i % 2]
    ties = [line[3].text for line in compare.paired(laid, "last").body]
    assert set(ties) == {"0 / 0"}


def test_of_equal_means_all_are_bold_whatever_their_last_bits(demo, tmp_path):
    one = of_one_setting(demo, seeds=(0,))
    for run in one.runs:
        made_up.finish(tmp_path, run, 0.5)
    laid = cells.lay_out(one, look(one))
    for i, cell in enumerate(laid.cell.values()):
        cell.runs[0].manifest["results"]["last"] = (0.1 + 0.2, 0.3)[i % 2]
    assert laid.bold("last") == set(laid.cell)


def of_one_setting(demo, seeds=(0, 1)):
    """The plan of one setting of the demo."""
    runs = [run for run in demo.runs if "rate=0.4" in run.job and run.identity["seed"] in seeds]
    return dataclasses.replace(demo, runs=tuple(runs))


def test_rows_of_one_setting_are_compared_over_its_seeds(demo, tmp_path):
    one = of_one_setting(demo)
    last = {("ce", 0): 0.50, ("ce", 1): 0.60, ("mae", 0): 0.53, ("mae", 1): 0.65, ("gce", 0): 0.50}
    for run in one.runs:
        if (value := last.get((run.identity["loss"]["name"], run.identity["seed"]))) is not None:
            made_up.finish(tmp_path, run, value)
    text = tables.markdown(tables.tabulate(one))
    # 3 and 5 points: 4 ± 12.706 * sqrt 2 / sqrt 2, t of one degree of freedom
    section = "Rule `last`, paired over seeds"
    assert row(text, "mae − ce", section) == ["+4.00", "−8.71 to +16.71", "2 / 0", "2"]
    assert row(text, "gce − ce", section) == ["+0.00", "-", "0 / 0", "1"]
    assert row(text, "tgce − ce", section) == ["-", "-", "0 / 0", "0"]
    assert "over settings" not in text


def test_of_one_seed_in_one_setting_nothing_is_compared(demo, tmp_path):
    one = of_one_setting(demo, seeds=(0,))
    made(one, tmp_path)
    assert "paired" not in tables.markdown(tables.tabulate(one))


def test_the_best_and_all_within_its_interval_are_bold(demo, tmp_path):
    last = {"ce": 0.50, "mae": 0.79, "gce": 0.70, "tgce": 0.80}
    for run in demo.runs:  # the best, 0.80 ± 0.01: half of its interval is 12.7 * 0.0141 / sqrt 2 = 0.127
        spread = 0.01 if run.identity["seed"] else -0.01
        made_up.finish(tmp_path, run, last[run.identity["loss"]["name"]] + spread)
    text = tables.markdown(tables.tabulate(demo))
    bold = {label: row(text, label, "Rule `last`")[0].startswith("**") for label in last}
    assert bold == {"ce": False, "mae": True, "gce": True, "tgce": True}


def test_missing_failed_and_unreadable_are_seen(demo, tmp_path):
    ce = [run for run in demo.runs if run.job[:3] == ("loss=ce", "noise=uniform", "rate=0.4")]
    mae = [run for run in demo.runs if run.job[:3] == ("loss=mae", "noise=uniform", "rate=0.4")]
    gce = [run for run in demo.runs if run.job[:3] == ("loss=gce", "noise=uniform", "rate=0.4")]
    assert len(ce) == len(mae) == len(gce) == 2
    made(demo, tmp_path, but=[*ce, mae[0], gce[1]])
    (made_up.begin(tmp_path, mae[0]) / "failed.json").write_text(json.dumps({"cause": "the loss was not finite"}))
    (made_up.begin(tmp_path, gce[1]) / "manifest.json").write_text("{")
    text = tables.markdown(tables.tabulate(demo))
    assert row(text, "ce", "Rule `val`")[0] == "- (0/2)"
    assert row(text, "mae", "Rule `val`")[0] == "55.00 (1/2, 1 failed)"
    assert row(text, "gce", "Rule `val`")[0] == "64.00 (1/2, 1 unreadable)"
    assert row(text, "mae − ce", "Rule `val`, paired over settings")[3] == "2"  # settings that both have
    assert "Not complete: of 24 runs, 20 done, 1 failed, 1 unreadable, 2 missing." in text
    assert f"Failed: {mae[0].id}: the loss was not finite." in text
    assert f"Unreadable: {gce[1].id}: " in text


def test_mixed_runs_are_warned_of(demo, tmp_path):
    made(demo, tmp_path, but=demo.runs[:2])
    assert "Warning" not in tables.markdown(tables.tabulate(demo))
    made_up.finish(tmp_path, demo.runs[0], commit="fedcba9876543210", device="another")
    text = tables.markdown(tables.tabulate(demo))
    assert "Warning: the runs were not all made alike; they differ in commits, devices." in text
    assert "Commits: 0123456789ab (22 runs); fedcba987654 (1 run)." in text
    made_up.finish(tmp_path, demo.runs[1], dirty=True)
    assert "changes beside the commit" in tables.markdown(tables.tabulate(demo))


@pytest.mark.parametrize(("device", "differ"), [("cpu (x86_64)", True), ("NVIDIA H200", False)])
def test_runs_of_two_models_of_processor_are_warned_of_on_a_cpu_alone(demo, tmp_path, device, differ):
    for i, run in enumerate(demo.runs):
        made_up.finish(tmp_path, run, device=device, processor=f"GenuineIntel 6-{i % 2}-2")
    text = tables.markdown(tables.tabulate(demo))
    assert ("they differ in devices" in text) == differ
    assert ("cpu (x86_64), GenuineIntel 6-0-2 (12 runs)" in text) == differ


def test_an_oracle_is_called_one(demo, tmp_path):
    made(demo, tmp_path)
    text = tables.markdown(tables.tabulate(demo, rule="test"))
    assert "## Rule `test` (oracle)\n\nORACLE" in text
    assert "Rule `val`" not in text


def test_a_row_that_reads_the_true_noise_is_an_oracle(tmp_path):
    words = ["data=digits", "loss=gce,forward,forward_hat,co_teaching", "noise=uniform", "seed=0"]
    plan = plan_of([*words, f"paths.results={tmp_path}"])
    told = tables.tabulate(plan).cells
    assert {told.row_label(key) for key in told.rows} == {
        "gce",
        "forward (oracle)",
        "forward_hat",
        "co_teaching (oracle)",
    }
    estimated = plan_of(["data=digits", "loss=co_teaching", "loss.forget_rate=estimated", f"paths.results={tmp_path}"])
    assert "oracle" not in tables.markdown(tables.tabulate(estimated)).lower()


def test_csv_has_all_digits(demo, tmp_path):
    made(demo, tmp_path)
    rows = list(csv.DictReader(tables.csv_text(tables.tabulate(demo)).splitlines()))
    assert len(rows) == 3 * 12
    (found,) = [r for r in rows if (r["loss.name"], r["rate"], r["rule"]) == ("ce", "0.6", "last")]
    values = [made_up.accuracy(run) for run in demo.runs if run.job[:3] == ("loss=ce", "noise=uniform", "rate=0.6")]
    assert [float(v) for v in found["values"].split()] == values
    assert float(found["mean"]) == sum(values) / 2
    assert (found["seeds"], found["n"], found["runs"], found["failed"]) == ("0 1", "2", "2", "0")


def test_latex_groups_columns_and_escapes(demo, tmp_path):
    made(demo, tmp_path, but=demo.runs[:1])
    text = tables.latex(tables.tabulate(demo))
    assert r" & \multicolumn{2}{c}{uniform} & pair \\" in text
    assert r"loss & 0.4 & 0.6 & 0.2 \\" in text
    assert r"\textbf{74.50 $\pm$ 0.71} {\scriptsize (2)}" in text
    assert text.count("{") == text.count("}")
    assert not re.search(r"(?<!\\)[_%#]", re.sub(r"(?m)^%.*", "", text))


def test_latex_has_one_float_a_rule_with_a_caption_that_names_data_noise_and_n(demo, tmp_path):
    made(demo, tmp_path)
    text = tables.latex(tables.tabulate(demo))
    labels = [f"tab:{paths.name(demo)}-{rule}".replace(",", "-") for rule in ("val", "last", "gap")]
    assert re.findall(r"\\label\{(.+)\}", text) == labels
    assert "Data: digits. Noise: uniform, pair. n = 2 runs a cell. Rule last: Test accuracy at the last epoch." in text
    assert "(2)" not in text  # said in the caption, once
    assert tables.latex(tables.tabulate(demo, rule="last")).count("\\begin{table}") == 1


def wide(columns, rows=3):
    """A table of cells of which some are incomplete."""
    cells = [Entry(f"{10 + i}.{i:02d} ± 1.23", i % 2 == 0, "(3/5)" if i % 3 else "(5)") for i in range(columns)]
    head = [("loss",), *(("uniform" if i % 8 < 4 else "pair", f"0.{i}") for i in range(columns))]
    return Subtable("Rule `val`", "Mean (runs).", head, [[Entry("bootstrap_soft"), *cells]] * rows)


NASTY = r"a$b^c|d_e&f%g#h\i~j<b>k{l}[m]*n`o--p"


def nasty(head=False):
    """A sheet that has a nasty name as a row, in its head, beside a number and in a bold cell."""
    body = [[Entry(NASTY), Entry("1", count=NASTY), Entry(NASTY, bold=True)]]
    return Subtable("Rule", "Note.", [(NASTY,), (NASTY, "0.1"), (NASTY, NASTY)] if head else [("x",)] * 3, body)


def test_latex_shows_a_nasty_name_as_it_is():
    text = subtable.latex(nasty(head=True), [NASTY], "tab:x")
    said = (
        r"a\$b\textasciicircum{}c\textbar{}d\_e\&f\%g\#h\textbackslash{}i\textasciitilde{}j\textless{}b"
        r"\textgreater{}k\{l\}{[}m]{*}n\textasciigrave{}o-{}-p"
    )
    assert escape.latex(NASTY) == said
    assert text.count(said) == 7  # two groups of one name are one
    assert escape.latex("−1 ± 2 → ×") == r"$-$1 $\pm$ 2 $\to$ $\times$"


class Texts(HTMLParser):
    """The texts of a page, and its elements."""

    def __init__(self):
        super().__init__()
        self.texts, self.elements = [], set()

    def handle_data(self, data):
        self.texts.append(data)

    def handle_starttag(self, tag, _):
        self.elements.add(tag)


def test_html_shows_a_nasty_name_as_it_is():
    page = Texts()
    page.feed(subtable.html(nasty(head=True)))
    assert page.texts.count(NASTY) == 6
    page = Texts()
    page.feed(subtable.html(dataclasses.replace(nasty(), body=[[Entry("<script>"), Entry("1"), Entry("2")]])))
    assert "script" not in page.elements


def test_markdown_shows_a_nasty_name_as_it_is():
    said = r"a\$b^c\|d_e&f%g#h\\i\~j&lt;b>k{l}\[m\]\*n\`o--p"
    assert escape.markdown(NASTY) == said
    assert subtable.markdown(nasty(head=True)).count(said) == 7
    assert html.unescape(re.sub(r"\\(.)", r"\1", said)) == NASTY
    assert escape.markdown("_a_ class_map &lt; R&D") == r"\_a\_ class_map &amp;lt; R&D"


def test_no_form_has_a_control_character():
    text = "a\x1b[31m\nb\u202ec\udcff"
    shown = [form(text) for form in (escape.html, escape.markdown, escape.latex)]
    assert escape.plain(text) == r"a\x1b[31m\nb\u202ec\udcff"
    assert all(each.isprintable() for each in shown)


def test_columns_and_rows_of_one_label_stay_apart():
    same = Subtable("Rule", "Note.", [("x",), ("a", "b"), ("a", "b")], [[Entry("r"), Entry("1"), Entry("2")]] * 2)
    assert subtable.latex(same, [""], "l").count(r"r & 1 & 2 \\") == subtable.html(same).count("<td >2</td>") == 2


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX")
def test_latex_compiles_without_a_warning(demo, tmp_path):
    made(demo, tmp_path, but=demo.runs[:3])
    written = [path.read_text() for path in results.reference().glob("*/table.tex")]
    several = [subtable.latex(wide(columns), ["About."], f"tab:x{columns}") for columns in (1, 3, 8, 12)]
    several += [subtable.latex(wide(columns, 43), ["About."], f"tab:tall{columns}") for columns in (1, 4, 12)]
    several += [subtable.latex(nasty(head=True), [NASTY], "tab:nasty")]
    named = dataclasses.replace(demo, table={**demo.table, "names": {"tgce": "Truncated $L_q$ & more_"}})
    named = dataclasses.replace(named, arguments=(*named.arguments, "name=table1"))
    ours = [tables.tabulate(demo, against="reference"), tables.tabulate(named, against="reference")]
    texts = [*map(tables.latex, ours), *written, *several]
    (tmp_path / "table.tex").write_text("\\clearpage\n".join(texts))
    begin = r"\documentclass{article}\usepackage{booktabs,adjustbox}\begin{document}\input{table}\end{document}"
    (tmp_path / "main.tex").write_text(begin)
    for _ in range(2):  # labels are known the second time
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout
    assert not re.search(r"(?i)warning|overfull|underfull", done.stdout), done.stdout


def test_runs_that_would_share_a_cell_unseen_are_refused(demo):
    told = dataclasses.replace(demo, table={**demo.table, "columns": ["noise.name"]})
    with pytest.raises(ConfigError, match=r"differ in noise\.rate would share a cell"):
        tables.tabulate(told)
    with pytest.raises(ConfigError, match=r"no run has a value loss\.nme"):
        tables.tabulate(dataclasses.replace(demo, table={**demo.table, "rows": ["loss.nme"]}))


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("schedule.lr", (0.1, 0.2)),
        ("data.verdicts", (None, "v.csv")),
        ("loss.q", (1, "1")),
        ("loss.q", (1, True)),
        ("code.own", ("ab", "cd")),
        ("contents.noise", (..., None)),
        ("loss.name", ("ce", "gce")),
    ],
    ids=str,
)
def test_runs_that_differ_in_any_key_but_the_seed_are_not_averaged(demo, key, values):
    first, second = look(demo)[:2]
    runs = [
        dataclasses.replace(run, config={**first.config, "seed": seed} | ({} if value is ... else {key: value}))
        for seed, (run, value) in enumerate(zip((first, second), values, strict=True))
    ]
    cells.refuse_mixed([runs[0], dataclasses.replace(runs[0], config={**runs[0].config, "seed": 7})])
    with pytest.raises(ConfigError, match=rf"runs that differ in {re.escape(key)} would share a cell"):
        cells.refuse_mixed(runs)


def test_values_that_python_holds_to_be_equal_do_not_share_a_cell_unseen(demo):
    found = [
        dataclasses.replace(run, config={**run.config, "own.value": value}) for run in look(demo) for value in (1, True)
    ]
    with pytest.raises(ConfigError, match=r"differ in own\.value would share a cell"):
        cells.grouped(("own.value",), ("loss.name", "noise.name", "rate"), found, "accuracy")


@pytest.fixture
def named(demo, tmp_path, monkeypatch):
    """Gives the loss ce of finished runs another name, and some that have failed a note."""
    made(demo, tmp_path, but=demo.runs[:2])

    def name(text):
        found = [
            dataclasses.replace(run, note=text * (run.state != "done"), config={**run.config, "loss.name": text})
            if run.config["loss.name"] == "ce"
            else run
            for run in look(demo)
        ]
        monkeypatch.setattr(tables, "look", lambda _: found)
        return tables.tabulate(demo)

    return name


@pytest.mark.parametrize("name", ["=1+1", "+a", "-a", "@SUM(1)", "\t=1"])
def test_a_name_that_a_spreadsheet_takes_for_a_formula_is_a_text_in_csv(named, name):
    rows = list(csv.DictReader(tables.csv_text(named(name)).splitlines()))
    assert [row["loss.name"] for row in rows].count(f"'{name}") == 3 * 3
    gaps = [row["mean"] for row in rows if row["rule"] == "gap" and row["mean"]]
    assert all(float(gap) == pytest.approx(0.02) for gap in gaps)


def test_names_and_notes_are_texts_in_the_whole_table(named):
    told = named("<script>\x1b[2J|%_")
    text = tables.markdown(told)
    assert "\x1b" not in text
    assert text.count(r"&lt;script>\\x1b\[2J\|%\_") == 3 + 2 * 3 + 2  # rules, pairs, notes
    assert "<script>" not in text
    assert "<script>" not in told._repr_html_()
    assert r"\textless{}script\textgreater{}\textbackslash{}x1b{[}2J\textbar{}\%\_ & " in tables.latex(told)


@pytest.fixture(scope="module")
def paper():
    """Runs of the paper's protocol, and some that stray from it, by a word for each."""
    jobs = {
        "same": ["loss=gce", "noise=uniform", "rate=0.4"],
        "pixel_mean": ["loss=gce", "noise=uniform", "rate=0.4", "data.normalise=pixel_mean"],
        "no number": ["loss=mae", "noise=uniform", "rate=0.4"],
        "no rate": ["loss=gce", "noise=uniform", "rate=0.5"],
        "pair": ["loss=gce", "noise=pair", "rate=0.4"],
        "digits": ["data=digits", "loss=gce", "noise=uniform", "rate=0.4"],
        "model": ["model=resnet18", "loss=gce", "noise=uniform", "rate=0.4"],
        "q": ["loss=gce", "noise=uniform", "rate=0.4", "loss.q=0.5"],
        "epochs": ["loss=gce", "noise=uniform", "rate=0.4", "schedule.epochs=60"],
        "definition": ["loss=gce", "noise=uniform", "rate=0.4", "noise.include_true=true"],
    }
    return dict(zip(jobs, (flat(made) for made, _ in identities(list(jobs.values()))), strict=True))


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ("no number", "none known"),
        ("no rate", "none known"),
        ("pair", "not comparable: noise"),
        ("digits", "not comparable: data set, model"),
        ("model", "not comparable: model"),
        ("q", "not comparable: protocol (loss.q)"),
        ("epochs", "not comparable: protocol (schedule.epochs)"),
        ("definition", "not comparable: protocol (noise.include_true)"),
    ],
)
def test_a_number_is_compared_only_with_its_like(paper, which, said):
    assert published.number(paper[which], "val") == said


def test_the_published_number_of_a_cell(paper):
    for which in ("same", "pixel_mean"):
        found = published.number(paper[which], "val")
        assert (found.mean, found.std) == (pytest.approx(0.8713), pytest.approx(0.0022))
        assert "Liu et al. 2020" in found.source
    assert published.number(paper["same"], "last") == "not comparable: rule"


def test_agreement_is_within_three_std_or_one_point():
    near = published.Number(0.8713, 0.0022, "")
    assert near.agrees(Sample(5, 0.8813, None, None))
    assert not near.agrees(Sample(5, 0.88131, None, None))
    wide = published.Number(0.64, 0.01, "")
    assert wide.agrees(Sample(5, 0.67, None, None))
    assert not wide.agrees(Sample(5, 0.6701, None, None))


def test_against_reference(demo, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "reference", lambda: tmp_path / "reference")
    made(demo, tmp_path)
    for run in demo.runs[:3]:
        made_up.finish(tmp_path / "reference", run, 0.45)
    text = tables.markdown(tables.tabulate(demo, rule="last", against="reference"))
    lines = [line for line in text.splitlines() if re.match(r"\| ce +\| uniform 0.4 ", line)]
    assert [c.strip() for c in lines[0].strip("|").split("|")][2:] == ["46.50 ± 0.71 (2)", "45.00", "+1.50", "no"]
    assert "none known" in text


@pytest.mark.parametrize(("rule", "share"), [("noisy_validation", 0.6), ("label_wave", 0.45)])
def test_any_rule_of_one_accuracy_is_compared_with_the_reference(demo, tmp_path, monkeypatch, rule, share):
    monkeypatch.setattr(results, "reference", lambda: tmp_path / "reference")
    for run in demo.runs:
        for folder, last in ((tmp_path, 0.5), (tmp_path / "reference", 0.45)):
            made = made_up.finish(folder, run, last)
            text = (made / "metrics.csv").read_text().splitlines()
            (made / "metrics.csv").write_text(
                "\n".join([f"{text[0]},prediction_changes", *(f"{r},0.1" for r in text[1:])])
            )
    compared = tables.tabulate(demo, rule=rule, against="reference").compared[rule]
    assert [number.mean for number in compared.values()] == pytest.approx([share] * len(compared))


@pytest.mark.parametrize(
    ("rule", "against"), [("gap", "reference"), ("gap", "published"), ("label_wave", "published"), ("gap", "x.csv")]
)
def test_a_rule_of_which_there_is_no_number_to_compare_with_is_refused(demo, tmp_path, monkeypatch, rule, against):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.csv").write_text("dataset,model,rule,noise,rate,loss,mean,std\n")
    with pytest.raises(ConfigError, match=f"against={against}: there are no such numbers under the rule {rule}"):
        tables.tabulate(demo, rule=rule, against=against)


def test_against_reference_without_a_clone_says_where_the_results_are(demo, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "reference", lambda: tmp_path / "absent")
    with pytest.raises(DataError, match="results/reference of a clone"):
        tables.tabulate(demo, against="reference")


def test_what_varies_makes_rows_and_columns_without_an_experiment(tmp_path):
    words = ["data=digits", "loss=gce,tgce", "loss.q=0.3,0.7", "rate=0.2,0.4", "seed=0,1", f"paths.results={tmp_path}"]
    plan = plan_of(words)
    for run in plan.runs:
        made_up.finish(tmp_path, run)
    text = tables.markdown(tables.tabulate(plan))
    assert row(text, "gce, q 0.3", "Rule `last`") == ["68.50 ± 0.71 (2)", "66.50 ± 0.71 (2)"]
    assert re.search(r"\| loss, q +\| uniform 0.2 +\| uniform 0.4 +\|", text)
    assert f"Made by `python -m noisygce.table {' '.join(words)}`." in text
    one = plan_of(["data=digits", "seed=0"])
    assert len(tables.tabulate(one).cells.cell) == 1


def test_what_the_command_line_varies_beside_an_experiment_makes_rows_and_columns_too():
    words = ["experiment=demo", "grid=null", "loss=gce", "noise=uniform", "model.width=8,16", "data.subset=100,200"]
    plan = plan_of(words)
    assert (plan.table["rows"], plan.table["columns"]) == (
        ["loss.name", "model.width"],
        ["noise.name", "rate", "data.subset"],
    )


def test_a_measure_of_found_labels_takes_the_place_of_accuracy(demo, tmp_path):
    models = {"best": {"margin": {"auroc": 0.75, "ap": 0.5}}, "last": {"margin": {"auroc": 0.5, "ap": None}}}
    for run in demo.runs:
        made_up.finish(tmp_path, run, detection=models)
    text = tables.markdown(tables.tabulate(demo, measure="auroc"))
    assert "# Area under the ROC curve of finding wrong labels in % on digits" in text
    assert row(text, "ce", "Rule `val`")[0] == "**75.00 ± 0.00** (2)"
    assert row(text, "ce", "Rule `gap`")[0] == "−25.00 ± 0.00 (2)"
    assert "## Rule `val`\n\nBy the margin of the best-validation model" in text
    assert row(tables.markdown(tables.tabulate(demo, measure="ap")), "ce", "Rule `last`")[0] == "- (2)"  # null
    with pytest.raises(ConfigError, match="measure=auroc: it has only the rules val, last, gap"):
        tables.tabulate(demo, rule="test", measure="auroc")
    with pytest.raises(ConfigError, match="measure=auroc: no published numbers of it are known"):
        tables.tabulate(demo, against="published", measure="auroc")


def test_a_number_says_how_many_of_the_runs_that_are_done_it_stands_for(demo, tmp_path):
    made(demo, tmp_path, but=demo.runs[:1])
    made_up.finish(tmp_path, demo.runs[0], detection={"best": {"margin": {"auroc": 0.75, "ap": 0.5}}})
    text = tables.markdown(tables.tabulate(demo, measure="auroc"))
    assert row(text, "ce", "Rule `val`") == ["**75.00** (1/2)", "- (2)", "- (2)"]


def test_a_rule_that_has_no_value_is_a_dash(demo, tmp_path):
    for run in demo.runs:
        made_up.finish(tmp_path, run, results=dict.fromkeys(runs.RULES))
    for rule in ("val", "gap"):
        text = tables.markdown(tables.tabulate(demo, rule=rule))
        assert row(text, "ce", f"Rule `{rule}`") == ["- (2)"] * 3
    assert "Complete: all 24 runs are done." in text


def test_a_table_is_printed_also_where_it_cannot_be_written(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise PermissionError(13, "Permission denied", "tables")

    monkeypatch.setattr(records, "write_table", refuse)
    with pytest.raises(PermissionError):
        table.run(["experiment=demo", "rule=val", "seed=0", f"paths.results={tmp_path}"])
    assert "## Rule `val`" in capsys.readouterr().out


def test_a_table_made_while_a_run_was_running_is_told_from_a_changed_one(tmp_path):
    words = ["data=digits", "loss=ce", "rate=0.4", "seed=0,1", f"paths.results={tmp_path}"]
    first, second = plan_of(words).runs
    made_up.finish(tmp_path, first)
    (tmp_path / "runs" / second.id).mkdir()
    (tmp_path / "runs" / second.id / "metrics.csv").write_text("epoch\n")  # it is stopped
    table.run(words)
    assert {fault for _, fault in records.verified(tmp_path)} == {""}
    shutil.rmtree(tmp_path / "runs" / second.id)
    (said,) = {fault for _, fault in records.verified(tmp_path)}
    assert said.startswith("was made when 1 of 2 runs were stopped, and now 0 are: python -m noisygce.table")


def test_a_table_draws_itself_in_a_notebook(tmp_path):
    drawn = table.of("experiment=demo", "rule=val", "seed=0", f"paths.results={tmp_path}")
    assert drawn._repr_html_().count("<table>") == 2  # the rule, and its pairs
    assert str(drawn) == tables.markdown(drawn)


def test_a_table_made_when_fewer_runs_were_done_is_told_from_a_changed_one(tmp_path):
    words = [
        "experiment=demo",
        "loss=ce",
        "noise=pair",
        "rate=0.2",
        "grid=null",
        "seed=0,1",
        f"paths.results={tmp_path}",
    ]
    first, second = plan_of(words).runs
    table.run(words)
    made_up.finish(tmp_path, first)
    said = {fault for _, fault in records.verified(tmp_path)}
    command = f"python -m noisygce.table {' '.join(words)}"
    assert said == {f"was made when 0 of 2 runs were done, and now 1 are: {command}"}
    table.run(words)
    made_up.finish(tmp_path, second)
    said = {fault for _, fault in records.verified(tmp_path)}
    assert said == {f"was made when 1 of 2 runs were done, and now 2 are: {command}"}
    table.run(words)
    (csv_file,) = (tmp_path / "tables").glob("*.csv")
    csv_file.write_text(csv_file.read_text().replace("ce", "gce", 1))
    assert {path: fault for path, fault in records.verified(tmp_path) if fault} == {
        csv_file: f"is not what the runs give to {command}"
    }


@pytest.fixture
def two(tmp_path):
    """Two finished runs, the words that ask for them, and the written table of them."""
    words = ["experiment=demo", "grid=null", "loss=ce", "noise=pair", "rate=0.2", "seed=0,1"]
    words.append(f"paths.results={tmp_path}")
    plan = plan_of(words)
    for run in plan.runs:
        made_up.finish(tmp_path, run)
    table.run(words)
    return plan


def test_a_table_is_verified_without_composing_any_config(two, monkeypatch):
    monkeypatch.setattr(settings, "compose", None)
    monkeypatch.setattr("hydra.compose", None)
    monkeypatch.setattr(tables, "look", None)
    found = dict(records.verified(two.results))
    assert sorted(path.suffix for path in found) == [".csv", ".json", ".md"]
    assert set(found.values()) == {""}


def test_a_table_against_published_numbers_is_verified_by_those_of_its_record(tmp_path, monkeypatch):
    words = ["data=cifar10", "loss=gce,mae", "noise=uniform", "rate=0.4", "seed=0", f"paths.results={tmp_path}"]
    for run in plan_of(words).runs:
        made_up.finish(tmp_path, run)
    table.run([*words, "against=published", "rule=val"])
    monkeypatch.setattr(published, "number", None)
    assert set(dict(records.verified(tmp_path)).values()) == {""}
    (text,) = (path.read_text() for path in (tmp_path / "tables").glob("*.md"))
    assert "87.13 ± 0.22" in text
    assert "none known" in text


def test_a_table_of_other_runs_is_named_with_the_run(two):
    folder = two.results / "runs" / two.runs[0].id
    path = folder / "manifest.json"
    before = path.read_text()
    path.write_text(before.replace('"seconds": 60.0', '"seconds": 61.0'))
    assert set(dict(records.verified(two.results)).values()) == {
        f"was made from another {folder.name}: its manifest has changed since"
    }
    path.unlink()
    (said,) = set(dict(records.verified(two.results)).values())
    assert said.startswith(f"was made from {folder.name}, which is ")
    path.write_text(json.dumps(json.loads(before), indent=1, sort_keys=True))  # the same manifest in another form
    assert set(dict(records.verified(two.results)).values()) == {""}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"runs": [{}]}', '{"runs": []}', '{"runs": [], "argv": 1}'])
def test_a_damaged_record_is_told(two, text):
    (path,) = (two.results / "tables").glob("*.json")
    path.write_text(text)
    said = set(dict(records.verified(two.results)).values())
    assert said
    assert all(f"{path.name} is damaged" in each for each in said), said


def test_a_table_without_its_record_or_with_another_cell_is_told(two):
    (path,) = (two.results / "tables").glob("*.json")
    changed = json.loads(path.read_text())
    changed["cells"][0]["mean"] += 1e-9
    path.write_text(json.dumps(changed))
    found = {each.suffix: said for each, said in records.verified(two.results)}
    assert found[".json"].startswith("has the cell {'rule': 'val'")
    assert (found[".md"], found[".csv"]) == ("", "")
    path.unlink()
    found = dict(records.verified(two.results))
    assert len(found) >= 2
    assert all("by which it is verified" in said for said in found.values())


def test_labels_leave_out_what_is_absent():
    assert cells.labels(["loss.name", "loss.q", "loss.k"], ("gce", 0.7, None)) == ["gce", "q 0.7"]
    assert cells.labels(["noise.name", "rate", "noise.include_true"], ("uniform", 0.4, True)) == [
        "uniform",
        "0.4",
        "include_true true",
    ]


def test_the_command_prints_and_writes(tmp_path, monkeypatch, capsys):
    where = f"paths.results={tmp_path}"
    monkeypatch.setattr("sys.argv", ["table", "experiment=demo", "loss=ce", "seed=0", "rule=val", where])
    table.main()
    (written,) = (tmp_path / "tables").glob("*.md")
    assert written.read_text() in capsys.readouterr().out
    stem = written.name.removesuffix(".md")
    assert re.fullmatch(r"demo\+loss=ce\+seed=0-val-[0-9a-f]{8}", stem)
    names = [f"{stem}.{ending}" for ending in ("csv", "json", "md", "tex")]  # the experiment's own is demo.md
    assert sorted(path.name for path in written.parent.iterdir()) == names


def test_no_two_command_lines_share_a_file(demo):
    each = [
        (),
        ("data.folder=/x/a/b",),
        ("data.folder=/x/ab",),
        ("seed=0", "rate=0.1"),
        ("seed=0,1",),
        ("seed=01",),
        ("model.name=é",),
        ("x=" + 200 * "y" + "1",),
        ("x=" + 200 * "y" + "2",),
        *((f"data.folder={folder}",) for folder in ("/x/a b", "'/x/a b'")),
        *((f"noise.map={pairs}",) for pairs in ("{3:8}", "{3:8,8:3}")),
        *((f"schedule.milestones={epochs}",) for epochs in ("[]", "[1]", "[1,2]", "[12]")),
    ]
    options = ({}, {"rule": "val"}, {"rule": "last", "against": "published"})
    plans = [dataclasses.replace(demo, arguments=("experiment=demo", *words)) for words in each]
    names = [paths.stem(plan, "table", more).name for plan in plans for more in options]
    assert len(set(names)) == len(names)
    assert names[0] == "demo"
    assert all(re.fullmatch(r"[A-Za-z0-9_.,=+-]{1,70}", name) for name in names)


def test_a_results_folder_that_is_not_there_is_refused_and_not_made(tmp_path):
    for command in (table, figure, report):
        with pytest.raises(ConfigError, match=r"paths\.results=.*typo: there is no such folder"):
            command.run(["data=digits", f"paths.results={tmp_path / 'typo'}"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rul=val"], "rul: there is no such key; did you mean rule?"),
        (["rule=vall"], "rule=vall: rule must be one of val, last"),
        (["measure=map"], "measure=map: measure must be one of accuracy"),
        (["demo"], "arguments are key=value"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused_with_what_it_may_be(words, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        arguments.split(words, tables.OPTIONS)


def test_where_no_run_has_a_test_set_the_table_is_of_noisy_validation(demo, tmp_path):
    for run in demo.runs[:-1]:
        made_up.finish(tmp_path, run, results=dict.fromkeys(runs.RULES))
    table_of_all = tables.tabulate(demo)
    assert table_of_all.spec.rules == ("noisy_validation",)
    text = tables.markdown(table_of_all)
    assert row(text, "ce", "Rule `noisy_validation`") == ["**60.00 ± 0.00** (2)"] * 3  # made_up: 0.6 at the best epoch
    assert "Test accuracy" not in text
    made_up.finish(tmp_path, demo.runs[-1])  # one with a test set
    assert "noisy_validation" not in tables.tabulate(demo).spec.rules
    asked = tables.tabulate(demo, rule="noisy_validation")
    assert row(tables.markdown(asked), "ce", "Rule `noisy_validation`") == ["**60.00 ± 0.00** (2)"] * 3


def test_a_table_for_a_paper_has_a_person_s_names_decimals_and_file_and_the_same_runs(tmp_path):
    words = ["experiment=demo", "grid=null", "loss=gce,tgce", "noise=uniform", "rate=0.4", "seed=0,1"]
    words.append(f"paths.results={tmp_path}")
    plan = plan_of(words)
    for run in plan.runs:
        made_up.finish(tmp_path, run)
    shown = ["table.decimals=1", "+table.names={tgce: 'Truncated $L_q$ & more', uniform: 'symmetric $T$'}"]
    table.run([*words, *shown, "name=table1"])
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == [
        f"table1.{ending}" for ending in ("csv", "json", "md", "tex")
    ]
    text = (tmp_path / "tables" / "table1.tex").read_text()
    assert r"Truncated $L_q$ \& more & \textbf{76.5 $\pm$ 0.7} \\" in text
    assert r"\label{tab:table1-val}" in text
    assert "Noise: symmetric $T$. n = 2 runs a cell." in text
    assert "| Truncated $L_q$ & more | 76.5 ± 0.7 (2)" in (tmp_path / "tables" / "table1.md").read_text().replace(
        "*", ""
    )
    assert "tgce,uniform" in (tmp_path / "tables" / "table1.csv").read_text()
    assert set(dict(records.verified(tmp_path)).values()) == {""}
    assert [run.id for run in plan_of([*words, *shown]).runs] == [run.id for run in plan.runs]
    assert (tmp_path / "plans" / "table1.jsonl").is_file()
    for wrong in ("name=a/b", "name=", "name=../x"):
        with pytest.raises(ConfigError, match="must be 1 to 100 letters"):
            table.run([*words, wrong])


OWN = "dataset,model,rule,noise,rate,loss,mean,std,paper"


def test_a_person_s_own_numbers_stand_beside_ours(tmp_path):
    words = ["experiment=demo", "grid=null", "loss=ce,gce", "noise=uniform", "rate=0.4", "seed=0,1"]
    words.append(f"paths.results={tmp_path}")
    for run in plan_of(words).runs:
        made_up.finish(tmp_path, run)
    mine = tmp_path / "mine.csv"
    lines = [OWN, "digits,convnet,last,uniform,0.4,gce,68.5,0.5,Smith 2024", "digits,convnet,test,uniform,0.4,ce,40,,"]
    mine.write_text("\n".join(lines))
    told = table.of(*words, f"against={mine}")
    section = told.subtables["last-mine"]
    assert section.header[3] == ("mine",)
    assert [[entry.text for entry in line[2:]] for line in section.body] == [
        ["46.50 ± 0.71", "-", "-", "none known"],
        ["66.50 ± 0.71", "68.50 ± 0.50", "−2.00", "no"],
    ]
    oracle = table.of(*words, f"against={mine}", "rule=test").subtables["test-mine"]
    assert oracle.title.startswith("Rule `test` (oracle) against the numbers of mine.csv")
    assert [entry.text for entry in oracle.body[0][3:]] == ["40.00", "+6.50", "no"]
    table.run([*words, f"against={mine}"])
    mine.unlink()  # a table is verified by the numbers in its record
    assert set(dict(records.verified(tmp_path)).values()) == {""}


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["dataset,model,rule", "digits,convnet,last"], "has no column noise; its first line must name dataset,model"),
        ([OWN, "digits,convnet,last,uniform,0.4,gce,0.685,,"], r"line 2: mean in per cent=0.685: .* \[1, 100\]"),
        ([OWN, "digits,convnet,last,uniform,0.4,gce,n/a,,"], "line 2: mean in per cent=n/a"),
        ([OWN, "digits,convnet,best,uniform,0.4,gce,68,,"], "line 2: rule=best: rule must be one of val, .*[a-z]$"),
        ([OWN, "digits,convnet,last"], "line 2: it has 3 fields, and the first line 9"),
        (
            [OWN, *(f"digits,convnet,last,uniform,{rate},gce,68,," for rate in ("0.4", "0.40"))],
            "line 3: an earlier line",
        ),
        ([OWN, *["digits,convnet,last,uniform,0.4,gce,68,,"] * 2], "line 3: an earlier line is of the same cell"),
    ],
)
def test_a_file_of_own_numbers_is_read_as_meant_or_refused(tmp_path, lines, reason):
    (tmp_path / "mine.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=reason):
        published.read_own(tmp_path / "mine.csv")


def test_own_numbers_of_no_cell_are_named(demo, tmp_path, caplog):
    lines = [" digits , convnet,last,uniform,0.4,gce,68,,", "digits,convnet,last,uniform,0.4,CE,50,,"]
    (tmp_path / "mine.csv").write_text("\n".join([OWN, *lines]))
    told = tables.tabulate(demo, rule="last", against=str(tmp_path / "mine.csv"))
    assert [number.mean for number in told.compared["last"].values() if not isinstance(number, str)] == [0.68]
    assert "1 of 2 lines are of no cell of this table, such as digits, convnet, last, uniform, 0.4, CE" in caplog.text


def test_decimals_are_set_without_an_experiment(tmp_path):
    words = ["data=digits", "loss=ce", "noise=uniform", "rate=0.4", f"paths.results={tmp_path}"]
    plan = plan_of([*words, "table.decimals=1"])
    made_up.finish(tmp_path, plan.runs[0], 0.5)
    assert [run.id for run in plan.runs] == [run.id for run in plan_of(words).runs]
    assert "**50.0** (1)" in str(tables.tabulate(plan, rule="last"))


def test_rule_and_measure_name_what_they_may_be(demo):
    for option in ("rule", "measure"):
        with pytest.raises(ConfigError, match=rf"{option}=foo: {option} must be one of .*{tables.OPTIONS[option][-1]}"):
            tables.tabulate(demo, **{option: "foo"})


def test_against_names_what_it_may_be(demo):
    with pytest.raises(ConfigError, match="against=paper: against must be one of published, reference, or a CSV file"):
        tables.tabulate(demo, against="paper")


def test_a_measure_of_each_class_is_compared_with_no_number_of_all(demo):
    with pytest.raises(ConfigError, match="measure=per_class"):
        tables.tabulate(demo, against="reference", measure="per_class")


def test_a_title_of_test_accuracy_becomes_one_of_another_measure_once():
    titles = {name: each.titled("Test accuracy in % on digits") for name, each in MEASURES.items()}
    assert titles["accuracy"] == "Test accuracy in % on digits"
    assert titles["per_class"] == "Test accuracy of each class in % on digits"
    assert titles["t_error"] == "L1 error of the estimated transition matrix on digits"


def test_a_title_of_its_own_is_led_by_the_measure():
    assert MEASURES["accuracy"].titled("On my data") == "On my data"
    for name in ("auroc", "ap", "ece", "rank"):
        assert MEASURES[name].titled("On my data") == f"{MEASURES[name].name}: On my data"


def test_own_numbers_under_a_rule_that_the_table_lacks_are_told(tmp_path, caplog):
    words = ["data=digits", "loss=ce", "noise=uniform", "rate=0.4", "seed=0", f"paths.results={tmp_path}"]
    mine = tmp_path / "mine.csv"
    mine.write_text(f"{OWN}\ndigits,convnet,last10,uniform,0.4,ce,68.5,,\n")
    table.of(*words, f"against={mine}")
    assert "1 of 1 lines are of no cell" in caplog.text
    caplog.clear()
    table.of(*words, f"against={mine}", "rule=last10")
    assert "lines are of no cell" not in caplog.text


def test_runs_swept_over_a_mapping_have_a_column_for_each_of_its_keys(tmp_path):
    words = ["data=digits", "loss=ce", "noise=class_map", "rate=0.4", "noise.map={7:1},{2:7}", "seed=0,1"]
    told = table.of(*words, f"paths.results={tmp_path}")
    assert len(told.cells.columns) == 2
    assert {"noise.map.7", "noise.map.2"} <= {*told.spec.columns}


def test_numbers_of_the_reference_are_first_those_of_the_experiment_s_own_archive(tmp_path, monkeypatch):
    words = ["experiment=demo", "loss=ce", "noise=uniform", "rate=0.4", "seed=0"]
    (run,) = plan_of([*words, f"paths.results={tmp_path}"]).runs
    made_up.finish(tmp_path, run)
    archives = {}
    for name, last in (("a_first", 0.1), ("demo", 0.3)):
        folder = made_up.finish(tmp_path / name, run, last)
        archives[name] = results.of_folder(folder)
        archive.write(tmp_path / "reference" / name, {run.id: (archives[name].manifest, archives[name].rows())})
    monkeypatch.setattr(results, "reference", lambda: tmp_path / "reference")
    told = table.of(*words, f"paths.results={tmp_path}", "against=reference", "rule=last")
    assert told.subtables["last-reference"].body[0][3].text == "30.00"


def test_a_measure_of_predictions_says_where_no_run_has_kept_any(demo, tmp_path):
    made_up.finish(tmp_path, demo.runs[0])
    with pytest.raises(NoisygceError, match="no run has kept predictions"):
        tables.tabulate(demo, measure="per_class")


def test_a_seed_of_the_noise_that_is_0_is_named_too(tmp_path):
    words = ["data=digits", "loss=ce", "noise=uniform", "rate=0.4", "seed=0,1", f"paths.results={tmp_path}"]
    told = {seed: " ".join(table.of(*words, f"noise.seed={seed}").footer) for seed in (0, 1, "null")}
    assert "seed of the noise 0" in told[0]
    assert "seed of the noise 1" in told[1]
    assert "seed of the noise" not in told["null"]
