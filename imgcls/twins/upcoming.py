"""The images that are to be answered: how many, to see whether a twin pays, and the first few, to check it on.

Shapes: N images, H height, W width, C channels (3).
"""

import contextlib
import itertools
from collections.abc import Callable, Iterable
from typing import Protocol

from imgcls.errors import ImageError
from imgcls.images.cropping import cropped_image, decode_options
from imgcls.images.inputs.source import Source
from imgcls.images.transform import Pixels, Transform

# So many are compared beside the drawn scenes.
COMPARED = 8
# Among so many of the first, as a folder of damaged files would be read to its end.
LOOKED_AT = 32


class Upcoming(Protocol):
    """Images that are to be answered, as far as they can be told before."""

    def are_at_least(self, count: int) -> bool:
        """Whether there are so many."""

    def first_pixels(self, transform: Transform) -> list[Pixels]:
        """The first few after a transform's geometry, uint8, each of shape (H, W, C)."""


class NothingKnown:
    """Nobody can tell what comes."""

    def are_at_least(self, count: int) -> bool:
        """No."""
        return False

    def first_pixels(self, transform: Transform) -> list[Pixels]:
        """None."""
        return []


class UpcomingSources:
    """Inputs of `predict`.

    Args:
        open_inputs: gives them, anew each time.
    """

    def __init__(self, open_inputs: Callable[[], Iterable[Source]]) -> None:
        self._open_inputs = open_inputs

    def are_at_least(self, count: int) -> bool:
        """By walking through the first so many."""
        # What goes wrong while counting goes wrong again, and is said, where the inputs are read for good.
        with contextlib.suppress(Exception):
            return sum(1 for _ in itertools.islice(self._open_inputs(), count)) == count
        return False

    def first_pixels(self, transform: Transform) -> list[Pixels]:
        """Of files, as far as they can be read."""
        found: list[Pixels] = []
        with contextlib.suppress(Exception):
            for source in itertools.islice(self._open_inputs(), LOOKED_AT):
                if source.path is None or len(found) == COMPARED:
                    continue
                with contextlib.suppress(ImageError):
                    found.append(cropped_image(source.path, transform, decode_options(transform)).pixels_HWC)
        return found
