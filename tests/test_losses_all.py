"""Every loss leaf, asked the same questions; then what each formula says of itself."""

from __future__ import annotations

import copy
import functools
import inspect
import math
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from noisygce import losses, settings
from noisygce.errors import ConfigError
from noisygce.losses import Loss, log_softmax
from noisygce.losses.stateful import early_learning
from noisygce.losses.tempered import tempered_log_softmax

B, K, N = 40, 10, 100
LEAVES = sorted(path.stem for path in (settings.config_dir() / "loss").glob("*.yaml"))
SYMMETRIC = {"mae", "rce", "nce", "nce_mae", "nce_rce"}
T = 0.6 * np.eye(K) + 0.4 * np.roll(np.eye(K), 1, axis=1)
T_OTHER = 0.9 * np.eye(K) + 0.1 / K


@functools.cache
def _experiment(*overrides: str) -> settings.Experiment:
    return settings.read(settings.compose(["data=digits", *overrides]))


def bound(*overrides: str) -> Loss:
    """A fresh loss of a command line, ready for training."""
    loss = copy.deepcopy(_experiment(*overrides).loss)
    loss.adopt("ce-run", {"q97": T.tolist(), "max": T_OTHER.tolist()})
    loss.bind(samples=N, classes=K, device="cpu", transition=T)
    for tensor in loss.state().values():
        tensor.copy_(torch.rand(tensor.shape, generator=torch.Generator().manual_seed(9)).softmax(1))
    return loss


def draw(loss: Loss, scale: float = 2.0, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """logits (V B, K) in float64, labels (B,), index (B,)."""
    g = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn((loss.views * B, K), generator=g, dtype=torch.float64)
    return logits, torch.arange(B) % K, torch.randperm(N, generator=g)[:B]


def values(loss: Loss, logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
    """What training would see, a loss that remembers being left as it was."""
    return copy.deepcopy(loss).of_batch(logits, labels, index)


# --- every leaf ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LEAVES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_finite_float32_value_a_sample_with_a_finite_gradient(name: str, dtype: torch.dtype) -> None:
    loss = bound(f"loss={name}")
    logits, labels, index = draw(loss)
    logits = logits.to(dtype).requires_grad_()
    out = values(loss, logits, labels, index)
    assert out.shape == (B,)
    assert out.dtype == torch.float32
    out.sum().backward()
    assert logits.grad is not None
    assert out.isfinite().all()
    assert logits.grad.isfinite().all()
    assert (logits.grad != 0).any()


@pytest.mark.parametrize("name", [*LEAVES, "bi_tempered loss.t1=0.5 loss.t2=0.7", "focal loss.g=2"])
@pytest.mark.parametrize("gap", [0.0, 120.0, 1e4])
def test_value_and_gradient_are_finite_at_any_gap(name: str, gap: float) -> None:
    loss = bound(*f"loss={name}".split())
    labels = torch.arange(B) % K
    favourite = (labels + torch.arange(B) // K) % K  # the label itself in the first K samples, another in the rest
    logits = (gap * torch.nn.functional.one_hot(favourite, K).float()).repeat(loss.views, 1).requires_grad_()
    out = values(loss, logits, labels, torch.arange(B))
    out.sum().backward()
    assert logits.grad is not None
    assert out.isfinite().all()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    "name",
    [
        *(name for name in LEAVES if name != "elr"),
        "elr loss.b=0.999999999999",  # targets that stand still: no gradient flows through them
        "bi_tempered loss.t1=0.5 loss.t2=0.7",
        "bi_tempered loss.t1=0 loss.t2=4",
        "bi_tempered loss.t1=1 loss.t2=2",
        "label_smoothing loss.s=-1",
        "focal loss.g=0.1",
        "js loss.pi=0.9",
        "gjs loss.pi=0.1",
        "taylor loss.t=7",
        "agce loss.a=3 loss.q=2.5",
    ],
)
def test_gradient_equals_numeric_differences(name: str) -> None:
    loss = bound(*f"loss={name}".split())
    logits, labels, index = draw(loss)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: values(loss, x, labels, index), (logits,), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", LEAVES)
def test_a_sample_s_loss_depends_on_nothing_else_in_the_batch(name: str) -> None:
    loss = bound(f"loss={name}")
    logits, labels, index = draw(loss)
    whole = values(loss, logits, labels, index)
    order = torch.randperm(B, generator=torch.Generator().manual_seed(1))
    shuffled = logits.unflatten(0, (loss.views, B))[:, order].flatten(0, 1)
    torch.testing.assert_close(values(loss, shuffled, labels[order], index[order]), whole[order])
    few = logits.unflatten(0, (loss.views, B))[:, :3].flatten(0, 1)
    torch.testing.assert_close(values(loss, few, labels[:3], index[:3]), whole[:3])


@pytest.mark.parametrize("name", LEAVES)
def test_losses_over_all_labels_sum_to_a_constant_just_where_the_loss_is_symmetric(name: str) -> None:
    loss = bound(f"loss={name}")
    logits, labels, index = draw(loss)
    total = sum(values(loss, logits, torch.full_like(labels, y), index) for y in range(K))
    assert isinstance(total, Tensor)
    spread = (total.max() - total.min()) / total.mean()
    assert (spread < 1e-9) == (name in SYMMETRIC)


def _parameters() -> list[tuple[str, str, Any]]:
    """(leaf, dotted key, another value) of every value of every leaf."""

    def walk(node: Any, prefix: str) -> list[tuple[str, Any]]:
        found = []
        for key, value in node.items():
            if isinstance(value, dict):
                found += walk(value, f"{prefix}.{key}")
            elif key not in ("name", "_target_"):
                found.append((f"{prefix}.{key}", value))
        return found

    def other(key: str, value: Any) -> Any:
        if key in ("loss.k", "loss.b", "loss.anchor"):
            return {"loss.k": 0.1, "loss.b": 0.5, "loss.anchor": "max"}[key]
        return value + 1 if isinstance(value, int) else 0.9 * value

    tree = {leaf: settings.resolved(settings.compose(["data=digits", f"loss={leaf}"]))["loss"] for leaf in LEAVES}
    return [(leaf, key, other(key, value)) for leaf in LEAVES for key, value in walk(tree[leaf], "loss")]


@pytest.mark.parametrize(("leaf", "key", "other"), _parameters())
def test_every_parameter_changes_the_value(leaf: str, key: str, other: Any) -> None:
    one, two = bound(f"loss={leaf}"), bound(f"loss={leaf}", f"{key}={other}")
    logits, labels, index = draw(one)
    results = [x(logits, labels) if x.prunes else values(x, logits, labels, index).mean() for x in (one, two)]
    assert abs(results[0] - results[1]) > 1e-4


@pytest.mark.parametrize("name", LEAVES)
def test_leaf_keys_are_the_constructor_s_parameters(name: str) -> None:
    leaf = settings.resolved(settings.compose(["data=digits", f"loss={name}"]))["loss"]
    cls = getattr(losses, leaf["_target_"].rpartition(".")[2])
    wanted = [p.name for p in inspect.signature(cls).parameters.values() if p.default is p.empty]
    assert sorted(wanted) == sorted(leaf.keys() - {"name", "_target_"})


# --- recommended values and parts -------------------------------------------------------------------------------------


def _loss_config(*overrides: str) -> dict[str, Any]:
    return settings.resolved(settings.compose(overrides))["loss"]


def test_recommended_values_follow_the_data_set_and_the_command_line_wins() -> None:
    assert [_loss_config("loss=sce", f"data={d}")["a"] for d in ("cifar10", "cifar100")] == [0.1, 6]
    assert [_loss_config("loss=sce", f"data={d}")["b"] for d in ("cifar10", "cifar100")] == [1, 0.1]
    assert _loss_config("loss=nce_agce", "data=cifar100")["second"] | {} == {
        "name": "agce",
        "_target_": "noisygce.losses.AGCE",
        "a": 1.8,
        "q": 3,
    }
    assert _loss_config("loss=sce", "data=cifar100", "loss.a=2", "loss.second.A=-4")["a"] == 2
    assert "${" not in OmegaConf.to_yaml(OmegaConf.create(_loss_config("loss=elr", "data=cifar100")))


@pytest.mark.parametrize("name", ["sce", "nce_mae", "nce_rce", "nce_agce"])
def test_a_weighted_sum_is_the_sum_of_its_parts(name: str) -> None:
    loss = bound(f"loss={name}", "loss.a=2", "loss.b=3")
    assert isinstance(loss, losses.WeightedSum)
    logits, labels, index = draw(loss)
    parts = 2 * loss.first.per_sample(logits, labels) + 3 * loss.second.per_sample(logits, labels)
    torch.testing.assert_close(loss.of_batch(logits, labels, index), parts)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("loss.a=-1", r"loss\.a=-1: loss\.a must be a number in \[0, 1e6\]"),
        ("loss.second.A=4", r"loss\.second\.A=4: loss\.second\.A must be a number in"),
        ("+loss.second.q=4", r"loss\.second\.q=4: RCE has no such value"),
        ("loss.second._target_=noisygce.noise.Pair", r"loss\.second\._target_.*subclass of noisygce\.losses\.Loss"),
    ],
)
def test_a_part_is_checked_under_its_own_key(overrides: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settings.read(settings.compose(["loss=sce", overrides]))


def test_a_sum_takes_only_parts_that_it_can_train() -> None:
    with pytest.raises(ValueError, match="neither prunes"):
        losses.WeightedSum(1, 1, losses.CE(), losses.TruncatedGCE(0.7, 0.5))
    with pytest.raises(ValueError, match="neither prunes"):
        losses.WeightedSum(1, 1, losses.GJS(0.5), losses.CE())
    with pytest.raises(ValueError, match="such as ce"):
        losses.ForwardHat("q97", losses.MAE())


def test_a_sum_passes_state_and_transition_on_to_its_parts() -> None:
    both = losses.WeightedSum(1, 2, losses.Forward(), losses.ELR(lam=3, b=0.7))
    both.bind(samples=N, classes=K, device="cpu", transition=T)
    assert list(both.state()) == ["second.targets"]
    logits, labels, index = draw(both)
    apart = losses.ELR(lam=3, b=0.7)
    apart.bind(samples=N, classes=K, device="cpu")
    expected = both.first.per_sample(logits, labels) + 2 * apart.of_batch(logits, labels, index)
    torch.testing.assert_close(both.of_batch(logits, labels, index), expected)


# --- limits and closed forms ------------------------------------------------------------------------------------------

CE_ = losses.CE()
HALF_MAE = losses.WeightedSum(0.5, 0, losses.MAE(), losses.CE())


def _beyond(loss: Loss, **values: float) -> Loss:
    """The loss with values that its constructor refuses, as too close to a limit for float32."""
    vars(loss).update(values)
    return loss


LIMITS = [
    ("gce, q -> 0, is ce", losses.GCE(1e-9), CE_),
    ("gce, q = 1, is mae / 2", losses.GCE(1), HALF_MAE),
    ("taylor, t = 1, is mae / 2", losses.Taylor(1), HALF_MAE),
    ("focal, g = 0, is ce", losses.Focal(0), CE_),
    ("label_smoothing, s = 0, is ce", losses.LabelSmoothing(0), CE_),
    ("bootstrap_soft, b = 1, is ce", losses.BootstrapSoft(1), CE_),
    ("bootstrap_hard, b = 1, is ce", losses.BootstrapHard(1), CE_),
    ("bi_tempered, t1 = t2 = 1, is ce", losses.BiTempered(1, 1), CE_),
    ("bi_tempered, t1 = 1, t2 -> 1, is ce", losses.BiTempered(1, 1 + 1e-9), CE_),
    ("rce is -A / 2 mae", losses.RCE(-4), losses.WeightedSum(2, 0, losses.MAE(), CE_)),
    ("agce, q = 1, is mae / 2", losses.AGCE(3, 1), HALF_MAE),
    ("agce, a -> 0, is gce", _beyond(losses.AGCE(1, 0.7), a=1e-12), losses.GCE(0.7)),
    ("js, pi -> 0, is ce", _beyond(losses.JS(0.5), pi=1e-7), CE_),
    ("phuber, t -> inf, is ce", losses.PHuber(1e6), CE_),
    ("sce, b = 0, is a ce", losses.WeightedSum(1, 0, CE_, losses.RCE(-4)), CE_),
]


@pytest.mark.parametrize(("one", "other"), [c[1:] for c in LIMITS], ids=[c[0] for c in LIMITS])
def test_limit(one: Loss, other: Loss) -> None:
    logits, labels, _ = draw(one, scale=1.0)
    torch.testing.assert_close(one.per_sample(logits, labels), other.per_sample(logits, labels), rtol=1e-4, atol=1e-5)


def _gap(one: Loss, other: Loss) -> float:
    logits, labels, _ = draw(one, scale=0.5)
    return float((one.per_sample(logits, labels) - other.per_sample(logits, labels)).abs().max())


def test_taylor_tends_to_cross_entropy_and_js_to_half_of_mae() -> None:
    """Slowly: Taylor by (1 - p_y)^t, JS by 1 / log(1 / (1 - pi))."""
    taylor = [_gap(losses.Taylor(t), CE_) for t in (2, 10, 100)]
    js = [_gap(_beyond(losses.JS(0.5), pi=1 - eps), HALF_MAE) for eps in (1e-2, 1e-6, 1e-15)]
    for gaps in (taylor, js):
        assert gaps[0] > 2 * gaps[1] > 4 * gaps[2]
        assert gaps[2] < 0.05


def test_phuber_and_its_slope_are_continuous_where_the_pieces_meet() -> None:
    t = 4.0
    p = torch.tensor([1 / t - 1e-9, 1 / t + 1e-9], dtype=torch.float64)
    logits = torch.stack([p.log(), (1 - p).log()], 1).requires_grad_()
    out = losses.PHuber(t).per_sample(logits, torch.zeros(2, dtype=torch.long))
    (gradient,) = torch.autograd.grad(out.sum(), logits)
    torch.testing.assert_close(out[0], out[1], rtol=0, atol=1e-7)
    torch.testing.assert_close(gradient[0], gradient[1], rtol=0, atol=1e-7)
    torch.testing.assert_close(out[0].item(), math.log(t))


def test_numbers_that_a_reader_can_check() -> None:
    """p = (1/2, 1/4, 1/4), given label 1: p_y = 1/4."""
    logits = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64).log()
    y = torch.tensor([1])
    ln2 = math.log(2)
    expected = {
        losses.BootstrapSoft(0.5): 0.5 * 2 * ln2 + 0.5 * 1.5 * ln2,  # entropy of p: 3/2 ln 2
        losses.BootstrapHard(0.5): 0.5 * 2 * ln2 + 0.5 * ln2,
        losses.LabelSmoothing(0.3): 0.7 * 2 * ln2 + 0.3 * 5 / 3 * ln2,
        losses.Focal(2): 9 / 16 * 2 * ln2,
        losses.RCE(-4): 3,
        losses.NCE(): 2 / 5,
        losses.AGCE(0.75, 2): (1.75**2 - 1) / 2,
        losses.PHuber(2): 1.5 - 1 + ln2 - 0.5 + 0.5,  # -2/4 + ln 2 + 1
        losses.Taylor(2): 3 / 4 + 9 / 32,
        losses.BiTempered(0, 1): 0.75 - (1 - 6 / 16) / 2,  # log_0 x = x - 1
    }
    for loss, value in expected.items():
        assert loss.per_sample(logits, y).item() == pytest.approx(value, abs=1e-12), loss


def _jensen_shannon(weights: list[float], rows: list[np.ndarray[Any, Any]]) -> float:
    m = sum(w * row for w, row in zip(weights, rows, strict=True))

    def kl(row: np.ndarray[Any, Any]) -> float:
        return sum(a * math.log(a / b) for a, b in zip(row, m, strict=True) if a > 0)

    scale = -(1 - weights[0]) * math.log(1 - weights[0])
    return sum(w * kl(row) for w, row in zip(weights, rows, strict=True)) / scale


@pytest.mark.parametrize("pi", [0.1, 0.5, 0.9])
def test_js_and_gjs_are_the_divergence_written_out(pi: float) -> None:
    gjs = losses.GJS(pi)
    logits, labels, _ = draw(gjs)
    p = logits.softmax(1).numpy()
    e = np.eye(K)
    for i, value in enumerate(gjs.per_sample(logits, labels)):
        expected = _jensen_shannon([pi, (1 - pi) / 2, (1 - pi) / 2], [e[labels[i]], p[i], p[B + i]])
        assert value.item() == pytest.approx(expected, rel=1e-10)
    for i, value in enumerate(losses.JS(pi).per_sample(logits[:B], labels)):
        assert value.item() == pytest.approx(_jensen_shannon([pi, 1 - pi], [e[labels[i]], p[i]]), rel=1e-10)
    twice = logits[:B].repeat(2, 1)
    torch.testing.assert_close(gjs.per_sample(twice, labels), losses.JS(pi).per_sample(logits[:B], labels))


@pytest.mark.parametrize("t", [0.3, 0.8, 1.0, 1.2, 2.0, 4.0])
@pytest.mark.parametrize(("classes", "scale"), [(2, 1), (10, 0), (10, 5), (100, 1), (100, 30), (100, 1e4)])
def test_tempered_softmax_equals_a_bisection(t: float, classes: int, scale: float) -> None:
    a = scale * np.random.default_rng(0).standard_normal((8, classes))
    low, high = a.max(1) - 1e-9, a.max(1) + 1e7
    if t < 1:
        high = a.max(1) + 1 / (1 - t)

    def exp_t(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.exp(x) if t == 1 else np.maximum(0, 1 + (1 - t) * x) ** (1 / (1 - t))

    for _ in range(200):
        middle = (low + high) / 2
        over = exp_t(a - middle[:, None]).sum(1) > 1
        low, high = np.where(over, middle, low), np.where(over, high, middle)
    found = tempered_log_softmax(torch.from_numpy(a), t).exp().numpy()
    np.testing.assert_allclose(found, exp_t(a - low[:, None]), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found.sum(1), 1, rtol=0, atol=1e-8)


def test_bi_tempered_is_bounded_where_cross_entropy_is_not() -> None:
    logits = torch.tensor([[1e4, 0.0]])
    assert losses.BiTempered(0.8, 1.2).per_sample(logits, torch.tensor([1])).item() <= 1 / 0.2
    assert CE_.per_sample(logits, torch.tensor([1])).item() == 1e4


def test_forward_is_cross_entropy_of_p_times_t() -> None:
    loss = bound("loss=forward")
    logits, labels, _ = draw(loss)
    naive = -(logits.softmax(1) @ torch.from_numpy(T)).gather(1, labels[:, None])[:, 0].log()
    torch.testing.assert_close(loss.per_sample(logits, labels), naive, rtol=1e-6, atol=1e-6)
    loss.bind(samples=N, classes=K, device="cpu", transition=np.eye(K))
    torch.testing.assert_close(loss.per_sample(logits, labels), CE_.per_sample(logits, labels))


def test_forward_hat_reports_where_its_matrix_is_from_and_how_far_from_the_true_one() -> None:
    loss = bound("loss=forward_hat", "loss.anchor=max")
    said = loss.report()["transition_hat"]
    assert said["run_id"] == "ce-run"
    assert said["transition"] == T_OTHER.tolist()
    assert said["error"] == pytest.approx(abs(T_OTHER - T).sum() / K)


def test_elr_targets_are_the_running_mean_of_what_the_network_said() -> None:
    loss = losses.ELR(lam=3, b=0.7)
    loss.bind(samples=5, classes=3, device="cpu")
    first, second = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(0))
    index, labels = torch.tensor([4, 1]), torch.tensor([0, 2])
    loss.of_batch(first, labels, index)
    out = loss.of_batch(second, labels, index)
    t = 0.7 * 0.3 * first.softmax(1) + 0.3 * second.softmax(1)  # no p is near the clamp here
    torch.testing.assert_close(loss.state()["targets"][index], t)
    assert not loss.state()["targets"][[0, 2, 3]].any()
    p = second.softmax(1)
    expected = CE_.per_sample(second, labels) + 3 * (1 - (p * t).sum(1)).log()
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(early_learning(second, labels, torch.zeros(2, 3), 3), CE_.per_sample(second, labels))


def test_log_softmax_keeps_float64_and_lifts_the_rest_to_float32() -> None:
    for given, got in ((torch.float64, torch.float64), (torch.float16, torch.float32), (torch.bfloat16, torch.float32)):
        assert log_softmax(torch.zeros(1, 2, dtype=given)).dtype == got
