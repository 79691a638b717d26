"""A client of `imgcls serve`."""

import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from imgcls._version import __version__
from imgcls.errors import DeviceError, ImageError, ModelError, UsageError
from imgcls.host.http.urls import without_secrets
from imgcls.images.decoding import openable
from imgcls.images.inputs.download import fetch_image
from imgcls.images.inputs.names import is_url
from imgcls.images.inputs.source import Source
from imgcls.outputs.record import ImageRecord, RecordError, failed_record, source_version
from imgcls.serving.client.answers import record_of

if TYPE_CHECKING:
    import httpx

# Waits between tries where the server doesn't say; doubled each time, and never all clients at once.
FIRST_PAUSE_SEC = 0.25
MAX_PAUSE_SEC = 10.0
# A moment without a server is a restart; longer is none.
PATIENCE_SEC = 60.0
TIMEOUT_SEC = 60.0
BUSY = 503
UNPROCESSABLE = 422
START_HINT = "start one: imgcls serve -m MODEL"


class ServerError(DeviceError):
    """The server doesn't answer, or refuses; no matter of one image."""


class Client:
    """Classifies images with a server that `imgcls serve` runs; several threads may use it at the same time.

    Args:
        url: of the server, such as `http://127.0.0.1:8000`; behind a proxy with its prefix.
        token: one of those in the server's `--token-file`; None takes the environment variable `IMGCLS_TOKEN`.
        model: by name, where the server has several; None for its default.
        concurrency: requests at the same time.
        patience_sec: how long a server that is busy or restarts is asked again.
        uds: path of a Unix socket in the place of the URL's host.
        verify: for TLS: whether certificates are checked, or a file of those to trust.
    Raises:
        DeviceError: httpx isn't installed.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        token: str | None = None,
        model: str | None = None,
        concurrency: int = 8,
        patience_sec: float = PATIENCE_SEC,
        uds: str | Path | None = None,
        verify: bool | str = True,
    ) -> None:
        if not is_url(url):
            raise UsageError(
                f"a server's address begins with http:// or https://, not {url!r}", hint="http://HOST:PORT"
            )
        if concurrency < 1:
            raise UsageError(f"concurrency must be at least 1, not {concurrency}", hint="concurrency=8")
        self._httpx = _import_httpx()
        self.url = url.rstrip("/")
        self.shown_url = without_secrets(self.url)
        self._model, self._patience_sec, self.concurrency = model, patience_sec, concurrency
        headers = {"User-Agent": f"imgcls/{__version__}"}
        token = token or os.environ.get("IMGCLS_TOKEN")
        if token:
            headers["Authorization"] = f"Bearer {token}"
        limits = self._httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        self._http = self._httpx.Client(
            headers=headers,
            timeout=TIMEOUT_SEC,
            transport=self._httpx.HTTPTransport(limits=limits, uds=str(uds) if uds else None, verify=_trusted(verify)),
        )
        self._model_id: str | None = None
        self._closing = threading.Event()

    def predict(
        self, inputs: "str | Path | bytes | Iterable[str | Path | bytes]", *, top_k: int | None = None
    ) -> list[ImageRecord]:
        """Classify files, folders, patterns, URLs and encoded images; one record per image, in order.

        Args:
            inputs: what the command line takes, or an encoded image's bytes; one or several.
            top_k: how many classes a record names; None takes that of the server.
        Raises:
            DeviceError: the server doesn't answer, or refuses.
        """
        return list(self.predict_many(inputs, top_k=top_k))

    def predict_many(
        self, inputs: "str | Path | bytes | Iterable[str | Path | bytes]", *, top_k: int | None = None
    ) -> Iterator[ImageRecord]:
        """As `predict`, each record as it comes; the inputs are read a few images ahead."""
        return self.classify(_sources(inputs), top_k=top_k)

    def classify(
        self, sources: Iterable[Source], *, top_k: int | None = None, threshold: float | None = None
    ) -> Iterator[ImageRecord]:
        """As `predict_many`, for inputs that are sources already.

        Args:
            sources: read as they are needed.
            top_k: how many classes a record names.
            threshold: below which an answer is marked uncertain.
        """
        asked = {name: value for name, value in (("top_k", top_k), ("threshold", threshold)) if value is not None}
        pending: deque[Future[ImageRecord]] = deque()
        with ThreadPoolExecutor(self.concurrency, thread_name_prefix="ask") as pool:
            try:
                for source in sources:
                    pending.append(pool.submit(self.classify_one, source, asked))
                    while len(pending) > 2 * self.concurrency or (pending and pending[0].done()):
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for each in pending:
                    each.cancel()

    def classify_one(
        self, source: Source, asked: dict[str, Any] | None = None, *, fetch: Callable[[str], bytes] = fetch_image
    ) -> ImageRecord:
        """The record of one source; what can't even be read is one too.

        Args:
            source: the image.
            asked: `top_k` and `threshold`, where they aren't the server's.
            fetch: turns a URL into bytes.
        Raises:
            DeviceError: the server doesn't answer, or refuses.
        """
        version = source_version(source)
        try:
            content = content_of(source, fetch)
        except ImageError as exc:
            return failed_record(source.name, self.model_id, exc, version)
        query = dict(asked or {})
        if self._model:
            query["model"] = self._model
        response = self._ask("POST", "/v1/predict", query, content)
        if response.status_code == 413:
            return failed_record(source.name, self.model_id, RecordError("too_large", _reason(response)), version)
        if response.status_code not in (200, UNPROCESSABLE):
            raise self._refused(response)
        return record_of(response.json(), name=source.name, version=version)

    def describe_model(self) -> dict[str, Any]:
        """The model that answers: its `model` object, `classes`, `device` and the `settings` of its answers."""
        name = self._model or self._json("/v1/models")["models"][0]["name"]
        described: dict[str, Any] = self._json(f"/v1/models/{quote(name)}")
        return described

    @property
    def model_id(self) -> str:
        """Name and first 12 digits of the SHA-256 of the model that answers."""
        if self._model_id is None:
            self._model_id = str(self.describe_model()["model"]["id"])
        return self._model_id

    def close(self) -> None:
        """Let go of the connections, and wait for no server any more."""
        self._closing.set()
        self._http.close()

    def __enter__(self) -> "Client":
        """Itself."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _exc: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """See `close`."""
        self.close()

    def _json(self, path: str) -> dict[str, Any]:
        response = self._ask("GET", path)
        if response.status_code == 404 and self._model:
            raise ModelError(f"{self.shown_url}: {_reason(response)}", hint="name one of them")
        if response.status_code != 200:
            raise self._refused(response)
        try:
            value = response.json()
        except ValueError as exc:
            raise ServerError(f"{self.shown_url} is no server of imgcls", hint=START_HINT) from exc
        if not isinstance(value, dict):
            raise ServerError(f"{self.shown_url} is no server of imgcls", hint=START_HINT)
        return value

    def _ask(
        self, method: str, path: str, query: dict[str, Any] | None = None, content: bytes | None = None
    ) -> "httpx.Response":
        """One answer, from a server that may be busy or restarting for a while."""
        end = time.monotonic() + self._patience_sec
        pause_sec = FIRST_PAUSE_SEC
        headers = {"Content-Type": "application/octet-stream"} if content is not None else {}
        while True:
            wait_sec, reason = pause_sec, ""
            try:
                response: httpx.Response = self._http.request(
                    method, self.url + path, params=query, content=content, headers=headers
                )
                if response.status_code != BUSY:
                    return response
                wait_sec, reason = max(_retry_after(response), pause_sec), _reason(response)
            except self._httpx.TransportError as exc:
                if isinstance(exc, self._httpx.UnsupportedProtocol):
                    raise UsageError(f"not a usable address: {self.shown_url}", hint="http://HOST:PORT") from exc
                reason = str(exc) or type(exc).__name__
            # Others were refused at the same moment, and shall not come back at the same moment.
            wait_sec *= random.uniform(1.0, 1.25)
            if time.monotonic() + wait_sec > end or self._closing.wait(wait_sec):
                raise ServerError(f"no answer from {self.shown_url}: {reason}", hint=START_HINT)
            pause_sec = min(2 * pause_sec, MAX_PAUSE_SEC)

    def _refused(self, response: "httpx.Response") -> ServerError:
        reason = f"{self.shown_url}: HTTP {response.status_code}: {_reason(response)}"
        if response.status_code == 401:
            return ServerError(reason, hint="set IMGCLS_TOKEN to one of the server's tokens")
        return ServerError(reason, hint="the server's log says more")


def _import_httpx() -> Any:
    try:
        import httpx
    except ImportError as exc:
        raise DeviceError(
            "asking a server needs httpx, which is not installed", hint="pip install 'imgcls[serve]'"
        ) from exc
    return httpx


def _trusted(verify: bool | str) -> Any:
    if not isinstance(verify, str):
        return verify
    import ssl

    try:
        return ssl.create_default_context(cafile=verify)
    except OSError as exc:
        raise UsageError(f"{verify} holds no certificates: {exc}", hint="a file of certificates in PEM") from exc


def _sources(inputs: "str | Path | bytes | Iterable[str | Path | bytes]") -> Iterator[Source]:
    from imgcls.images.inputs.sources import iterate_sources

    if isinstance(inputs, (str, os.PathLike, bytes)):
        inputs = [inputs]
    for each in inputs:
        if isinstance(each, bytes):
            yield Source("<bytes>", content=each)
        else:
            yield from iterate_sources([str(each)])


def content_of(source: Source, fetch: Callable[[str], bytes] = fetch_image) -> bytes:
    """An encoded image's bytes.

    Args:
        source: the image.
        fetch: turns a URL into bytes.
    Raises:
        ImageError: there are none.
    """
    if source.failure is not None:
        raise source.failure
    if source.url:
        return fetch(source.url)
    if source.content is not None:
        return source.content
    if source.member is not None:
        return source.member.read()
    assert source.path is not None
    try:
        openable(source.path)
        content = source.path.read_bytes()
        if not content:
            raise ImageError("not_an_image", "the file is empty")
        return content
    except FileNotFoundError as exc:
        raise ImageError("not_found", "no such file") from exc
    except PermissionError as exc:
        raise ImageError("permission_denied", "permission denied") from exc
    except OSError as exc:
        raise ImageError("not_found", exc.strerror or str(exc)) from exc


def _reason(response: "httpx.Response") -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.reason_phrase


def _retry_after(response: "httpx.Response") -> float:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else 0.0
