"""`predict --show`: images on a terminal, and nothing of them in a pipe, in a file, or where colours are not wanted."""

import json
import os
import subprocess
import sys
from pathlib import Path

from terminal import Terminal
from tiny_model import save_image
from typer.testing import CliRunner

from imgcls.cli.app import app


def predicted(tiny_model: Path, folder: Path, *options: str) -> str:
    image = save_image(folder / "a.png", 1)
    result = CliRunner().invoke(app, ["predict", "-m", str(tiny_model), str(image), *options])
    assert result.exit_code == 0, result.output
    return result.stdout


def seen(tiny_model: Path, folder: Path, **variables: str) -> str:
    """What appears on a terminal of 80 columns."""
    terminal = Terminal(80)
    image = save_image(folder / "a.png", 1)
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TMUX", "IMGCLS_SHOW")}
    environment = {**plain, "TERM": "xterm-256color", "COLORTERM": "truecolor", **variables}
    command = [sys.executable, "-m", "imgcls", "predict", "-m", str(tiny_model), str(image), "--show", "-q"]
    subprocess.run(command, stdout=terminal.end, stderr=subprocess.PIPE, env=environment, check=True)
    return terminal.close()


def test_in_a_pipe_there_is_no_image(tiny_model, tmp_path):
    plain = predicted(tiny_model, tmp_path)
    assert predicted(tiny_model, tmp_path, "--show") == plain
    assert json.loads(predicted(tiny_model, tmp_path, "--show", "-f", "jsonl"))["status"] == "ok"
    assert "\x1b" not in plain


def test_a_terminal_shows_the_image_beside_its_answer(tiny_model, tmp_path):
    text = seen(tiny_model, tmp_path)
    first = text.splitlines()[0]
    assert first.count("▀") == 24
    assert "38;2;" in first
    assert "a.png" in first
    assert "38;5;" in seen(tiny_model, tmp_path, COLORTERM="")
    assert "\x1b_Ga=T" in seen(tiny_model, tmp_path, TERM="xterm-kitty")
    assert "\x1b]1337;File=inline=1" in seen(tiny_model, tmp_path, TERM_PROGRAM="iTerm.app")
    assert "\x1bP0;1;0q" in seen(tiny_model, tmp_path, IMGCLS_SHOW="sixel")


def test_without_colours_there_is_none(tiny_model, tmp_path):
    for variables in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        text = seen(tiny_model, tmp_path, **variables)
        assert "▀" not in text
        assert "\x1b" not in text
