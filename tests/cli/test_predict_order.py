"""A record depends on its own file alone, through the real command: alone, in order, shuffled."""

import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

KINDS = {
    "JPEG": "jpg", "PNG": "png", "GIF": "gif", "WEBP": "webp", "BMP": "bmp", "TIFF": "tif", "ICO": "ico", "TGA": "tga",
    "PCX": "pcx", "DDS": "dds", "SGI": "sgi", "PPM": "ppm", "JPEG2000": "jp2", "ICNS": "icns", "DIB": "dib",
    "MSP": "msp", "QOI": "qoi", "MPO": "mpo", "SPIDER": "spi", "AVIF": "avif",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred files in twenty formats, some under another's suffix, some cut."""
    folder = tmp_path_factory.mktemp("kinds")
    names = list(KINDS)
    for number in range(100):
        kind = names[number % len(names)]
        if kind == "AVIF" and not features.check("avif"):
            kind = "PNG"
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        content = io.BytesIO()
        Image.fromarray(pixels).convert({"SPIDER": "F", "MSP": "1"}.get(kind, "RGB")).save(content, kind)
        written = content.getvalue()
        if number % 17 == 3:
            written = written[: len(written) // 3]
        suffix = KINDS[names[number // 5 % len(names)]] if number < 20 else KINDS[kind]
        (folder / f"{number:02}.{suffix}").write_bytes(written)
    return folder


def test_alone_in_order_and_shuffled(imgcls: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    names = sorted(str(path) for path in folder.iterdir())

    def classified(some: list[str]) -> dict[str, Any]:
        # A resumable output's answers are the same to the last digit whatever shares their batch.
        output = tmp_path / "records.jsonl"
        arguments = ("predict", "-m", "cifar10-cnn", *some, "-o", output, "--overwrite", "--batch-size", 8)
        assert imgcls(*arguments).code in (0, 4)
        return {(record := json.loads(line))["input"]: record for line in output.read_text().splitlines()}

    in_order = classified(names)
    assert len(in_order) == 100
    assert sum(record["status"] == "ok" for record in in_order.values()) >= 90
    for seed in range(2):
        shuffled = random.Random(seed).sample(names, len(names))
        assert classified(shuffled) == in_order
    for name in random.Random(9).sample(names, 4):
        assert classified([name]) == {name: in_order[name]}


@pytest.mark.parametrize(
    ("name", "content", "kind", "words"),
    [
        ("a.tif", b"II*\0\x08\0\0\0", "corrupt_image", "TIFF"),
        ("a.gif", b"GIF89a\x10", "corrupt_image", "GIF"),
        ("a.avif", b"\0\0\0\x1cftypavif\0\0\0\0avif", "corrupt_image", "AVIF"),
        ("a.jpg", b"version https://git-lfs.github.com/spec/v1\n", "not_an_image", "Git LFS"),
        ("b.jpg", b"\0\0\1\xba" + bytes(100), "not_an_image", "MPEG"),
        ("c.jpg", b"\x89HDF\r\n\x1a\n" + bytes(100), "not_an_image", "HDF5"),
        ("d.jpg", b"GRIB" + bytes(100), "not_an_image", "GRIB"),
    ],
)
def test_what_is_no_whole_image_is_called_what_it_is(
    imgcls: Callable[..., Any], tmp_path: Path, name: str, content: bytes, kind: str, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    run = imgcls("predict", "-m", "cifar10-cnn", tmp_path / name, "-f", "jsonl")
    error = json.loads(run.stdout)["error"]
    assert (run.code, error["kind"]) == (4, kind)
    assert words in error["message"]


def test_heic_under_another_name_is_read_as_what_it_is(imgcls: Callable[..., Any], tmp_path: Path) -> None:
    plugin = pytest.importorskip("pillow_heif")
    plugin.register_heif_opener()
    Image.new("RGB", (64, 48), (200, 30, 60)).save(tmp_path / "photo.jpg", "HEIF")
    run = imgcls("predict", "-m", "cifar10-cnn", tmp_path, "-f", "jsonl")
    record = json.loads(run.stdout)
    assert (run.code, record["status"], record["width"], record["height"]) == (0, "ok", 64, 48)
