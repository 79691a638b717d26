"""Files of several frames or pages: how many there are, and one after the other without beginning anew for each."""

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import ImageFile

from imgcls.images.formats import open_image

if TYPE_CHECKING:
    from imgcls.images.worker_process.process import OpenElsewhere

# Formats whose further images are frames or pages; those in an MPO or ICO file are other sizes of the same.
WITH_FRAMES = frozenset({"GIF", "WEBP", "PNG", "TIFF", "AVIF", "HEIF", "JXL", "FLI", "DCX", "PSD"})
# Pages that can be read although one before them is damaged; frames build upon each other.
WITH_PAGES = frozenset({"TIFF", "DCX"})
# Their frames are counted by reading the file to its end.
COUNTED = frozenset({"GIF", "TIFF"})
# That get a record of their own: a few minutes of a film. A small file can claim millions.
MOST_FRAMES = 10_000


class FrameFile:
    """One file, opened when it is first needed; for one thread at a time.

    Args:
        source: a file, or an encoded image's bytes.
        open_: gives what Pillow reads.
    """

    def __init__(self, source: Path | bytes, open_: Callable[[Path | bytes], Path | io.BytesIO]) -> None:
        self.source = source
        self._open = open_
        self._image: ImageFile.ImageFile | None = None
        # Known once it has been opened, also where its first frame is damaged.
        self.num_frames = 1
        self.has_pages = False

    @contextlib.contextmanager
    def opened(self) -> Iterator[ImageFile.ImageFile]:
        """The image, which stays open; after an error it is opened anew the next time."""
        if self._image is None:
            self._image = open_image(self._open(self.source))
        try:
            yield self._image
        except BaseException:
            self.close()
            raise

    def count(self, image: ImageFile.ImageFile) -> int:
        """How many frames or pages there are; 1 where nobody can tell.

        Args:
            image: opened from this file. It is left as it is: counting the frames of some formats moves to others.
        """
        if image.format not in WITH_FRAMES:
            return 1
        # Whatever is damaged behind the first frame, the first one can be shown.
        with contextlib.suppress(Exception):
            if image.format not in COUNTED:
                return max(int(getattr(image, "n_frames", 1)), 1)
            with open_image(self._open(self.source)) as other:
                return max(int(getattr(other, "n_frames", 1)), 1)
        return 1

    def close(self) -> None:
        """Let go of the file."""
        if self._image is not None:
            # Leaving its context closes the file; the pixels that were read stay.
            with contextlib.suppress(Exception):
                self._image.__exit__(None, None, None)
            self._image = None


@dataclass(slots=True)
class FrameCursor:
    """Where a file of several frames or pages is read on.

    Attributes:
        frame: which one comes next, from 0.
        num_frames: how many there are, once the file has been opened.
        has_pages: whether a damaged one leaves the others as they are.
        file: open, once the first has been read.
        elsewhere: the same in a worker process, for a file that may run away.
    """

    frame: int = 0
    num_frames: int = 1
    has_pages: bool = False
    file: FrameFile | None = None
    elsewhere: "OpenElsewhere | None" = None

    def close(self) -> None:
        """Let go of the file."""
        if self.file is not None:
            self.file.close()
