"""ONNX files of ours and of others, run by onnxruntime alone."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_files import (
    LABELS,
    SIDE,
    TRANSFORM,
    expected_logits,
    linear_model,
    some_pixels,
    write_convolution,
    write_foreign,
    write_own,
)

from imgcls.errors import DeviceError, ModelError, UsageError
from imgcls.images.transform import Transform
from imgcls.inference.backends.backend import LoadOptions, load_backend
from imgcls.models.loading import load_model
from imgcls.models.onnx.answers import softmax
from imgcls.models.onnx.model import OnnxModel


def foreign(path, **settings):
    return OnnxModel(write_foreign(path, **settings), labels=LABELS, transform=TRANSFORM)


def expected(pixels, scale=1.0):
    logits = expected_logits(pixels, scale)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("count", [1, 3, 7])
def test_own_file_answers_as_computed_by_hand_at_any_batch(tmp_path, count):
    backend = OnnxModel(write_own(tmp_path / "m.onnx", scale=0.05))
    pixels = some_pixels(count)
    np.testing.assert_allclose(backend.probabilities(pixels), expected(pixels, 0.05), atol=1e-6)


def test_own_file_says_all_about_itself(tmp_path):
    backend = OnnxModel(write_own(tmp_path / "m.onnx"))
    assert backend.classes == LABELS
    assert backend.transform == TRANSFORM
    described = backend.describe()
    assert described["weights_sha256"] == backend.sha256
    assert described["exported_from"] == "ab" * 32
    assert described["precision"] == "fp32"
    assert backend.id == described["id"] == f"linear@{backend.sha256[:12]}"


def test_an_answer_has_the_same_bits_whatever_came_before_it(tmp_path):
    path = write_convolution(tmp_path / "m.onnx")
    pixels = some_pixels(8)
    fresh = OnnxModel(path, labels=LABELS, transform=TRANSFORM).probabilities(pixels)
    used = OnnxModel(path, labels=LABELS, transform=TRANSFORM)
    for _ in range(20):
        used.probabilities(some_pixels(8))
    np.testing.assert_array_equal(used.probabilities(pixels), fresh)


@pytest.mark.parametrize(
    "settings",
    [
        {"softmax": True},
        {"batch": 1},
        {"batch": 4},
        {"channels_last": True},
        {"dtype": TensorProto.FLOAT16},
        {"dtype": TensorProto.DOUBLE},
        {"batch": 1, "channels_last": True, "softmax": True},
    ],
    ids=str,
)
def test_foreign_files_of_many_kinds(tmp_path, settings):
    backend = foreign(tmp_path / "m.onnx", scale=0.05, **settings)
    pixels = some_pixels(6)
    tolerance = 1e-2 if settings.get("dtype") else 1e-6
    np.testing.assert_allclose(backend.probabilities(pixels), expected(pixels, 0.05), atol=tolerance)
    assert backend.id.startswith("m@")
    assert "exported_from" not in backend.describe()


def test_a_model_that_takes_bytes_gets_them_as_they_are(tmp_path):
    backend = foreign(tmp_path / "m.onnx", dtype=TensorProto.UINT8, scale=0.001)
    pixels = some_pixels(2)
    plain = Transform(SIDE, SIDE, mean=(0, 0, 0), std=(1 / 255,) * 3)
    as_floats = foreign(tmp_path / "f.onnx", scale=0.001)
    as_floats.card = as_floats.card.__class__("f", LABELS, plain, "0")
    np.testing.assert_allclose(backend.probabilities(pixels), as_floats.probabilities(pixels), atol=1e-4)


def test_a_foreign_file_without_labels_says_what_to_add(tmp_path):
    path = write_foreign(tmp_path / "m.onnx")
    with pytest.raises(UsageError, match="class names and transform") as caught:
        OnnxModel(path)
    assert "--labels" in caught.value.hint
    with pytest.raises(UsageError, match="class names and transform"):
        load_model(str(path))
    with pytest.raises(UsageError, match="its transform"):
        OnnxModel(path, labels=LABELS)


def test_an_own_file_takes_no_other_labels(tmp_path):
    with pytest.raises(UsageError, match="its own labels"):
        OnnxModel(write_own(tmp_path / "m.onnx"), labels=LABELS)


def test_a_wrong_number_of_labels_is_refused(tmp_path):
    path = write_foreign(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="12 outputs, but 2 labels"):
        OnnxModel(path, labels=("a", "b"), transform=TRANSFORM)


def test_another_size_is_refused(tmp_path):
    path = write_foreign(tmp_path / "m.onnx")
    with pytest.raises(UsageError, match="8 x 8, not 224 x 224") as caught:
        OnnxModel(path, labels=LABELS, transform=Transform(256, 224))
    assert "--size 8" in caught.value.hint


def test_a_changed_file_is_refused(tmp_path):
    path = write_own(tmp_path / "m.onnx")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="changed or damaged"):
        OnnxModel(path)


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"\x08\x08", b"\x00" * 10_000])
def test_what_is_no_onnx_file_is_refused(tmp_path, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"m\.onnx"):
        OnnxModel(path, labels=LABELS, transform=TRANSFORM)


def test_a_file_that_was_cut_is_refused(tmp_path):
    path = write_own(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(ModelError, match="can't be read"):
        OnnxModel(path)


def test_no_file_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no such ONNX file"):
        OnnxModel(tmp_path / "m.onnx")


def test_a_model_of_something_else_is_refused(tmp_path):
    numbers = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [numbers], [out])
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    with pytest.raises(ModelError, match="not images"):
        OnnxModel(path, labels=LABELS, transform=TRANSFORM)


def test_answers_that_are_no_numbers_are_an_error(tmp_path):
    backend = foreign(tmp_path / "m.onnx", scale=float("inf"))
    with pytest.raises(ModelError, match="not numbers"):
        backend.probabilities(some_pixels(1))


def test_devices(tmp_path):
    path = write_own(tmp_path / "m.onnx")
    assert OnnxModel(path, device="cpu").device == "cpu"
    with pytest.raises(UsageError, match="unknown device 'tpu'"):
        OnnxModel(path, device="tpu")
    with pytest.raises(DeviceError, match="can't use 'xpu'"):
        OnnxModel(path, device="xpu")


def test_without_onnxruntime_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    path = write_own(tmp_path / "m.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DeviceError, match="onnxruntime") as caught:
        OnnxModel(path)
    assert caught.value.hint == "pip install 'imgcls[onnx]'"


def test_weights_and_labels_go_with_their_own_kinds_of_model(tmp_path):
    with pytest.raises(UsageError, match="--weights"):
        load_backend(str(write_own(tmp_path / "m.onnx")), LoadOptions(weights=tmp_path / "w.pth"))
    with pytest.raises(UsageError, match="--labels goes with --weights"):
        load_backend("alexnet", LoadOptions(labels=LABELS))
    with pytest.raises(UsageError, match="for ONNX files only"):
        load_backend("alexnet", LoadOptions(transform=TRANSFORM))


def test_softmax_by_hand():
    np.testing.assert_allclose(softmax(np.array([[0.0, np.log(3.0)]], np.float32)), [[0.25, 0.75]], atol=1e-7)
    # Large logits must not overflow.
    np.testing.assert_allclose(softmax(np.array([[1000.0, 1000.0]], np.float32)), [[0.5, 0.5]])


def test_the_mapped_file_answers_as_the_one_that_onnxruntime_reads(tmp_path):
    import onnxruntime

    path = write_own(tmp_path / "m.onnx")
    pixels = some_pixels(2)
    plain = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = plain.run(None, {"images": TRANSFORM.normalise_array(pixels)})
    found = OnnxModel(path).run_normalised(TRANSFORM.normalise_array(pixels))
    np.testing.assert_allclose(found, logits, rtol=1e-5, atol=1e-5)


def test_predict_imports_neither_torch_nor_torchvision_nor_onnx(tmp_path):
    from PIL import Image

    write_own(tmp_path / "m.onnx")
    Image.fromarray(some_pixels(1)[0]).save(tmp_path / "p.png")
    script = (
        "import sys\n"
        "from imgcls.cli.app import app\n"
        "app(['predict', 'p.png', '-m', 'm.onnx', '-f', 'csv'], standalone_mode=False)\n"
        "print([name for name in ('torch', 'torchvision', 'onnx') if name in sys.modules])\n"
        "from imgcls import load_classifier\n"
        "print(load_classifier('m.onnx').predict('p.png').label)\n"
        "print([name for name in ('torch', 'torchvision', 'onnx') if name in sys.modules])\n"
    )
    root = str(Path(__file__).parents[2])
    found = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    header, record, after_predict, label, after_classifier = found.stdout.splitlines()
    assert header.startswith("input,status,error,label_1")
    assert record.startswith("p.png,ok,,class ")
    assert (after_predict, after_classifier) == ("[]", "[]")
    assert label == record.split(",")[3]
    assert found.stderr == ""


def test_linear_model_is_what_the_tests_take_it_for():
    onnx.checker.check_model(linear_model(softmax=True, channels_last=True))
