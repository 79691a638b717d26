"""Ctrl-C and SIGTERM, noted instead of raised, for commands that finish what they have in hand."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from imgcls.errors import ExitCode

CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}
# A run's reason to stop is the signal's name.
CODES_BY_NAME = {number.name: code for number, code in CODES.items()}
NAMES = {code: name for name, code in CODES_BY_NAME.items()}


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


class SavesOnSignal(contextlib.ExitStack):
    """The first signal as the reason why a run saves and ends, said once.

    Until `listen` there is nothing to save, and Ctrl-C simply ends the command.

    Args:
        say: tells the person.
        twice_acts: see `noted_interruptions`.
    """

    def __init__(self, say: Callable[[str], None], *, twice_acts: bool = True) -> None:
        super().__init__()
        self._say, self._twice_acts = say, twice_acts
        self._interruption = Interruption()
        self._has_said = False

    def listen(self) -> None:
        """Note signals from now on."""
        self._interruption = self.enter_context(noted_interruptions(twice_acts=self._twice_acts))

    @property
    def exit_code(self) -> ExitCode | None:
        """Of the signal that has come, if any."""
        return self._interruption.exit_code

    def reason(self) -> str | None:
        """Its name."""
        if self.exit_code is None:
            return None
        name = NAMES[self.exit_code]
        if not self._has_said:
            self._has_said = True
            self._say(f"{name}: saving" + (" (once more to stop at once)" if self._twice_acts else ""))
        return name
