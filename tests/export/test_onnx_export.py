import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from exported_models import CLASSES, RECIPE, load_cnn, load_mlp
from labelled_data import write_image
from PIL import Image
from torch import nn

import imgcls.export.onnx as onnx_export
from imgcls.errors import DataError, DeviceError, ModelError, UsageError
from imgcls.export.onnx import export_onnx
from imgcls.export.parity import in_batches, outputs_of
from imgcls.export.sample_images import hold_out
from imgcls.inference.backends.torch_backend import TorchBackend
from imgcls.models.loaded_model import LoadedModel
from imgcls.models.loading import load_model
from imgcls.models.onnx.model import CARD_KEY, OnnxModel


@pytest.fixture(scope="module")
def cnn(tmp_path_factory):
    return load_cnn(tmp_path_factory.mktemp("cnn"))


@pytest.fixture(scope="module")
def mlp(tmp_path_factory):
    return load_mlp(tmp_path_factory.mktemp("mlp"))


@pytest.fixture(scope="module")
def exported(cnn, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "cnn.onnx"
    return path, export_onnx(cnn, path)


@pytest.fixture
def photos(tmp_path):
    for index in range(6):
        write_image(tmp_path / "photos" / f"{index}.png", seed=index, px=40)
    return tmp_path / "photos"


@pytest.mark.parametrize("count", [1, 3, 7])
def test_the_file_answers_as_the_model_at_any_batch(cnn, exported, count):
    pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    found = OnnxModel(exported[0]).probabilities(pixels)
    np.testing.assert_allclose(found, TorchBackend(cnn, torch.device("cpu")).probabilities(pixels), atol=1e-5)


def test_the_file_is_enough_by_itself(cnn, exported):
    path, _report = exported
    file = onnx.load(path, load_external_data=False)
    onnx.checker.check_model(file, full_check=True)
    assert [each.name for each in file.graph.input] == ["images"]
    assert [each.name for each in file.graph.output] == ["logits"]
    assert not any(tensor.external_data for tensor in file.graph.initializer)
    card = json.loads({entry.key: entry.value for entry in file.metadata_props}[CARD_KEY])
    assert card["classes"] == list(CLASSES)
    assert card["transform"] == cnn.transform.to_dict()
    assert card["weights_sha256"] == cnn.weights_sha256
    assert (card["name"], card["precision"], card["recipe"]) == ("cnn", "fp32", RECIPE)
    assert {"imgcls", "torch", "onnx", "onnxruntime"} <= set(card["versions"])
    assert list(path.parent.iterdir()) == [path]


def test_the_report_says_what_was_compared(exported):
    path, report = exported
    values = json.loads(json.dumps(report.to_dict()))
    assert values["output"] == str(path)
    assert values["sha256"] == OnnxModel(path).sha256
    assert values["size_bytes"] == path.stat().st_size
    assert (values["format"], values["precision"], values["num_pictures"]) == ("onnx", "fp32", 8)
    assert 0 <= values["largest_difference"] < 1e-5
    assert values["top1_agreement"] == 1.0
    assert [variant["name"] for variant in values["variants"]] == ["torch", "fp32"]


def test_the_same_model_gives_the_same_bytes(exported, cnn, tmp_path):
    export_onnx(cnn, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == exported[0].read_bytes()


def test_it_loads_as_a_model_for_eval(exported, cnn):
    loaded = load_model(str(exported[0]))
    assert (loaded.name, loaded.classes, loaded.transform, loaded.recipe) == ("cnn", CLASSES, cnn.transform, RECIPE)
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.network(images), cnn.network(images), atol=1e-4, rtol=1e-4)


def test_what_is_exported_already_is_refused(exported, tmp_path):
    with pytest.raises(UsageError, match="exported file already"):
        export_onnx(load_model(str(exported[0])), tmp_path / "again.onnx")


def test_half_precision_halves_the_file(mlp, photos, tmp_path):
    report = export_onnx(mlp, tmp_path / "m.onnx", precision="fp16", folder=photos)
    half, whole = report.written, report.variants[1]
    assert [variant.name for variant in report.variants] == ["torch", "fp32", "fp16"]
    assert half.size_bytes < 0.6 * whole.size_bytes
    assert half.parity.num_images == 6
    assert 0 < half.parity.largest_difference < 0.01
    assert OnnxModel(tmp_path / "m.onnx").describe()["precision"] == "fp16"


def test_eight_bits_are_calibrated_on_the_folder(cnn, photos, tmp_path):
    report = export_onnx(cnn, tmp_path / "m.onnx", precision="int8", folder=photos)
    assert (report.num_calibrated, report.written.parity.num_images, report.num_drawn) == (3, 3, 0)
    assert report.written.size_bytes < 0.45 * report.variants[1].size_bytes
    kinds = {node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    # The figures of the report are those of the file.
    pixels = np.stack([cnn.transform.crop(_open(path)) for path in sorted(photos.iterdir())])
    calibration, pixels = hold_out(pixels, most=128)
    assert not {image.tobytes() for image in calibration} & {image.tobytes() for image in pixels}
    difference = np.abs(
        OnnxModel(tmp_path / "m.onnx").probabilities(pixels)
        - TorchBackend(cnn, torch.device("cpu")).probabilities(pixels)
    ).max()
    assert report.written.parity.largest_difference == pytest.approx(difference, rel=0.05, abs=1e-6)


def test_eight_bits_of_one_image_five_times_are_judged_on_others(cnn, tmp_path):
    folder = tmp_path / "black"
    folder.mkdir()
    for index in range(5):
        Image.new("RGB", (40, 40)).save(folder / f"{index}.png")
    report = export_onnx(cnn, tmp_path / "m.onnx", precision="int8", folder=folder)
    assert (report.num_calibrated, report.num_drawn, report.written.parity.num_images) == (1, 8, 8)
    # Ranges of a black image cut everything else off.
    assert report.written.parity.largest_relative_difference > 0.1
    (warning,) = report.to_dict()["warnings"]
    assert "calibrated on 1 image and compared on 8 drawn here, which is few" in warning
    assert report.warnings == (warning,)


def test_eight_bits_need_images(mlp, tmp_path, photos):
    with pytest.raises(UsageError, match="calibrate on"):
        export_onnx(mlp, tmp_path / "m.onnx", precision="int8")
    with pytest.raises(DataError, match="no such folder"):
        export_onnx(mlp, tmp_path / "m.onnx", precision="int8", folder=tmp_path / "none")
    assert not (tmp_path / "m.onnx").exists()


def test_a_file_that_answers_differently_is_not_kept(mlp, tmp_path, monkeypatch):
    def shifted(model: LoadedModel):
        honest = outputs_of(model)
        return lambda pixels: honest(pixels) * 1.01

    monkeypatch.setattr(onnx_export, "outputs_of", shifted)
    target = tmp_path / "m.onnx"
    target.write_bytes(b"what was here before")
    with pytest.raises(ModelError, match="answers differently"):
        export_onnx(mlp, target)
    assert target.read_bytes() == b"what was here before"
    assert list(tmp_path.iterdir()) == [target]


class Undecided(nn.Module):
    """Chooses by what it sees, in Python, which no graph can hold."""

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        return images_BCHW.mean((2, 3)) if float(images_BCHW.sum()) > 0 else images_BCHW.amax((2, 3))


def test_a_network_that_is_no_graph_is_an_error(mlp, tmp_path):
    model = LoadedModel("odd", Undecided(), CLASSES, mlp.transform, "0" * 64, Path("odd.pt"))
    with pytest.raises(ModelError, match="'odd' can't be expressed as ONNX") as caught:
        export_onnx(model, tmp_path / "m.onnx")
    assert "\n" not in caught.value.message
    assert not (tmp_path / "m.onnx").exists()


def test_too_large_for_one_file_is_said_before_the_work(mlp, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "MOST_WEIGHT_BYTES", 1000)
    with pytest.raises(ModelError, match="GiB of weights") as caught:
        export_onnx(mlp, tmp_path / "m.onnx")
    assert "torch-export" in caught.value.hint


def test_without_the_extra_the_error_says_how_to_install_it(mlp, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(DeviceError, match="onnxscript") as caught:
        export_onnx(mlp, tmp_path / "m.onnx")
    assert caught.value.hint == "pip install 'imgcls[onnx]'"


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_network_of_torchvision(precision, photos, tmp_path):
    import torchvision

    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), tmp_path / "squeezenet.pth")
    model = load_model("squeezenet1_1", weights=tmp_path / "squeezenet.pth")
    report = export_onnx(model, tmp_path / "m.onnx", precision=precision, folder=photos)
    assert report.written.parity.largest_difference < (1e-6 if precision == "fp32" else 1e-2)
    backend = OnnxModel(tmp_path / "m.onnx")
    assert backend.classes == model.classes
    assert backend.card.wordnet_ids == model.wordnet_ids
    pixels = np.stack([model.transform.crop(_open(path)) for path in sorted(photos.iterdir())])
    found = in_batches(backend.probabilities, pixels)
    assert found.shape == (6, 1000)


def _open(path):
    return Image.open(path).convert("RGB")
