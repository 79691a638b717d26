"""What a file is that can't be opened: the kind and the words, by its first bytes."""

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image, features

from imgcls.errors import ImageError
from imgcls.images.decoding import decode_image

WHAT = {
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n": "Git LFS",
    b"\n <!DOCTYPE html><html><body>404": "HTML",
    b"PK\3\4" + bytes(40): "zip",
    b"\x1f\x8b\x08" + bytes(40): "gzip",
    b"%PDF-1.7\n": "PDF",
    b"<?xml version='1.0'?><svg xmlns='x'/>": "SVG",
    b"FUJIFILMCCD-RAW " + bytes(80): "RAW",
    b"\0\0\0\x18ftypcrx \0\0\0\1" + bytes(80): "RAW",
    b"\0\0\0\x18ftypisom\0\0\0\1" + bytes(80): "video",
    b"\0\0\1\xba" + bytes(80): "MPEG",
    b"\x89HDF\r\n\x1a\n" + bytes(80): "HDF5",
    b"GRIB" + bytes(80): "GRIB",
    b"BUFR" + bytes(80): "BUFR",
    b"\xd7\xcd\xc6\x9a" + bytes(80): "metafile",
    bytes(500): "zero bytes",
    b"\x7fELF" + bytes(80): "program",
    b"hello": "not an image",
}


@pytest.mark.parametrize("content", WHAT, ids=WHAT.values())
@pytest.mark.parametrize("suffix", ["jpg", "png", "mpg", "h5", "grib", ""])
def test_what_is_no_image_is_called_what_it_is(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}".rstrip(".")
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(ImageError) as caught:
            decode_image(source)
        assert caught.value.kind == "not_an_image"
        assert WHAT[content] in caught.value.message


KINDS = ["GIF", "TIFF", "JPEG", "PNG", "QOI", "DDS"] + (["AVIF"] if features.check("avif") else [])


@pytest.mark.parametrize("kind", KINDS)
def test_images_cut_in_their_header_are_damaged(kind: str) -> None:
    content = io.BytesIO()
    Image.new("RGB", (20, 20)).save(content, kind)
    with pytest.raises(ImageError) as caught:
        decode_image(content.getvalue()[: 14 if kind == "AVIF" else 10])
    assert caught.value.kind == "corrupt_image"


def test_a_png_header_with_a_wrong_checksum_is_damaged() -> None:
    content = io.BytesIO()
    Image.new("RGB", (20, 20)).save(content, "PNG")
    damaged = bytearray(content.getvalue())
    damaged[30] ^= 1
    with pytest.raises(ImageError) as caught:
        decode_image(bytes(damaged))
    assert caught.value.kind == "corrupt_image"


@pytest.mark.parametrize("name", ["a.nef", "a.CR2", "a.dng", "a.tif"])
def test_a_cameras_raw_file_is_not_its_small_preview(tmp_path: Path, name: str) -> None:
    content = io.BytesIO()
    is_dng = name.endswith(("dng", "tif"))
    Image.new("RGB", (16, 12)).save(content, "TIFF", tiffinfo={50706: b"\1\4\0\0"} if is_dng else {})
    (tmp_path / name).write_bytes(content.getvalue())
    with pytest.raises(ImageError, match="RAW") as caught:
        decode_image(tmp_path / name)
    assert caught.value.kind == "not_an_image"


def test_a_bomb_inside_of_a_png_is_bounded_by_its_header() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 16, 6, 0, 0, 0)
    with pytest.raises(ImageError) as caught:
        decode_image(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10))))
    assert caught.value.kind == "too_large"


@pytest.mark.parametrize(("package", "kind"), [("pillow_heif", "HEIF"), ("pillow_jxl", "JXL")])
def test_cut_files_of_optional_formats_are_damaged(package: str, kind: str) -> None:
    plugin = pytest.importorskip(package)
    if hasattr(plugin, "register_heif_opener"):
        plugin.register_heif_opener()
    content = io.BytesIO()
    Image.new("RGB", (40, 30)).save(content, kind)
    for size in (14, 40):
        with pytest.raises(ImageError) as caught:
            decode_image(content.getvalue()[:size])
        assert caught.value.kind == "corrupt_image"
        assert "build" not in caught.value.message
