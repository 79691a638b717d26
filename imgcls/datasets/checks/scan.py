"""Looking once at every image of a data set, for all checks together.

Shapes: N images, T side of a thumbnail, B batch, F features.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import Image, ImageStat

from imgcls.datasets.resolved import ResolvedData
from imgcls.datasets.stored_images import FileImages, StoredImages
from imgcls.errors import ImageError
from imgcls.images import time_limit
from imgcls.images.rgb import orientation_of
from imgcls.images.transform import Floats, Pixels, Transform

Progress = Callable[[int, int], None]
THUMBNAIL_PX = 32
# What blur and light are measured on: the same scale for all images, and no more work for large ones.
STATISTICS_PX = 256
CHUNK = 32
# Chunks in work at once for each thread: crops wait in memory until the network takes them.
WAITING = 3
DIGEST_BYTES = 16
GREY = "L"


class Embed(Protocol):
    """A frozen network; `evaluation.frozen_features` has the real one.

    Attributes:
        transform: whose geometry its images have.
    """

    @property
    def transform(self) -> Transform: ...

    def __call__(self, images_BHWC: Pixels, /) -> Floats:
        """Features, float32, shape (batch, F)."""


@dataclass(frozen=True)
class Place:
    """One image of the data set.

    Attributes:
        name: for people and the fix list: its path, or its place in CIFAR-10.
        split: `train`, `val` or `test`.
        label: class index.
        path: its file; None for CIFAR-10.
    """

    name: str
    split: str
    label: int
    path: Path | None


class Look(NamedTuple):
    """What one image shows.

    Attributes:
        width, height: in pixels, upright.
        digest: of the decoded pixels and their shape.
        brightness: mean grey, in [0, 255].
        contrast: standard deviation of the grey.
        sharpness: standard deviation of the second differences, over the contrast.
        orientation: EXIF's, 1 where it has none.
        num_bytes: of the file; 0 for CIFAR-10.
        thumbnail: the whole image squashed: uint8, shape (T, T, 3).
    """

    width: int
    height: int
    digest: bytes
    brightness: float
    contrast: float
    sharpness: float
    orientation: int
    num_bytes: int
    thumbnail: Pixels


@dataclass(frozen=True)
class Scan:
    """A data set that was looked at.

    Attributes:
        classes: names in the order of the class indices.
        places: the images that could be read, in the order train, val, test.
        looks: what each of them shows.
        features_NF: of the frozen network, rows of length 1; None without one.
        unreadable: the others, and why.
    """

    classes: tuple[str, ...]
    places: tuple[Place, ...]
    looks: tuple[Look, ...]
    features_NF: Floats | None
    unreadable: tuple[tuple[Place, ImageError], ...]

    @property
    def labels_N(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Class indices."""
        return np.array([place.label for place in self.places], dtype=np.int64)

    @property
    def thumbnails_NTTC(self) -> Pixels:
        """All thumbnails."""
        return np.stack([look.thumbnail for look in self.looks])

    def label_of(self, index: int) -> str:
        """The class of an image, by name."""
        return self.classes[self.places[index].label]


class _Image(NamedTuple):
    stored: StoredImages
    row: int
    place: Place


def scan_images(data: ResolvedData, *, embed: Embed | None, workers: int, progress: Progress | None = None) -> Scan:
    """Decode every image once, and keep what the checks need.

    Args:
        data: the splits, as training would have them.
        embed: the frozen network; None leaves out what needs one.
        workers: threads that decode.
        progress: called with images done and in all.
    """
    images = list(_images(data))
    places: list[Place] = []
    looks: list[Look] = []
    features: list[Floats] = []
    unreadable: list[tuple[Place, ImageError]] = []
    done = 0
    for chunk, results in _in_order(images, embed.transform if embed else None, workers):
        crops: list[Pixels] = []
        for image, result in zip(chunk, results, strict=True):
            if isinstance(result, ImageError):
                unreadable.append((image.place, result))
                continue
            look, crop = result
            places.append(image.place)
            looks.append(look)
            if crop is not None:
                crops.append(crop)
        if embed is not None and crops:
            features.append(embed(np.stack(crops)))
        done += len(chunk)
        if progress is not None:
            progress(done, len(images))
    features_NF = np.concatenate(features) if features else None
    return Scan(data.classes, tuple(places), tuple(looks), features_NF, tuple(unreadable))


def _images(data: ResolvedData) -> Iterator[_Image]:
    for split, part in data.splits.items():
        stored = part.images
        is_file = isinstance(stored, FileImages)
        for row, label in zip(part.rows, part.labels, strict=True):
            path = stored.path(row)
            name = str(path) if is_file else f"{path}/{split}/{row:05d}"
            yield _Image(stored, row, Place(name, split, label, path if is_file else None))


Result = tuple[Look, Pixels | None] | ImageError


def _in_order(
    images: Sequence[_Image], transform: Transform | None, workers: int
) -> Iterator[tuple[Sequence[_Image], list[Result]]]:
    """Chunks with their results, a few of them ahead."""

    def look(image: _Image) -> Result:
        try:
            return _look(image, transform)
        except ImageError as exc:
            return ImageError(exc.kind, exc.message)

    def look_at_all(chunk: Sequence[_Image]) -> list[Result]:
        return list(time_limit.map_within(look, chunk, time_limit.IMAGE_LIMIT_SEC))

    chunks = iter([images[start : start + CHUNK] for start in range(0, len(images), CHUNK)])
    with ThreadPoolExecutor(max(workers, 1), thread_name_prefix="check") as pool:
        waiting: list[tuple[Sequence[_Image], Future[list[Result]]]] = []
        try:
            for chunk in islice(chunks, max(workers, 1) * WAITING):
                waiting.append((chunk, pool.submit(look_at_all, chunk)))
            while waiting:
                chunk, future = waiting.pop(0)
                results = future.result()
                if (following := next(chunks, None)) is not None:
                    waiting.append((following, pool.submit(look_at_all, following)))
                yield chunk, results
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _look(image: _Image, transform: Transform | None) -> tuple[Look, Pixels | None]:
    orientation, num_bytes = _file_facts(image.place.path)
    with image.stored.whole(image.row) as whole:
        digest = hashlib.blake2b(whole.tobytes(), digest_size=DIGEST_BYTES)
        digest.update(f"{whole.width} {whole.height}".encode())
        grey = whole.convert(GREY)
        grey.thumbnail((STATISTICS_PX, STATISTICS_PX), reducing_gap=2.0)
        statistics = ImageStat.Stat(grey)
        contrast = statistics.stddev[0]
        thumbnail = whole.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BILINEAR, reducing_gap=2.0)
        found = Look(
            width=whole.width,
            height=whole.height,
            digest=digest.digest(),
            brightness=statistics.mean[0],
            contrast=contrast,
            sharpness=_sharpness(grey) / max(contrast, 1.0),
            orientation=orientation,
            num_bytes=num_bytes,
            thumbnail=np.asarray(thumbnail, dtype=np.uint8),
        )
        return found, transform.crop(whole) if transform is not None else None


def _sharpness(grey: Image.Image) -> float:
    """Standard deviation of the second differences (the Laplacian), in grey levels."""
    if min(grey.size) < 3:
        return 0.0
    values = np.asarray(grey, dtype=np.float32)
    middle = values[1:-1, 1:-1]
    sides = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:]
    return float((sides - 4 * middle).std())


def _file_facts(path: Path | None) -> tuple[int, int]:
    """EXIF's orientation and the size of a file, in bytes."""
    if path is None:
        return 1, 0
    try:
        with Image.open(path) as opened:
            return orientation_of(opened), path.stat().st_size
    except Exception:
        # Why it can't be read is said by the decoder.
        return 1, 0
