"""What a worker process and its parent write to each other: a JSON object and bytes, each with its length before it.

No pickles: the worker reads strangers' files, and nothing that it answers may run code in its parent.
"""

import json
import struct
from typing import IO, Any

LENGTHS = struct.Struct(">II")
MOST_JSON_BYTES = 2**20


class BrokenConversationError(Exception):
    """The other side has ended, or says what nobody understands."""


def send(stream: IO[bytes], values: dict[str, Any], content: bytes = b"") -> None:
    """Write one message.

    Raises:
        BrokenConversationError: nobody reads.
    """
    text = json.dumps(values).encode("ascii")
    try:
        stream.write(LENGTHS.pack(len(text), len(content)))
        stream.write(text)
        stream.write(content)
        stream.flush()
    except (OSError, ValueError) as exc:
        raise BrokenConversationError(str(exc)) from exc


def receive(stream: IO[bytes], *, most_bytes: int) -> tuple[dict[str, Any], bytes]:
    """Read one message.

    Args:
        stream: where from.
        most_bytes: of content that may come.
    Raises:
        BrokenConversationError: the stream has ended, or this is no message.
    """
    try:
        num_json, num_content = LENGTHS.unpack(_exactly(stream, LENGTHS.size))
        if num_json > MOST_JSON_BYTES or num_content > most_bytes:
            raise BrokenConversationError("a message that is too long")
        values = json.loads(_exactly(stream, num_json))
        content = _exactly(stream, num_content)
    except (OSError, ValueError, RecursionError) as exc:
        raise BrokenConversationError(str(exc)) from exc
    if not isinstance(values, dict):
        raise BrokenConversationError("not an object")
    return values, content


def _exactly(stream: IO[bytes], count: int) -> bytes:
    content = stream.read(count)
    if content is None or len(content) < count:
        raise BrokenConversationError("the stream has ended")
    return content
