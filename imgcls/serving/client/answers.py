"""A record as the server writes it, back as an object."""

from typing import Any

from imgcls.outputs.record import OPTIONAL_KEYS, FileVersion, ImageRecord, Prediction, RecordError


def record_of(values: dict[str, Any], *, name: str, version: FileVersion | None) -> ImageRecord:
    """Undo `ImageRecord.to_dict`.

    Args:
        values: of a record.
        name: how the input is called here.
        version: of the file that was sent.
    """
    error = values.get("error")
    return ImageRecord(
        input=name,
        model=str(values["model"]),
        predictions=tuple(
            Prediction(int(each["class_id"]), str(each["label"]), float(each["probability"]))
            for each in values.get("predictions", ())
        ),
        width=values.get("width"),
        height=values.get("height"),
        error=RecordError(error["kind"], str(error["message"])) if error else None,
        version=version,
        **{key: values[key] for key in OPTIONAL_KEYS if key in values},
    )
