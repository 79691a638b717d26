"""One input on its way to the model: a path, bytes or an open image becomes a crop, or the reason why not.

Shapes: H height, W width, C channels (3).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import Image

from imgcls.errors import ImageError
from imgcls.images.decoding import (
    DEFAULT_MAX_PIXELS,
    DecodedImage,
    DecodeOptions,
    decoded_image,
    to_rgb,
    upright,
)
from imgcls.images.sources import Source
from imgcls.images.transform import Pixels, Transform
from imgcls.outputs.record import FileVersion, RecordError, file_version
from imgcls.outputs.report.thumbnails import make_thumbnail

if TYPE_CHECKING:
    ImageInput = str | Path | bytes | Image.Image | np.ndarray[Any, np.dtype[np.uint8]] | Source

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Crop:
    """A decoded input, ready for the model.

    Attributes:
        pixels_HWC: uint8, after the transform's geometry.
        width, height: of the upright image, in pixels.
        thumbnail: a small JPEG, where the decoder makes them.
    """

    pixels_HWC: Pixels
    width: int
    height: int
    thumbnail: bytes | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """An input after decoding; can be pickled, so that another process may have decoded it.

    Attributes:
        name: the `input` of its record.
        outcome: its pixels, or the reason why there are none.
        version: of the file, taken before it was opened; None for URLs, bytes and files that aren't there.
    """

    name: str
    outcome: Crop | RecordError
    version: FileVersion | None = None


@dataclass(frozen=True, slots=True)
class OpenImage:
    """An image that the caller opened, after `open_input`.

    Attributes:
        name: the `input` of its record.
        image: mode RGB, upright.
    """

    name: str
    image: Image.Image


def open_input(given: "ImageInput") -> Source | OpenImage:
    """What a caller asks about, as the decoder takes it.

    Pillow images and arrays are converted here, in the thread of the caller: a Pillow image that is still to be
    loaded can't be read by two threads at once.

    Args:
        given: a path, an encoded image's bytes, a Pillow image, uint8 pixels of shape (H, W, 3) or (H, W), or a
            `Source`, which may also be a URL.
    Raises:
        TypeError: it is none of these; the message names what to call instead.
    """
    if isinstance(given, Source):
        return given
    if isinstance(given, (str, Path)):
        return Source(str(given), path=Path(given))
    if isinstance(given, bytes):
        return Source("<bytes>", content=given)
    if isinstance(given, np.ndarray):
        return _open_image("<array>", lambda: _image_of_array(given))
    if isinstance(given, Image.Image):
        name = getattr(given, "filename", "") or "<image>"
        return _open_image(str(name), lambda: _image_of(given))
    raise TypeError(_what_to_call(given))


def _open_image(name: str, open_: Callable[[], Image.Image]) -> Source | OpenImage:
    outcome = _outcome_of(open_)
    if isinstance(outcome, RecordError):
        return Source(name, failure=ImageError(outcome.kind, outcome.message))
    return OpenImage(name, outcome)


def _image_of(image: Image.Image) -> Image.Image:
    if 0 in image.size:
        raise ImageError("not_an_image", f"has no pixels: {image.width} x {image.height}")
    return to_rgb(upright(image))


def _image_of_array(pixels: "np.ndarray[Any, Any]") -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise ImageError("not_an_image", f"pixels must be uint8 (H, W, 3) or (H, W), not {pixels.dtype} {pixels.shape}")
    if 0 in pixels.shape:
        raise ImageError("not_an_image", f"has no pixels: {pixels.shape}")
    return Image.fromarray(pixels).convert("RGB")


def _what_to_call(given: object) -> str:
    kind = type(given)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
    if hasattr(given, "read"):
        advice = "an open file is no image: pass its path, or the bytes that its read() returns"
    elif hasattr(given, "numpy"):
        advice = "a tensor is no image: pass uint8 pixels of shape (H, W, 3), tensor.permute(1, 2, 0).numpy()"
    elif hasattr(given, "__iter__"):
        advice = "for several images, call predict_batch, or predict_many for files, folders and URLs"
    else:
        advice = "pass a path, an encoded image's bytes, a Pillow image, or uint8 pixels of shape (H, W, 3)"
    return f"one image expected, not {name}; {advice}"


@dataclass(frozen=True, slots=True)
class Decoder:
    """From one input to its crop; never raises for an input. Holds no model, so that a worker can have its own.

    Attributes:
        transform: whose geometry the images get.
        max_pixels: larger images are refused.
        fast_decode: let the JPEG decoder scale images down to what the transform needs.
        thumbnail_px: side of the thumbnails to make, 0 for none.
    """

    transform: Transform
    max_pixels: int = DEFAULT_MAX_PIXELS
    fast_decode: bool = False
    thumbnail_px: int = 0

    def decode(self, given: Source | OpenImage, *, content: bytes | None = None) -> Decoded:
        """Decode an input and apply the transform's geometry.

        Args:
            given: the input.
            content: what its URL gave, where it has one.
        """
        version = file_version(given.path) if isinstance(given, Source) else None
        return Decoded(given.name, _outcome_of(lambda: self._crop(given, content)), version)

    def _crop(self, given: Source | OpenImage, content: bytes | None) -> Crop:
        if isinstance(given, OpenImage):
            image, (width, height) = given.image, given.image.size
            if width * height > self.max_pixels:
                raise ImageError("too_large", f"{width} x {height} is more than {self.max_pixels:,} pixels")
            return self._crop_of(DecodedImage(image, width, height))
        options = DecodeOptions(
            max_pixels=self.max_pixels, smallest_px=self.transform.smallest_px if self.fast_decode else 0
        )
        with decoded_image(_encoded(given) if content is None else content, options) as decoded:
            return self._crop_of(decoded)

    def _crop_of(self, decoded: DecodedImage) -> Crop:
        thumbnail = make_thumbnail(decoded.image, self.thumbnail_px) if self.thumbnail_px else None
        return Crop(self.transform.crop(decoded.image), decoded.width, decoded.height, thumbnail)


def _encoded(source: Source) -> Path | bytes:
    if source.failure is not None:
        raise source.failure
    if source.url:
        raise ImageError("download_failed", "it was not fetched")
    if source.content is not None:
        return source.content
    assert source.path is not None
    return source.path


def _outcome_of(make: Callable[[], Made]) -> Made | RecordError:
    """What a function makes, or why it can't: of an exception only the words, as its traceback holds the pixels."""
    try:
        return make()
    except ImageError as exc:
        return RecordError(exc.kind, exc.message)
    except MemoryError:
        return RecordError("too_large", "not enough memory to decode it")
    except OSError as exc:
        return RecordError("corrupt_image", exc.strerror or str(exc))
    except Exception as exc:
        # Whatever a plugin of Pillow's makes of a crafted file, the other inputs must not suffer from it.
        return RecordError("corrupt_image", f"{type(exc).__name__}: {exc}")
