"""Where a data set's images lie before any transform: in files, or in CIFAR-10's arrays.

Both are pickled into worker processes, so they hold plain values only.

Shapes: N images, C channels (3), H height, W width.
"""

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from imgcls.datasets.fingerprints import fingerprint, fingerprints_of_files
from imgcls.images.cropping import CroppedImage, cropped_image, decode_options, whole_image
from imgcls.images.decoding import DecodedImage, DecodeOptions
from imgcls.images.inputs.names import display_name
from imgcls.images.thumbnails import make_thumbnail
from imgcls.images.transform import Pixels, Transform


class StoredImages(Protocol):
    """Images by index."""

    def __len__(self) -> int:
        """How many there are, readable or not."""

    def crop(self, index: int, transform: Transform) -> Pixels:
        """Decode one and apply a transform's geometry: uint8, shape (H, W, 3).

        Raises:
            ImageError: it can't be decoded.
        """

    def whole(self, index: int) -> AbstractContextManager[DecodedImage]:
        """One as it is, upright and in RGB; the memory of its pixels is reserved for the block.

        Raises:
            ImageError: it can't be decoded.
        """

    def thumbnail(self, index: int, transform: Transform, *, side_px: int) -> CroppedImage:
        """One whole and upright as a small JPEG, with the size that it has in full.

        Args:
            index: which one.
            transform: how transparent and deep images become RGB.
            side_px: of the square that it fits into.
        Raises:
            ImageError: it can't be decoded.
        """

    def path(self, index: int) -> Path:
        """The file that holds it."""

    def name(self, index: int) -> str:
        """What it is called in answers: its path; in an array the array's, `::` and its number."""

    def content_key(self) -> str:
        """A SHA-256 that changes with the files."""

    def fingerprints(self) -> Tensor:
        """What each image holds, in eight bytes: int64, shape (N,); see `fingerprints.py`."""

    def ready_pixels(self, transform: Transform) -> Tensor | None:
        """All images as uint8 (N, 3, H, W) if the transform's geometry leaves them as they are, else None."""


class ImageFile(NamedTuple):
    """A file as a scan found it.

    Attributes:
        name: relative to the split's folder, with `/` between its parts.
        label: its class, the first folder of the name (in Unicode's composed form).
        size: in bytes.
        mtime_ns, ctime_ns: times of the last change of content and of status.
    """

    name: str
    label: str
    size: int
    mtime_ns: int
    ctime_ns: int


class FileImages:
    """Images in files under one folder."""

    def __init__(self, root: Path, files: Sequence[ImageFile]) -> None:
        self.root = root
        self.files = list(files)
        self._fingerprints: Tensor | None = None

    def __len__(self) -> int:
        return len(self.files)

    def crop(self, index: int, transform: Transform) -> Pixels:
        """See `Images`."""
        return cropped_image(self.path(index), transform, decode_options(transform)).pixels_HWC

    def whole(self, index: int) -> AbstractContextManager[DecodedImage]:
        """See `Images`."""
        return whole_image(self.path(index), DecodeOptions())

    def thumbnail(self, index: int, transform: Transform, *, side_px: int) -> CroppedImage:
        """See `Images`."""
        options = dataclasses.replace(decode_options(transform), smallest_px=side_px)
        return cropped_image(self.path(index), None, options, thumbnail_px=side_px)

    def path(self, index: int) -> Path:
        """See `Images`."""
        return self.root / self.files[index].name

    def name(self, index: int) -> str:
        """See `Images`."""
        return display_name(self.path(index))

    def fingerprint(self, indices: Sequence[int] | None = None) -> str:
        """SHA-256 over names, sizes and modification times, the same for a faithful copy elsewhere."""
        chosen = self.files if indices is None else [self.files[index] for index in indices]
        return digest_of_lines(f"{file.name}\0{file.size}\0{file.mtime_ns}" for file in chosen)

    def content_key(self) -> str:
        """See `Images`; beside the fingerprint's values it holds the status times.

        Two archives can unpack to files of the same names, sizes and modification times (bitmaps, dated 1970); the
        status time is when they were really written here.
        """
        return digest_of_lines(f"{file.name}\0{file.size}\0{file.mtime_ns}\0{file.ctime_ns}" for file in self.files)

    def fingerprints(self) -> Tensor:
        """See `Images`."""
        if self._fingerprints is None:
            paths = [self.path(index) for index in range(len(self))]
            self._fingerprints = fingerprints_of_files(paths, key=self.content_key())
        return self._fingerprints

    def ready_pixels(self, transform: Transform) -> Tensor | None:
        """Always None: files must be decoded."""
        return None


class ArrayImages:
    """Images that are pixels already, as CIFAR-10's.

    Args:
        pixels_NCHW: uint8, shape (N, 3, H, W).
        folder: where they came from.
        sha256: of their content.
    """

    def __init__(self, pixels_NCHW: np.ndarray[Any, np.dtype[np.uint8]], folder: Path, sha256: str) -> None:
        self.pixels_NCHW = pixels_NCHW
        self.folder = folder
        self.sha256 = sha256

    def __len__(self) -> int:
        return len(self.pixels_NCHW)

    def crop(self, index: int, transform: Transform) -> Pixels:
        """See `Images`."""
        with self.whole(index) as whole:
            return transform.crop(whole.image)

    @contextlib.contextmanager
    def whole(self, index: int) -> Iterator[DecodedImage]:
        """See `Images`."""
        image = Image.fromarray(np.ascontiguousarray(self.pixels_NCHW[index].transpose(1, 2, 0)))
        yield DecodedImage(image, *image.size)

    def thumbnail(self, index: int, transform: Transform, *, side_px: int) -> CroppedImage:
        """See `Images`."""
        with self.whole(index) as whole:
            nothing = np.empty((0, 0, 3), np.uint8)
            return CroppedImage(nothing, whole.width, whole.height, thumbnail=make_thumbnail(whole.image, side_px))

    def path(self, index: int) -> Path:
        """The folder: the images have no files of their own."""
        return self.folder

    def name(self, index: int) -> str:
        """See `Images`; the number counts from 0 in the published order of the split."""
        return f"{self.folder}::{index:05d}"

    def content_key(self) -> str:
        """See `Images`."""
        return self.sha256

    def fingerprints(self) -> Tensor:
        """See `Images`."""
        rows = np.ascontiguousarray(self.pixels_NCHW).reshape(len(self), -1)
        return torch.tensor([fingerprint(row.data) for row in rows], dtype=torch.int64)

    def ready_pixels(self, transform: Transform) -> Tensor | None:
        """See `Images`."""
        height, width = self.pixels_NCHW.shape[2:]
        same = (height, width) == transform.size_px and transform.resized_size(width, height) == (width, height)
        return torch.from_numpy(self.pixels_NCHW) if same else None


def digest_of_lines(lines: Iterable[str]) -> str:
    """SHA-256 over lines of text, whose bytes outside UTF-8 may be lone surrogates."""
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
