"""Making the folder of a new run or study, where a new one would overwrite nothing."""

import shlex
import time
from collections.abc import Collection
from pathlib import Path

from imgcls.errors import OutputError
from imgcls.host.data_files import MalformedError, read_text_file
from imgcls.host.files import PART_SUFFIX, output_error

LOCK_NAME = ".lock"
# Which call of torchrun made the folder, for the processes that it starts again.
LAUNCH_NAME = ".launch"


def make_folder(path: Path | None, *, parent: Path, name: str, besides: Collection[str] = ()) -> Path:
    """A new folder for a run or a study.

    Args:
        path: as the user named it; None for `<parent>/<name>-<date>-<time>`.
        parent: of folders that nobody named.
        name: of the recipe.
        besides: names of files that may be there already.
    Raises:
        OutputError: it exists and isn't empty, or can't be made.
    """
    try:
        if path is None:
            return _new_folder(parent / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")
        refuse_filled(path, besides=besides)
        path.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise output_error(path or parent, exc) from exc
    return path


def refuse_filled(path: Path, *, besides: Collection[str] = ()) -> None:
    """Make sure that a new run would overwrite nothing; a folder that doesn't exist yet is fine.

    Pieces of files that a killed process left don't count.

    Args:
        path: of the folder.
        besides: names of files that don't count either.
    Raises:
        OutputError: it isn't a folder, can't be read, or holds something.
    """
    try:
        allowed = (LOCK_NAME, LAUNCH_NAME, *besides)
        filled = path.exists() and any(
            entry.name not in allowed and not entry.match(f".*{PART_SUFFIX}") for entry in path.iterdir()
        )
    except OSError as exc:
        raise output_error(path, exc) from exc
    if filled:
        raise OutputError(
            f"{path} is not empty",
            hint=f"continue the run in it with --resume {shlex.quote(str(path))}, or name another folder",
        )


def same_text(path: Path | None, name: str, text: str) -> tuple[str, ...]:
    """The name of a file in a folder, if it is there and holds nothing but a text that would be written to it."""
    try:
        is_same = path is not None and read_text_file(path / name) == text
    except (OSError, MalformedError):
        return ()
    return (name,) if is_same else ()


def _new_folder(wanted: Path) -> Path:
    """Make a folder, under another name where another run that began in the same second has taken this one.

    Raises:
        OSError: it can't be made.
    """
    for number in range(1, 1000):
        path = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        return path
    raise OutputError(f"{wanted} and a thousand like it exist", hint="name another folder: -o DIR")
