"""The images that shape an int8 twin."""

import hashlib
import itertools
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from imgcls.errors import DataError
from imgcls.images.inputs.sources import iterate_sources

# Beyond so many files a folder's fingerprint looks at none.
FINGERPRINTED = 10_000


@dataclass(frozen=True)
class Calibration:
    """A folder of typical images.

    Attributes:
        folder: searched recursively; half of its images shape the twin, at most 128, and the others judge it.
    """

    folder: Path

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the names, sizes and times of its files, as 64 hexadecimal digits.

        Raises:
            DataError: no such folder.
        """
        if not self.folder.is_dir():
            raise DataError(f"no such folder: {self.folder}", hint="name a folder of images: --calibrate DIR")
        digest = hashlib.sha256()
        for source in itertools.islice(iterate_sources([str(self.folder)]), FINGERPRINTED):
            if source.path is not None and source.path.is_file():
                status = source.path.stat()
                name = source.path.relative_to(self.folder).as_posix()
                digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()
