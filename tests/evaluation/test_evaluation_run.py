"""Evaluating agrees with predicting, and its report says what really ran the model."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled_data import write_classes
from onnx_files import LABELS, write_own

from imgcls.errors import DeviceError, UsageError
from imgcls.evaluation.placement import placed
from imgcls.evaluation.run import evaluate
from imgcls.inference.backends.backend import LoadOptions, load_backend
from imgcls.inference.predictor import Predictor
from imgcls.inference.settings import PredictSettings
from imgcls.models.loading import load_model


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_own(tmp_path_factory.mktemp("onnx") / "m.onnx", scale=0.02)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("data") / "d", {LABELS[3]: 5, LABELS[0]: 4, LABELS[11]: 6})


@pytest.mark.parametrize("kind", ["torch", "onnx"])
def test_the_figures_are_those_of_the_records(kind, tiny_model, onnx_file, data, tmp_path):
    model, folder = str(onnx_file), data
    if kind == "torch":
        model, folder = str(tiny_model), write_classes(tmp_path / "d", {"owl": 5, "cat": 4, "dog": 6})
    report = evaluate(model, folder, device="cpu")
    files = sorted(folder.glob("*/*.png"))
    backend = load_backend(model, LoadOptions(device="cpu")).backend
    records = Predictor(backend, PredictSettings(top_k=99)).predict_batch(files)
    truths = [path.parent.name for path in files]
    assert report.result.correct == sum(r.label == truth for r, truth in zip(records, truths, strict=True))
    in_top5 = sum(t in [p.label for p in r.predictions[:5]] for r, t in zip(records, truths, strict=True))
    assert report.result.top5_correct == in_top5
    losses = [
        -np.log(next(p.probability for p in r.predictions if p.label == t))
        for r, t in zip(records, truths, strict=True)
    ]
    assert report.result.loss == pytest.approx(np.mean(losses), abs=1e-5)
    for label, row in zip(report.result.labels, report.result.confusion_KK.tolist(), strict=True):
        guesses = [r.label for r, truth in zip(records, truths, strict=True) if truth == label]
        assert row == [guesses.count(other) for other in report.result.labels]


def test_an_onnx_file_is_reported_as_what_it_is(onnx_file, data, imgcls):
    run = imgcls("eval", onnx_file, "--data", data, "-f", "json", "-v")
    report = json.loads(run.stdout)
    assert (report["device"], report["runtime"], report["precision"]) == ("cpu", "onnxruntime", "fp32")
    # The same object as the one that predict prints.
    assert report["model"] == load_backend(str(onnx_file)).backend.describe()
    assert report["model"]["runtime"] == "onnxruntime"
    assert "on cpu (" in run.stderr


def test_an_accelerator_is_onnxruntimes_to_have(onnx_file):
    model = load_model(str(onnx_file))
    # As on a machine whose PyTorch has an accelerator: the file stays where it runs, and batches come there.
    assert placed(model, "auto", torch.device("cuda", 0)) == (model, torch.device("cpu"))
    with pytest.raises((DeviceError, UsageError), match="can't use"):
        placed(model, "xpu", torch.device("xpu", 0))


def test_a_torch_model_stays_what_it_is(tiny_model):
    model = load_model(str(tiny_model))
    assert placed(model, "auto", torch.device("cpu")) == (model, torch.device("cpu"))
