"""What there is of an image's file before anything of it is decoded, opened without being held up."""

import io
import os
import stat
from pathlib import Path

from imgcls.errors import ImageError

# Read at once.
SMALL_FILE_BYTES = 2**20


def bytes_of(source: Path | bytes) -> bytes:
    """All of a file, or the bytes as they are."""
    return source if isinstance(source, bytes) else source.read_bytes()


def openable(source: Path | bytes) -> Path | io.BytesIO:
    """What Pillow can open without being held up.

    Raises:
        ImageError: empty, a folder, or something that isn't a file (a named pipe would block for ever).
        OSError: it isn't there.
    """
    size_of(source)
    return readable(source)


def readable(source: Path | bytes) -> Path | io.BytesIO:
    """`openable` for what was looked at by `size_of` before."""
    if isinstance(source, bytes):
        return io.BytesIO(source)
    # Pillow asks the system a dozen times for a small file, and each time another thread may take the interpreter.
    file = os.open(source, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        num_bytes = os.fstat(file).st_size
        if num_bytes > SMALL_FILE_BYTES:
            return source
        content = os.read(file, num_bytes)
        while len(content) < num_bytes and (more := os.read(file, num_bytes - len(content))):
            content += more
        return io.BytesIO(content)
    finally:
        os.close(file)


def size_of(source: Path | bytes) -> int:
    """How many bytes there are to open.

    Raises:
        ImageError: none, or it is a folder, or something that isn't a file.
        OSError: it isn't there.
    """
    if isinstance(source, bytes):
        if not source:
            raise ImageError("not_an_image", "no bytes")
        return len(source)
    if "\0" in str(source):
        raise ImageError("not_found", "a path can't hold a NUL byte")
    status = source.stat()
    if stat.S_ISDIR(status.st_mode):
        raise ImageError("not_an_image", "is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("not_an_image", "is not a regular file; pipe an image in with '-'")
    return status.st_size
