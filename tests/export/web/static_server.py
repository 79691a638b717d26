"""A static web server as strict as they come: files from a sub-path, a policy for every answer, nothing else."""

import contextlib
import functools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; "
    "style-src 'self'; img-src 'self' blob:; media-src blob:; base-uri 'none'; form-action 'none'"
)


@dataclass
class StaticServer:
    """A running server.

    Attributes:
        url: of its root.
        asked: paths, in the order of the requests.
    """

    url: str
    asked: list[str] = field(default_factory=list)


@contextlib.contextmanager
def static_server(folder: Path) -> Iterator[StaticServer]:
    """Serve a folder."""

    class Handler(SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            self.send_header("Content-Security-Policy", POLICY)
            self.send_header("X-Content-Type-Options", "nosniff")
            super().end_headers()

        def do_GET(self) -> None:
            told.asked.append(self.path)
            super().do_GET()

        def log_message(self, *_values: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    told = StaticServer(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
