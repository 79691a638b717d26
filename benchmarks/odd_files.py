"""A folder of odd files, the same for a seed: images of 20 formats, whole, changed and torn, and what isn't one."""

import io
import random
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, features

MODES = {
    "JPEG": "RGB", "PNG": "RGB", "GIF": "P", "WEBP": "RGB", "BMP": "RGB", "TIFF": "RGB", "ICO": "RGB", "TGA": "RGB",
    "PCX": "RGB", "DDS": "RGB", "SGI": "RGB", "PPM": "RGB", "JPEG2000": "RGB", "ICNS": "RGBA", "DIB": "RGB",
    "MSP": "1", "QOI": "RGB", "MPO": "RGB", "SPIDER": "F", "AVIF": "RGB",
}  # fmt: skip
SUFFIXES = {"JPEG": "jpg", "TIFF": "tif", "JPEG2000": "jp2", "SPIDER": "spi"}
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(a program) print\n{} loop\nshowpage\n"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header promises an image that would fill the memory."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")
    )


OTHERS = {
    "program.jpg": EPS,
    "program.eps": EPS,
    "pointer.png": LFS,
    "phone.heic": HEIC,
    "phone.jpg": HEIC,
    "bomb.png": png_of(60_000, 60_000),
    "flat.png": png_of(1, 2**31 - 1),
    "large.png": png_of(9_000, 9_000),
    "page.html.jpg": b"<!DOCTYPE html><html><body>404</body></html>",
    "archive.jpg": b"PK\x03\x04" + bytes(60),
    "packed.jpg": b"\x1f\x8b\x08" + bytes(60),
    "empty.jpg": b"",
    "zeros.tif": bytes(5000),
    "wmf.bmp": b"\xd7\xcd\xc6\x9a" + bytes(60),
    "film.gif": b"\0\0\x01\xba" + bytes(200),
}


def draw_odd_files(folder: Path, *, count: int = 200, seed: int = 0) -> None:
    """Fill a folder.

    Args:
        folder: made if missing.
        count: how many files, at least those of `OTHERS`.
        seed: of the changes.
    """
    generator = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in OTHERS.items():
        (folder / name).write_bytes(content)
    names = [name for name in MODES if name != "AVIF" or features.check("avif")]
    for number in range(count - len(OTHERS)):
        name = names[number % len(names)]
        content = bytearray(_image(name, seed=number))
        # A third whole, a third torn, a third changed in places.
        if number % 3 == 1:
            del content[generator.randrange(1, len(content)) :]
        elif number % 3 == 2:
            for _ in range(generator.choice([1, 5, 50])):
                content[generator.randrange(len(content))] = generator.randrange(256)
        shown = name if generator.random() < 0.8 else generator.choice(names)
        suffix = SUFFIXES.get(shown, shown.lower())
        (folder / f"{number:03d}.{suffix}").write_bytes(content)


def _image(name: str, *, seed: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(MODES[name]).save(file, name)
    return file.getvalue()
