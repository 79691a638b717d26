"""Deep greys: a ramp from black to white has a mean of 127.5, however its file stores it."""

import io
import struct
import threading

import numpy as np
import pytest
from PIL import Image, ImageOps

from imgcls.images.decode_budget import ByteBudget, decoding_bytes
from imgcls.images.decoding import decode_image

RAMP = np.linspace(0, 1, 64)


def tiff(data: bytes, bits: int, *, photometric: int = 1, sample: int = 1, order: str = "<", more=()) -> bytes:
    """An uncompressed TIFF of 64 x 1 pixels, tag by tag."""
    tags = sorted([(256, 4, 64), (257, 4, 1), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 8),
                   (277, 3, 1), (278, 4, 1), (279, 4, len(data)), (339, 3, sample), *more])  # fmt: skip
    entries = b"".join(
        struct.pack(order + "HHI", tag, kind, 1)
        + (struct.pack(order + "HH", v, 0) if kind == 3 else struct.pack(order + "I", v))
        for tag, kind, v in tags
    )
    magic = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(data))
    return magic + data + struct.pack(order + "H", len(tags)) + entries + bytes(4)


def packed_12(values: np.ndarray) -> bytes:
    pairs = np.round(values * 4095).astype(int).reshape(-1, 2)
    return b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in pairs)


def as_kind(values: np.ndarray, kind: str, largest: float) -> bytes:
    return np.round(values * largest).astype(kind).tobytes()


with_highlight = np.append(RAMP[:-1], 1.02)
RAMPS = {
    "12 bits": tiff(packed_12(RAMP), 12),
    "12 bits, white is zero": tiff(packed_12(1 - RAMP), 12, photometric=0),
    "16 bits": tiff(as_kind(RAMP, "<u2", 65535), 16),
    "16 bits, big endian": tiff(as_kind(RAMP, ">u2", 65535), 16, order=">"),
    "16 bits, white is zero": tiff(as_kind(1 - RAMP, "<u2", 65535), 16, photometric=0),
    "16 bits, signed": tiff(as_kind(RAMP, "<i2", 32767), 16, sample=2),
    "32 bits": tiff(as_kind(RAMP, "<u4", 2**32 - 1), 32),
    "32 bits, big endian": tiff(as_kind(RAMP, ">u4", 2**32 - 1), 32, order=">"),
    "float": tiff(RAMP.astype("<f4").tobytes(), 32, sample=3),
    "float with a highlight": tiff(with_highlight.astype("<f4").tobytes(), 32, sample=3),
    "double": tiff(RAMP.astype("<f8").tobytes(), 64, sample=3),
    "double, big endian": tiff(RAMP.astype(">f8").tobytes(), 64, sample=3, order=">"),
    "declared range": tiff(as_kind(RAMP, "<u2", 1000), 16, more=[(340, 3, 0), (341, 3, 1000)]),
    "PGM": b"P5 64 1 65535\n" + as_kind(RAMP, ">u2", 65535),
    "PGM of ten bits": b"P5 64 1 1023\n" + as_kind(RAMP, ">u2", 1023),
    "PGM as text": b"P2 64 1 4095\n" + " ".join(str(round(v * 4095)) for v in RAMP).encode(),
}


@pytest.mark.parametrize("name", RAMPS)
def test_a_ramp_is_a_ramp(name: str) -> None:
    pixels = np.asarray(decode_image(RAMPS[name]).image)[0, :, 0].astype(int)
    assert pixels.mean() == pytest.approx(127.5, abs=0.6)
    assert np.abs(pixels - np.round(RAMP * 255)).max() <= 1


def test_dark_images_stay_dark() -> None:
    dark = b"P5 64 1 65535\n" + as_kind(RAMP, ">u2", 218)
    assert np.asarray(decode_image(dark).image).max() == 1
    assert np.asarray(decode_image(tiff(as_kind(RAMP, "<u4", 2**20), 32)).image).max() == 0


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_a_depth_that_the_file_does_not_tell(bits: int) -> None:
    content = tiff(as_kind(RAMP, "<u2", 2**bits - 1), 16)
    pixels = np.asarray(decode_image(content, depth_bits=bits).image)[0, :, 0].astype(int)
    assert np.abs(pixels - np.round(RAMP * 255)).max() <= 1
    assert np.asarray(decode_image(content).image).max() <= 2 ** (bits - 8)


def test_turned_and_deep_at_once() -> None:
    values = np.arange(6, dtype=np.uint16).reshape(2, 3) * 13107
    exif = Image.Exif()
    exif[0x0112] = 6
    content = io.BytesIO()
    Image.fromarray(values).save(content, "PNG", exif=exif)
    decoded = decode_image(content.getvalue())
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(content.getvalue())))
    np.testing.assert_array_equal(np.asarray(decoded.image)[..., 0], np.round(np.asarray(expected) / 257))
    assert (decoded.width, decoded.height) == decoded.image.size == (2, 3)


def test_pixels_that_are_decoded_at_once_are_bounded_and_wait_in_turn() -> None:
    budget, held, most, order = ByteBudget(100), [0], [0], []
    lock = threading.Lock()

    def work(number: int, size: int) -> None:
        with budget.reserve(size):
            with lock:
                held[0] += min(size, 100)
                most[0] = max(most[0], held[0])
                order.append(number)
            with lock:
                held[0] -= min(size, 100)

    threads = [threading.Thread(target=work, args=(n, size)) for n, size in enumerate([40, 70, 500, 30, 60, 100] * 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(order) == list(range(30))
    assert most[0] <= 100


def test_what_an_image_takes_is_known_from_its_header() -> None:
    content = io.BytesIO()
    Image.new("F", (1000, 500)).save(content, "TIFF")
    with Image.open(io.BytesIO(content.getvalue())) as opened:
        assert decoding_bytes(opened) >= 1000 * 500 * (4 + 4)
    content = io.BytesIO()
    Image.new("L", (1000, 500)).save(content, "PNG")
    with Image.open(io.BytesIO(content.getvalue())) as opened:
        assert decoding_bytes(opened) == 1000 * 500 * 5
