"""From one file to what a network sees of it: decoded here where that is surely quick, else where it can be killed.

Shapes: H height, W width, C channels (3).
"""

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from imgcls.errors import ImageError
from imgcls.images.decode_budget import DECODING
from imgcls.images.decoding import DecodedImage, DecodeOptions, decoded_frame, decoded_image
from imgcls.images.frames import FrameCursor, FrameFile
from imgcls.images.opening import openable
from imgcls.images.thumbnails import make_thumbnail
from imgcls.images.time_limit import IMAGE_LIMIT_SEC
from imgcls.images.transform import Pixels, Transform
from imgcls.images.worker_process.cost import MayRunAwayError
from imgcls.images.worker_process.pool import WORKERS, new_token
from imgcls.images.worker_process.process import OpenElsewhere, Request, UnavailableError

# Of a pixel that came whole from a worker: as it came, and as an image.
WHOLE_BYTES = 7


class CroppedImage(NamedTuple):
    """A decoded image, brought to the network's size.

    Attributes:
        pixels_HWC: uint8, after the transform's geometry; without pixels where no transform was given.
        width, height: of the upright image, in pixels.
        num_frames: how many frames or pages its file has, where they were counted.
        is_truncated: whether the file lacks its end, and was accepted.
        thumbnail: a small JPEG, where one was asked for.
    """

    pixels_HWC: Pixels
    width: int
    height: int
    num_frames: int = 1
    is_truncated: bool = False
    thumbnail: bytes | None = None


def decode_options(transform: Transform) -> DecodeOptions:
    """How files become pixels for a model of this transform."""
    return DecodeOptions(
        depth_bits=transform.depth_bits,
        background_rgb=transform.background_rgb,
        accepts_truncated=transform.accepts_truncated,
    )


def cropped_image(
    source: Path | bytes,
    transform: Transform | None,
    options: DecodeOptions,
    *,
    limit_sec: float = IMAGE_LIMIT_SEC,
    thumbnail_px: int = 0,
    cursor: FrameCursor | None = None,
) -> CroppedImage:
    """Decode an image and apply a transform's geometry.

    Args:
        source: a file, or an encoded image's bytes.
        transform: its geometry; None for a thumbnail alone.
        options: of the decoding.
        limit_sec: that a file which may run away may compute, in a process that is killed then.
        thumbnail_px: side of the thumbnail to make, 0 for none.
        cursor: which of its frames, where each is asked for; None for the first alone.
    Raises:
        ImageError: it can't be decoded.
    """
    if cursor is None or cursor.elsewhere is None:
        try:
            here = options if options.hands_over else dataclasses.replace(options, hands_over=True)
            return _cropped_here(source, transform, here, thumbnail_px, cursor)
        except MayRunAwayError:
            pass
    options = dataclasses.replace(options, hands_over=False)
    try:
        return _cropped_elsewhere(source, transform, options, limit_sec, thumbnail_px, cursor)
    except UnavailableError:
        return _cropped_here(source, transform, options, thumbnail_px, cursor)


def _cropped_here(
    source: Path | bytes,
    transform: Transform | None,
    options: DecodeOptions,
    thumbnail_px: int,
    cursor: FrameCursor | None,
) -> CroppedImage:
    if cursor is None:
        with decoded_image(source, options) as decoded:
            return _made(decoded, transform, thumbnail_px)
    if cursor.file is None:
        cursor.file = FrameFile(source, openable)
    try:
        with decoded_frame(cursor.file, options, frame=cursor.frame) as decoded:
            return _made(decoded, transform, thumbnail_px)
    finally:
        cursor.num_frames, cursor.has_pages = cursor.file.num_frames, cursor.file.has_pages


def _made(decoded: DecodedImage, transform: Transform | None, thumbnail_px: int) -> CroppedImage:
    return CroppedImage(
        np.empty((0, 0, 3), np.uint8) if transform is None else transform.crop(decoded.image),
        decoded.width,
        decoded.height,
        decoded.num_frames,
        is_truncated=decoded.is_truncated,
        thumbnail=make_thumbnail(decoded.image, thumbnail_px) if thumbnail_px else None,
    )


def _cropped_elsewhere(
    source: Path | bytes,
    transform: Transform | None,
    options: DecodeOptions,
    limit_sec: float,
    thumbnail_px: int,
    cursor: FrameCursor | None,
) -> CroppedImage:
    values = _asked(options)
    values["transform"] = None if transform is None else transform.to_dict()
    values["thumbnail_px"] = thumbnail_px
    values["frame"] = 0 if cursor is None else cursor.frame
    before = None if cursor is None else cursor.elsewhere
    token = 0 if cursor is None else new_token() if before is None else before.token
    answer, content, worker = WORKERS.ask(Request(source, values, limit_sec, token), preferred=before)
    try:
        if cursor is not None:
            cursor.elsewhere = OpenElsewhere(worker, token)
            cursor.num_frames, cursor.has_pages = answer["num_frames"], answer["has_pages"]
        if "error" in answer:
            raise ImageError(*answer["error"])
        shape = (0, 0, 3) if transform is None else (*transform.size_px, 3)
        num_bytes = math.prod(shape)
        return CroppedImage(
            np.frombuffer(content, np.uint8, num_bytes).reshape(shape),
            answer["width"],
            answer["height"],
            answer["num_frames"],
            is_truncated=answer["is_truncated"],
            thumbnail=content[num_bytes:] if thumbnail_px else None,
        )
    except (KeyError, TypeError, ValueError) as exc:
        worker.end()
        raise ImageError("corrupt_image", "the decoder answered nonsense") from exc


@contextlib.contextmanager
def whole_image(source: Path | bytes, options: DecodeOptions) -> Iterator[DecodedImage]:
    """An image as it is, upright and in RGB, decoded as `cropped_image` does; its pixels' memory is held for the block.

    Raises:
        ImageError: it can't be decoded.
    """
    with contextlib.ExitStack() as held:
        try:
            decoded = held.enter_context(decoded_image(source, dataclasses.replace(options, hands_over=True)))
        except MayRunAwayError:
            try:
                decoded = _whole_elsewhere(source, options, held)
            except UnavailableError:
                decoded = held.enter_context(decoded_image(source, options))
        yield decoded


def _whole_elsewhere(source: Path | bytes, options: DecodeOptions, held: contextlib.ExitStack) -> DecodedImage:
    request = Request(source, {**_asked(options), "is_whole": True}, IMAGE_LIMIT_SEC)
    answer, content, worker = WORKERS.ask(request)
    try:
        if "error" in answer:
            raise ImageError(*answer["error"])
        size = (answer["width"], answer["height"])
        held.enter_context(DECODING.reserve(math.prod(size) * WHOLE_BYTES))
        image = Image.frombytes("RGB", size, content)
        return DecodedImage(image, *size, orientation=answer["orientation"])
    except (KeyError, TypeError, ValueError) as exc:
        worker.end()
        raise ImageError("corrupt_image", "the decoder answered nonsense") from exc


def _asked(options: DecodeOptions) -> dict[str, Any]:
    """What every request to a worker says."""
    return {
        "transform": None,
        "options": dataclasses.asdict(options),
        "thumbnail_px": 0,
        "pillow_max_pixels": Image.MAX_IMAGE_PIXELS,
        "frame": 0,
        "is_whole": False,
    }


def thumbnail_of(source: Path, *, max_pixels: int, side_px: int, frame: int = 0) -> CroppedImage | None:
    """A thumbnail of a file, with the image's size; None where there is none.

    Args:
        source: the file.
        max_pixels: larger images get none.
        side_px: of the square that it fits into.
        frame: which of several frames or pages, from 0.
    """
    # JPEGs as small as their format allows.
    options = DecodeOptions(max_pixels=max_pixels, smallest_px=side_px)
    with contextlib.suppress(ImageError), contextlib.closing(FrameCursor(frame)) as cursor:
        return cropped_image(source, None, options, thumbnail_px=side_px, cursor=cursor if frame else None)
    return None
