"""A pseudo-terminal, for what a person sees of a command; skips the module that imports it on Windows."""

import os
import re
import struct
import sys
import threading

import pytest
from forked_cli import without_leaks

if sys.platform == "win32":
    pytest.skip("needs a pseudo-terminal", allow_module_level=True)

import fcntl
import pty
import termios

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A pseudo-terminal of so many columns, and what appears on it."""

    def __init__(self, columns: int) -> None:
        self._own, self.end = pty.openpty()
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._content = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                block = os.read(self._own, 4096)
            except OSError:
                return
            self._content += block

    def text(self) -> str:
        return self._content.decode()

    def close(self) -> str:
        """All that appeared."""
        os.close(self.end)
        self._thread.join()
        os.close(self._own)
        return without_leaks(self.text())


def lines(text: str) -> list[str]:
    """Every line that ever stood there, without colours."""
    return [line for line in re.split(r"[\r\n]+", ESCAPE.sub("\n", text)) if line.strip()]
