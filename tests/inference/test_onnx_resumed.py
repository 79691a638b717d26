"""An ONNX model's answer doesn't depend on how many came before: a resumed run ends with the same bytes."""

from pathlib import Path

import numpy as np
import pytest
from tiny_model import save_image, save_images

from imgcls.export.onnx import export_onnx
from imgcls.models.loading import load_model
from imgcls.models.onnx.model import OnnxModel

# Convolutions, whose weights onnxruntime may rearrange; so many images that a session would think it worth its while.
NUM_IMAGES = 150


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "cifar10-cnn.onnx"
    export_onnx(load_model("cifar10-cnn"), path)
    return path


def test_the_first_answer_is_that_of_the_last(exported):
    pixels_BHWC = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    backend = OnnxModel(exported)
    first = backend.probabilities(pixels_BHWC)
    for _ in range(NUM_IMAGES // 8):
        np.testing.assert_array_equal(backend.probabilities(pixels_BHWC), first)
    np.testing.assert_array_equal(OnnxModel(exported).probabilities(pixels_BHWC), first)


@pytest.mark.parametrize("num_before", [1, 40, 100])
def test_a_resumed_run_writes_the_same_bytes_as_one_in_one_go(exported, imgcls, tmp_path, num_before):
    folder = tmp_path / "in"
    command = ("predict", folder, "-m", exported, "-f", "jsonl", "--resume", "--batch-size", "16", "-q")
    save_images(folder, num_before)
    assert imgcls(*command, "-o", tmp_path / "resumed.jsonl").code == 0
    for number in range(num_before, NUM_IMAGES):
        save_image(folder / f"{number:04}.png", number)
    assert imgcls(*command, "-o", tmp_path / "resumed.jsonl").code == 0
    assert imgcls(*command, "-o", tmp_path / "whole.jsonl").code == 0
    whole = (tmp_path / "whole.jsonl").read_bytes()
    assert whole.count(b"\n") == NUM_IMAGES
    assert (tmp_path / "resumed.jsonl").read_bytes() == whole
