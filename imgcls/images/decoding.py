"""From a file's bytes to an upright RGB image, or to the reason why not."""

import contextlib
import dataclasses
import errno
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from imgcls.errors import ImageError
from imgcls.images.decode_budget import DECODING, decoding_bytes
from imgcls.images.frames import WITH_PAGES, FrameFile
from imgcls.images.opening import bytes_of, openable, readable, size_of
from imgcls.images.rgb import SIDEWAYS, orientation_of, to_rgb, turned
from imgcls.images.signatures import PREFIX_BYTES, RAW_MESSAGE, RAW_SUFFIXES, explain_unidentified
from imgcls.images.transform_values import RGB
from imgcls.images.worker_process.cost import MayRunAwayError, check_cost, check_file, may_have_many_scans

# Where Pillow itself gives up: 2 x Image.MAX_IMAGE_PIXELS. Decoded it takes 512 MiB.
DEFAULT_MAX_PIXELS = 178_956_970
DNG_VERSION_TAG = 50706
# A path that leads nowhere, rather than a file that is damaged.
UNREACHABLE = (errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ESTALE)
# A JPEG's pixels may be gone over with each scan. Encoders write about ten; 60,000 fit into a megabyte and take hours.
MOST_JPEG_SCANS = 200
START_OF_SCAN, END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """How files become pixels.

    Attributes:
        max_pixels: larger images are refused before they are decoded.
        smallest_px: when positive, JPEGs may be scaled while they are decoded, by 2, 4 or 8, as long as the shorter
            side keeps at least this many pixels: several times faster, and the answers shift a little.
        depth_bits: how many bits of deep grey integers are used, such as 12 in files of 16; None for what files say.
        accepts_truncated: take JPEGs that lack their last bytes, with grey where nothing came.
        background_rgb: what lies behind transparent images; None for the colours below the transparency.
        counts_frames: whether `num_frames` is wanted, for which some formats are read to their end.
        hands_over: raise `MayRunAwayError` for a file whose decoding may take long, as its size and header show.
    """

    max_pixels: int = DEFAULT_MAX_PIXELS
    smallest_px: int = 0
    depth_bits: int | None = None
    accepts_truncated: bool = False
    background_rgb: RGB | None = None
    counts_frames: bool = False
    hands_over: bool = False


class DecodedImage(NamedTuple):
    """An image ready for a transform.

    Attributes:
        image: mode RGB, upright.
        width, height: in pixels, after the EXIF orientation.
        num_frames: how many frames or pages the file has, where they were counted.
        has_pages: whether a damaged one leaves the others as they are.
        is_truncated: whether its last bytes are missing, and were taken as grey.
        orientation: EXIF's, 1 where the file has none.
    """

    image: Image.Image
    width: int
    height: int
    num_frames: int = 1
    has_pages: bool = False
    is_truncated: bool = False
    orientation: int = 1


def decode_image(
    source: Path | bytes,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    smallest_px: int = 0,
    depth_bits: int | None = None,
    accepts_truncated: bool = False,
    background_rgb: RGB | None = None,
    frame: int = 0,
) -> DecodedImage:
    """Decode an image: EXIF orientation applied, then RGB as Pillow converts it, deep grey and float pixels scaled.

    Args:
        source: a file, or an encoded image's bytes.
        max_pixels: refuse larger images before decoding them.
        smallest_px: scale JPEGs down while decoding, to no less than this.
        depth_bits: of deep grey integers, where the file says too many.
        accepts_truncated: take JPEGs that lack their last bytes.
        background_rgb: what lies behind transparent images.
        frame: which of several frames or pages, from 0.
    Raises:
        ImageError: the file is missing, unreadable, no image, damaged, or too large.
    """
    options = DecodeOptions(max_pixels, smallest_px, depth_bits, accepts_truncated, background_rgb, counts_frames=True)
    with contextlib.closing(FrameFile(source, openable)) as file, decoded_frame(file, options, frame=frame) as decoded:
        return decoded


@contextlib.contextmanager
def decoded_image(source: Path | bytes, options: DecodeOptions) -> Iterator[DecodedImage]:
    """`decode_image` for a block: the bytes that the pixels take are reserved until it ends."""
    # Where files are handed over, each is looked at before it is opened.
    open_ = readable if options.hands_over else openable
    with contextlib.closing(FrameFile(source, open_)) as file, contextlib.ExitStack() as held:
        yield _decode(file, options, held, 0)


@contextlib.contextmanager
def decoded_frame(file: FrameFile, options: DecodeOptions, *, frame: int = 0) -> Iterator[DecodedImage]:
    """`decoded_image` for one frame of a file, which stays open for the next."""
    with contextlib.ExitStack() as held:
        yield _decode(file, options, held, frame)


def _decode(file: FrameFile, options: DecodeOptions, held: contextlib.ExitStack, frame: int) -> DecodedImage:
    source = file.source
    try:
        if options.hands_over:
            check_file(source, size_of(source))
        with file.opened() as opened:
            num_scans = _refuse(opened, source, options.max_pixels)
            if options.hands_over:
                check_cost(opened, num_scans=num_scans)
            num_frames = file.num_frames = file.count(opened) if options.counts_frames else 1
            has_pages = file.has_pages = opened.format in WITH_PAGES
            if frame:
                opened.seek(frame)
                num_scans = _refuse(opened, source, options.max_pixels)
                if options.hands_over:
                    check_cost(opened, num_scans=num_scans)
            width, height = opened.size
            if options.smallest_px:
                scale = options.smallest_px / min(width, height)
                opened.draft(None, (math.ceil(width * scale), math.ceil(height * scale)))
            held.enter_context(DECODING.reserve(decoding_bytes(opened)))
            # Pillow turns TIFFs itself while it decodes them; of a PNG it finds the orientation behind the pixels.
            is_tiff = opened.format == "TIFF"
            declared = orientation_of(opened) if is_tiff else 1
            # Here, where a damaged file's errors are caught: Pillow decodes only when pixels are asked for.
            opened.load()
            orientation = orientation_of(opened)
            if is_tiff:
                width, height = opened.size
            elif orientation in SIDEWAYS:
                width, height = height, width
            # Turned last: what the file declares of its greys is lost on the way.
            rgb = to_rgb(opened, depth_bits=options.depth_bits, background_rgb=options.background_rgb)
            image = turned(rgb, orientation)
        declared = declared if is_tiff else orientation
        return DecodedImage(image, width, height, num_frames, has_pages, orientation=declared)
    except (ImageError, MayRunAwayError):
        raise
    except FileNotFoundError as exc:
        raise ImageError("not_found", "no such file") from exc
    except PermissionError as exc:
        raise ImageError("permission_denied", "permission denied") from exc
    except IsADirectoryError as exc:
        raise ImageError("not_an_image", "is a folder") from exc
    except Image.DecompressionBombError as exc:
        # "Image size (N pixels) exceeds limit of M pixels, could be ..."
        raise ImageError("too_large", str(exc).partition(",")[0]) from exc
    except UnidentifiedImageError as exc:
        raise _why_unidentified(source) from exc
    except MemoryError as exc:
        raise ImageError("too_large", "not enough memory to decode it") from exc
    except OSError as exc:
        if exc.errno in UNREACHABLE:
            raise ImageError("not_found", exc.strerror or str(exc)) from exc
        if options.accepts_truncated and "truncated" in str(exc) and (completed := _completed_jpeg(source)):
            held.close()
            whole = held.enter_context(contextlib.closing(FrameFile(completed, openable)))
            again = _decode(whole, dataclasses.replace(options, accepts_truncated=False), held, 0)
            return again._replace(is_truncated=True)
        raise ImageError("corrupt_image", exc.strerror or str(exc)) from exc
    except Exception as exc:
        # Damaged bytes drive Pillow's plugins into any error there is, and one bad input must never stop the others.
        raise ImageError("corrupt_image", _words_of(exc)) from exc


def _words_of(exc: Exception) -> str:
    words = " ".join(str(exc).split()) or type(exc).__name__
    # To whoever builds the plugin, and to nobody who has a damaged file.
    return "JPEG XL with damaged or missing data" if "build `libjxl`" in words else words


def _refuse(opened: ImageFile, source: Path | bytes, max_pixels: int) -> int:
    """Refuse what its header shows to be too much, or something else than it seems; gives its number of scans."""
    num_scans = 1
    width, height = opened.size
    if width * height > max_pixels:
        raise ImageError("too_large", f"{width} x {height} is more than {max_pixels:,} pixels")
    if may_have_many_scans(opened):
        num_scans = bytes_of(source).count(START_OF_SCAN)
        if num_scans > MOST_JPEG_SCANS:
            raise ImageError(
                "corrupt_image", f"a JPEG of {num_scans:,} scans, more than the {MOST_JPEG_SCANS} that are decoded"
            )
    if opened.format == "TIFF":
        is_raw_name = isinstance(source, Path) and source.suffix.lower() in RAW_SUFFIXES
        if is_raw_name or DNG_VERSION_TAG in getattr(opened, "tag_v2", ()):
            raise ImageError("not_an_image", RAW_MESSAGE)
    return num_scans


def _completed_jpeg(source: Path | bytes) -> bytes | None:
    """A JPEG's bytes with the end that it lacks; None for other files."""
    content = bytes_of(source)
    return content + END_OF_IMAGE if content[:2] == b"\xff\xd8" and not content.endswith(END_OF_IMAGE) else None


def _why_unidentified(source: Path | bytes) -> ImageError:
    prefix = source[:PREFIX_BYTES] if isinstance(source, bytes) else b""
    if isinstance(source, Path):
        try:
            with source.open("rb") as file:
                prefix = file.read(PREFIX_BYTES)
        except OSError:
            return ImageError("not_found", "the file has gone")
        if not prefix:
            return ImageError("not_an_image", "the file is empty")
    return explain_unidentified(prefix)
