"""CIFAR-10's published files: found or fetched, checked, and read without running the code that a pickle may hold.

Shapes: N images, C channels (3), H and W 32.
"""

import hashlib
import io
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imgcls.errors import DataError

# URL and MD5 sums are those of torchvision.datasets.CIFAR10, copied because importing torchvision takes longer than
# reading the data; a test holds them against it.
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
FOLDER = "cifar-10-batches-py"
META = "batches.meta"
TRAIN_FILES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_FILES = ("test_batch",)
MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
}
SIDE_PX = 32

# What numpy arrays are pickled with. `_reconstruct` moved between numpy's versions; an array knows its own.
_RECONSTRUCT: Any = np.empty(0).__reduce__()[0]
_ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    # Python 3 writes bytes into old pickles as text and this call.
    ("_codecs", "encode"): lambda text, _encoding="latin1": text.encode("latin1"),
}


@dataclass(frozen=True)
class CifarSplit:
    """One split as it lies in the files.

    Attributes:
        pixels_NCHW: uint8, shape (N, 3, 32, 32).
        labels: class indices, one an image.
        classes: names in the order of the indices.
        fingerprint: SHA-256 over the files' checksums.
        modified: whether a checksum isn't the published one.
    """

    pixels_NCHW: np.ndarray[Any, np.dtype[np.uint8]]
    labels: list[int]
    classes: tuple[str, ...]
    fingerprint: str
    modified: bool


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs") from None


def find_batches(folder: Path) -> Path | None:
    """The folder of CIFAR-10's pickles that a path holds or is, if any."""
    for candidate in (folder, folder / FOLDER):
        if (candidate / META).is_file() and any((candidate / name).is_file() for name in (*TRAIN_FILES, *TEST_FILES)):
            return candidate
    return None


def read_split(folder: Path, split: str, *, allow_modified: bool = False) -> CifarSplit:
    """Read and check the files of `train` or `test`.

    Args:
        folder: the one that holds `batches.meta`.
        split: `train` or `test`.
        allow_modified: read files whose checksums aren't the published ones, and say so in the result.
    Raises:
        DataError: a file is missing, damaged, modified, or asks to run code.
    """
    names = (META, *(TRAIN_FILES if split == "train" else TEST_FILES))
    # Reading, hashing and unpickling all leave the interpreter free for the other files.
    with ThreadPoolExecutor(len(names)) as pool:
        contents = dict(zip(names, pool.map(lambda name: _read(folder / name), names), strict=True))
        sums = dict(zip(names, pool.map(_md5, contents.values()), strict=True))
        changed = [name for name in names if sums[name] != MD5[name]]
        if changed and not allow_modified:
            raise DataError(
                f"{folder / changed[0]} is not the published CIFAR-10: its MD5 is {sums[changed[0]]}, "
                f"not {MD5[changed[0]]} ({len(changed)} of {len(names)} files differ)",
                hint="add --allow-modified-data if you know these files; the result then says so",
            )
        parsed = dict(zip(names, pool.map(lambda name: _unpickle(folder / name, contents[name]), names), strict=True))
    classes = _class_names(folder / META, parsed[META])
    parts = [_pixels_and_labels(folder / name, parsed[name], len(classes)) for name in names[1:]]
    return CifarSplit(
        pixels_NCHW=np.concatenate([pixels for pixels, _ in parts]).reshape(-1, 3, SIDE_PX, SIDE_PX),
        labels=[label for _, labels in parts for label in labels],
        classes=classes,
        fingerprint=hashlib.sha256("".join(f"{name}:{sums[name]}\n" for name in names).encode()).hexdigest(),
        modified=bool(changed),
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as exc:
        raise DataError(f"{path.parent} lacks {path.name}", hint=f"unpack {URL} there again") from exc
    except OSError as exc:
        raise DataError(f"can't read {path}: {exc.strerror or exc}", hint="check its permissions") from exc


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _unpickle(path: Path, content: bytes) -> dict[str, Any]:
    try:
        # latin1 maps each byte to one character, which is how Python 2's strings of pixels come through whole.
        value = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    except pickle.UnpicklingError as exc:
        raise DataError(f"{path} was not read: {exc}", hint="fetch CIFAR-10 again from its publisher") from exc
    except Exception as exc:
        # A damaged pickle can raise anything; none of it is ours.
        raise DataError(f"{path} is damaged: {exc!r}", hint="fetch CIFAR-10 again") from exc
    if not isinstance(value, dict):
        raise DataError(f"{path} holds no table of CIFAR-10", hint="fetch CIFAR-10 again")
    return value


def _class_names(path: Path, meta: dict[str, Any]) -> tuple[str, ...]:
    names = meta.get("label_names")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError(f"{path} has no label_names", hint="fetch CIFAR-10 again")
    return tuple(names)


def _pixels_and_labels(
    path: Path, batch: dict[str, Any], num_classes: int
) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], list[int]]:
    pixels, labels = batch.get("data"), batch.get("labels")
    fits = (
        isinstance(pixels, np.ndarray)
        and pixels.dtype == np.uint8
        and isinstance(labels, list)
        and pixels.shape == (len(labels), 3 * SIDE_PX * SIDE_PX)
        and all(type(label) is int and 0 <= label < num_classes for label in labels)
    )
    if not fits:
        raise DataError(f"{path} doesn't hold images of 3 x 32 x 32 bytes with labels", hint="fetch CIFAR-10 again")
    return pixels, labels  # type: ignore[return-value]
