"""The report: one page that needs nothing else, hides nothing and says how to make each cell again."""

import dataclasses
import json
import re
from html.parser import HTMLParser

import made_up
import pytest
from omegaconf import OmegaConf

from noisygce import report
from noisygce.errors import ConfigError, NoisygceError
from noisygce.sweep.plan import look, plan_of
from noisygce.table import tabulate
from noisygce.view import records
from noisygce.view.cells import lay_out

SETTING = ["loss=ce,mae,gce,tgce", "noise=uniform", "rate=0.4", "seed=0,1"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """One setting of the demo, of whose eight runs one has failed and one is missing."""
    tmp_path = tmp_path_factory.mktemp("results")
    plan = plan_of(["experiment=demo", "grid=null", *SETTING, f"paths.results={tmp_path}"])
    (made_up.begin(tmp_path, plan.runs[0]) / "failed.json").write_text(json.dumps({"cause": "a <loss> of NaN"}))
    for run in plan.runs[2:]:
        made_up.finish(tmp_path, run)
    return plan


@pytest.fixture(scope="module")
def text(small):
    return report.report(small, tabulate(small))


class Open(HTMLParser):
    """Which elements are open, and every attribute that was seen."""

    void = ("meta", "br")

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen += [(tag, name, value) for name, value in attrs]
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(text):
    page = Open()
    page.feed(text)
    assert page.open == []
    assert "<script" not in text
    assert not re.search(r"@import|@font-face|url\((?!#)", text)
    assert all(
        value.startswith(("#", "data:")) for _, name, value in page.seen if name in ("src", "href", "xlink:href")
    )  # data: a picture, in the page itself
    ids = [value for _, name, value in page.seen if name == "id"]
    assert len(ids) == len(set(ids))
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_what_is_missing_or_failed_is_named(text, small):
    assert "8 runs, 6 done, 1 failed, 1 missing" in text
    assert f'<th scope="row">{small.runs[0].id}</th><td>failed</td><td>a &lt;loss&gt; of NaN</td>' in text
    assert f'<th scope="row">{small.runs[1].id}</th><td>missing</td>' in text
    assert "(1/2, 1 failed)" in text


def test_tables_figures_versions_and_digests_are_there(text):
    for heading in ("Rule <code>val</code>", "Rule <code>last</code>", "Rule <code>gap</code>", "paired over seeds"):
        assert heading in text
    assert text.count("<svg ") == 5
    assert "Versions: torch 9.9." in text
    assert "Commits: 0123456789ab." in text
    assert text.count("cd" * 32) == 6


def test_bytes_are_equal_when_rebuilt(small, text):
    assert report.report(small, tabulate(small)) == text


def test_the_command_of_a_cell_makes_its_runs_and_no_others(small, text):
    cells = lay_out(small, look(small))
    cell = cells.at(("gce",), ("uniform", 0.4))
    command = report.reproduce(small, cell)
    assert command == "python -m noisygce.train -m experiment=demo grid=null loss=gce noise=uniform rate=0.4 seed=0,1"
    assert f"<code>{command}</code>" in text
    made = plan_of(command.split()[4:])
    assert [run.id for run in made.runs] == [run.id for run in cell.runs]


@pytest.mark.parametrize(
    ("words", "grid"),
    [
        (["data=digits", "+grid=[{loss: [ce, gce]}]"], None),
        (["experiment=cifar10_compact", "+grid=[{loss: [ce, gce]}]"], "++grid=null"),
        (["experiment=demo", "loss=ce,gce"], "grid=null"),
    ],
    ids=str,
)
def test_the_command_of_a_cell_leaves_out_the_grid_that_there_is(words, grid, tmp_path):
    plan = plan_of([*words, "seed=0", f"paths.results={tmp_path}"])
    cell = next(iter(lay_out(plan, look(plan)).cell.values()))
    command = report.reproduce(plan, cell).split()
    assert [word for word in command if "grid=" in word] == ([grid] if grid else [])
    assert [run.id for run in plan_of(command[4:]).runs] == [run.id for run in cell.runs]


def test_a_grid_of_uneven_blocks_still_gives_a_command_of_the_cell_alone(demo):
    grid = [{"loss": "ce", "rate": 0.4, "seed": [0, 1]}, {"loss": ["ce", "gce"], "loss.q": 0.5, "seed": [0, 1]}]
    uneven = dataclasses.replace(demo, grid=OmegaConf.create(grid))
    job = ("loss=ce", "rate=0.4", "seed=0", "experiment=demo")
    run = dataclasses.replace(look(demo)[0], job=job)
    cell = dataclasses.replace(lay_out(demo, look(demo)).at(("ce",), ("uniform", 0.4)), runs=(run,))
    assert "experiment=demo grid=null loss=ce rate=0.4 seed=0" in report.reproduce(uneven, cell)


def test_a_key_of_another_command_is_answered_with_those_there_are():
    with pytest.raises(ConfigError, match=r"rule: there is no such key; there are against"):
        report.run(["data=digits", "rule=val"])


def test_the_command_writes_the_page(tmp_path, capsys):
    words = ["experiment=demo", "grid=null", "loss=ce", "noise=uniform", f"paths.results={tmp_path}"]
    with pytest.raises(NoisygceError, match=r"none of these runs is below .*: nothing to report"):
        report.run(words)
    assert not (tmp_path / "report").exists()
    made_up.begin(tmp_path, plan_of(words).runs[0], made_up.metrics(0.5))  # stopped
    report.run(words)
    (written,) = (tmp_path / "report").glob("demo+grid=null+loss=ce+noise=uniform-*.html")
    assert f"Written: {written}, .json" in capsys.readouterr().out
    assert "No run is done yet." in written.read_text()


def test_a_report_is_verified_by_its_runs_and_its_digest(tmp_path):
    words = ["experiment=demo", "grid=null", "loss=ce", "noise=uniform", "rate=0.4", "seed=0,1"]
    words.append(f"paths.results={tmp_path}")
    first, second = plan_of(words).runs
    made_up.finish(tmp_path, first)
    report.run(words)
    (page,) = (tmp_path / "report").glob("*.html")
    assert dict(records.verified(tmp_path)) == {page: "", page.with_name(f"{page.name[:-5]}.json"): ""}
    page.write_text(page.read_text() + " ")
    command = f"python -m noisygce.report {' '.join(words)}"
    assert dict(records.verified(tmp_path))[page] == f"is not the page that was written by {command}"
    made_up.finish(tmp_path, second)
    said = dict(records.verified(tmp_path))[page]
    assert said == f"was made when 1 of 2 runs were done, and now 2 are: {command}"


def test_figures_of_a_report_keep_the_names_by_which_the_experiment_picks_them(tmp_path):
    words = ["experiment=demo", "grid=null", "loss=gce", "noise=uniform", "rate=0.4", "seed=0"]
    plan = plan_of([*words, "+table.names={gce: $L$}", f"paths.results={tmp_path}"])
    made_up.finish(tmp_path, plan.runs[0])
    tables, figures = report.report(plan, tabulate(plan)).split('<section id="figures">')
    assert "$L$" in tables
    assert 'id="overview-' in figures


@pytest.mark.parametrize(("shares", "digits"), [((0.5, 0.6), 1), ((0.5, 0.502), 2)])
def test_decimals_are_no_finer_than_the_spread_over_seeds(tmp_path, shares, digits):
    words = ["experiment=demo", "grid=null", "loss=gce", "noise=uniform", "rate=0.4", "seed=0,1"]
    plan = plan_of([*words, f"paths.results={tmp_path}"])
    for run, share in zip(plan.runs, shares, strict=True):
        made_up.finish(tmp_path, run, share)
    assert report.decimals(tabulate(plan)) == digits
