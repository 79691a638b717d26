"""`imgcls calibrate` through its command line: the copy answers calibrated everywhere, and says so."""

import json
from pathlib import Path

import pytest
import torch
from labelled_data import write_classes
from typer.testing import CliRunner, Result

from imgcls.cli.app import app
from imgcls.models.checkpoint import load_checkpoint
from imgcls.models.loading import load_model

COUNTS = {"cat": 40, "dog": 40, "owl": 40}


def run(command: str, *arguments: object) -> Result:
    return CliRunner().invoke(app, [command, *map(str, arguments)])


def ok(result: Result) -> dict:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("calibration") / "held-out", COUNTS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Path:
    """A run on the very images, which keeps a fifth of them to validate."""
    folder = tmp_path_factory.mktemp("calibration") / "run"
    result = run(
        "train", "--data", images, "-m", "mlp", "--from-scratch", "--set", "data.image_px=8", "--epochs", "1",
        "--set", "data.val_fraction=0.5", "-q", "-o", folder,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    return folder


def test_a_run_is_calibrated_on_what_it_kept_and_every_command_answers_so(
    trained: Path, images: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "c.pt"
    report = ok(run("calibrate", trained, "-o", copy, "-f", "json", "--coverage", "0.8"))
    assert (report["count"], report["data"]["split"]) == (60, "val")
    temperature = report["calibration"]["temperature"]
    assert report["calibration"]["sets"]["num_images"] == 30
    image = images / "cat/000.png"
    plain = ok(run("predict", "-m", trained, image, "-f", "json", "-k", 3, "--runtime", "torch"))
    found = ok(run("predict", "-m", copy, image, "-f", "json", "-k", 3, "--runtime", "torch", "--accept-if", "single"))
    # By hand: the plain probabilities' logarithms over the temperature.
    by_label = {each["label"]: each["probability"] for each in plain["results"][0]["predictions"]}
    expected = (torch.tensor(list(by_label.values())).log() / temperature).softmax(0).tolist()
    answered = {each["label"]: each["probability"] for each in found["results"][0]["predictions"]}
    assert [answered[label] for label in by_label] == pytest.approx(expected, abs=1e-5)
    assert found["model"]["calibration"]["temperature"] == pytest.approx(temperature)
    record = found["results"][0]
    assert record["set"][0] == record["predictions"][0]["label"]
    assert record["accepted"] is (len(record["set"]) == 1)
    measured = ok(run("eval", copy, "--split", "val", "--data", images, "-f", "json"))
    assert measured["model"]["calibration"]["method"] == "temperature"
    before = ok(run("eval", trained, "--data", images, "-f", "json"))
    after = ok(run("eval", copy, "--data", images, "-f", "json"))
    assert after["correct"] == before["correct"]
    assert after["loss"] != before["loss"]


def test_the_default_name_and_an_existing_copy(trained: Path) -> None:
    assert run("calibrate", trained, "-q").exit_code == 0
    assert load_checkpoint(trained / "calibrated.pt").calibration is not None
    again = run("calibrate", trained)
    assert again.exit_code == 8
    assert "exists already" in again.stderr
    # The folder's model is what it was.
    assert load_model(str(trained)).calibration is None


def test_images_that_were_trained_on_are_refused_whatever_they_are_called(
    trained: Path, images: Path, tmp_path: Path
) -> None:
    result = run("calibrate", trained, "--data", images, "-o", tmp_path / "c.pt")
    assert result.exit_code == 5
    assert result.stdout == ""
    assert "was trained on 60 of the 120 images" in result.stderr
    assert not (tmp_path / "c.pt").exists()


def test_an_onnx_file_gets_another_card_and_the_same_graph(trained: Path, images: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    exported, copy, torch_copy = tmp_path / "m.onnx", tmp_path / "m-calibrated.onnx", tmp_path / "c.pt"
    assert run("export", trained, "-o", exported, "-q").exit_code == 0
    report = ok(run("calibrate", exported, "--data", images, "-f", "json"))
    assert "doesn't say what it was trained on" in report["warnings"][0]
    assert Path(report["output"]) == copy
    answers = ok(run("predict", "-m", copy, images / "owl", "-f", "json", "-k", 3))
    assert answers["model"]["calibration"]["temperature"] == pytest.approx(report["calibration"]["temperature"])
    # Exported after the calibration, a checkpoint answers the same as itself.
    assert run("calibrate", trained, "-o", torch_copy, "-q").exit_code == 0
    assert run("export", torch_copy, "-o", tmp_path / "later.onnx", "-q").exit_code == 0
    asked = ((torch_copy, "--runtime", "torch"), (torch_copy, "--runtime", "onnx"), (tmp_path / "later.onnx",))
    first, *others = (ok(run("predict", images / "owl", "-f", "json", "-k", 3, "-m", *each)) for each in asked)
    for other in others:
        assert other["model"]["calibration"] == first["model"]["calibration"]
        for one, answered in zip(first["results"], other["results"], strict=True):
            assert [each["probability"] for each in one["predictions"]] == pytest.approx(
                [each["probability"] for each in answered["predictions"]], abs=1e-4
            )
    # eval through either runtime measures calibrated answers, once calibrated.
    losses = [
        ok(run("eval", torch_copy, "--data", images, "-f", "json", "--runtime", each))["loss"]
        for each in ("torch", "onnx")
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_accept_if_needs_sets(trained: Path, images: Path) -> None:
    result = run("predict", "-m", trained, images / "cat/000.png", "--accept-if", "single", "--runtime", "torch")
    assert result.exit_code == 2
    assert "imgcls calibrate MODEL --coverage" in result.stderr


def test_a_named_model_needs_a_place_for_the_copy(images: Path) -> None:
    result = run("calibrate", "cifar10-cnn", "--data", images)
    assert result.exit_code == 2
    assert "-o cifar10-cnn-calibrated.pt" in result.stderr
