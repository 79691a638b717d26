"""What happened, one line per event: JSON for machines or text for people; no image content and no tokens."""

import json
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

from imgcls.host.terminal_text import printable

LogFormat = Literal["json", "text"]
# Lines are written together, so that a busy server doesn't spend its time on writing.
FLUSH_SEC = 0.2


class EventLog:
    """Writes events; from any thread.

    Args:
        write: takes whole lines.
        log_format: `json` or `text`.
        has_requests: whether each request is an event.
    """

    def __init__(self, write: Callable[[str], None], log_format: LogFormat, *, has_requests: bool = True) -> None:
        self._write = write
        self._format = log_format
        self.has_requests = has_requests
        self._lines: list[str] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._is_closed = False
        self._thread = threading.Thread(target=self._flush_all, name="log", daemon=True)
        self._thread.start()

    def event(self, event: str, *, level: str = "info", **fields: Any) -> None:
        """Note what happened.

        Args:
            event: its name.
            level: `info`, `warning` or `error`.
            fields: what belongs to it; None is left out.
        """
        told = {name: value for name, value in fields.items() if value is not None}
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        if self._format == "json":
            line = json.dumps({"time": now, "level": level, "event": event, **told}, ensure_ascii=False, default=str)
        else:
            words = " ".join(f"{name}={value}" for name, value in told.items())
            line = f"{now[11:23]} {level if level != 'info' else ''}{' ' * (level != 'info')}{event} {words}".rstrip()
        with self._lock:
            self._lines.append(printable(line))
        self._wake.set()

    def close(self) -> None:
        """Write what is left."""
        self._is_closed = True
        self._wake.set()
        self._thread.join(timeout=5)

    def _flush_all(self) -> None:
        while not self._is_closed:
            self._wake.wait()
            self._wake.clear()
            if not self._is_closed:
                time.sleep(FLUSH_SEC)
            self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            lines, self._lines = self._lines, []
        if lines:
            self._write("\n".join(lines))


class UvicornEvents(logging.Handler):
    """What uvicorn itself says, as events.

    Args:
        log: where they go.
    """

    def __init__(self, log: EventLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """One message."""
        exc = record.exc_info[1] if record.exc_info else None
        reason = f"{type(exc).__name__}: {exc}" if exc else None
        self._log.event("server", level=record.levelname.lower(), message=record.getMessage().strip(), reason=reason)
