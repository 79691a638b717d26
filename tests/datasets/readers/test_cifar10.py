"""CIFAR-10's files are checked, and no pickle runs code."""

import hashlib
import os
import pickle
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from labelled_data import CIFAR10_FILES, write_cifar10

from imgcls.datasets.readers import cifar10
from imgcls.errors import DataError

PER_FILE = 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_cifar10(tmp_path / "cifar-10-batches-py", per_file=PER_FILE)


def publish(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the files in a folder the published ones."""
    for path in folder.iterdir():
        monkeypatch.setitem(cifar10.MD5, path.name, hashlib.md5(path.read_bytes()).hexdigest())


def test_constants_are_torchvisions() -> None:
    from torchvision.datasets import CIFAR10

    assert (CIFAR10.url, CIFAR10.tgz_md5) == (cifar10.URL, cifar10.ARCHIVE_MD5)
    assert CIFAR10.base_folder == cifar10.FOLDER
    assert tuple(name for name, _ in CIFAR10.train_list) == cifar10.TRAIN_FILES
    assert tuple(name for name, _ in CIFAR10.test_list) == cifar10.TEST_FILES
    published = dict([*CIFAR10.train_list, *CIFAR10.test_list])
    assert published | {CIFAR10.meta["filename"]: CIFAR10.meta["md5"]} == cifar10.MD5


def test_pixels_and_labels_in_the_order_of_the_files(folder: Path) -> None:
    train = cifar10.read_split(folder, "train", allow_modified=True)
    test = cifar10.read_split(folder, "test", allow_modified=True)
    assert train.pixels_NCHW.shape == (5 * PER_FILE, 3, 32, 32)
    assert train.labels == [0, 1, 0, 1] * 5
    assert train.classes == test.classes == ("cat", "dog")
    second = pickle.loads((folder / "data_batch_2").read_bytes())["data"]
    np.testing.assert_array_equal(train.pixels_NCHW[PER_FILE : 2 * PER_FILE].reshape(PER_FILE, -1), second)
    assert train.fingerprint != test.fingerprint


def test_other_checksums_are_refused_with_the_option_that_accepts_them(folder: Path) -> None:
    with pytest.raises(DataError, match=r"batches\.meta is not the published CIFAR-10.*2 of 2 files") as caught:
        cifar10.read_split(folder, "test")
    assert "--allow-modified-data" in caught.value.hint
    assert cifar10.read_split(folder, "test", allow_modified=True).modified


def test_published_files_are_not_called_modified(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(folder, monkeypatch)
    assert not cifar10.read_split(folder, "train").modified
    content = bytearray((folder / "data_batch_4").read_bytes())
    content[-200] ^= 1
    (folder / "data_batch_4").write_bytes(content)
    with pytest.raises(DataError, match=r"data_batch_4.*1 of 6 files"):
        cifar10.read_split(folder, "train")
    # Each split answers for its own files only.
    assert not cifar10.read_split(folder, "test").modified


class Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_in_a_pickle_never_runs(folder: Path, tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "ran"
    content = {"data": Malicious(marker), "labels": []}
    (folder / "test_batch").write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(DataError, match=r"test_batch was not read: it asks for .*mkdir"):
        cifar10.read_split(folder, "test", allow_modified=True)
    assert not marker.exists()


def test_a_pickle_as_python_2_wrote_it(folder: Path) -> None:
    # The published files hold byte strings (opcode T) where Python 3 would write text and a call of _codecs.encode.
    class Python2Pickler(pickle._Pickler):
        def save_bytes(self, value: bytes) -> None:
            self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)

        dispatch: ClassVar[dict[type, Any]] = {**pickle._Pickler.dispatch, bytes: save_bytes}

    content = pickle.loads((folder / "test_batch").read_bytes())
    with (folder / "test_batch").open("wb") as file:
        Python2Pickler(file, protocol=2).dump(content)
    raw = (folder / "test_batch").read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (folder / "test_batch").write_bytes(raw)
    assert b"_codecs" not in raw
    test = cifar10.read_split(folder, "test", allow_modified=True)
    np.testing.assert_array_equal(test.pixels_NCHW.reshape(PER_FILE, -1), content["data"])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        pickle.dumps([1, 2]),
        pickle.dumps({"data": np.zeros((2, 3072), np.uint8)}),
        pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}),
        pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 2]}),
        pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0, "1"]}),
        pickle.dumps({"data": np.zeros((2, 3072)), "labels": [0, 1]}),
        pickle.dumps({"data": np.zeros((2, 30), np.uint8), "labels": [0, 1]}),
    ],
)
def test_damaged_batches_are_named(folder: Path, content: bytes) -> None:
    (folder / "test_batch").write_bytes(content)
    with pytest.raises(DataError, match="test_batch"):
        cifar10.read_split(folder, "test", allow_modified=True)


def test_damaged_class_names_and_missing_files_are_named(folder: Path) -> None:
    (folder / "data_batch_3").unlink()
    with pytest.raises(DataError, match="lacks data_batch_3"):
        cifar10.read_split(folder, "train", allow_modified=True)
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": "cat"}))
    with pytest.raises(DataError, match=r"batches\.meta has no label_names"):
        cifar10.read_split(folder, "test", allow_modified=True)


def test_found_in_the_folder_itself_or_below_it(folder: Path, tmp_path: Path) -> None:
    assert cifar10.find_batches(folder) == cifar10.find_batches(tmp_path) == folder
    for name in CIFAR10_FILES:
        (folder / name).unlink()
    assert cifar10.find_batches(folder) is None
