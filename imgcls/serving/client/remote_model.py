"""A server's model in the place of one in this process, for a run of many inputs."""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from imgcls.errors import ModelError
from imgcls.images.cropping import thumbnail_of
from imgcls.images.inputs.source import Source
from imgcls.images.transform import Floats, Pixels, Transform
from imgcls.images.transform_values import parse_colour
from imgcls.inference.backends.backend import Backend
from imgcls.inference.pipeline import Record, StreamSettings
from imgcls.outputs.record import ImageRecord, KeptRecord
from imgcls.serving.client.client import Client

# How often the oldest answer is looked for.
POLL_SEC = 0.002


class RemoteModel:
    """What a server says of the model that answers, in the shape of a `Backend`; it classifies whole images only.

    Args:
        client: of the server.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        told = client.describe_model()
        try:
            self._model: dict[str, Any] = told["model"]
            self.id = str(self._model["id"])
            self.classes = tuple(map(str, told["classes"]))
            self.transform = Transform.from_dict(self._model["transform"])
            self.device = str(told["device"])
            self._settings: dict[str, Any] = told["settings"]
        except (KeyError, TypeError) as exc:
            raise ModelError(f"{client.shown_url} doesn't describe its model", hint="update its imgcls") from exc
        self.runtime = str(self._model.get("runtime", "torch"))
        self.num_threads = 1

    def describe(self) -> dict[str, Any]:
        """The `model` object of every JSON answer."""
        return self._model

    def keep_in_memory(self) -> None:
        """The server has it."""

    def use_threads(self, count: int) -> None:
        """The server has its own."""

    def probabilities(self, images_BHWC: Pixels) -> Floats:
        """Not possible: the server decodes, too."""
        raise NotImplementedError("a server takes encoded images")

    def as_served(self, settings: StreamSettings) -> StreamSettings:
        """Settings with those of the server, where they shape what it answers."""
        told = self._settings
        background = told.get("background")
        return replace(
            settings,
            max_pixels=int(told["max_pixels"]),
            fast_decode=bool(told["fast_decode"]),
            accepts_truncated=None if told.get("truncated") is None else told["truncated"] == "accept",
            depth_bits=told.get("depth_bits"),
            background_rgb=parse_colour(background) if background else None,
        )

    def classify(
        self, inputs: Iterable[Source | KeptRecord], _backend: Backend, settings: StreamSettings
    ) -> Iterator[Record]:
        """As `classify_stream`, with several requests at the same time.

        Raises:
            DeviceError: the server doesn't answer, or refuses.
            ModelError: its model is another one by now.
        """
        client = self._client
        asked = {"top_k": settings.top_k}
        if settings.threshold is not None:
            asked["threshold"] = settings.threshold  # type: ignore[assignment]
        pending: deque[Future[ImageRecord] | KeptRecord] = deque()
        with ThreadPoolExecutor(client.concurrency, thread_name_prefix="ask") as pool:
            try:
                for each in inputs:
                    if settings.should_stop():
                        break
                    if isinstance(each, KeptRecord):
                        pending.append(each)
                    else:
                        pending.append(pool.submit(self._record, each, asked, settings))
                    yield from self._answered(pending, settings, most_waiting=2 * client.concurrency)
                yield from self._answered(pending, settings, most_waiting=0)
            finally:
                for waiting in pending:
                    if isinstance(waiting, Future):
                        waiting.cancel()

    def _answered(
        self, pending: "deque[Future[ImageRecord] | KeptRecord]", settings: StreamSettings, *, most_waiting: int
    ) -> Iterator[Record]:
        while pending:
            first = pending[0]
            if isinstance(first, KeptRecord):
                pending.popleft()
                yield first
            elif first.done():
                pending.popleft()
                yield self._checked(first.result())
            elif len(pending) <= most_waiting:
                return
            else:
                if settings.should_stop():
                    # What is on its way is answered; what has no thread yet isn't asked.
                    while len(pending) > 1 and isinstance(last := pending[-1], Future) and last.cancel():
                        pending.pop()
                time.sleep(POLL_SEC)

    def _record(self, source: Source, asked: dict[str, Any], settings: StreamSettings) -> ImageRecord:
        record = self._client.classify_one(source, asked, fetch=settings.fetch)
        if settings.thumbnail_px and not record.error and source.path is not None:
            made = thumbnail_of(source.path, max_pixels=settings.max_pixels, side_px=settings.thumbnail_px)
            return replace(record, thumbnail=made.thumbnail) if made else record
        return record

    def _checked(self, record: ImageRecord) -> ImageRecord:
        if record.model != self.id:
            raise ModelError(
                f"{self._client.shown_url} now answers with {record.model}, no longer with {self.id}",
                hint="run the command again",
            )
        return record
