"""JPEGs that lack their last bytes: taken in training, they are taken by all that use the model, unless told not to."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from labelled_data import write_classes
from PIL import Image

Run = Callable[..., Any]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two classes of six images, and a torn one each."""
    folder = write_classes(tmp_path / "data", {"cat": 6, "dog": 6})
    for label in ("cat", "dog"):
        path = folder / label / "torn.jpg"
        Image.new("RGB", (64, 48), "red").save(path)
        path.write_bytes(path.read_bytes()[:-8])
    return folder


def test_it_stays_with_the_model(imgcls: Run, data: Path, tmp_path: Path) -> None:
    train = ("train", "--data", data, "--model", "mlp", "--epochs", 1, "--device", "cpu", "--set", "data.image_px=8")
    train += ("--set", "data.val_fraction=0.5", "-f", "json")
    refused = imgcls(*train, "-o", tmp_path / "refused")
    assert json.loads(refused.stdout)["skipped_images"] == 2
    accepted = imgcls(*train, "-o", tmp_path / "run", "--truncated", "accept")
    assert json.loads(accepted.stdout)["skipped_images"] == 0
    assert 'truncated = "accept"' in (tmp_path / "run" / "config.toml").read_text()

    def measured(*options: str) -> tuple[int, int]:
        run = imgcls("eval", tmp_path / "run", "--data", data, "--device", "cpu", "-f", "json", *options)
        assert run.code == (4 if "error" in options else 0), run.stderr
        return json.loads(run.stdout)["count"], json.loads(run.stdout)["skipped_images"]

    assert measured() == (14, 0)
    assert measured("--truncated", "error") == (12, 2)
    torn = data / "cat" / "torn.jpg"
    run = imgcls("predict", "-m", tmp_path / "run", torn, "-f", "jsonl")
    record = json.loads(run.stdout)
    assert (run.code, record["status"], record["truncated"]) == (0, "ok", True)
    run = imgcls("predict", "-m", tmp_path / "run", torn, "-f", "jsonl", "--truncated", "error")
    assert (run.code, json.loads(run.stdout)["status"]) == (4, "error")
    run = imgcls("predict", "-m", tmp_path / "refused", torn, "-f", "jsonl")
    assert (run.code, json.loads(run.stdout)["status"]) == (4, "error")


def test_it_goes_into_an_export(imgcls: Run, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    train = ("train", "--data", data, "--model", "mlp", "--epochs", 1, "--device", "cpu", "--set", "data.image_px=8")
    assert imgcls(*train, "-o", tmp_path / "run", "--truncated", "accept", "-q").code == 0
    folder = tmp_path / "torn"
    folder.mkdir()
    (data / "cat" / "torn.jpg").rename(folder / "torn.jpg")
    # It is the only image to compare on beside the drawn ones.
    export = imgcls("export", tmp_path / "run", "-o", tmp_path / "m.onnx", "--calibrate", folder)
    assert export.code == 0, export.stderr
    run = imgcls("predict", "-m", tmp_path / "m.onnx", folder, "-f", "jsonl")
    assert (run.code, json.loads(run.stdout)["truncated"]) == (0, True)
