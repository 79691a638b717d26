"""No image starts a program: PostScript under an image's name, with a Ghostscript of our own first in PATH."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from exported_models import save_model
from labelled_data import write_classes

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(a program) print\nshowpage\n"
PROGRAMS = ("gs", "gswin32c", "gswin64c", "djpeg", "dwebp", "convert", "magick", "xv", "display")

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a script in PATH")


@pytest.fixture
def path(tmp_path: Path) -> str:
    """PATH with programs that leave a mark, print a record of their own and never end."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in PROGRAMS:
        program = folder / name
        program.write_text(f"#!/bin/sh\necho {name} >>{tmp_path}/started\necho '{{}}'\nsleep 1000\n")
        program.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two classes, each with an image that is a program."""
    folder = write_classes(tmp_path / "images", {"cat": 12, "dog": 12})
    for label in ("cat", "dog"):
        for suffix in ("jpg", "png", "tif"):
            (folder / label / f"005.{suffix}").write_bytes(EPS)
    return folder


def test_predict(imgcls: Callable[..., Any], images: Path, path: str, tmp_path: Path) -> None:
    run = imgcls("predict", "-m", "cifar10-cnn", images, "--any-suffix", "--all-frames", "-f", "jsonl", PATH=path)
    records = [json.loads(line) for line in run.stdout.splitlines()]
    # A 005.png was there before.
    assert (run.code, len(records)) == (4, 2 * (12 + 2))
    failed = [record["error"] for record in records if record["status"] == "error"]
    assert len(failed) == 6
    assert all(error["kind"] == "not_an_image" and "PostScript" in error["message"] for error in failed)
    with (images / "cat" / "005.jpg").open("rb") as file:
        run = imgcls("predict", "-m", "cifar10-cnn", "-", "-f", "jsonl", stdin=file, PATH=path)
    assert (run.code, len(run.stdout.splitlines())) == (4, 1)
    assert not (tmp_path / "started").exists()


def test_train_and_eval(imgcls: Callable[..., Any], images: Path, path: str, tmp_path: Path) -> None:
    train = ("train", "--data", images, "--model", "mlp", "--epochs", 1, "--device", "cpu", "--set", "data.image_px=8")
    run = imgcls(*train, "-o", tmp_path / "run", "-f", "json", PATH=path)
    assert run.code == 0, run.stderr
    assert json.loads(run.stdout)["skipped_images"] == 6
    run = imgcls("eval", tmp_path / "run", "--data", images, "--device", "cpu", "-f", "json", PATH=path)
    assert run.code == 4, run.stderr
    answer = json.loads(run.stdout)
    assert (answer["count"], answer["skipped_images"]) == (22, 6)
    assert not (tmp_path / "started").exists()


def test_calibration_of_an_export(imgcls: Callable[..., Any], images: Path, path: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model = save_model(tmp_path / "mlp.pt", "mlp", {"image_px": 8, "hidden": [64]}, 8)
    run = imgcls("export", model, "-o", tmp_path / "m.onnx", "--int8", "--calibrate", images, PATH=path)
    assert run.code == 0, run.stderr
    assert not (tmp_path / "started").exists()
