"""Tar files that are compressed as a whole: decompressed once into the cache, to be read in any order.

Nothing is taken out of the tar itself: the cache gets one file per archive, and no name inside of it is looked at.
"""

import contextlib
import hashlib
import shutil
import time
from pathlib import Path

from imgcls.errors import DataError, OutputError
from imgcls.host import cache_folders
from imgcls.host.files import PART_SUFFIX, remove_if_abandoned, replacing
from imgcls.images.archives.compressed import FAILURES, decompressing
from imgcls.images.archives.names import TAR_SUFFIXES, archive_suffix

BLOCK_BYTES = 1 << 22
# How often it is looked whether the disk still has room.
LOOK_BYTES = 1 << 28
# Of the disk; the rest is for whoever else writes there.
FREE_SHARE = 0.1
# Unused for so long, nobody trains on it any more.
KEPT_SEC = 30 * 86_400.0


def decompressed(path: Path) -> Path:
    """The tar inside of a compressed one, made now if it is not in the cache.

    Raises:
        DataError: the archive is damaged or torn, or the disk has no room for it.
        UsageError: a package is missing.
    """
    status = path.stat()
    told = f"{path.absolute()}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}"
    folder = cache_folders.cache_folder() / "decompressed"
    made = folder / f"{hashlib.sha256(told.encode('utf-8', 'surrogateescape')).hexdigest()}.tar"
    if not made.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _remove_unused(folder)
            with replacing(made, option="IMGCLS_CACHE") as part:
                _decompress(path, part)
        except (OSError, OutputError) as exc:
            raise DataError(f"{path} can't be decompressed into {folder}: {exc}", hint=hint_for(path)) from exc
    # Its time says when it was last of use.
    with contextlib.suppress(OSError):
        made.touch()
    return made


def hint_for(path: Path) -> str:
    """What decompresses it by hand."""
    tool = {"gz": "gzip -dk", "bz2": "bzip2 -dk", "xz": "xz -dk", "zst": "zstd -d"}
    command = tool[TAR_SUFFIXES[archive_suffix(path.name)]]
    return f"decompress it elsewhere, {command} {path}, and name the .tar file"


def _decompress(path: Path, part: Path) -> None:
    with path.open("rb") as packed, part.open("wb") as file:
        stream = decompressing(packed, TAR_SUFFIXES[archive_suffix(path.name)])
        num_bytes = 0
        while True:
            try:
                block = stream.read(BLOCK_BYTES)
            except FAILURES as exc:
                said = " ".join(str(exc).split()) or type(exc).__name__
                raise DataError(
                    f"{path} is torn or damaged: {said}", hint="get it again, or leave out what is damaged"
                ) from exc
            if not block:
                return
            if num_bytes // LOOK_BYTES != (num_bytes + len(block)) // LOOK_BYTES or not num_bytes:
                usage = shutil.disk_usage(part.parent)
                if usage.free < FREE_SHARE * usage.total:
                    raise DataError(f"{path} is too large for the disk of {part.parent}", hint=hint_for(path))
            file.write(block)
            num_bytes += len(block)


def _remove_unused(folder: Path) -> None:
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if path.suffix == PART_SUFFIX:
                remove_if_abandoned(path)
            elif time.time() - path.stat().st_mtime > KEPT_SEC:
                path.unlink()
