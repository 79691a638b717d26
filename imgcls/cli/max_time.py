"""`--max-time`, and lengths of time as people write them: 90, 90s, 30m, 1h30m, 2d."""

import math
import re
from typing import Any

import typer

from imgcls.errors import UsageError

SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
PATTERN = re.compile(r"(?:(?P<d>[\d.]+)d)?(?:(?P<h>[\d.]+)h)?(?:(?P<m>[\d.]+)m)?(?:(?P<s>[\d.]+)s?)?", re.IGNORECASE)


def parse_duration(text: str, *, option: str) -> float:
    """Seconds.

    Args:
        text: days, hours, minutes and seconds in that order, each with its letter; a bare number is seconds.
        option: its name, for the message.
    Raises:
        UsageError: it is no length of time, or not more than 0.
    """
    found = PATTERN.fullmatch(text.replace(" ", ""))
    try:
        seconds = (
            sum(float(value) * SECONDS[unit] for unit, value in found.groupdict().items() if value) if found else 0
        )
    except ValueError:
        seconds = 0
    if not seconds or not math.isfinite(seconds):
        raise UsageError(
            f"{option} takes a length of time above 0, not {text!r}", hint=f"for example: {option} 30m, 1h30m or 90s"
        )
    return seconds


def max_time_option(panel: str) -> Any:
    """The option, in a panel of a command's help."""
    return typer.Option(
        "--max-time",
        help="Save and end with code 0 after this time; --resume continues with the full time.",
        metavar="30m|1h30m|90s",
        rich_help_panel=panel,
    )
