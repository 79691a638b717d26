"""`imgcls eval` with ONNX files of other tools: the figures are those of what predict answers."""

import json
import math
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_files import LABELS, NUM_CLASSES, ending_in, expected_logits, some_pixels, write_foreign
from PIL import Image
from typer.testing import CliRunner, Result

from imgcls.cli.app import app

TOLD = "--labels labels.txt --mean 0.4,0.5,0.6 --std 0.2,0.3,0.4 --size 8"
PIXELS = some_pixels(24)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images in folders of classes, two of three in the one that the model says."""
    monkeypatch.chdir(tmp_path)
    Path("labels.txt").write_text("\n".join(LABELS), encoding="utf-8")
    guesses = expected_logits(PIXELS).argmax(1)
    for index, (pixels, guess) in enumerate(zip(PIXELS, guesses, strict=True)):
        label = LABELS[guess if index % 3 else index % NUM_CLASSES]
        (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "data" / label / f"{index:02}.png")
    return tmp_path


def one_sigmoid() -> onnx.ModelProto:
    """The first output alone, as the probability of the second of two classes."""
    nodes = [
        helper.make_node("MatMul", ["logits", "first"], ["one"]),
        helper.make_node("Sigmoid", ["one"], ["probability"]),
    ]
    first = np.eye(NUM_CLASSES, 1, dtype=np.float32)
    output = helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["batch", 1])
    return ending_in(nodes, [output], [numpy_helper.from_array(first, "first")], scale=0.05)


def two_outputs() -> onnx.ModelProto:
    nodes = [helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1)]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", NUM_CLASSES])
        for name in ("logits", "probabilities")
    ]
    return ending_in(nodes, outputs, scale=0.05)


MODELS: dict[str, tuple[Any, str]] = {
    "logits": ({"scale": 0.05}, TOLD),
    "softmax": ({"scale": 0.05, "softmax": True}, TOLD),
    "channels last": ({"scale": 0.05, "channels_last": True}, TOLD),
    "bytes": ({"scale": 0.0005, "dtype": TensorProto.UINT8}, "--labels labels.txt --size 8"),
    "bytes, bgr": ({"scale": 0.0005, "dtype": TensorProto.UINT8}, "--labels labels.txt --channels bgr"),
    "half, batch of 4": ({"scale": 0.05, "dtype": TensorProto.FLOAT16, "batch": 4}, TOLD),
    "preset": ({"scale": 0.0005}, "--labels labels.txt --preset caffe --size 8 --resize squash"),
    "several labels": ({"scale": 0.05}, f"{TOLD} --activation sigmoid"),
    "two outputs": (two_outputs, f"{TOLD} --output-name logits"),
}


@pytest.mark.parametrize("name", MODELS)
def test_eval_counts_what_predict_answers(name: str, folder: Path) -> None:
    made, told = MODELS[name]
    if callable(made):
        Path("m.onnx").write_bytes(made().SerializeToString())
    else:
        write_foreign(Path("m.onnx"), **made)
    arguments = ("-m", "m.onnx", *shlex.split(told), "-f", "json")
    predicted = run("predict", "data", *arguments, "-k", NUM_CLASSES)
    assert predicted.exit_code == 0, predicted.stderr
    measured = run("eval", *arguments, "--data", "data")
    assert measured.exit_code == 0, measured.stderr
    answer, report = json.loads(predicted.stdout), json.loads(measured.stdout)
    assert report["model"] == answer["model"]
    truths = [Path(record["input"]).parent.name for record in answer["results"]]
    firsts = [record["predictions"][0]["label"] for record in answer["results"]]
    assert (report["count"], report["correct"]) == (24, sum(map(str.__eq__, firsts, truths)))
    assert report["correct"] >= (16 if told == TOLD else 0)
    losses = []
    for record, truth in zip(answer["results"], truths, strict=True):
        probability = {each["label"]: each["probability"] for each in record["predictions"]}
        # Each for itself, they need not add up to 1.
        losses.append(-math.log(probability[truth] / sum(probability.values())))
    assert report["loss"] == pytest.approx(np.mean(losses), rel=2e-3, abs=1e-4)


def test_a_single_probability_is_the_second_classs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("labels.txt").write_text("no\nyes", encoding="utf-8")
    Path("m.onnx").write_bytes(one_sigmoid().SerializeToString())
    logits = expected_logits(PIXELS, 0.05)[:, 0]
    for index, pixels in enumerate(PIXELS):
        label = "yes" if index < 16 else "no"
        Path("data", label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(Path("data", label, f"{index:02}.png"))
    result = run("eval", "m.onnx", *shlex.split(TOLD), "--data", "data", "-f", "json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["correct"] == (logits[:16] > 0).sum() + (logits[16:] <= 0).sum()
    losses = np.concatenate([np.log1p(np.exp(-logits[:16])), np.log1p(np.exp(logits[16:]))])
    assert report["loss"] == pytest.approx(losses.mean(), abs=1e-5)


def test_what_was_chosen_is_said(folder: Path) -> None:
    Path("m.onnx").write_bytes(two_outputs().SerializeToString())
    result = run("eval", "m.onnx", *shlex.split(TOLD), "--data", "data")
    assert result.exit_code == 0, result.stderr
    assert "reads the output 'probabilities' of m.onnx, not logits (--output-name)" in result.stderr


def test_what_is_missing_or_too_much_is_said(folder: Path) -> None:
    write_foreign(Path("m.onnx"))
    result = run("eval", "m.onnx", "--data", "data")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "doesn't hold its class names and transform" in result.stderr
    assert "--labels FILE --preset imagenet" in result.stderr
    result = run("eval", "cifar10-cnn", "--data", "data", "--preset", "caffe")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "told for ONNX files only" in result.stderr
    result = run("eval", "m.onnx", "--data", "data", "--weights", "labels.txt")
    assert (result.exit_code, result.stdout) == (6, "")
    assert "can't go into an ONNX file" in result.stderr
