"""Writing a recipe as TOML (the standard library only reads it)."""

import textwrap
from collections.abc import Mapping
from typing import Any

LINE_WIDTH = 100


def to_toml(tables: Mapping[str, Mapping[str, Any]], *, comments: Mapping[str, str] | None = None) -> str:
    """TOML text that `tomllib` reads back to equal values.

    Args:
        tables: values by table and key; a table in a table becomes `[outer.inner]`.
        comments: by dotted key, put behind the value, or above it where the line would be too long.
    Raises:
        ValueError: a value that TOML can't hold (None, a lone surrogate in a string).
    """
    import tomlkit

    document = tomlkit.document()
    for name, table in tables.items():
        document[name] = _table((name,), table, comments or {})
    text = tomlkit.dumps(document)
    text.encode("utf-8")
    return text


def _table(path: tuple[str, ...], values: Mapping[str, Any], comments: Mapping[str, str]) -> Any:
    import tomlkit

    table = tomlkit.table()
    inner = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    for key, value in values.items():
        if key in inner:
            continue
        item = tomlkit.item(value)
        if comment := comments.get(".".join((*path, key)), ""):
            if len(f"{key} = {item.as_string()}") + len(comment) + 4 <= LINE_WIDTH:
                item.comment(comment).trivia.comment_ws = "  "
            else:
                for line in textwrap.wrap(comment, LINE_WIDTH - 2):
                    table.add(tomlkit.comment(line))
        table.add(key, item)
    for key, value in inner.items():
        table.add(key, _table((*path, key), value, comments))
    return table
