"""Which endpoint answers at which address, each with its description."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from imgcls.serving.api.schema import PREDICT_OPERATION, SCHEMAS, problems

if TYPE_CHECKING:
    from imgcls.serving.api.open_inference import OpenInference
    from imgcls.serving.api.operations import Operations

Endpoint = Callable[[Request], Awaitable[Response]]


def add_routes(api: FastAPI, predict: Endpoint, operations: "Operations", inference: "OpenInference") -> None:
    """Give every endpoint its address."""

    def add(
        path: str,
        endpoint: Endpoint,
        tag: str,
        summary: str,
        *,
        method: str = "GET",
        description: str = "",
        responses: dict[str, Any] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        async def answer(request: Request) -> Response:
            return await endpoint(request)

        told = extra or {"responses": responses or {"200": {"description": "Done."}}}
        api.add_api_route(
            path,
            answer,
            methods=[method],
            tags=[tag],
            summary=summary,
            description=description or summary,
            operation_id=f"{method.lower()}{path.replace('/', '_').replace('{', '').replace('}', '')}",
            response_model=None,
            openapi_extra=told,
        )

    name = {"parameters": [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}]}
    add("/v1/predict", predict, "classify", "Classify one image or several.", method="POST", extra=PREDICT_OPERATION)
    add("/v1/models", operations.models, "models", "All models, the default first.")
    add(
        "/v1/models/{name:path}",
        operations.model,
        "models",
        "One model, with its classes.",
        extra=name | {"responses": {"200": {"description": "The model."}, **problems(401, 404)}},
    )
    add(
        "/v1/reload",
        operations.reload,
        "operations",
        "Load all models anew, check each on an image, and let them take over.",
        method="POST",
        responses={"200": {"description": "They have taken over."}, **problems(401, 403)},
    )
    add("/healthz", operations.health, "operations", "Whether the process answers.")
    add(
        "/readyz",
        operations.ready,
        "operations",
        "Whether images can be classified, found out by classifying one with each model.",
        responses={"200": {"description": "Ready."}, **problems(503)},
    )
    add("/metrics", operations.metrics, "operations", "Counts and times for Prometheus.")
    add("/version", operations.version, "operations", "What is installed here.")
    protocol = "open inference protocol"
    add("/v2", inference.server, protocol, "The server.")
    add("/v2/health/live", inference.live, protocol, "Whether the process answers.")
    add("/v2/health/ready", inference.ready, protocol, "Whether images can be classified.")
    add("/v2/models/{name}", inference.model, protocol, "The tensors of a model.", extra=_plain(name))
    add("/v2/models/{name}/ready", inference.model_ready, protocol, "Whether a model is served.", extra=_plain(name))
    add(
        "/v2/models/{name}/infer",
        inference.infer,
        protocol,
        "Classify encoded images, as the tensor `image` of the type BYTES.",
        method="POST",
        extra=_plain(name),
    )
    generate = api.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        document.setdefault("components", {}).setdefault("schemas", {}).update(SCHEMAS)
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{}, {"token": []}]
        return document

    api.openapi = openapi  # type: ignore[method-assign]


def _plain(extra: dict[str, Any]) -> dict[str, Any]:
    return extra | {"responses": {"200": {"description": "Done."}, **problems(401, 404)}}
