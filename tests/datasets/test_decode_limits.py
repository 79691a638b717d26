"""What an image of a data set may cost: an image whose decoding never ends is skipped, and the others are there."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from labelled_data import write_classes

from imgcls.datasets.evaluation_data import open_for_evaluation
from imgcls.datasets.opening import Opening, open_dataset
from imgcls.errors import DataError
from imgcls.images import cropping, time_limit
from imgcls.images.transform import Transform

TRANSFORM = Transform(8, 8)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two classes of ten images; the decoder never comes to an end with two of them."""
    folder = write_classes(tmp_path / "images", {"cat": 10, "dog": 10})
    let_go, decode = threading.Event(), cropping.decoded_image

    def decode_for_ever(path: Path, *options: Any) -> Any:
        while path.parent.name == "dog" and path.name in ("003.png", "004.png") and not let_go.is_set():
            sum(range(1000))
        return decode(path, *options)

    monkeypatch.setattr(cropping, "decoded_image", decode_for_ever)
    monkeypatch.setattr(time_limit, "IMAGE_LIMIT_SEC", 0.3)
    yield folder
    let_go.set()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_set_in_memory(folder: Path, workers: int) -> None:
    data = open_dataset(str(folder), transform=TRANSFORM, val_fraction=0, workers=workers)
    assert data.train is not None
    assert len(data.train) == 18
    assert sorted(bad.path.name for bad in data.train.skipped) == ["003.png", "004.png"]
    assert {bad.message for bad in data.train.skipped} == {"decoding took more than 0.3 s"}
    with pytest.raises(DataError, match="decoding took more"):
        open_dataset(str(folder), transform=Transform(9, 9), val_fraction=0, strict=True)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_streamed_set(folder: Path, workers: int) -> None:
    data = open_dataset(str(folder), transform=TRANSFORM, val_fraction=0, workers=workers, max_memory_mib=0)
    assert data.train is not None
    batches = data.train.batches(torch.arange(20), batch_size=8, device=torch.device("cpu"))
    assert [len(batch.labels_B) for batch in batches] == [8, 6, 4]
    assert sorted(bad.path.name for bad in data.train.skipped) == ["003.png", "004.png"]


def test_evaluation(folder: Path) -> None:
    found = open_for_evaluation(
        str(folder), opening=Opening(transform=TRANSFORM), split=None, val_fraction=None, seed=0, whole=True
    )
    assert len(found.images) == 18
    assert len(found.images.skipped) == 2


def test_background_and_depth_shape_the_pixels_of_a_set(tmp_path: Path) -> None:
    from PIL import Image

    write_classes(tmp_path, {"cat": 2, "dog": 2})
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "cat" / "a.png")
    Image.new("I;16", (8, 8), 4095).save(tmp_path / "dog" / "b.png")
    for max_memory_mib in (None, 0):
        told = Transform(8, 8, background_rgb=(255, 128, 0), depth_bits=12)
        for transform, clear, deep in ((TRANSFORM, (0, 0, 0), 16), (told, (255, 128, 0), 255)):
            data = open_dataset(
                str(tmp_path), transform=transform, val_fraction=0, workers=0, max_memory_mib=max_memory_mib
            )
            assert data.train is not None
            (batch,) = data.train.batches(torch.arange(6), batch_size=6, device=torch.device("cpu"))
            assert tuple(batch.images_BCHW[2, :, 4, 4].tolist()) == clear
            assert set(batch.images_BCHW[5].flatten().tolist()) == {deep}


def test_images_without_their_last_bytes_are_taken_where_that_is_asked_for(tmp_path: Path) -> None:
    from PIL import Image

    write_classes(tmp_path, {"cat": 2, "dog": 2})
    Image.new("RGB", (64, 64), (200, 0, 0)).save(tmp_path / "cat" / "a.jpg")
    content = (tmp_path / "cat" / "a.jpg").read_bytes()
    (tmp_path / "cat" / "a.jpg").write_bytes(content[:-8])
    for max_memory_mib in (None, 0):
        for accepts in (False, True):
            data = open_dataset(
                str(tmp_path),
                transform=Transform(8, 8, accepts_truncated=accepts),
                val_fraction=0,
                workers=0,
                max_memory_mib=max_memory_mib,
            )
            assert data.train is not None
            batches = list(data.train.batches(torch.arange(len(data.train)), batch_size=9, device=torch.device("cpu")))
            assert sum(len(batch.labels_B) for batch in batches) == 4 + accepts
            assert [bad.path.name for bad in data.train.skipped] == ([] if accepts else ["a.jpg"])
