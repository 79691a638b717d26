"""Names that no file can have, and folders that may not be searched, for every option that takes a path."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from unprivileged import WITHOUT_POWERS

from imgcls.cli.process.unusable_paths import typed_path_failures
from imgcls.errors import ExitCode, ModelError

IMAGE = Path(__file__).parents[2] / "examples" / "ship.jpg"
COMMANDS = [
    (ExitCode.MODEL, ("predict", "-m", "PATH.pt", IMAGE)),
    (ExitCode.MODEL, ("predict", "-m", "PATH.onnx", IMAGE)),
    (ExitCode.MODEL, ("predict", "-m", "alexnet", "--weights", "PATH", IMAGE)),
    (ExitCode.SOME_FAILED, ("predict", "-m", "cifar10-cnn", "PATH.jpg")),
    (ExitCode.OUTPUT, ("predict", "-m", "cifar10-cnn", IMAGE, "-o", "PATH.jsonl")),
    (ExitCode.OUTPUT, ("predict", "-m", "cifar10-cnn", IMAGE, "--html", "PATH.html")),
    (ExitCode.DATA, ("predict", "-m", "cifar10-cnn", "--files-from", "PATH")),
    (ExitCode.DATA, ("train", "--data", "PATH")),
    (ExitCode.CONFIG, ("train", "-c", "PATH.toml")),
    (ExitCode.DATA, ("train", "--resume", "PATH")),
    (ExitCode.MODEL, ("eval", "-m", "PATH.pt", "--data", IMAGE.parent)),
    (ExitCode.DATA, ("eval", "-m", "cifar10-cnn", "--data", "PATH")),
    (ExitCode.MODEL, ("export", "PATH.pt", "-o", "model.onnx")),
    (ExitCode.OUTPUT, ("export", "cifar10-cnn", "-o", "PATH.onnx")),
    (ExitCode.DATA, ("compare", "PATH")),
    (ExitCode.OUTPUT, ("env-check", "--device", "cpu", "-o", "PATH")),
]


@pytest.mark.parametrize(("code", "command"), COMMANDS, ids=str)
def test_names_that_are_too_long(imgcls, tmp_path, code, command):
    run = imgcls(*(str(word).replace("PATH", "x" * 300) for word in command), cwd=tmp_path)
    assert run.code == code, run.stderr
    assert "Traceback" not in run.stderr


@pytest.fixture
def locked(tmp_path):
    folder = tmp_path / "locked"
    (folder / "sub").mkdir(parents=True)
    folder.chmod(0o600)
    yield folder / "sub"
    folder.chmod(0o700)


def start_without_powers(*command: object, **env: str) -> "subprocess.CompletedProcess[str]":
    prefix = WITHOUT_POWERS if os.geteuid() == 0 else ()
    return subprocess.run(
        [*prefix, sys.executable, "-m", "imgcls", *map(str, command)],
        env={**os.environ, **env}, capture_output=True, text=True, check=False,
    )  # fmt: skip


no_powers = pytest.mark.skipif(
    os.name == "nt" or (os.geteuid() == 0 and shutil.which("setpriv") is None), reason="needs a user without powers"
)


@no_powers
@pytest.mark.parametrize(
    ("code", "command"),
    [COMMANDS[0], COMMANDS[4], COMMANDS[7], COMMANDS[14]],
    ids=str,
)
def test_folders_that_may_not_be_searched(locked, code, command):
    run = start_without_powers(*(str(word).replace("PATH", f"{locked}/x") for word in command))
    assert run.returncode == code, run.stderr
    assert "Traceback" not in run.stderr


@no_powers
def test_caches_that_may_not_be_searched(locked):
    closed = {"IMGCLS_CACHE": str(locked), "TORCH_HOME": str(locked)}
    checked = start_without_powers("env-check", "--device", "cpu", **closed)
    assert checked.returncode == ExitCode.DEVICE
    assert f"{locked}" in checked.stdout
    assert start_without_powers("predict", "-m", "cifar10-cnn", IMAGE, **closed).returncode == 0
    assert start_without_powers("predict", "-m", "alexnet", IMAGE, **closed).returncode == ExitCode.MODEL


def test_faults_of_ours_stay_ours():
    for fault in (OSError("no path"), OSError(2, "No such file or directory", "x"), ValueError()):
        with pytest.raises(type(fault)) as caught, typed_path_failures({"model": "x"}):
            raise fault
        assert caught.value is fault


def test_what_lies_in_what_was_named_counts():
    with (
        pytest.raises(ModelError, match=r"m/best.pt can't be used: Permission denied"),
        typed_path_failures({"model": "m", "inputs": ["a.jpg"]}),
    ):
        raise PermissionError(13, "Permission denied", "m/best.pt")
