"""Several server processes behind one socket: started, watched, replaced when one dies, ended together.

Processes pay where each has a GPU of its own. On a CPU one process keeps all cores busy: its threads decode and
classify outside of the interpreter's lock, and one queue fills its batches better than several.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import TYPE_CHECKING

from imgcls.cli import console
from imgcls.cli.process import interrupts
from imgcls.cli.serve.worker_process import run_worker
from imgcls.errors import DeviceError, ExitCode, ImgclsError, OutputError

if TYPE_CHECKING:
    from imgcls.serving.config import ServeConfig

METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
# A process that ends sooner than this after its start is not replaced at once, but after a pause that doubles.
EARLY_SEC = 10.0
MAX_PAUSE_SEC = 30.0
# Beyond --grace, before what doesn't end is killed.
SLACK_SEC = 5.0

Say = Callable[["ServeConfig", list[str], socket.socket], None]


@dataclasses.dataclass
class _Worker:
    """One process.

    Attributes:
        process: of the system.
        said: what it tells: its models, once it is ready, or why it can't be.
        started: time.monotonic() then.
        is_ready: whether it has answered its check image.
    """

    process: SpawnProcess
    said: Connection
    started: float
    is_ready: bool = False


class Supervisor:
    """Keeps `config.workers` processes going.

    Args:
        config: of all of them; the device differs.
        listening: the socket that they share.
        log_format: of their messages.
        has_requests: whether each request is a message.
        say: tells a person that all are ready.
    """

    def __init__(
        self, config: "ServeConfig", listening: socket.socket, log_format: str, *, has_requests: bool, say: Say
    ) -> None:
        self._config, self._listening, self._log_format = config, listening, log_format
        self._has_requests, self._say = has_requests, say
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker | None] = [None] * config.workers
        self._pause_sec = [0.0] * config.workers
        self._next_start = [0.0] * config.workers
        self._models: list[str] = []
        self._has_said = False
        self._signal: signal.Signals | None = None
        self._reloads = threading.Event()

    def run(self) -> ExitCode:
        """Until a signal comes, or none can be started."""
        interrupts_before = self._listen_to_signals()
        try:
            for index in range(len(self._workers)):
                self._start(index)
            while self._signal is None:
                self._look_after()
            return self._stop()
        finally:
            for worker in filter(None, self._workers):
                if worker.process.is_alive():
                    worker.process.kill()
            for number, handler in interrupts_before.items():
                signal.signal(number, handler)  # type: ignore[arg-type]

    def _listen_to_signals(self) -> dict[signal.Signals, object]:
        def note(number: int, _frame: FrameType | None) -> None:
            self._signal = signal.Signals(number)

        handled: dict[signal.Signals, object] = {
            number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)
        }
        if hasattr(signal, "SIGHUP"):
            handled[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda _number, _frame: self._reloads.set())
        return handled

    def _look_after(self) -> None:
        if self._reloads.is_set():
            self._reloads.clear()
            self._send(signal.SIGHUP)
        now = time.monotonic()
        for index, worker in enumerate(self._workers):
            if worker is None:
                if now >= self._next_start[index]:
                    self._start(index)
            elif not worker.process.is_alive():
                self._bury(index, worker)
        channels = [worker.said for worker in filter(None, self._workers) if not worker.is_ready]
        for channel in wait([*channels, *self._sentinels()], timeout=0.5):
            if isinstance(channel, Connection):
                self._hear(channel)

    def _sentinels(self) -> list[int]:
        return [worker.process.sentinel for worker in filter(None, self._workers)]

    def _hear(self, channel: Connection) -> None:
        worker = next(each for each in filter(None, self._workers) if each.said is channel)
        try:
            told = channel.recv()
        except (EOFError, OSError):
            return
        if isinstance(told, ImgclsError):
            if not self._has_said:
                # The others would fail for the same reason.
                raise told
            console.error(told)
            return
        worker.is_ready = True
        self._models += [each for each in told if each not in self._models]
        if not self._has_said and all(each is not None and each.is_ready for each in self._workers):
            self._has_said = True
            self._say(self._config, self._models, self._listening)
            console.message(f"  {len(self._workers)} processes: {', '.join(str(pid) for pid in self._pids())}")

    def _pids(self) -> list[int | None]:
        return [worker.process.pid for worker in filter(None, self._workers)]

    def _start(self, index: int) -> None:
        hears, tells = self._context.Pipe(duplex=False)
        device = self._config.devices[index % len(self._config.devices)]
        config = dataclasses.replace(self._config, load=dataclasses.replace(self._config.load, device=device))
        process = self._context.Process(
            target=run_worker,
            args=(config, self._listening, tells, self._log_format, self._has_requests, console.quiet),
            name=f"imgcls serve {index + 1}",
        )
        process.start()
        tells.close()
        self._workers[index] = _Worker(process, hears, time.monotonic())

    def _bury(self, index: int, worker: _Worker) -> None:
        """Note that a process has ended, and when its successor starts."""
        if not worker.is_ready and worker.said.poll():
            self._hear(worker.said)
        worker.said.close()
        self._workers[index] = None
        is_early = time.monotonic() - worker.started < EARLY_SEC
        self._pause_sec[index] = min(max(2 * self._pause_sec[index], 1.0), MAX_PAUSE_SEC) if is_early else 0.0
        self._next_start[index] = time.monotonic() + self._pause_sec[index]
        if not self._has_said:
            raise DeviceError(
                f"a server process ended with code {worker.process.exitcode} before it was ready",
                hint="start with --workers 1 to see why",
            )
        console.warn(f"process {worker.process.pid} ended with code {worker.process.exitcode}; another takes its place")
        with contextlib.suppress(OSError, ValueError):
            from prometheus_client import multiprocess

            multiprocess.mark_process_dead(worker.process.pid)  # type: ignore[no-untyped-call]

    def _send(self, number: signal.Signals) -> None:
        for worker in filter(None, self._workers):
            if worker.process.pid is not None and worker.process.is_alive():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.process.pid, number)

    def _stop(self) -> ExitCode:
        assert self._signal is not None
        self._send(signal.SIGTERM)
        end = time.monotonic() + self._config.grace_sec + SLACK_SEC
        for worker in filter(None, self._workers):
            worker.process.join(max(end - time.monotonic(), 0.0))
        return interrupts.CODES[self._signal]


def supervise(
    config: "ServeConfig", listening: socket.socket, log_format: str, *, has_requests: bool, say: Say
) -> ExitCode:
    """Serve with several processes until a signal comes.

    Returns:
        The exit code of the command.
    Raises:
        ImgclsError: a model can't be loaded.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="imgcls-metrics-"))
        except OSError as exc:
            raise OutputError(
                f"several processes keep their metrics in a temporary folder, and there is none: {exc}",
                hint="set TMPDIR to a folder that can be written, such as /dev/shm",
            ) from exc
        os.environ[METRICS_VARIABLE] = folder
        stack.callback(os.environ.pop, METRICS_VARIABLE, None)
        return Supervisor(config, listening, log_format, has_requests=has_requests, say=say).run()
