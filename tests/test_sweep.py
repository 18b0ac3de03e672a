import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from noisygce import settings
from noisygce.errors import ConfigError, DataError, Locked, NonFinite, SweepFailed
from noisygce.sweep.jobs import expand
from noisygce.sweep.launch import launch_all


def jobs(arguments, grid=None):
    return expand(arguments, OmegaConf.create(grid) if grid else None)


def test_the_runs_of_a_command_line_are_the_product_of_its_choices():
    assert jobs([]) == [[]]
    assert jobs(["loss=ce,gce", "rate=0.2,0.4", "data=digits"]) == [
        ["loss=ce", "rate=0.2", "data=digits"],
        ["loss=ce", "rate=0.4", "data=digits"],
        ["loss=gce", "rate=0.2", "data=digits"],
        ["loss=gce", "rate=0.4", "data=digits"],
    ]


def test_seeds_come_first_so_that_a_table_fills_evenly():
    found = jobs(["loss=ce,gce"], [{"seed": [10, 2, 0], "rate": [0.2, 0.4]}])
    assert [next(o for o in job if o.startswith("seed=")) for job in found] == ["seed=0"] * 4 + ["seed=2"] * 4 + [
        "seed=10"
    ] * 4
    assert [set(job) - {"seed=0"} for job in found[:4]] == [set(job) - {"seed=2"} for job in found[4:8]]


def test_a_grid_is_the_union_of_the_products_of_its_blocks():
    found = jobs([], [{"noise": "uniform", "rate": [0.2, 0.4]}, {"noise": "pair", "rate": 0.1}])
    assert found == [["noise=uniform", "rate=0.2"], ["noise=uniform", "rate=0.4"], ["noise=pair", "rate=0.1"]]


def test_a_choice_that_the_grid_knows_selects_its_blocks_and_their_values_for_it():
    grid = [{"loss": ["ce", "gce"], "seed": [0, 1]}, {"loss": "elr", "loss.lam": 1, "seed": [0, 1]}]
    assert jobs(["loss=elr"], grid) == [["loss=elr", "loss.lam=1", f"seed={seed}"] for seed in (0, 1)]
    assert jobs(["loss=ce"], grid) == [["loss=ce", f"seed={seed}"] for seed in (0, 1)]
    assert jobs(["loss=gce,elr", "seed=0"], grid) == [["loss=gce", "seed=0"], ["loss=elr", "loss.lam=1", "seed=0"]]
    assert jobs(["loss=mae", "seed=0"], grid[:1]) == [["loss=mae", "seed=0"]]  # none of the grid's: in its place


def test_a_key_of_the_command_line_takes_the_place_of_the_grid_s():
    found = jobs(["rate=0.6", "seed=7,8"], [{"loss": ["ce", "gce"], "rate": [0.2, 0.4], "seed": [0, 1, 2]}])
    assert found == [
        ["loss=ce", "rate=0.6", "seed=7"],
        ["loss=gce", "rate=0.6", "seed=7"],
        ["loss=ce", "rate=0.6", "seed=8"],
        ["loss=gce", "rate=0.6", "seed=8"],
    ]


@pytest.mark.parametrize("plus", ["+", "++"])
def test_a_key_with_a_plus_is_the_same_key_as_without(plus):
    grid = [{"seed": [0, 1], "+schedule.ema": [0.9, 0.99]}]
    assert jobs([f"{plus}seed=5", "schedule.ema=0.5"], grid) == [[f"{plus}seed=5", "schedule.ema=0.5"]]
    assert jobs(["seed=0", f"{plus}seed=1"]) == [[f"{plus}seed=1"]]


def test_a_run_of_two_blocks_is_made_once():
    found = jobs([], [{"loss": ["ce", "gce"], "rate": 0.2}, {"rate": [0.2, 0.4], "loss": "gce"}])
    assert [sorted(job) for job in found] == [
        ["loss=ce", "rate=0.2"],
        ["loss=gce", "rate=0.2"],
        ["loss=gce", "rate=0.4"],
    ]
    assert len(jobs(["rate=0.2"], [{"loss": "ce", "rate": [0.4, 0.6]}])) == 1


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("data.subset", [None, 300]),
        ("data.flip", [True, False]),
        ("schedule.milestones", [[2, 3], []]),
        ("schedule.lr", [1e-5, 0.5]),
        ("loss", ["gce"]),
        ("data.name", ["1", "null", "true", "a b", "x=(y)", "it's", "a,b"]),
        ("data.cutout", [{"cat": "a, b", "dog": None}, "next"]),
        ("data.cutout", [[None, "null", {"a": ["b c"]}]]),
    ],
)
def test_values_of_a_grid_mean_on_the_command_line_what_they_mean_in_yaml(key, values):
    for job, value in zip(jobs([], [{key: values}]), values, strict=True):
        cfg = settings.compose(["data=digits", *job])
        assert OmegaConf.select(cfg, "loss.name" if key == "loss" else key) == value


def ended(value):
    end = JobReturn(status=JobStatus.FAILED if isinstance(value, Exception) else JobStatus.COMPLETED)
    end.return_value = value
    return end


class Launches:
    """A launcher of runs with given outcomes: one list of outcomes a launch."""

    def __init__(self, *outcomes):
        self.outcomes, self.asked = list(outcomes), []

    def __call__(self, some):
        self.asked.append([*some])
        return [ended(value) for value in self.outcomes.pop(0)]


THREE = [["seed=0"], ["seed=1"], ["seed=2"]]


def test_runs_that_another_process_held_are_asked_for_once_more(capsys):
    launch = Launches([0.5, Locked("held"), 0.7], [0.6])
    assert [end.return_value for end in launch_all(launch, THREE)] == [0.5, 0.6, 0.7]
    assert launch.asked == [THREE, [["seed=1"]]]
    assert capsys.readouterr().err == "3 of 3 runs are done\n"


def test_runs_that_stay_held_are_named_and_no_failure(capsys):
    launch_all(Launches([0.5, Locked("it is held"), 0.7], [Locked("it is held")]), THREE)
    assert capsys.readouterr().err == "2 of 3 runs are done\n  seed=1: it is held\n"


def test_failures_are_named_and_the_others_are_done(capsys):
    with pytest.raises(SweepFailed, match="2 of 3 runs failed"):
        launch_all(Launches([NonFinite("it diverged"), 0.6, KeyError()]), THREE)
    assert capsys.readouterr().err == "1 of 3 runs are done\n  seed=0: it diverged\n  seed=2: KeyError\n"


def test_a_reason_is_printed_once_for_all_runs_that_it_stops(capsys):
    with pytest.raises(SweepFailed) as failed:
        launch_all(Launches([DataError("no data"), 0.5, DataError("no data")]), THREE)
    assert failed.value.exit_code == 2
    assert capsys.readouterr().err == "1 of 3 runs are done\n  seed=0, and 1 more: no data\n"


def test_nothing_is_asked_for_again_after_a_failure():
    launch = Launches([NonFinite("it diverged")])
    with pytest.raises(SweepFailed):
        launch_all(launch, [["seed=0"]])
    assert len(launch.asked) == 1


@pytest.mark.parametrize(
    ("swept", "values"),
    [
        ("loss.q=range(0.1,0.9,0.2)", ["0.1", "0.3", "0.5", "0.7"]),
        ("loss.q=range(0.1,0.4,0.1)", ["0.1", "0.2", "0.3"]),  # Hydra's sum of 0.1 stays below 0.4
        ("loss.q=range(1,0,-0.25)", ["1.0", "0.75", "0.5", "0.25"]),  # floats stay floats
        ("loss.q=sort(range(0.7,0.1,-0.2))", ["0.3", "0.5", "0.7"]),
        ("schedule.lr=range(0.00001,0.00004,0.00001)", ["1e-05", "2e-05", "3e-05"]),
        ("seed=range(0,3)", ["0", "1", "2"]),
        ("seed=range(-1,1)", ["-1", "0"]),
        ("loss.A=-4.123456789012345,-0.30000000000000004", ["-4.123456789012345", "-0.30000000000000004"]),  # as typed
    ],
)
def test_a_range_gives_the_values_that_one_would_type_and_a_choice_those_that_are_typed(swept, values):
    key = swept.partition("=")[0]
    assert sorted(jobs([swept])) == sorted([f"{key}={value}"] for value in values)


def test_a_value_in_a_grid_keeps_all_its_digits():
    assert jobs([], [{"loss.A": [-4.605170185988091]}]) == [["loss.A=-4.605170185988091"]]


def test_a_block_without_a_value_is_refused_since_it_makes_no_run():
    with pytest.raises(ConfigError, match="a block has no value for seed"):
        jobs([], [{"seed": [], "noise": "pair"}])
