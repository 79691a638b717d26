"""The images in examples/ are what their scripts draw."""

import io
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("name", ["espresso", "ship"])
def test_a_rerun_of_the_script_draws_the_same_image(tmp_path: Path, name: str) -> None:
    script = shutil.copy(EXAMPLES / f"render_{name}.py", tmp_path)
    subprocess.run([sys.executable, script], check=True, cwd=tmp_path)
    drawn, shipped = ((folder / f"{name}.jpg").read_bytes() for folder in (tmp_path, EXAMPLES))
    if drawn == shipped:
        return
    # Another Pillow, libjpeg or numpy rounds otherwise.
    one, other = (np.asarray(Image.open(io.BytesIO(content)), np.int16) for content in (drawn, shipped))
    assert one.shape == other.shape
    assert np.abs(one - other).mean() < 0.5
    assert np.abs(one - other).max() <= 32
