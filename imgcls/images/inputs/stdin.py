"""Standard input: its bytes, and the image that they are."""

import sys
from typing import BinaryIO

from imgcls.errors import DataError, ImageError
from imgcls.images.inputs.source import Source

STDIN = "-"
BLOCK_BYTES = 1 << 20


def standard_input() -> BinaryIO:
    """Stdin's bytes, unbuffered: a thread that waits for a buffered stdin makes the interpreter abort when it ends.

    Raises:
        DataError: stdin is closed.
    """
    if sys.stdin is None:
        raise DataError("stdin is closed", hint="name files, or pipe something in")
    raw: BinaryIO = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
    return raw


def read_stdin(stdin: BinaryIO, max_bytes: int | None) -> Source:
    """The image that stdin gives.

    Args:
        stdin: see `standard_input`.
        max_bytes: it may give; None for any number.
    """
    if max_bytes is None:
        return Source(STDIN, content=stdin.read())
    content = bytearray()
    # An unbuffered read gives what is there.
    while len(content) <= max_bytes and (block := stdin.read(min(max_bytes + 1 - len(content), BLOCK_BYTES))):
        content += block
    if len(content) > max_bytes:
        return Source(STDIN, failure=ImageError("too_large", f"stdin gives more than {max_bytes / 2**20:g} MiB"))
    return Source(STDIN, content=bytes(content))
