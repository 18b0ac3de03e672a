"""How images are fed to a network."""

from __future__ import annotations

from noisygce import check


class Preprocessing:
    """Normalisation of all images, random crop and flip of training images.

    normalise: "channel" subtracts the channel's mean and divides by its std; "pixel_mean" subtracts each pixel's mean
    over the training set (the paper's). mean, std: per channel, in units of the full range 0..1. padding: zero pixels
    on each side before the random crop. flip: horizontally, with probability 1/2. rotation: in degrees; each image is
    then turned about its centre by an angle uniform in +-rotation, nearest pixels, zeros from beyond its border.
    """

    def __init__(
        self,
        normalise: str,
        mean: list[float],
        std: list[float],
        padding: int,
        flip: bool,
        rotation: float,
        *,
        channels: int = 0,
    ) -> None:
        """channels: of the images, where they are known; 0 where they are not yet."""
        self.normalise = check.choice("normalise", normalise, ("channel", "pixel_mean"))
        self.mean = check.numbers("mean", mean, "[0, 1]")
        self.std = check.numbers("std", std, "(0, 1]")
        for key, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != (channels or len(values)):
                raise check.Invalid(key, list(values), f"a list of {channels}, one for each channel")
        self.padding = check.whole("padding", padding, "[0, 64]")
        self.flip = check.flag("flip", flip)
        self.rotation = check.number("rotation", rotation, "[0, 180]")


class Standardisation(Preprocessing):
    """How vectors are fed to a network.

    normalise: "standard" gives each of their values the mean 0 and the standard deviation 1 over the training set (a
    value that never changes becomes 0); "none" leaves them as they are.
    """

    def __init__(self, normalise: str, *, channels: int = 0) -> None:
        self.normalise = check.choice("normalise", normalise, ("standard", "none"))
        self.mean, self.std = (0.0,), (1.0,)
        self.padding, self.flip, self.rotation = 0, False, 0.0
