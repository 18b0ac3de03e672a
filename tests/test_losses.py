"""Every loss leaf, asked the same questions; then what each formula says of itself."""

from __future__ import annotations

import copy
import functools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from noisygce import losses, runs, settings
from noisygce.check import Invalid
from noisygce.errors import ConfigError
from noisygce.losses import Loss, log_p, log_softmax
from noisygce.losses.bi_tempered import tempered_log_softmax

B, K, N = 40, 10, 100
LEAVES = sorted(path.stem for path in (settings.config_dir() / "loss").glob("*.yaml"))
SYMMETRIC = {"mae", "rce", "nce", "nfl", "ngce"} | {f"{a}_{b}" for a in ("nce", "nfl", "ngce") for b in ("mae", "rce")}
NOT_OF_SOFTMAX = {"ldr_kl", "ce_lc"}  # functions of the logits that are none of p
CHOOSES = {"co_teaching", "co_teaching_plus", "jocor"}  # which samples of the batch are trained on
STARTS_FROM_CE = ["dual_t", "forward_hat", "t_revision"]  # from a ce run's estimates
LATE = 30  # an epoch at which schedules have come to their last phase
# Leaves with values at which a formula takes another branch or comes close to a limit.
VARIANTS = [
    "agce loss.a=3 loss.q=2.5",
    "bi_tempered loss.t1=0 loss.t2=4",
    "bi_tempered loss.t1=0.5 loss.t2=0.7",
    "bi_tempered loss.t1=1 loss.t2=2",
    "co_teaching loss.forget_rate=0",
    "co_teaching_plus loss.warm_up=100",
    "focal loss.g=0.1",
    "focal loss.g=2",
    "gce loss.q=0.05",
    "gce loss.q=1",
    "gjs loss.pi=0.1",
    "js loss.pi=0.9",
    "label_smoothing loss.s=-1",
    "taylor loss.t=7",
]
T = 0.6 * np.eye(K) + 0.4 * np.roll(np.eye(K), 1, axis=1)
T_OTHER = 0.9 * np.eye(K) + 0.1 / K
HATS = {"q97": T.tolist(), "dual_q97": T.tolist(), "max": T_OTHER.tolist(), "rate": 0.3}


@functools.cache
def _experiment(*overrides: str) -> settings.Experiment:
    return settings.read(settings.compose(["data=digits", *overrides]))


def bound(words: str) -> Loss:
    """A fresh loss of a command line without its first ``loss=``, ready for training."""
    loss = copy.deepcopy(_experiment(*f"loss={words}".split()).loss)
    loss.load_source_estimates("ce-run", HATS)
    loss.bind(samples=N, classes=K, device="cpu", transition=T)
    loss.start_epoch(LATE)
    for memory in (tensor for tensor in loss.state().values() if tensor.dim() >= 2 and len(tensor) == N):
        memory.copy_(torch.rand(memory.shape, generator=torch.Generator().manual_seed(9)).softmax(-1))
    return loss


def outputs(loss: Loss) -> int:
    """How many logits a loss is given of each image."""
    return loss.views * loss.networks


def draw(loss: Loss, scale: float = 2.0) -> tuple[Tensor, Tensor, Tensor]:
    """logits (V B, K) or (n B, K) in float64, labels (B,), index (B,)."""
    g = torch.Generator().manual_seed(0)
    logits = scale * torch.randn((outputs(loss) * B, K), generator=g, dtype=torch.float64)
    return logits, torch.arange(B) % K, torch.randperm(N, generator=g)[:B]


def values(loss: Loss, logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
    """What training would see, a loss that remembers being left as it was."""
    return copy.deepcopy(loss).of_batch(logits, labels, index)


def slopes(loss: Loss, logits: Tensor, labels: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """The losses (B,) and the gradient of their sum."""
    logits = logits.detach().requires_grad_()
    out = values(loss, logits, labels, index)
    return out.detach(), torch.autograd.grad(out.sum(), logits)[0]


# --- every leaf ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [*LEAVES, *VARIANTS])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_give_the_float32_loss_of_their_values(words: str, dtype: torch.dtype) -> None:
    loss = bound(words)
    logits, labels, index = draw(loss)
    half, gradient = slopes(loss, logits.to(dtype), labels, index)
    assert half.shape == (B,)
    assert half.dtype == torch.float32
    whole, expected = slopes(loss, logits.to(dtype).float(), labels, index)
    assert torch.equal(half, whole)
    torch.testing.assert_close(gradient, expected.to(dtype))
    assert (gradient != 0).any()


@pytest.mark.parametrize("words", [*LEAVES, *VARIANTS])
@pytest.mark.parametrize("gap", [0.0, 1.0, 120.0, 1e4])
def test_value_and_gradient_are_finite_at_any_gap(words: str, gap: float) -> None:
    """p underflows at a gap of 104, where p ** q would give NaN; in some rows a third class stands between."""
    loss = bound(words)
    labels = torch.arange(B) % K
    favourite = (labels + torch.arange(B) // K) % K  # the label itself in the first K samples, another in the rest
    logits = gap * F.one_hot(favourite, K).float()
    logits[::3, 0] -= gap / 2
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        for found in slopes(loss, logits.repeat(outputs(loss), 1).to(dtype), labels, torch.arange(B)):
            assert found.isfinite().all()


@pytest.mark.parametrize("words", [*LEAVES, *VARIANTS])
def test_the_gradient_sums_to_0_over_classes(words: str) -> None:
    loss = bound(words)
    logits, labels, index = draw(loss)
    gradient = slopes(loss, logits, labels, index)[1]  # softmax does not change when all logits move together
    if words not in NOT_OF_SOFTMAX:
        torch.testing.assert_close(gradient.sum(1), torch.zeros(len(logits), dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("words", [*(name for name in LEAVES if name not in CHOOSES), "co_teaching loss.forget_rate=0"])
def test_a_sample_s_loss_depends_on_nothing_else_in_the_batch(words: str) -> None:
    loss = bound(words)
    logits, labels, index = draw(loss)
    whole = values(loss, logits, labels, index)
    order = torch.randperm(B, generator=torch.Generator().manual_seed(1))
    for some in (order, torch.arange(3)):
        picked = logits.unflatten(0, (outputs(loss), B))[:, some].flatten(0, 1)
        torch.testing.assert_close(values(loss, picked, labels[some], index[some]), whole[some])


@pytest.mark.parametrize("name", LEAVES)
def test_losses_over_all_labels_sum_to_a_constant_just_where_the_loss_is_symmetric(name: str) -> None:
    loss = bound(name)
    logits, labels, index = draw(loss)
    total = torch.stack([values(loss, logits, torch.full_like(labels, y), index) for y in range(K)]).sum(0)
    assert ((total.max() - total.min()) / total.mean() < 1e-9) == (name in SYMMETRIC)


@pytest.mark.parametrize("name", [name for name in LEAVES if name not in ("elr", "elr_plus", "sop", "tgce")])
def test_reductions_are_those_of_torch(name: str) -> None:
    loss = bound(name)
    logits, labels, index = draw(loss)
    each = values(loss, logits, labels, index)
    for reduction, expected in (("none", each), ("sum", each.sum()), ("mean", each.mean())):
        loss.reduction = reduction
        assert torch.equal(loss(logits, labels), expected)


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
        special = {"loss.k": 0.1, "loss.b": 0.5, "loss.anchor": "max", "loss.above": 6}
        special |= {"loss.gradual": 2 * LATE, "loss.warm_up": 2 * LATE, "loss.lam_ramp": 2}
        if value is None:
            return True if key.endswith("detached") else 0.1  # clip, forget_rate
        if key in special:
            return special[key]
        return value + 1 if isinstance(value, int) else 0.9 * value

    tree = {leaf: settings.resolved(settings.compose(["data=digits", f"loss={leaf}"]))["loss"] for leaf in LEAVES}
    found = [(leaf, key, value) for leaf in LEAVES for key, value in walk(tree[leaf], "loss")]
    # In another run; in what is drawn; in the gradient; in how fast the loss or a teacher learns; of mixed labels.
    elsewhere = (".source.", "loss.alpha", "detached", "loss.start", "loss.lr_", "loss.gamma", "loss.ramp", "reweight")
    return [(leaf, key, other(key, value)) for leaf, key, value in found if not any(e in key for e in elsewhere)]


@pytest.mark.parametrize(("leaf", "key", "other"), _parameters())
def test_every_parameter_changes_the_value_and_is_checked_under_its_key(leaf: str, key: str, other: Any) -> None:
    one, two = bound(leaf), bound(f"{leaf} {key}={other}")
    logits, labels, index = draw(one)
    for each in (one, two):
        each.observe(logits.flip(0), index)
    results = [
        x(logits, labels, keep=x.keep(logits, labels))
        if isinstance(x, losses.TruncatedGCE)
        else values(x, logits, labels, index).mean()
        for x in (one, two)
    ]
    assert abs(results[0] - results[1]) > 1e-6
    with pytest.raises(ConfigError, match=f"{key}=nan: {key} must be (a number in|an integer in|one of)"):
        settings.read(settings.compose([f"loss={leaf}", f"{key}=nan"]))


def test_few_losses_ask_training_for_more_than_logits() -> None:
    made = {name: bound(name) for name in LEAVES}
    assert [name for name, loss in made.items() if loss.prunes] == ["tgce"]
    assert [name for name, loss in made.items() if loss.views > 1] == ["gjs"]
    assert [name for name, loss in made.items() if loss.networks > 1] == sorted(CHOOSES | {"elr_plus"})
    assert [name for name, loss in made.items() if loss.mixup] == ["elr_plus", "mixup"]
    for asked in ("ensemble", "mixes_labels"):
        assert [name for name, loss in made.items() if getattr(loss, asked)] == ["elr_plus"]
    assert [name for name, loss in made.items() if loss.teacher_decay() is not None] == ["elr_plus"]
    assert [name for name, loss in made.items() if loss.source] == STARTS_FROM_CE


# --- what all share ---------------------------------------------------------------------------------------------------


def test_an_own_loss_needs_nothing_but_its_formula() -> None:
    class Brier(Loss):
        def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
            return (logits.softmax(1) - F.one_hot(labels, logits.shape[1])).square().sum(1)

    assert Brier()(logits_of(0.25), FIRST).item() == pytest.approx(2 * 0.75**2)
    assert repr(losses.GCE(0.7)) == "GCE(q=0.7, reduction='mean', ignore_index=None)"


def test_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(Invalid, match="one of mean, sum, none"):
        losses.CE(reduction="average")


def test_log_softmax_keeps_float64_and_lifts_the_rest_to_float32() -> None:
    for given, got in ((torch.float64, torch.float64), (torch.float16, torch.float32), (torch.bfloat16, torch.float32)):
        assert log_softmax(torch.zeros(1, 2, dtype=given)).dtype == got


def test_log_p_and_its_gradient_are_gather_s_bits() -> None:
    """gather's deterministic backward pass is slow on a GPU; on the CPU its replacement must not change a number."""
    for dtype in (torch.float32, torch.float64):
        logits, labels, _ = draw(losses.CE())
        one, two = (logits.to(dtype).requires_grad_() for _ in range(2))
        weight = torch.linspace(-1, 1, B, dtype=dtype)
        log_py, gathered = log_p(one, labels), log_softmax(two).gather(1, labels[:, None])[:, 0]
        assert torch.equal(log_py, gathered)
        (log_py @ weight).backward()
        (gathered @ weight).backward()
        assert torch.equal(one.grad, two.grad)  # type: ignore[arg-type]


# --- recommended values and sums --------------------------------------------------------------------------------------


def _loss_config(*overrides: str) -> dict[str, Any]:
    return settings.resolved(settings.compose(overrides))["loss"]


def test_recommended_values_follow_the_data_set_and_the_command_line_wins() -> None:
    assert [_loss_config("loss=sce", f"data={d}")["a"] for d in ("cifar10", "cifar100")] == [0.1, 6]
    second = _loss_config("loss=nce_agce", "data=cifar100")["second"]
    assert second == {"name": "agce", "_target_": "noisygce.losses.AGCE", "a": 1.8, "q": 3}
    assert _loss_config("loss=sce", "data=cifar100", "loss.a=2", "loss.second.A=-4")["a"] == 2


@pytest.mark.parametrize("name", [name for name in LEAVES if isinstance(bound(name), losses.WeightedSum)])
def test_a_weighted_sum_is_the_sum_of_its_parts(name: str) -> None:
    loss = bound(f"{name} loss.a=2 loss.b=3")
    assert isinstance(loss, losses.WeightedSum)
    logits, labels, index = draw(loss)
    parts = 2 * loss.first.per_sample(logits, labels) + 3 * loss.second.per_sample(logits, labels)
    assert torch.equal(loss.of_batch(logits, labels, index), parts)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("+loss.second.q=4", r"loss\.second\.q=4: RCE has no such value"),
        ("loss.second._target_=noisygce.noise.Pair", r"loss\.second\._target_.*subclass of noisygce\.losses\.Loss"),
    ],
)
def test_what_a_part_has_not_is_refused_under_its_own_key(overrides: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settings.read(settings.compose(["loss=sce", overrides]))


def test_a_sum_takes_only_parts_that_it_can_train() -> None:
    two, mixed = losses.JoCoR(0.4, 10, 0.9), losses.Mixup(8, CE)

    class Taught(losses.CE):
        def teacher_decay(self) -> Tensor:
            return torch.tensor(0.9)

    for part in (losses.TruncatedGCE(0.7, 0.5), losses.GJS(0.5), losses.ForwardHat("q97", CE), two, mixed, Taught()):
        with pytest.raises(ValueError, match="neither prunes"):
            losses.WeightedSum(1, 1, CE, part)
    with pytest.raises(ValueError, match="such as ce"):
        losses.ForwardHat("q97", MAE)


def test_mixed_images_are_no_samples_to_remember() -> None:
    elr = losses.ELR(lam=3, b=0.7)
    for part in (elr, losses.WeightedSum(1, 1, CE, elr), losses.LogitClip(1, 1, elr)):
        with pytest.raises(Invalid, match="of must be a loss that remembers no samples"):
            losses.Mixup(8, part)
    losses.Mixup(8, losses.WeightedSum(1, 1, CE, MAE))


def test_a_sum_passes_state_and_transition_on_to_its_parts() -> None:
    both = losses.WeightedSum(1, 2, losses.Forward(), losses.ELR(lam=3, b=0.7))
    both.bind(samples=N, classes=K, device="cpu", transition=T)
    assert list(both.state()) == ["second.targets"]
    logits, labels, index = draw(both)
    apart = losses.ELR(lam=3, b=0.7)
    apart.bind(samples=N, classes=K, device="cpu")
    expected = both.first.per_sample(logits, labels) + 2 * apart.of_batch(logits, labels, index)
    assert torch.equal(both.of_batch(logits, labels, index), expected)


# --- numbers, limits and closed forms ---------------------------------------------------------------------------------

CE, MAE = losses.CE(), losses.MAE()
HALF_MAE = losses.WeightedSum(0.5, 0, MAE, CE)
FIRST = torch.tensor([0])


def logits_of(*probabilities: float) -> Tensor:
    """One row of logits a probability p: softmax gives (p, 1 - p)."""
    return torch.tensor([[math.log(p), math.log(1 - p)] for p in probabilities], dtype=torch.float64)


LN2 = math.log(2)
NUMBERS = [  # p = (1/2, 1/4, 1/4), given label 1: p_y = 1/4
    (losses.CE(), 2 * LN2),
    (losses.MAE(), 1.5),  # |1/2| + |1 - 1/4| + |1/4|
    (losses.GCE(0.5), 1.0),  # (1 - 1/2) / (1/2)
    (losses.GCE(1), 0.75),
    (losses.BootstrapSoft(0.5), 0.5 * 2 * LN2 + 0.5 * 1.5 * LN2),  # entropy of p: 3/2 ln 2
    (losses.BootstrapHard(0.5), 0.5 * 2 * LN2 + 0.5 * LN2),
    (losses.LabelSmoothing(0.3), 0.7 * 2 * LN2 + 0.3 * 5 / 3 * LN2),
    (losses.Focal(2), 9 / 16 * 2 * LN2),
    (losses.RCE(-4), 3),
    (losses.NCE(), 2 / 5),
    (losses.AGCE(0.75, 2), (1.75**2 - 1) / 2),
    (losses.PHuber(2), 1.5 - 1 + LN2 - 0.5 + 0.5),  # -2/4 + ln 2 + 1
    (losses.Taylor(2), 3 / 4 + 9 / 32),
    (losses.BiTempered(0, 1), 0.75 - (1 - 6 / 16) / 2),  # log_0 x = x - 1
    (losses.NFL(1), (3 / 4 * 2) / (1 / 2 + 2 * 3 / 4 * 2)),  # in units of ln 2
    (losses.NGCE(0.5), 0.5 / (3 - 0.5**0.5 - 1)),
    (losses.AUL(3, 2), (2.75**2 - 4) / 2),
    (losses.AEL(0.25), math.exp(-1)),
    (losses.PHuberGCE(0.5, 2), 2 * (0.25 - 0.25) + (1 - 0.5) / 0.5),  # p_y = s = 2^-2, where the pieces meet
    (losses.PHuberGCE(0.5, 1.5), 1.5 * (4 / 9 - 1 / 4) + (1 - 2 / 3) / 0.5),  # s = (2/3)^2
    (losses.EpsSoftmaxCE(3, 0), math.log(16)),  # (1/4) / 4
    (losses.EpsSoftmaxCE(3, 0.1), math.log(10)),
]


@pytest.mark.parametrize(("loss", "value"), NUMBERS, ids=[repr(loss) for loss, _ in NUMBERS])
def test_a_number_that_a_reader_can_check(loss: Loss, value: float) -> None:
    logits = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64).log()
    assert loss.per_sample(logits, torch.tensor([1])).item() == pytest.approx(value, abs=1e-12)


def _beyond(loss: Loss, **values: float) -> Loss:
    """The loss with values that its constructor refuses, as too close to a limit for float32."""
    vars(loss).update(values)
    return loss


class Torch(Loss):
    """torch's own cross entropy."""

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, reduction="none")


LIMITS = [
    ("ce is torch's", CE, Torch()),
    ("gce, q -> 0, is ce", losses.GCE(1e-9), CE),
    ("gce, q = 1, is mae / 2", losses.GCE(1), HALF_MAE),
    ("taylor, t = 1, is mae / 2", losses.Taylor(1), HALF_MAE),
    ("focal, g = 0, is ce", losses.Focal(0), CE),
    ("label_smoothing, s = 0, is ce", losses.LabelSmoothing(0), CE),
    ("bootstrap_soft, b = 1, is ce", losses.BootstrapSoft(1), CE),
    ("bootstrap_hard, b = 1, is ce", losses.BootstrapHard(1), CE),
    ("bi_tempered, t1 = t2 = 1, is ce", losses.BiTempered(1, 1), CE),
    ("bi_tempered, t1 = 1, t2 -> 1, is ce", losses.BiTempered(1, 1 + 1e-9), CE),
    ("rce is -A / 2 mae", losses.RCE(-4), losses.WeightedSum(2, 0, MAE, CE)),
    ("agce, q = 1, is mae / 2", losses.AGCE(3, 1), HALF_MAE),
    ("agce, a -> 0, is gce", _beyond(losses.AGCE(1, 0.7), a=1e-12), losses.GCE(0.7)),
    ("js, pi -> 0, is ce", _beyond(losses.JS(0.5), pi=1e-7), CE),
    ("phuber, t -> inf, is ce", losses.PHuber(1e6), CE),
    ("nfl, g = 0, is nce", losses.NFL(0), losses.NCE()),
    ("ngce, q -> 0, is nce", losses.NGCE(1e-9), losses.NCE()),
    ("ngce, q = 1, is mae / 2 (K - 1)", losses.NGCE(1), losses.WeightedSum(0.5 / (K - 1), 0, MAE, CE)),
    ("aul, q = 1, is mae / 2", losses.AUL(3, 1), HALF_MAE),
    ("phuber_gce, t -> inf, is gce", losses.PHuberGCE(0.7, 1e6), losses.GCE(0.7)),
    ("phuber_gce, q -> 0, is phuber", losses.PHuberGCE(1e-9, 4), losses.PHuber(4)),
    ("ce_eps, m = 0, is ce", losses.EpsSoftmaxCE(0, 0), CE),
    ("ce_lc of short logits is ce", losses.LogitClip(100, 100, CE), CE),
    ("sce, b = 0, is a ce", losses.WeightedSum(1, 0, CE, losses.RCE(-4)), CE),
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
    taylor = [_gap(losses.Taylor(t), CE) for t in (2, 10, 100)]
    js = [_gap(_beyond(losses.JS(0.5), pi=1 - eps), HALF_MAE) for eps in (1e-2, 1e-6, 1e-15)]
    for gaps in (taylor, js):
        assert gaps[0] > 2 * gaps[1] > 4 * gaps[2]
        assert gaps[2] < 0.05


@pytest.mark.parametrize("q", [0.05, 0.3, 0.7, 1.0])
def test_gce_is_the_formula_of_the_paper_and_weighs_the_gradient_of_ce_by_p_to_the_q(q: float) -> None:
    """Zhang & Sabuncu 2018, eq. 6 and section 3.2."""
    logits, labels, index = draw(CE)
    p = logits.softmax(1)[torch.arange(B), labels]
    value, gradient = slopes(losses.GCE(q), logits, labels, index)
    torch.testing.assert_close(value, (1 - p**q) / q, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(gradient, p[:, None] ** q * slopes(CE, logits, labels, index)[1], rtol=1e-12, atol=1e-15)


def test_gce_tends_to_cross_entropy_as_q_falls_and_keeps_its_digits_in_float32() -> None:
    """L_q = -log p - q (log p)^2 / 2 + ...: the gap to cross entropy shrinks in proportion to q."""
    logits, labels, _ = draw(CE, scale=1.0)
    ce = CE.per_sample(logits, labels)
    for q in (1e-3, 1e-6, 1e-9):
        gce = losses.GCE(q).per_sample(logits, labels)
        torch.testing.assert_close(ce - gce, q * ce**2 / 2, rtol=0.02, atol=1e-14)
        rounded = losses.GCE(q).per_sample(logits.float(), labels)
        torch.testing.assert_close(rounded.double(), gce, rtol=1e-5, atol=1e-7)


def test_values_at_a_large_gap_are_the_limits() -> None:
    logits = torch.tensor([[0.0, 1e4]])
    assert CE(logits, FIRST).item() == 1e4
    assert MAE(logits, FIRST).item() == 2
    assert losses.GCE(0.7)(logits, FIRST).item() == pytest.approx(1 / 0.7)
    assert losses.BiTempered(0.8, 1.2)(logits, FIRST).item() <= 1 / 0.2


# --- what public code computes, where docs/differences.md says that it is another thing ------------------------------


def keras(p: Tensor) -> Tensor:
    return p.clamp(1e-7, 1 - 1e-7)


def one_hot(labels: Tensor) -> Tensor:
    return F.one_hot(labels, K).double()


def smoothed(p: Tensor, y: Tensor) -> Tensor:
    """The SCE code: eps = 0.1, targets y (1 - eps - eps / 10) + eps / 10, which sum to 0.99 for K = 10."""
    targets = one_hot(y) * (1 - 0.1 - 0.01) + 0.01
    assert targets.sum(1).allclose(torch.tensor(0.99).double())
    return -(targets * p.log()).sum(1)


def detached_focal(p: Tensor) -> Tensor:
    """The focal loss of the APL code under each label, g = 0.5."""
    return -((1 - p.detach()) ** 0.5) * p.log()


def bound_to(loss: Loss) -> Loss:
    loss.bind(samples=N, classes=K, device="cpu", transition=T)
    return loss


T_ = torch.from_numpy(T)
PUBLIC = {  # the value here, the same without it, the definition there of (p, labels)
    "forward": (losses.Forward(clip=1e-7), losses.Forward(), lambda p, y: -(keras(p) @ T_ * one_hot(y)).sum(1).log()),
    "backward": (
        losses.Backward(clip=1e-7),
        losses.Backward(),
        lambda p, y: -(one_hot(y) @ T_.inverse() * keras(p).log()).sum(1),
    ),
    "bootstrap_soft": (
        losses.BootstrapSoft(0.95, clip=1e-7),
        losses.BootstrapSoft(0.95),
        lambda p, y: -((0.95 * one_hot(y) + 0.05 * keras(p)) * keras(p).log()).sum(1),
    ),
    "bootstrap_hard": (
        losses.BootstrapHard(0.8, clip=1e-7),
        losses.BootstrapHard(0.8),
        lambda p, y: -((0.8 * one_hot(y) + 0.2 * one_hot(p.argmax(1))) * keras(p).log()).sum(1),
    ),
    "sce": (
        losses.WeightedSum(0.1, 1, losses.CE(clip=1e-7), losses.RCE(math.log(1e-4))),
        losses.WeightedSum(0.1, 1, CE, losses.RCE(math.log(1e-4))),
        lambda p, y: (
            0.1 * -(one_hot(y) * p.clamp(min=1e-7).log()).sum(1) - (p * one_hot(y).clamp(1e-4, 1).log()).sum(1)
        ),
    ),
    "mae, reduced": (HALF_MAE, MAE, lambda p, y: 1 - (one_hot(y) * p).sum(1)),
    "label_smoothing": (
        losses.WeightedSum(0.99, 0, losses.LabelSmoothing(0.1 / 0.99), CE),
        losses.LabelSmoothing(0.1),
        smoothed,
    ),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_the_value_here_gives_what_public_code_computes(name: str) -> None:
    here, without, there = PUBLIC[name]
    logits, labels, index = draw(CE, scale=12.0)
    assert (logits.softmax(1) < 1e-7).any()
    value, gradient = slopes(bound_to(here), logits, labels, index)
    logits.requires_grad_()
    expected = there(logits.softmax(1), labels)
    # forward keeps T in float32; the SCE code clips from below only, which is 0.1 * 1e-7 at most.
    tolerance = {"forward": 1e-6, "sce": 2e-8}.get(name, 1e-9)
    torch.testing.assert_close(value, expected.detach(), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.sum(), logits)[0], rtol=tolerance, atol=tolerance)
    assert (slopes(bound_to(without), logits, labels, index)[0] - value).abs().max() > 0.1


def test_label_smoothing_of_the_sce_code_is_nearly_twice_as_large_for_100_classes() -> None:
    logits = torch.randn(8, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    targets = F.one_hot(torch.arange(8), 100) * 0.89 + 0.01  # they sum to 1.89
    here = 1.89 * losses.LabelSmoothing(1 / 1.89).per_sample(logits, torch.arange(8))
    torch.testing.assert_close(here, -(targets * logits.log_softmax(1)).sum(1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("loss", "share"), [(losses.Focal, False), (losses.NFL, True)])
def test_focal_losses_have_the_gradient_of_public_code_if_their_weights_are_detached(loss, share: bool) -> None:
    logits, labels, index = draw(CE)
    found = {flag: slopes(loss(0.5, detached=flag), logits, labels, index) for flag in (None, True)}
    logits.requires_grad_()
    each = detached_focal(logits.softmax(1))
    expected = (one_hot(labels) * each).sum(1) / (each.sum(1) if share else 1)
    gradient = torch.autograd.grad(expected.sum(), logits)[0]
    for value, _ in found.values():
        torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(found[True][1], gradient)
    assert not torch.allclose(found[None][1], gradient, rtol=1e-2)


def test_a_value_that_came_later_leaves_ids_and_old_configs_as_they_were() -> None:
    plain, given = (settings.resolved(settings.compose(["loss=sce", *more])) for more in ([], ["loss.first.clip=1e-7"]))
    assert plain["loss"]["first"]["clip"] is None
    first = runs.identity(plain)["loss"]["first"]
    assert "clip" not in first
    assert runs.identity(given)["loss"]["first"] == first | {"clip": 1e-7}
    old = settings.node({**plain, "loss": runs.identity(plain)["loss"]})
    assert settings.read(old).loss.first.clip is None  # type: ignore[attr-defined]


# --- the truncated loss -----------------------------------------------------------------------------------------------

LOSS = losses.TruncatedGCE(q=0.7, k=0.5, reduction="none")
CEILING = (1 - 0.5**0.7) / 0.7  # L_q(k)


def test_keep_is_p_above_k_strictly() -> None:
    # softmax(0, 0) is 1/2 exactly, which does not exceed k = 1/2.
    logits = torch.tensor([[0.0, 0.0], [1e-3, 0.0], [-1e-3, 0.0]], requires_grad=True)
    keep = LOSS.keep(logits, torch.zeros(3, dtype=torch.int64))
    assert keep.tolist() == [False, True, False]
    assert keep.dtype == torch.bool


@pytest.mark.parametrize("keep", [None, [False, True, False, True]], ids=["solved here", "from another time"])
def test_truncated_loss_is_constant_without_gradient_where_pruned_and_gce_where_kept(keep: list[bool] | None) -> None:
    """Solved from these very logits, or taken as given, as in the alternating form."""
    logits, labels = logits_of(0.05, 0.499, 0.501, 0.95).requires_grad_(), torch.zeros(4, dtype=torch.int64)
    given = LOSS.keep(logits, labels) if keep is None else torch.tensor(keep)
    kept = torch.tensor(keep or [False, False, True, True])
    found = LOSS(logits, labels, keep=given)
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    gce, slope = slopes(losses.GCE(0.7), logits, labels, labels)
    assert torch.equal(found[kept], gce[kept])
    assert torch.equal(gradient[kept], slope[kept])
    assert found[~kept].tolist() == pytest.approx([CEILING] * 2, rel=1e-15)
    assert (gradient[~kept] == 0).all()


def test_the_own_kept_set_minimises_the_loss_over_all_kept_sets() -> None:
    """Eq. 12 of the paper: w_i = 1[p > k] minimises w L_q(p) + (1 - w) L_q(k) in each sample."""
    logits, labels, _ = draw(LOSS, scale=1.0)
    loss = losses.TruncatedGCE(0.7, 0.15, reduction="none")
    solved = loss(logits, labels, keep=loss.keep(logits, labels))
    kept, pruned = (loss(logits, labels, keep=torch.full((B,), w)) for w in (True, False))
    assert torch.equal(solved, torch.minimum(kept, pruned))
    assert not torch.equal(solved, kept)
    assert not torch.equal(solved, pruned)


def test_the_truncated_loss_asks_for_its_kept_set() -> None:
    """Without one a fresh network would get gradient 0 and no message."""
    logits = torch.zeros(3, 10, requires_grad=True)
    with pytest.raises(TypeError, match=r"give keep \(B,\), bool.*criterion\.keep"):
        losses.TruncatedGCE(0.7, 0.5)(logits, torch.zeros(3).long())


# --- single losses ----------------------------------------------------------------------------------------------------


def test_phuber_and_its_slope_are_continuous_where_the_pieces_meet() -> None:
    t = 4.0
    value, gradient = slopes(losses.PHuber(t), logits_of(1 / t - 1e-9, 1 / t + 1e-9), torch.zeros(2).long(), FIRST)
    torch.testing.assert_close(value[0], value[1], rtol=0, atol=1e-7)
    torch.testing.assert_close(gradient[0], gradient[1], rtol=0, atol=1e-7)
    assert value[0].item() == pytest.approx(math.log(t), abs=1e-6)


def test_ael_tends_to_mae_but_for_a_constant() -> None:
    """a exp(-p_y / a) - a + 1 = 1 - p_y + O(1 / a)."""
    logits, labels, _ = draw(CE)
    for a in (10.0, 1000.0):
        shifted = a * losses.AEL(a).per_sample(logits, labels) - a + 1
        torch.testing.assert_close(shifted, HALF_MAE.per_sample(logits, labels), rtol=0, atol=0.51 / a)


def test_clipped_logits_keep_their_direction_and_bound_the_loss() -> None:
    loss = losses.LogitClip(2, 2, CE)
    logits = torch.tensor([[3.0, 4.0], [0.3, 0.4], [-3e4, 4e4]], dtype=torch.float64)  # norms 5, 0.5, 5e4
    expected = torch.tensor([[1.2, 1.6], [0.3, 0.4], [-1.2, 1.6]], dtype=torch.float64)
    labels = torch.zeros(3).long()
    torch.testing.assert_close(loss.per_sample(logits, labels), CE.per_sample(expected, labels))
    enlarged = losses.LogitClip(2, 0.5, CE)  # the authors' code: shorter than delta, longer than 1 / delta
    torch.testing.assert_close(enlarged(logits[1:2] * 2, FIRST), CE(expected[:1], FIRST))


def test_backward_is_right_on_average_over_the_noise() -> None:
    """Patrini et al. 2017, theorem 1: sum_z T[y, z] loss(z) is the cross entropy with y."""
    loss = bound("backward")
    logits, labels, _ = draw(loss)
    each = torch.stack([loss.per_sample(logits, torch.full_like(labels, z)) for z in range(K)], 1)
    torch.testing.assert_close((torch.from_numpy(T)[labels] * each).sum(1), CE.per_sample(logits, labels))
    with pytest.raises(ConfigError, match="T has no inverse"):
        loss.bind(samples=N, classes=K, device="cpu", transition=np.full((K, K), 1 / K))


def test_ldr_kl_is_the_formula_and_stays_finite_where_softplus_underflows() -> None:
    loss = losses.LDRKL(lam=2.0, c=0.1)
    logits, labels, index = draw(loss, scale=5.0)
    s = F.softplus(logits, threshold=100)
    s = K * s / s.sum(1, keepdim=True)
    margin = 0.1 * (1 - F.one_hot(labels, K).double())
    terms = ((s - s[torch.arange(B), labels][:, None] + margin) / 2).exp().mean(1)
    torch.testing.assert_close(loss.per_sample(logits, labels), 2 * terms.log(), rtol=1e-9, atol=1e-12)
    low = (logits - 1e3).float()
    assert all(found.isfinite().all() and (found != 0).any() for found in slopes(loss, low, labels, index))


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
@pytest.mark.parametrize(
    ("classes", "scale"), [(2, 1), (10, 0), (10, 5), (100, 1), (100, 30), (100, 1e4), (1000, 0), (1000, 3)]
)
def test_tempered_softmax_equals_a_bisection(t: float, classes: int, scale: float) -> None:
    a = scale * np.random.default_rng(0).standard_normal((8, classes))
    low, high = a.max(1) - 1e-9, a.max(1) + 1e9
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


@pytest.mark.parametrize(("t1", "there"), [(0.5, True), (0.8, False)])
def test_bi_tempered_has_the_gradient_of_the_authors_but_where_that_is_infinite(t1: float, there: bool) -> None:
    """Theirs is (d - e sum d), d = (p - e_y) p^(t2 - t1), e = p^t2 / sum p^t2: with p_y = 0 infinite if t2 < t1."""
    logits = torch.tensor([[0.0, 6.0, 5.0]], dtype=torch.float64)
    p = tempered_log_softmax(logits, 0.7).exp()
    p = p.where(p > 1e-6, 0)
    assert p[0, 0] == 0
    gradient = slopes(losses.BiTempered(t1, 0.7), logits, FIRST, FIRST)[1]
    d = (p - torch.tensor([1.0, 0, 0])) * p ** (0.7 - t1)
    e = p**0.7 / (p**0.7).sum()
    assert gradient.isfinite().all()
    assert (gradient[0, 1:].abs() > 0.01).all()
    assert torch.allclose(gradient, d - e * d.sum(), atol=1e-9) == there


def test_forward_is_cross_entropy_of_p_times_t() -> None:
    loss = bound("forward")
    logits, labels, _ = draw(loss)
    naive = -(logits.softmax(1) @ torch.from_numpy(T)).gather(1, labels[:, None])[:, 0].log()
    torch.testing.assert_close(loss.per_sample(logits, labels), naive, rtol=1e-6, atol=1e-6)
    loss.bind(samples=N, classes=K, device="cpu", transition=np.eye(K))
    torch.testing.assert_close(loss.per_sample(logits, labels), CE.per_sample(logits, labels))


def test_forward_hat_reports_where_its_matrix_is_from_and_how_far_from_the_true_one() -> None:
    said = bound("forward_hat loss.anchor=max").report()["transition_hat"]
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
    p = second.softmax(1)
    t = 0.7 * 0.3 * first.softmax(1) + 0.3 * p  # no p is near the clamp here
    torch.testing.assert_close(loss.state()["targets"][index], t)
    assert not loss.state()["targets"][[0, 2, 3]].any()
    torch.testing.assert_close(out, CE.per_sample(second, labels) + 3 * (1 - (p * t).sum(1)).log())


def test_sop_adds_and_takes_what_it_has_learned_of_the_label() -> None:
    """p = (1/2, 1/4, 1/4), given label 1, u^2 = 1/2, v^2 = (1/4, ., 1/8): q ~ (1/4, 3/4, 1/8)."""
    loss = losses.SOP()
    loss.bind(samples=3, classes=3, device="cpu")
    loss.state()["u"][2] = math.sqrt(0.5)
    loss.state()["v"][2] = torch.tensor([0.25, 9.0, 0.125]).sqrt()
    logits = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64).log()
    squares = (1 - 0.25) ** 2 + (0.5 - 1) ** 2 + 0.125**2
    value = loss.of_batch(logits, torch.tensor([1]), torch.tensor([2]))
    assert value.item() == pytest.approx(-math.log(6 / 9) + squares, rel=1e-6)
    fresh = loss.of_batch(logits, torch.tensor([0]), torch.tensor([0]))  # nothing is learned yet: ce, and no distance
    assert fresh.item() == pytest.approx(LN2, rel=1e-6)


def test_sop_learns_u_by_both_terms_and_v_by_the_distance_alone() -> None:
    loss = losses.SOP()
    loss.bind(samples=1, classes=2, device="cpu")
    loss.state()["u"].fill_(0.1)
    loss.state()["v"].fill_(0.2)
    logits = torch.tensor([[0.75, 0.25]], dtype=torch.float64).log()
    loss.of_batch(logits, torch.tensor([1]), torch.tensor([0])).sum().backward()
    u, v = (each.tensor.grad for each in loss.learned().values())
    # q = (0.71, 0.26) / 0.97; d(-log q_1)/dU = -1/0.26 + 1/0.97; distance: (1 - V)^2 + (U - 1)^2
    assert u.item() == pytest.approx((-1 / 0.26 + 1 / 0.97 + 2 * (0.01 - 1)) * 2 * 0.1, rel=1e-5)  # type: ignore[union-attr]
    assert v.tolist()[0] == pytest.approx([-2 * (1 - 0.04) * 2 * 0.2, 0], rel=1e-5)  # type: ignore[union-attr]
