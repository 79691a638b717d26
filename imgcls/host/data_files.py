"""The one way in for TOML and JSON that somebody else may have written: bounded in size and depth, text that is text.

What is wrong comes out as a `MalformedError`; the caller knows which of our errors that is, and of which exit code.
"""

import json
import tomllib
from pathlib import Path
from typing import Any

# A recipe takes a few kilobytes, a run's log of ten thousand epochs a few megabytes.
MAX_BYTES = 64 * 2**20
MAX_TOML_BYTES = 2**20
MAX_DEPTH = 50
# As many as a float32 needs to be read back as it was; more show how a double was computed (0.8085800000000001).
SIGNIFICANT_DIGITS = 9


class MalformedError(ValueError):
    """A text that isn't what it should be; the message says why, in a few words."""


def read_toml_file(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        MalformedError: too large, not UTF-8, not TOML, nested too deeply.
        OSError: it can't be read.
    """
    return parse_toml(read_text_file(path, max_bytes=MAX_TOML_BYTES))


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text; see `read_toml_file`."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise MalformedError(f"is not valid TOML: {exc}") from exc
    except RecursionError:
        raise MalformedError(_too_deep()) from None
    except ValueError as exc:
        # A number of more digits than Python converts.
        raise MalformedError(f"is not valid TOML: {exc}") from exc
    check_depth(tables)
    return tables


def read_json_file(path: Path, *, max_bytes: int = MAX_BYTES) -> Any:
    """The value in a JSON file.

    Raises:
        MalformedError: too large, not UTF-8, not JSON, nested too deeply, strings that aren't text.
        OSError: it can't be read.
    """
    return parse_json(read_text_file(path, max_bytes=max_bytes))


def parse_json(text: str) -> Any:
    """The value of a JSON text; see `read_json_file`."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise MalformedError(_too_deep()) from None
    except ValueError as exc:
        raise MalformedError(f"is not valid JSON: {exc}") from exc
    check_depth(value, any_text=False)
    return value


def read_text_file(path: Path, *, max_bytes: int = MAX_BYTES) -> str:
    """The text of a UTF-8 file.

    Raises:
        MalformedError: too large, or not UTF-8.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise MalformedError(f"is larger than {max_bytes // 2**20} MiB")
    try:
        # As `read_text` does: a line ends the same way on each system.
        return content.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as exc:
        raise MalformedError(f"is not UTF-8 text: {exc.reason} at byte {exc.start}") from exc


def check_depth(value: Any, *, any_text: bool = True) -> None:
    """Refuse values nested deeper than anything of ours.

    Args:
        value: of dicts, lists and plain values.
        any_text: allow strings that UTF-8 can't hold, as a path may be.
    Raises:
        MalformedError: as said; what passes can be printed, copied and compared without exhausting the stack.
    """
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                below += [*each.keys(), *each.values()]
            elif isinstance(each, list):
                below += each
            elif isinstance(each, str) and not any_text and not _is_text(each):
                raise MalformedError(f"holds a string that is not text: {each[:40]!a}")
        if not below:
            return
        level = below
    raise MalformedError(_too_deep())


def _is_text(text: str) -> bool:
    # JSON can spell half of a surrogate pair, which no file can hold as UTF-8.
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def _too_deep() -> str:
    return f"is nested more than {MAX_DEPTH} levels deep"


def json_text(value: Any, *, indent: int | None = None, allow_nan: bool = False) -> str:
    """A value as JSON for people and programs: text as it is, numbers of nine significant digits.

    Args:
        value: dictionaries, lists and plain values.
        indent: spaces per level; None for one line.
        allow_nan: write what isn't finite as NaN or Infinity, which JSON doesn't have.
    Raises:
        ValueError: a number isn't finite.
    """
    return json.dumps(_shortened(value), ensure_ascii=False, allow_nan=allow_nan, indent=indent)


def _shortened(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    if isinstance(value, dict):
        return {key: _shortened(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(each) for each in value]
    return value
