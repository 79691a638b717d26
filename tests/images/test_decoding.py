"""Decoding: every kind of image, and every kind of file that is none."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from imgcls.errors import ImageError
from imgcls.images.decoding import decode_image
from imgcls.images.grey_levels import scale_to_bytes
from imgcls.images.rgb import to_rgb

ORIENTATION_TAG = 0x0112
# How a camera that lay otherwise wrote an image: the inverse of what each orientation asks for (EXIF 2.3, tag 274).
LYING = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def draw_image(width=13, height=7, seed=0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def with_alpha(image: Image.Image) -> Image.Image:
    image = image.copy()
    image.putalpha(Image.fromarray(np.arange(image.width * image.height, dtype=np.uint8).reshape(image.size[::-1])))
    return image


def encoded(image: Image.Image, kind="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def fails(source, kind, **options) -> str:
    with pytest.raises(ImageError) as caught:
        decode_image(source, **options)
    assert caught.value.kind == kind
    assert caught.value.message
    assert "\n" not in caught.value.message
    return caught.value.message


def same(image: Image.Image, expected) -> None:
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (draw_image(), "PNG"),
        (draw_image(), "JPEG"),
        (draw_image(), "WEBP"),
        (draw_image(), "BMP"),
        (draw_image(), "TIFF"),
        (draw_image(), "PPM"),
        (draw_image().convert("L"), "PNG"),
        (draw_image().convert("L"), "JPEG"),
        (draw_image().convert("P"), "PNG"),
        (draw_image().convert("P"), "GIF"),
        (draw_image().convert("1"), "PNG"),
        (with_alpha(draw_image()), "PNG"),
        (with_alpha(draw_image()), "WEBP"),
        (with_alpha(draw_image().convert("L")), "PNG"),
        (draw_image().convert("CMYK"), "JPEG"),
        (draw_image().convert("CMYK"), "TIFF"),
        (draw_image().convert("YCbCr"), "TIFF"),
        (draw_image().convert("LAB"), "TIFF"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.mode,
)
def test_eight_bits_are_as_pillow_converts_them(tmp_path, image, kind):
    content = encoded(image, kind)
    expected = Image.open(io.BytesIO(content)).convert("RGB")
    (tmp_path / "image.bin").write_bytes(content)
    for source in (content, tmp_path / "image.bin"):
        decoded = decode_image(source)
        same(decoded.image, expected)
        assert (decoded.width, decoded.height) == image.size


@pytest.mark.parametrize("transparency", [3, bytes(range(256))], ids=["one colour", "each colour"])
def test_palette_with_transparency(transparency):
    palette = draw_image().convert("P")
    content = encoded(palette, transparency=transparency)
    same(decode_image(content).image, palette.convert("RGB"))


def test_animation_gives_its_first_image():
    content = encoded(draw_image(seed=1), "GIF", save_all=True, append_images=[draw_image(seed=2), draw_image(seed=3)])
    same(decode_image(content).image, draw_image(seed=1).convert("P", palette=Image.Palette.ADAPTIVE).convert("RGB"))


def test_sixteen_bits_are_scaled():
    values = np.array([[0, 1, 128, 129], [257, 32768, 65406, 65535]], dtype=np.uint16)
    decoded = decode_image(encoded(Image.fromarray(values)))
    expected = [[0, 0, 0, 1], [1, 128, 254, 255]]
    same(decoded.image, np.repeat(np.array(expected, dtype=np.uint8)[..., None], 3, axis=2))


@pytest.mark.parametrize("byte_order", ["<u2", ">u2"])
def test_sixteen_bit_tiff_in_either_byte_order(byte_order):
    values = np.array([[0, 257, 65535]], dtype=byte_order)
    content = encoded(Image.fromarray(values), "TIFF")
    assert np.asarray(decode_image(content).image)[0, :, 0].tolist() == [0, 1, 255]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([0.0, 500.0, 1000.0], [0, 128, 255]),
        ([300.0, 300.0, 300.0], [0, 0, 0]),
        ([-2.0, -2.0, -2.0], [0, 0, 0]),
        ([float("nan"), 0.0, 1.0], [0, 0, 255]),
        ([float("-inf"), 0.25, float("inf")], [64, 64, 64]),
        ([float("nan")] * 3, [0, 0, 0]),
        ([-3e38, 0.0, 3e38], [0, 128, 255]),
    ],
    ids=str,
)
def test_floats_are_scaled(values, expected):
    content = encoded(Image.fromarray(np.array([values], dtype=np.float32)), "TIFF")
    assert Image.open(io.BytesIO(content)).mode == "F"
    assert np.asarray(decode_image(content).image)[0, :, 1].tolist() == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 100, 255], [0, 100, 255]),
        ([0, 257, 65535], [0, 1, 255]),
        ([0, 2**30, 2**31 - 1], [0, 128, 255]),
        ([-(2**31), 0, 2**31 - 1], [0, 128, 255]),
        ([-7, -7, -7], [0, 0, 0]),
    ],
    ids=str,
)
def test_thirty_two_bits_are_scaled(values, expected):
    content = encoded(Image.fromarray(np.array([values], dtype=np.int32)), "TIFF")
    assert Image.open(io.BytesIO(content)).mode == "I"
    assert np.asarray(decode_image(content).image)[0, :, 2].tolist() == expected


def test_sixteen_bit_pgm():
    content = b"P5 3 1 65535\n" + struct.pack(">3H", 0, 257, 65535)
    assert np.asarray(decode_image(content).image)[0, :, 0].tolist() == [0, 1, 255]


def test_scaling_keeps_the_order():
    values = np.sort(np.random.default_rng(0).normal(0, 1e4, (5, 9)).astype(np.float32), axis=None)
    scaled = scale_to_bytes(values.reshape(5, 9), "F")
    assert scaled.min() == 0
    assert scaled.max() == 255
    assert np.all(np.diff(scaled.ravel().astype(int)) >= 0)


@pytest.mark.parametrize("orientation", LYING)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_orientation(orientation, kind):
    upright = draw_image()
    transposition = LYING[orientation]
    lying = upright if transposition is None else upright.transpose(transposition)
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    decoded = decode_image(encoded(lying, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {})))
    same(decoded.image, upright)
    assert (decoded.width, decoded.height) == upright.size


@pytest.mark.parametrize("orientation", LYING)
def test_orientation_of_a_jpeg_is_pillows(orientation):
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    content = encoded(draw_image(), "JPEG", exif=exif)
    same(decode_image(content).image, ImageOps.exif_transpose(Image.open(io.BytesIO(content))))


def test_orientation_of_sixteen_bits():
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = 6
    content = encoded(Image.fromarray(np.array([[0, 65535]], dtype=np.uint16)), exif=exif)
    decoded = decode_image(content)
    assert (decoded.width, decoded.height) == (1, 2)
    assert np.asarray(decoded.image)[:, 0, 0].tolist() == [0, 255]


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientation_that_means_nothing(orientation):
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    same(decode_image(encoded(draw_image(), exif=exif)).image, draw_image())


@pytest.mark.filterwarnings("ignore:Corrupt EXIF:UserWarning")
@pytest.mark.parametrize("exif", [b"Exif\x00\x00nonsense", b"Exif\x00\x00II*\x00\xff\xff\xff\xff", b"Exif\x00\x00"])
def test_damaged_exif_counts_as_none(exif):
    content = encoded(draw_image(), "JPEG", exif=exif)
    same(decode_image(content).image, Image.open(io.BytesIO(content)).convert("RGB"))


def test_user_image_is_left_alone():
    mine = draw_image().convert("P")
    mine.info["transparency"] = bytes(256)
    to_rgb(mine)
    assert mine.mode == "P"
    assert mine.info["transparency"] == bytes(256)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_truncated(kind, kept):
    content = encoded(draw_image(60, 50), kind)
    # A TIFF keeps its directory at the end, and a WebP decoder wants it whole: without, nobody knows what it is.
    assert fails_somehow(content[: int(len(content) * kept)]) in ("corrupt_image", "not_an_image")


def fails_somehow(content: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode_image(content)
    return caught.value.kind


def test_truncated_jpeg_says_so():
    content = encoded(draw_image(100, 100), "JPEG")
    assert "truncated" in fails(content[:-500], "corrupt_image")


def test_header_alone():
    assert "header" in fails(encoded(draw_image(), "JPEG")[:4], "corrupt_image")


def test_no_bytes(tmp_path):
    (tmp_path / "empty.jpg").touch()
    assert fails(tmp_path / "empty.jpg", "not_an_image") == "the file is empty"
    assert fails(b"", "not_an_image") == "no bytes"


@pytest.mark.parametrize("content", [b"just text\n", b"\x00" * 1000, b"<svg></svg>", b"%PDF-1.7", b"\xff\xd8\xff"])
def test_no_image(tmp_path, content):
    (tmp_path / "photo.jpg").write_bytes(content)
    fails(tmp_path / "photo.jpg", "not_an_image")
    fails(content, "not_an_image")


def test_wrong_suffix_does_not_matter(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(encoded(draw_image()))
    same(decode_image(tmp_path / "photo.jpg").image, draw_image())


def test_folder(tmp_path):
    (tmp_path / "x.jpg").mkdir()
    assert fails(tmp_path / "x.jpg", "not_an_image") == "is a folder"


def test_missing(tmp_path):
    assert fails(tmp_path / "none.jpg", "not_found") == "no such file"
    (tmp_path / "file").touch()
    fails(tmp_path / "link.jpg", "not_found")


@pytest.mark.skipif(os.name == "nt", reason="POSIX links")
def test_links_that_lead_nowhere(tmp_path):
    (tmp_path / "dangling.jpg").symlink_to("none.jpg")
    fails(tmp_path / "dangling.jpg", "not_found")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    fails(tmp_path / "loop.jpg", "not_found")


def test_file_used_as_a_folder(tmp_path):
    (tmp_path / "file").touch()
    fails(tmp_path / "file" / "photo.jpg", "not_found")


def test_impossible_names(tmp_path):
    fails(tmp_path / ("x" * 300), "not_found")
    fails(tmp_path / "nul\0.jpg", "not_found")


@pytest.mark.unprivileged
def test_unreadable(tmp_path):
    (tmp_path / "photo.png").write_bytes(encoded(draw_image()))
    (tmp_path / "photo.png").chmod(0)
    assert fails(tmp_path / "photo.png", "permission_denied") == "permission denied"


def test_too_large():
    content = encoded(draw_image(13, 7))
    assert decode_image(content, max_pixels=91).width == 13
    assert fails(content, "too_large", max_pixels=90) == "13 x 7 is more than 90 pixels"


def test_decompression_bomb():
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))
    fails(bomb, "too_large")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "TGA", "PCX", "DDS", "SGI"]
)
def test_damaged_bytes_never_raise_anything_else(kind):
    content = encoded(draw_image(20, 16), kind)
    rng = np.random.default_rng(11)
    for _ in range(60):
        damaged = bytearray(content)
        for place in rng.integers(0, len(damaged), rng.integers(1, 6)):
            damaged[place] = rng.integers(0, 256)
        try:
            image = decode_image(bytes(damaged), max_pixels=1_000_000).image
        except ImageError:
            continue
        assert image.mode == "RGB"
