import copy

import pytest
import torch

from noisygce.losses import GCE
from noisygce.training import fit

PLAIN = ["data.padding=2", "data.flip=true", "loss=gce", "schedule.milestones=[1]"]


def by_torch(t, epochs):
    """The same steps by torch's own module, loss reduction and optimizer."""
    network, losses, norms = copy.deepcopy(t.network), [], []
    s = t.schedule
    how = {"momentum": s.momentum, "weight_decay": s.weight_decay, "nesterov": s.nesterov}
    optimizer = torch.optim.SGD(network.parameters(), lr=s.lr, **how)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, s.milestones, gamma=s.gamma)
    if s.annealing == "cosine":
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=s.epochs)
    for epoch in range(epochs):
        for draw in t.loader.epoch(epoch, t.step.kept):
            optimizer.zero_grad()
            loss = GCE(0.7)(network(t.images.crop(draw)), t.noisy[draw.index])
            loss.backward()
            if s.clip_norm:
                norms.append(torch.nn.utils.clip_grad_norm_(network.parameters(), s.clip_norm).item())
            optimizer.step()
            losses.append(loss.item())
        scheduler.step()
    return network, losses, norms


@pytest.mark.parametrize("momentum", [0.9, 0])
@pytest.mark.parametrize("weight_decay", [0.01, 0])
def test_steps_are_those_of_torch_s_sgd_over_a_fall_of_the_learning_rate(make, momentum, weight_decay):
    """Two epochs of four steps; momentum and weight decay on every parameter, lr tenfold lower in the second."""
    t = make(*PLAIN, f"schedule.momentum={momentum}", f"schedule.weight_decay={weight_decay}")
    expected, _, _ = by_torch(t, 2)
    start = copy.deepcopy(t.network)
    steps(t, 2)
    for (name, ours), theirs in zip(t.network.state_dict().items(), expected.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7, msg=name)
    moved = torch.cat(
        [(a - b).abs().flatten() for a, b in zip(t.network.parameters(), start.parameters(), strict=True)]
    )
    assert moved.max() > 1e-3  # the equality above is of something


def steps(t, epochs):
    for epoch in range(epochs):
        t.step.start_epoch(epoch)
        for draw in t.loader.epoch(epoch, t.step.kept):
            t.step(draw)


def test_steps_are_torch_s_with_a_cosine_and_clipped_gradients(make):
    """Three epochs of four steps; the norm of the gradient is above the bound in some steps and below it in others."""
    cosine = ["schedule.annealing=cosine", "schedule.milestones=[]", "schedule.epochs=3"]
    t = make("loss=gce", *cosine, "schedule.clip_norm=0.1")
    expected, _, norms = by_torch(t, 3)
    assert min(norms) < 0.1 < max(norms), norms
    steps(t, 3)
    for (name, ours), theirs in zip(t.network.state_dict().items(), expected.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6, msg=name)
    unclipped = make("loss=gce", *cosine)
    steps(unclipped, 3)
    assert not torch.allclose(unclipped.step.parameters[0], t.step.parameters[0], atol=1e-4)


def test_sums_of_an_epoch_are_the_losses_and_the_predictions_before_each_step(make):
    t = make(*PLAIN)
    _, losses, _ = by_torch(t, 1)
    said = torch.full_like(t.noisy, -1)
    t.step.start_epoch(0)
    for draw in t.batches():
        with torch.no_grad():
            said[draw.index] = copy.deepcopy(t.network)(t.images.crop(draw)).argmax(1)
        t.step(draw)
    assert t.step.steps.item() == len(losses) == 4
    assert t.step.loss_sum.item() == pytest.approx(sum(losses), rel=1e-6)
    assert torch.equal(t.step.predictions, said)
    assert ((said >= 0).nonzero().flatten() == t.train.sort().values).all()


def test_a_new_epoch_starts_its_sums_afresh_and_keeps_the_momenta(make):
    t = make(*PLAIN)
    t.step.start_epoch(0)
    t.step(t.batches()[0])
    momenta = [m.clone() for m in t.step.momenta]
    t.step.start_epoch(1)
    assert t.step.steps.item() == t.step.loss_sum.item() == 0
    assert (t.step.predictions == -1).all()
    assert t.step.lr.item() == pytest.approx(0.01)
    assert any(m.any() for m in momenta)
    assert all(torch.equal(a, b) for a, b in zip(t.step.momenta, momenta, strict=True))


def test_a_masked_sample_has_weight_0_and_counts_in_the_mean(make):
    """64 images of which 16 are kept: the gradient is that of their sum over 64, not over 16."""
    t = make("loss=tgce", "prune.mode=mask", "schedule.momentum=0", "schedule.weight_decay=0", "schedule.lr=1")
    draw = t.batches()[0]
    t.step.kept.fill_(False)
    t.step.kept[draw.index[:16]] = True
    network = copy.deepcopy(t.network)
    values = GCE(0.7, reduction="none")(network(t.images.crop(draw)), t.noisy[draw.index])
    (values[:16].sum() / 64).backward()
    before = [p.detach().clone() for p in t.network.parameters()]
    t.step.start_epoch(0)
    t.step(draw)
    for old, new, p in zip(before, t.network.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(old - new, p.grad, rtol=1e-4, atol=1e-6)
    assert t.step.loss_sum.item() == pytest.approx(values[:16].sum().item() / 64, rel=1e-6)


def test_a_batch_without_a_kept_sample_moves_nothing_but_batch_norm_statistics(make):
    t = make("loss=tgce", "schedule.momentum=0", "schedule.weight_decay=0")
    draw = t.batches()[0]
    t.step.kept.fill_(False)
    before = {name: tensor.clone() for name, tensor in t.network.state_dict().items()}
    t.step.start_epoch(0)
    t.step(draw)
    changed = {name for name, tensor in t.network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {name for name in before if "running" in name or "tracked" in name}


def test_the_first_step_with_a_loss_that_is_not_finite_is_found(make):
    t = make()
    t.step.start_epoch(0)
    for number, draw in enumerate(t.batches(), 1):
        if number == 3:
            t.step.parameters[-1].data.fill_(float("nan"))
        t.step(draw)
        assert (t.step.good_steps.item(), t.step.steps.item()) == (min(number, 2), number)


def test_weights_that_are_not_finite_are_found(make):
    t = make()
    assert t.step.finite()
    t.step.parameters[0].data.flatten()[5] = float("inf")
    assert not t.step.finite()


def test_a_copy_of_the_state_is_a_copy_of_the_training(make):
    """A second training that is given the tensors takes the same third and fourth step, bit for bit."""
    t, other = make(*PLAIN), make(*PLAIN, "seed=0", "schedule.epochs=7")
    t.step.start_epoch(0)
    other.step.start_epoch(0)
    first, second, third, fourth = t.batches()
    for draw in (first, second):
        t.step(draw)
    for name, tensor in other.step.state().items():
        tensor.copy_(t.step.state()[name])
    for draw in (third, fourth):
        t.step(draw)
        other.step(draw)
    assert all(torch.equal(tensor, t.step.state()[name]) for name, tensor in other.step.state().items())


def test_names_of_the_state_tell_weights_momenta_and_sums_apart(make):
    t = make()
    names = set(t.step.state())
    network = {f"network.{name}" for name in t.network.state_dict()}
    momenta = {f"momentum.{name}" for name, _ in t.network.named_parameters()}
    assert set(t.step.weights()) == network | momenta
    assert names - set(t.step.weights()) == {
        "kept",
        "loss_sum",
        "steps",
        "good_steps",
        "predictions",
        "predictions_before",
    }


def test_steps_are_torch_s_with_nesterov_and_another_factor(make):
    t = make(*PLAIN, "schedule.nesterov=true", "schedule.gamma=0.5")
    expected, _, _ = by_torch(t, 2)
    plain = make(*PLAIN, "schedule.gamma=0.5")
    for each in (t, plain):
        steps(each, 2)
    for name, theirs in expected.state_dict().items():
        torch.testing.assert_close(t.network.state_dict()[name], theirs, rtol=1e-6, atol=1e-7, msg=name)
    weight = next(iter(dict(t.network.named_parameters())))
    assert not torch.allclose(t.network.state_dict()[weight], plain.network.state_dict()[weight], rtol=1e-4)


def test_the_moving_average_is_torch_s_and_is_what_is_evaluated_and_kept(make):
    t, plain = make("loss=gce", "schedule.ema=0.9"), make("loss=gce")
    swa = torch.optim.swa_utils
    theirs = swa.AveragedModel(plain.network, multi_avg_fn=swa.get_ema_multi_avg_fn(0.9), use_buffers=True)
    theirs.update_parameters(plain.network)  # the first one copies
    for epoch in range(5):
        plain.step.start_epoch(epoch)
        for draw in plain.loader.epoch(epoch, plain.step.kept):
            plain.step(draw)
            theirs.update_parameters(plain.network)
    rows = list(fit.fit(t, lambda *_: None))
    network, average = t.network.state_dict(), theirs.module.state_dict()
    for name, tensor in plain.network.state_dict().items():
        assert torch.equal(network[name], tensor), name  # training itself does not know of it
        expected = average[name] if tensor.is_floating_point() else tensor  # a counter is copied
        torch.testing.assert_close(t.step.ema[name], expected, rtol=1e-5, atol=1e-7, msg=name)
    theirs.module.eval()
    said = theirs.module(t.images.plain(t.validation)).argmax(1)
    assert rows[-1]["val_accuracy"] == (said == t.noisy[t.validation]).double().mean().item()
    assert {name.removeprefix("ema.") for name in t.tensors() if name.startswith("ema.")} == set(network)


def test_the_kept_model_is_the_moving_average_of_its_epoch(make):
    t = make("loss=gce", "schedule.ema=0.5", "data.validation=0", "schedule.epochs=2")  # the last one is kept
    list(fit.fit(t, lambda *_: None))
    assert all(torch.equal(t.best[name], tensor) for name, tensor in t.step.ema.items())
    assert any(not torch.equal(t.best[name], tensor) for name, tensor in t.network.state_dict().items())
