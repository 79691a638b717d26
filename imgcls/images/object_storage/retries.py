"""Requests to object storage, tried again where that may help, and what their failures mean."""

import errno
import random
import time
from collections.abc import Callable
from typing import TypeVar

from imgcls.errors import ImageErrorKind
from imgcls.host.http.urls import without_secrets

Made = TypeVar("Made")

FIRST_PAUSE_SEC = 0.1
LONGEST_PAUSE_SEC = 20.0
# A server that throttles for minutes is waited for as long as the caller's limit allows; this many tries at most.
MAX_TRIES = 12
# What never gets better: these go to the caller at once.
FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, NotImplementedError)
FINAL_NUMBERS = (errno.EINVAL, errno.ENAMETOOLONG)
# By the names of their types, as each store's package has its own, and none is imported here.
FINAL_TYPES = ("NoCredentialsError", "PartialCredentialsError", "ParamValidationError", "InvalidRegionError")


class StorageError(OSError):
    """A request that failed for good.

    Attributes:
        kind: what a record calls it.
        reason: in words, without secrets.
    """

    def __init__(self, kind: ImageErrorKind, reason: str) -> None:
        super().__init__(reason)
        self.kind: ImageErrorKind = kind
        self.reason = reason


def with_retries(request: Callable[[], Made], *, limit_sec: float = 120.0) -> Made:
    """What a request gives, tried again after failures that may pass.

    The pauses double, and each is drawn from between zero and twice its length, so that workers that were throttled
    together don't come back together.

    Args:
        request: sends it.
        limit_sec: no new try begins later than this.
    Raises:
        StorageError: it failed for good.
    """
    began = time.monotonic()
    for number in range(MAX_TRIES):
        try:
            return request()
        except Exception as exc:
            pause_sec = random.uniform(0, 2) * min(FIRST_PAUSE_SEC * 2**number, LONGEST_PAUSE_SEC)
            is_late = time.monotonic() - began + pause_sec > limit_sec
            if not _may_pass(exc) or is_late or number == MAX_TRIES - 1:
                raise _explained(exc, tries=number + 1) from exc
        time.sleep(pause_sec)
    raise AssertionError("the last try returns or raises")


def _may_pass(exc: Exception) -> bool:
    if isinstance(exc, (StorageError, *FINAL)) or type(exc).__name__ in FINAL_TYPES:
        return False
    if isinstance(exc, OSError):
        return exc.errno not in FINAL_NUMBERS
    # Connections that break and answers that are cut have types of their own in each package.
    return not isinstance(exc, (TypeError, ValueError, AttributeError, KeyError, ImportError))


def _explained(exc: Exception, *, tries: int) -> StorageError:
    if isinstance(exc, StorageError):
        return exc
    if isinstance(exc, FileNotFoundError):
        return StorageError("not_found", "no such object")
    if isinstance(exc, PermissionError):
        return StorageError("permission_denied", "the store refuses: no permission, or wrong credentials")
    if type(exc).__name__ in FINAL_TYPES:
        return StorageError("permission_denied", "no credentials were found; --anonymous is for public buckets")
    reason = " ".join(without_secrets(getattr(exc, "strerror", None) or str(exc)).split()) or type(exc).__name__
    return StorageError("download_failed", f"{reason} (tried {tries} times)" if tries > 1 else reason)
