"""One of several server processes, as its supervisor starts it."""

import contextlib
import functools
import os
import signal
import socket
import threading
import time
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from imgcls.cli import console
from imgcls.errors import ImgclsError

if TYPE_CHECKING:
    from imgcls.serving.config import ServeConfig


def run_worker(
    config: "ServeConfig",
    listening: socket.socket,
    tells: Connection,
    log_format: str,
    has_requests: bool,
    quiet: bool,
) -> None:
    """One process: load, say so, serve until the supervisor says it is over."""
    from imgcls.cli.serve.config import bound_pillow
    from imgcls.serving.engine.served_model import ServedModels
    from imgcls.serving.http.event_log import EventLog
    from imgcls.serving.server import serve

    console.quiet = quiet
    # Ctrl-C reaches the whole group; the supervisor passes on what is meant.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    bound_pillow(config)
    try:
        models = ServedModels(config)
    except ImgclsError as exc:
        tells.send(exc)
        return
    log = EventLog(console.log_line, log_format, has_requests=has_requests)  # type: ignore[arg-type]
    told = [f"{model.id} on {model.loaded.device}" for model in models]
    parent = os.getppid()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        serve(
            config,
            models,
            listening,
            log,
            tell_others=functools.partial(_tell_parent, parent),
            on_ready=functools.partial(tells.send, told),
            handles_interrupt=False,
        )
    log.close()


def _tell_parent(parent: int) -> None:
    os.kill(parent, signal.SIGHUP)


def _end_with(parent: int) -> None:
    """A process whose supervisor was killed serves nobody any more: its place may be taken already."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)
