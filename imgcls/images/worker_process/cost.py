"""Which files may take long to decode, as far as their size and header tell.

Threads decode what is surely quick. A thread can't be stopped, so whatever may run away goes to a process that can.
"""

from pathlib import Path

from PIL import Image
from PIL.ImageFile import ImageFile

# Pillow reads headers in Python, up to 0.6 s per MiB of a file that was made for it.
LARGE_BYTES = 8 * 2**20
# Pixels times passes over them that take a few seconds at worst: all images that are decoded at all, in one pass.
LARGE_WORK = 1 << 28
# Decoders written in Python manage one or two million pixels per second.
LARGE_PYTHON_WORK = 1 << 18
# Codecs whose headers say nothing about how much work each pixel is; a BLP may hold a JPEG of any kind.
OPAQUE = frozenset({"JPEG2000", "AVIF", "HEIF", "JXL", "ICNS", "BLP"})
# How their files are usually named: they need not be opened twice.
OPAQUE_SUFFIXES = frozenset(
    {".avif", ".heic", ".heif", ".hif", ".icns", ".j2c", ".j2k", ".jp2", ".jpf", ".jpx", ".jxl"}
)
# In a TIFF, any codec may be at work in each of thousands of tiles.
PLAIN_TIFFS = frozenset({"raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "group3", "group4"})
JPEGS = frozenset({"JPEG", "MPO"})
START_OF_SCAN = 0xDA
# Of four channels.
LONGEST_SCAN_HEADER = 16


class MayRunAwayError(Exception):
    """A file whose decoding may take long: a worker process is to do it."""


def check_file(source: Path | bytes, num_bytes: int) -> None:
    """Hand over a file before it is opened: a large one, and one that is named after a codec that tells nothing.

    Args:
        source: a file, or an encoded image's bytes.
        num_bytes: how many it has.
    Raises:
        MayRunAwayError: it may take long.
    """
    if num_bytes > LARGE_BYTES or (isinstance(source, Path) and source.suffix.lower() in OPAQUE_SUFFIXES):
        raise MayRunAwayError


def check_cost(opened: ImageFile, *, num_scans: int = 1) -> None:
    """Hand over an image whose header promises much work, or tells nothing about it.

    Args:
        opened: its pixels not yet read.
        num_scans: passes of a progressive JPEG.
    Raises:
        MayRunAwayError: it may take long.
    """
    # Strips and tiles of a file may lie upon each other, any number of times.
    in_tiles = sum((box[2] - box[0]) * (box[3] - box[1]) for _, box, *_ in opened.tile if box is not None)
    work = max(opened.width * opened.height, in_tiles) * max(num_scans, 1)
    is_python = any(tile[0] in Image.DECODERS for tile in opened.tile)
    is_opaque = opened.format in OPAQUE or (
        opened.format == "TIFF" and opened.info.get("compression", "raw") not in PLAIN_TIFFS
    )
    if is_opaque or work > (LARGE_PYTHON_WORK if is_python else LARGE_WORK):
        raise MayRunAwayError


def may_have_many_scans(opened: ImageFile) -> bool:
    """Whether a JPEG's pixels are gone over as often as the file says: once for each scan, be it ten bytes long.

    Such are progressive ones, and those whose first scan has not all of the channels.

    Args:
        opened: its pixels not yet read.
    """
    if opened.format not in JPEGS or opened.fp is None:
        return False
    return bool(opened.info.get("progressive")) or _channels_of_first_scan(opened) != getattr(opened, "layers", 0)


def _channels_of_first_scan(opened: ImageFile) -> int:
    """How many of a JPEG's channels come first; 0 where it can't be told."""
    file, found = opened.fp, 0
    assert file is not None
    before = file.tell()
    # Pillow has read up to the end of the first scan's header, which is 6 bytes, and 2 for each channel. Where a header
    # seems to hold a shorter one, fewer channels are the careful answer.
    if before >= LONGEST_SCAN_HEADER:
        file.seek(before - LONGEST_SCAN_HEADER)
        read = file.read(LONGEST_SCAN_HEADER)
        for channels in range(1, 5):
            if read[-8 - 2 * channels :][:5] == bytes((0xFF, START_OF_SCAN, 0, 6 + 2 * channels, channels)):
                return channels
    file.seek(2)
    while (head := file.read(4))[:1] == b"\xff" and len(head) == 4:
        if head[1] == START_OF_SCAN:
            found = ord(file.read(1) or b"\0")
            break
        file.seek(int.from_bytes(head[2:]) - 2, 1)
    file.seek(before)
    return found
