"""The transform as part of an exported graph: the same pixels as Pillow's, up to a rounding, at any size."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from exported_models import load_cnn, load_mlp
from PIL import Image

from imgcls.errors import ModelError, UsageError
from imgcls.export import aoti, onnx, transform_check
from imgcls.export.graph_transform import GraphTransform
from imgcls.export.request import ExportRequest
from imgcls.images.transform import Transform
from imgcls.inference.backends.backend import LoadOptions, load_backend
from imgcls.inference.backends.torch_backend import TorchBackend
from imgcls.models.loading import load_model
from imgcls.models.model_card import ModelCard
from imgcls.models.pixel_input import normalised_to_pixels, on_canvas

PLAIN = Transform(40, 32, (0, 0, 0), (1, 1, 1), scale=255)
TRANSFORMS = [
    PLAIN,
    replace(PLAIN, interpolation="bicubic"),
    replace(PLAIN, interpolation="lanczos"),
    replace(PLAIN, interpolation="hamming"),
    replace(PLAIN, resize="squash"),
    replace(PLAIN, resize="pad", pad_rgb=(9, 200, 30)),
    replace(PLAIN, resize_px=24, pad_rgb=(9, 200, 30)),
    replace(PLAIN, crop_width_px=20),
    replace(PLAIN, channels="bgr"),
    replace(PLAIN, channels="grey", mean=(0,), std=(1,)),
    Transform(40, 32, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)),
]
SIZES = [(50, 37), (37, 50), (40, 40), (32, 32), (3, 2), (1, 1), (5, 90), (131, 97), (301, 33)]


def image_of(width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(width * height).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
def test_the_graph_makes_the_pixels_that_pillow_makes(transform: Transform) -> None:
    graph = GraphTransform(transform)
    level = (1 if transform.scale == 255 else 1 / 255) / min(transform.std)
    off = []
    for size in SIZES:
        image = image_of(*size)
        wanted = transform.normalise_array(transform.crop(image)[None])
        found = graph(torch.from_numpy(np.array(image))[None]).numpy()
        assert found.shape == wanted.shape
        # Two passes round, and a border between two levels may fall to either side.
        assert np.abs(found - wanted).max() <= 2.01 * level, size
        off.append((np.abs(found - wanted) > 0.5 * level).mean())
    assert np.mean(off) < 0.05


@pytest.mark.parametrize("transform", [each for each in TRANSFORMS if each.resize_px >= each.crop_px], ids=str)
def test_a_crop_on_its_canvas_goes_through_unchanged(transform: Transform) -> None:
    crops = np.stack([transform.crop(image_of(*size)) for size in SIZES])
    found = GraphTransform(transform)(torch.from_numpy(on_canvas(transform, crops))).numpy()
    normalised = transform.normalise_array(crops)
    np.testing.assert_allclose(found, normalised, atol=1e-5)
    again = on_canvas(transform, normalised_to_pixels(transform, normalised))
    np.testing.assert_allclose(GraphTransform(transform)(torch.from_numpy(again)).numpy(), normalised, atol=1e-5)


def test_onnx_runtime_alone_takes_decoded_images_of_any_size(tmp_path: Path) -> None:
    model = load_cnn(tmp_path)
    path = tmp_path / "m.onnx"
    report = onnx.write(model, path, ExportRequest(with_transform=True))
    assert report.transform_parity is not None
    assert report.transform_parity.num_images == 12
    values = json.loads(json.dumps(report.to_dict()))
    assert values["with_transform"]["largest_difference"] <= 1e-2
    session = onnxruntime.InferenceSession(path)
    card = json.loads(session.get_modelmeta().custom_metadata_map["imgcls"])
    assert (card["input"], card["format_version"]) == ("pixels", 3)
    for size in SIZES:
        image = image_of(*size)
        (found,) = session.run(None, {"pixels": np.asarray(image)[None]})
        crop = model.transform.crop(image)[None]
        with torch.inference_mode():
            wanted = model.network(torch.from_numpy(model.transform.normalise_array(crop))).numpy()
        np.testing.assert_allclose(found, wanted, atol=0.05)


def test_whatever_answers_here_prepares_as_for_the_model_itself(tmp_path: Path) -> None:
    model = load_mlp(tmp_path)
    path = tmp_path / "m.onnx"
    onnx.write(model, path, ExportRequest(with_transform=True))
    crops = np.stack([model.transform.crop(image_of(*size)) for size in SIZES])
    wanted = TorchBackend(model, torch.device("cpu")).probabilities(crops)
    np.testing.assert_allclose(load_backend(str(path)).backend.probabilities(crops), wanted, atol=1e-5)
    loaded = load_model(str(path))
    with torch.inference_mode():
        logits = loaded.network(torch.from_numpy(model.transform.normalise_array(crops)))
    np.testing.assert_allclose(logits.softmax(1).numpy(), wanted, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")
def test_a_package_of_native_code_holds_it_too(tmp_path: Path) -> None:
    model = load_mlp(tmp_path)
    path = tmp_path / "m.pt2"
    report = aoti.write(model, path, ExportRequest(with_transform=True, device="cpu"))
    assert report.transform_parity is not None
    crops = np.stack([model.transform.crop(image_of(*size)) for size in SIZES])
    wanted = TorchBackend(model, torch.device("cpu")).probabilities(crops)
    backend = load_backend(str(path), LoadOptions(allow_code=True)).backend
    np.testing.assert_allclose(backend.probabilities(crops), wanted, atol=1e-5)


def test_a_graph_that_prepares_otherwise_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_mlp(tmp_path)
    honest = transform_check.compare
    monkeypatch.setattr(
        transform_check, "compare", lambda one, other, **told: honest(one, 5 * other[:, ::-1].copy(), **told)
    )
    with pytest.raises(ModelError, match="with the transform in the graph"):
        onnx.write(model, tmp_path / "m.onnx", ExportRequest(with_transform=True))
    assert not (tmp_path / "m.onnx").exists()


def test_what_can_not_be_meant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'nearest'"):
        GraphTransform(replace(PLAIN, interpolation="nearest"))
    with pytest.raises(UsageError, match="for float32"):
        onnx.write(load_mlp(tmp_path), tmp_path / "m.onnx", ExportRequest(with_transform=True, precision="fp16"))
    small = replace(load_mlp(tmp_path), transform=replace(PLAIN, resize_px=6, crop_px=8))
    with pytest.raises(UsageError, match="crops to 8 px what was resized to 6"):
        onnx.write(small, tmp_path / "m.onnx", ExportRequest(with_transform=True))
    card = ModelCard("m", ("a", "b"), PLAIN, "0" * 64, input="pixels")
    assert ModelCard.from_json(card.to_json(), source="m") == card
    with pytest.raises(ModelError, match="input is 'sounds'"):
        ModelCard.from_json(card.to_json().replace('"pixels"', '"sounds"'), source="m")
