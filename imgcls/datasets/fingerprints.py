"""What an image's file holds, in eight bytes: the same whatever the file is called, where it lies and when it was made.

A checkpoint keeps the fingerprints of the images that it was trained and validated on, so that an accuracy is measured
on others, or says that it isn't.

Shapes: N images.
"""

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from imgcls.errors import ImgclsError
from imgcls.host import cache_folders
from imgcls.host.files import replacing
from imgcls.host.tensor_files import load_tensors

# Of a file that can't be read; never taken for that of another one.
UNKNOWN = 0
NUM_BYTES = 8
# Reading a file waits for the disk, so more threads than cores are of use.
THREADS = 8
# Sets whose fingerprints are remembered; each takes eight bytes per image.
MAX_REMEMBERED = 64


@dataclass(frozen=True)
class SeenImages:
    """Fingerprints of the images behind a network's weights.

    Attributes:
        train: of its training, in the order of the data set, int64.
        val: of its validation.
        earlier: of the trainings before, that its first weights came from.
    """

    train: Tensor
    val: Tensor
    earlier: Tensor

    @classmethod
    def from_dict(cls, values: Mapping[str, Tensor]) -> Self | None:
        """What a checkpoint holds; None where it holds nothing, or nothing that can be used."""
        found = [values.get(name) for name in ("train", "val", "earlier")]
        usable = [part for part in found if isinstance(part, Tensor) and part.dtype == torch.int64 and part.ndim == 1]
        return cls(*usable) if len(usable) == len(found) else None

    def to_dict(self) -> dict[str, Tensor]:
        """Tensors by name, for a checkpoint."""
        return {"train": self.train, "val": self.val, "earlier": self.earlier}

    @property
    def trained(self) -> Tensor:
        """All that the weights were ever trained on."""
        return torch.cat([self.train, self.earlier])

    def count_trained(self, fingerprints_N: Tensor) -> int:
        """How many of these images the weights were trained on."""
        return int((torch.isin(fingerprints_N, self.trained) & (fingerprints_N != UNKNOWN)).sum())


def fingerprint(content: bytes | memoryview) -> int:
    """Of an image's bytes: BLAKE2b of 64 bits, as a signed number."""
    digest = hashlib.blake2b(content, digest_size=NUM_BYTES).digest()
    return int.from_bytes(digest, "little", signed=True)


def fingerprints_of_files(paths: Sequence[Path], *, key: str) -> Tensor:
    """Of each file, int64, shape (N,); read once, and remembered until the files change.

    Args:
        paths: the files.
        key: a SHA-256 that changes with them.
    """
    return remembered_fingerprints(key, len(paths), lambda: _read_all(paths))


def _read_all(paths: Sequence[Path]) -> Tensor:
    with ThreadPoolExecutor(THREADS, thread_name_prefix="fingerprint") as pool:
        return torch.tensor(list(pool.map(_of_file, paths, chunksize=64)), dtype=torch.int64)


def _of_file(path: Path) -> int:
    try:
        return fingerprint(path.read_bytes())
    except OSError:
        return UNKNOWN


def remembered_fingerprints(key: str, num_images: int, make: Callable[[], Tensor]) -> Tensor:
    """Fingerprints that are made once for a key, and found in the cache from then on: int64, shape (num_images,)."""
    store = cache_folders.cache_folder() / "fingerprints" / f"{key}.pt"
    with contextlib.suppress(ImgclsError, KeyError, TypeError, AttributeError):
        found = load_tensors(store)["fingerprints"] if store.is_file() else None
        if found is not None and found.dtype == torch.int64 and found.shape == (num_images,):
            # A copy, as the file is mapped into memory and may be replaced.
            return torch.as_tensor(found).clone()
    made = make()
    # A memory that can't be written costs time, never the answer.
    with contextlib.suppress(OSError, RuntimeError, ImgclsError):
        store.parent.mkdir(parents=True, exist_ok=True)
        with replacing(store) as part:
            torch.save({"fingerprints": made}, part)
        known = sorted(store.parent.glob("*.pt"), key=lambda path: path.stat().st_mtime_ns)
        for path in known[:-MAX_REMEMBERED]:
            path.unlink(missing_ok=True)
    return made
