"""A real browser for tests: Chromium without a window, spoken to in the DevTools protocol over a pair of pipes."""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --disable-extensions --disable-dev-shm-usage --remote-debugging-pipe
"""
LIMIT_SEC = 60.0
# The browser reads from descriptor 3 and writes to descriptor 4.
START = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)


class Page:
    """A browser's page.

    Args:
        sending: pipe that the browser reads.
        receiving: pipe that it writes; messages end with a NUL byte.
    """

    def __init__(self, sending: int, receiving: int) -> None:
        self._sending = sending
        self._receiving = receiving
        self._buffer = b""
        self._count = 0
        self._session = ""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.send("Page.enable")

    def open(self, address: str, *, width_px: int = 1200, height_px: int = 800, dark: bool = False) -> None:
        """Load an address in a window of a size, and wait until the page says that it is ready."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width_px, height=height_px, deviceScaleFactor=1, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=address)
        deadline = time.monotonic() + LIMIT_SEC
        while self.run("document.documentElement?.dataset.ready") != "true":
            assert time.monotonic() < deadline, f"{address} did not become ready"
            time.sleep(0.02)

    def run(self, script: str) -> Any:
        """The value of an expression or of a promise, as plain values."""
        answer = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Press and release a key, as a keyboard does.

        Args:
            key: its name, such as `Tab`.
            code: its virtual key code, such as 9.
        """
        text = {"text": "\r"} if key == "Enter" else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    def screenshot(self, path: Path) -> None:
        """Write what is to be seen as a PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and wait for its answer."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._sending, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer["error"]
                result: dict[str, Any] = answer["result"]
                return result

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._receiving], [], [], LIMIT_SEC)
            assert ready, "the browser does not answer"
            content = os.read(self._receiving, 1 << 16)
            assert content, "the browser has ended"
            self._buffer += content
        message, self._buffer = self._buffer.split(b"\0", 1)
        answer: dict[str, Any] = json.loads(message)
        return answer


@contextlib.contextmanager
def started_chromium(folder: Path, *flags: str) -> Iterator[Page]:
    """Start a browser with a profile of its own.

    Args:
        folder: for whatever it writes.
        flags: more of the command line.
    """
    import fcntl  # Windows, which hasn't got it, skips these tests.

    commands, sending = os.pipe()
    receiving, answers = os.pipe()
    # Out of the way of those that START makes.
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (commands, answers)]
    command = [str(PROGRAM), *FLAGS.split(), *flags, f"--user-data-dir={folder / 'profile'}"]
    with contextlib.ExitStack() as stack:
        for fd in (sending, receiving):
            stack.callback(os.close, fd)
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", START, *map(str, high), *command],
                pass_fds=high,
                env=os.environ | {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        for fd in (commands, answers, *high):
            os.close(fd)
        stack.callback(process.kill)
        yield Page(sending, receiving)
