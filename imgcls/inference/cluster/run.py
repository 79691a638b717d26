"""A whole run on Ray: inputs through workers into a folder of parts, which ends with its manifest."""

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from imgcls.errors import DataError
from imgcls.host.versions import versions
from imgcls.images.inputs.selection import InputSelection
from imgcls.images.inputs.source import Source
from imgcls.inference.backends.backend import Backend
from imgcls.inference.batch_run import NO_LIMITS, ErrorLimits, origin_of
from imgcls.inference.cluster.blocks import Block, cut_blocks
from imgcls.inference.cluster.destination import PartsDestination
from imgcls.inference.cluster.manifest import in_order, manifest_of, parts_layout
from imgcls.inference.cluster.model import PackedModel
from imgcls.inference.cluster.parts import MANIFEST
from imgcls.inference.cluster.pool import Status, WorkerPool
from imgcls.inference.cluster.session import fit_shape, ray_session
from imgcls.inference.cluster.worker import PartResult, WorkerTask
from imgcls.inference.pipeline import StreamSettings
from imgcls.outputs.lock import exclusive
from imgcls.outputs.summary import Summary


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """How a run is distributed over workers.

    Attributes:
        address: `local`, `auto`, `HOST:PORT` or `ray://HOST:PORT`.
        least: workers to begin with.
        most: workers; None for as many as fit.
        num_cpus: cores of a worker; None for a share of a node.
        num_gpus: GPUs of a worker; None for one where there is any.
        part_size: inputs of a part, on average.
        is_verbose: whether Ray's own messages are shown.
    """

    address: str
    least: int = 1
    most: int | None = None
    num_cpus: int | None = None
    num_gpus: float | None = None
    part_size: int = 1000
    is_verbose: bool = False


@dataclass(frozen=True, slots=True)
class ClusterResult:
    """How a run ended.

    Attributes:
        summary: counts over its records.
        num_parts: that were written or kept.
        num_lost: workers that died during the run.
    """

    summary: Summary
    num_parts: int
    num_lost: int


def run_on_ray(
    backend: Backend,
    packed: PackedModel,
    selection: InputSelection,
    destination: PartsDestination,
    settings: StreamSettings,
    cluster: ClusterSettings,
    *,
    limits: ErrorLimits = NO_LIMITS,
    listening: Callable[[], contextlib.AbstractContextManager[Callable[[], bool]]] = lambda: contextlib.nullcontext(
        lambda: False
    ),
    on_progress: Callable[[Summary, Status], None] = lambda _summary, _status: None,
) -> ClusterResult:
    """Classify inputs on a cluster.

    Args:
        backend: the model, as this process loaded it; the records name it.
        packed: the same for the workers.
        selection: of inputs; paths must lead to the same files on all nodes.
        destination: where parts go.
        settings: of the stream in each worker.
        cluster: how the run is distributed.
        limits: on failed inputs.
        listening: a context in which blocks are classified, entered once Ray is there; what it gives is asked all the
            time whether the run is to stop.
        on_progress: called several times a second.
    Raises:
        DataError: there was no input at all.
        DeviceError: no such cluster, versions that differ, a worker that can't start, a head that is gone.
        OutputError: a part can't be written, or another run on this machine holds the folder.
    """
    started = datetime.now(UTC)
    destination.check()
    folder = destination.folder
    settings = replace(settings, top_k=min(settings.top_k, len(backend.classes)), is_padded=True)
    origin = origin_of(backend, settings, "ray", precision=packed.options.precision)
    summary = Summary()
    parts: dict[str, PartResult] = {}
    order: list[str] = []
    with contextlib.ExitStack() as stack:
        if not folder.is_remote:
            stack.enter_context(exclusive(Path(folder.place) / MANIFEST))
        ray = stack.enter_context(
            ray_session(cluster.address, is_verbose=cluster.is_verbose, store_bytes=len(packed.content) or 2**28)
        )
        shape = fit_shape(
            ray, least=cluster.least, most=cluster.most, num_cpus=cluster.num_cpus, num_gpus=cluster.num_gpus
        )
        should_stop = stack.enter_context(listening())
        # From here on the run is unfinished.
        folder.remove(MANIFEST)
        task = WorkerTask(
            settings,
            parts_layout(origin),
            destination.format,
            folder,
            selection,
            destination.resume,
            shape.num_cpus,
            versions(),
        )
        pool = WorkerPool(ray, task, ray.put(packed), shape)
        stack.callback(pool.close)
        sources = selection.open(opens_archives=False)
        blocks = cut_blocks(map(_absolute, sources), size=cluster.part_size)
        for result in pool.run(_noted(blocks, order), should_stop):
            if result is not None:
                parts[result.name] = result
                _add(summary, result.summary)
                sources.passed_over.suffixes.update(result.passed_over)
            on_progress(summary, pool.status)
            if limits.exceeded_by(summary):
                summary.ended = "failed"
                break
        if should_stop():
            summary.ended = "interrupted"
        if summary.ended == "finished":
            if summary.count == 0 and sources.num_left_out == 0:
                raise DataError("no images among the inputs", hint="name a file, or a folder that holds images")
            for stale in sorted(set(folder.parts()) - set(parts)):
                folder.remove(stale)
            manifest = manifest_of(started, origin, destination, pool, summary, in_order(parts, order))
            folder.write(MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
        return ClusterResult(summary, len(parts), pool.status.num_lost)


def _absolute(source: Source) -> Source:
    """A worker's current folder is another one."""
    return source if source.path is None else replace(source, path=Path(os.path.abspath(source.path)))  # noqa: PTH100


def _noted(blocks: Iterable[Block], order: list[str]) -> Iterator[Block]:
    for block in blocks:
        order.append(block.id)
        yield block


def _add(summary: Summary, more: Summary) -> None:
    summary.num_ok += more.num_ok
    summary.num_failed += more.num_failed
    summary.num_kept += more.num_kept
    summary.kinds.update(more.kinds)
    summary.labels.update(more.labels)
    summary.confidence_sum += more.confidence_sum
