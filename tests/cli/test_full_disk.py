"""A disk that is really full, while a command saves: it says so, exits with 8, and goes on once there is space."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from labelled_data import write_classes
from tiny_model import save_images

Run = Callable[..., Any]
SMALL = ("--set", "model.name=mlp", "--set", "data.image_px=32", "--set", "model.arguments.hidden=[200]")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 KiB of its own; a checkpoint of the network above is 2.4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)]
    if sys.platform != "linux" or not mount or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def assert_says_no_space(run: Any) -> None:
    assert (run.code, run.stdout) == (8, b""), run.stderr
    error = next(line for line in run.stderr.splitlines() if line.startswith("error: "))
    assert "No space left on device" in error
    assert run.stderr.splitlines()[-1].startswith("  hint: free some space")
    assert "Traceback" not in run.stderr


def test_train_and_its_resumption(imgcls: Run, disk: Path, tmp_path: Path) -> None:
    write_classes(tmp_path / "pets", {"cat": 12, "dog": 12})
    train = ("train", "--data", tmp_path / "pets", *SMALL, "--epochs", 2, "--device", "cpu", "-q")
    assert_says_no_space(imgcls(*train, "-o", disk / "run"))
    assert not list((disk / "run").glob("*.part"))
    assert_says_no_space(imgcls("train", "--resume", disk / "run", "--device", "cpu", "-q"))
    subprocess.run(["mount", "-o", "remount,size=40m", str(disk)], check=True)
    run = imgcls("train", "--resume", disk / "run", "--device", "cpu", "-q", "-f", "json")
    assert run.code == 0, run.stderr
    assert json.loads(run.stdout)["epochs"] == 2


def test_export(imgcls: Run, disk: Path) -> None:
    run = imgcls("export", "cifar10-cnn", "--to", "checkpoint", "-o", disk / "m.pt", "-q")
    assert_says_no_space(run)
    assert [path.name for path in disk.iterdir() if path.suffix != ".lock"] == []


def test_predict_keeps_what_is_done_and_goes_on(imgcls: Run, tiny_model: Path, disk: Path, tmp_path: Path) -> None:
    save_images(tmp_path / "in", 40)
    (disk / "filler").write_bytes(bytes(590_000))
    predict = ("predict", tmp_path / "in", "-m", tiny_model, "-o", disk / "r.jsonl", "-q")
    assert_says_no_space(imgcls(*predict))
    (disk / "filler").unlink()
    run = imgcls(*predict, "--resume")
    assert run.code == 0, run.stderr
    assert len((disk / "r.jsonl").read_text().splitlines()) == 40
