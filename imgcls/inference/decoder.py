"""One input on its way to the model: a path, bytes or an open image becomes a crop, or the reason why not.

Shapes: H height, W width, C channels (3).
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from imgcls.errors import ImageError
from imgcls.images.cropping import cropped_image, decode_options
from imgcls.images.decoding import DEFAULT_MAX_PIXELS, DecodeOptions
from imgcls.images.frames import FrameCursor
from imgcls.images.inputs.source import Source
from imgcls.images.thumbnails import make_thumbnail
from imgcls.images.time_limit import IMAGE_LIMIT_SEC
from imgcls.images.transform import Pixels, Transform
from imgcls.inference.open_inputs import OpenImage, outcome_of
from imgcls.outputs.record import FileVersion, RecordError, source_version


class Crop(NamedTuple):
    """A decoded input, ready for the model.

    Attributes:
        pixels_HWC: uint8, after the transform's geometry.
        width, height: of the upright image, in pixels.
        thumbnail: a small JPEG, where the decoder makes them.
        num_frames: how many frames or pages its file has.
        is_truncated: whether the file lacks its end, and was accepted.
    """

    pixels_HWC: Pixels
    width: int
    height: int
    thumbnail: bytes | None = None
    num_frames: int = 1
    is_truncated: bool = False


class Decoded(NamedTuple):
    """An input after decoding; can be pickled, so that another process may have decoded it.

    Attributes:
        name: the `input` of its record.
        outcome: its pixels, or the reason why there are none.
        version: of the file, taken before it was opened; None for URLs, bytes and files that aren't there.
        frame: which frame or page this is, from 0.
        num_frames: how many there are, as far as that is known.
    """

    name: str
    outcome: Crop | RecordError
    version: FileVersion | None = None
    frame: int = 0
    num_frames: int = 1


@dataclass(frozen=True, slots=True)
class Decoder:
    """From one input to its crop; never raises for an input. Holds no model, so that a worker can have its own.

    Attributes:
        transform: whose geometry the images get.
        max_pixels: larger images are refused.
        fast_decode: let the JPEG decoder scale images down to what the transform needs.
        thumbnail_px: side of the thumbnails to make, 0 for none.
        limit_sec: that an image which may run away may compute.
    """

    transform: Transform
    max_pixels: int = DEFAULT_MAX_PIXELS
    fast_decode: bool = False
    thumbnail_px: int = 0
    limit_sec: float = IMAGE_LIMIT_SEC
    _options: DecodeOptions = field(init=False, repr=False)

    def __post_init__(self) -> None:
        options = replace(
            decode_options(self.transform),
            max_pixels=self.max_pixels,
            smallest_px=self.transform.smallest_px if self.fast_decode else 0,
            counts_frames=True,
            hands_over=True,
        )
        object.__setattr__(self, "_options", options)

    def decode(
        self, given: Source | OpenImage, *, content: bytes | None = None, cursor: FrameCursor | None = None
    ) -> Decoded:
        """Decode an input and apply the transform's geometry.

        Args:
            given: the input.
            content: what its URL gave, where it has one.
            cursor: which of its frames, where each is asked for; None for the first alone.
        """
        version = source_version(given) if isinstance(given, Source) else None
        outcome = outcome_of(lambda: self._crop(given, content, cursor))
        if cursor is not None:
            return Decoded(given.name, outcome, version, cursor.frame, cursor.num_frames)
        return Decoded(given.name, outcome, version, 0, outcome.num_frames if isinstance(outcome, Crop) else 1)

    def _crop(self, given: Source | OpenImage, content: bytes | None, cursor: FrameCursor | None) -> Crop:
        if isinstance(given, OpenImage):
            image, (width, height) = given.image, given.image.size
            if width * height > self.max_pixels:
                raise ImageError("too_large", f"{width} x {height} is more than {self.max_pixels:,} pixels")
            thumbnail = make_thumbnail(image, self.thumbnail_px) if self.thumbnail_px else None
            return Crop(self.transform.crop(image), width, height, thumbnail)
        if cursor is not None and cursor.file is not None:
            source = cursor.file.source
        else:
            source = _encoded(given) if content is None else content
        cropped = cropped_image(
            source,
            self.transform,
            self._options,
            limit_sec=self.limit_sec,
            thumbnail_px=self.thumbnail_px,
            cursor=cursor,
        )
        return Crop(
            cropped.pixels_HWC,
            cropped.width,
            cropped.height,
            cropped.thumbnail,
            cropped.num_frames,
            is_truncated=cropped.is_truncated,
        )


def _encoded(source: Source) -> Path | bytes:
    if source.failure is not None:
        raise source.failure
    if source.url:
        raise ImageError("download_failed", "it was not fetched")
    if source.content is not None:
        return source.content
    if source.member is not None:
        return source.member.read()
    assert source.path is not None
    return source.path
