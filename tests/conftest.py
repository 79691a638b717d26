"""Fixtures that every test may use: a cache of its own, a real HTTP server, and AlexNet with fixed random weights."""

import contextlib
import dataclasses
import hashlib
import os
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from imgcls.models.families.family import PretrainedEntry

# Tiny networks gain nothing from threads, which wait for one another by spinning; set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ("forked_cli", "local_hub", "s3_server", "tiny_model", "tiny_runs", "unprivileged")

OUR_VARIABLES = ("IMGCLS_OFFLINE", "IMGCLS_WEIGHTS_URL", "IMGCLS_DEBUG")
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, with the reason, what the default run leaves out."""
    if item.get_closest_marker("slow") and not item.config.getoption("markexpr"):
        pytest.skip("slow; run with -m slow")
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.accelerator.is_available():
            pytest.skip("no accelerator on this machine")


@pytest.fixture(autouse=True)
def private_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point everything that lives under the home folder at an empty one, for this process and those it starts."""
    home = tmp_path_factory.mktemp("home")
    for variable in ("HOME", "USERPROFILE", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("IMGCLS_CACHE", str(home / "imgcls"))
    monkeypatch.setenv("TORCH_HOME", str(home / "torch"))
    for variable in (*OUR_VARIABLES, *PROXY_VARIABLES, *(name.upper() for name in PROXY_VARIABLES)):
        monkeypatch.delenv(variable, raising=False)
    return home


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the server does with one request."""

    body: bytes
    status: int
    headers: dict[str, str]
    length: int | None
    drip_sec: float
    drip_headers: bool
    hang: bool


class LocalServer:
    """A web server on this machine that answers each path as the test says, in turn; the last answer repeats."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.answers: dict[str, list[Answer]] = {}
        self.closing = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.requests.append(self.path)
                queue = owner.answers.get(self.path)
                if not queue:
                    self.send_error(404)
                    return
                answer = queue.pop(0) if len(queue) > 1 else queue[0]
                # The client may hang up at any time, which is what some tests are about.
                with contextlib.suppress(OSError):
                    self.give(answer)

            def give(self, answer: Answer) -> None:
                if answer.hang:
                    owner.closing.wait(30)
                    return
                if answer.drip_headers:
                    self.drip(b"HTTP/1.0 200 OK\r\nX-Padding: " + b"x" * 10_000, 0.02)
                    return
                self.send_response(answer.status)
                length = len(answer.body) if answer.length is None else answer.length
                if length >= 0:
                    self.send_header("Content-Length", str(length))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if answer.drip_sec:
                    self.drip(answer.body, answer.drip_sec)
                else:
                    self.wfile.write(answer.body)

            def drip(self, content: bytes, pause_sec: float) -> None:
                for byte in content:
                    self.wfile.write(bytes([byte]))
                    if owner.closing.wait(pause_sec):
                        return

            def log_message(self, *_args: object) -> None:
                """Nothing on the test's stderr."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def add(
        self,
        path: str,
        body: bytes = b"",
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        length: int | None = None,
        drip_sec: float = 0,
        drip_headers: bool = False,
        hang: bool = False,
    ) -> str:
        """Say how to answer a path once more, and get its whole address.

        Args:
            path: such as `/file.pth`.
            body: what is sent.
            status: HTTP's.
            headers: beside the length.
            length: what is announced in place of the true length; negative for nothing.
            drip_sec: pause after every byte of the body.
            drip_headers: send headers without end, byte by byte.
            hang: take the request and say nothing.
        """
        self.answers.setdefault(path, []).append(
            Answer(body, status, headers or {}, length, drip_sec, drip_headers, hang)
        )
        return self.url + path

    def wrap_in_tls(self, context: ssl.SSLContext) -> None:
        """Speak HTTPS from now on."""
        # Handshakes belong to the thread that answers: one that fails must not stop the server.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)

    def close(self) -> None:
        """Stop, and end every answer that is still being given."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[LocalServer]:
    """A real HTTP server on this machine; see `LocalServer.add`."""
    local = LocalServer()
    yield local
    local.close()


@pytest.fixture
def refused_url() -> str:
    """An address where nobody listens."""
    local = LocalServer()
    local.close()
    return local.url + "/file"


@pytest.fixture(scope="session")
def alexnet_weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state_dict of AlexNet, random but always the same, in a file whose name tells its hash (233 MiB).

    Drawn so that the logits differ by several units: probabilities that are all alike would hide a wrong transform.
    """
    import torch

    from imgcls.models.networks.alexnet import AlexNet

    generator = torch.Generator().manual_seed(2012)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in AlexNet().state_dict().items()}
    state = {}
    for name, shape in shapes.items():
        # He et al. 2015, equation 10, keeps the size of activations from layer to layer.
        scale = (2 / shape[1:].numel()) ** 0.5 if len(shape) > 1 else 0.1
        state[name] = torch.empty(shape).normal_(generator=generator).mul_(scale)
    plain = tmp_path_factory.mktemp("alexnet") / "alexnet.pth"
    torch.save(state, plain)
    with plain.open("rb") as file:
        digits = hashlib.file_digest(file, "sha256").hexdigest()[:8]
    path = plain.rename(plain.with_name(f"alexnet-owt-{digits}.pth"))
    yield path
    # pytest keeps the folders of its last runs, and this file is large.
    path.unlink()


@pytest.fixture(scope="session")
def alexnet_entry(alexnet_weights: Path) -> "PretrainedEntry":
    """The catalogue's entry for AlexNet, as if `alexnet_weights` were what is published."""
    from imgcls.models.families.torchvision import ALEXNET

    return dataclasses.replace(ALEXNET, url=f"https://download.invalid/models/{alexnet_weights.name}")
