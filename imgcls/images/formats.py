"""Which formats are images here: one fixed list, asked in one fixed order, whatever was opened before.

Pillow alone asks its plugins in the order in which they happened to be loaded, so that what a file is taken for depends
on the files before it; and some of its plugins start another program (Ghostscript) or are mere stubs. Formats that
would are not on the list.
"""

import contextlib
import ctypes
import functools
import importlib
import io
import sys
import threading
from pathlib import Path
from types import ModuleType

import PIL
from PIL import Image, ImageFile, UnidentifiedImageError

from imgcls.errors import ImageError

# Known by their first bytes; nearly every image is one of these. A group is loaded where the one before it didn't
# know a file: that spares the first image some milliseconds.
FIRST = ("JPEG", "PNG")
SECOND = ("GIF", "WEBP", "BMP", "TIFF")
# Known by their first bytes.
# fmt: off
OTHERS = (
    "AVIF", "HEIF", "JXL", "JPEG2000", "DDS", "ICO", "CUR", "ICNS", "PSD", "QOI", "SGI", "SUN", "PCX", "DCX", "DIB",
    "PPM", "FITS", "FLI", "BLP", "FTEX", "GBR", "IM", "MSP", "XBM", "XPM", "XVTHUMB", "MCIDAS", "PIXAR", "IMT",
)
# fmt: on
# Without a signature of their own: they would take other formats' files, so they are asked last.
VAGUE = ("PCD", "SPIDER", "TGA")
# An optional package each, which adds a format to Pillow.
PLUGINS = {"HEIF": ("pillow_heif", "heif"), "JXL": ("pillow_jxl", "jxl")}

# Bits, photometric and sample format of TIFFs that Pillow can decode and doesn't offer: as mode and raw mode.
LITTLE, BIG = b"II", b"MM"
MORE_TIFFS = {
    (LITTLE, 1, (3,), 1, (64,), ()): ("F", "F;64F"),
    (BIG, 1, (3,), 1, (64,), ()): ("F", "F;64BF"),
    (BIG, 1, (1,), 1, (32,), ()): ("I", "I;32B"),
    (LITTLE, 0, (1,), 1, (32,), ()): ("I", "I;32"),
    (BIG, 0, (1,), 1, (32,), ()): ("I", "I;32B"),
    (BIG, 0, (1,), 1, (16,), ()): ("I;16B", "I;16B"),
    (LITTLE, 0, (1,), 1, (12,), ()): ("I;16", "I;12"),
}

_lock = threading.Lock()


def open_image(source: Path | io.BytesIO) -> ImageFile.ImageFile:
    """Open an image of one of the formats above; pixels are read later, by its `load`.

    Raises:
        UnidentifiedImageError: it is of none of them.
        OSError: the file can't be read.
    """
    for load in (_load_first, _load_second):
        try:
            return Image.open(source, formats=load())
        except UnidentifiedImageError:
            continue
    return Image.open(source, formats=all_formats())


@functools.cache
def all_formats() -> tuple[str, ...]:
    """Pillow's names of the formats that can be read here, in the order in which they are asked."""
    second = _load_second()
    with _lock:
        Image.init()
        for package, _extra in PLUGINS.values():
            with contextlib.suppress(ImportError):
                _register(importlib.import_module(package))
    return tuple(name for name in (*FIRST, *second, *OTHERS, *VAGUE) if name in Image.OPEN)


def _register(plugin: ModuleType) -> None:
    # pillow_heif waits to be told; others register themselves.
    register = getattr(plugin, "register_heif_opener", None)
    if register is not None:
        register()


@functools.cache
def _load_first() -> tuple[str, ...]:
    with _lock:
        from PIL import JpegImagePlugin, PngImagePlugin

        assert JpegImagePlugin.JpegImageFile.format, PngImagePlugin.PngImageFile.format
    return FIRST


@functools.cache
def _load_second() -> tuple[str, ...]:
    with _lock:
        from PIL import BmpImagePlugin, GifImagePlugin, TiffImagePlugin, WebPImagePlugin

        assert all((BmpImagePlugin, GifImagePlugin, WebPImagePlugin))
        for key, modes in MORE_TIFFS.items():
            TiffImagePlugin.OPEN_INFO.setdefault(key, modes)
        _silence_libtiff()
    return SECOND


def _silence_libtiff() -> None:
    """Keep libtiff from writing about damaged files on the process's stderr, 119 MB about a single one.

    The library that Pillow's wheels bring is open already; where it is linked otherwise, its words stay.
    """
    package = Path(PIL.__file__).parent
    folders = (package.parent / "pillow.libs", package / ".dylibs")
    names = [path for folder in folders if folder.is_dir() for path in folder.glob("libtiff*")]
    if sys.platform == "linux" and not names:
        names = [Path("libtiff.so.6")]
    for path in names:
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL(str(path))
            for setter in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
                setter.restype, setter.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
                setter(None)


def need_plugin(name: str) -> ImageError:
    """What to say of an image whose format needs an extra that isn't installed."""
    package, extra = PLUGINS[name]
    words = {"HEIF": "HEIC or HEIF", "JXL": "JPEG XL"}[name]
    if name in all_formats():
        return ImageError("corrupt_image", f"{words} with a damaged header")
    return ImageError("not_an_image", f"{words}, which needs the package {package}: pip install 'imgcls[{extra}]'")
