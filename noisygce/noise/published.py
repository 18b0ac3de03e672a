"""Published label sets: noisy labels of CIFAR that papers' authors have put beside their code, by name.

Each set is one file, known by its SHA-256. It is read from below the data root, where it lies as in the authors'
repository, and fetched from there when missing.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from noisygce import check
from noisygce.cifar import CLASSES
from noisygce.errors import ConfigError, DataError, MissingData
from noisygce.noise.base import Given, Labels, check_rate, realised_rate

HOST = "https://raw.githubusercontent.com"
_PATIENCE = 20.0  # seconds without an answer


@dataclass(frozen=True)
class Source:
    """A repository on GitHub, owner/name, at a commit."""

    repository: str
    commit: str


@dataclass(frozen=True)
class LabelSet:
    """One file of ``source``. data: the leaf of the data set that it labels anew. rate: share of the training labels
    that it changes, to four decimals."""

    source: Source
    file: str
    data: str
    rate: float
    sha256: str

    @property
    def path(self) -> str:
        """Below the data root: where a clone of the repository there has it."""
        return f"{self.source.repository.partition('/')[2]}/{self.file}"

    @property
    def url(self) -> str:
        return f"{HOST}/{self.source.repository}/{self.source.commit}/{self.file}"


PLC = Source("pxiangwu/PLC", "8c2bcfd25e538fdcdb637a820ac340e9ee084e59")  # Zhang et al. 2021, arXiv 2103.07756
IDN = Source("chenpf1025/IDN", "24cd1154d2f0ab4baa7d23bd015be27ced07a383")  # Chen et al. 2021, arXiv 2012.05458


def _pmd(data: str, kind: int, level: str, rate: float, sha256: str) -> dict[str, LabelSet]:
    file = f"cifar/noisy_labels/{data}-{kind}-{level}.npy"
    return {f"{data}-pmd{kind}-{level}": LabelSet(PLC, file, data, rate, sha256)}


def _idn(level: str, sha256: str) -> dict[str, LabelSet]:
    file = f"data/CIFAR10/label_noisy/dependent{level}.csv"
    return {f"cifar10-idn-{level}": LabelSet(IDN, file, "cifar10", float(level), sha256)}


SETS: Mapping[str, LabelSet] = {
    **_pmd("cifar10", 1, "0.35", 0.3153, "f8216a408f6413c82b1aa6868e496a6ed4ad712d5876a110bd53bb779bd3c3d2"),
    **_pmd("cifar10", 1, "0.70", 0.6341, "ab274c1392fda8138d5b3e6f1e3786aac2b6cd52752cbfd289542a5ca85a6bdf"),
    **_pmd("cifar10", 2, "0.35", 0.3184, "0b1c144637547296af0fda75f6747dd6a1670750fecf444c06a0654068904d78"),
    **_pmd("cifar10", 2, "0.70", 0.6303, "8b187c86378a2916dcb2387ef8864b8728a43320ac4f617d1b645f24c6cf4fad"),
    **_pmd("cifar10", 3, "0.35", 0.3160, "322de9da3ed0d20c7c6081cd5de34db4a94879fb671057f78ee5fa469d8b5e17"),
    **_pmd("cifar10", 3, "0.70", 0.6324, "d96249e0df489de665de41f22e7812258d87511ac0498c61b408630f08cbfe60"),
    **_pmd("cifar100", 1, "0.35", 0.3173, "cef3ccade9429ed0721b15f066cc5a5ef6141d299f6a9f0b1a0808e748dec848"),
    **_pmd("cifar100", 1, "0.70", 0.6289, "22026d55c7b6ee34bde26c7f6fe66f4cb5a38561dff25cf4bf39931c554ed8b6"),
    **_pmd("cifar100", 2, "0.35", 0.3121, "8d3cc60fbea6210eaaeaacab279b5b4a44fabc0dba4d383beac302877f8ebe7d"),
    **_pmd("cifar100", 2, "0.70", 0.6304, "acaf6e760b8148b2f3444cd7b8595eeef457b7594e16aeb51d655c196a8e4d58"),
    **_pmd("cifar100", 3, "0.35", 0.3191, "327b71dad500a348d38d9514f9de143764d674df5b4aceda40bbf23832c5956e"),
    **_pmd("cifar100", 3, "0.70", 0.6306, "f24cb020e718661d6790cd25fde9d0e2ce5861a727032b1b6387de8c21cbe40f"),
    **_idn("0.1", "e8d7f988626668a42d54ae272a7e1fb92f6a0f17b8a99c139ca07764e2eed3d1"),
    **_idn("0.2", "3d6e4b5b8f4d5037f144c22deece477a9c429e9e08a487af69fe9643725f24ea"),
    **_idn("0.3", "c2ae5144d3c2ffc5f185ad5586ad80a9d1cb0acf7bb1edc259dfa9bc43d0671f"),
    **_idn("0.4", "e56e57cd7ec402ead6cd65f6f64ca436c7d3e5cf4bdf174eb8a1efa1daa90dad"),
}


class Published(Given):
    """The labels of a published set; nothing is drawn, every seed has the same labels.

    set: of ``SETS``. pmd1 to pmd3 are the three types of polynomial-margin diminishing noise (Zhang et al. 2021, arXiv
    2103.07756). Their files label the first 45,000 training images; the rest, which the authors hold out, keep their
    true labels. idn: instance-dependent noise (Chen et al. 2021, arXiv 2012.05458). rate: share of wrong labels in the
    set, to four decimals; the leaf knows it.
    """

    def __init__(self, rate: float, set: str) -> None:
        self.set = check.choice("set", set, SETS)
        super().__init__(rate, None)
        self.files = (SETS[set].path,)

    def fits(self, classes: Sequence[str], side: int, channels: int) -> None:
        data = SETS[self.set].data
        if classes and {*classes} != CLASSES[data]:
            raise ConfigError(f"noise.set={self.set}: these are labels for data={data}; take another noise")

    def bind(self, root: Path, labels: Labels, classes: Sequence[str]) -> None:
        self.fits(classes, 0, 0)
        known = SETS[self.set]
        given = read(known, root, labels)
        found = realised_rate(labels, given)
        if abs(known.rate - found) > 5.1e-5:
            raise DataError(
                f"noise.set={self.set}: it changes {known.rate:.4f} of the labels of data={known.data}, and "
                f"{found:.4f} of these; its labels are in the order of the official training images"
            )
        check_rate(self.rate, found, self.set)
        self._given = given


def read(known: LabelSet, root: Path, labels: Labels) -> Labels:
    """The labels (N,) of a set below the data ``root``, fetched when missing; the data set's own ``labels`` (N,) beyond
    the samples that the file covers. Raises DataError, or MissingData."""
    path = root / known.path
    try:
        content = path.read_bytes() if path.is_file() else _fetched(known, path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if wrong := _differs(known, content):
        raise DataError(
            f"{path} is damaged or another file: {wrong}; delete it and start again to fetch it, or put {known.url} "
            "there"
        )
    if path.suffix == ".npy":
        given: Labels = np.load(io.BytesIO(content), allow_pickle=False).astype(np.int64)
        if len(given) <= len(labels):
            return np.concatenate([given, labels[len(given) :]])
    else:
        clean, given = np.loadtxt(io.BytesIO(content), delimiter=",", skiprows=1, dtype=np.int64, unpack=True)
        if np.array_equal(clean, labels):
            return given
    raise DataError(f"{path} does not fit the data set: its labels are those of data={known.data}, in official order")


def _differs(known: LabelSet, content: bytes) -> str:
    found = hashlib.sha256(content).hexdigest()
    return "" if found == known.sha256 else f"its SHA-256 is {found}, the published one {known.sha256}"


def _fetched(known: LabelSet, path: Path) -> bytes:
    """The content of a set from its repository, which then lies at ``path``. Raises MissingData."""
    try:
        with urllib.request.urlopen(known.url, timeout=_PATIENCE) as answer:
            content: bytes = answer.read()
        if wrong := _differs(known, content):
            raise ValueError(wrong)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as aside:  # runs side by side may fetch it at once
            (Path(aside) / path.name).write_bytes(content)
            (Path(aside) / path.name).replace(path)
    except (OSError, ValueError) as error:
        raise MissingData(
            f"{path} is missing and could not be fetched ({error}); put {known.url} there, or clone "
            f"https://github.com/{known.source.repository} into the data folder"
        ) from None
    return content
