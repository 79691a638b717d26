"""What decoding holds at its peak, in a process of its own: failed images keep nothing, and the estimate is kept."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PROBE = """
import re, sys
from pathlib import Path
from colour_backend import ColourBackend
from imgcls.images.decode_budget import decoding_bytes
from imgcls.images.formats import open_image
from imgcls.images.inputs.sources import Source
from imgcls.inference.pipeline import StreamSettings, classify_stream
def peak_mib():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
paths = sorted(Path(sys.argv[1]).iterdir())
sources = (Source(str(path), path) for path in paths)
with open_image(paths[0]) as image:
    estimate = decoding_bytes(image) / 2**20
before = peak_mib()
records = list(classify_stream(sources, ColourBackend(), StreamSettings(top_k=3, num_threads=2)))
print(sum(record.error is None for record in records), estimate, peak_mib() - before)
"""
# Threads, batches, and what the allocator keeps.
MARGIN_MIB = 60

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")


def measured(folder: Path) -> tuple[int, float, float]:
    """Good records, the estimate for one image, and the growth of the process's peak, both in MiB."""
    tests = Path(__file__).parents[1]
    command = [sys.executable, "-W", "ignore", "-c", PROBE, str(folder)]
    environment = os.environ | {"PYTHONPATH": f"{tests}:{tests.parent}"}
    run = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True, env=environment)
    good, estimate, peak = run.stdout.split()
    return int(good), float(estimate), float(peak)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_torn_images_take_no_more_than_whole_ones(tmp_path: Path, kind: str) -> None:
    pixels = np.add.outer(np.arange(1500), np.arange(2000)) // 7 % 256
    content = io.BytesIO()
    Image.fromarray(np.stack([pixels] * 3, axis=-1).astype(np.uint8)).save(content, kind)
    written = content.getvalue()
    peaks = {}
    for name, size in (("whole", len(written)), ("torn", len(written) * 4 // 5)):
        (tmp_path / name).mkdir()
        for number in range(20):
            (tmp_path / name / f"{number}.img").write_bytes(written[:size])
        good, _estimate, peaks[name] = measured(tmp_path / name)
        assert good == (20 if name == "whole" else 0)
    # Kept, the pixels of twenty would take 230 MiB more.
    assert peaks["torn"] < peaks["whole"] + MARGIN_MIB


@pytest.mark.parametrize("kind", ["float", "16 bits", "webp"])
def test_large_images_take_what_their_header_lets_expect(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    if kind == "webp":
        Image.new("RGB", (4000, 4000)).save(folder / "0.webp", method=0)
    else:
        pixels = np.zeros((4000, 4000), np.float32 if kind == "float" else np.uint16)
        Image.fromarray(pixels).save(folder / "0.tif", compression="tiff_deflate")
    (first,) = folder.iterdir()
    for number in range(1, 4):
        (folder / f"{number}{first.suffix}").write_bytes(first.read_bytes())
    good, estimate, peak = measured(folder)
    assert good == 4
    # Two threads.
    assert peak < 2 * estimate + MARGIN_MIB
