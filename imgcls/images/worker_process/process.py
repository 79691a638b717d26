"""A worker process as its parent sees it: started, asked, killed when an image takes too long."""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from imgcls.errors import ImageError
from imgcls.images.decode_budget import DECODING
from imgcls.images.time_limit import WAITING_TIMES
from imgcls.images.worker_process.messages import BrokenConversationError, receive, send

# Nothing of the working folder or of variables decides what is imported: the parent says where it imports from.
BOOT = (
    "import sys, json; sys.path[:] = json.loads(sys.stdin.buffer.raw.readline()); "
    "from imgcls.images.worker_process.worker import main; main()"
)
START_SEC = 60.0
WATCH_SEC = 0.25
PIPE_BYTES = 2**16
# Of the answer's pixels and thumbnail: three bytes for each pixel of the largest network input there is.
MOST_ANSWER_BYTES = 2**30


class UnavailableError(Exception):
    """No worker can be had here; threads have to do."""


class IdleEndError(Exception):
    """The worker had ended for want of work before it saw the request; another one has to be asked."""


class OpenElsewhere(NamedTuple):
    """A file of several frames that a worker keeps open.

    Attributes:
        worker: which; it may have ended since, or have opened another file.
        token: of the file.
    """

    worker: "WorkerProcess"
    token: int


class Request(NamedTuple):
    """What a worker is to do.

    Attributes:
        source: a file, or an encoded image's bytes.
        values: the rest, as JSON.
        limit_sec: that the image may compute.
        token: of a file that is to stay open, else 0.
    """

    source: Path | bytes
    values: dict[str, Any]
    limit_sec: float
    token: int = 0


@dataclass(eq=False)
class WorkerProcess:
    """One process; for one thread at a time.

    Raises:
        UnavailableError: it can't be started.
    """

    open_token: int = 0
    _is_late: bool = False
    _deadline: float = math.inf
    _is_over: threading.Event = field(default_factory=threading.Event)
    _process: "subprocess.Popen[bytes]" = field(init=False)

    def __post_init__(self) -> None:
        """Start it, in a group of its own, which Ctrl-C doesn't reach."""
        group: dict[str, Any] = {"process_group": 0} if os.name == "posix" else {"creationflags": 0x200}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", BOOT],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=PIPE_BYTES,
                stderr=subprocess.DEVNULL,
                **group,
            )
        except (OSError, ValueError, TypeError) as exc:
            raise UnavailableError(str(exc)) from exc
        assert self._process.stdin
        assert self._process.stdout
        threading.Thread(target=self._watch, name="watch decoder", daemon=True).start()
        try:
            with self._killed_after(START_SEC):
                self._process.stdin.write(json.dumps(sys.path).encode("ascii") + b"\n")
                self._process.stdin.flush()
                receive(self._process.stdout, most_bytes=0)
        except (OSError, BrokenConversationError) as exc:
            self.end()
            raise UnavailableError(str(exc)) from exc

    @property
    def has_ended(self) -> bool:
        """Whether it is gone."""
        return self._process.poll() is not None

    def ask(self, request: Request) -> tuple[dict[str, Any], bytes]:
        """Have an image decoded.

        Raises:
            ImageError: it can't be, it takes too long, or the decoder crashed.
            IdleEndError: the process had ended before.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin
        assert stdout
        path = os.fspath(request.source.absolute()) if isinstance(request.source, Path) else None
        is_open = request.token and request.token == self.open_token
        content = b"" if is_open or not isinstance(request.source, bytes) else request.source
        values = {**request.values, "path": path, "token": request.token, "limit_sec": request.limit_sec}
        self.open_token = request.token
        try:
            with contextlib.ExitStack() as held:
                with self._killed_after(request.limit_sec * WAITING_TIMES):
                    send(stdin, values, content)
                    answer, found = receive(stdout, most_bytes=MOST_ANSWER_BYTES)
                while "needs" in answer:
                    held.close()
                    told: dict[str, Any] = {}
                    try:
                        held.enter_context(DECODING.reserve(int(answer["needs"])))
                    except ImageError as exc:
                        told = {"error": [exc.kind, exc.message]}
                    with self._killed_after(request.limit_sec * WAITING_TIMES):
                        send(stdin, told)
                        answer, found = receive(stdout, most_bytes=MOST_ANSWER_BYTES)
        except (BrokenConversationError, TypeError, ValueError) as exc:
            raise self._why_ended(request.limit_sec) from exc
        return answer, found

    def end(self) -> None:
        """Kill it; twice does no harm."""
        self._is_over.set()
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()

    def _why_ended(self, limit_sec: float) -> ImageError | IdleEndError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        code = self._process.returncode
        self.end()
        if self._is_late or code == -getattr(signal, "SIGPROF", 0):
            return ImageError("corrupt_image", f"decoding took more than {limit_sec:g} s")
        if code == 0:
            return IdleEndError()
        if code == -getattr(signal, "SIGKILL", 9):
            return ImageError("too_large", "the process that decoded it was killed, as where memory runs out")
        return ImageError("corrupt_image", f"the decoder crashed (code {code})")

    @contextlib.contextmanager
    def _killed_after(self, seconds: float) -> Iterator[None]:
        self._deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self._deadline = math.inf

    def _watch(self) -> None:
        """Kill it when it lets wait for itself, as for a disk that doesn't answer."""
        while not self._is_over.wait(WATCH_SEC):
            if time.monotonic() > self._deadline:
                self._is_late = True
                self._process.kill()
                return
