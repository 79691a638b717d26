"""What callers of the Python API hand in, as the decoder takes it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from imgcls.errors import ImageError
from imgcls.images.inputs.source import Source
from imgcls.images.rgb import to_rgb, upright
from imgcls.images.transform_values import RGB
from imgcls.outputs.record import RecordError

if TYPE_CHECKING:
    ImageInput = str | Path | bytes | Image.Image | np.ndarray[Any, np.dtype[np.uint8]] | Source

Made = TypeVar("Made")


class OpenImage(NamedTuple):
    """An image that the caller opened, after `open_input`.

    Attributes:
        name: the `input` of its record.
        image: mode RGB, upright.
    """

    name: str
    image: Image.Image


def open_input(given: "ImageInput", *, background_rgb: RGB | None = None) -> Source | OpenImage:
    """What a caller asks about, as the decoder takes it.

    Pillow images and arrays are converted here, in the thread of the caller: a Pillow image that is still to be
    loaded can't be read by two threads at once.

    Args:
        given: a path, an encoded image's bytes, a Pillow image, uint8 pixels of shape (H, W, 3) or (H, W), or a
            `Source`, which may also be a URL.
        background_rgb: what lies behind transparent Pillow images.
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
        return _open_image(str(name), lambda: _image_of(given, background_rgb))
    raise TypeError(_what_to_call(given))


def _open_image(name: str, open_: Callable[[], Image.Image]) -> Source | OpenImage:
    outcome = outcome_of(open_)
    if isinstance(outcome, RecordError):
        return Source(name, failure=ImageError(outcome.kind, outcome.message))
    return OpenImage(name, outcome)


def _image_of(image: Image.Image, background_rgb: RGB | None) -> Image.Image:
    if 0 in image.size:
        raise ImageError("not_an_image", f"has no pixels: {image.width} x {image.height}")
    return to_rgb(upright(image), background_rgb=background_rgb)


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


def outcome_of(make: Callable[[], Made]) -> Made | RecordError:
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
