"""The Open Inference Protocol, version 2, as clients of KServe and Triton speak it.

A model takes one tensor, `image`, of the type BYTES and the shape [N]: encoded images. In JSON each is base64, in the
binary extension each follows its length. It gives three, of the shape [N, k]: `label`, `class_id`, `probability`.
Source: https://github.com/kserve/open-inference-protocol and its binary tensor data extension.
"""

import asyncio
import base64
import binascii
import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from imgcls._version import __version__
from imgcls.images.inputs.source import Source
from imgcls.outputs.record import ImageRecord
from imgcls.serving.api.answers import json_response
from imgcls.serving.api.classify import Asked, Classification
from imgcls.serving.api.operations import Operations
from imgcls.serving.http.bodies import BodyBudget, BodyReader
from imgcls.serving.http.multipart import clean_name
from imgcls.serving.http.problems import Problem

HEADER_LENGTH = "inference-header-content-length"
INPUT = "image"
OUTPUTS = (("label", "BYTES"), ("class_id", "INT64"), ("probability", "FP32"))


class OpenInference:
    """These endpoints.

    Args:
        classification: what answers.
        operations: whether it can.
        bodies: of all requests.
    """

    def __init__(self, classification: Classification, operations: Operations, bodies: BodyBudget) -> None:
        self._classification, self._operations, self._bodies = classification, operations, bodies

    async def server(self, _request: Request) -> Response:
        """What this is."""
        return json_response({"name": "imgcls", "version": __version__, "extensions": ["binary_tensor_data"]})

    async def live(self, _request: Request) -> Response:
        """Whether the process answers."""
        return json_response({"live": True})

    async def ready(self, request: Request) -> Response:
        """Whether images can be classified."""
        status, _told = await self._operations.readiness(request)
        return json_response({"ready": status == 200}, status)

    async def model(self, request: Request) -> Response:
        """The tensors of a model."""
        model = self._model(request)
        return json_response(
            {
                "name": model.name,
                "versions": [model.id.rpartition("@")[2]],
                "platform": str(model.loaded.backend.describe().get("runtime", "pytorch")),
                "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
                "outputs": [{"name": name, "datatype": kind, "shape": [-1, -1]} for name, kind in OUTPUTS],
            }
        )

    async def model_ready(self, request: Request) -> Response:
        """Whether a model is served."""
        return json_response({"name": self._model(request).name, "ready": True})

    async def infer(self, request: Request) -> Response:
        """Classify images."""
        model = self._model(request)
        with BodyReader(self._bodies, request) as reader:
            body = await reader.read()
            asked = await asyncio.to_thread(_read, body, request.headers.get(HEADER_LENGTH), self._bodies.limits.files)
            sources = [Source(f"<image {index}>", content=image) for index, image in enumerate(asked.images)]
            top_k = min(asked.top_k or model.engine.predictor.settings.top_k, len(model.loaded.backend.classes))
            records = await self._classification.classify(request, sources, Asked(model.name, top_k))
        request.scope["imgcls.log"] = {"images": len(records), "model": records[0].model}
        for index, record in enumerate(records):
            if record.error:
                raise Problem(422, f"image {index}: {record.error.kind}: {record.error.message}")
        return _response(records, model.name, asked)

    def _model(self, request: Request) -> Any:
        return self._classification.model(Asked(request.path_params["name"]))


class _Asked:
    """An inference request.

    Attributes:
        images: encoded.
        top_k: from the parameter `top_k`, or None.
        id: that the client gave, or None.
        binary: names of the outputs that are wanted in binary.
        outputs: names of those that are wanted at all.
    """

    def __init__(self, header: dict[str, Any], images: list[bytes]) -> None:
        self.images = images
        self.id = clean_name(header["id"]) if isinstance(header.get("id"), str) else None
        parameters = header.get("parameters") or {}
        top_k = parameters.get("top_k")
        if top_k is not None and (not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1):
            raise Problem(400, "the parameter top_k is a number of at least 1")
        self.top_k: int | None = top_k
        wanted = header.get("outputs") or [{"name": name} for name, _kind in OUTPUTS]
        known = {name for name, _kind in OUTPUTS}
        if not isinstance(wanted, list) or not all(
            isinstance(each, dict) and each.get("name") in known for each in wanted
        ):
            raise Problem(400, f"the outputs are {', '.join(sorted(known))}")
        is_binary = bool(parameters.get("binary_data_output"))
        self.outputs = [each["name"] for each in wanted]
        self.binary = {each["name"] for each in wanted if (each.get("parameters") or {}).get("binary_data", is_binary)}


def _read(body: bytes, header_length: str | None, max_images: int) -> _Asked:
    try:
        length = len(body) if header_length is None else int(header_length)
        header = json.loads(body[:length])
        (tensor,) = header["inputs"]
        name, kind, shape = tensor["name"], tensor["datatype"], tensor["shape"]
        count = int(np.prod([int(each) for each in shape], dtype=np.int64))
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as exc:
        raise Problem(400, "no inference request with one input of a name, a datatype and a shape") from exc
    if name != INPUT or kind != "BYTES" or not count >= 1:
        raise Problem(400, f"the input is {INPUT!r}, encoded images of the datatype BYTES")
    if count > max_images:
        raise Problem(413, f"more than {max_images} images")
    try:
        size = (tensor.get("parameters") or {}).get("binary_data_size")
        images = _decoded(tensor["data"]) if size is None else _split(body[length : length + int(size)])
        asked = _Asked(header, images)
    except (binascii.Error, struct.error, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise Problem(400, "the data of the input can't be read: base64 in JSON, or a length and bytes") from exc
    if len(images) != count:
        raise Problem(400, f"the shape says {count} images, the data holds {len(images)}")
    return asked


def _decoded(data: Any) -> list[bytes]:
    while isinstance(data, list) and data and isinstance(data[0], list):
        data = [each for row in data for each in row]
    return [base64.b64decode(each, validate=True) for each in data]


def _split(content: bytes) -> list[bytes]:
    images = []
    position = 0
    while position < len(content):
        (length,) = struct.unpack_from("<I", content, position)
        position += 4
        if position + length > len(content):
            raise ValueError("cut short")
        images.append(content[position : position + length])
        position += length
    return images


def _response(records: Sequence[ImageRecord], name: str, asked: _Asked) -> Response:
    values: dict[str, list[Any]] = {
        "label": [each.label for record in records for each in record.predictions],
        "class_id": [each.class_id for record in records for each in record.predictions],
        "probability": [float(f"{each.probability:.7g}") for record in records for each in record.predictions],
    }
    shape = [len(records), len(records[0].predictions)]
    outputs: list[dict[str, Any]] = []
    tail: list[bytes] = []
    for output, kind in OUTPUTS:
        if output not in asked.outputs:
            continue
        tensor: dict[str, Any] = {"name": output, "datatype": kind, "shape": shape}
        if output in asked.binary:
            content = _packed(values[output], kind)
            tensor["parameters"] = {"binary_data_size": len(content)}
            tail.append(content)
        else:
            tensor["data"] = values[output]
        outputs.append(tensor)
    header: dict[str, Any] = {"model_name": name, "model_version": records[0].model.rpartition("@")[2]}
    header |= {"id": asked.id} if asked.id else {}
    if not tail:
        return json_response(header | {"outputs": outputs})
    head = json.dumps(header | {"outputs": outputs}).encode("ascii")
    return Response(
        b"".join([head, *tail]),
        headers={HEADER_LENGTH: str(len(head))},
        media_type="application/octet-stream",
    )


def _packed(values: list[Any], kind: str) -> bytes:
    if kind == "BYTES":
        encoded = [value.encode("utf-8", "backslashreplace") for value in values]
        return b"".join(struct.pack("<I", len(each)) + each for each in encoded)
    return np.asarray(values, np.dtype("<i8" if kind == "INT64" else "<f4")).tobytes()
