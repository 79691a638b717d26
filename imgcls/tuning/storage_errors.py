"""What SQLite, SQLAlchemy and Optuna say of a study's file, as errors of ours."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from imgcls.errors import OutputError, UsageError


@contextlib.contextmanager
def typed_errors(path: Path | None = None) -> Iterator[None]:
    """Turn what SQLite, SQLAlchemy and Optuna say of a file into errors that name what to do.

    Args:
        path: of the file, while it is opened.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    name = path or "the study"
    try:
        yield
    except (SQLAlchemyError, StorageInternalError, sqlite3.Error) as exc:
        cause = exc.__cause__ or exc
        said = str(getattr(cause, "orig", None) or cause).splitlines()[0]
        raise OutputError(f"can't use {name}: {said}", hint="check the disk and the file's permissions") from exc
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError, RecursionError) as exc:
        # What neither of them wrote: texts that are no JSON, names of no state, numbers that are words.
        said = f"{type(exc).__name__}: {exc}".splitlines()[0]
        raise OutputError(f"{name} is damaged: {said}", hint="restore the file, or begin a new study") from exc
    except RuntimeError as exc:
        if path is None:
            raise
        raise UsageError(
            f"{path} is of another Optuna: {exc}", hint="install the version that made it, or begin a new study"
        ) from exc
