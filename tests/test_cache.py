"""Caches of digests and decoded pictures change nothing but the time that a second look takes."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noisygce import inputs
from noisygce.data import cache


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NOISYGCE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def aged(path: Path, content: bytes) -> Path:
    """A file that was written long ago."""
    path.write_bytes(content)
    os.utime(path, (1e9, 1e9))
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read to be hashed, once a call, as by another process."""
    found: list[Path] = []

    def sha256(path: Path) -> str:
        found.append(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(inputs, "sha256", sha256)
    monkeypatch.setattr(cache, "_TICK_NS", 0)  # a ctime cannot be set, and is that of this moment
    return found


def test_a_file_is_hashed_again_only_where_it_has_changed(tmp_path: Path, reads: list[Path]) -> None:
    one, two = aged(tmp_path / "one", b"1"), aged(tmp_path / "two", b"2")
    first = cache.digests([one, two])
    assert first == [hashlib.sha256(b"1").hexdigest(), hashlib.sha256(b"2").hexdigest()]
    assert cache.digests([two, one]) == first[::-1]
    assert reads == [one, two]
    aged(two, b"3")  # of the same size and time, but for the time of its change
    assert cache.digests([one, two]) == [first[0], hashlib.sha256(b"3").hexdigest()]
    assert reads == [one, two, two]


def test_a_file_of_this_moment_is_hashed_each_time(
    tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_TICK_NS", 10**15)
    path = tmp_path / "new"
    path.write_bytes(b"1")
    assert cache.digests([path]) == cache.digests([path])
    assert reads == [path, path]


def test_a_file_that_cannot_be_read_has_no_digest(tmp_path: Path) -> None:
    assert cache.digests([tmp_path / "nowhere", tmp_path]) == [None, None]


@pytest.mark.parametrize("damage", ["no folder", "no database", "nothing"])
def test_without_a_cache_the_digests_are_the_same(tmp_path: Path, home: Path, damage: str) -> None:
    path = aged(tmp_path / "one", b"1")
    if damage == "no folder":
        home.write_bytes(b"a file where the folder should be")
    else:
        home.mkdir()
        (home / "digests.sqlite").write_bytes(b"no database" * 100 if damage == "no database" else b"")
    assert cache.digests([path, path]) == [hashlib.sha256(b"1").hexdigest()] * 2
    assert cache.pictures([path], 8, 3)[1].keys() == {0}


def drawn(folder: Path, count: int) -> list[Path]:
    rng, paths = np.random.default_rng(0), [folder / f"{i}.png" for i in range(count)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).save(path)
    return paths


def test_cached_pictures_are_those_of_the_reader(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = drawn(tmp_path, 40)
    paths[7].write_bytes(b"not a picture")
    expected = [inputs.picture(path, 8, 8, 3) for i, path in enumerate(paths) if i != 7]
    first, broken = cache.pictures(paths, 8, 3)
    monkeypatch.setattr(inputs, "picture", lambda *_: pytest.fail("decoded again"))
    second, again = cache.pictures(paths, 8, 3)
    assert np.array_equal(first, expected)
    assert np.array_equal(second, expected)
    assert broken == again
    assert list(broken) == [7]
    assert broken[7].startswith(f"{paths[7]} (")
    assert len(list((home / "pictures").glob("*.npy"))) == 1


@pytest.mark.parametrize("other", ["content", "size", "channels", "order"])
def test_other_pictures_are_another_entry(tmp_path: Path, home: Path, other: str) -> None:
    paths = drawn(tmp_path, 3)
    cache.pictures(paths, 8, 3)
    if other == "content":
        Image.new("RGB", (9, 12), "red").save(paths[0])
    if other == "order":
        paths.reverse()
    size, channels = 9 if other == "size" else 8, 1 if other == "channels" else 3
    found, _ = cache.pictures(paths, size, channels)
    assert np.array_equal(found, [inputs.picture(path, size, size, channels) for path in paths])
    assert len(list((home / "pictures").glob("*.npy"))) == 2


def test_what_is_written_into_the_arrays_stays_out_of_the_cache(tmp_path: Path) -> None:
    paths = drawn(tmp_path, 3)
    cache.pictures(paths, 8, 3)
    mine, _ = cache.pictures(paths, 8, 3)
    mine[:] = 0
    assert cache.pictures(paths, 8, 3)[0].any()


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), MemoryError()])
def test_a_picture_that_could_not_be_read_this_once_is_not_cached_as_broken(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    paths, picture = drawn(tmp_path, 3), inputs.picture

    def fails_once(path: Path, *size: int) -> object:
        if path == paths[1] and not home.joinpath("failed").exists():
            home.joinpath("failed").touch()
            raise error
        return picture(path, *size)

    monkeypatch.setattr(inputs, "picture", fails_once)
    assert [*cache.pictures(paths, 8, 3)[1]] == [1]
    found, broken = cache.pictures(paths, 8, 3)
    assert broken == {}
    assert np.array_equal(found[1], picture(paths[1], 8, 8, 3))


def test_a_picture_that_changes_between_its_digest_and_its_decoding_does_not_enter_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, digests = drawn(tmp_path, 3), cache.digests
    content = paths[0].read_bytes()

    def then_changed(of: list[Path]) -> list[str | None]:
        found = digests(of)
        Image.new("RGB", (9, 12), "red").save(paths[0])
        return found

    monkeypatch.setattr(cache, "digests", then_changed)
    cache.pictures(paths, 8, 3)
    monkeypatch.setattr(cache, "digests", digests)
    paths[0].write_bytes(content)
    assert np.array_equal(cache.pictures(paths, 8, 3)[0][0], inputs.picture(paths[0], 8, 8, 3))


def test_pictures_that_no_run_has_read_for_long_are_deleted_when_others_are_stored(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def entries() -> list[Path]:
        return sorted((home / "pictures").glob("*.npy"))

    def unused(days: float) -> None:
        for entry in entries():
            os.utime(entry, (time.time() - days * 86_400,) * 2)

    paths = drawn(tmp_path, 3)
    cache.pictures(paths, 8, 3)
    (first,) = entries()
    unused(cache.KEPT - 1)
    cache.pictures(paths, 9, 3)
    assert len(entries()) == 2
    unused(cache.KEPT + 1)
    cache.pictures(paths, 8, 3)  # read, and so no longer unused
    monkeypatch.setattr(cache, "_WORTH", 3)
    caplog.set_level(logging.INFO)
    cache.pictures(paths, 10, 3)
    assert first in entries()
    assert len(entries()) == len([*(home / "pictures").glob("*.json")]) == 2
    assert f"rm -r {home} empties the cache" in caplog.text


def test_a_damaged_entry_is_made_anew(tmp_path: Path, home: Path) -> None:
    paths = drawn(tmp_path, 3)
    expected, _ = cache.pictures(paths, 8, 3)
    for damage, name in ((b"", "*.npy"), (b"[]", "*.json"), (b"x", "*.json")):
        (entry,) = (home / "pictures").glob(name)
        entry.write_bytes(damage)
        assert np.array_equal(cache.pictures(paths, 8, 3)[0], expected)
