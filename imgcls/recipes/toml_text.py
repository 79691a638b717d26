"""Writing a recipe as TOML: tables of numbers, strings, booleans and arrays (the standard library only reads it)."""

import json
import re
import textwrap
from collections.abc import Mapping
from typing import Any

LINE_WIDTH = 100
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(tables: Mapping[str, Mapping[str, Any]], *, comments: Mapping[str, str] | None = None) -> str:
    """TOML text that `tomllib` reads back to equal values.

    Args:
        tables: values by table and key; a table in a table becomes `[outer.inner]`.
        comments: by dotted key, put behind the value, or above it where the line would be too long.
    Raises:
        ValueError: a value that TOML can't hold (None, a lone surrogate in a string).
    """
    lines: list[str] = []
    for name, table in tables.items():
        _write_table([name], table, comments or {}, lines)
    return "\n".join(lines).lstrip("\n") + "\n"


def _write_table(path: list[str], table: Mapping[str, Any], comments: Mapping[str, str], lines: list[str]) -> None:
    lines += ["", f"[{'.'.join(_key(part) for part in path)}]"]
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    for key, value in table.items():
        if key not in inner:
            comment = comments.get(".".join([*path, key]), "")
            lines += _commented(f"{_key(key)} = {_value(value)}", comment)
    for key, value in inner.items():
        _write_table([*path, key], value, comments, lines)


def _commented(line: str, comment: str) -> list[str]:
    """Behind the value where there is room, else above it."""
    if not comment:
        return [line]
    if len(line) + len(comment) + 4 <= LINE_WIDTH:
        return [f"{line}  # {comment}"]
    return [*textwrap.wrap(comment, LINE_WIDTH, initial_indent="# ", subsequent_indent="# "), line]


def _key(key: str) -> str:
    return key if BARE_KEY.fullmatch(key) else _string(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_key(key)} = {_value(item)}' for key, item in value.items())}}}"
    raise ValueError(f"TOML has no way to write {value!r}")


def _string(text: str) -> str:
    text.encode("utf-8")
    # JSON's escapes are TOML's too; only DEL is forbidden in TOML and plain in JSON.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
