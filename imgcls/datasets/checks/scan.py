"""Looking once at every image of a data set, for all checks together.

Shapes: N images, T side of a thumbnail, B batch, F features.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from imgcls.datasets.checks.look import Look, look_at, num_bytes_of
from imgcls.datasets.readers.archive_images import ArchiveImages
from imgcls.datasets.resolved import ResolvedData
from imgcls.datasets.stored_images import FileImages, StoredImages
from imgcls.errors import ImageError
from imgcls.images import time_limit
from imgcls.images.transform import Floats, Pixels, Transform

Progress = Callable[[int, int], None]
CHUNK = 32
# Chunks in work at once for each thread: crops wait in memory until the network takes them.
WAITING = 3


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
            name = str(path) if is_file or isinstance(stored, ArchiveImages) else f"{path}/{split}/{row:05d}"
            # Several labels have been made one; see `run.by_label_sets`.
            assert isinstance(label, int)
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
    with image.stored.whole(image.row) as whole:
        found = look_at(whole.image, orientation=whole.orientation, num_bytes=num_bytes_of(image.place.path))
        return found, transform.crop(whole.image) if transform is not None else None
