"""The endpoints for whoever runs the server: is it alive, can it answer, what does it say of itself, load anew."""

import asyncio
import platform
import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from imgcls._version import __version__
from imgcls.errors import ImgclsError
from imgcls.images.inputs.source import Source
from imgcls.serving.api.answers import json_response
from imgcls.serving.api.classify import Asked, Classification
from imgcls.serving.http.problems import Problem
from imgcls.serving.metrics import CONTENT_TYPE, Metrics

# Whoever asks more often is told the last answer: a probe must not become a load.
READY_SEC = 1.0


class Operations:
    """These endpoints.

    Args:
        classification: the models.
        metrics: what was counted.
        check_png: an encoded image for the real inference.
        reload: loads all models anew; None where nobody may ask for it over HTTP.
        is_stopping: whether the server is about to end.
    """

    def __init__(
        self,
        classification: Classification,
        metrics: Metrics,
        check_png: bytes,
        reload: Callable[[], Awaitable[list[dict[str, Any]]]] | None,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._classification, self._metrics = classification, metrics
        self._check_png, self._reload, self._is_stopping = check_png, reload, is_stopping
        self._ready_at = 0.0
        self._ready: tuple[int, dict[str, Any]] = (503, {})
        self._lock = asyncio.Lock()

    async def health(self, _request: Request) -> Response:
        """Whether the process answers."""
        return json_response({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """Whether an image can be classified, found out by classifying one with each model."""
        status, told = await self.readiness(request)
        return json_response(told, status)

    async def readiness(self, request: Request) -> tuple[int, dict[str, Any]]:
        """HTTP's status, and why."""
        if self._is_stopping():
            return 503, {"status": "stopping"}
        async with self._lock:
            if time.monotonic() - self._ready_at > READY_SEC:
                self._ready = await self._try_all(request)
                self._ready_at = time.monotonic()
        return self._ready

    async def _try_all(self, request: Request) -> tuple[int, dict[str, Any]]:
        told: dict[str, Any] = {"status": "ready", "models": {}}
        for model in self._classification.models:
            source = Source("<check>", content=self._check_png)
            try:
                (record,) = await self._classification.classify(request, [source], Asked(model.name, 1))
                told["models"][model.name] = "ok" if not record.error else record.error.kind
            except Problem as exc:
                told["models"][model.name] = exc.kind
        if set(told["models"].values()) != {"ok"}:
            return 503, told | {"status": "not ready"}
        return 200, told

    async def metrics(self, _request: Request) -> Response:
        """Counts and times for Prometheus."""
        text = await asyncio.to_thread(self._metrics.text)
        return Response(text, media_type=CONTENT_TYPE)

    async def version(self, _request: Request) -> Response:
        """What is installed here."""
        return json_response({"imgcls": __version__, "api": "v1", "python": platform.python_version()})

    async def models(self, _request: Request) -> Response:
        """The models, the default first."""
        return json_response({"models": [model.describe() for model in self._classification.models]})

    async def model(self, request: Request) -> Response:
        """One model, with its classes in the order of the outputs, and what answers are made with."""
        model = self._classification.model(Asked(request.path_params["name"]))
        settings = model.engine.predictor.settings
        return json_response(
            model.describe()
            | {
                "classes": list(model.loaded.backend.classes),
                "settings": {
                    "top_k": settings.top_k,
                    "threshold": settings.threshold,
                    "fast_decode": settings.fast_decode,
                    "max_pixels": settings.max_pixels,
                    **settings.decoding,
                },
            }
        )

    async def reload(self, _request: Request) -> Response:
        """Load all models anew, check each, and let them take over."""
        if self._reload is None:
            raise Problem(403, "needs a server with --token-file; or send SIGHUP to the process")
        try:
            return json_response({"status": "reloaded", "models": await self._reload()})
        except ImgclsError as exc:
            raise Problem(500, f"the models that answer stay: {exc.message}") from exc
