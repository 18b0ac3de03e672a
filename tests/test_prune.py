import pytest
import torch

from noisygce.losses import TruncatedGCE
from noisygce.runs import messages
from noisygce.training.prune import changes, kept_set, memorisation, report

LOSS = TruncatedGCE(q=0.7, k=0.5)


def logits_for(labels, sure):
    """Two classes: the given label gets p = 0.88 where ``sure``, else 0.12."""
    right = torch.nn.functional.one_hot(labels, 2).float()
    return 2 * torch.where(torch.tensor(sure)[:, None], right, 1 - right)


def bools(text):
    return torch.tensor([c == "1" for c in text])


def test_kept_are_the_training_samples_whose_p_exceeds_k():
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    train = torch.tensor([4, 0, 1, 3])  # 2 and 5 are validation samples
    logits = logits_for(labels[train], [True, False, True, True])
    kept, warning = kept_set(LOSS, logits, labels, train, bools("111111"))
    assert torch.equal(kept, bools("011111"))
    assert warning == ""


def test_a_pruned_sample_comes_back_and_a_kept_one_goes():
    labels = torch.tensor([0, 1, 0, 1])
    logits = logits_for(labels, [True, True, True, False])
    kept, _ = kept_set(LOSS, logits, labels, torch.arange(4), bools("0011"))
    assert torch.equal(kept, bools("1110"))


def test_the_kept_set_before_is_not_changed_in_place():
    before = bools("11")
    kept_set(LOSS, logits_for(torch.tensor([0, 1]), [True, False]), torch.tensor([0, 1]), torch.arange(2), before)
    assert torch.equal(before, bools("11"))


def test_if_all_would_be_pruned_the_set_stays_and_says_so():
    labels = torch.tensor([0, 1, 0])
    kept, warning = kept_set(LOSS, logits_for(labels, [False] * 3), labels, torch.arange(3), bools("101"))
    assert torch.equal(kept, bools("101"))
    assert warning.startswith("every sample would have been pruned")


def test_if_one_sample_would_be_left_the_set_stays_and_says_so():
    labels = torch.tensor([0, 1, 0])
    kept, warning = kept_set(LOSS, logits_for(labels, [False, True, False]), labels, torch.arange(3), bools("101"))
    assert torch.equal(kept, bools("101"))
    assert warning.startswith("all but one sample would have been pruned")


def test_a_class_without_a_kept_sample_is_named_and_pruned():
    labels = torch.tensor([0, 1, 0, 1])
    kept, warning = kept_set(
        LOSS, logits_for(labels, [True, False, True, False]), labels, torch.arange(4), bools("1111")
    )
    assert torch.equal(kept, bools("1010"))
    assert warning == "no sample is kept of class 1"


def test_report_by_head():
    """Ten samples, two of them validation. Training: 4 mislabelled, 3 pruned, of which 2 mislabelled."""
    clean = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 0, 1])
    noisy = torch.tensor([0, 0, 1, 1, 1, 1, 0, 0, 1, 0])
    kept = bools("1100011111")
    #     pruned: ..xx x.....  wrong: ..xx..xx
    found = report(kept, noisy, clean, torch.arange(8), 3)
    assert found == {
        "kept": 5,
        "kept_share": 5 / 8,
        "precision": 2 / 3,
        "recall": 2 / 4,
        "kept_share_per_class": [4 / 4, 1 / 4, None],  # by given label; no sample of class 2
    }


def test_report_divides_by_nothing_into_null():
    labels = torch.tensor([0, 1])
    found = report(bools("11"), labels, labels, torch.arange(2), 2)
    assert (found["precision"], found["recall"], found["kept_share"]) == (None, None, 1.0)


def test_memorisation_by_head():
    """Of five mislabelled that took part: two said as they truly are, one as given, two as neither."""
    clean = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1])
    noisy = torch.tensor([1, 1, 1, 2, 2, 1, 1, 2])
    said = torch.tensor([0, 0, 1, 1, 3, -1, 1, 2])  # the sixth took no part, the seventh is right, the last validation
    found = {name: share.item() for name, share in memorisation(said[:7], noisy[:7], clean[:7]).items()}
    assert found == {"mislabelled_as_true": 2 / 5, "mislabelled_as_noisy": 1 / 5, "mislabelled_as_other": 2 / 5}
    assert sum(found.values()) == pytest.approx(1)


def test_prediction_changes_by_head():
    """Of the three samples that took part in both epochs one is predicted otherwise."""
    before, now = torch.tensor([0, 1, 2, -1, 3]), torch.tensor([0, 2, 2, 1, -1])
    assert changes(before, now).item() == 1 / 3
    assert changes(torch.full((5,), -1), now).isnan()


def test_memorisation_is_nan_without_a_mislabelled_sample():
    labels = torch.tensor([0, 1])
    assert all(share.isnan() for share in memorisation(labels, labels, labels).values())


def test_a_round_is_told_and_one_by_the_same_model_says_that_it_changes_nothing(caplog):
    caplog.set_level("INFO", "noisygce")
    row = {"by_epoch": 4, "kept_share": 0.5, "precision": 0.975, "recall": None, "warning": ""}
    messages.pruning([row])
    messages.pruning([row, row])
    messages.pruning([row, row, {**row, "by_epoch": 9, "warning": "no sample is kept of class 3"}])
    percent = "50.0 % are kept, 97.5 % of the pruned are mislabelled, - of the mislabelled are pruned"
    assert [record.getMessage() for record in caplog.records] == [
        f"pruned by the model of epoch 4: {percent}",
        "pruned by the model of epoch 4 again: the kept set stays the same",
        f"pruned by the model of epoch 9: {percent}",
        "no sample is kept of class 3",
    ]
