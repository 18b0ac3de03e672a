import hashlib
from functools import partial

import numpy as np
import pytest

from noisygce import settings
from noisygce.check import Invalid
from noisygce.data import Digits
from noisygce.noise import (
    ClassMap,
    Clean,
    Instance,
    Noise,
    Pair,
    Uniform,
    corrupt,
    empirical_transition,
    realised_rate,
    uniforms,
)
from noisygce.training.task import corrupted

TEN = tuple("0123456789")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FASHION = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Boot")
LABELS = np.arange(50_000) % 10


def leaf_map(data):
    return settings.read(settings.compose([f"data={data}", "noise=class_map"])).noise


def test_clean_transition_is_the_identity_and_refuses_a_rate():
    assert np.array_equal(Clean(0, None).transition(TEN), np.eye(10))
    with pytest.raises(Invalid, match=r"rate=0\.2: rate must be 0 with noise=clean"):
        Clean(0.2, None)


def test_uniform_transition_by_head():
    # Four classes, r = 0.6: 0.4 stays, 0.2 goes to each of the three others.
    expected = [[0.4, 0.2, 0.2, 0.2], [0.2, 0.4, 0.2, 0.2], [0.2, 0.2, 0.4, 0.2], [0.2, 0.2, 0.2, 0.4]]
    np.testing.assert_allclose(Uniform(0.6, None, False, False).transition("abcd"), expected, rtol=0, atol=1e-15)


def test_uniform_with_the_true_class_included_by_head():
    # Four classes, r = 0.6: 0.15 to every class, the true one keeps 0.4 besides; the real rate is 0.6 * 3/4 = 0.45.
    matrix = Uniform(0.6, None, True, False).transition("abcd")
    np.testing.assert_allclose(matrix, 0.15 + 0.4 * np.eye(4), rtol=0, atol=1e-15)
    np.testing.assert_allclose(1 - np.diag(matrix), 0.45, rtol=0, atol=1e-15)


def test_pair_transition_moves_each_class_to_the_next_one():
    expected = [[0.7, 0.3, 0.0], [0.0, 0.7, 0.3], [0.3, 0.0, 0.7]]
    np.testing.assert_allclose(Pair(0.3, None).transition("abc"), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("data", "classes", "arrows"),
    [
        ("cifar10", CIFAR10, "truck>automobile bird>airplane deer>horse cat>dog dog>cat"),
        ("fashion_mnist", FASHION, "Boot>Sneaker Sneaker>Sandal Pullover>Shirt Coat>Dress Dress>Coat"),
        ("digits", TEN, "2>7 3>8 5>6 6>5 7>1"),
    ],
)
def test_class_map_moves_the_named_classes_and_no_other(data, classes, arrows):
    expected = np.eye(10)
    for arrow in arrows.split():
        source, target = map(classes.index, arrow.split(">"))
        expected[source, source], expected[source, target] = 0.6, 0.4
    matrix = leaf_map(data).transition(classes)
    np.testing.assert_allclose(matrix, expected, rtol=0, atol=1e-15)
    # Five of ten classes are mapped: over a balanced set half of r = 0.4 is real.
    assert 1 - np.trace(matrix) / 10 == pytest.approx(0.2)


def test_class_map_of_cifar100_is_the_next_class_cyclically():
    matrix = leaf_map("cifar100").transition(tuple(map(str, range(100))))
    np.testing.assert_allclose(matrix, 0.6 * np.eye(100) + 0.4 * np.eye(100)[(np.arange(100) + 1) % 100], atol=1e-15)
    assert matrix[99, 0] == 0.4


@pytest.mark.real_data
@pytest.mark.parametrize(("data", "classes"), [("cifar10", CIFAR10), ("fashion_mnist", FASHION)])
def test_class_names_are_those_of_the_official_files(official, data, classes):
    assert official(data)[1].classes == classes


def test_class_map_refuses_names_that_the_data_set_has_not():
    with pytest.raises(Invalid, match="lorry"):
        ClassMap(0.4, None, {"lorry": "automobile"}, False, False).transition(CIFAR10)
    for nothing in ("previous", {}, {"cat": "dog", "truck": "truck"}):
        with pytest.raises(Invalid, match="map="):
            ClassMap(0.4, None, nothing, True, False)


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.4, 0.6, 0.8, 0.999])
def test_rows_of_every_transition_are_probabilities(classes, rate):
    names = tuple(map(str, range(classes)))
    kinds = (
        Uniform(rate, None, False, False),
        Uniform(rate, None, True, False),
        Pair(rate, None),
        ClassMap(rate, None, "next", False, False),
    )
    for kind in kinds:
        matrix = kind.transition(names)
        assert (matrix >= 0).all()
        np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=0, atol=1e-12)


def test_every_cell_of_the_empirical_transition_is_within_five_sigma():
    matrix = np.random.default_rng(0).dirichlet(np.ones(10), size=10)  # no symmetry that a transposed T could hide in
    empirical = empirical_transition(LABELS, corrupt(LABELS, matrix, 0), 10)
    sigma = np.sqrt(matrix * (1 - matrix) / 5_000)  # 5,000 samples of each class
    assert (abs(empirical - matrix) <= 5 * sigma).all()
    assert abs(empirical - matrix.T).max() > 0.1


def test_empirical_transition_by_head():
    clean, noisy = np.array([0, 0, 0, 0, 1]), np.array([0, 1, 1, 2, 1])
    assert empirical_transition(clean, noisy, 3).tolist() == [[0.25, 0.5, 0.25], [0, 1, 0], [0, 0, 0]]
    assert realised_rate(clean, noisy) == 0.6


def test_a_label_depends_on_its_position_and_not_on_how_many_follow():
    matrix = Uniform(0.4, None, False, False).transition(TEN)
    whole = corrupt(LABELS, matrix, 7)
    for n in (0, 1, 2, 999):
        assert np.array_equal(corrupt(LABELS[:n], matrix, 7), whole[:n])


def test_another_seed_draws_other_noise_and_the_same_seed_the_same():
    matrix = Uniform(0.4, None, False, False).transition(TEN)
    first = corrupt(LABELS, matrix, 0)
    assert np.array_equal(first, corrupt(LABELS, matrix, 0))
    for seed in (1, 2**32 - 1, 2**32, 2**40):
        changed = np.mean(first != corrupt(LABELS, matrix, seed))
        # Two independent draws agree with 0.6^2 + 9 (0.4/9)^2 = 0.378.
        assert changed == pytest.approx(1 - 0.6**2 - 9 * (0.4 / 9) ** 2, abs=0.01)


def test_the_seed_of_the_noise_is_the_run_s_unless_it_has_its_own(tmp_path):
    class Own(Noise):
        def draw(self, labels, images, classes, seed):
            return np.where(uniforms(len(labels), seed) < self.rate, 0, labels)

    def draw(of, own, run):
        return corrupted(arrays, of(0.4, own), run, tmp_path)[1]

    arrays = Digits().load(tmp_path)
    for of in (partial(Uniform, include_true=False, exact=False), partial(Instance, pixels="raw"), Own):
        assert np.array_equal(draw(of, None, 3), draw(of, 3, 8))
        assert np.array_equal(draw(of, 3, 8), draw(of, 3, 9))
        assert not np.array_equal(draw(of, None, 8), draw(of, None, 9))


def test_higher_rates_only_add_wrong_labels():
    # One uniform a label: for uniform noise of the true class 0 a label that r = 0.2 turns is turned by r = 0.6 too.
    zeros = np.zeros(10_000, dtype=np.int64)
    low, high = (corrupt(zeros, Uniform(r, None, False, False).transition(TEN), 0) for r in (0.2, 0.6))
    assert (high[low != 0] != 0).all()


def test_noisy_labels_are_numpy_s_inverse_cdf_of_the_raw_stream():
    """The same draw another way: searchsorted in the cumulated row, all K sums but the last."""
    matrix = Uniform(0.4, None, True, False).transition(TEN)
    raw = np.random.PCG64(np.random.SeedSequence([5, 1])).random_raw(1000)
    u = (raw >> np.uint64(11)).astype(float) / 2**53
    expected = [np.searchsorted(np.cumsum(matrix[y])[:-1], x, side="right") for y, x in zip(LABELS, u, strict=False)]
    assert corrupt(LABELS[:1000], matrix, 5).tolist() == expected


def test_noise_of_a_seed_is_the_same_for_ever():
    """Who has published with seed 0 has published with these labels: 40 % uniform noise on 0, 1, ..., 9, 0, 1, ..."""
    noisy = corrupt(LABELS, Uniform(0.4, None, False, False).transition(TEN), 0)
    digest = hashlib.sha256(noisy.astype("<i8").tobytes()).hexdigest()
    assert digest == "64b36dfd2fdf45a9cbe11bd17d64a95caafbe9d3b75d1cfc776882c4f60f91a6"


class Extreme:
    """A bit generator whose every word is the same."""

    def __init__(self, word):
        self.word = word

    def random_raw(self, size):
        return np.full(size, self.word, dtype=np.uint64)


def test_the_largest_uniform_never_draws_a_label_k(monkeypatch):
    # The cumulated row of uniform 0.4 ends at 0.9999999999999996 for K = 10, below the largest u, 1 - 2^-53.
    matrix = Uniform(0.4, None, False, False).transition(TEN)
    assert np.cumsum(matrix[0])[-1] < 1 - 2**-53
    monkeypatch.setattr(np.random, "PCG64", lambda _: Extreme(2**64 - 1))
    assert corrupt(np.arange(10), matrix, 0).tolist() == [9] * 10


def test_the_smallest_uniform_never_draws_a_label_of_probability_zero(monkeypatch):
    monkeypatch.setattr(np.random, "PCG64", lambda _: Extreme(0))
    # Row y of the pair matrix begins with zeros up to y; class 9 goes to 0.
    assert corrupt(np.arange(10), Pair(0.4, None).transition(TEN), 0).tolist() == [*range(9), 0]


@pytest.mark.parametrize(
    ("labels", "matrix", "message"),
    [
        ([0, 1, 2], np.eye(2), "0..1"),
        ([0, -1], np.eye(2), "0..1"),
        ([[0], [1]], np.eye(2), "vector"),
        ([0, 1], np.ones((2, 3)), "matrix"),
        ([0, 1], np.array([[1.5, -0.5], [0, 1]]), "probabilities"),
        ([0, 1], np.array([[0.5, 0.4], [0, 1]]), "sum to 1"),
    ],
)
def test_corrupt_refuses_what_is_not_a_labelling_or_not_a_transition(labels, matrix, message):
    with pytest.raises(ValueError, match=message):
        corrupt(np.array(labels), matrix, 0)


@pytest.mark.parametrize("rate", [1, -0.1, float("nan"), True, "0.4", None])
def test_a_rate_outside_0_to_1_is_refused(rate):
    with pytest.raises(Invalid, match=r"rate must be a number in \[0, 1\)"):
        Pair(rate, None)
