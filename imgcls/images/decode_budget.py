"""How many bytes of pixels are decoded at the same time: large images wait for each other.

An image's size is known from its header, before its pixels take any memory.
"""

import contextlib
import threading
from collections.abc import Iterator

from PIL import Image

from imgcls.host.resources import available_bytes

# Of the memory that is free when the first image is decoded.
MEMORY_SHARE = 0.5
LEAST_BYTES = 256 * 2**20
# Bytes a pixel: as decoded, as RGB (which Pillow keeps in four), and what a decoder holds besides.
BYTES_OF_MODE = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2, "LA": 4, "PA": 4}
RGB_BYTES = 4
# Held twice while they are decoded: the whole compressed canvas, a TIFF's strips, a frame beside the canvas.
DECODED_TWICE = frozenset({"WEBP", "AVIF", "HEIF", "JXL", "JPEG2000", "TIFF", "GIF"})


class ByteBudget:
    """Bytes that several threads share; who finds too few waits, in turn; one that is too large for all goes alone.

    Args:
        total: bytes; None for half of what is free when it is first asked.
    """

    def __init__(self, total: int | None = None) -> None:
        self._total = total
        self._used = 0
        self._next_ticket = self._serving = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def reserve(self, num_bytes: int) -> Iterator[None]:
        """Hold so many bytes while the block runs."""
        with self._changed:
            if self._total is None:
                self._total = max(LEAST_BYTES, int(available_bytes() * MEMORY_SHARE))
            num_bytes = min(num_bytes, self._total)
            ticket, self._next_ticket = self._next_ticket, self._next_ticket + 1
            total = self._total
            # In turn, so that a large image is not passed by small ones for ever.
            self._changed.wait_for(lambda: self._serving == ticket and self._used + num_bytes <= total)
            self._serving += 1
            self._used += num_bytes
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._used -= num_bytes
                self._changed.notify_all()


# Of the process, as its memory is.
DECODING = ByteBudget()


def decoding_bytes(image: Image.Image) -> int:
    """About how many bytes it takes to decode an image and make it RGB.

    Args:
        image: opened, its pixels not yet read.
    """
    decoded = BYTES_OF_MODE.get(image.mode, 4) * (2 if image.format in DECODED_TWICE else 1)
    return image.width * image.height * (decoded + RGB_BYTES)
