"""Taking hold of a run's output: lock, note, what earlier runs left, and a sink for what comes."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

from imgcls.host.files import output_error, remove_stale_parts
from imgcls.images.sources import Source
from imgcls.outputs.destination import Destination
from imgcls.outputs.formats.parquet import ParquetWriter
from imgcls.outputs.formats.text import RecordWriter, build_writer
from imgcls.outputs.journal import Journal
from imgcls.outputs.lock import exclusive
from imgcls.outputs.manifest import Manifest, last_finished, read_note
from imgcls.outputs.origin import Origin
from imgcls.outputs.record import KeptRecord, Summary
from imgcls.outputs.report.page import build_report
from imgcls.outputs.resume import EarlierRecords, skip_done
from imgcls.outputs.sinks import FileSink, LogSink, Sink, StreamSink, TextFileWriter


@dataclass(frozen=True, slots=True)
class OpenOutput:
    """An output that this run holds until its stack is left.

    Attributes:
        sinks: take the records, one after the other: the output, and a report where one is asked for.
        pending: the inputs, with earlier records in the place of those that need no second look.
        earlier: what earlier runs did, where this one continues them.
    """

    sinks: tuple[Sink, ...]
    pending: Iterator[Source | KeptRecord]
    earlier: EarlierRecords | None = None


def open_output(
    stack: contextlib.ExitStack, inputs: Iterable[Source], destination: Destination, origin: Origin, summary: Summary
) -> OpenOutput:
    """Take hold of the output, and find out what of it can be kept.

    Args:
        stack: lets go of it; what ends the stack, an error or not, shows in the note and in the output.
        inputs: lazily.
        destination: where records go.
        origin: of the answers.
        summary: of the run, for the note; counts while the run goes on.
    Raises:
        OutputError: the output can't be written, or another run holds it.
    """
    earlier: EarlierRecords | None = None
    path = destination.target
    sinks: list[Sink] = []
    if path is None or not destination.is_file:
        sinks.append(_open_stream(stack, destination, origin))
    else:
        stack.enter_context(exclusive(path))
        remove_stale_parts(path)
        note = Manifest(output=path, origin=origin, last=last_finished(read_note(path)))
        stack.enter_context(note.kept(summary))
        if destination.is_log:
            earlier, log = _open_log(stack, path, destination, origin)
            sinks.append(log)
        else:
            sinks.append(stack.enter_context(_open_whole(path, destination, origin)))
    if destination.report is not None:
        sinks.append(stack.enter_context(build_report(destination.report, origin, destination)))
    return OpenOutput(tuple(sinks), skip_done(inputs, earlier) if earlier else iter(inputs), earlier)


def _open_log(
    stack: contextlib.ExitStack, path: Path, destination: Destination, origin: Origin
) -> tuple[EarlierRecords | None, LogSink]:
    format_: Literal["jsonl", "csv"] = "csv" if destination.format == "csv" else "jsonl"
    earlier = None
    if destination.resume:
        earlier = stack.enter_context(contextlib.closing(EarlierRecords(path, format_, settings=origin.digest)))
    log = Journal(
        path,
        format_,
        top_k=origin.top_k,
        threshold=origin.threshold is not None,
        settings=origin.digest,
        resume=destination.resume,
    )
    stack.callback(log.abandon)
    return earlier, LogSink(log)


def _open_whole(path: Path, destination: Destination, origin: Origin) -> FileSink:
    if destination.format == "parquet":
        about = {
            "model": origin.model,
            "settings": origin.digest,
            "options": origin.options,
            "versions": origin.versions,
        }
        return FileSink(path, lambda part: ParquetWriter(part, metadata=about))
    return FileSink(path, lambda part: TextFileWriter(part, lambda file: _writer(file, destination, origin)))


def _open_stream(stack: contextlib.ExitStack, destination: Destination, origin: Origin) -> Sink:
    if destination.path is None:
        if destination.stream is None:
            raise ValueError("a destination without a path needs a stream")
        writer = _writer(destination.stream, destination, origin)
        return stack.enter_context(StreamSink(destination.stream, writer, "stdout"))
    try:
        # Appending: where stdout is a log, `-o /dev/stdout` must not empty it.
        file: TextIO = destination.path.open("a", encoding="utf-8", newline="\n")
    except OSError as exc:
        raise output_error(destination.path, exc) from exc
    # What could not be written when it was flushed can't be written when it is closed either, and has been said.
    stack.enter_context(_closing_quietly(file))
    return stack.enter_context(StreamSink(file, _writer(file, destination, origin), str(destination.path)))


@contextlib.contextmanager
def _closing_quietly(file: TextIO) -> Iterator[None]:
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            file.close()


def _writer(file: TextIO, destination: Destination, origin: Origin) -> RecordWriter:
    return build_writer(
        destination.format,
        file,
        model=origin.model,
        top_k=origin.top_k,
        threshold=origin.threshold is not None,
        colour=destination.colour,
    )
