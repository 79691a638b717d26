"""Records as responses, in the words of `imgcls predict -f json`."""

import json
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from imgcls.outputs.formats.json_document import SCHEMA
from imgcls.outputs.record import ImageRecord
from imgcls.outputs.summary import Summary

JSON_TYPE = "application/json"
UNPROCESSABLE = 422


def json_response(value: Any, status: int = 200) -> Response:
    """Plain values as JSON; a lone surrogate becomes its escape."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return Response(text.encode("utf-8", "backslashreplace"), status, media_type=JSON_TYPE)


def record_response(record: ImageRecord) -> Response:
    """One image: its record; 422 where it can't be classified."""
    return json_response(record.to_dict(), UNPROCESSABLE if record.error else 200)


def document_response(records: Sequence[ImageRecord], model: dict[str, Any]) -> Response:
    """Several images: the object of `predict -f json`; 422 where the only one can't be classified."""
    summary = Summary()
    for record in records:
        summary.add(record)
    document = {
        "schema": SCHEMA,
        "model": model,
        "results": [record.to_dict() for record in records],
        "summary": summary.to_dict(),
    }
    only_failed = len(records) == 1 and records[0].error is not None
    return json_response(document, UNPROCESSABLE if only_failed else 200)
