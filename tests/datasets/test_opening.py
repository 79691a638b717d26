"""Splits in memory and streamed are the same images; damaged ones are counted, never shift the others."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled_data import damage, write_cifar10, write_classes, write_image
from PIL import Image

from imgcls.datasets.evaluation_data import open_for_evaluation
from imgcls.datasets.in_memory import InMemoryImages
from imgcls.datasets.labelled_images import Batch, LabelledImages
from imgcls.datasets.opening import Opening, open_dataset
from imgcls.datasets.streamed import StreamedImages
from imgcls.errors import DataError
from imgcls.host.resources import available_bytes
from imgcls.images.transform import Transform

CPU = torch.device("cpu")
TRANSFORM = Transform(10, 8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_classes(tmp_path / "pets", {"cat": 6, "dog": 4})


def open_all(root: Path, *, streamed: bool = False, workers: int = 0, strict: bool = False) -> LabelledImages:
    opening = Opening(transform=TRANSFORM, max_memory_mib=0 if streamed else None, workers=workers, strict=strict)
    return open_for_evaluation(str(root), opening=opening).images


def walk(images: LabelledImages, order: torch.Tensor, batch_size: int = 4) -> list[Batch]:
    return list(images.batches(order, batch_size=batch_size, device=CPU))


def test_pixels_are_those_of_the_transform(root: Path) -> None:
    images = open_all(root)
    assert isinstance(images, InMemoryImages)
    (batch,) = walk(images, torch.tensor([7, 0]))
    for position, name in enumerate(("dog/001.png", "cat/000.png")):
        expected = TRANSFORM.crop(Image.open(root / name))
        np.testing.assert_array_equal(batch.images_BCHW[position].permute(1, 2, 0).numpy(), expected)
    assert batch.labels_B.tolist() == [1, 0]
    assert batch.images_BCHW.dtype == torch.uint8


def test_batches_follow_the_order_and_the_last_may_be_short(root: Path) -> None:
    order = torch.tensor([9, 0, 3, 3, 8, 1, 2, 7, 5])
    images = open_all(root)
    batches = walk(images, order)
    assert [len(batch.labels_B) for batch in batches] == [4, 4, 1]
    assert torch.equal(torch.cat([batch.indices_B for batch in batches]), order)
    assert torch.equal(torch.cat([batch.labels_B for batch in batches]), images.labels_N[order])
    assert walk(images, torch.empty(0, dtype=torch.int64)) == []


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_equals_in_memory_with_damaged_images(root: Path, workers: int) -> None:
    torn = [damage(root / "cat" / "002.png"), damage(root / "dog" / "003.png")]
    held, streamed = open_all(root), open_all(root, streamed=True, workers=workers)
    assert isinstance(streamed, StreamedImages)
    assert (len(held), len(streamed)) == (8, 10)
    assert held.labels_N.tolist() == [0] * 5 + [1] * 3
    # Twice: the second walk goes through the workers that the first one started.
    for _ in range(2):
        one = Batch(*(torch.cat(part) for part in zip(*walk(held, torch.arange(8)), strict=True)))
        other = Batch(*(torch.cat(part) for part in zip(*walk(streamed, torch.arange(10)), strict=True)))
        assert torch.equal(one.images_BCHW, other.images_BCHW)
        assert torch.equal(one.labels_B, other.labels_B)
    for images in (held, streamed):
        assert [bad.path for bad in images.skipped] == torn
        assert {bad.kind for bad in images.skipped} == {"corrupt_image"}
    shuffled = torch.tensor([9, 1, 0, 2])
    (batch,) = walk(streamed, shuffled)
    assert batch.labels_B.tolist() == [0, 0]
    assert batch.indices_B.tolist() == [1, 0]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_walk_may_be_left_and_begun_again(root: Path) -> None:
    streamed = open_all(root, streamed=True, workers=1)
    for _batch in streamed.batches(torch.arange(10), batch_size=1, device=CPU):
        break
    order = torch.tensor([5, 6])
    (batch,) = walk(streamed, order)
    assert batch.labels_B.tolist() == [0, 1]


def test_a_batch_without_a_readable_image_is_empty(root: Path) -> None:
    damage(root / "cat" / "000.png")
    streamed = open_all(root, streamed=True)
    assert [len(batch.labels_B) for batch in walk(streamed, torch.arange(3), batch_size=1)] == [0, 1, 1]


@pytest.mark.slow
def test_spawned_workers_give_the_same(root: Path, tmp_path: Path) -> None:
    script = tmp_path / "spawn.py"
    script.write_text(
        "import multiprocessing, sys, torch\n"
        "from imgcls.images.transform import Transform\n"
        "from imgcls.datasets.evaluation_data import open_for_evaluation\n"
        "from imgcls.datasets.opening import Opening\n"
        "if __name__ == '__main__':\n"
        "    multiprocessing.set_start_method('spawn')\n"
        "    opening = Opening(transform=Transform(10, 8), max_memory_mib=0, workers=1)\n"
        "    images = open_for_evaluation(sys.argv[1], opening=opening).images\n"
        "    for batch in images.batches(torch.arange(10), batch_size=10, device=torch.device('cpu')):\n"
        "        print(int(batch.images_BCHW.sum()), batch.labels_B.tolist())\n"
    )
    found = subprocess.run([sys.executable, script, root], capture_output=True, text=True, check=True).stdout
    (batch,) = walk(open_all(root), torch.arange(10), batch_size=10)
    assert found.strip() == f"{int(batch.images_BCHW.sum())} {batch.labels_B.tolist()}"


@pytest.mark.skipif(os.name == "nt", reason="no process groups")
def test_a_signal_to_the_group_leaves_the_workers_at_work(root: Path) -> None:
    """As torchrun, timeout and a terminal's Ctrl-C send it; the main process has a step to finish."""
    script = (
        "import os, signal, sys, torch\n"
        "from imgcls.images.transform import Transform\n"
        "from imgcls.datasets.evaluation_data import open_for_evaluation\n"
        "from imgcls.datasets.opening import Opening\n"
        "noted = []\n"
        "for number in (signal.SIGTERM, signal.SIGINT):\n"
        "    signal.signal(number, lambda number, frame: noted.append(number))\n"
        "opening = Opening(transform=Transform(10, 8), max_memory_mib=0, workers=1)\n"
        "images = open_for_evaluation(sys.argv[1], opening=opening).images\n"
        "order = torch.arange(len(images)).repeat(20)\n"
        "for number, batch in enumerate(images.batches(order, batch_size=1, device=torch.device('cpu'))):\n"
        "    if number == 1:\n"
        "        os.killpg(0, signal.SIGTERM)\n"
        "        os.killpg(0, signal.SIGINT)\n"
        "print(len(noted), number + 1 - len(order))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(root)], capture_output=True, text=True, check=False, start_new_session=True
    )
    assert (ended.stdout, ended.returncode) == ("2 0\n", 0), ended.stderr


def test_what_workers_get_can_be_pickled(root: Path) -> None:
    streamed = open_all(root, streamed=True)
    assert isinstance(streamed, StreamedImages)
    copy = pickle.loads(pickle.dumps(streamed._dataset))
    position, pixels = copy[3]
    assert position == 3
    assert torch.equal(pixels, walk(streamed, torch.tensor([3]))[0].images_BCHW[0])


@pytest.mark.parametrize("streamed", [False, True])
def test_strict_names_the_first_damaged_image(root: Path, streamed: bool) -> None:
    damage(root / "cat" / "004.png")
    with pytest.raises(DataError, match=r"004\.png can't be read: corrupt_image") as caught:
        walk(open_all(root, streamed=streamed, strict=True), torch.arange(10))
    assert "--strict" in caught.value.hint


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        damage(write_image(tmp_path / name / "x.png"))
    with pytest.raises(DataError, match="none of the 2 images"):
        open_all(tmp_path)


@pytest.mark.unprivileged
def test_an_unreadable_file_is_one_of_the_skipped(root: Path) -> None:
    (root / "cat" / "001.png").chmod(0)
    (bad,) = open_all(root).skipped
    assert bad.kind == "permission_denied"


def test_carved_splits_share_pixels_and_tell_their_own_damage(root: Path) -> None:
    torn = damage(root / "cat" / "002.png")
    data = open_dataset(str(root), transform=TRANSFORM, val_fraction=0.5)
    assert isinstance(data.train, InMemoryImages)
    assert isinstance(data.val, InMemoryImages)
    assert data.train._store is data.val._store
    assert len(data.train) + len(data.val) == 9
    assert [bad.path for bad in (*data.train.skipped, *data.val.skipped)] == [torn]


def test_the_memory_limit_counts_all_splits(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"cat": 30, "dog": 30})
    write_classes(tmp_path / "val", {"cat": 1, "dog": 1})
    # 60 images of 96 px take 1.6 MiB, two take 54 KiB.
    data = open_dataset(str(tmp_path), transform=Transform(96, 96), max_memory_mib=1, workers=0)
    assert isinstance(data.train, StreamedImages)
    assert isinstance(data.val, InMemoryImages)


def test_cifar10_folder_with_and_without_validation(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "cifar-10-batches-py", per_file=8)
    transform = Transform(32, 32)
    plain = open_dataset(str(tmp_path), transform=transform, allow_modified=True)
    assert plain.val is None
    assert plain.train is not None
    assert plain.validation is plain.test is not None
    assert (len(plain.train), len(plain.validation)) == (40, 8)
    assert plain.train.description.modified
    assert plain.train.description.name == "cifar10"
    carved = open_dataset(str(tmp_path), transform=transform, allow_modified=True, val_fraction=0.1, seed=1)
    assert carved.train is not None
    assert carved.val is not None
    assert carved.train.labels_N.bincount().tolist() == [18, 18]
    assert carved.val.labels_N.bincount().tolist() == [2, 2]
    assert carved.validation is carved.val


def test_cifar10_goes_through_the_geometry_of_other_networks(tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path / "cifar-10-batches-py")
    transform = Transform(48, 40)
    pixels = pickle.loads((folder / "test_batch").read_bytes())["data"].reshape(-1, 3, 32, 32)
    expected = transform.crop(Image.fromarray(pixels[2].transpose(1, 2, 0).copy()))
    for max_memory_mib in (None, 0):
        opening = Opening(transform=transform, max_memory_mib=max_memory_mib, workers=0)
        images = open_for_evaluation(str(folder), opening=opening, allow_modified=True).images
        (batch,) = walk(images, torch.tensor([2]))
        np.testing.assert_array_equal(batch.images_BCHW[0].permute(1, 2, 0).numpy(), expected)


def test_some_memory_is_available() -> None:
    assert available_bytes() > 2**20


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_pixels_move_to_the_device_once(root: Path) -> None:
    images = open_all(root)
    assert isinstance(images, InMemoryImages)
    device = torch.device("cuda", 0)
    (one,) = images.batches(torch.arange(10), batch_size=10, device=device)
    assert one.images_BCHW.device == one.labels_B.device == device
    assert images._store.on(device) is images._store.on(device)
    (other,) = walk(images, torch.arange(10), batch_size=10)
    assert torch.equal(one.images_BCHW.cpu(), other.images_BCHW)
