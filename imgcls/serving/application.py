"""The whole application: models, endpoints, and the gate around them."""

import asyncio
import io
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from imgcls._version import __version__
from imgcls.errors import ImgclsError
from imgcls.serving.api.classify import Classification
from imgcls.serving.api.image_urls import UrlPolicy
from imgcls.serving.api.open_inference import OpenInference
from imgcls.serving.api.operations import Operations
from imgcls.serving.api.predict import Predict
from imgcls.serving.api.routes import add_routes
from imgcls.serving.api.schema import DESCRIPTION, TAGS
from imgcls.serving.config import ServeConfig
from imgcls.serving.engine.job import RefusedError
from imgcls.serving.engine.served_model import ServedModels
from imgcls.serving.engine.warm_up import check_image
from imgcls.serving.http.authorization import Access
from imgcls.serving.http.bodies import BodyBudget
from imgcls.serving.http.event_log import EventLog
from imgcls.serving.http.gate import Gate, problem_response
from imgcls.serving.http.problems import Problem
from imgcls.serving.http.protocol import Guard
from imgcls.serving.metrics import Metrics
from imgcls.serving.page.files import add_pages


class Application:
    """What a server process runs.

    Args:
        config: what was asked for.
        models: that answer.
        log: where events are told.
        tell_others: called after a reload that was asked for over HTTP, where other processes must follow.

    Attributes:
        app: for an ASGI server.
        guard: for its connections.
    """

    def __init__(
        self,
        config: ServeConfig,
        models: ServedModels,
        log: EventLog,
        *,
        tell_others: Callable[[], None] = lambda: None,
    ) -> None:
        self._models, self._log, self._tell_others = models, log, tell_others
        access = Access(config.safety)
        self.guard = Guard(config.limits, self._refusal)
        self._metrics = Metrics(self._live)
        bodies = BodyBudget(config.limits)
        classification = Classification(models, config.batching, self._metrics)
        predict = Predict(classification, bodies, UrlPolicy(config.safety.url_hosts))
        operations = Operations(
            classification,
            self._metrics,
            _check_png(),
            self._reload_for_client if access.tokens is not None else None,
            lambda: self.guard.is_draining,
        )
        api = FastAPI(
            title="imgcls",
            version=__version__,
            description=DESCRIPTION,
            openapi_tags=TAGS,
            docs_url=None,
            redoc_url=None,
            root_path=config.address.root_path,
            exception_handlers={Problem: _on_problem, HTTPException: _on_http_exception},
        )
        add_routes(api, predict, operations, OpenInference(classification, operations, bodies))
        add_pages(api, has_page=config.has_page)
        self.app = Gate(
            api,
            {"/v1/predict": predict},
            access=access,
            metrics=self._metrics,
            log=log,
            root_path=config.address.root_path,
        )

    async def reload(self) -> list[dict[str, Any]]:
        """Load all models anew, without a pause for those who ask meanwhile.

        Raises:
            ImgclsError: one can't be loaded or doesn't classify; the old ones stay.
        """
        try:
            fresh = await asyncio.to_thread(self._models.reload)
        except ImgclsError as exc:
            self._metrics.count_reload(is_done=False)
            self._log.event("reload failed", level="error", reason=exc.message)
            raise
        self._metrics.count_reload(is_done=True)
        for model in fresh:
            self._log.event("reloaded", name=model.name, model=model.id, device=model.loaded.device)
        return [model.describe() for model in fresh]

    async def _reload_for_client(self) -> list[dict[str, Any]]:
        told = await self.reload()
        self._tell_others()
        return told

    def _refusal(self) -> RefusedError | None:
        return self._models.default_model.engine.refusal()

    def _live(self) -> list[tuple[str, str, str, float]]:
        guard = self.guard
        open_images = sum(model.engine.num_open for model in self._models)
        return [
            ("imgcls_images_in_flight", "Images that are admitted and not yet answered.", "gauge", open_images),
            ("imgcls_connections", "Connections without a request at the moment.", "gauge", len(guard.idle)),
            ("imgcls_shed", "Requests refused before they were read (503).", "counter", guard.num_shed),
            ("imgcls_turned_away", "Connections closed for want of a place.", "counter", guard.num_turned_away),
            ("imgcls_header_timeouts", "Connections whose headers did not come.", "counter", guard.num_timed_out),
        ]


def _check_png() -> bytes:
    file = io.BytesIO()
    check_image().save(file, "PNG")
    return file.getvalue()


async def _on_problem(request: Request, exc: Problem) -> Response:
    return problem_response(exc, request.scope.get("imgcls.request_id", ""))


async def _on_http_exception(request: Request, exc: HTTPException) -> Response:
    words = {404: "there is nothing under this address", 405: "this address takes another method"}
    problem = Problem(exc.status_code, words.get(exc.status_code, "not possible"), headers=dict(exc.headers or {}))
    return problem_response(problem, request.scope.get("imgcls.request_id", ""))
