"""With a broken torch every command ends with code 7 and one line, started as users start it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import imgcls
from imgcls.cli.process.broken_packages import typed_import_failures
from imgcls.errors import ExitCode

SOURCES = str(Path(imgcls.__file__).parents[1])
IMAGE = str(Path(__file__).parents[2] / "examples" / "ship.jpg")


@pytest.fixture
def start(tmp_path):
    """Starts imgcls where a package of ours stands before the real one."""

    def run(code: str, *args: str, package: str = "torch", **env: str) -> "subprocess.CompletedProcess[str]":
        folder = tmp_path / "stub" / package
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text(code)
        path = os.pathsep.join([str(tmp_path / "stub"), SOURCES])
        return subprocess.run(
            [sys.executable, "-m", "imgcls", *args],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": path, **env}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


def ends_with_one_line(run: "subprocess.CompletedProcess[str]", package: str) -> str:
    assert run.returncode == ExitCode.DEVICE, run.stderr
    assert run.stdout == ""
    error, hint = run.stderr.splitlines()
    assert error.startswith(f"error: {package} can't be imported: ")
    assert "imgcls env-check" in hint
    return error


BROKEN = 'raise OSError("libtorch_cpu.so: cannot open shared object file")'
COMMANDS = [
    ("predict", IMAGE),
    ("train", "--data", "."),
    ("eval", "-m", "cifar10-cnn", "--data", "."),
    ("export", "cifar10-cnn", "-o", "model.onnx"),
    ("tune", "-c", "cnn", "--space", "space"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_every_command_that_needs_torch(start, command):
    error = ends_with_one_line(start(BROKEN, *command), "torch")
    assert error.endswith("OSError: libtorch_cpu.so: cannot open shared object file")


@pytest.mark.parametrize("command", [("recipes",), ("--version",), ("predict", "--help")], ids=" ".join)
def test_commands_that_need_no_torch_go_on(start, command):
    run = start(BROKEN, *command)
    assert (run.returncode, run.stderr.count("Traceback")) == (0, 0)
    assert run.stdout


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ('raise ImportError("DLL load failed while importing _C")', "ImportError: DLL load failed"),
        ('raise RuntimeError("first\\nsecond")', "RuntimeError: first"),
        ("def f():\n    return 1 / 0\nf()", "ZeroDivisionError"),
        ("", "ImportError: cannot import name"),
        ("nn = Tensor = float32 = None", "Error: "),
    ],
)
def test_every_way_to_be_broken(start, code, said):
    assert said in ends_with_one_line(start(code, "predict", IMAGE), "torch")


@pytest.mark.parametrize(
    ("package", "command"), [("numpy", ("predict", IMAGE)), ("PIL", ("predict", IMAGE)), ("torchvision", ("models",))]
)
def test_other_packages(start, package, command):
    ends_with_one_line(start("raise OSError('broken')", *command, package=package), package)


def test_env_check_says_what_is_wrong(start):
    run = start(BROKEN, "env-check", "--device", "cpu")
    assert run.returncode == ExitCode.DEVICE
    (line,) = (line for line in run.stdout.splitlines() if line.split()[1] == "torch")
    assert line.startswith("fault")
    assert "cannot open shared object file" in line
    assert "Traceback" not in run.stdout + run.stderr


def test_the_traceback_is_there_for_those_who_ask(start):
    run = start(BROKEN, "predict", IMAGE, IMGCLS_DEBUG="1")
    assert run.returncode == ExitCode.DEVICE
    assert "Traceback" in run.stderr


@pytest.mark.parametrize("defect", [AttributeError("x"), ImportError("x"), OSError("x"), ZeroDivisionError()], ids=repr)
def test_a_defect_of_our_own_stays_one(defect):
    def fail() -> None:
        with typed_import_failures():
            raise defect

    with pytest.raises(type(defect)) as caught:
        fail()
    assert caught.value is defect


def test_an_attribute_that_a_whole_package_lacks_is_a_defect_of_our_own():
    import json

    import numpy

    for module in (json, numpy):
        with pytest.raises(AttributeError), typed_import_failures():
            module.no_such_function()
