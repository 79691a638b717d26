"""A whole run: inputs through the model into an output that can be cut, continued and traced."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from imgcls.errors import DataError
from imgcls.images.inputs.source import Source
from imgcls.images.thumbnails import THUMBNAIL_PX
from imgcls.inference.backends.backend import Backend
from imgcls.inference.pipeline import Record, StreamSettings, classify_stream
from imgcls.outputs.destination import Destination
from imgcls.outputs.opening import open_output
from imgcls.outputs.origin import Origin
from imgcls.outputs.record import ImageRecord, KeptRecord
from imgcls.outputs.summary import Ended, Summary

if TYPE_CHECKING:
    from imgcls.outputs.resume import EarlierRecords


Classify = Callable[[Iterable[Source | KeptRecord], Backend, StreamSettings], Iterator[Record]]


class ErrorLimits(NamedTuple):
    """How many failed inputs end a run early.

    Attributes:
        max_errors: that many may fail, one more ends it; None for any number.
    """

    max_errors: int | None = None

    def exceeded_by(self, summary: Summary) -> bool:
        """Whether too many have failed."""
        return self.max_errors is not None and summary.num_failed > self.max_errors


NO_LIMITS = ErrorLimits()


class BatchResult(NamedTuple):
    """How a run ended.

    Attributes:
        summary: counts over its records.
        left_output: whether an earlier output was left as it is, because no input was taken this time.
        num_gone: inputs that the output had before, and that this run, come to its end, didn't have.
    """

    summary: Summary
    left_output: bool = False
    num_gone: int = 0

    @property
    def ended(self) -> Ended:
        """`finished`; `interrupted` by a signal; or `failed` when too many inputs did."""
        return self.summary.ended


def run_batch(
    backend: Backend,
    inputs: Iterable[Source],
    destination: Destination,
    settings: StreamSettings,
    *,
    device: str = "cpu",
    runtime: str = "torch",
    limits: ErrorLimits = NO_LIMITS,
    may_be_empty: Callable[[], bool] = lambda: False,
    on_record: Callable[[ImageRecord | KeptRecord, Summary], None] = lambda _record, _summary: None,
    classify: Classify = classify_stream,
) -> BatchResult:
    """Classify inputs into an output.

    Args:
        backend: the model.
        inputs: lazily, in the order that the records will have.
        destination: where records go; `check` it before the model is loaded.
        settings: of the stream; `should_stop` ends the run early with all that is done kept.
        device: named in the manifest beside the output.
        runtime: likewise, `torch` or `onnxruntime`.
        limits: on failed inputs.
        may_be_empty: asked after a run without any input whether that is no error, as for a shard of a short list.
        on_record: called after each record is written.
        classify: turns inputs into records, where that isn't done in this process.
    Raises:
        DataError: there was no input at all; or, where a run resumes, none that succeeded nor any that an earlier run
            knew, as when a folder isn't mounted: what is there then stays.
        OutputError: an output can't be written, or another run holds it.
    """
    settings = replace(
        settings,
        top_k=min(settings.top_k, len(backend.classes)),
        # A run that was cut and continued must end with the same bytes as one that wasn't.
        is_padded=settings.is_padded or destination.is_resumable,
        thumbnail_px=THUMBNAIL_PX if destination.report or destination.inline else settings.thumbnail_px,
    )
    origin = origin_of(backend, settings, device, runtime=runtime)
    summary = Summary()
    with contextlib.ExitStack() as stack:
        output = open_output(stack, inputs, destination, origin, summary, all_frames=settings.all_frames)
        for record in classify(output.pending, backend, settings):
            summary.add(record)
            for each in output.writers:
                each.add(record)
            on_record(record, summary)
            if limits.exceeded_by(summary):
                summary.ended = "failed"
                break
        if settings.should_stop():
            summary.ended = "interrupted"
        if summary.ended == "finished" and summary.num_ok == 0:
            knows_none = _knows_none(output.earlier)
            if summary.count == 0 and not may_be_empty():
                raise DataError("no images among the inputs", hint="name a file, or a folder that holds images")
            if knows_none and summary.count:
                raise DataError(
                    f"no input could be classified, and none is among the records in {destination.path}, which stays "
                    "as it is",
                    hint="check that the folder of the inputs is there; --overwrite starts from nothing",
                )
            if knows_none:
                return BatchResult(summary, left_output=True)
        if output.earlier:
            # Windows replaces no file that somebody reads.
            output.earlier.close()
        # A report reads the earlier output too, so it comes to its end first.
        for each in reversed(output.writers):
            (each.finish if summary.ended == "finished" else each.abandon)(summary)
        earlier = output.earlier if summary.ended == "finished" else None
        return BatchResult(summary, num_gone=earlier.count_unmet() if earlier else 0)


def origin_of(
    backend: Backend, settings: StreamSettings, device: str, *, runtime: str = "torch", precision: str = "fp32"
) -> Origin:
    """What shapes the answers of a run.

    Args:
        backend: the model.
        settings: of the run.
        device: where the network runs, as outputs tell it.
        runtime: what runs it.
        precision: told where it isn't fp32, and where the backend itself doesn't tell it.
    """
    return Origin(
        backend.describe() | ({} if precision == "fp32" else {"precision": precision}),
        backend.classes,
        backend.transform,
        device,
        runtime=runtime,
        top_k=settings.top_k,
        threshold=settings.threshold,
        fast_decode=settings.fast_decode,
        max_pixels=settings.max_pixels,
        decoding=settings.decoding,
    )


def _knows_none(earlier: "EarlierRecords | None") -> bool:
    """Whether there are earlier records, and none of them is of an input of this run."""
    return earlier is not None and len(earlier) > 0 and earlier.num_met == 0
