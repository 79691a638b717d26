"""A whole run: inputs through the model into an output that can be cut, continued and traced."""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TextIO

from imgcls.core.versions import versions
from imgcls.data.sources import Source
from imgcls.errors import DataError, OutputError, UsageError
from imgcls.prediction.output_log import OutputLog, exclusive, part_path
from imgcls.prediction.parquet import ParquetWriter, require_pyarrow
from imgcls.prediction.provenance import RunNote, describe_holder, last_finished, read_note, settings_digest
from imgcls.prediction.records import ImageRecord, KeptRecord, Summary
from imgcls.prediction.resume import EarlierRecords, skip_done
from imgcls.prediction.runner import Runner
from imgcls.prediction.sinks import FileSink, LogSink, Sink, StreamSink, TextFileWriter
from imgcls.prediction.stream import StreamSettings, classify_stream
from imgcls.prediction.writers import RecordWriter, build_writer

OutputFormat = Literal["table", "json", "jsonl", "csv", "parquet"]
LOG_FORMATS = ("jsonl", "csv")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where records go.

    Attributes:
        format: how they are written.
        path: an output file; None for stdout. A device or a pipe is written to as stdout is.
        resume: keep what an output already has of unchanged files.
        overwrite: replace an existing output.
        colour: whether a table on stdout has colours.
        report: a page of HTML beside the output; None for none.
    """

    format: OutputFormat = "table"
    path: Path | None = None
    resume: bool = False
    overwrite: bool = False
    colour: bool = False
    report: Path | None = None

    @property
    def is_file(self) -> bool:
        """Whether the output is a file of our own, rather than stdout, a pipe or a device."""
        return self.path is not None and (self.path.is_file() or self.path.is_dir() or not self.path.exists())

    @property
    def is_log(self) -> bool:
        """Whether a later run can continue the output."""
        return self.is_file and self.format in LOG_FORMATS

    def check(self) -> None:
        """Refuse what can't be meant, before any work.

        Raises:
            UsageError: options that contradict each other.
            OutputError: an output is there, and nobody said what to do with it.
        """
        if self.resume and self.overwrite:
            raise UsageError("--resume and --overwrite exclude each other", hint="use one of them")
        if self.resume and not self.is_log:
            raise UsageError("--resume needs an output file in jsonl or csv", hint="add -f jsonl -o results.jsonl")
        if self.format == "parquet":
            if not self.is_file:
                raise UsageError("parquet goes to a file only, not to stdout or a pipe", hint="add -o results.parquet")
            require_pyarrow()
        ways = "--resume continues it, --overwrite replaces it" if self.is_log else "--overwrite replaces it"
        if self.report:
            if self.path and self.report.resolve() == self.path.resolve():
                raise UsageError(f"{self.report} can't be both --output and --html", hint="name two files")
            self._check_free(self.report, "--html", ways)
        if self.is_file and self.path:
            self._check_free(self.path, "--output", ways)
            self._check_free(part_path(self.path), "--output", ways)

    def _check_free(self, there: Path, option: str, ways: str) -> None:
        if there.is_dir():
            raise OutputError(f"{there} is a folder", hint=f"name a file with {option}")
        if there.exists() and not self.resume and not self.overwrite:
            raise OutputError(f"{there} exists already", hint=ways)


@dataclass(frozen=True, slots=True)
class ErrorLimits:
    """How many failed inputs end a run early.

    Attributes:
        max_errors: that many may fail, one more ends it; None for any number.
    """

    max_errors: int | None = None

    def exceeded_by(self, summary: Summary) -> bool:
        """Whether too many have failed."""
        return self.max_errors is not None and summary.num_failed > self.max_errors


@dataclass(frozen=True, slots=True)
class BatchResult:
    """How a run ended.

    Attributes:
        summary: counts over its records.
        ended: `finished`; `interrupted` by a signal; or `failed` when too many inputs did.
    """

    summary: Summary
    ended: Literal["finished", "interrupted", "failed"]


def run_batch(
    runner: Runner,
    inputs: Iterable[Source],
    destination: Destination,
    settings: StreamSettings,
    *,
    device: str = "cpu",
    limits: ErrorLimits = ErrorLimits(),
    extra_sinks: Iterable[Sink] = (),
    on_record: Callable[[ImageRecord | KeptRecord, Summary], None] = lambda _record, _summary: None,
) -> BatchResult:
    """Classify inputs into an output.

    Args:
        runner: the model.
        inputs: lazily, in the order that the records will have.
        destination: where records go; `check` it before the model is loaded.
        settings: of the stream; `should_stop` ends the run early with all that is done kept.
        device: named in the note beside the output.
        limits: on failed inputs.
        extra_sinks: further destinations, such as a report.
        on_record: called after each record is written.
    Raises:
        DataError: there was no input at all.
        OutputError: an output can't be written, or another run holds it.
    """
    settings = replace(settings, top_k=min(settings.top_k, len(runner.classes)))
    with contextlib.ExitStack() as stack:
        note, sink, pending = _open(stack, runner, inputs, destination, settings, device)
        sinks = [sink, *extra_sinks]
        summary = Summary()
        ended: Literal["finished", "interrupted", "failed"] = "finished"
        try:
            for record in classify_stream(pending, runner, settings):
                summary.add(record)
                for each in sinks:
                    each.add(record)
                on_record(record, summary)
                if limits.exceeded_by(summary):
                    ended = "failed"
                    break
            if settings.should_stop():
                ended = "interrupted"
        except BaseException:
            with contextlib.suppress(OutputError):
                if note:
                    note.write("failed", summary)
            raise
        for each in sinks:
            (each.finish if ended == "finished" else each.abandon)(summary)
        if note:
            note.write(ended, summary)
    if summary.count == 0 and ended == "finished":
        raise DataError("no pictures among the inputs", hint="name a file, or a folder that holds pictures")
    return BatchResult(summary, ended)


def _open(
    stack: contextlib.ExitStack,
    runner: Runner,
    inputs: Iterable[Source],
    destination: Destination,
    settings: StreamSettings,
    device: str,
) -> tuple[RunNote | None, Sink, Iterator[Source | KeptRecord]]:
    """Take hold of the output, and find out what of it can be kept."""
    path = destination.path
    if path is None or not destination.is_file:
        return None, _stream_sink(stack, runner, destination, settings), iter(inputs)
    stack.enter_context(exclusive(path, holder=describe_holder(path)))
    digest = settings_digest(
        runner.describe(), top_k=settings.top_k, threshold=settings.threshold, fast_decode=settings.fast_decode
    )
    options = {
        "top_k": settings.top_k,
        "threshold": settings.threshold,
        "fast_decode": settings.fast_decode,
        "max_pixels": settings.max_pixels,
    }
    if destination.format == "parquet":
        about = {"model": runner.describe(), "settings": digest, "options": options, "versions": versions()}
        return None, FileSink(path, lambda part: ParquetWriter(part, metadata=about)), iter(inputs)
    if not destination.is_log:
        sink = FileSink(
            path, lambda part: TextFileWriter(part, lambda file: _writer(file, runner, destination, settings))
        )
        return None, sink, iter(inputs)
    format_: Literal["jsonl", "csv"] = "csv" if destination.format == "csv" else "jsonl"
    pending: Iterator[Source | KeptRecord] = iter(inputs)
    if destination.resume:
        earlier = stack.enter_context(contextlib.closing(EarlierRecords(path, format_, settings=digest)))
        pending = skip_done(inputs, earlier)
    note = RunNote(
        output=path,
        model=runner.describe(),
        settings=digest,
        options=options,
        device=device,
        last=last_finished(read_note(path)),
    )
    log = OutputLog(
        path,
        format_,
        top_k=settings.top_k,
        threshold=settings.threshold is not None,
        settings=digest,
        resume=destination.resume,
    )
    stack.callback(log.abandon)
    note.write("running")
    return note, LogSink(log), pending


def _stream_sink(
    stack: contextlib.ExitStack, runner: Runner, destination: Destination, settings: StreamSettings
) -> Sink:
    if destination.path is not None:
        file: TextIO = stack.enter_context(destination.path.open("w", encoding="utf-8", newline="\n"))
    else:
        file = sys.stdout
    return StreamSink(file, _writer(file, runner, destination, settings))


def _writer(file: TextIO, runner: Runner, destination: Destination, settings: StreamSettings) -> RecordWriter:
    return build_writer(
        destination.format,
        file,
        model=runner.describe(),
        top_k=settings.top_k,
        threshold=settings.threshold is not None,
        colour=destination.colour,
    )
