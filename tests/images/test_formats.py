"""Which formats are images: the same for a file whatever was opened before, and none that starts a program."""

import io
import json
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hostile_images import progressive_jpeg, sequential_jpeg
from PIL import Image, features

from imgcls.errors import ImageError
from imgcls.images.decoding import decode_image
from imgcls.images.formats import all_formats

# Pillow's name and the suffix that people give it; each is written by Pillow itself.
WRITTEN = {
    "JPEG": "jpg", "PNG": "png", "GIF": "gif", "WEBP": "webp", "BMP": "bmp", "TIFF": "tif", "ICO": "ico", "TGA": "tga",
    "PCX": "pcx", "DDS": "dds", "SGI": "sgi", "PPM": "ppm", "JPEG2000": "jp2", "ICNS": "icns", "DIB": "dib",
    "MSP": "msp", "QOI": "qoi", "MPO": "mpo", "SPIDER": "spi", "AVIF": "avif",
}  # fmt: skip
EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 10 10
(a program) print
showpage
"""
DECODE_ALL = """
import hashlib, json, sys
from pathlib import Path
from imgcls.errors import ImageError
from imgcls.images.decoding import decode_image
found = {}
for name in json.load(sys.stdin):
    try:
        found[name] = hashlib.sha256(decode_image(Path(name)).image.tobytes()).hexdigest()
    except ImageError as exc:
        found[name] = f"{exc.kind}: {exc.message}"
print(json.dumps(found))
"""


def drawn(seed: int, px: int = 32) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (px, px, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred files in twenty formats; a fifth have another format's suffix, a fifth none, and some are damaged."""
    folder = tmp_path_factory.mktemp("formats")
    suffixes = list(WRITTEN.values())
    for number in range(100):
        kind = list(WRITTEN)[number % len(WRITTEN)]
        if kind == "AVIF" and not features.check("avif"):
            kind = "PNG"
        image = drawn(number).convert({"SPIDER": "F", "MSP": "1"}.get(kind, "RGB"))
        content = io.BytesIO()
        image.save(content, kind)
        written = content.getvalue()
        suffix = {0: suffixes[number // 5 % len(suffixes)], 1: ""}.get(number // 20, WRITTEN[kind])
        if number % 17 == 3:
            written = written[: len(written) // 3]
        (folder / f"{number}.{suffix}".rstrip(".")).write_bytes(written)
    (folder / "eps.jpg").write_bytes(EPS)
    return folder


def decoded_in_a_process_of_its_own(names: list[str], **environment: str) -> dict[str, str]:
    run = subprocess.run(
        [sys.executable, "-c", DECODE_ALL], input=json.dumps(names), env=os.environ | environment,
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert run.stderr == ""
    found: dict[str, str] = json.loads(run.stdout)
    return found


def test_a_file_is_the_same_image_alone_in_order_and_shuffled(folder: Path) -> None:
    names = sorted(str(path) for path in folder.iterdir())
    in_order = decoded_in_a_process_of_its_own(names)
    assert sum(":" not in found for found in in_order.values()) >= 90
    for seed in range(4):
        shuffled = names.copy()
        random.Random(seed).shuffle(shuffled)
        assert decoded_in_a_process_of_its_own(shuffled) == in_order
    for name in random.Random(9).sample(names, 12):
        assert decoded_in_a_process_of_its_own([name]) == {name: in_order[name]}


def test_an_ico_after_a_tga_is_an_ico(tmp_path: Path) -> None:
    drawn(1).save(tmp_path / "a.tga")
    drawn(2).save(tmp_path / "b.ico", sizes=[(32, 32)])
    found = decoded_in_a_process_of_its_own([str(tmp_path / "a.tga"), str(tmp_path / "b.ico")])
    assert (
        found[str(tmp_path / "b.ico")]
        == decoded_in_a_process_of_its_own([str(tmp_path / "b.ico")])[str(tmp_path / "b.ico")]
    )
    assert ":" not in found[str(tmp_path / "b.ico")]


@pytest.mark.skipif(os.name == "nt", reason="a script in PATH")
@pytest.mark.parametrize("suffix", ["eps", "jpg", "ps", "wmf", "png", "tif"])
def test_no_program_is_started(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("gs", "gswin32c", "gswin64c", "djpeg", "convert"):
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\necho started >>{tmp_path}/started\n")
        program.chmod(0o755)
    path = tmp_path / f"a.{suffix}"
    for content in (EPS, b"\xc5\xd0\xd3\xc6" + struct.pack("<7I", 32, len(EPS), 0, 0, 0, 0, 0) + EPS):
        path.write_bytes(content)
        found = decoded_in_a_process_of_its_own([str(path)], PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        assert found[str(path)].startswith("not_an_image: PostScript")
    assert not (tmp_path / "started").exists()


def test_formats_that_run_programs_or_only_pretend_are_not_on_the_list() -> None:
    assert not {"EPS", "WMF", "EMF", "BUFR", "GRIB", "HDF5", "MPEG", "IPTC"} & set(all_formats())
    assert {"JPEG", "PNG", "TIFF", "TGA"} <= set(all_formats())
    assert all_formats()[-1] == "TGA"


def g4_tiff(num_rows: int) -> bytes:
    """A fax whose rows are noise: libtiff has something to say about each."""
    data = np.random.default_rng(0).bytes(num_rows * 8)
    tags = [(256, 4, 256), (257, 4, num_rows), (258, 3, 1), (259, 3, 4), (262, 3, 0), (273, 4, 8), (277, 3, 1),
            (278, 4, num_rows), (279, 4, len(data))]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)


def test_the_libraries_below_pillow_write_nothing_to_stderr(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(g4_tiff(2000))
    # The helper asserts that stderr is empty.
    decoded_in_a_process_of_its_own([str(tmp_path / "a.tif")])


@pytest.mark.parametrize(("package", "kind", "suffix"), [("pillow_heif", "HEIF", "heic"), ("pillow_jxl", "JXL", "jxl")])
def test_formats_of_optional_packages(tmp_path: Path, package: str, kind: str, suffix: str) -> None:
    plugin = pytest.importorskip(package)
    if hasattr(plugin, "register_heif_opener"):
        plugin.register_heif_opener()
    image = Image.new("RGB", (40, 30), (200, 30, 60))
    image.save(tmp_path / f"a.{suffix}", kind)
    decoded = decode_image(tmp_path / f"a.{suffix}")
    assert decoded.image.size == (40, 30)
    np.testing.assert_allclose(np.asarray(decoded.image).mean(axis=(0, 1)), (200, 30, 60), atol=6)


def test_without_the_package_a_format_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    code = "import sys\nsys.modules['pillow_heif'] = None\n" + DECODE_ALL
    run = subprocess.run([sys.executable, "-c", code], input=json.dumps([str(tmp_path / "a.jpg")]), capture_output=True,
                         text=True, timeout=100, check=True)  # fmt: skip
    assert "imgcls[heif]" in run.stdout
    assert "not_an_image" in run.stdout


@pytest.mark.parametrize("jpeg", [progressive_jpeg, sequential_jpeg])
def test_a_jpeg_of_endless_scans_is_refused_before_it_is_decoded(jpeg: Callable[[int], bytes]) -> None:
    assert decode_image(jpeg(1)).width == 64
    with pytest.raises(ImageError, match="scans") as caught:
        decode_image(jpeg(60_000))
    assert caught.value.kind == "corrupt_image"


@pytest.mark.parametrize("num_lost", [1, 2, 30, 300])
def test_jpegs_that_lack_their_end(num_lost: int) -> None:
    content = io.BytesIO()
    drawn(0, 64).save(content, "JPEG", quality=95)
    torn = content.getvalue()[:-num_lost]
    with pytest.raises(ImageError, match="truncated"):
        decode_image(torn)
    accepted = decode_image(torn, accepts_truncated=True)
    assert accepted.is_truncated
    assert not decode_image(content.getvalue(), accepts_truncated=True).is_truncated
    whole = np.asarray(decode_image(content.getvalue()).image)
    np.testing.assert_array_equal(np.asarray(accepted.image)[:32], whole[:32])


def test_the_number_of_frames_is_told() -> None:
    content = io.BytesIO()
    drawn(0).save(content, "GIF", save_all=True, append_images=[drawn(1), drawn(2)])
    assert decode_image(content.getvalue()).num_frames == 3
    content = io.BytesIO()
    drawn(0).save(content, "PNG")
    assert decode_image(content.getvalue()).num_frames == 1
