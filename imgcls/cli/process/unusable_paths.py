"""What the system says of a path that a user named, where nothing nearer has put it into words.

A folder that may not be searched or a name that no file can have is met wherever a path is looked at; this is the one
place that maps what remains.
"""

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from imgcls.errors import ConfigError, DataError, ImgclsError, ModelError, OutputError
from imgcls.host import cache_folders

# What the path or the disk is to blame for; other faults are ours.
UNUSABLE = (
    errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EROFS, errno.ENOSPC,
    errno.EDQUOT, errno.EIO, errno.ESTALE,
)  # fmt: skip
# Which options name what; any other names data.
ERRORS: dict[type[ImgclsError], tuple[str, ...]] = {
    OutputError: ("output", "html", "plot", "confusion"),
    ModelError: ("model", "models", "model_option", "weights", "labels"),
    ConfigError: ("config", "space"),
}


@contextlib.contextmanager
def typed_path_failures(options: Mapping[str, Any]) -> Iterator[None]:
    """Turn an `OSError` of a path into the error of the option that named it.

    Args:
        options: of the command, by name.
    Raises:
        ImgclsError: by what the path was to be: an output, a model, a recipe, or data.
    """
    try:
        yield
    except OSError as exc:
        if exc.errno not in UNUSABLE or not isinstance(exc.filename, (str, bytes)):
            raise
        path = os.fsdecode(exc.filename)
        raise _error_for(path, options)(
            f"{path} can't be used: {exc.strerror}", hint="check the name, its folders and their permissions"
        ) from exc


def _error_for(path: str, options: Mapping[str, Any]) -> type[ImgclsError]:
    for kind, names in ERRORS.items():
        if any(_leads_to(value, path) for name in names for value in _values(options.get(name))):
            return kind
    with contextlib.suppress(ImgclsError):
        if Path(path).is_relative_to(cache_folders.weights_folder()):
            return ModelError
        if Path(path).is_relative_to(cache_folders.cache_folder()):
            return OutputError
    return DataError


def _values(value: Any) -> Iterator[str]:
    for each in value if isinstance(value, (list, tuple)) else (value,):
        if isinstance(each, (str, os.PathLike)) and os.fspath(each):
            yield os.fspath(each)


def _leads_to(value: str, path: str) -> bool:
    """Whether a path is what an option names, lies in it, or stands beside it, as a manifest or a lock does."""
    named, met = Path(value).expanduser().absolute(), Path(path).absolute()
    return met.is_relative_to(named) or (met.parent == named.parent and named.stem in met.name)
