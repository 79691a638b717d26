"""`POST /v1/predict`: the classes of one image or several, in whichever way they are sent."""

import asyncio
import base64
import binascii
import json
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from imgcls.images.inputs.source import Source
from imgcls.serving.api.answers import document_response, record_response
from imgcls.serving.api.classify import Asked, Classification
from imgcls.serving.api.image_urls import UrlPolicy
from imgcls.serving.http.bodies import BodyBudget, BodyReader
from imgcls.serving.http.multipart import clean_name, read_files
from imgcls.serving.http.problems import Problem

# What curl calls a body of which nothing was said.
UNSAID_TYPES = ("", "application/octet-stream", "application/x-www-form-urlencoded")
BODY_NAME = "<body>"
# JSON beyond it is parsed beside the event loop.
LONG_BYTES = 1 << 18
QUERY_KEYS = ("top_k", "threshold", "model", "name")


class Predict:
    """The endpoint.

    Args:
        classification: what answers.
        bodies: of all requests.
        urls: which images are fetched for a client.
    """

    def __init__(self, classification: Classification, bodies: BodyBudget, urls: UrlPolicy) -> None:
        self._classification, self._bodies, self._urls = classification, bodies, urls

    async def __call__(self, request: Request) -> Response:
        """Answer a request.

        Raises:
            Problem: it can't be read, or there is no place for it.
            ClientGoneError: nobody waits for the answer.
        """
        asked, name = _asked(request)
        model = self._classification.model(asked)
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        with BodyReader(self._bodies, request) as reader:
            if content_type == "multipart/form-data":
                limit = self._bodies.limits.files
                files = await read_files(reader.chunks(), request.headers["content-type"], max_files=limit)
                sources, is_single = [Source(each.name, content=each.content) for each in files], False
            elif content_type == "application/json" or content_type.endswith("+json"):
                sources, is_single = await self._from_json(await reader.read())
            elif content_type.startswith("image/") or content_type in UNSAID_TYPES:
                sources, is_single = [Source(name, content=await reader.read())], True
            else:
                raise Problem(415, "send an image, a form (multipart/form-data) or JSON")
            records = await self._classification.classify(request, sources, asked)
        request.scope["imgcls.log"] = {"images": len(records), "model": records[0].model}
        if is_single:
            return record_response(records[0])
        return document_response(records, model.loaded.backend.describe())

    async def _from_json(self, body: bytes) -> tuple[list[Source], bool]:
        """The images of a JSON body, and whether it asks about one alone."""
        if len(body) > LONG_BYTES:
            return await asyncio.to_thread(self._parsed, body)
        return self._parsed(body)

    def _parsed(self, body: bytes) -> tuple[list[Source], bool]:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError) as exc:
            raise Problem(400, "the body is no valid JSON") from exc
        if isinstance(value, dict) and "images" in value:
            images = value["images"]
            if not isinstance(images, list) or not images or set(value) != {"images"}:
                raise Problem(400, '"images" is a list of objects, and nothing stands beside it')
            if len(images) > self._bodies.limits.files:
                raise Problem(413, f"more than {self._bodies.limits.files} images")
            return [self._source(each, f"<image {index}>") for index, each in enumerate(images)], False
        return [self._source(value, BODY_NAME)], True

    def _source(self, value: Any, default_name: str) -> Source:
        if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
            raise Problem(400, 'an image is {"image": "<base64>"} or {"url": "https://..."}, with a "name" if you like')
        name = clean_name(value.get("name", default_name))
        match sorted(set(value) - {"name"}):
            case ["image"]:
                try:
                    return Source(name, content=base64.b64decode("".join(value["image"].split()), validate=True))
                except (binascii.Error, ValueError) as exc:
                    raise Problem(400, 'the base64 of "image" is damaged') from exc
            case ["url"]:
                return self._urls.source(value["url"], value.get("name"))
        raise Problem(400, 'an image has either "image" or "url"')


def _asked(request: Request) -> tuple[Asked, str]:
    """What the query says."""
    query = request.scope["query_string"]
    if not query:
        return Asked(), BODY_NAME
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=16)
    except ValueError as exc:
        raise Problem(400, "the query can't be read") from exc
    values = dict(pairs)
    unknown = sorted(set(values) - set(QUERY_KEYS))
    if unknown or len(values) < len(pairs):
        raise Problem(400, f"the query takes {', '.join(QUERY_KEYS)}, each once")
    return (
        Asked(
            values.get("model"), _number(values, "top_k", int, 1, 1 << 20), _number(values, "threshold", float, 0, 1)
        ),
        clean_name(values.get("name", BODY_NAME)),
    )


def _number(values: dict[str, str], name: str, kind: type, least: float, most: float) -> Any:
    if name not in values:
        return None
    try:
        number = kind(values[name])
    except ValueError:
        number = None
    if number is None or not least <= number <= most:
        raise Problem(400, f"{name} is a number from {least:g} to {most:g}")
    return number
