import pytest
import torch
from scipy import stats

from noisygce.training.philox import below, beta, philox


def reference(counter, key):
    """Philox 4x32-10 in Python's own integers, as in figure 2 of Salmon et al. 2011."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c0, 2**32)
        high1, low1 = divmod(0xCD9E8D57 * c2, 2**32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return c0, c1, c2, c3


ONES = 0xFFFFFFFF
KNOWN = [  # kat_vectors of Random123 1.14.0, philox4x32 10
    ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ((ONES,) * 4, (ONES, ONES), "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_known_answers_of_random123(counter, key, words):
    found = philox(tuple(torch.tensor([word]) for word in counter), key)
    assert " ".join(f"{int(word):08x}" for word in found) == words
    assert reference(counter, key) == tuple(int(word, 16) for word in words.split())


def test_random_counters_and_keys_agree_with_python_integers():
    generator = torch.Generator().manual_seed(0)
    counters = torch.randint(2**32, (4, 200), generator=generator)
    for key in torch.randint(2**32, (20, 2), generator=generator).tolist():
        words = torch.stack(philox(tuple(counters), tuple(key)))
        assert words.T.tolist() == [list(reference(c, key)) for c in counters.T.tolist()]


def test_plain_integers_are_the_same_as_tensors_of_them():
    index = torch.arange(50)
    mixed = philox((index, 7, 0, 2**32 - 1), (3, 4))
    full = philox((index, torch.full_like(index, 7), torch.zeros_like(index), torch.full_like(index, ONES)), (3, 4))
    assert all(torch.equal(a, b) for a, b in zip(mixed, full, strict=True))


def test_a_word_depends_on_its_own_counter_alone():
    index = torch.arange(100)
    whole = philox((index, 0, 0, 0), (1, 2))[0]
    assert torch.equal(philox((index[[99, 3]], 0, 0, 0), (1, 2))[0], whole[[99, 3]])


def test_below_scales_a_word_to_the_bound():
    words = torch.tensor([0, 2**31 - 1, 2**31, 2**32 - 1])
    assert below(words, 2).tolist() == [0, 0, 1, 1]
    assert below(words, 9).tolist() == [0, 4, 4, 8]  # 9 * (1/2) = 4.5
    assert below(words, 1).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1, 8, 32, 1000])
def test_numbers_have_the_beta_distribution(alpha):
    one, other, _, _ = philox((torch.arange(20_000), 3, 0, 0), (0, 6))
    found = beta(one, other, alpha)
    assert found.dtype == torch.float64
    assert ((found >= 0) & (found <= 1)).all()
    assert stats.kstest(found.numpy(), stats.beta(alpha, alpha).cdf).pvalue > 0.001


def test_the_outermost_words_give_numbers_within_0_and_1():
    ends = torch.tensor([0, ONES])
    for alpha in (1e-3, 1.0, 1000.0):
        found = beta(*torch.meshgrid(ends, ends, indexing="ij"), alpha)
        assert ((found >= 0) & (found <= 1)).all()
