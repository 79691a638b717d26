"""Draws `docs/pages/terminal.svg` from what the commands below print on a terminal: python docs/generator/FILE.

Its colours have enough contrast on light and on dark pages, as it brings its own background.
"""

import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[2]
SVG = ROOT / "docs" / "pages" / "terminal.svg"
COLUMNS = 92
COMMANDS = (
    "imgcls predict -m efficientnet-lite0 -k 3 espresso.jpg torn.jpg missing.jpg",
    "imgcls predict -m efficientnet-lite0 -k 1 espresso.jpg torn.jpg -f jsonl",
    "echo $?",
)
# What rich would load from another host.
FONT_FACES = re.compile(r"@font-face\s*{.*?}\s*", re.DOTALL)
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def run_commands(folder: Path) -> str:
    """Run all commands in one shell on a pseudo-terminal; the prompts, the commands and what they print, with colours.

    Args:
        folder: where the images are made ready.
    """
    shutil.copy(ROOT / "examples" / "espresso.jpg", folder / "espresso.jpg")
    content = (folder / "espresso.jpg").read_bytes()
    (folder / "torn.jpg").write_bytes(content[: len(content) // 2])
    (folder / "bin").mkdir()
    program = folder / "bin" / "imgcls"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m imgcls "$@"\n')
    program.chmod(0o755)
    # The prompts are printed too, so each command gets the exit code of the one before as `$?`.
    script = "code=0\n" + "".join(
        f"printf '\\033[1;32m$\\033[0m %s\\n' {_quoted(line)}\n(exit $code)\n{line}\ncode=$?\n" for line in COMMANDS
    )
    environment = {
        **os.environ,
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm-256color",
        "COLUMNS": str(COLUMNS),
    }
    own, end = pty.openpty()
    process = subprocess.Popen(
        ["/bin/sh", "-c", script], stdin=subprocess.DEVNULL, stdout=end, stderr=end, cwd=folder, env=environment
    )
    os.close(end)
    content = b""
    while block := _read(own):
        content += block
    process.wait()
    os.close(own)
    return settled(content.decode())


def settled(printed: str) -> str:
    """What remains on a terminal: no progress lines that were erased, and no control sequences except colours."""
    lines = []
    for line in printed.replace("\r\n", "\n").split("\n"):
        last = re.split(r"\r|\x1b\[2K|\x1b\[1A", line)[-1]
        lines.append(re.sub(r"\x1b\[[0-9;?]*[A-Zac-ln-z]", "", last))
    return "\n".join(lines).strip("\n")


def draw(printed: str) -> str:
    """The terminal as an SVG that needs nothing from elsewhere."""
    with open(os.devnull, "w", encoding="utf-8") as nothing:  # noqa: PTH123 - a device, not a path
        console = Console(record=True, width=COLUMNS, file=nothing, force_terminal=True, color_system="truecolor")
        console.print(Text.from_ansi(printed))
        svg = console.export_svg(title="imgcls", unique_id="imgcls")
    svg = FONT_FACES.sub("", svg).replace("Fira Code, monospace", FONTS)
    return re.sub(r"font-family: (?:Fira Code|arial);?", f"font-family: {FONTS};", svg)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        # Linux reports the end of a pseudo-terminal as an error.
        return b""


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        SVG.write_text(draw(run_commands(Path(name))), encoding="utf-8")
