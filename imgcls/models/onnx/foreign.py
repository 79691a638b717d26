"""What other tools write into an ONNX file's metadata: ultralytics' class names and size of image."""

import ast
from collections.abc import Mapping

from imgcls.models.onnx.input_options import InputOptions

# Longer ones would take long to read; a thousand names take 20,000 characters.
MAX_CHARACTERS = 1 << 22


def stored_labels(metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    """Class names as ultralytics writes them, `{0: 'tench', 1: 'goldfish'}`; None where there are none."""
    names = _literal(metadata.get("names", ""))
    if not isinstance(names, dict) or set(names) != set(range(len(names))) or not names:
        return None
    labels = tuple(str(names[index]) for index in range(len(names)))
    is_text = all(label and label == label.encode("utf-8", "replace").decode() for label in labels)
    return labels if is_text else None


def described_input(metadata: Mapping[str, str]) -> InputOptions | None:
    """The preprocessing of a classifier that ultralytics exported; None for other files."""
    if metadata.get("task") != "classify" or "names" not in metadata:
        return None
    size = _literal(metadata.get("imgsz", ""))
    is_size = isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)
    return InputOptions(preset="ultralytics", size=f"{size[0]}x{size[1]}" if is_size else None)  # type: ignore[index]


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text) if len(text) <= MAX_CHARACTERS else None
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None
