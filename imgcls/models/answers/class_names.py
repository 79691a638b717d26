"""Files of class names, as people keep them beside their weights."""

import csv
import json
from pathlib import Path
from typing import Any

from imgcls.errors import ModelError

HINT = "one class name per line, a JSON list, a JSON object of ids and names, or CSV, in the order of the outputs"
# The thousand longest names take no tenth of it.
MAX_BYTES = 2**24


def read_class_names(path: Path) -> tuple[str, ...]:
    """Class names in the order of the outputs.

    Args:
        path: lines of text; `.json` with a list, or an object of id to name or name to id; `.csv` with names, or with
            ids and names in either order, with or without a header.
    Raises:
        ModelError: it can't be read, ids are missing, a name is empty or stands twice.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _unusable(path, "it is too large")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8"
        raise ModelError(f"can't read the labels {path}: {reason}", hint=HINT) from exc
    suffix = path.suffix.lower()
    if suffix == ".json":
        names = _from_json(text, path)
    elif suffix in (".csv", ".tsv"):
        names = _from_csv(text, path, "\t" if suffix == ".tsv" else ",")
    else:
        names = [line.strip() for line in text.rstrip().splitlines()]
    if not names:
        raise _unusable(path, "it is empty")
    if not all(names):
        raise _unusable(path, f"line {names.index('') + 1} is empty" if suffix != ".json" else "a name is empty")
    return tuple(names)


def _from_json(text: str, path: Path) -> list[str]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise _unusable(path, f"it is no JSON: {exc}") from exc
    if isinstance(content, list) and all(isinstance(name, str) for name in content):
        return [name.strip() for name in content]
    if isinstance(content, dict) and content:
        return _by_id(list(content.items()), path)
    raise _unusable(path, "it is neither a list of names nor an object of ids and names")


def _from_csv(text: str, path: Path, delimiter: str) -> list[str]:
    try:
        rows = [row for row in csv.reader(text.splitlines(), delimiter=delimiter) if row]
    except csv.Error as exc:
        raise _unusable(path, str(exc)) from exc
    if all(len(row) == 1 for row in rows):
        return [row[0].strip() for row in rows]
    pairs = [(row[0], row[1]) for row in rows if len(row) > 1]
    if pairs and not any(_is_id(cell) for cell in pairs[0]):
        # A header.
        pairs = pairs[1:]
    return _by_id(pairs, path)


def _by_id(pairs: list[tuple[Any, Any]], path: Path) -> list[str]:
    """Names in the order of their ids, whichever of each pair is the id."""
    if all(_is_id(value) for _key, value in pairs) and not all(_is_id(key) for key, _value in pairs):
        pairs = [(value, key) for key, value in pairs]
    # ImageNet's index, {"0": ["n01440764", "tench"]}, gives two names; the last is for people.
    pairs = [(key, value[-1] if isinstance(value, list) and value else value) for key, value in pairs]
    if not all(_is_id(key) and isinstance(value, str) for key, value in pairs):
        raise _unusable(path, "it has no id beside every name")
    by_id = {int(str(key).strip()): value.strip() for key, value in pairs}
    if len(by_id) < len(pairs) or sorted(by_id) != list(range(len(by_id))):
        raise _unusable(path, f"its ids are not 0 to {len(pairs) - 1}, each once")
    return [by_id[index] for index in range(len(by_id))]


def _is_id(value: object) -> bool:
    text = str(value).strip()
    return not isinstance(value, bool) and text.isascii() and text.isdecimal() and len(text) < 10


def _unusable(path: Path, reason: str) -> ModelError:
    return ModelError(f"can't use the labels {path}: {reason}", hint=HINT)
