"""What a person sees of `imgcls predict` on a terminal."""

import os
import re
import time

import pytest
from terminal import Terminal, lines
from tiny_model import save_images


@pytest.mark.parametrize("columns", [80, 200])
def test_a_bar_on_the_terminal_while_the_records_go_elsewhere(imgcls, tiny_model, tmp_path, columns):
    paths = save_images(tmp_path / "in", 30)
    (tmp_path / "in" / "0003.png").write_bytes(b"text")
    terminal = Terminal(columns)
    reader, writer = os.pipe()
    printed = tmp_path / "printed"
    with printed.open("wb") as stdout:
        running = imgcls.start(
            "predict", tmp_path / "in", "--files-from", "-", "-m", tiny_model, "-f", "jsonl",
            stdin=reader, stdout=stdout, stderr=terminal.end, TERM="xterm-256color", COLUMNS="",
        )  # fmt: skip
        deadline = time.monotonic() + 120
        # The list stays open until the bar has shown how far it is.
        while "failed" not in terminal.text() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.close(writer)
        assert running.wait().code == 4
    os.close(reader)
    seen = terminal.close()
    assert printed.read_bytes().count(b"\n") == len(paths)
    assert "1 failed" in seen
    assert "img/s" in seen
    assert all(len(line) <= columns for line in lines(seen))
    # The bar is gone at the end, and one line stands there.
    assert re.fullmatch(r"30 images: 29 ok, 1 failed \(1 not_an_image\), [\d,]+ img/s", lines(seen)[-1])


def test_a_list_that_is_a_pipe_is_read_once(imgcls, tiny_model, tmp_path):
    """Counting it for the bar would take half of it away."""
    paths = save_images(tmp_path / "in", 200)
    pipe, printed, terminal = tmp_path / "pipe", tmp_path / "printed", Terminal(80)
    os.mkfifo(pipe)
    with printed.open("wb") as stdout:
        running = imgcls.start(
            "predict", "--files-from", pipe, "-m", tiny_model, "-f", "jsonl",
            stdout=stdout, stderr=terminal.end, TERM="xterm-256color", COLUMNS="",
        )  # fmt: skip
        # More than a pipe holds at a time, so that a second reader would get some of it.
        pipe.write_text("".join(f"{path}\n" for path in paths * 10))
        assert running.wait().code == 0
    terminal.close()
    assert printed.read_bytes().count(b"\n") == 10 * len(paths)


def test_the_bar_knows_the_end_of_a_folder(imgcls, tiny_model, tmp_path):
    save_images(tmp_path / "in", 400)
    terminal = Terminal(80)
    with (tmp_path / "printed").open("wb") as stdout:
        arguments = ("predict", tmp_path / "in", "-m", tiny_model, "-f", "jsonl")
        run = imgcls(*arguments, stdout=stdout, stderr=terminal.end, TERM="xterm", COLUMNS="")
    seen = terminal.close()
    assert run.code == 0
    assert "/400" in seen


@pytest.mark.parametrize("columns", [80, 200])
def test_a_table_on_the_terminal(imgcls, tiny_model, tmp_path, columns):
    for options, has_colour in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        terminal = Terminal(columns)
        save_images(tmp_path / "in", 2)
        environment = {"TERM": "xterm-256color", "COLUMNS": "", **options}
        imgcls("predict", "in", "-m", tiny_model, stdout=terminal.end, stderr=terminal.end, cwd=tmp_path, **environment)
        seen = terminal.close()
        assert ("\x1b[" in seen) is has_colour
        shown = lines(seen)
        assert shown[0].strip() == "in/0000.png" if has_colour else shown[0].startswith("in/0000.png  16 x 12  ")
        # The records scroll past: no bar in between, and a line at the end.
        assert shown[-1].startswith("2 images: 2 ok, ")
        assert sum("%" in line for line in shown) == 6


def test_quiet_shows_no_bar(imgcls, tiny_model, tmp_path):
    save_images(tmp_path / "in", 50)
    terminal = Terminal(80)
    with (tmp_path / "printed").open("wb") as stdout:
        imgcls("predict", tmp_path / "in", "-m", tiny_model, "-q", "-f", "jsonl", stdout=stdout, stderr=terminal.end)
    assert terminal.close() == ""
