"""The list of commands: true to the commands themselves, and shown without importing any."""

import subprocess
import sys

import pytest
from onnx_files import some_pixels, write_own
from PIL import Image

from imgcls.cli.app import load_command
from imgcls.cli.commands import COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_is_the_first_paragraph_of_the_commands_help(name):
    paragraph = load_command(name).help.split("\n\n")[0]
    assert COMMANDS[name].summary == " ".join(paragraph.split())


LOADED = """
import sys
from imgcls.cli.app import app
try:
    app()
finally:
    print(*sys.modules, file=sys.stderr)
"""


def loaded_by(*arguments):
    run = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments], capture_output=True, text=True, timeout=120, check=True
    )
    return set(run.stderr.split())


@pytest.mark.parametrize(("arguments", "wanted"), [(["--help"], set()), (["recipes", "--help"], {"recipes"})])
def test_only_the_command_that_is_asked_for_is_imported(arguments, wanted):
    loaded = loaded_by(*arguments)
    assert "imgcls.cli.app" in loaded
    assert {name for name, entry in COMMANDS.items() if entry.module in loaded} == wanted


# What only a run needs, or only a run into a file: each costs a start that does without it 5 to 100 ms.
OF_RUNS = {"numpy", "PIL", "torch", "onnxruntime", "urllib3", "filelock"}
OF_FILES = {"filelock", "imgcls.outputs.journal", "imgcls.outputs.manifest", "imgcls.outputs.report.page", "torch"}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_loads_nothing_that_only_a_run_needs(name):
    assert loaded_by(name, "--help") & OF_RUNS == set()


def test_one_image_loads_nothing_that_only_files_need(tmp_path):
    pytest.importorskip("onnxruntime")
    write_own(tmp_path / "m.onnx")
    Image.fromarray(some_pixels(1)[0]).save(tmp_path / "p.png")
    loaded = loaded_by("predict", str(tmp_path / "p.png"), "-m", str(tmp_path / "m.onnx"))
    assert "onnxruntime" in loaded
    assert loaded & OF_FILES == set()
