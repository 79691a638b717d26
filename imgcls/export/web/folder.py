"""A folder that is written whole or not at all, and that takes nobody else's place. Importing this imports no torch."""

import shutil
from pathlib import Path

from imgcls.errors import OutputError

MODEL_FILE, SITE_FILE = "model.onnx", "site.json"


def check_replaceable(output: Path, *, overwrite: bool) -> None:
    """See that nothing but a site of ours would be lost.

    Raises:
        OutputError: something else is there, or a site that shall stay.
    """
    if not output.exists() and not output.is_symlink():
        return
    if not output.is_dir() or output.is_symlink():
        raise OutputError(f"{output} is not a folder", hint="name a new folder with --output")
    is_empty = next(output.iterdir(), None) is None
    if is_empty:
        return
    if not (output / SITE_FILE).is_file() or not (output / MODEL_FILE).is_file():
        raise OutputError(f"{output} holds something else than a site", hint="name a new folder with --output")
    if not overwrite:
        raise OutputError(f"{output} exists already", hint="--overwrite replaces it")


def put_in_place(made: Path, output: Path, before: Path) -> None:
    """Put the new folder where the old one was; the old one comes back if that fails, and goes with its parent else."""
    if output.exists():
        output.replace(before)
    try:
        made.replace(output)
    except OSError:
        if before.exists():
            before.replace(output)
        raise
    shutil.rmtree(before, ignore_errors=True)
