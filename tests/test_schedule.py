import pytest
import torch

from noisygce import settings
from noisygce.check import Invalid
from noisygce.schedule import Pruning, Schedule
from noisygce.sweep.plan import plan_of


def schedule(**changes):
    values = {"epochs": 10, "batch_size": 128, "lr": 1.0, "milestones": [3, 5], "momentum": 0.9, "weight_decay": 1e-4}
    values |= {"annealing": "step", "clip_norm": None, "nesterov": False, "gamma": 0.1, "lr_end": 0.0, "ema": None}
    return Schedule(**{**values, **changes})


def test_learning_rate_falls_tenfold_after_each_milestone():
    assert [schedule().lr_of(epoch) for epoch in range(7)] == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01, 0.01])
    assert schedule(milestones=[]).lr_of(9) == 1


@pytest.mark.parametrize(("end", "middle"), [(0, 0.05), (0.02, 0.06)])
def test_cosine_annealing_is_torch_s(end, middle):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10, eta_min=end)
    ours = schedule(lr=0.1, annealing="cosine", milestones=[], lr_end=end)
    for epoch in range(10):
        assert ours.lr_of(epoch) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        theirs.step()
    assert (ours.lr_of(0), ours.lr_of(5)) == pytest.approx((0.1, middle))


def test_the_factor_at_a_milestone_may_be_another():
    assert [schedule(gamma=0.01).lr_of(epoch) for epoch in (2, 3, 5)] == pytest.approx([1, 0.01, 1e-4])


@pytest.mark.parametrize(
    "values",
    [
        {"nesterov": True, "momentum": 0.0},
        {"gamma": 0.5, "annealing": "cosine", "milestones": []},
        {"lr_end": 0.1},
        {"lr_end": 2.0, "annealing": "cosine", "milestones": []},
        {"ema": 1.0},
        {"gamma": 0.0},
    ],
)
def test_values_that_do_not_go_together_are_refused(values):
    with pytest.raises(Invalid) as caught:
        schedule(**values)
    assert caught.value.key in values


def test_pruning_is_due_at_its_start_and_then_every_so_often():
    assert [done for done in range(12) if Pruning("drop", 3, 4).due(done)] == [3, 7, 11]
    assert [done for done in range(5) if Pruning("mask", 2, 1).due(done)] == [2, 3, 4]


@pytest.mark.parametrize(
    ("data", "epochs", "drops", "before"),
    [
        ("cifar10", 120, (41, 81), range(41, 112, 10)),
        ("fashion_mnist", 120, (41, 81), range(41, 112, 10)),
        ("cifar100", 150, (81, 121), range(81, 142, 10)),
    ],
)
def test_leaves_hold_the_published_protocol(data, epochs, drops, before):
    """Zhang & Sabuncu 2018, section 4; epochs counted from 1."""
    e = settings.read(settings.compose([f"data={data}"]))
    s = e.schedule
    assert (s.epochs, s.batch_size, s.lr, s.momentum, s.weight_decay) == (epochs, 128, 0.01, 0.9, 1e-4)
    rates = [s.lr_of(epoch) for epoch in range(epochs)]
    assert [epoch + 1 for epoch in range(1, epochs) if rates[epoch] != rates[epoch - 1]] == list(drops)
    assert rates[-1] == pytest.approx(1e-4)
    assert [done + 1 for done in range(epochs) if e.pruning.due(done)] == list(before)


def test_the_protocol_of_elr_s_table_can_be_said():
    """Liu et al. 2020, table 1: the schedule and losses of its code, composed and not trained."""
    runs = plan_of(["experiment=elr_cifar10"]).runs
    assert len({run.id for run in runs}) == 50
    shape = {(r.identity["loss"]["name"], r.identity["noise"]["name"], r.identity["rate"]) for r in runs}
    symmetric = {(loss, "uniform", rate) for loss in ("ce", "elr") for rate in (0.2, 0.4, 0.6, 0.8)}
    assert shape == symmetric | {("ce", "class_map", 0.4), ("elr", "class_map", 0.4)}
    e = settings.read(settings.compose([*runs[-1].job]))
    s = e.schedule
    assert (s.epochs, s.batch_size, s.lr, s.momentum, s.weight_decay) == (120, 128, 0.02, 0.9, 1e-3)
    assert [s.lr_of(epoch) for epoch in (0, 39, 40, 80)] == pytest.approx([0.02, 0.02, 2e-4, 2e-6])
    assert (e.loss.lam, e.loss.b, e.noise.rate, e.noise.sequential, e.noise.exact) == (1, 0.9, 0.4, True, True)
