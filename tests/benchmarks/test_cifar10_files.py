import io
import tarfile

import cifar10_files
import numpy as np
import pytest
import runs
from labelled_data import write_cifar10
from PIL import Image

from imgcls.datasets.readers.cifar10 import read_split


def write_archive(path, names):
    """An archive of images whose red is a number of their own."""
    with tarfile.open(path, "w:xz") as tar:
        for number, name in enumerate(names):
            content = io.BytesIO()
            Image.new("RGB", (32, 32), (number, 0, 0)).save(content, "PNG")
            entry = tarfile.TarInfo(name)
            entry.size = len(content.getvalue())
            content.seek(0)
            tar.addfile(entry, content)
    return path


def test_an_archive_of_class_folders_is_read_whole(tmp_path):
    names = [f"./{split}/{label}/{i}.png" for split in ("train", "test") for label in ("cat", "dog") for i in range(10)]
    with cifar10_files.opened(write_archive(tmp_path / "c.tar.xz", names)) as folder:
        data = cifar10_files.load(folder)
        assert read_split(folder / "cifar-10-batches-py", "test", allow_modified=True).classes == ("cat", "dog")
    numbers = data.train_NCHW[:, 0, 0, 0]
    assert sorted(numbers.tolist()) == list(range(20))
    assert (data.train_labels_N == (numbers >= 10)).all()
    assert (data.test_labels_N == (data.test_NCHW[:, 0, 0, 0] >= 30)).all()
    assert numbers.tolist() != sorted(numbers.tolist())
    assert not folder.exists()


def test_a_limit_takes_the_first_of_each_file(tmp_path):
    whole = write_cifar10(tmp_path / "cifar-10-batches-py", per_file=4).parent
    full = cifar10_files.load(whole)
    with cifar10_files.opened(whole, limit=7) as folder:
        data = cifar10_files.load(folder)
    assert np.array_equal(data.train_NCHW, full.train_NCHW[[0, 1, 4, 5, 8, 12, 16]])
    assert np.array_equal(data.test_NCHW, full.test_NCHW[:2])
    assert np.array_equal(data.test_labels_N, full.test_labels_N[:2])


def test_the_published_archive_is_unpacked(tmp_path):
    whole = write_cifar10(tmp_path / "cifar-10-batches-py")
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as tar:
        tar.add(whole, "cifar-10-batches-py")
    with cifar10_files.opened(tmp_path / "cifar-10-python.tar.gz") as folder:
        assert np.array_equal(cifar10_files.load(folder).train_NCHW, cifar10_files.load(tmp_path).train_NCHW)


def test_a_folder_without_it_is_named(tmp_path):
    with pytest.raises(SystemExit, match=r"holds no cifar-10-batches-py"), cifar10_files.opened(tmp_path):
        pass


def test_files_are_told_from_the_published_ones(tmp_path):
    write_cifar10(tmp_path / "pickles")
    assert runs.describe(tmp_path / "pickles") == "re-encoded CIFAR-10"
