"""Taking hold of a run's output: lock, note, what earlier runs left, and a sink for what comes."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from imgcls.core.files import output_error
from imgcls.core.versions import versions
from imgcls.data.sources import Source
from imgcls.prediction.destination import Destination
from imgcls.prediction.output_lock import exclusive
from imgcls.prediction.output_log import OutputLog
from imgcls.prediction.parquet import ParquetWriter
from imgcls.prediction.provenance import RunNote, last_finished, read_note, settings_digest
from imgcls.prediction.records import KeptRecord, Summary
from imgcls.prediction.resume import EarlierRecords, skip_done
from imgcls.prediction.runner import Runner
from imgcls.prediction.sinks import FileSink, LogSink, Sink, StreamSink, TextFileWriter
from imgcls.prediction.stream import StreamSettings
from imgcls.prediction.writers import RecordWriter, build_writer


@dataclass(frozen=True, slots=True)
class OpenOutput:
    """An output that this run holds until its stack is left.

    Attributes:
        sink: takes the records.
        pending: the inputs, with earlier records in the place of those that need no second look.
        earlier: what earlier runs did, where this one continues them.
    """

    sink: Sink
    pending: Iterator[Source | KeptRecord]
    earlier: EarlierRecords | None = None


def open_output(
    stack: contextlib.ExitStack,
    runner: Runner,
    inputs: Iterable[Source],
    destination: Destination,
    settings: StreamSettings,
    *,
    device: str,
    summary: Summary,
) -> OpenOutput:
    """Take hold of the output, and find out what of it can be kept.

    Args:
        stack: lets go of it; what ends the stack, an error or not, shows in the note and in the output.
        runner: the model.
        inputs: lazily.
        destination: where records go.
        settings: of the stream.
        device: named in the note.
        summary: of the run, for the note; counts while the run goes on.
    Raises:
        OutputError: the output can't be written, or another run holds it.
    """
    path = destination.target
    if path is None or not destination.is_file:
        return OpenOutput(_open_stream(stack, runner, destination, settings), iter(inputs))
    stack.enter_context(exclusive(path))
    options = {
        "top_k": settings.top_k,
        "threshold": settings.threshold,
        "fast_decode": settings.fast_decode,
        "max_pixels": settings.max_pixels,
    }
    digest = settings_digest(
        runner.describe(), top_k=settings.top_k, threshold=settings.threshold, fast_decode=settings.fast_decode
    )
    note = RunNote(
        output=path,
        model=runner.describe(),
        settings=digest,
        options=options,
        device=device,
        last=last_finished(read_note(path)),
    )
    stack.enter_context(note.kept(summary))
    if destination.is_log:
        return _open_log(stack, path, inputs, destination, settings, digest)
    if destination.format == "parquet":
        about = {"model": runner.describe(), "settings": digest, "options": options, "versions": versions()}
        return OpenOutput(_open_parquet(stack, path, about), iter(inputs))
    sink = FileSink(path, lambda part: TextFileWriter(part, lambda file: _writer(file, runner, destination, settings)))
    return OpenOutput(stack.enter_context(sink), iter(inputs))


def _open_log(
    stack: contextlib.ExitStack,
    path: Path,
    inputs: Iterable[Source],
    destination: Destination,
    settings: StreamSettings,
    digest: str,
) -> OpenOutput:
    format_: Literal["jsonl", "csv"] = "csv" if destination.format == "csv" else "jsonl"
    earlier = None
    if destination.resume:
        earlier = stack.enter_context(contextlib.closing(EarlierRecords(path, format_, settings=digest)))
    log = OutputLog(
        path,
        format_,
        top_k=settings.top_k,
        threshold=settings.threshold is not None,
        settings=digest,
        resume=destination.resume,
    )
    stack.callback(log.abandon)
    return OpenOutput(LogSink(log), skip_done(inputs, earlier) if earlier else iter(inputs), earlier)


def _open_parquet(stack: contextlib.ExitStack, path: Path, about: dict[str, Any]) -> Sink:
    return stack.enter_context(FileSink(path, lambda part: ParquetWriter(part, metadata=about)))


def _open_stream(
    stack: contextlib.ExitStack, runner: Runner, destination: Destination, settings: StreamSettings
) -> Sink:
    if destination.path is None:
        if destination.stream is None:
            raise ValueError("a destination without a path needs a stream")
        writer = _writer(destination.stream, runner, destination, settings)
        return stack.enter_context(StreamSink(destination.stream, writer, "stdout"))
    try:
        file: TextIO = destination.path.open("w", encoding="utf-8", newline="\n")
    except OSError as exc:
        raise output_error(destination.path, exc) from exc
    # What could not be written when it was flushed can't be written when it is closed either, and has been said.
    stack.enter_context(_closing_quietly(file))
    return stack.enter_context(StreamSink(file, _writer(file, runner, destination, settings), str(destination.path)))


@contextlib.contextmanager
def _closing_quietly(file: TextIO) -> Iterator[None]:
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            file.close()


def _writer(file: TextIO, runner: Runner, destination: Destination, settings: StreamSettings) -> RecordWriter:
    return build_writer(
        destination.format,
        file,
        model=runner.describe(),
        top_k=settings.top_k,
        threshold=settings.threshold is not None,
        colour=destination.colour,
    )
