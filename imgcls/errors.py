"""Every error that a user can cause, and the exit code that each one means.

ImgclsError             message, hint (the next thing to type), exit code
├── UsageError      2   options that contradict each other
├── ConfigError     3   unknown key, value out of range
├── ImageError      4   one input could not be classified; carries its record's `kind`
├── DataError       5   no input at all, or a data set that can't be used
├── ModelError      6   weights missing, damaged, or wrong for the architecture
├── DeviceError     7   asked-for device absent, or the environment is broken
│   └── ProcessLostError  another process of the same run is gone
└── OutputError     8   can't be written, or another process holds it
"""

from enum import IntEnum
from typing import Any, Literal

ImageErrorKind = Literal[
    "not_found", "permission_denied", "not_an_image", "corrupt_image", "too_large", "download_failed"
]


class ExitCode(IntEnum):
    """What the process says to the shell; the README documents each for `case $?`."""

    OK = 0
    DEFECT = 1
    USAGE = 2
    CONFIG = 3
    SOME_FAILED = 4
    DATA = 5
    MODEL = 6
    DEVICE = 7
    OUTPUT = 8
    FOUND = 9
    INTERRUPTED = 130
    CLOSED_PIPE = 141
    TERMINATED = 143


class ImgclsError(Exception):
    """A mistake that the user can mend.

    Args:
        message: what happened, with the offending value; one line.
        hint: what to do next, best of all a command to type; may be empty.
    """

    exit_code: ExitCode = ExitCode.DEFECT

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        # As the others are rebuilt, from `args`, a child with arguments of its own could not leave a worker process.
        return _rebuilt, (type(self), self.args, self.__dict__)


class UsageError(ImgclsError):
    """Options that contradict each other, or an argument that means nothing."""

    exit_code = ExitCode.USAGE


class ConfigError(ImgclsError):
    """A recipe with an unknown key or a value out of range."""

    exit_code = ExitCode.CONFIG


class ImageError(ImgclsError):
    """One input that can't be classified; never stops the others.

    Args:
        kind: the word that scripts match on, one of `ImageErrorKind`.
        message: the reason in words.
    """

    exit_code = ExitCode.SOME_FAILED

    def __init__(self, kind: ImageErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind: ImageErrorKind = kind


class DataError(ImgclsError):
    """No input at all, or a data set that can't be used or doesn't fit the model."""

    exit_code = ExitCode.DATA


class ModelError(ImgclsError):
    """Weights that are missing, damaged, wrong for the architecture, or can't be downloaded."""

    exit_code = ExitCode.MODEL


class DeviceError(ImgclsError):
    """The device asked for is absent, or the environment is broken."""

    exit_code = ExitCode.DEVICE


class ProcessLostError(DeviceError):
    """Another process of the same run is gone, and this one can't go on without it."""


class OutputError(ImgclsError):
    """An output that can't be written, or that another process holds."""

    exit_code = ExitCode.OUTPUT


def _rebuilt(kind: type[ImgclsError], args: tuple[Any, ...], values: dict[str, Any]) -> ImgclsError:
    # Not `kind.__new__`, which is MemoryError's where a kind is that too.
    error = Exception.__new__(kind, *args)
    error.__dict__.update(values)
    return error
