import copy
import math

import pytest
import torch

from noisygce.errors import CheckpointError, ConfigError, NonFinite
from noisygce.training import evaluate
from noisygce.training import fit as fit_module
from noisygce.training.evaluate import Evaluation, accuracy
from noisygce.training.fit import Progress, digest, fit

# Prunes after epochs 2 to 6 of 7. At k = 0.12 some 20 to 80 of 200 samples are kept, other ones after epoch 3 or 5, and
# the model that prunes is mostly an older one: all of it checked below, so that no test here is about nothing.
TGCE = ["loss=tgce", "loss.k=0.12", "rate=0.2", "prune.start=2", "prune.every=1", "schedule.epochs=7"]


def nothing(_training, _images):
    pass


def rows_of(training, after_step=nothing, stop=lambda: None):
    return list(fit(training, after_step, stop))


def state(training):
    return digest(training.tensors())


def test_a_training_is_a_function_of_its_config(make):
    first, again, other = make(), make(), make("seed=1")
    assert rows_of(first) == rows_of(again) != rows_of(other)
    assert state(first) == state(again) != state(other)


def test_a_row_holds_the_accuracies_of_the_epoch(make):
    t = make("rate=0.2")
    for row in fit(t, nothing):
        on_validation = t.logits(t.validation).argmax(1)
        on_test = t.test_logits(t.test).argmax(1)
        assert row["val_accuracy"] == accuracy(on_validation, t.noisy[t.validation])
        assert row["val_clean_accuracy"] == accuracy(on_validation, t.clean[t.validation])
        assert row["test_accuracy"] == accuracy(on_test, t.test_labels[t.test])
        assert row["train_accuracy"] == accuracy(t.step.predictions[t.train], t.noisy[t.train])
    assert [row["epoch"] for row in t.progress.rows] == [1, 2, 3, 4, 5]
    assert not torch.equal(t.noisy[t.validation], t.clean[t.validation])


def test_a_row_holds_the_learning_rate_of_its_epoch(make):
    rates = [row["lr"] for row in rows_of(make("schedule.milestones=[2,4]", "schedule.lr=1"))]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_training_learns(make):
    rows = rows_of(make("noise=clean", "data.subset=1000", "schedule.epochs=10", "model.width=8"))
    assert rows[-1]["train_accuracy"] > 0.95
    assert rows[-1]["test_accuracy"] > 0.8
    assert rows[-1]["train_loss"] < rows[0]["train_loss"] / 4


def test_the_best_epoch_is_the_earliest_of_highest_noisy_validation_accuracy(make):
    t, seen = make(*TGCE), []
    for row in fit(t, nothing):
        weights = digest({f"network.{k}": v for k, v in t.network.state_dict().items()})
        seen.append((row["val_accuracy"], weights))
        best = max(range(len(seen)), key=lambda i: seen[i][0])  # max takes the first of equals
        assert t.progress.best_epoch == best + 1
        assert t.progress.best_accuracy == seen[best][0]
        assert digest({f"network.{k}": v for k, v in t.best.items()}) == seen[best][1]
    assert 1 < t.progress.best_epoch < 7
    assert len({accuracy for accuracy, _ in seen}) < len(seen)  # there are ties


@pytest.mark.parametrize(("start", "every", "epochs"), [(2, 2, 7), (1, 3, 8), (3, 1, 5), (5, 1, 5)])
def test_pruning_takes_place_when_due_and_not_after_the_last_epoch(make, start, every, epochs):
    t = make("loss=tgce", f"prune.start={start}", f"prune.every={every}", f"schedule.epochs={epochs}")
    rows_of(t)
    assert [p["after_epoch"] for p in t.progress.prunings] == list(range(start, epochs, every))


def test_only_a_loss_that_prunes_is_pruned(make):
    t = make("loss=gce", "prune.start=1", "prune.every=1")
    assert {row["kept"] for row in rows_of(t)} == {200}
    assert t.progress.prunings == []


@pytest.mark.parametrize("mode", ["drop", "mask"])
def test_pruning_uses_the_best_validation_model_over_all_training_samples(make, mode):
    t, network, by_older, came_back = make(*TGCE, f"prune.mode={mode}"), copy.deepcopy(make().network), 0, 0
    kept_before = t.step.kept.clone()
    for row in fit(t, nothing):
        if 2 <= row["epoch"] < 7:
            network.load_state_dict(t.best)
            scores = Evaluation(network, t.images, "fp32")(t.train)
            p = scores.softmax(1)[torch.arange(200), t.noisy[t.train]]
            assert torch.equal(t.step.kept[t.train], p > 0.12)
            pruning = t.progress.prunings[-1]
            assert pruning["by_epoch"] == t.progress.best_epoch
            assert pruning["kept"] == int((p > 0.12).sum())
            by_older += t.progress.best_epoch < row["epoch"]
            came_back += int((t.step.kept & ~kept_before).sum())
            kept_before = t.step.kept.clone()
        assert t.step.kept[t.validation].all()
    assert by_older >= 2
    assert came_back > 0


def test_pruning_leaves_weights_momenta_and_statistics_bit_for_bit(make):
    """Training goes on from the current weights, not from the best ones."""
    t, checked = make(*TGCE), 0
    for row in fit(t, nothing):
        before = digest(t.step.weights()), [id(p) for p in t.network.parameters()]
        fit_module._prune(t, row["epoch"], stop=lambda: None)
        assert (digest(t.step.weights()), [id(p) for p in t.network.parameters()]) == before
        assert t.network.training
        checked += t.progress.best_epoch < row["epoch"]
    assert checked >= 2


@pytest.mark.parametrize("mode", ["drop", "mask"])
def test_drop_shortens_epochs_and_mask_does_not(make, mode):
    t, images = make(*TGCE, f"prune.mode={mode}"), 0
    kept = 200

    def count(_training, batch):
        nonlocal images
        images += batch

    for row in fit(t, count):
        assert row["kept"] == kept
        assert images == (kept if mode == "drop" else 200)
        assert t.images_an_epoch() == (int(t.step.kept[t.train].sum()) if mode == "drop" else 200)
        images, kept = 0, int(t.step.kept[t.train].sum())
    assert kept < 100


def test_dropped_samples_take_no_part_and_masked_ones_only_in_batch_norm(make):
    for mode, there in (("drop", False), ("mask", True)):
        t = make(*TGCE, f"prune.mode={mode}")
        for row in fit(t, nothing):
            if row["epoch"] == 2:
                pruned = t.train[~t.step.kept[t.train]]
            if row["epoch"] == 3:
                assert (t.step.predictions[pruned] >= 0).all() == there
                break
        assert len(pruned) > 100


@pytest.mark.parametrize("mode", ["drop", "mask"])
def test_if_every_sample_would_be_pruned_training_goes_on_with_all_and_says_so(make, mode):
    t = make("loss=tgce", "loss.k=0.999999", "prune.start=1", "prune.every=1", f"prune.mode={mode}")
    rows = rows_of(t)
    assert [row["kept"] for row in rows] == [200] * 5
    assert all("every sample would have been pruned" in p["warning"] for p in t.progress.prunings)
    assert len(t.progress.prunings) == 4
    assert all(math.isfinite(row["train_loss"]) for row in rows)


def test_a_class_that_is_wholly_pruned_is_named_and_nothing_breaks(make):
    t = make(*TGCE)
    rows = rows_of(t)
    assert any(p["warning"].startswith("no sample is kept of class") for p in t.progress.prunings)
    assert all(math.isfinite(row["train_loss"]) for row in rows)


@pytest.mark.parametrize("mode", ["drop", "mask"])
def test_memorisation_shares_sum_to_1(make, mode):
    for row in rows_of(make(*TGCE, f"prune.mode={mode}")):
        shares = [row[f"mislabelled_as_{x}"] for x in ("true", "noisy", "other")]
        assert shares == [None] * 3 or sum(shares) == pytest.approx(1)
        assert row["epoch"] > 2 or None not in shares


def test_train_loss_is_the_mean_of_the_steps_losses(make):
    t, at = make(), []

    def note(training, _images):
        at.append(training.step.loss_sum.item())

    for row in fit(t, note):
        assert row["train_loss"] == pytest.approx(at[-1] / len(at))
        assert len(at) == 4
        at.clear()


def test_evaluating_after_every_step_does_not_change_training(make):
    def look(training, _images):
        training.logits(training.validation)
        fit_module._measure(training, stop=lambda: None)

    quiet, looked_at = make(*TGCE), make(*TGCE)
    assert rows_of(quiet) == rows_of(looked_at, look)
    assert state(quiet) == state(looked_at)


def test_torch_s_global_generator_plays_no_part(make):
    first, second = make(*TGCE), make(*TGCE)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    rows = rows_of(first)
    assert torch.equal(torch.get_rng_state(), before)
    assert rows == rows_of(second, lambda *_: torch.rand(1))


def test_an_estimate_of_the_time_changes_nothing(make):
    quiet, estimated = make(*TGCE), make(*TGCE)
    assert estimated.estimate() > 0
    assert state(quiet) == state(estimated)
    assert rows_of(quiet) == rows_of(estimated)


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("kept", None, "1 tensors are in one and not in the other, kept among them"),
        ("more", lambda _: torch.zeros(1), "1 tensors are in one and not in the other, more among them"),
        (
            "kept",
            lambda kept: kept[0],
            r"kept is torch.bool \(\), not torch.bool \(1500,\)",
        ),  # would be spread over all
        ("predictions", lambda p: p[:1], r"predictions is torch.int64 \(1,\), not torch.int64 \(1500,\)"),
        ("loss_sum", torch.Tensor.float, r"loss_sum is torch.float32 \(\), not torch.float64 \(\)"),
        ("steps", int, r"steps is 3, not torch.int64 \(\)"),
    ],
)
def test_a_saved_training_of_other_tensors_is_not_taken_and_changes_nothing(make, name, spoil, said):
    other = make("seed=1")
    other.step.steps.fill_(3)
    tensors = {k: v.clone() for k, v in other.tensors().items()}
    if spoil:
        tensors[name] = spoil(tensors.get(name))
    else:
        del tensors[name]
    t = make()
    before = state(t)
    with pytest.raises(CheckpointError, match=said):
        t.load(tensors, Progress(epoch=3))
    assert (state(t), t.progress) == (before, Progress())


class Stop(BaseException):
    pass


@pytest.mark.parametrize("overrides", [TGCE, ["loss=ce", "schedule.epochs=3"]], ids=["pruned", "ce"])
def test_a_stop_anywhere_in_an_evaluation_goes_on_to_the_same_numbers(make, monkeypatch, overrides):
    """A training is left at the n-th look between two batches, for every n; what is saved then goes on to its end."""
    monkeypatch.setattr(evaluate, "BATCH", 64)  # four batches of the training set
    whole = make(*overrides)
    looks = iter(range(1000))
    rows = rows_of(whole, stop=lambda: next(looks))
    for stop_at in range(count := next(looks)):
        t, left = make(*overrides), iter(range(stop_at))

        def stop(left=left):
            if next(left, None) is None:
                raise Stop

        with pytest.raises(Stop):
            rows_of(t, stop=stop)
        assert t.network.training
        tensors = {name: tensor.clone() for name, tensor in t.tensors().items()}
        resumed = make(*overrides)
        resumed.load(tensors, copy.deepcopy(t.progress))
        rows_of(resumed)
        assert resumed.progress.rows == rows, stop_at
        assert resumed.progress.prunings == whole.progress.prunings, stop_at
        assert resumed.progress.best_epoch == whole.progress.best_epoch, stop_at
        assert state(resumed) == state(whole), stop_at
    assert count == (7 * 2 + 5 * 4 if "loss=tgce" in overrides else 3 * 2)


def test_a_loss_that_is_not_finite_ends_the_training_at_its_epoch(make):
    t = make()

    def spoil(training, _images):
        if (training.progress.epoch, training.progress.step) == (1, 2):
            training.step.parameters[-1].data.fill_(float("nan"))

    with pytest.raises(NonFinite, match="not finite at epoch 2, step 3"):
        rows_of(t, spoil)
    assert len(t.progress.rows) == 1


def test_weights_that_are_not_finite_after_the_last_step_are_found(make):
    def spoil(training, _images):
        if training.progress.step == 4:
            training.step.parameters[0].data.fill_(float("inf"))

    with pytest.raises(NonFinite, match="weights were not finite after epoch 1"):
        rows_of(make(), spoil)


def test_digest_depends_on_names_shapes_types_and_every_bit():
    def of(**tensors):
        return digest({k: torch.as_tensor(v) for k, v in tensors.items()})

    first = of(a=[1.0, 2.0], b=[3])
    assert first == of(b=[3], a=[1.0, 2.0])
    others = [of(a=[1.0, 2.0], c=[3]), of(a=[[1.0, 2.0]], b=[3]), of(a=[1.0, 2.0], b=[3.0]), of(a=[2.0, 1.0], b=[3])]
    others.append(of(a=[1.0, 2.0000002], b=[3]))
    assert len({first, *others}) == 6
    transposed = torch.arange(6.0).reshape(2, 3)
    assert digest({"a": transposed}) == digest({"a": transposed.T.contiguous().T})  # not on the memory's order


def test_prediction_changes_are_those_between_the_predictions_of_two_epochs(make):
    t = make(
        "loss=tgce", "loss.k=0.12", "prune.start=2", "prune.every=1", "schedule.epochs=4", "noise=uniform", "rate=0.4"
    )
    seen, shares = [], []
    for row in fit(t, lambda *_: None):
        seen.append(t.step.predictions[t.train].tolist())
        shares.append(row["prediction_changes"])
    assert shares[0] is None
    for before, now, share in zip(seen[:-1], seen[1:], shares[1:], strict=True):
        both = [(a, b) for a, b in zip(before, now, strict=True) if a >= 0 and b >= 0]
        assert share == sum(a != b for a, b in both) / len(both)
    assert len(both) < len(now)  # a pruned sample took part in none of the later epochs


def test_one_training_sample_is_refused_where_batch_norm_needs_two(make):
    with pytest.raises(ConfigError, match="one training sample: the batch norm of this network needs at least two"):
        make("data.subset=1", "data.validation=0", "loss=ce")
    assert len(make("data.subset=2", "data.validation=0", "loss=ce").train) == 2
