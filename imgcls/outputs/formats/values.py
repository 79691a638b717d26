"""Records as plain values, which every reader gives back whatever its format: what `ImageRecord.to_dict` writes."""

from typing import Any

from imgcls.outputs.record import OPTIONAL_KEYS, FileVersion, ImageRecord, Prediction


def journal_values(record: ImageRecord, settings: str) -> dict[str, Any]:
    """What a later run needs to know beside the answer: the version of the file, and what shaped the answer."""
    size_bytes, modified_ns = record.version or (None, None)
    return {"size_bytes": size_bytes, "modified_ns": modified_ns, "settings": settings}


def checked(values: Any) -> dict[str, Any] | None:
    """Values that a resumed run can rely on, or None where they aren't those of a record.

    Args:
        values: as a parser gave them, from a file that anybody may have changed.
    """
    if not isinstance(values, dict) or not isinstance(values.get("input"), str):
        return None
    if any(type(values.get(side)) not in (int, type(None)) for side in ("width", "height")):
        return None
    if values.get("status") == "error":
        return values
    predictions = values.get("predictions")
    if values.get("status") != "ok" or not isinstance(predictions, list) or not predictions:
        return None
    return values if all(map(_is_prediction, predictions)) else None


def version_of(values: dict[str, Any]) -> FileVersion | None:
    """Which version of the file was classified."""
    size_bytes, modified_ns = values.get("size_bytes"), values.get("modified_ns")
    if isinstance(size_bytes, int) and isinstance(modified_ns, int):
        return FileVersion(size_bytes, modified_ns)
    return None


def record_of(values: dict[str, Any]) -> ImageRecord:
    """The record of an input that was classified.

    Args:
        values: as `checked` gave them, with the status `ok`.
    """
    optional: dict[str, Any] = {}
    for name, kind in OPTIONAL_KEYS.items():
        value = values.get(name)
        if kind is tuple and isinstance(value, list) and all(isinstance(each, str) for each in value):
            optional[name] = tuple(value)
        elif type(value) is kind:
            optional[name] = value
    return ImageRecord(
        values["input"],
        str(values.get("model", "")),
        tuple(Prediction(p.get("class_id", -1), p["label"], p["probability"]) for p in values["predictions"]),
        values.get("width"),
        values.get("height"),
        version=version_of(values),
        **optional,
    )


def _is_prediction(values: Any) -> bool:
    return (
        isinstance(values, dict)
        and isinstance(values.get("label"), str)
        and isinstance(values.get("class_id", -1), int)
        and isinstance(values.get("probability"), (int, float))
        and 0 <= values["probability"] <= 1
    )
