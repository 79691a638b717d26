"""A server of this machine in the Hugging Face hub's place, with random networks of timm's."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from torch import nn

REVISION = "a" * 40


class Hub:
    """The hub as huggingface_hub asks it: a HEAD for the revision and the digest, then a GET."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self, *, with_content: bool) -> None:
                repo, _resolve, rest = self.path.removeprefix("/").partition("/resolve/")
                name = rest.partition("/")[2]
                content = hub.files.get(f"{repo}/{name}")
                hub.requests.append(f"{self.command} {repo}/{name}")
                self.send_response(404 if content is None else 200)
                if content is None:
                    self.send_header("X-Error-Code", "EntryNotFound" if any(
                        each.startswith(f"{repo}/") for each in hub.files) else "RepoNotFound")  # fmt: skip
                else:
                    self.send_header("X-Repo-Commit", REVISION)
                    self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                if with_content and content is not None:
                    self.wfile.write(content)

            def do_GET(self) -> None:
                self.answer(with_content=True)

            def do_HEAD(self) -> None:
                self.answer(with_content=False)

            def log_message(self, *_arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def publish(self, repo: str, network: "nn.Module", folder: Path, config: dict[str, Any] | None = None) -> None:
        import safetensors.torch

        safetensors.torch.save_model(network, folder / "published.safetensors")
        self.files[f"{repo}/model.safetensors"] = (folder / "published.safetensors").read_bytes()
        if config is not None:
            self.files[f"{repo}/config.json"] = json.dumps(config).encode()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub without repositories, which huggingface_hub asks here and in processes that are started."""
    constants = pytest.importorskip("huggingface_hub.constants")
    served = Hub()
    monkeypatch.setenv("HF_ENDPOINT", served.url)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    # It has read the variable already.
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    yield served
    served.server.shutdown()
    served.server.server_close()


def random_network(name: str, **settings: Any) -> "nn.Module":
    """A network of timm's with weights that are the same every time."""
    import timm
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(len(name))
        network: nn.Module = timm.create_model(name, **settings).eval()
    return network
