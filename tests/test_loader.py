import math

import numpy as np
import PIL.Image
import pytest
import torch

from noisygce.data import Preprocessing
from noisygce.training.images import ANGLES, BatchSpec, Images, rotations
from noisygce.training.loader import Loader


def settings(padding=2, flip=True, normalise="channel", channels=3, rotation=0):
    mean, std = [0.3, 0.4, 0.5][:channels], [0.2, 0.25, 0.3][:channels]
    return Preprocessing(normalise, mean, std, padding, flip, rotation, None, 0)


def pictures(n=20, height=6, width=8, channels=3):
    return np.random.default_rng(0).integers(0, 256, (n, height, width, channels), dtype=np.uint8)


def loader(n=100, batch_size=16, seed=0, train=None, **options):
    data, images = settings(**options), pictures(n)
    index = torch.arange(n) if train is None else train
    return Loader(Images(images, data, images, "cpu"), index, batch_size, seed)


def everyone(n=100):
    return torch.ones(n, dtype=torch.bool)


def joined(batches):
    return BatchSpec(*(torch.cat([getattr(b, f) for b in batches]) for f in ("index", "top", "left", "mirror", "turn")))


def equal(a, b):
    return all(torch.equal(getattr(a, f), getattr(b, f)) for f in ("index", "top", "left", "mirror", "turn"))


def assert_chi_square(counts, expected, freedom):
    """Neither too far from uniform nor too near: within five sigma of a chi-square law's mean."""
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert abs(statistic - freedom) < 5 * math.sqrt(2 * freedom)


def test_every_image_comes_once_an_epoch_and_the_last_batch_is_kept():
    train = torch.tensor([5, 3, 99, 40, 17, 8, 61, 72])
    batches = loader(train=train, batch_size=3).epoch(0, everyone())
    assert [len(b.index) for b in batches] == [3, 3, 2]
    assert sorted(joined(batches).index.tolist()) == sorted(train.tolist())


def test_batches_are_a_function_of_seed_and_epoch():
    first = joined(loader(seed=1).epoch(3, everyone()))
    for again in (loader(seed=1), loader(seed=1, batch_size=7), loader(seed=1, train=torch.randperm(100))):
        again.epoch(8, everyone())  # nothing is consumed by asking for another epoch first
        assert equal(joined(again.epoch(3, everyone())), first)


@pytest.mark.parametrize(("seed", "epoch"), [(1, 4), (2, 3), (0, 0)])
def test_another_seed_or_epoch_gives_another_order_crop_and_flip(seed, epoch):
    first, other = joined(loader(seed=1).epoch(3, everyone())), joined(loader(seed=seed).epoch(epoch, everyone()))
    of = [torch.stack([d.top, d.left, d.mirror])[:, d.index.argsort()] for d in (first, other)]  # by image, not by turn
    for values, others in zip(of[0], of[1], strict=True):
        assert not torch.equal(values, others)
    assert not torch.equal(first.index, other.index)


def test_dropping_images_changes_neither_order_nor_crop_of_the_others():
    whole = joined(loader().epoch(5, everyone()))
    inside = everyone()
    inside[::3] = False
    kept = joined(loader().epoch(5, inside))
    still = inside[whole.index]
    assert equal(kept, BatchSpec(*(getattr(whole, f)[still] for f in ("index", "top", "left", "mirror", "turn"))))


def test_every_image_is_equally_likely_at_every_place():
    n, epochs = 30, 900
    counts, made = np.zeros((n, n)), loader(n=n)
    for epoch in range(epochs):
        counts[joined(made.epoch(epoch, everyone(n))).index, np.arange(n)] += 1
    assert_chi_square(counts, epochs / n, (n - 1) ** 2)


def test_every_corner_and_side_is_equally_likely():
    n, epochs = 2000, 10
    made = loader(n=n, batch_size=n, padding=4)
    counts = np.zeros((9, 9, 2))
    for epoch in range(epochs):
        (draw,) = made.epoch(epoch, everyone(n))
        np.add.at(counts, (draw.top.numpy(), draw.left.numpy(), draw.mirror.numpy()), 1)
    assert counts.min() > 0
    assert_chi_square(counts, n * epochs / 162, 161)


def test_order_and_augmentation_of_an_epoch_are_unrelated():
    n = 5000
    (draw,) = loader(n=n, batch_size=n, padding=4).epoch(0, everyone(n))
    place = torch.arange(n, dtype=torch.float64)
    for values in (draw.top, draw.left, draw.mirror):
        correlation = torch.corrcoef(torch.stack([place, values.double()]))[0, 1]
        assert abs(correlation.item()) < 5 / math.sqrt(n)


def test_without_flip_and_padding_every_image_stays_as_it_is():
    draw = joined(loader(padding=0, flip=False).epoch(0, everyone()))
    assert not draw.mirror.any()
    assert not draw.top.any()
    assert not draw.left.any()


@pytest.mark.parametrize("normalise", ["channel", "pixel_mean"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_crop_is_numpy_s_slice_of_the_zero_padded_image(normalise, channels):
    """Every corner of a padding of 2, flipped and not, against NumPy, one image at a time."""
    data, images = settings(2, True, normalise, channels), pictures(channels=channels)
    draws = [(i % 20, i // 10 % 5, i // 2 % 5, i % 2, 0) for i in range(50)]
    found = Images(images, data, images, "cpu").crop(BatchSpec(*map(torch.tensor, zip(*draws, strict=True))))
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0))) / 255
    if normalise == "channel":
        ready = (padded - np.array(data.mean)) / np.array(data.std)
    else:  # padding comes last, as zeros
        ready = np.pad(images / 255 - (images / 255).mean(0), ((0, 0), (2, 2), (2, 2), (0, 0)))
    for image, (index, top, left, mirror, _) in zip(found, draws, strict=True):
        window = ready[index, top : top + 6, left : left + 8]
        window = window[:, ::-1] if mirror else window
        np.testing.assert_allclose(image.numpy(), window.transpose(2, 0, 1), rtol=0, atol=2e-6)


def test_turned_images_are_those_of_pil_to_the_pixel():
    """But for pixels whose source lies on a border between two: PIL computes in fixed point."""
    images = pictures(n=200, height=32, width=32)
    made = Images(images, settings(4, True, rotation=20), images, "cpu")
    (draw,) = Loader(made, torch.arange(200), 200, 0).epoch(0, everyone(200))
    upright = Images(images, settings(4, True), images, "cpu").crop(draw)
    mean, std = made.mean.view(3, 1, 1), made.std.view(3, 1, 1)
    pixels = [((t * std + mean) * 255).round().byte().permute(0, 2, 3, 1).numpy() for t in (upright, made.crop(draw))]
    angles = 20 * ((2 * draw.turn.double() + 1) / ANGLES - 1)
    equal = 0.0
    for image, turned, angle in zip(*pixels, angles.tolist(), strict=True):
        theirs = np.asarray(PIL.Image.fromarray(image).rotate(-angle))
        equal += float((theirs == turned).all(-1).mean()) / 200
    assert equal > 0.998
    assert (pixels[0] == pixels[1]).all(-1).mean() < 0.3  # most places come from elsewhere


def test_angles_are_uniform_and_a_turn_about_the_centre_loses_corners_only():
    turns = joined(loader(n=4000, batch_size=4000, rotation=20).epoch(3, everyone(4000))).turn
    assert_chi_square(torch.bincount(turns // 64, minlength=16).double(), 4000 / 16, 15)
    places = rotations(32, 32, 20.0)
    assert places.shape == (ANGLES, 1024)
    centre = places.reshape(ANGLES, 32, 32)[:, 15:17, 15:17].reshape(ANGLES, 4)
    assert (centre == [15 * 32 + 15, 15 * 32 + 16, 16 * 32 + 15, 16 * 32 + 16]).all()
    beyond = (places == 1024).reshape(ANGLES, 32, 32)
    assert not beyond[:, 8:24, 8:24].any()
    assert beyond[[0, -1], 0, 0].all()
    assert not beyond[ANGLES // 2].any()  # hardly turned at all


def test_turned_pixel_mean_is_zero_beyond_the_border():
    images = pictures(n=20, height=32, width=32)
    made = Images(images, settings(0, False, "pixel_mean", rotation=20), images, "cpu")
    (draw,) = Loader(made, torch.arange(20), 20, 0).epoch(0, everyone(20))
    turned = made.crop(draw)
    beyond = torch.from_numpy(rotations(32, 32, 20.0) == 1024)[draw.turn].view(20, 32, 32)
    assert beyond.any()
    assert (turned.abs().amax(1)[beyond] == 0).all()
    assert torch.equal(
        made.plain(torch.arange(20)),
        Images(images, settings(0, False, "pixel_mean"), images, "cpu").plain(torch.arange(20)),
    )


def test_pixel_mean_leaves_the_padding_at_zero():
    images = pictures()
    made = Images(images, settings(normalise="pixel_mean"), images, "cpu")
    corner = made.crop(BatchSpec(*(torch.tensor([v]) for v in (0, 0, 0, 0, 0))))
    assert (corner[0, :, :2] == 0).all()
    assert (corner[0, :, :, :2] == 0).all()
    assert (corner[0, :, 2:, 2:] != 0).float().mean() > 0.95


def test_pixel_mean_is_that_of_the_training_images_for_every_set():
    train, test = pictures(), pictures()[::-1][:4].copy()
    found = Images(test, settings(normalise="pixel_mean"), train, "cpu").plain(torch.arange(4))
    expected = (test / 255 - (train / 255).mean(0)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-6)


def test_plain_images_are_the_unpadded_ones():
    images, data = pictures(), settings(padding=3)
    found = Images(images, data, images, "cpu").plain(torch.tensor([7, 0]))
    expected = ((images[[7, 0]] / 255 - np.array(data.mean)) / np.array(data.std)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-6)


def test_images_are_float32_and_channels_last():
    found = Images(pictures(), settings(), pictures(), "cpu").plain(torch.arange(5))
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("images", "sizes"), [(8, [4, 4]), (9, [4, 5]), (10, [4, 4, 2]), (1, [1]), (5, [5]), (3, [3])])
def test_a_last_image_alone_joins_the_batch_before(images, sizes):
    pixels = np.zeros((images, 8, 8, 1), dtype=np.uint8)
    data = settings(channels=1)
    loader = Loader(Images(pixels, data, pixels, "cpu"), torch.arange(images), 4, seed=0)
    batches = loader.epoch(0, torch.ones(images, dtype=torch.bool))
    assert [len(batch.index) for batch in batches] == sizes
    assert sorted(torch.cat([batch.index for batch in batches]).tolist()) == list(range(images))
