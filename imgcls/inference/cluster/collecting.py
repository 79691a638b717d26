"""The parts of a finished run as one output, in the order of the inputs."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from imgcls.errors import DataError
from imgcls.host.files import replacing
from imgcls.inference.cluster.parts import MANIFEST, PartFolder, digest_of, read_part
from imgcls.outputs.compression import compressing
from imgcls.outputs.destination import Destination
from imgcls.outputs.formats.format import Layout
from imgcls.outputs.formats.values import record_of, version_of
from imgcls.outputs.record import ImageRecord, RecordError, failed_record
from imgcls.outputs.summary import Summary
from imgcls.outputs.writer import PlainWriter

HINT = "imgcls predict ... --ray ... --resume finishes a run"


def read_parts_manifest(folder: PartFolder) -> dict[str, Any]:
    """The manifest of a folder of parts.

    Raises:
        DataError: there is none, so that the run is unfinished, or it is damaged.
        OutputError: the folder can't be read.
    """
    content = folder.read(MANIFEST)
    if content is None:
        raise DataError(f"{folder.shown} holds no finished run: {MANIFEST} is missing", hint=HINT)
    try:
        manifest = json.loads(content)
        if [str(part["name"]) + str(part["sha256"]) for part in manifest["parts"]] and manifest["model"]["id"]:
            int(manifest["options"]["top_k"])
        return dict(manifest)
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise DataError(f"{folder.shown}/{MANIFEST} is damaged: {exc!r}", hint=HINT) from exc


def read_records(folder: PartFolder, manifest: dict[str, Any]) -> Iterator[ImageRecord]:
    """The records in the order of the inputs, one part in memory at a time.

    Raises:
        DataError: a part is missing, or isn't the one that the manifest names.
        OutputError: the folder can't be read.
    """
    for part in manifest["parts"]:
        name = part["name"]
        content = folder.read(name)
        if content is None or digest_of(content) != part["sha256"]:
            what = "is missing" if content is None else "has changed since the run"
            raise DataError(f"{folder.shown}/{name} {what}", hint=HINT)
        for values in read_part(content, name):
            yield _record(values)


def _record(values: dict[str, Any]) -> ImageRecord:
    if values["status"] == "ok":
        return record_of(values)
    error = values.get("error") or {}
    reason = RecordError(error.get("kind", "corrupt_image"), str(error.get("message", "")))
    return failed_record(values["input"], str(values.get("model", "")), reason, version_of(values))


def collect(folder: PartFolder, destination: Destination) -> Summary:
    """Write the records of a finished run into one output.

    Args:
        folder: of the parts.
        destination: `check`ed.
    Returns:
        Counts over the records.
    Raises:
        DataError: the run is unfinished, or a part has changed.
        OutputError: the output can't be written.
    """
    manifest = read_parts_manifest(folder)
    options = manifest["options"]
    layout = Layout(
        manifest["model"],
        int(options["top_k"]),
        settings=str(manifest.get("settings", "")),
        # So that a later run without a cluster can continue the file.
        is_resumable=destination.is_resumable,
        colour=destination.colour and destination.path is None,
        csv_safe=destination.csv_safe,
        facts={name: manifest.get(name) for name in ("model", "settings", "options", "versions")},
    )
    summary = Summary()
    with contextlib.ExitStack() as stack:
        if destination.target is None or not destination.is_file:
            assert destination.stream is not None
            file = destination.stream
        else:
            file = stack.enter_context(stack.enter_context(replacing(destination.target)).open("wb"))
        target = compressing(file, destination.compression)
        if target is not file:
            stack.enter_context(contextlib.closing(target))
        stream = None if destination.is_file else "stdout"
        writer = stack.enter_context(PlainWriter(target, destination.output_format.encoder(layout), stream))
        for record in read_records(folder, manifest):
            summary.add(record)
            writer.add(record)
        writer.finish(summary)
    return summary
