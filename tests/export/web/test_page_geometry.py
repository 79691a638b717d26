"""The page's preprocessing in Node.js, beside Pillow's and numpy's."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image

from imgcls.export.web.site import PAGE
from imgcls.images.transform import Transform

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="no Node.js here")

FILTERS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
SIZES = ((320, 240), (37, 91), (90, 300), (64, 64), (1, 500), (72, 72), (250, 64), (149, 72))


def answers(tasks, folder):
    """What the page makes of images: for each its bytes and its floats."""
    # Node.js takes a file for a module by its name.
    module = folder / "geometry.mjs"
    shutil.copy(PAGE / "geometry.js", module)
    told = [
        json.dumps({"width": rgba.shape[1], "height": rgba.shape[0], "transform": transform.to_dict()}).encode()
        + b"\n"
        + rgba.tobytes()
        for rgba, transform in tasks
    ]
    command = [NODE, str(Path(__file__).with_name("node_geometry.mjs")), str(module)]
    found = subprocess.run(command, input=b"".join(told), stdout=subprocess.PIPE, check=True, timeout=120).stdout
    for _rgba, transform in tasks:
        height, width = transform.size_px
        bytes_, floats = height * width * 3, height * width * transform.num_channels * 4
        yield (
            np.frombuffer(found, np.uint8, bytes_).reshape(height, width, 3),
            np.frombuffer(found[bytes_:], np.float32, floats // 4).reshape(-1, height, width),
        )
        found = found[bytes_ + floats :]
    assert not found


def check(tasks, folder):
    for (rgba, transform), (pixels, floats) in zip(tasks, answers(tasks, folder), strict=True):
        expected = transform.crop(Image.fromarray(np.ascontiguousarray(rgba[..., :3])))
        # Before version 13 Pillow never went down first; for tall images a rounding then falls the other way.
        most = 0 if int(PIL.__version__.partition(".")[0]) >= 13 else 1
        assert np.abs(pixels.astype(int) - expected).max() <= most, f"{rgba.shape} {transform}"
        np.testing.assert_array_equal(floats, transform.normalise_array(pixels[None])[0])


def noise(width, height):
    return np.random.default_rng(width * height).integers(0, 256, (height, width, 4), dtype=np.uint8)


@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
def test_every_filter_gives_pillows_bytes(resize, tmp_path):
    check(
        [
            (noise(*size), Transform(72, 64, interpolation=filter_, resize=resize, pad_rgb=(10, 20, 30)))
            for filter_ in FILTERS
            for size in SIZES
        ],
        tmp_path,
    )


def test_channels_borders_and_oblong_input(tmp_path):
    check(
        [
            (noise(99, 60), Transform(64, 96, crop_width_px=48, channels="grey", mean=(0.5,), std=(0.2,))),
            (noise(99, 60), Transform(60, 50, channels="bgr", scale=255, mean=(100.0, 110.0, 120.0), std=(1.0,) * 3)),
            (noise(30, 20), Transform(40, 48, pad_rgb=(255, 0, 7))),
            (noise(31, 20), Transform(21, 48)),
        ],
        tmp_path,
    )


def test_a_thread_a_pixel_wide_is_not_blown_up(tmp_path):
    check([(noise(1, 4000), Transform(256, 224)), (noise(3000, 1), Transform(256, 224))], tmp_path)
