"""A client of `imgcls serve`."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from imgcls.errors import ImageError, ModelError
from imgcls.images.inputs.download import fetch_image
from imgcls.images.inputs.source import Source
from imgcls.outputs.record import ImageRecord, RecordError, failed_record, source_version
from imgcls.serving.client.answers import record_of
from imgcls.serving.client.connection import PATIENCE_SEC, START_HINT, UNPROCESSABLE, Connection, ServerError, reason_of
from imgcls.serving.client.contents import content_of, sources_of


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
        self._connection = Connection(
            url, token=token, concurrency=concurrency, patience_sec=patience_sec, uds=uds, verify=verify
        )
        self.url, self.shown_url = self._connection.url, self._connection.shown_url
        self._model, self.concurrency = model, concurrency
        self._model_id: str | None = None

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
        return self.classify(sources_of(inputs), top_k=top_k)

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
        response = self._connection.ask("POST", "/v1/predict", query, content)
        if response.status_code == 413:
            return failed_record(source.name, self.model_id, RecordError("too_large", reason_of(response)), version)
        if response.status_code not in (200, UNPROCESSABLE):
            raise self._connection.refused(response)
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
        self._connection.close()

    def __enter__(self) -> "Client":
        """Itself."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _exc: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """See `close`."""
        self.close()

    def _json(self, path: str) -> dict[str, Any]:
        response = self._connection.ask("GET", path)
        if response.status_code == 404 and self._model:
            raise ModelError(f"{self.shown_url}: {reason_of(response)}", hint="name one of them")
        if response.status_code != 200:
            raise self._connection.refused(response)
        try:
            value = response.json()
        except ValueError as exc:
            raise ServerError(f"{self.shown_url} is no server of imgcls", hint=START_HINT) from exc
        if not isinstance(value, dict):
            raise ServerError(f"{self.shown_url} is no server of imgcls", hint=START_HINT)
        return value
