"""Files out of a `multipart/form-data` body, parsed as it comes in; nothing is written to a disk."""

import re
from collections.abc import AsyncIterator
from email.message import Message
from typing import NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from imgcls.serving.http.problems import Problem

MAX_NAME_CHARACTERS = 255


class UploadedFile(NamedTuple):
    """One file of a form.

    Attributes:
        name: what the client calls it; only ever a label.
        content: its bytes.
    """

    name: str
    content: bytes


class _Form:
    """What the parser has met so far.

    Args:
        max_files: more are refused as soon as they begin.
    """

    def __init__(self, max_files: int) -> None:
        self.files: list[UploadedFile] = []
        self.is_ended = False
        self._max_files = max_files
        self._disposition = b""
        self._header = b""
        self._value = b""
        self._content: bytearray | None = None
        self._name = ""
        self._num_parts = 0

    def on_part_begin(self) -> None:
        self._disposition = b""
        self._num_parts += 1
        # Fields that are no files count too: a body of empty ones would cost without end.
        if self._num_parts > 2 * self._max_files + 8:
            raise Problem(413, f"the form has more than {self._num_parts - 1} parts")

    def on_header_begin(self) -> None:
        self._header = self._value = b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value

    def on_headers_finished(self) -> None:
        field, filename = _names(self._disposition)
        self._content = None
        if filename is not None or field in ("file", "files", "image", "images", "file[]", "files[]"):
            if len(self.files) >= self._max_files:
                raise Problem(413, f"the form has more than {self._max_files} files")
            self._name = filename or field
            self._content = bytearray()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._content is not None:
            self._content += data[start:end]

    def on_part_end(self) -> None:
        if self._content is not None:
            self.files.append(UploadedFile(self._name, bytes(self._content)))
            self._content = None

    def on_end(self) -> None:
        self.is_ended = True


async def read_files(chunks: AsyncIterator[bytes], content_type: str, *, max_files: int) -> list[UploadedFile]:
    """The files of a form, in their order.

    Args:
        chunks: the body.
        content_type: the header, which holds the boundary.
        max_files: more are refused.
    Raises:
        Problem: 400 for what is no form or has no file, 413 for too many files; and what reading raises.
    """
    form = _Form(max_files)
    callbacks = {name: getattr(form, name) for name in dir(_Form) if name.startswith("on_")}
    try:
        parser = MultipartParser(_boundary(content_type), callbacks)  # type: ignore[arg-type]
        async for chunk in chunks:
            parser.write(chunk)
        parser.finalize()
    except FormParserError as exc:
        raise Problem(400, "the multipart body is malformed", closes=True) from exc
    if not form.is_ended:
        raise Problem(400, "the multipart body ends too early")
    if not form.files:
        raise Problem(400, "the form has no file; send one as the field 'file'")
    return form.files


def _boundary(content_type: str) -> bytes:
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_param("boundary")
    if not isinstance(boundary, str) or not boundary or not boundary.isascii():
        raise Problem(400, "the header Content-Type of a form names its boundary")
    return boundary.encode("ascii")


def _names(disposition: bytes) -> tuple[str, str | None]:
    """The field's name and the file's, from a header Content-Disposition."""
    text = disposition.decode("utf-8", "replace")
    field = re.search(r'(?:^|[;\s])name="((?:[^"\\]|\\.)*)"', text)
    # In turn: quoted as browsers do, or a bare word.
    filename = re.search(r'filename="((?:[^"\\]|\\.)*)"', text) or re.search(r"filename=([^;\s\"]+)", text)
    return (
        clean_name(field[1]) if field else "",
        clean_name(re.sub(r"\\(.)", r"\1", filename[1]).replace("%22", '"')) if filename else None,
    )


def clean_name(name: str) -> str:
    """A client's name for an image, as a record may show it: one line, not endless, valid Unicode."""
    name = name.encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() else "_" for c in name)[:MAX_NAME_CHARACTERS]
