"""What a file is that isn't read as an image, by its first bytes."""

import os
import stat

from imgcls.errors import ImageError
from imgcls.images.formats import need_plugin

# How much of a file `explain_unidentified` looks at.
PREFIX_BYTES = 1024
# Formats that are read here: one of these that can't be opened is damaged.
IMAGES = (
    (b"\xff\xd8\xff\xe0", "JPEG"),
    (b"\xff\xd8\xff\xe1", "JPEG"),
    (b"\xff\xd8\xff\xdb", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"8BPS\0\1", "PSD"),
    (b"qoif", "QOI"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xffO\xffQ", "JPEG 2000"),
    (b"DDS ", "DDS"),
)
OTHERS = (
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer, not the file itself: run 'git lfs pull'"),
    (b"%!PS", "PostScript, a program rather than an image; convert it to PNG"),
    (b"\xc5\xd0\xd3\xc6", "PostScript (EPS), a program rather than an image; convert it to PNG"),
    (b"%PDF", "a PDF document; convert its pages to PNG"),
    (b"\xd7\xcd\xc6\x9a", "a Windows metafile (WMF), drawing commands rather than pixels; convert it to PNG"),
    (b"\x01\0\0\0", "a Windows metafile (EMF), drawing commands rather than pixels; convert it to PNG"),
    (b"PK\3\4", "a zip archive; its images are read where its name ends with .zip"),
    (b"\x1f\x8b", "gzip data; unpack it first"),
    (b"BZh", "bzip2 data; unpack it first"),
    (b"\xfd7zXZ\0", "xz data; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "Zstandard data; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"FUJIFILMCCD-RAW", "a camera's RAW file; convert it to JPEG"),
    (b"IIRO", "a camera's RAW file; convert it to JPEG"),
    (b"IIU\0", "a camera's RAW file; convert it to JPEG"),
    (b"\0\0\1\xba", "an MPEG video"),
    (b"\0\0\1\xb3", "an MPEG video"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"GRIB", "a GRIB file"),
    (b"BUFR", "a BUFR file"),
    (b"SQLite format 3\0", "a database"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"#!", "a script"),
)
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
AVIF_BRANDS = (b"avif", b"avis")
# Camera files that are TIFF inside: Pillow would show the small preview that they begin with.
RAW_SUFFIXES = (".nef", ".cr2", ".arw", ".dng", ".orf", ".rw2", ".pef", ".srw", ".nrw", ".sr2", ".3fr", ".iiq", ".erf")
RAW_MESSAGE = "a camera's RAW file; convert it to JPEG"


# Formats that are read here, beside those above, and begin so.
SHORT_SIGNATURES = (b"BM", b"\0\0\1\0", b"\0\0\2\0", b"icns", b"\x0a\x05\x01", b"\x01\xda", b"Y\xa6j\x95", b"\xff\x0a")
JXL_BEGINS = b"\0\0\0\x0cJXL \r\n\x87\n"


def looks_like_image(path: str) -> bool:
    """Whether a file begins like an image, whatever it is called. Formats without a signature (TGA) don't count."""
    try:
        # A named pipe would block for ever.
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - called for every file of a folder
            return False
        with open(path, "rb") as file:  # noqa: PTH123 - likewise
            return begins_like_image(file.read(16))
    except (OSError, ValueError):
        return False


def begins_like_image(prefix: bytes) -> bool:
    """Whether these are the first 16 bytes of an image."""
    if prefix[4:8] == b"ftyp":
        return prefix[8:12] in (*HEIF_BRANDS, *AVIF_BRANDS)
    if prefix[:4] == b"RIFF":
        return prefix[8:12] == b"WEBP"
    if prefix[:1] == b"P" and prefix[1:2] in b"123456fF" and prefix[2:3].isspace():
        return True
    begins = (b"\xff\xd8\xff", JXL_BEGINS, *SHORT_SIGNATURES, *(signature for signature, _name in IMAGES))
    return prefix.startswith(begins)


def explain_unidentified(prefix: bytes) -> ImageError:
    """Why a file can't be opened as an image.

    Args:
        prefix: its first `PREFIX_BYTES` bytes.
    Returns:
        `corrupt_image` where it begins like an image of a format that is read, else `not_an_image`.
    """
    if prefix[4:8] == b"ftyp":
        return _of_brand(prefix[8:12])
    if prefix[:2] == b"\xff\x0a" or prefix[:12] == JXL_BEGINS:
        return need_plugin("JXL")
    if prefix[:4] == b"RIFF":
        if prefix[8:12] in (b"WEBP", b""):
            return _damaged("WebP")
        return ImageError("not_an_image", "a sound or video file (RIFF)")
    for signature, name in IMAGES:
        if prefix.startswith(signature):
            return _damaged(name)
    if prefix[:2] in (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6") and prefix[2:3].isspace():
        return _damaged("PPM")
    for signature, what in OTHERS:
        if prefix.startswith(signature):
            return ImageError("not_an_image", what)
    text = prefix.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return ImageError("not_an_image", "an HTML page, perhaps a server's error message in place of the image")
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return ImageError("not_an_image", "an SVG drawing; convert it to PNG")
    if prefix and not prefix.strip(b"\0"):
        return ImageError("not_an_image", "nothing but zero bytes; the copy may have been cut")
    return ImageError("not_an_image", "not an image in any format that is read here")


def _of_brand(brand: bytes) -> ImageError:
    if brand in HEIF_BRANDS:
        return need_plugin("HEIF")
    if brand in AVIF_BRANDS:
        return _damaged("AVIF")
    if brand == b"crx ":
        return ImageError("not_an_image", RAW_MESSAGE)
    return ImageError("not_an_image", "a video (MP4 or QuickTime)")


def _damaged(name: str) -> ImageError:
    return ImageError("corrupt_image", f"{name} with a damaged or incomplete header")
