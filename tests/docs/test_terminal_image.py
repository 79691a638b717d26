"""The README's image of a terminal shows what the commands print today."""

import re
import sys
import xml.etree.ElementTree as ET

import pytest

if sys.platform == "win32":
    pytest.skip("needs a pseudo-terminal", allow_module_level=True)

from terminal_image import COMMANDS, SVG, draw, run_commands, settled


def shown(svg: str) -> str:
    """The words of a drawing; digits may differ, as rates and the last places of probabilities do."""
    text = " ".join("".join(ET.fromstring(svg).itertext()).replace("\xa0", " ").split())
    return re.sub(r"[\d.]+|█+", "0", text.partition("imgcls")[2])


@pytest.mark.slow
def test_the_image_is_what_the_commands_print(tmp_path):
    assert shown(SVG.read_text("utf-8")) == shown(draw(run_commands(tmp_path)))


def test_the_image_shows_every_command():
    text = shown(SVG.read_text("utf-8"))
    assert [line for line in COMMANDS if re.sub(r"[\d.]+", "0", line) not in text] == []


def test_progress_that_was_erased_is_not_shown():
    assert settled("10 %\r50 %\r\x1b[2Kdone\r\n\x1b[1mbold\x1b[0m \x1b[?25hend\r\n") == "done\n\x1b[1mbold\x1b[0m end"
