"""Images that somebody made to cost more than they show, and programs under an image's name."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(a program) print\nshowpage\n"


def encoded(format_: str, width: int = 40, height: int = 30, *, mode: str = "RGB", **options: object) -> bytes:
    """An image of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, format_, **options)
    return file.getvalue()


def slow_qoi(side_px: int = 30_000) -> bytes:
    """900 million pixels in 15 MB; Pillow decodes QOI in Python, a million of them per second."""
    num_pixels = side_px * side_px
    return b"qoif" + struct.pack(">IIBB", side_px, side_px, 3, 0) + b"\xfd" * -(-num_pixels // 62) + b"\0" * 7 + b"\1"


def progressive_jpeg(num_scans: int, side_px: int = 64) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    content = encoded("JPEG", side_px, side_px, progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * num_scans + content[-2:]


def sequential_jpeg(num_scans: int, side_px: int = 64) -> bytes:
    """A JPEG, not progressive, whose channels come one after the other, the last of them again and again.

    A scan is all but empty: ten bytes for all the pixels of an image of any size.
    """
    content = encoded("JPEG", 64, 64, mode="L")
    frame, scan = content.index(b"\xff\xc0"), content.index(b"\xff\xda")
    channels = b"".join(bytes([channel, 0x11, 0]) for channel in (1, 2, 3))
    size = struct.pack(">BHHB", 8, side_px, side_px, 3)
    told = b"\xff\xc0" + struct.pack(">H", 2 + len(size) + len(channels)) + size + channels
    tables = content[frame + 2 + int.from_bytes(content[frame + 2 : frame + 4]) : scan]

    def one(channel: int) -> bytes:
        return b"\xff\xda\0\x08\1" + bytes([channel, 0]) + b"\0\x3f\0" + content[scan + 10 : scan + 12]

    return content[:frame] + told + tables + one(1) + one(2) + one(3) * num_scans + content[-2:]


def blp_of_jpeg(jpeg: bytes) -> bytes:
    """A texture of a game with a JPEG inside; its own header says 16 x 16."""
    head = b"BLP1" + struct.pack("<iIIIiI", 0, 0, 16, 16, 5, 0)
    start = len(head) + 128 + 4
    return head + struct.pack("<16I", start, *[0] * 15) + struct.pack("<16I", len(jpeg), *[0] * 15) + bytes(4) + jpeg


def tiff_of_strips(num_strips: int, side_px: int = 512) -> bytes:
    """A grey TIFF that says of the same bytes, so many times, that they are one of its two halves."""
    pixels = bytes(side_px * side_px // 2)
    offsets = struct.pack("<I", 8) * num_strips
    counts = struct.pack("<I", len(pixels)) * num_strips
    at = 8 + len(pixels)
    tags = [(256, 4, 1, side_px), (257, 4, 1, side_px), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
            (273, 4, num_strips, at), (277, 3, 1, 1), (278, 4, 1, side_px // 2),
            (279, 4, num_strips, at + len(offsets))]  # fmt: skip
    ifd = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    return b"II*\0" + struct.pack("<I", at + len(offsets) + len(counts)) + pixels + offsets + counts + ifd


def png_bomb(side_px: int = 30_000) -> bytes:
    """A PNG of a few hundred bytes that says it is so large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side_px, side_px, 16, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10)))
