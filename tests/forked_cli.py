"""The real command in real processes, without paying for PyTorch's import each time.

One process imports what the command needs and then forks for every run. Where there is no fork, each run starts anew.

Run as a script, this is that process: it answers on a Unix socket.
"""

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

CAN_FORK = hasattr(os, "fork") and hasattr(socket, "send_fds")


@dataclass(frozen=True)
class Finished:
    """How a run ended; the code is negative for a signal's number."""

    code: int
    stdout: bytes
    stderr: str


class Running:
    """A command that runs: its process id, and its end."""

    def __init__(self, connection: socket.socket, stdout: IO[bytes] | None, stderr: IO[bytes] | None) -> None:
        self._connection = connection
        self._lines = connection.makefile("r")
        self._stdout, self._stderr = stdout, stderr
        self.pid = int(self._lines.readline())

    def kill(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def has_ended(self, patience_sec: float = 0) -> bool:
        """Whether it is over."""
        return bool(select.select([self._connection], [], [], patience_sec)[0])

    def wait(self) -> Finished:
        """Wait for the end."""
        line = self._lines.readline()
        self._lines.close()
        self._connection.close()
        return Finished(int(line), _content(self._stdout), without_leaks(_content(self._stderr).decode()))


def without_leaks(said: str) -> str:
    """Leave out what Triton, which only the preloading imports, says of itself where a thread outlives the command."""
    return said.partition("nanobind: leaked ")[0]


class Started:
    """The same for a process of its own."""

    def __init__(self, process: "subprocess.Popen[bytes]", stdout: IO[bytes] | None, stderr: IO[bytes] | None) -> None:
        self._process, self._stdout, self._stderr = process, stdout, stderr
        self.pid = process.pid

    def kill(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        self._process.send_signal(number)

    def has_ended(self, patience_sec: float = 0) -> bool:
        """Whether it is over."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_sec)
        return self._process.returncode is not None

    def wait(self) -> Finished:
        """Wait for the end."""
        code = self._process.wait(120)
        return Finished(code, _content(self._stdout), _content(self._stderr).decode())


class Imgcls:
    """Starts `imgcls`, as from a shell.

    Args:
        address: of the process that forks, or None.
    """

    def __init__(self, address: str | None) -> None:
        self._address = address

    def start(
        self,
        *args: object,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        cwd: Path | None = None,
        **env: str,
    ) -> Running | Started:
        """Start a command.

        Args:
            args: as typed, `bytes` for names that aren't UTF-8.
            stdin: an open file or its number; nothing by default.
            stdout: likewise; collected by default.
            stderr: as stdout.
            cwd: where it runs.
            env: variables beside the test's own.
        """
        collected = tempfile.TemporaryFile() if stdout is None else None  # noqa: SIM115 - read at the command's end
        said = tempfile.TemporaryFile() if stderr is None else None  # noqa: SIM115
        argv = [os.fsdecode(arg) if isinstance(arg, bytes) else str(arg) for arg in args]
        variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "", **env}
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123
            files = [nothing if stdin is None else stdin, collected or stdout, said or stderr]
            numbers = [file if isinstance(file, int) else file.fileno() for file in files]
            if self._address is None:
                command = [sys.executable, "-m", "imgcls", *argv]
                process = subprocess.Popen(
                    command, stdin=numbers[0], stdout=numbers[1], stderr=numbers[2], cwd=cwd, env=variables
                )
                return Started(process, collected, said)
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(self._address)
            socket.send_fds(connection, [b"x"], numbers)
            request = {"argv": argv, "cwd": str(cwd or Path.cwd()), "env": variables}
            connection.sendall(json.dumps(request).encode() + b"\n")
            return Running(connection, collected, said)

    def __call__(self, *args: object, **options: Any) -> Finished:
        """Run a command to its end; see `start`."""
        content = options.pop("input", None)
        if content is None:
            return self.start(*args, **options).wait()
        with tempfile.TemporaryFile() as file:
            file.write(content)
            file.seek(0)
            return self.start(*args, stdin=file, **options).wait()


@pytest.fixture(scope="session")
def imgcls() -> Iterator[Imgcls]:
    """Runs the command; see `Imgcls`."""
    if not CAN_FORK:
        yield Imgcls(None)
        return
    # A short path: a socket's may have about a hundred bytes.
    with tempfile.TemporaryDirectory(prefix="imgcls") as folder:
        address = f"{folder}/s"
        package = str(Path(__file__).resolve().parents[1])
        process = subprocess.Popen(
            [sys.executable, __file__, address], env={**os.environ, "PYTHONPATH": package, "OMP_NUM_THREADS": "1"}
        )
        while not Path(address).exists():
            assert process.poll() is None
            time.sleep(0.02)
        try:
            yield Imgcls(address)
        finally:
            process.kill()
            process.wait()


def _content(file: IO[bytes] | None) -> bytes:
    if file is None:
        return b""
    with file:
        file.seek(0)
        return file.read()


# `torch._dynamo` is what the first step of an optimiser imports; optuna may be missing.
PRELOADED = (
    "imgcls.cli.app",
    "imgcls.models.loading",
    "imgcls.inference.batch_run",
    "imgcls.outputs.report.page",
    "imgcls.inference.backends.torch_backend",
    "imgcls.training.run",
    "torch._dynamo",
    "imgcls.tuning.study",
    "optuna.storages._rdb.storage",
)


def _serve(address: str) -> None:
    # As the entry point does it, before anything registers exit functions.
    from imgcls.cli.process import startup

    startup.begin()
    for module in PRELOADED:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(module)
    # A child's end would otherwise walk through all of that, copying each page as it does: a second a command.
    gc.collect()
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address + ".new")
    listener.listen()
    os.rename(address + ".new", address)  # noqa: PTH104 - only now does a client find it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _run(connection)
            return
        connection.close()


def _run(connection: socket.socket) -> None:
    """Fork once more: this process waits, the other one becomes the command."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, numbers, _, _ = socket.recv_fds(connection, 1, 3)
    request = json.loads(connection.makefile("r").readline())
    pid = os.fork()
    if pid:
        connection.sendall(f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os._exit(0)
    connection.close()
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    for target, number in enumerate(numbers):
        os.dup2(number, target)
        os.close(number)
    sys.stdin, sys.stdout, sys.stderr = (open(number, mode) for number, mode in enumerate("rww"))  # noqa: PTH123, SIM115
    sys.argv = ["imgcls", *request["argv"]]
    from imgcls.cli.app import main

    main()


if __name__ == "__main__":
    _serve(sys.argv[1])
