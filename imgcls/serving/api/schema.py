"""The endpoints' addresses and their description in OpenAPI."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

if TYPE_CHECKING:
    from imgcls.serving.api.open_inference import OpenInference
    from imgcls.serving.api.operations import Operations

Endpoint = Callable[[Request], Awaitable[Response]]

DESCRIPTION = """Image classification. One record per image, as `imgcls predict -f json` writes them.

Where the server was started with `--token-file`, each request needs the header `Authorization: Bearer TOKEN`."""
TAGS = [
    {"name": "classify", "description": "Images to classes."},
    {"name": "models", "description": "What is served."},
    {"name": "operations", "description": "For whoever runs the server."},
    {"name": "open inference protocol", "description": "Version 2, for clients of KServe and Triton."},
]

PREDICTION = {
    "type": "object",
    "required": ["class_id", "label", "probability"],
    "properties": {
        "class_id": {"type": "integer", "description": "Index of the network's output."},
        "label": {"type": "string"},
        "probability": {"type": "number", "minimum": 0, "maximum": 1},
    },
}
RECORD = {
    "type": "object",
    "required": ["input", "status", "model"],
    "properties": {
        "input": {"type": "string", "description": "The image's name, as the request gives it."},
        "status": {"type": "string", "enum": ["ok", "error"]},
        "model": {"type": "string", "description": "Name and first 12 digits of the weights' SHA-256."},
        "width": {"type": "integer", "description": "Of the upright image, in pixels."},
        "height": {"type": "integer"},
        "predictions": {"type": "array", "items": {"$ref": "#/components/schemas/Prediction"}},
        "uncertain": {"type": "boolean", "description": "Where a threshold was given: whether the answer is below it."},
        "set": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Of a model calibrated for it: labels that hold the true one as often as was asked for.",
        },
        "frame": {"type": "integer", "description": "Of a file of several frames, the one that was classified."},
        "frames": {"type": "integer"},
        "truncated": {"type": "boolean"},
        "multi_label": {"type": "boolean"},
        "error": {
            "type": "object",
            "properties": {
                "kind": {
                    "type": "string",
                    "enum": ["not_an_image", "corrupt_image", "too_large", "download_failed"],
                },
                "message": {"type": "string"},
            },
        },
    },
}
DOCUMENT = {
    "type": "object",
    "required": ["schema", "model", "results", "summary"],
    "properties": {
        "schema": {"type": "integer", "const": 1},
        "model": {"type": "object"},
        "results": {"type": "array", "items": {"$ref": "#/components/schemas/Record"}},
        "summary": {"type": "object"},
    },
}
PROBLEM = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "properties": {"kind": {"type": "string"}, "message": {"type": "string"}},
        },
        "request_id": {"type": "string"},
    },
}
SCHEMAS = {"Prediction": PREDICTION, "Record": RECORD, "Document": DOCUMENT, "Problem": PROBLEM}


def _json(name: str, description: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}},
    }


def _problems(*statuses: int) -> dict[str, Any]:
    words = {
        400: "The request can't be read.",
        401: "No valid token.",
        403: "Not allowed here.",
        404: "No such model.",
        408: "It came too slowly.",
        413: "Too large, or too many images.",
        415: "Not a kind of content that is taken.",
        503: "Too much to do: come again after `Retry-After` seconds.",
    }
    return {str(status): _json("Problem", words[status]) for status in statuses}


PREDICT_OPERATION: dict[str, Any] = {
    "parameters": [
        {
            "name": "top_k",
            "in": "query",
            "schema": {"type": "integer", "minimum": 1},
            "description": "How many classes to name.",
        },
        {
            "name": "threshold",
            "in": "query",
            "schema": {"type": "number", "minimum": 0, "maximum": 1},
            "description": "Mark answers less probable than this as uncertain.",
        },
        {"name": "model", "in": "query", "schema": {"type": "string"}, "description": "Which of several models."},
        {
            "name": "name",
            "in": "query",
            "schema": {"type": "string"},
            "description": "What the record of a raw body calls the image.",
        },
    ],
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "image": {"type": "string", "format": "byte", "description": "Base64."},
                        "url": {"type": "string", "description": "Only where `--allow-urls` allows its host."},
                        "name": {"type": "string"},
                        "images": {
                            "type": "array",
                            "items": {"type": "object"},
                            "description": "Several of these objects, in the place of one.",
                        },
                    },
                }
            },
        },
    },
    "responses": {
        "200": {
            "description": "One image as a raw body or JSON object: its record. A form or a list of images: the "
            "document of `imgcls predict -f json`, with a record for each, some of which may be errors.",
            "content": {
                "application/json": {
                    "schema": {
                        "oneOf": [{"$ref": "#/components/schemas/Record"}, {"$ref": "#/components/schemas/Document"}]
                    }
                }
            },
        },
        "422": _json("Record", "The only image can't be classified; the record says why."),
        **_problems(400, 401, 403, 404, 408, 413, 415, 503),
    },
}


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
        extra=name | {"responses": {"200": {"description": "The model."}, **_problems(401, 404)}},
    )
    add(
        "/v1/reload",
        operations.reload,
        "operations",
        "Load all models anew, check each on an image, and let them take over.",
        method="POST",
        responses={"200": {"description": "They have taken over."}, **_problems(401, 403)},
    )
    add("/healthz", operations.health, "operations", "Whether the process answers.")
    add(
        "/readyz",
        operations.ready,
        "operations",
        "Whether images can be classified, found out by classifying one with each model.",
        responses={"200": {"description": "Ready."}, **_problems(503)},
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
    return extra | {"responses": {"200": {"description": "Done."}, **_problems(401, 404)}}
