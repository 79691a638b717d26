"""Decoded images kept in the user's cache, so that a second start on the same files decodes nothing.

One file a set of images and geometry: `<cache>/decoded/<SHA-256>.pt`, tensors and plain values only. Everything here
may fail (a full disk, a read-only home): then images are decoded again, and nothing else changes.
"""

import contextlib
import hashlib
import shutil
from pathlib import Path

import PIL
import torch

from imgcls.datasets.in_memory import PixelStore, Unreadable
from imgcls.errors import ImgclsError
from imgcls.host import cache_folders
from imgcls.host.files import PART_SUFFIX, remove_if_abandoned, replacing
from imgcls.host.tensor_files import load_tensors, save_tensors
from imgcls.images.transform import Transform

# Raised whenever decode_image or Transform.crop would answer otherwise for the same file.
DECODER_VERSION = 2
# Fields of a transform that the decoded bytes don't depend on.
ARITHMETIC = ("mean", "std", "channels", "scale")
# All decoded sets together. A folder of 60,000 images takes 8.4 GiB at 224 px and 0.2 GiB at 32 px.
MAX_CACHE_BYTES = 10 * 2**30
# Faults of the file's bytes stay until the bytes change; others (permissions, memory) may pass and aren't remembered.
LASTING_KINDS = ("corrupt_image", "not_an_image")


def cache_folder() -> Path:
    """Where the files lie; never beside the data."""
    return cache_folders.cache_folder() / "decoded"


def cache_key(content_key: str, transform: Transform) -> str:
    """The name of a set's file: SHA-256 over the images' files, the geometry and what decodes them."""
    geometry = {key: value for key, value in transform.to_dict().items() if key not in ARITHMETIC}
    parts = (content_key, *geometry.items(), DECODER_VERSION, PIL.__version__)
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def load_decoded(key: str, num_images: int, size_px: tuple[int, int]) -> PixelStore | None:
    """The pixels stored under a key, mapped into memory; what can't be used is removed.

    Args:
        key: of `cache_key`.
        num_images: that there are to be.
        size_px: height and width that they are to have.
    Returns:
        None where there are none.
    """
    path = cache_folder() / f"{key}.pt"
    if not path.is_file():
        return None
    try:
        content = load_tensors(path)
        pixels_MCHW = content["pixels"]
        unreadable = tuple(Unreadable(int(row), kind, str(text)) for row, kind, text in content["unreadable"])
        usable = pixels_MCHW.dtype == torch.uint8 and pixels_MCHW.shape == (num_images, 3, *size_px)
        # Not one row of memory that stands for all, nor memory of any other kind.
        usable = usable and pixels_MCHW.layout == torch.strided and pixels_MCHW.is_contiguous()
        usable = usable and pixels_MCHW.device.type == "cpu"
        usable = usable and all(bad.kind in LASTING_KINDS and 0 <= bad.row < num_images for bad in unreadable)
    except (ImgclsError, AttributeError, IndexError, KeyError, OverflowError, RuntimeError, TypeError, ValueError):
        usable = False
    with contextlib.suppress(OSError):
        if not usable:
            path.unlink()
            return None
        # Its time says when it was last of use, for prune().
        path.touch()
    return PixelStore(pixels_MCHW, unreadable) if usable else None


def store_decoded(key: str, store: PixelStore) -> bool:
    """Keep decoded images; tells whether it did."""
    num_bytes = store.pixels_MCHW.nbytes
    if num_bytes > MAX_CACHE_BYTES or any(bad.kind not in LASTING_KINDS for bad in store.unreadable):
        return False
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        prune(MAX_CACHE_BYTES - num_bytes)
        # A cache must not be what fills the disk.
        if num_bytes > shutil.disk_usage(folder).free / 2:
            return False
        with replacing(folder / f"{key}.pt") as part:
            save_tensors({"pixels": store.pixels_MCHW, "unreadable": [list(bad) for bad in store.unreadable]}, part)
    except (OSError, ImgclsError):
        return False
    return True


def prune(max_bytes: int) -> None:
    """Remove the sets that were not used for longest until the others fit, and what cut writes left behind."""
    kept = 0
    found = []
    with contextlib.suppress(OSError):
        found = [(path, path.stat()) for path in cache_folder().iterdir()]
    for path, stat in sorted(found, key=lambda item: -item[1].st_mtime_ns):
        if path.suffix == PART_SUFFIX:
            remove_if_abandoned(path)
            continue
        kept += stat.st_size
        if kept > max_bytes:
            # On Windows a file that another process has mapped can't be removed; the next pruning may.
            with contextlib.suppress(OSError):
                path.unlink()
