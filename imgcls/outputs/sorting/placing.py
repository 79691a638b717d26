"""A file to another name: whole or not at all, and never over another file."""

import filecmp
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


def numbered_names(path: Path) -> Iterator[Path]:
    """The name itself, then with -2, -3, ... before the suffix."""
    yield path
    number = 2
    while True:
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1


def is_one_file(first: Path, second: Path) -> bool:
    """Whether two names are of one file; no, where one of them is of none."""
    try:
        return first.samefile(second)
    except OSError:
        return False


def is_same(source: Path, standing: Path) -> bool:
    """Whether the target holds the same bytes, or is a link to them."""
    try:
        return is_one_file(source, standing) or (standing.is_file() and filecmp.cmp(source, standing, shallow=False))
    except OSError:
        return False


def copy_to(source: Path, target: Path) -> None:
    """Copy a file with its times and rights; see `_take_place` for the errors."""
    handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=target.parent)
    os.close(handle)
    part = Path(name)
    try:
        shutil.copyfile(source, part)
        shutil.copystat(source, part)
        _take_place(part, target)
    finally:
        part.unlink(missing_ok=True)


def move_to(source: Path, target: Path) -> None:
    """Move a file, also to another file system; see `_take_place` for the errors."""
    try:
        _take_place(source, target)
    except OSError:
        if target.exists() and not is_one_file(source, target):
            raise
        # Another file system.
        copy_to(source, target)
    source.unlink(missing_ok=True)


def _take_place(source: Path, target: Path) -> None:
    """Give a file a second name, which must be free; where there are no hard links, rename it.

    Raises:
        FileExistsError: somebody else took the name meanwhile.
        OSError: the target is on another file system.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        if os.path.lexists(target):
            raise
        source.rename(target)
