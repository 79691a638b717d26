"""Whatever somebody has done to a file of tensors, an ONNX file or an image: it is read, or refused with our error.

2,000 files for each reader. Whole ONNX sessions and networks get 200, as each takes 10 ms and more to build.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx_files import write_foreign
from PIL import Image, features

from imgcls.datasets import decode_cache
from imgcls.errors import ImageError, ImgclsError, ModelError, UsageError
from imgcls.images.decoding import decode_image
from imgcls.models.answers.calibration import Calibration, ConformalSets
from imgcls.models.loading import load_model
from imgcls.models.weights.state_dicts import load_state_dict
from imgcls.training.checkpointing.resume import load_saved

pytestmark = pytest.mark.slow

CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
thorough = settings(max_examples=2000, deadline=None, suppress_health_check=CHECKS)
fewer = settings(max_examples=200, deadline=None, suppress_health_check=CHECKS)

TENSORS = st.sampled_from(
    [
        torch.zeros(2), torch.zeros(0), torch.ones(3, 4, dtype=torch.int64), torch.ones(2, dtype=torch.complex64),
        torch.ones(2).to_sparse(), torch.ones(2, device="meta"), torch.tensor(float("nan")), torch.ones(1).expand(9, 9),
    ]
)  # fmt: skip
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.just(10**400) | st.floats() | st.text(max_size=5)
    | TENSORS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip


@st.composite
def spoiled(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes changed, cut out or put in, in up to four places."""
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(found)))
        found[start : start + draw(st.sampled_from([0, 1, 1, 2, 8, 1000]))] = draw(st.binary(max_size=8))
    return bytes(found)


@st.composite
def with_junk(draw: st.DrawFn, value: Any) -> Any:
    """The tree of dictionaries and lists with another value in one place."""
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 3)) == 0:
        return draw(JUNK)
    if isinstance(value, list):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], draw(with_junk(value[place])), *value[place + 1 :]]
    key = draw(st.sampled_from(sorted(value, key=str)))
    return {**value, key: draw(with_junk(value[key]))}


def saved(content: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def refuses(kind: type[ImgclsError] | tuple[type[ImgclsError], ...], read: Callable[[], Any]) -> None:
    said = ""
    try:
        read()
    except kind as exc:
        said = exc.message
    assert len(said) < 2000


CALIBRATION = Calibration("vector", (0.5, 1, 2), (0.1, 0, 0), 9, ConformalSets(0.9, 0.5, 0.1, 5, 9)).to_dict()


@thorough
@given(data=st.data())
def test_checkpoints(tmp_path: Path, tiny_model: Path, data: st.DataObject) -> None:
    whole = tiny_model.read_bytes()
    tree = torch.load(io.BytesIO(whole), weights_only=True)
    # What a run goes on from is a checkpoint, and more.
    tree["calibration"] = CALIBRATION
    tree["resume"] = {"loop": {"position": {"epoch": 1}, "phase": 0}, "best": None, "last": None, "data": {}}
    content = data.draw(spoiled(whole) | with_junk(tree).map(saved))
    path = tmp_path / "last.pt"
    path.write_bytes(content)
    refuses(ModelError, lambda: load_saved(path))


@fewer
@given(data=st.data())
def test_networks_of_checkpoints(tmp_path: Path, tiny_model: Path, data: st.DataObject) -> None:
    tree = torch.load(tiny_model, weights_only=True) | {"calibration": CALIBRATION}
    torch.save(data.draw(with_junk(tree)), tmp_path / "best.pt")
    refuses(ModelError, lambda: load_model(str(tmp_path / "best.pt")))


STATE = {"state_dict": {"a.weight": torch.ones(2, 2), "a.bias": torch.ones(2)}, "epoch": 3}


@thorough
@given(content=spoiled(saved(STATE)) | with_junk(STATE).map(saved) | st.binary(max_size=100))
def test_state_dicts(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    refuses(ModelError, lambda: load_state_dict(tmp_path / "w.pth"))


@thorough
@given(data=st.data())
def test_safetensors(tmp_path: Path, data: st.DataObject) -> None:
    torch_file = pytest.importorskip("safetensors.torch")
    whole = torch_file.save(STATE["state_dict"])
    (tmp_path / "w.safetensors").write_bytes(data.draw(spoiled(whole) | st.binary(max_size=100)))
    refuses((ModelError, UsageError), lambda: load_state_dict(tmp_path / "w.safetensors"))


DECODED = {"pixels": torch.zeros(2, 3, 4, 4, dtype=torch.uint8), "unreadable": [[0, "corrupt_image", "torn"]]}


@thorough
@given(content=spoiled(saved(DECODED)) | with_junk(DECODED).map(saved) | st.binary(max_size=100))
def test_decoded_caches(content: bytes) -> None:
    folder = decode_cache.cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "k.pt").write_bytes(content)
    found = decode_cache.load_decoded("k", 2, (4, 4))
    assert (found is None) == (not (folder / "k.pt").exists())
    if found is not None:
        assert found.pixels_MCHW.shape == (2, 3, 4, 4)


@fewer
@given(data=st.data())
def test_onnx(tmp_path: Path, data: st.DataObject) -> None:
    pytest.importorskip("onnxruntime")
    whole = tmp_path / "whole.onnx"
    if not whole.exists():
        write_foreign(whole)
    (tmp_path / "m.onnx").write_bytes(data.draw(spoiled(whole.read_bytes()) | st.binary(max_size=100)))
    refuses((ModelError, UsageError), lambda: load_model(str(tmp_path / "m.onnx")))


FORMATS = {
    "JPEG": "RGB", "PNG": "RGB", "GIF": "P", "WEBP": "RGB", "BMP": "RGB", "TIFF": "RGB", "ICO": "RGB", "TGA": "RGB",
    "PCX": "RGB", "DDS": "RGB", "SGI": "RGB", "PPM": "RGB", "JPEG2000": "RGB", "ICNS": "RGBA", "DIB": "RGB",
    "MSP": "1", "QOI": "RGB", "MPO": "RGB", "SPIDER": "F", "AVIF": "RGB",
}  # fmt: skip


def images() -> dict[str, bytes]:
    found = {}
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    for name, mode in FORMATS.items():
        if name != "AVIF" or features.check("avif"):
            file = io.BytesIO()
            Image.fromarray(pixels).convert(mode).save(file, name)
            found[name] = file.getvalue()
    return found


IMAGES = images()


@settings(thorough, max_examples=4000)
@given(st.sampled_from(sorted(IMAGES)).flatmap(lambda name: spoiled(IMAGES[name])) | st.binary(max_size=100))
def test_images(content: bytes) -> None:
    refuses(ImageError, lambda: decode_image(content, max_pixels=10**6))
