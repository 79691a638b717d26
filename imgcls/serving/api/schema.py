"""What the endpoints take and give, as OpenAPI describes it."""

from typing import Any

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
        "labels": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Of a model with several labels per image: the classes that reach their thresholds.",
        },
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


def problems(*statuses: int) -> dict[str, Any]:
    """The description of answers that say what is wrong, by their HTTP status."""
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
        **problems(400, 401, 403, 404, 408, 413, 415, 503),
    },
}
