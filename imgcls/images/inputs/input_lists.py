"""Lists of inputs, from a file or from a program that is still writing."""

import codecs
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from imgcls.errors import DataError, UsageError
from imgcls.images.inputs.stdin import STDIN, standard_input

# Longer than any path or URL: an entry beyond it means that the list is no list.
MAX_ENTRY_BYTES = 1 << 20
BLOCK_BYTES = 1 << 16


def read_list(source: str, *, nul: bool = False, stdin: BinaryIO | None = None) -> Iterator[str]:
    """Yield the entries of a list of inputs as they arrive, one a line; empty ones are passed over.

    A carriage return at a line's end and a byte order mark at the list's beginning are no part of a name.

    Args:
        source: a file, or `-` for stdin.
        nul: entries end with a NUL byte instead of a line feed, as `find -print0` writes them.
        stdin: where `-` reads; unbuffered, lest an entry wait for the next.
    Raises:
        DataError: the list can't be read.
    """
    if source == STDIN:
        yield from _entries(stdin or standard_input(), nul=nul)
        return
    try:
        with Path(source).open("rb", buffering=0) as file:
            yield from _entries(file, nul=nul)
    except OSError as exc:
        raise DataError(f"can't read the list {source}: {exc.strerror}", hint="check the path") from exc


def _entries(file: BinaryIO, *, nul: bool) -> Iterator[str]:
    for number, part in enumerate(_separated(file, b"\0" if nul else b"\n")):
        if number == 0:
            if part.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise DataError("the list is in UTF-16", hint="save it as UTF-8")
            part = part.removeprefix(codecs.BOM_UTF8)
        if len(part) >= MAX_ENTRY_BYTES:
            raise DataError(
                f"entry {number + 1:,} of the list is longer than {MAX_ENTRY_BYTES:,} bytes",
                hint="-0 is for entries that end with NUL bytes, without it they end with line feeds",
            )
        entry = part if nul else part.rstrip(b"\r")
        if entry:
            yield os.fsdecode(entry)


def _separated(file: BinaryIO, separator: bytes) -> Iterator[bytes]:
    rest = b""
    # An unbuffered read returns what is there instead of waiting for more, so that a slow writer is answered at once.
    while len(rest) < MAX_ENTRY_BYTES and (block := file.read(BLOCK_BYTES)):
        *whole, rest = (rest + block).split(separator)
        yield from whole
    yield rest


def check_stdin_use(arguments: Iterable[str], files_from: str | None) -> None:
    """Refuse two readers of one stdin.

    Raises:
        UsageError: stdin is asked for twice.
    """
    readers = sum(argument == STDIN for argument in arguments) + (files_from == STDIN)
    if readers > 1:
        raise UsageError("stdin can be read only once", hint="use '-' or '--files-from -', not both")
