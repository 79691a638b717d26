"""The list of commands: true to the commands themselves, and shown without importing any."""

import subprocess
import sys

import pytest

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


@pytest.mark.parametrize(("arguments", "wanted"), [(["--help"], set()), (["recipes", "--help"], {"recipes"})])
def test_only_the_command_that_is_asked_for_is_imported(arguments, wanted):
    run = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments], capture_output=True, text=True, timeout=120, check=True
    )
    loaded = run.stderr.split()
    assert "imgcls.cli.app" in loaded
    assert {name for name, entry in COMMANDS.items() if entry.module in loaded} == wanted
