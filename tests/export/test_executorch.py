"""ExecuTorch programs: written, run by ExecuTorch's own runtime, compared; and refused where they can't be run."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from exported_models import CLASSES, load_cnn
from labelled_data import write_image
from torch import nn

pytest.importorskip("executorch", reason="needs the executorch extra: pip install 'imgcls[executorch]'")

from imgcls.errors import DeviceError, ModelError, UsageError
from imgcls.export import executorch
from imgcls.export.request import ExportRequest
from imgcls.inference.backends.backend import LoadOptions, load_backend
from imgcls.inference.backends.torch_backend import TorchBackend
from imgcls.models.loading import load_model
from imgcls.models.programs.executorch import CARD_METHOD, TRAILER, load_runtime, with_sum

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cnn(tmp_path_factory):
    return load_cnn(tmp_path_factory.mktemp("cnn"))


@pytest.fixture(scope="module")
def program(cnn, tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "cnn.pte"
    report = executorch.write(cnn, path, ExportRequest())
    values = json.loads(json.dumps(report.to_dict()))
    assert (values["format"], values["precision"], values["num_pictures"]) == ("executorch", "fp32", 8)
    assert values["largest_difference"] <= 1e-5
    assert "executorch" in values["versions"]
    assert [each.name for each in path.parent.iterdir()] == ["cnn.pte"]
    return path


@pytest.mark.parametrize("count", [1, 3])
def test_a_program_answers_as_its_model_does(cnn, program, count):
    pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    loaded = load_backend(str(program))
    assert (loaded.runtime, loaded.device, loaded.backend.classes) == ("executorch", "cpu", CLASSES)
    expected = TorchBackend(cnn, torch.device("cpu")).probabilities(pixels)
    np.testing.assert_allclose(loaded.backend.probabilities(pixels), expected, atol=1e-5)
    told = loaded.backend.describe()
    assert (told["runtime"], told["exported_from"], told["precision"]) == ("executorch", cnn.weights_sha256, "fp32")


def test_eval_and_calibration_load_it_as_a_network(cnn, program):
    loaded = load_model(str(program))
    assert (loaded.classes, loaded.transform) == (CLASSES, cnn.transform)
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.network(images), cnn.network(images), atol=1e-4, rtol=1e-4)


def test_apps_read_the_card_from_the_program(cnn, program):
    found = load_runtime("a test").load_program(program.read_bytes()).load_method(CARD_METHOD).execute([])
    card = json.loads(found[0])
    assert (tuple(card["classes"]), card["transform"]) == (CLASSES, cnn.transform.to_dict())


def test_eight_bits_are_calibrated_on_the_folder_and_judged_on_the_others(cnn, program, tmp_path):
    for index in range(6):
        write_image(tmp_path / "photos" / f"{index}.png", seed=index, px=40)
    path = tmp_path / "m.pte"
    command = [sys.executable, "-m", "imgcls", "export", cnn.weights_path, "-o", path, "--int8", "-f", "json"]
    # In a process of its own, as users run it.
    ended = subprocess.run(
        [*map(str, command), "--calibrate", str(tmp_path / "photos")], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert (told["calibrated_on"], told["num_pictures"], told["drawn_pictures"]) == (3, 3, 0)
    assert told["precision"] == "int8"
    assert told["size_bytes"] == path.stat().st_size < 0.4 * program.stat().st_size
    assert 0 < told["largest_difference"] < 0.1
    assert load_backend(str(path)).backend.describe()["precision"] == "int8"


def test_what_is_damaged_or_not_of_ours_is_refused(program, tmp_path):
    content = bytearray(program.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = tmp_path / "damaged.pte"
    damaged.write_bytes(content)
    with pytest.raises(ModelError, match="changed or damaged"):
        load_backend(str(damaged))
    damaged.write_bytes(program.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="was not written by imgcls, or lacks its end"):
        load_backend(str(damaged))
    damaged.write_bytes(with_sum(b"no program" * 100))
    with pytest.raises(ModelError, match="can't be loaded"):
        load_backend(str(damaged))
    bare = program.read_bytes().rpartition(TRAILER)[0]
    damaged.write_bytes(with_sum(bare[:-1000]))
    with pytest.raises(ModelError, match="can't be loaded"):
        load_backend(str(damaged))
    with pytest.raises(ModelError):
        load_backend(str(tmp_path / "none.pte"))


def test_options_that_it_has_no_use_for(program):
    with pytest.raises(DeviceError, match="runs on the CPU"):
        load_backend(str(program), LoadOptions(device="cuda"))
    with pytest.raises(UsageError):
        load_backend(str(program), LoadOptions(runtime="onnx"))
    with pytest.raises(UsageError, match="exported file already"):
        executorch.write(load_model(str(program)), program.with_name("again.pte"), ExportRequest())


class Spectrum(nn.Module):
    """A layer with an operator that ExecuTorch has no kernel for."""

    def forward(self, images_BCHW):
        return torch.linalg.svdvals(images_BCHW.mean(dim=1))[:, :3]


def test_batch_norms_as_convolutions_compute_the_same(cnn):
    images = torch.randn(2, 3, 32, 32)
    copied = executorch.norms_as_convolutions(cnn.network)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in copied.modules())
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in cnn.network.modules())
    with torch.inference_mode():
        torch.testing.assert_close(copied(images), cnn.network(images), atol=1e-5, rtol=1e-5)


def test_an_operator_without_a_kernel_is_named_with_its_layer(cnn, tmp_path):
    import dataclasses

    network = nn.Sequential(nn.Conv2d(3, 3, 3), Spectrum()).eval()
    with pytest.raises(ModelError, match=r"no kernel for aten::\w*svd\w* in the layer '1'"):
        executorch.write(dataclasses.replace(cnn, network=network), tmp_path / "m.pte", ExportRequest())
    assert list(tmp_path.iterdir()) == []


def test_stdout_and_stderr_are_left_alone(program, tmp_path, capfd):
    load_backend(str(program)).backend.probabilities(np.zeros((1, 32, 32, 3), np.uint8))
    assert capfd.readouterr() == ("", "")
