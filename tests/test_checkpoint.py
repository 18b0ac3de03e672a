import torch

from noisygce.runs import checkpoint
from noisygce.runs.checkpoint import LAST, PREVIOUS


def content(n):
    tensors = {"a": torch.randn(3, 4, generator=torch.Generator().manual_seed(n)), "b": torch.tensor([True, False])}
    return {
        "run_id": "mine",
        "tensors": tensors,
        "progress": {"epoch": n, "rows": [{"x": 0.1, "y": None}]},
        "seconds": 0.5,
        "made": [],
    }


def same(found, expected):
    assert found.keys() == expected.keys()
    assert found["progress"] == expected["progress"]
    assert all(torch.equal(found["tensors"][k], v) for k, v in expected["tensors"].items())


def test_what_is_written_is_read_bit_for_bit(tmp_path):
    checkpoint.write(tmp_path, content(1))
    found, passed_over = checkpoint.read(tmp_path, "mine")
    same(found, content(1))
    assert passed_over == ""


def test_no_checkpoint_is_none(tmp_path):
    assert checkpoint.read(tmp_path, "mine") == (None, "")


def test_the_last_two_are_kept_and_nothing_else(tmp_path):
    for n in (1, 2, 3):
        checkpoint.write(tmp_path, content(n))
    assert sorted(p.name for p in tmp_path.iterdir()) == [LAST, PREVIOUS]
    same(checkpoint.read(tmp_path, "mine")[0], content(3))
    (tmp_path / LAST).unlink()
    same(checkpoint.read(tmp_path, "mine")[0], content(2))


def test_remove_leaves_everything_but_checkpoints_and_temporary_files(tmp_path):
    checkpoint.write(tmp_path, content(1))
    checkpoint.write(tmp_path, content(2))
    for name in ("last.ckpt.99.tmp", "metrics.csv", "manifest.json"):
        (tmp_path / name).touch()
    checkpoint.remove(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["manifest.json", "metrics.csv"]
