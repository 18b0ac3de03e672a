"""Estimates of the rate and of T: against closed forms, a plain loop, cleanlab, and the truth of simulated beliefs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noisygce import losses, runs, settings, train
from noisygce.errors import ConfigError, ManifestError
from noisygce.losses.forward import ESTIMATES, transition_error
from noisygce.noise import corrupt
from noisygce.training import estimates

K = 5
PAIR = 0.7 * np.eye(K) + 0.3 * np.roll(np.eye(K), 1, axis=1)
UNIFORM = 0.5 * np.eye(K) + 0.5 / K


def believed(transition: Any, n: int = 4000, doubt: float = 1.0, seed: int = 0) -> tuple[Any, Any, Any]:
    """p (n, K) near the posterior of the given labels, given and true labels (n,)."""
    g = np.random.default_rng(seed)
    true = g.integers(0, K, n)
    own = np.eye(K)[true] * 6 + doubt * g.standard_normal((n, K))
    clean = np.exp(own) / np.exp(own).sum(1, keepdims=True)
    return clean @ transition, corrupt(true, transition, seed), true


def test_a_joint_that_a_reader_can_count() -> None:
    """Thresholds: of class 0 (0.9 + 0.2) / 2 = 0.55, of class 1 (0.7 + 0.6 + 0.2) / 3 = 0.5."""
    p1 = np.array([0.1, 0.8, 0.7, 0.6, 0.2])
    given = np.array([0, 0, 1, 1, 1])
    joint = estimates.confident_joint(np.stack([1 - p1, p1], 1), given)
    # One given 0 is counted as 0, one as 1; of those given 1 two as 1, one as 0; shares of given labels 2/5, 3/5.
    np.testing.assert_allclose(joint, [[0.2, 0.2], [0.2, 0.4]])
    np.testing.assert_allclose(estimates.transition_of(joint), [[0.5, 0.5], [1 / 3, 2 / 3]])


def test_the_joint_is_the_paper_s_definition_written_as_a_loop() -> None:
    p, given, _ = believed(UNIFORM, n=300, doubt=3)
    threshold = [p[given == j, j].mean() for j in range(K)]
    counts = np.zeros((K, K))
    for row, z in zip(p, given, strict=True):
        above = [j for j in range(K) if row[j] >= threshold[j]]
        if above:
            counts[z, max(above, key=lambda j: row[j])] += 1
    expected = np.stack([counts[z] / counts[z].sum() * np.mean(given == z) for z in range(K)])
    assert 0 < counts.sum() < 300
    np.testing.assert_allclose(estimates.confident_joint(p, given), expected, rtol=1e-12)


def test_the_joint_is_cleanlab_s() -> None:
    """But for samples whose likeliest class is none of two or more that are above their thresholds: cleanlab counts
    them for that class."""
    count = pytest.importorskip("cleanlab.count")
    for transition in (PAIR, UNIFORM):
        p, given, _ = believed(transition, n=2000, doubt=2)
        above = p >= [p[given == k, k].mean() for k in range(K)]
        assert ((above.sum(1) < 2) | above[np.arange(2000), p.argmax(1)]).all()
        theirs = count.compute_confident_joint(given, p, calibrate=False).astype(float)
        theirs *= (np.bincount(given) / theirs.sum(1) / len(given))[:, None]
        np.testing.assert_allclose(estimates.confident_joint(p, given), theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("transition", [PAIR, UNIFORM, np.eye(K)], ids=["pair", "uniform", "clean"])
def test_beliefs_that_are_right_give_the_rate_and_t(transition: Any) -> None:
    p, given, true = believed(transition, n=20_000)
    joint = estimates.confident_joint(p, given)
    assert 1 - joint.trace() == pytest.approx((given != true).mean(), abs=0.02)
    hats = estimates.transitions(p, given, joint)
    assert tuple(hats) == ESTIMATES
    for name, hat in hats.items():
        np.testing.assert_allclose(hat.sum(1), 1, atol=1e-12)
        if not name.startswith("dual"):
            assert transition_error(hat, transition) < 0.06, name


def test_a_class_that_no_sample_is_given_or_predicted_leaves_rows_that_sum_to_1() -> None:
    p = np.full((6, 3), 0.1) + 0.7 * np.eye(3)[[0, 0, 0, 1, 1, 1]]
    given = np.array([0, 0, 1, 1, 1, 0])
    joint = estimates.confident_joint(p, given)
    assert joint[2].sum() == 0
    assert joint.sum() == pytest.approx(1)
    assert estimates.transition_of(joint)[2].tolist() == [0, 0, 1]
    assert estimates.dual(p, given, np.eye(3))[2].tolist() == [0, 0, 1]


def test_dual_t_is_the_product_of_two_matrices_that_a_reader_can_count() -> None:
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    given = np.array([0, 1, 1])
    first = estimates.anchored(p, 1.0)
    np.testing.assert_allclose(first, [[0.9, 0.1], [0.2, 0.8]])
    second = [[0.5, 0.5], [0, 1]]  # of two predicted 0 one is given 0, the one predicted 1 is given 1
    np.testing.assert_allclose(estimates.dual(p, given, first), first @ second)


def test_rate_and_error_are_shares_that_a_reader_can_check() -> None:
    t = np.array([[0.8, 0.2], [0.4, 0.6]])
    assert estimates.rate(t) == pytest.approx(0.3)
    assert transition_error(np.eye(2), t) == pytest.approx((0.2 + 0.2 + 0.4 + 0.4) / 2)


# --- in a run


def _run(folder: Path, *overrides: str) -> Any:
    small = ["data=digits", "data.subset=300", "schedule.epochs=3", "runtime.threads=1", "runtime.device=cpu"]
    cfg = settings.compose([*small, f"paths.results={folder}", *overrides])
    run_config = runs.identity(settings.resolved(cfg))
    train.train(settings.read(cfg), run_config)
    return runs.Run(folder, run_config)


def test_a_manifest_holds_the_estimated_rate_beside_the_true_one(tmp_path: Path) -> None:
    gce, ce = (_run(tmp_path, f"loss={name}").manifest()["estimated"] for name in ("gce", "ce"))
    assert set(gce) == {"true_rate", "confident_joint"}
    assert set(ce) == {"true_rate", *ESTIMATES}
    assert 0.3 < ce["true_rate"] < 0.5
    assert all(0 <= each["rate"] < 1 and 0 <= each["t_error"] <= 2 for each in (ce[name] for name in ESTIMATES))
    assert "estimated" not in _run(tmp_path, "loss=ce", "data.validation=0").manifest()


@pytest.mark.parametrize("loss", ["co_teaching", "co_teaching_plus", "jocor"])
def test_a_forget_rate_is_that_which_a_ce_run_has_estimated(loss: str, tmp_path: Path) -> None:
    run = _run(tmp_path, f"loss={loss}", "loss.forget_rate=estimated")
    found = run.manifest()["forget_rate"]
    assert f"forget_rate=estimated {found['rate']:.4f}" in runs.messages.result(run.id, run.manifest())
    ce = _run(tmp_path, "loss=ce")  # which was trained for it
    assert len(list((tmp_path / "runs").iterdir())) == 2
    assert found == {"run_id": ce.id, "rate": round(ce.estimates()["rate"], 12)}
    assert found["rate"] == round(ce.manifest()["estimated"]["confident_joint"]["rate"], 12)


def test_the_estimated_rate_is_the_share_that_is_forgotten_in_the_end() -> None:
    loss = losses.CoTeaching("estimated", 10)
    with pytest.raises(TypeError, match="the estimated rate is missing"):
        loss.bind(samples=9, classes=K, device="cpu", transition=PAIR)
    loss.load_source_estimates("ce-run", {"rate": 0.25})
    loss.bind(samples=9, classes=K, device="cpu", transition=PAIR)
    loss.start_epoch(10)
    assert loss.state()["forgotten"].item() == 0.25


def test_an_estimated_rate_needs_validation_and_a_ce_run_that_has_one(tmp_path: Path) -> None:
    words = ["data=digits", "loss=jocor"]
    with pytest.raises(ConfigError, match="needs the model that is best on noisy"):
        settings.read(settings.compose([*words, "loss.forget_rate=estimated", "data.validation=0"]))
    with pytest.raises(ConfigError, match=r"loss\.forget_rate=guessed: loss\.forget_rate must be .*estimated or null"):
        settings.read(settings.compose([*words, "loss.forget_rate=guessed"]))
    ce = _run(tmp_path, "loss=ce")
    path = ce.folder / "manifest.json"
    path.write_text(path.read_text().replace('"estimated"', '"other"'))
    with pytest.raises(ManifestError, match="has no estimate 'rate', as runs of older code; delete it to train"):
        _run(tmp_path, "loss=jocor", "loss.forget_rate=estimated")


def test_an_older_ce_run_still_serves_forward_hat_and_is_refused_by_dual_t(tmp_path: Path) -> None:
    ce = _run(tmp_path, "loss=ce")
    manifest = ce.manifest()
    old = {name: np.array(t) for name, t in ce.transition_hat().items() if name in ("q97", "max")}
    digest = ce.write_transition_hat(old)
    path = ce.folder / "manifest.json"
    path.write_text(
        path.read_text().replace(manifest["transition_hat_sha256"], digest).replace('"estimated"', '"other"')
    )
    assert _run(tmp_path, "loss=forward_hat").manifest()["transition_hat"]["run_id"] == ce.id
    with pytest.raises(ManifestError, match="has no estimate 'dual_q97'"):
        _run(tmp_path, "loss=dual_t")


# --- losses with a T that is learned


def bound(loss: losses.Loss, transition: Any = PAIR) -> losses.Loss:
    loss.load_source_estimates("ce-run", {"q97": transition})
    loss.bind(samples=9, classes=K, device="cpu", transition=transition)
    return loss


def test_volminnet_is_forward_correction_with_its_t_and_the_logarithm_of_its_volume() -> None:
    import torch

    loss = losses.VolMinNet(lam=0.3, init=1.5)
    bound(loss)
    off = 1 / (1 + np.exp(1.5))
    t = (np.eye(K) + off * (1 - np.eye(K))) / (1 + (K - 1) * off)
    np.testing.assert_allclose(loss.log_transition().exp().detach(), t, rtol=1e-6)
    logits, labels = torch.randn(8, K, dtype=torch.float64), torch.arange(8) % K
    forward = losses.Forward()
    forward.bind(samples=9, classes=K, device="cpu", transition=t)
    expected = forward.per_sample(logits, labels) + 0.3 * np.log(np.linalg.det(t))
    torch.testing.assert_close(loss.per_sample(logits, labels), expected.detach(), rtol=1e-6, atol=1e-6)


def test_a_t_that_a_loss_in_another_one_learns_is_in_the_manifest() -> None:
    alone = bound(losses.VolMinNet())
    mixed = bound(losses.Mixup(of=losses.WeightedSum(1, 1, losses.CE(), losses.VolMinNet())))
    assert mixed.report() == alone.report() != {}


def test_t_revision_reweighs_by_p_over_the_noisy_posterior_and_learns_t_from_its_epoch_on() -> None:
    import torch

    loss = losses.TRevision("q97", start=3, lr_t=0.1)
    bound(loss, UNIFORM)
    logits, labels = torch.randn(8, K, dtype=torch.float64, requires_grad=True), torch.arange(8) % K
    p = logits.detach().softmax(1)
    b = p[range(8), labels] / (p @ torch.from_numpy(UNIFORM))[range(8), labels]
    for epoch, learns in ((2, False), (3, True)):
        loss.start_epoch(epoch)
        value = loss.per_sample(logits, labels)
        torch.testing.assert_close(value.detach(), -b * p[range(8), labels].log(), rtol=1e-6, atol=1e-6)
        (revised,) = (each.tensor for each in loss.learned().values())
        of_t, of_logits = torch.autograd.grad(value.sum(), (revised, logits))
        assert (of_t != 0).any() == learns
        # With a gradient of b too the loss would be least at p_y = 0.
        constant = b[:, None] * (p - torch.eye(K, dtype=torch.float64)[labels])
        assert torch.allclose(of_logits, constant, rtol=1e-5)


@pytest.mark.parametrize("name", ["volminnet", "t_revision"])
def test_what_a_loss_learns_is_in_the_checkpoint_and_its_error_in_the_manifest(name: str, tmp_path: Path) -> None:
    found = _run(tmp_path, f"loss={name}", *(["loss.start=1"] if name == "t_revision" else [])).manifest()
    said = found["transition_hat"]
    t = np.array(said["transition"])
    np.testing.assert_allclose(t.sum(1), 1, atol=1e-5)
    exact = np.array(found["noise"]["transition"])
    assert 0 < said["error"] <= 2
    assert said["error"] == pytest.approx(transition_error(t, exact), abs=0.2)  # of the T that was drawn from
    assert said.get("before") != said["error"]


def test_a_step_of_what_a_loss_learns_is_torch_s_sgd(make: Any) -> None:
    import copy

    import torch

    t = make("loss=volminnet", "loss.lr_t=0.5")
    network, loss = copy.deepcopy((t.network, t.loss))
    w = loss.learned()["w"].tensor
    optimizer = torch.optim.SGD([w], lr=0.5 * t.schedule.lr, momentum=0.9)
    t.step.start_epoch(0)
    for draw in t.batches()[:3]:
        network.load_state_dict(t.network.state_dict())
        optimizer.zero_grad()
        loss.of_batch(network(t.images.crop(draw)).float(), t.noisy[draw.index], draw.index).mean().backward()
        optimizer.step()
        t.step(draw)
        torch.testing.assert_close(t.loss.state()["w"], w.detach(), rtol=1e-5, atol=1e-6)
    assert {"loss.w", "loss_momentum.w"} < set(t.tensors())
