"""Ctrl-C and SIGTERM, noted instead of raised, for commands that finish what they have in hand."""

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from imgcls.errors import ExitCode

CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}


# One of several processes is gone: torchrun ends the others, which have nothing to do any more but to say why.
leaving = False


@dataclass
class Interruption:
    """Which signal has come, if any.

    Attributes:
        exit_code: the code to leave with, or None while nothing has come.
    """

    exit_code: ExitCode | None = None

    def has_come(self) -> bool:
        """Whether the command should come to its end."""
        return self.exit_code is not None


@contextlib.contextmanager
def noted_interruptions(*, twice_acts: bool = True) -> Iterator[Interruption]:
    """Note the first Ctrl-C or SIGTERM.

    Args:
        twice_acts: a second one acts as if nobody had listened; else it changes nothing.
    """
    interruption = Interruption()
    before: dict[signal.Signals, Any] = {}

    def note(signum: int, _frame: FrameType | None) -> None:
        interruption.exit_code = CODES[signal.Signals(signum)]
        if twice_acts:
            for number, handler in before.items():
                signal.signal(number, handler)

    for number in CODES:
        # Only the main thread may listen to signals; elsewhere they stay whoever's they are.
        with contextlib.suppress(ValueError):
            before[number] = signal.signal(number, note)
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
