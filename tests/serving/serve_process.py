"""`imgcls serve` as a real process on a real port, and small ways to ask it."""

import contextlib
import dataclasses
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

LIMIT_SEC = 120.0


@dataclasses.dataclass
class Answer:
    """What a request got."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)


class ServeProcess:
    """A server; `stop` ends it.

    Args:
        arguments: of `imgcls serve`, without `--port`.
        env: variables beside those of this process.
    """

    def __init__(self, *arguments: str, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "imgcls", "serve", "--port", "0", *arguments],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | (env or {}),
        )
        self.lines: list[str] = []
        self._said = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.url = ""

    def wait_until_ready(self) -> None:
        """Until it says where it is."""
        self.url = re.search(r" at (\S+)$", self.wait_for(r"^serving .* at "))[1]

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    @property
    def stderr(self) -> str:
        """What it has said so far."""
        with self._said:
            return "\n".join(self.lines)

    def wait_for(self, pattern: str, *, count: int = 1) -> str:
        """Wait until it has said something so many times; the line of the last."""
        end = time.monotonic() + LIMIT_SEC
        with self._said:
            while True:
                found = [line for line in self.lines if re.search(pattern, line)]
                if len(found) >= count:
                    return found[count - 1]
                assert self.process.poll() is None, "\n".join(self.lines)
                assert time.monotonic() < end, "\n".join(self.lines)
                self._said.wait(0.1)

    def connect(self) -> socket.socket:
        """A bare connection."""
        parts = urlsplit(self.url)
        return socket.create_connection((parts.hostname, parts.port), timeout=LIMIT_SEC)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=LIMIT_SEC)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def get(self, path: str, **headers: str) -> Answer:
        """GET."""
        return self.ask("GET", path, None, {name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, body: bytes, content_type: str = "image/png", **headers: str) -> Answer:
        """POST."""
        told = {"Content-Type": content_type} | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", path, body, told)

    def raw(self, request: bytes) -> bytes:
        """Send bytes, and read until the server closes the connection."""
        with self.connect() as connection:
            connection.sendall(request)
            answer = b""
            while chunk := connection.recv(1 << 16):
                answer += chunk
            return answer

    def metric(self, name: str) -> float:
        """The sum over a metric's series."""
        lines = self.get("/metrics").body.decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(rf"{name}(\{{|\s)", line))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(LIMIT_SEC)

    def _read(self) -> None:
        for line in self.process.stderr:
            with self._said:
                self.lines.append(line.rstrip("\n"))
                self._said.notify_all()


@contextlib.contextmanager
def serving(*arguments: str, **options: Any) -> Iterator[ServeProcess]:
    """A server for a block; with `ready=False` it may still be loading."""
    is_ready = options.pop("ready", True)
    server = ServeProcess(*arguments, **options)
    try:
        if is_ready:
            server.wait_until_ready()
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.process.kill()
        server.process.wait()
        server.reader.join()
        server.process.stdout.close()
        server.process.stderr.close()


def form(*files: tuple[str, bytes], field: str = "file", boundary: str = "xyzzy") -> tuple[bytes, str]:
    """A multipart body of files, and its content type."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        f"Content-Type: application/octet-stream\r\n\r\n".encode()
        + content
        + b"\r\n"
        for name, content in files
    ]
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def noise(path: Path, seed: int) -> bytes:
    """A small image's bytes."""
    from tiny_model import save_image

    return save_image(path / f"{seed}.png", seed).read_bytes()
