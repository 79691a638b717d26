"""An image is known by what its file holds: by its split, to a resumed run, and to whoever measures the model."""

import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from imgcls.datasets.fingerprints import UNKNOWN, SeenImages, fingerprint, fingerprints_of_files
from imgcls.datasets.opening import open_dataset
from imgcls.datasets.splits import split_as_before, split_stratified
from imgcls.images.transform import Transform


def seen(train=(), val=(), earlier=()):
    return SeenImages(*(torch.tensor(list(part), dtype=torch.int64) for part in (train, val, earlier)))


def test_a_fingerprint_is_of_the_bytes_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("IMGCLS_CACHE", str(tmp_path / "cache"))
    contents = [b"one", b"two", b"one", b""]
    paths = [tmp_path / f"{number}.bin" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    found = fingerprints_of_files([*paths, tmp_path / "missing"], key="a")
    assert found.tolist() == [*map(fingerprint, contents), UNKNOWN]
    assert found[0] == found[2] != found[1]
    # BLAKE2b of 64 bits, little-endian: the file format.
    assert fingerprint(b"one").to_bytes(8, "little", signed=True).hex() == "34f2ddaa8b7615c9"


def test_seen_images_count_what_was_trained_on():
    known = seen(train=[1, 2, UNKNOWN], val=[3], earlier=[4])
    assert known.count_trained(torch.tensor([1, 1, 3, 4, 5, UNKNOWN])) == 3
    again = SeenImages.from_dict(known.to_dict())
    assert again is not None
    assert torch.equal(again.trained, torch.tensor([1, 2, UNKNOWN, 4]))
    assert SeenImages.from_dict({}) is None
    assert SeenImages.from_dict({"train": known.train.float(), "val": known.val, "earlier": known.earlier}) is None


def test_a_split_is_kept_under_other_names_and_another_seed():
    names = [f"{number}.png" for number in range(40)]
    labels = [number // 2 % 2 for number in range(40)]
    # Some images are there twice, on both sides of the split.
    prints_N = torch.arange(40) // 2 + 1
    train, val = split_stratified(labels, names, val_fraction=0.25, seed=0)
    known = seen(train=prints_N[train].tolist(), val=prints_N[val].tolist())
    for new_names, seed in ((names, 0), (names, 7), ([f"x{name}" for name in names], 3)):
        new_train, new_val = split_as_before(labels, new_names, prints_N, known, val_fraction=0.25, seed=seed)
        assert sorted(prints_N[new_val].tolist()) == sorted(prints_N[val].tolist())
        assert sorted(new_train + new_val) == list(range(40))
    assert split_as_before(labels, names, prints_N, known, val_fraction=0.25, seed=0) == (train, val)


def test_new_images_are_split_among_themselves():
    labels, names = [0] * 20, [f"{number}.png" for number in range(20)]
    prints_N = torch.arange(1, 21)
    known = seen(train=range(1, 9), val=[9, 10])
    train, val = split_as_before(labels, names, prints_N, known, val_fraction=0.2, seed=0)
    assert set(range(8)) < set(train)
    assert {8, 9} < set(val)
    assert len(val) == 4
    # What was trained on before never validates, and an extra copy of what validated never trains.
    train, val = split_as_before(
        [0] * 4, names[:4], torch.tensor([5, 6, 6, 6]), seen(val=[6], earlier=[5]), val_fraction=0.5, seed=0
    )
    assert (train, val) == ([0], [1, 2, 3])


@pytest.fixture
def noise(tmp_path):
    """Pure noise in three classes."""
    generator = np.random.default_rng(0)
    for name in "abc":
        (tmp_path / "noise" / name).mkdir(parents=True)
        for number in range(30):
            pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "noise" / name / f"{number:02d}.png")
    return tmp_path / "noise"


@pytest.mark.parametrize("max_memory_mib", [None, 0])
def test_every_way_to_hold_images_knows_the_same_ones(noise, max_memory_mib):
    opened = open_dataset(str(noise), transform=Transform(8, 8), max_memory_mib=max_memory_mib, workers=0)
    assert len(opened.train.fingerprints()) == 72
    assert len(opened.val.fingerprints()) == 18
    assert not torch.isin(opened.train.fingerprints(), opened.val.fingerprints()).any()
    files = sorted(noise.rglob("*.png"))
    known = {fingerprint(path.read_bytes()) for path in files}
    assert known == {*opened.train.fingerprints().tolist(), *opened.val.fingerprints().tolist()}


def test_a_copy_with_other_times_has_the_same_fingerprints(noise, tmp_path):
    first = open_dataset(str(noise), transform=Transform(8, 8))
    copy = tmp_path / "copy"
    shutil.copytree(noise, copy)
    for path in copy.rglob("*.png"):
        os.utime(path, (1e9, 1e9))
    second = open_dataset(str(copy), transform=Transform(8, 8))
    assert torch.equal(first.train.fingerprints(), second.train.fingerprints())
    assert first.train.description.fingerprint != second.train.description.fingerprint
