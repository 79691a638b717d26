"""CIFAR-10 for the benchmarks: found in whatever form it was brought, cut to a few images, read into tensors.

Shapes: N images, C channels (3), H and W 32.
"""

import contextlib
import io
import pickle
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from imgcls.datasets.readers import cifar10

FILES = {"train": cifar10.TRAIN_FILES, "test": cifar10.TEST_FILES}
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")


@dataclass(frozen=True)
class Cifar10:
    """Both splits, in bytes on the CPU.

    Attributes:
        train_NCHW, test_NCHW: uint8 pixels.
        train_labels_N, test_labels_N: int64.
    """

    train_NCHW: Tensor
    train_labels_N: Tensor
    test_NCHW: Tensor
    test_labels_N: Tensor


@contextlib.contextmanager
def opened(data: Path, *, limit: int | None = None) -> Iterator[Path]:
    """The folder that holds `cifar-10-batches-py`; what has to be made for it is gone at the end.

    Args:
        data: such a folder, the published archive, or an archive of `train/<class>/*.jpg` and `test/<class>/*.jpg`.
        limit: training images at most, and a fifth as many of the test's.
    """
    with tempfile.TemporaryDirectory(prefix="cifar10-") as temporary:
        folder = data
        if data.name.endswith(ARCHIVES):
            folder = Path(temporary) / "whole"
            _unpack(data, folder)
        if limit is not None:
            folder = _limited(folder, Path(temporary) / "limited", limit)
        batches(folder)
        yield folder


def batches(data: Path) -> Path:
    """The folder of pickles that a folder holds or is; ends the script where there is none."""
    found = cifar10.find_batches(data)
    if found is None:
        raise SystemExit(f"{data} holds no {cifar10.FOLDER}")
    return found


def load(data: Path) -> Cifar10:
    """Read both splits, with the reader that imgcls has, whatever their checksums are."""
    folder = batches(data)
    train, test = (cifar10.read_split(folder, split, allow_modified=True) for split in FILES)
    return Cifar10(
        torch.from_numpy(train.pixels_NCHW),
        torch.tensor(train.labels),
        torch.from_numpy(test.pixels_NCHW),
        torch.tensor(test.labels),
    )


def _limited(data: Path, target: Path, limit: int) -> Path:
    """A copy with the first images of each file."""
    source = batches(data)
    num_files = len(cifar10.TRAIN_FILES)
    for split, names in FILES.items():
        whole = cifar10.read_split(source, split, allow_modified=True)
        per_file = len(whole.labels) // len(names)
        for index, name in enumerate(names):
            # A fifth of the limit in each file, and what remains in the first: as many as were asked for in all.
            count = max(limit // num_files + (index < limit % num_files), 1)
            rows = slice(index * per_file, index * per_file + min(count, per_file))
            _write(target, name, whole.pixels_NCHW[rows], whole.labels[rows])
    _write_meta(target, list(whole.classes))
    return target


def _unpack(archive: Path, target: Path) -> None:
    with tarfile.open(archive) as tar:
        if any(PurePosixPath(name).name == cifar10.META for name in tar.getnames()):
            tar.extractall(target, filter="data")
            return
        images: dict[str, list[tuple[str, bytes]]] = {split: [] for split in FILES}
        for member in tar:
            *_, split, label, _file = ("", "", *PurePosixPath(member.name).parts)
            if member.isfile() and split in images and (file := tar.extractfile(member)) is not None:
                images[split].append((label, file.read()))
    classes = sorted({label for split in images.values() for label, _encoded in split})
    # Class by class as they lie in the archive, they would be a poor sample wherever only the first few are taken.
    rng = np.random.default_rng(0)
    for split, names in FILES.items():
        order = rng.permutation(len(images[split]))
        for name, part in zip(names, np.array_split(order, len(names)), strict=True):
            chosen = [images[split][index] for index in part]
            pixels = np.stack([np.asarray(Image.open(io.BytesIO(raw)).convert("RGB")) for _label, raw in chosen])
            _write(target, name, pixels.transpose(0, 3, 1, 2), [classes.index(label) for label, _raw in chosen])
    _write_meta(target, classes)


def _write(target: Path, name: str, pixels_NCHW: np.ndarray, labels: list[int]) -> None:
    folder = target / cifar10.FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    content = {"data": np.ascontiguousarray(pixels_NCHW).reshape(len(labels), -1), "labels": labels}
    (folder / name).write_bytes(pickle.dumps(content, protocol=2))


def _write_meta(target: Path, classes: list[str]) -> None:
    (target / cifar10.FOLDER / cifar10.META).write_bytes(pickle.dumps({"label_names": classes}, protocol=2))
