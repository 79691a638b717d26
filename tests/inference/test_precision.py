"""Predictions in fewer bits: close to float32, recorded, refused where a device only emulates them."""

import json

import numpy as np
import pytest
import torch
from tiny_model import save_images

from imgcls.errors import DeviceError
from imgcls.host.devices import supports_bfloat16
from imgcls.inference.backends.torch_backend import TorchBackend, check_precision
from imgcls.models.loading import load_model

CPU = torch.device("cpu")
needs_bfloat16 = pytest.mark.skipif(not supports_bfloat16(CPU), reason="this CPU has no bfloat16 arithmetic")


@needs_bfloat16
def test_bf16_answers_are_close_and_norms_keep_their_bits():
    pixels_BHWC = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
    exact = TorchBackend(load_model("cifar10-cnn"), CPU)
    lowered = TorchBackend(load_model("cifar10-cnn"), CPU, "bf16")
    expected_BK, answered_BK = exact.probabilities(pixels_BHWC), lowered.probabilities(pixels_BHWC)
    assert 0 < np.abs(expected_BK - answered_BK).max() < 0.05
    assert (expected_BK.argmax(1) == answered_BK.argmax(1)).mean() >= 0.9
    dtypes = {
        type(module).__name__: module.weight.dtype
        for module in lowered.model.network.modules()
        if hasattr(module, "weight")
    }
    assert dtypes == {"Conv2d": torch.bfloat16, "BatchNorm2d": torch.float32, "Linear": torch.bfloat16}
    assert "precision" not in exact.describe()
    assert lowered.describe()["precision"] == "bf16"


def test_refused_where_it_would_be_emulated(monkeypatch):
    with pytest.raises(DeviceError, match="fp16 is for accelerators"):
        check_precision("fp16", CPU)
    monkeypatch.setattr("imgcls.inference.backends.torch_backend.supports_bfloat16", lambda _device: False)
    with pytest.raises(DeviceError, match="cpu has no bf16 arithmetic"):
        check_precision("bf16", CPU)
    check_precision("fp32", CPU)


def test_fp16_on_the_cpu_is_code_7(imgcls, tiny_model, tmp_path):
    save_images(tmp_path / "in", 1)
    run = imgcls("predict", tmp_path / "in", "-m", tiny_model, "--device", "cpu", "--precision", "fp16")
    assert (run.code, run.stdout) == (7, b"")
    assert run.stderr.startswith("error: fp16 is for accelerators; a CPU only emulates it\n  hint: ")


@needs_bfloat16
def test_resume_does_again_what_was_done_in_another_precision(imgcls, tiny_model, tmp_path):
    save_images(tmp_path / "in", 3)
    output = tmp_path / "r.jsonl"
    base = ("predict", tmp_path / "in", "-m", tiny_model, "-f", "jsonl", "-o", output, "--resume", "--device", "cpu")
    assert imgcls(*base).code == 0
    assert "3 images: 3 ok" in imgcls(*base, "--precision", "bf16").stderr
    note = json.loads((tmp_path / "r.jsonl.run.json").read_text())
    assert note["model"]["precision"] == "bf16"
    assert note["counts"]["kept"] == 0
    assert imgcls(*base, "--precision", "bf16").code == 0
    assert json.loads((tmp_path / "r.jsonl.run.json").read_text())["counts"]["kept"] == 3
