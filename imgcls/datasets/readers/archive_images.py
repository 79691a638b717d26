"""Images inside of archives, read where they lie: nothing is unpacked, and any of them can be had at any time.

Pickled into worker processes, so that an archive is opened anew in each of them.

Shapes: N images.
"""

import dataclasses
import threading
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imgcls.datasets.fingerprints import THREADS, UNKNOWN, fingerprint, remembered_fingerprints
from imgcls.datasets.labelled_images import LabelledImages
from imgcls.datasets.stored_images import digest_of_lines
from imgcls.errors import ImageError, ImageErrorKind
from imgcls.images.archives.members import TarSpan, ZipEntry
from imgcls.images.archives.names import member_name
from imgcls.images.cropping import CroppedImage, cropped_image, decode_options, whole_image
from imgcls.images.decoding import DecodedImage, DecodeOptions
from imgcls.images.inputs.names import display_name
from imgcls.images.transform import Pixels, Transform


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """An archive as it was found.

    Attributes:
        path: of it, as images are named.
        size, mtime_ns, ctime_ns: as in `ImageFile`.
        plain: the file that is read: the same, or what a compressed one was decompressed to.
    """

    path: Path
    size: int
    mtime_ns: int
    ctime_ns: int
    plain: Path


@dataclass(frozen=True, slots=True)
class MemberPlace:
    """Where an image lies in its archive.

    Attributes:
        archive: index of the archive.
        name: of the member, as stored.
        position: of a tar, where the member's bytes begin; of a zip, its place in the directory.
        size: in bytes.
        failure: why it can't be had, as an archive's reading found; None for most.
    """

    archive: int
    name: str
    position: int
    size: int
    failure: tuple[ImageErrorKind, str] | None = None


class ArchiveImages:
    """The images of several archives, by index; see `StoredImages`.

    Args:
        archives: tar files that aren't compressed, and zip files.
        places: of the images, in the order of the archives.
    """

    def __init__(self, archives: Sequence[ArchiveFile], places: Sequence[MemberPlace]) -> None:
        self.archives = tuple(archives)
        self.places = tuple(places)
        self._fingerprints: Tensor | None = None
        self._zips: dict[int, zipfile.ZipFile] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Without what is open here."""
        return {"archives": self.archives, "places": self.places}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["archives"], state["places"])  # type: ignore[misc]

    def __len__(self) -> int:
        return len(self.places)

    def read(self, index: int) -> bytes:
        """An image's bytes.

        Raises:
            ImageError: they can't be had.
        """
        place = self.places[index]
        if place.failure is not None:
            raise ImageError(*place.failure)
        path = self.archives[place.archive].plain
        if path.suffix.lower() != ".zip":
            return TarSpan(path, place.position, place.size).read()
        return ZipEntry(*self._zip_entry(place)).read()

    def _zip_entry(self, place: MemberPlace) -> tuple[zipfile.ZipFile, zipfile.ZipInfo]:
        with self._lock:
            file = self._zips.get(place.archive)
            if file is None:
                try:
                    file = zipfile.ZipFile(self.archives[place.archive].path)
                except FileNotFoundError as exc:
                    raise ImageError("not_found", "the archive has gone") from exc
                except (OSError, zipfile.BadZipFile) as exc:
                    raise ImageError("corrupt_image", f"can't read the archive: {exc}") from exc
                self._zips[place.archive] = file
        entries = file.infolist()
        if place.position >= len(entries) or entries[place.position].filename != place.name:
            raise ImageError("corrupt_image", "the archive has changed since it was listed")
        return file, entries[place.position]

    def crop(self, index: int, transform: Transform) -> Pixels:
        """See `StoredImages`."""
        return cropped_image(self.read(index), transform, decode_options(transform)).pixels_HWC

    def whole(self, index: int) -> AbstractContextManager[DecodedImage]:
        """See `StoredImages`."""
        return whole_image(self.read(index), DecodeOptions())

    def thumbnail(self, index: int, transform: Transform, *, side_px: int) -> CroppedImage:
        """See `StoredImages`."""
        options = dataclasses.replace(decode_options(transform), smallest_px=side_px)
        return cropped_image(self.read(index), None, options, thumbnail_px=side_px)

    def path(self, index: int) -> Path:
        """No file of its own: archive and member, as `name` has them."""
        return Path(self.name(index))

    def name(self, index: int) -> str:
        """See `StoredImages`: `shard.tar::path/in/it.jpg`, as predict names it."""
        place = self.places[index]
        return member_name(display_name(self.archives[place.archive].path), place.name)

    def short_name(self, index: int) -> str:
        """The same without the archive's folder: what a split goes by, wherever the archives lie."""
        place = self.places[index]
        return member_name(self.archives[place.archive].path.name, place.name)

    def fingerprint(self, indices: Sequence[int]) -> str:
        """SHA-256 over names and sizes of images, and times of their archives; the same for a faithful copy."""
        chosen = [self.places[index] for index in indices]
        used = sorted({place.archive for place in chosen})
        archives = (f"{self.archives[each].path.name}\0{self.archives[each].mtime_ns}" for each in used)
        return digest_of_lines([*archives, *(f"{place.archive}\0{place.name}\0{place.size}" for place in chosen)])

    def content_key(self) -> str:
        """See `StoredImages`."""
        archives = (f"{each.path.name}\0{each.size}\0{each.mtime_ns}\0{each.ctime_ns}" for each in self.archives)
        members = (f"{place.archive}\0{place.name}\0{place.position}\0{place.size}" for place in self.places)
        return digest_of_lines([*archives, *members])

    def fingerprints(self) -> Tensor:
        """See `StoredImages`: the same as of the files that were packed."""
        if self._fingerprints is None:

            def make() -> Tensor:
                with ThreadPoolExecutor(THREADS, thread_name_prefix="fingerprint") as pool:
                    return torch.tensor(list(pool.map(self._fingerprint_of, range(len(self)))), dtype=torch.int64)

            self._fingerprints = remembered_fingerprints(self.content_key(), len(self), make)
        return self._fingerprints

    def _fingerprint_of(self, index: int) -> int:
        try:
            return fingerprint(self.read(index))
        except ImageError:
            return UNKNOWN

    def ready_pixels(self, transform: Transform) -> Tensor | None:
        """Always None: they must be decoded."""
        return None


def shards_of(images: LabelledImages) -> Tensor | None:
    """Which archive each image of a split lies in: int64, shape (N,); None for images of one archive, or of none."""
    if not len(images) or not isinstance(images.stored(0)[0], ArchiveImages):
        return None
    stored = [images.stored(index) for index in range(len(images))]
    ids = [store.places[row].archive for store, row in stored if isinstance(store, ArchiveImages)]
    return torch.tensor(ids, dtype=torch.int64) if len(set(ids)) > 1 else None
