"""Where the answers of `imgcls eval` go: files that appear when the block ends well, or stdout."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from imgcls.cli import console


@contextlib.contextmanager
def answer_to(output: Path | None) -> Iterator[Callable[[str], None]]:
    """Stdout, or the file of --output; gives what writes a text and ends its line."""
    if output is None:
        console.use_utf8_stdout()
        yield console.data
        return
    with whole_file(output) as write:
        yield lambda text: write(text + "\n")


@contextlib.contextmanager
def whole_file(path: Path | None) -> Iterator[Callable[[str], None]]:
    """A file that appears when the block ends well; without a path, what is written goes nowhere."""
    if path is None:
        yield lambda _text: None
        return
    from imgcls.host.files import replacing

    with replacing(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:

        def write(text: str) -> None:
            file.write(text)

        yield write


@contextlib.contextmanager
def part_file(path: Path | None, option: str) -> Iterator[Path | None]:
    """A file that appears when the block ends well, to be written by its name; None without a path."""
    if path is None:
        yield None
        return
    from imgcls.host.files import replacing

    with replacing(path, option=option) as part:
        yield part
