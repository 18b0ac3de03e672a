"""RandAugment and cutout: operation by operation against torchvision's, and as a function of seed, epoch and index."""

import numpy as np
import pytest
import torch
from torch import Tensor

from noisygce import runs, settings
from noisygce.check import Invalid
from noisygce.errors import ConfigError
from noisygce.training import fit
from noisygce.training.augment import OPERATIONS, RandAugment, holes
from noisygce.training.images import Images
from noisygce.training.loader import Loader

MAGNITUDE = 9
SIDE = 32


def pictures(n=16, channels=3):
    g = np.random.default_rng(0)
    coarse = g.integers(0, 256, (n, 8, 8, channels)).repeat(4, 1).repeat(4, 2)
    low, high = 40 * g.random((n, 1, 1, channels)), 160 + 90 * g.random((n, 1, 1, channels))
    return torch.from_numpy(
        (low + coarse / 255 * (high - low) + g.integers(0, 9, coarse.shape)).clip(0, 255).astype(np.uint8)
    )


def applied(images: Tensor, name: str, sign: int, magnitude: int = MAGNITUDE) -> Tensor:
    drawn = torch.full((len(images), 1), 2 * OPERATIONS.index(name) + sign)
    return RandAugment(1, magnitude, (images.shape[1], images.shape[2]), "cpu")(images, drawn)


def by_torchvision(images: Tensor, name: str, sign: int) -> Tensor:
    from torchvision.transforms import v2

    transform = v2.RandAugment(1, MAGNITUDE)
    camel = {"autocontrast": "AutoContrast"}.get(name, "".join(part.capitalize() for part in name.split("_")))
    magnitudes, signed = transform._AUGMENTATION_SPACE[camel]
    found = magnitudes(31, SIDE, SIDE)
    magnitude = 0.0 if found is None else float(found[MAGNITUDE])
    stacked = images.permute(0, 3, 1, 2)
    how = {"interpolation": transform.interpolation, "fill": transform._fill}
    # There + moves the image right, down and round to the left, here the place that a pixel comes from.
    turned = -1 if signed and (sign == 1) != name.startswith(("translate", "rotate")) else 1
    return transform._apply_image_or_video_transform(stacked, camel, turned * magnitude, **how).permute(0, 2, 3, 1)


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_torchvision_s(name: str, sign: int) -> None:
    """But for pixels from the border between two, and values that its floats round down from a whole number."""
    images = pictures()
    ours, theirs = applied(images, name, sign).int(), by_torchvision(images, name, sign).int()
    apart = (ours - theirs).abs()
    if name.startswith(("shear", "translate", "rotate")):
        assert (apart > 0).float().mean() < 0.01
    else:
        assert apart.max() <= 1
        assert (apart > 0).float().mean() < 0.02
    assert torch.equal(ours.to(torch.uint8), images) == (name == "identity")


def test_magnitude_0_changes_nothing_but_by_operations_without_one() -> None:
    images = pictures()
    same = {name for name in OPERATIONS if torch.equal(applied(images, name, 1, 0), images)}
    assert set(OPERATIONS) - same <= {"autocontrast", "equalize", "solarize"}  # solarize: 255 becomes 0


def test_grey_pictures_have_operations_of_their_own_sizes() -> None:
    images = pictures(channels=1)[:, :9, :7]
    for name in OPERATIONS:
        assert applied(images, name, 1).shape == images.shape
    assert torch.equal(applied(images, "color", 1), images)


@pytest.mark.parametrize("size", [(2, SIDE), (SIDE, 1), (3, 3)])
def test_images_of_less_than_three_pixels_stay_as_sharp_as_in_torchvision(size: tuple[int, int]) -> None:
    images = pictures()[:, : size[0], : size[1]]
    ours, theirs = applied(images, "sharpness", 0).int(), by_torchvision(images, "sharpness", 0).int()
    assert (ours - theirs).abs().max() <= 1
    assert torch.equal(ours.to(torch.uint8), images) == (min(size) < 3)


def test_an_image_gets_its_own_operations_one_after_another() -> None:
    images = pictures()
    first, second = 2 * OPERATIONS.index("rotate"), 2 * OPERATIONS.index("solarize") + 1
    drawn = torch.tensor([[first, second], [second, first]]).repeat(8, 1)
    both = RandAugment(2, MAGNITUDE, (SIDE, SIDE), "cpu")(images, drawn)
    one = applied(applied(images[:1], "rotate", 0), "solarize", 1)
    other = applied(applied(images[1:2], "solarize", 1), "rotate", 0)
    assert torch.equal(both[:1], one)
    assert torch.equal(both[1:2], other)


def test_a_hole_is_a_square_about_its_centre_and_ends_at_the_border() -> None:
    found = holes(torch.tensor([[2, 3], [0, 4]]), 2, 4, 5).int()[:, 0]
    assert found[0].tolist() == [[1, 1, 1, 1, 1], [1, 1, 0, 0, 1], [1, 1, 0, 0, 1], [1, 1, 1, 1, 1]]
    assert found[1].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]]


# --- in batches

AUGMENTED = ["data=digits", "data.padding=1", "data.randaugment=[2,9]", "data.cutout=3"]


def loader(seed: int = 0, views: int = 1, *overrides: str, batch_size: int = 64) -> Loader:
    e = settings.read(settings.compose([*AUGMENTED, *overrides]))
    arrays = e.data.load(None)  # type: ignore[arg-type]
    images = Images(arrays.train_images, e.preprocessing, arrays.train_images, "cpu")
    return Loader(images, torch.arange(200), batch_size, seed, views)


def by_index(made: Loader, epoch: int) -> Tensor:
    draws = made.epoch(epoch, torch.ones(1500, dtype=torch.bool))
    index = torch.cat([draw.index for draw in draws])
    return torch.cat([made.images.crop(draw) for draw in draws])[index.argsort()]


def test_an_augmented_image_is_a_function_of_seed_epoch_and_index() -> None:
    first = by_index(loader(), 3)
    assert torch.equal(by_index(loader(batch_size=17), 3), first)  # of no other image of the batch
    for other in (by_index(loader(1), 3), by_index(loader(), 4)):
        assert ((other != first).flatten(1).any(1)).float().mean() > 0.9


def test_crop_and_flip_are_those_without_other_augmentation() -> None:
    inside = torch.ones(1500, dtype=torch.bool)
    plain = loader(0, 1, "data.randaugment=null", "data.cutout=0").epoch(2, inside)
    for one, other in zip(plain, loader().epoch(2, inside), strict=True):
        assert one.names() == other.names()[:5]
        assert all(torch.equal(a, b) for a, b in zip(one.tensors(), other.tensors()[:5], strict=True))


def test_operations_signs_and_holes_are_uniform_and_of_each_view_its_own() -> None:
    made = loader(0, 2, batch_size=200)
    draws = [made.epoch(epoch, torch.ones(1500, dtype=torch.bool))[0] for epoch in range(20)]
    drawn = torch.stack([draw.operation for draw in draws])  # type: ignore[misc]
    assert drawn.shape == (20, 400, 2)
    expected = drawn.numel() / 28
    chi2 = ((torch.bincount(drawn.flatten(), minlength=28) - expected) ** 2 / expected).sum()
    assert abs(chi2 - 27) < 5 * (2 * 27) ** 0.5
    assert (drawn[:, :200] != drawn[:, 200:]).float().mean() > 0.9
    assert (drawn[..., 0] != drawn[..., 1]).float().mean() > 0.9
    centres = torch.cat([draw.hole for draw in draws])  # type: ignore[misc]
    assert torch.bincount(8 * centres[:, 0] + centres[:, 1], minlength=64).min() > 80  # 125 on average


def test_a_hole_is_0_after_normalisation_and_evaluation_has_none() -> None:
    made = loader(0, 1, "data.randaugment=null", "data.padding=0", "data.cutout=4")
    images, plain = by_index(made, 0), made.images.plain(torch.arange(200))
    gone = (images == 0) & (plain != 0)
    assert torch.equal(images.where(~gone, plain), plain)
    assert 0.1 < gone.float().mean() < 0.25  # 4 x 4 of 8 x 8, less what lies beyond the border


@pytest.mark.parametrize("loss", ["gce", "gjs", "mixup"])
def test_augmented_training_is_repeatable(make, loss: str) -> None:
    more = ["data.randaugment=[2,9]", "data.cutout=3", f"loss={loss}", "schedule.epochs=2"]
    one, other, plain = make(*more), make(*more), make(f"loss={loss}", "schedule.epochs=2")
    for t in (one, other, plain):
        list(fit.fit(t, lambda *_: None))
    assert fit.digest(one.tensors()) == fit.digest(other.tensors()) != fit.digest(plain.tensors())


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.randaugment=[2]", "or \\[N, M\\]"),
        ("data.randaugment=[2,31]", "integer in"),
        ("data.randaugment=9", "or \\[N, M\\]"),
        ("data.cutout=-1", "integer in"),
    ],
)
def test_augmentation_that_cannot_be_is_refused(override: str, said: str) -> None:
    with pytest.raises((ConfigError, Invalid), match=said):
        settings.read(settings.compose(["data=digits", override]))
    with pytest.raises(ConfigError, match=r"null where data\.normalise=pixel_mean"):
        settings.read(settings.compose(["data=digits", "data.normalise=pixel_mean", "data.randaugment=[2,9]"]))


@pytest.mark.parametrize(
    "override", ["data.randaugment=[2,9]", "data.cutout=16", "schedule.ema=0.999", "schedule.gamma=0.01"]
)
def test_a_value_that_is_not_the_neutral_one_is_another_run(override: str) -> None:
    one, other = (runs.identity(settings.resolved(settings.compose(["data=digits", *o]))) for o in ([], [override]))
    group, key = override.partition("=")[0].split(".")
    assert key not in one[group]
    assert key in other[group]
