"""Taking hold of a run's output: lock, manifest, what earlier runs left, and a writer for what comes."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from imgcls.images.inputs.source import Source
from imgcls.outputs.compression import compressing
from imgcls.outputs.destination import Destination
from imgcls.outputs.formats.format import Layout
from imgcls.outputs.origin import Origin
from imgcls.outputs.record import KeptRecord
from imgcls.outputs.summary import Summary
from imgcls.outputs.writer import OutputWriter, PlainWriter, writing

if TYPE_CHECKING:
    from imgcls.outputs.resume import EarlierRecords

# What files and reports need is imported where they are opened: one image's answer on stdout does without.


class OpenOutput(NamedTuple):
    """An output that this run holds until its stack is left.

    Attributes:
        writers: take the records, one after the other: the output, and a report where one is asked for.
        pending: the inputs, with earlier records in the place of those that need no second look.
        earlier: what earlier runs did, where this one continues them.
    """

    writers: tuple[OutputWriter, ...]
    pending: Iterator[Source | KeptRecord]
    earlier: "EarlierRecords | None" = None


def open_output(
    stack: contextlib.ExitStack,
    inputs: Iterable[Source],
    destination: Destination,
    origin: Origin,
    summary: Summary,
    *,
    all_frames: bool = False,
) -> OpenOutput:
    """Take hold of the output, and find out what of it can be kept.

    Args:
        stack: lets go of it; what ends the stack, an error or not, shows in the manifest and in the output.
        inputs: lazily.
        destination: where records go.
        origin: of the answers.
        summary: of the run, for the manifest; counts while the run goes on.
        all_frames: whether each frame of a file has a record.
    Raises:
        OutputError: the output can't be written, another run holds it, or has written it since `check` was asked.
    """
    earlier: EarlierRecords | None = None
    path = destination.target
    layout = _layout(destination, origin)
    writers: list[OutputWriter] = []
    if destination.report is not None:
        from imgcls.outputs.lock import exclusive

        stack.enter_context(exclusive(destination.report, option="--html"))
    if path is None or not destination.is_file:
        destination.check_free()
        if not destination.report_only:
            writers.append(_open_stream(stack, destination, layout))
    else:
        writer, earlier = _open_file(stack, path, destination, layout, origin, summary)
        writers.append(writer)
    if destination.report is not None:
        from imgcls.outputs.report.page import HtmlReport

        writers.append(stack.enter_context(HtmlReport(destination.report, origin)))
    inputs = destination.without_outputs(inputs)
    if not earlier:
        return OpenOutput(tuple(writers), iter(inputs), earlier)
    from imgcls.outputs.resume import skip_done

    return OpenOutput(tuple(writers), skip_done(inputs, earlier, all_frames=all_frames), earlier)


def _layout(destination: Destination, origin: Origin) -> Layout:
    return Layout(
        origin.model,
        origin.top_k,
        # A cell that was escaped can't be told from one that wasn't, so the two are never mixed.
        settings=origin.digest + ("-safe" if destination.csv_safe else ""),
        classes=origin.classes,
        is_resumable=destination.is_resumable,
        colour=destination.colour and destination.path is None,
        csv_safe=destination.csv_safe,
        inline=destination.inline,
        facts={
            "model": origin.model,
            "settings": origin.digest,
            "options": origin.options,
            "versions": origin.versions,
        },
    )


def _open_file(
    stack: contextlib.ExitStack,
    path: Path,
    destination: Destination,
    layout: Layout,
    origin: Origin,
    summary: Summary,
) -> "tuple[OutputWriter, EarlierRecords | None]":
    """A file of our own, with its manifest and its lock."""
    from imgcls.host.files import remove_stale_parts
    from imgcls.outputs.lock import exclusive
    from imgcls.outputs.manifest import Manifest, last_finished, read_manifest

    stack.enter_context(exclusive(path))
    destination.check_free()
    remove_stale_parts(path)
    manifest = Manifest(output=path, origin=origin, last=last_finished(read_manifest(path)))
    stack.enter_context(manifest.kept(summary))
    if not destination.is_resumable:
        return _open_whole(stack, path, destination, layout), None
    from imgcls.outputs.journal import Journal
    from imgcls.outputs.resume import EarlierRecords

    earlier: EarlierRecords | None = None
    if destination.resume:
        earlier = EarlierRecords(path, destination.output_format, layout)
        stack.callback(earlier.close)
    journal = Journal(path, destination.output_format, layout, resume=destination.resume)
    stack.callback(journal.close)
    return journal, earlier


def _open_whole(stack: contextlib.ExitStack, path: Path, destination: Destination, layout: Layout) -> PlainWriter:
    """A file that appears under its name only when it is whole, and leaves nothing after an error."""
    from imgcls.host.files import replacing

    part = stack.enter_context(replacing(path))
    file = stack.enter_context(part.open("wb"))
    return _writer(stack, file, destination, layout, None)


def _open_stream(stack: contextlib.ExitStack, destination: Destination, layout: Layout) -> PlainWriter:
    if destination.path is None:
        if destination.stream is None:
            raise ValueError("a destination without a path needs a stream")
        return _writer(stack, destination.stream, destination, layout, "stdout")
    name = str(destination.path)
    with writing(name):
        # Appending: where stdout is a log, `-o /dev/stdout` must not empty it.
        file = destination.path.open("ab")
    stack.enter_context(writing(name))
    # What could not be written when it was flushed can't be written when it is closed either, and has been said.
    stack.enter_context(_closing_quietly(file))
    return _writer(stack, file, destination, layout, name)


def _writer(
    stack: contextlib.ExitStack, file: BinaryIO, destination: Destination, layout: Layout, stream: str | None
) -> PlainWriter:
    target = compressing(file, destination.compression)
    if target is not file:
        stack.enter_context(contextlib.closing(target))
    encoder = destination.output_format.encoder(layout)
    return stack.enter_context(PlainWriter(target, encoder, stream))


@contextlib.contextmanager
def _closing_quietly(file: BinaryIO) -> Iterator[None]:
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            file.close()
