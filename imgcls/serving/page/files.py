"""The pages' files, read once and sent with a checksum, by which a browser sees that it has them already."""

import hashlib
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from imgcls.outputs.report.classify_style import with_shared_style

FOLDER = Path(__file__).parent
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class _File:
    """One file as an endpoint."""

    def __init__(self, name: str) -> None:
        path = FOLDER / name
        content = path.read_bytes()
        self._content = with_shared_style(content) if path.suffix == ".css" else content
        self._type = TYPES[path.suffix]
        self._tag = f'"{hashlib.sha256(self._content).hexdigest()[:16]}"'

    def answer(self, request: Request) -> Response:
        if request.headers.get("if-none-match") == self._tag:
            return Response(status_code=304, headers={"etag": self._tag})
        return Response(self._content, media_type=self._type, headers={"etag": self._tag})


def add_pages(api: FastAPI, *, has_page: bool) -> None:
    """Give the pages their addresses: `/` for people, `/docs` for programmers.

    Args:
        api: whose routes they join.
        has_page: whether there is one at `/`.
    """
    files = {"/docs": "docs.html", "/page/docs.js": "docs.js", "/page/style.css": "style.css"}
    files["/favicon.ico"] = "icon.svg"
    if has_page:
        files |= {"/": "index.html", "/page/app.js": "app.js", "/page/icon.svg": "icon.svg"}
    for path, name in files.items():
        api.add_route(path, _endpoint(_File(name)), methods=["GET"], include_in_schema=False)


def _endpoint(file: _File):  # type: ignore[no-untyped-def]
    async def answer(request: Request) -> Response:
        return file.answer(request)

    return answer
