"""Uvicorn's HTTP protocol with the limits that it hasn't got: on headers, on silence, on connections, on the rest.

What is refused here never reaches the application, and costs it nothing: an overloaded server must not spend its time
on saying so.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from imgcls.serving.config import Limits
from imgcls.serving.engine.job import RefusedError
from imgcls.serving.http.problems import Problem, overloaded

# How long the rest of a request may come in after it has been answered; what comes is dropped. Closing at once would
# reset the connection, and the client would lose the answer.
REST_SEC = 5.0
# A connection that is idle when the server stops gets so long for a request that is on its way already.
LAST_REQUEST_SEC = 0.3
PREDICT_PATH = b"/v1/predict"


class Guard:
    """What all connections of a server have in common.

    Args:
        limits: on each of them.
        refusal: why one image more would be refused now, or None.

    Attributes:
        is_draining: whether every answer is the last of its connection.
        num_shed: requests that were refused before they were read.
        num_turned_away: connections for which there was no place.
        num_timed_out: connections that were closed because headers didn't come.
    """

    def __init__(self, limits: Limits, refusal: Callable[[], RefusedError | None]) -> None:
        self.limits = limits
        self.refusal = refusal
        self.is_draining = False
        self.idle: dict[LimitedProtocol, None] = {}
        self.num_shed = self.num_turned_away = self.num_timed_out = 0

    def protocol(self) -> "type[LimitedProtocol]":
        """The class of this server's connections, as uvicorn takes it."""
        return type("GuardedProtocol", (LimitedProtocol,), {"guard": self})


class _Refusal(Exception):  # noqa: N818 - never leaves httptools, which turns it into an error of its own
    """Ends the parsing of a request that is refused."""


class _Shed:
    """Stands for a request that was answered before it was read, where uvicorn looks for its state."""

    response_complete = True
    disconnected = False
    keep_alive = True

    class _Event:
        def set(self) -> None:
            """Nobody waits."""

    message_event = _Event()


class LimitedProtocol(HttpToolsProtocol):
    """One connection; uvicorn's, and what its module says."""

    guard: ClassVar[Guard]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_timer: asyncio.TimerHandle | None = None
        self._rest_timer: asyncio.TimerHandle | None = None
        self._in_headers = True
        self._is_whole = True
        self._header_bytes = 0
        self._problem: Problem | None = None
        self._on_gone: Callable[[], None] | None = None

    def when_gone(self, call: Callable[[], None] | None) -> None:
        """Call something, once, when the client goes away before it has its answer; None for nothing any more."""
        self._on_gone = call

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A new connection: takes the place of one that is idle where there are too many."""
        super().connection_made(transport)  # type: ignore[arg-type]
        guard = self.guard
        guard.idle[self] = None
        self._header_timer = self.loop.call_later(guard.limits.header_sec, self._headers_are_late)
        if len(self.connections) > guard.limits.connections:
            guard.num_turned_away += 1
            oldest = next(iter(guard.idle))
            if oldest is self:
                self._refuse(overloaded("too many connections", 1))
            else:
                guard.idle.pop(oldest)
                oldest.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self.guard.idle.pop(self, None)
        self._stop_timers()
        call, self._on_gone = self._on_gone, None
        if call is not None:
            call()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._in_headers:
            self._header_bytes += len(data)
            if self._header_bytes > self.guard.limits.header_bytes and not self.transport.is_closing():
                self._refuse(self._too_long())

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._in_headers, self._is_whole, self._header_bytes = True, False, 0
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(self.guard.limits.header_sec, self._headers_are_late)

    def on_headers_complete(self) -> None:
        """A request's line and headers are there."""
        self._in_headers = False
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
        self.guard.idle.pop(self, None)
        num_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if num_bytes > self.guard.limits.header_bytes:
            self._problem = self._too_long()
            raise _Refusal
        if self._sheds():
            return
        self.scope["extensions"] = {"imgcls.connection": self}  # type: ignore[dict-item]
        super().on_headers_complete()
        if self.guard.is_draining:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        self._is_whole = True
        if self._rest_timer is not None:
            self._rest_timer.cancel()
            self._rest_timer = None
        super().on_message_complete()
        if isinstance(self.cycle, _Shed):
            self._wait_for_next()

    def on_response_complete(self) -> None:
        """The last byte of an answer."""
        self._on_gone = None
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if not self._is_whole:
            self._rest_timer = self.loop.call_later(REST_SEC, self.transport.close)
        elif self.cycle.response_complete:
            self.guard.idle[self] = None

    def shutdown(self) -> None:
        """The server stops: this request, or one that is on its way already, is the last."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LAST_REQUEST_SEC, self._close_if_idle)
        else:
            self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        """The request can't be read, or was refused while it was."""
        self._in_headers = False
        self._refuse(self._problem or Problem(400, "not a valid HTTP request"))

    def _sheds(self) -> bool:
        """Answer a request for which there is no place, without reading it."""
        if self.parser.get_method() != b"POST" or not self.url.startswith(PREDICT_PATH):
            return False
        is_plain = self.parser.should_keep_alive() and not self.expect_100_continue and not self.guard.is_draining
        is_next = self.cycle is None or self.cycle.response_complete
        # Another model may have a place.
        if not is_plain or not is_next or b"model=" in self.url:
            return False
        refusal = self.guard.refusal()
        if refusal is None:
            return False
        self.guard.num_shed += 1
        self.cycle = _Shed()  # type: ignore[assignment]
        self.transport.write(self._written(overloaded(refusal.reason, refusal.retry_after_sec)))
        self._rest_timer = self.loop.call_later(REST_SEC, self.transport.close)
        return True

    def _wait_for_next(self) -> None:
        self._unset_keepalive_if_required()
        self.guard.idle[self] = None
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _headers_are_late(self) -> None:
        self._header_timer = None
        self.guard.num_timed_out += 1
        if not self.transport.is_closing():
            self._refuse(Problem(408, f"the headers took longer than {self.guard.limits.header_sec:g} s"))

    def _close_if_idle(self) -> None:
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()

    def _too_long(self) -> Problem:
        return Problem(431, f"the headers have more than {self.guard.limits.header_bytes:,} bytes")

    def _refuse(self, problem: Problem) -> None:
        if not self.transport.is_closing():
            problem.headers["connection"] = "close"
            self.transport.write(self._written(problem))
            self.transport.close()

    def _written(self, problem: Problem) -> bytes:
        body = problem.body()
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "x-content-type-options": "nosniff",
            "cache-control": "no-store",
            **problem.headers,
        }
        lines = [STATUS_LINE[problem.status]]
        lines += [name + b": " + value + b"\r\n" for name, value in self.server_state.default_headers]
        lines += [f"{name}: {value}\r\n".encode("latin-1") for name, value in headers.items()]
        return b"".join([*lines, b"\r\n", body])

    def _stop_timers(self) -> None:
        for timer in (self._header_timer, self._rest_timer):
            if timer is not None:
                timer.cancel()
        self._header_timer = self._rest_timer = None


def whole_seconds(seconds: float) -> int:
    """Seconds as uvicorn takes them."""
    return max(math.ceil(seconds), 1)
