"""One server process: from a socket that listens to the last answer after SIGTERM."""

import asyncio
import contextlib
import errno
import functools
import logging
import os
import signal
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from imgcls.errors import ConfigError, ImgclsError, OutputError
from imgcls.serving.application import Application
from imgcls.serving.config import Address, ServeConfig
from imgcls.serving.engine.served_model import ServedModels
from imgcls.serving.http.authorization import Access
from imgcls.serving.http.event_log import EventLog, UvicornEvents
from imgcls.serving.http.protocol import whole_seconds

BACKLOG = 2048
# Connections that the system has accepted before the server stopped are taken for so long.
LAST_ACCEPT_SEC = 0.05
# The engine may end a little after the last connection, which waits for it.
ENGINE_SEC = 1.0


class Server(uvicorn.Server):
    """Uvicorn's server, whose signals are ours.

    Args:
        config: of uvicorn.
        application: what it serves.
        log: where it says what happens.
        handles_interrupt: whether Ctrl-C stops it; else another process decides.
    """

    def __init__(
        self, config: uvicorn.Config, application: Application, log: EventLog, *, handles_interrupt: bool
    ) -> None:
        super().__init__(config)
        self._handles_interrupt = handles_interrupt
        self._application, self._log = application, log
        self._tasks: set[asyncio.Task[object]] = set()
        self.stopped_by: signal.Signals | None = None
        self.listening: list[socket.socket] = []

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT stop, the second time at once; SIGHUP loads the models anew."""
        loop = asyncio.get_running_loop()
        handled: list[signal.Signals] = []
        actions: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGTERM: lambda: self.stop(signal.SIGTERM),
        }
        if self._handles_interrupt:
            actions[signal.SIGINT] = lambda: self.stop(signal.SIGINT)
        if hasattr(signal, "SIGHUP"):
            actions[signal.SIGHUP] = self.reload
        for number, action in actions.items():
            try:
                loop.add_signal_handler(number, action)
                handled.append(number)
            except (NotImplementedError, ValueError, RuntimeError):
                # Windows, whose loops take none; there the handler runs between two steps of the loop.
                signal.signal(number, functools.partial(_call_in_loop, loop, action))
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)

    def stop(self, number: signal.Signals) -> None:
        """Take no more, finish what is in hand; a second time: at once."""
        if self.stopped_by is not None:
            self.force_exit = True
            return
        self.stopped_by = number
        self._application.guard.is_draining = True
        self._log.event("stopping", signal=number.name)
        self._keep(self._stop_listening())

    def reload(self) -> None:
        """Load the models anew."""
        self._keep(self._reload())

    async def _reload(self) -> None:
        with contextlib.suppress(ImgclsError):
            await self._application.reload()

    async def _stop_listening(self) -> None:
        # What the system has accepted is ours to answer; with a backlog of none it accepts no more.
        for each in self.listening:
            with contextlib.suppress(OSError):
                each.listen(0)
        await asyncio.sleep(LAST_ACCEPT_SEC)
        self.should_exit = True

    def _keep(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _call_in_loop(
    loop: asyncio.AbstractEventLoop, action: Callable[[], None], _number: int, _frame: FrameType | None
) -> None:
    loop.call_soon_threadsafe(action)


def listen(address: Address) -> socket.socket:
    """A socket that waits for connections; several processes may share it.

    Raises:
        OutputError: the address is taken, or can't be had.
    """
    try:
        if address.uds is not None:
            return _listen_unix(address.uds)
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        if os.name == "posix":
            # Elsewhere it would let another program take the port over.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address.host, address.port))
        listening.listen(BACKLOG)
        listening.set_inheritable(True)
        return listening
    except OSError as exc:
        where = str(address.uds) if address.uds is not None else f"{address.host}:{address.port}"
        raise OutputError(
            f"can't listen on {where}: {exc.strerror or exc}", hint="use another --port; 0 takes a free one"
        ) from exc


def _listen_unix(path: Path) -> socket.socket:
    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
            other.connect(str(path))
        raise OSError(errno.EADDRINUSE, "another server listens there")
    if path.is_socket():
        # Of a server that is no more.
        path.unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    path.chmod(0o660)
    listening.listen(BACKLOG)
    listening.set_inheritable(True)
    return listening


def check_files(config: ServeConfig) -> None:
    """Find out whether tokens and certificate can be used, before a model is loaded.

    Raises:
        ConfigError: they can't.
    """
    Access(config.safety)
    address = config.address
    if address.certfile is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(address.certfile, address.keyfile)
        except (OSError, ssl.SSLError) as exc:
            hint = "--certfile cert.pem --keyfile key.pem"
            raise ConfigError(f"the certificate can't be used: {exc}", hint=hint) from exc


def url_of(listening: socket.socket, address: Address) -> str:
    """How a client on this machine reaches it."""
    if address.uds is not None:
        return f"http://localhost{address.root_path}"
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    scheme = "https" if address.certfile else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def serve(
    config: ServeConfig,
    models: ServedModels,
    listening: socket.socket,
    log: EventLog,
    *,
    tell_others: Callable[[], None] = lambda: None,
    on_ready: Callable[[], None] = lambda: None,
    handles_interrupt: bool = True,
) -> signal.Signals | None:
    """Serve until a signal comes and everything in hand is answered.

    Args:
        config: what was asked for.
        models: that answer; they are closed at the end.
        listening: where clients connect.
        log: where events are told.
        tell_others: called after a reload over HTTP.
        on_ready: called once clients can be answered.
        handles_interrupt: whether Ctrl-C stops it.
    Returns:
        The signal.
    Raises:
        ConfigError: the certificate or the tokens can't be used.
    """
    application = Application(config, models, log, tell_others=tell_others)
    address, limits = config.address, config.limits
    for name in ("uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate, logger.level = [], False, logging.ERROR
    logging.getLogger("uvicorn.error").addHandler(UvicornEvents(log))
    settings = uvicorn.Config(
        application.app,
        http=application.guard.protocol(),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=whole_seconds(limits.keep_alive_sec),
        timeout_graceful_shutdown=whole_seconds(config.grace_sec),
        ssl_certfile=address.certfile,
        ssl_keyfile=address.keyfile,
    )
    settings.load()
    server = Server(settings, application, log, handles_interrupt=handles_interrupt)
    server.listening = [listening]

    async def run() -> None:
        asyncio.get_running_loop().call_soon(on_ready)
        await server.serve(sockets=[listening])

    with asyncio.Runner(loop_factory=settings.get_loop_factory()) as loop:
        loop.run(run())
    is_done = models.close(ENGINE_SEC)
    log.event("stopped", level="info" if is_done else "warning", unanswered=None if is_done else "some")
    return server.stopped_by
