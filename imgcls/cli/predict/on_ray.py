"""`imgcls predict --ray`: the same run on many processes and machines. Imported when it is asked for."""

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import typer

from imgcls.cli import console, options
from imgcls.cli.foreign_model import ForeignOptions
from imgcls.cli.predict.cluster import ClusterOptions
from imgcls.cli.predict.inputs import InputOptions
from imgcls.cli.predict.model import ModelOptions, Precision, SpeedOptions, load_model, load_options
from imgcls.cli.predict.output import OutputOptions
from imgcls.cli.predict.progress import WindowedRate, rate_bar
from imgcls.cli.process.interrupts import Interruption, noted_interruptions
from imgcls.errors import ExitCode, UsageError
from imgcls.inference.cluster.blocks import is_archive
from imgcls.inference.cluster.destination import PartsDestination
from imgcls.inference.cluster.model import pack_model
from imgcls.inference.cluster.parts import PartFolder
from imgcls.inference.cluster.run import ClusterResult, run_on_ray
from imgcls.inference.cluster.session import require_ray

if TYPE_CHECKING:
    from imgcls.images.inputs.source import Source
    from imgcls.inference.batch_run import ErrorLimits
    from imgcls.inference.cluster.pool import Status
    from imgcls.inference.pipeline import StreamSettings
    from imgcls.outputs.summary import Summary


def destination_of(target: OutputOptions, asked: InputOptions) -> PartsDestination:
    """Where parts go.

    Raises:
        UsageError: what a folder of parts can't be.
    """
    if target.output is None or str(target.output) == "-":
        raise UsageError("--ray writes a folder of parts", hint="add -o OUT; then: imgcls collect OUT -o all.jsonl")
    if target.html is not None:
        raise UsageError("--ray writes no page", hint="leave out --html")
    if asked.newer_than and target.resume:
        raise UsageError("--ray --resume knows by itself what has changed", hint="leave out --newer-than")
    place = target.remote_address or os.path.abspath(target.output)  # noqa: PTH100 - links stay what they are
    return PartsDestination(
        PartFolder(place, asked.storage), target.format_ or "parquet", target.resume, target.overwrite
    )


def predict_on_ray(
    cluster: ClusterOptions,
    asked: InputOptions,
    model: ModelOptions,
    target: OutputOptions,
    speed: SpeedOptions,
    foreign: ForeignOptions,
    settings: "StreamSettings",
    limits: "ErrorLimits",
    *,
    max_bytes: int,
    verbose: bool,
) -> None:
    """The whole command, once its options are read.

    Args:
        cluster: how the run is distributed.
        asked: the inputs.
        model: which model.
        target: where parts go.
        speed: the precision.
        foreign: what the model doesn't say of itself.
        settings: of the stream in each worker.
        limits: on failed inputs.
        max_bytes: a member of an archive, or an image on stdin, may have.
        verbose: whether Ray's own messages are shown.
    Raises:
        ImgclsError: see `run_on_ray`.
        typer.Exit: inputs failed, or a signal came.
    """
    require_ray()
    if model.runtime is options.Runtime.ONNX and not model.model.lower().endswith((".onnx", ".pt2")):
        raise UsageError(
            "--ray runs PyTorch, or an ONNX file", hint=f"imgcls export -m {model.model} -o model.onnx; -m model.onnx"
        )
    distribution = cluster.settings(verbose=verbose)
    destination = destination_of(target, asked)
    destination.check()
    selection = asked.selection(max_stdin_bytes=max_bytes)
    # This process only names the model; devices and precisions are the workers'.
    model = model._replace(runtime=options.Runtime.TORCH)
    loaded = load_model(
        model._replace(device="cpu"),
        speed._replace(precision=Precision.FP32),
        foreign,
        upcoming=None,
        verbose=verbose,
    )
    packed = pack_model(model.model, load_options(model, speed, foreign), loaded.backend)
    started = time.monotonic()
    interruption = Interruption()

    @contextlib.contextmanager
    def listening() -> Iterator[Callable[[], bool]]:
        # Ray listens to SIGTERM itself when it starts; so this begins after it.
        nonlocal interruption
        with noted_interruptions() as interruption:
            yield interruption.has_come

    countable = None if asked.come_once else functools.partial(selection.open, opens_archives=False)
    with _progress_line(countable) as watch:
        result = run_on_ray(
            loaded.backend,
            packed,
            selection,
            destination,
            settings,
            distribution,
            limits=limits,
            listening=listening,
            on_progress=watch,
        )
    _say_how_it_ended(result, time.monotonic() - started, destination)
    if interruption.exit_code is not None:
        raise typer.Exit(interruption.exit_code)
    if result.summary.num_failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _say_how_it_ended(result: ClusterResult, seconds: float, destination: PartsDestination) -> None:
    summary, place = result.summary, destination.folder.shown
    fresh = summary.count - summary.num_kept
    rate = f", {fresh / seconds:.0f} img/s" if fresh > 1 else ""
    console.message(f"{summary}{rate}")
    if result.num_lost:
        noun = "worker" if result.num_lost == 1 else "workers"
        console.message(f"{result.num_lost} {noun} died during the run; others repeated their work")
    if summary.ended == "finished":
        noun = "part" if result.num_parts == 1 else "parts"
        console.message(f"wrote {result.num_parts:,} {noun} to {place}; imgcls collect {place} -o all.jsonl joins them")
        return
    why = "interrupted" if summary.ended == "interrupted" else "stopped: too many inputs failed"
    console.message(f"{why}; the parts that are done are kept, --resume continues")


@contextlib.contextmanager
def _progress_line(
    open_inputs: "Callable[[], Iterable[Source]] | None",
) -> "Iterator[Callable[[Summary, Status], None]]":
    """One line on stderr: images, failures, images/s, time left, workers, nodes; nothing where nobody watches.

    Args:
        open_inputs: gives the inputs once more, to be counted; None where they come only once.
    """
    if console.quiet or not console.is_terminal():
        yield lambda _summary, _status: None
        return
    with rate_bar(open_inputs and (lambda: _count(open_inputs)), note="starting Ray") as show:
        rate: WindowedRate | None = None
        counted = 0

        def move(summary: "Summary", status: "Status") -> None:
            nonlocal rate, counted
            now = time.monotonic()
            done, failed = summary.count + status.in_hand[0], summary.num_failed + status.in_hand[1]
            fresh = done - summary.num_kept
            if rate is None:
                # What Ray takes to start is no part of the rate.
                rate = WindowedRate(now)
            else:
                rate.add(now, fresh - counted)
            counted = fresh
            nodes = f" on {status.num_nodes} nodes" if status.num_nodes > 1 else ""
            workers = f"{status.num_workers} worker{'' if status.num_workers == 1 else 's'}{nodes}"
            lost = f", {status.num_lost} lost" if status.num_lost else ""
            show(done, failed, rate.per_sec(now), workers + lost if status.num_workers else "starting workers")

        yield move


def _count(open_inputs: "Callable[[], Iterable[Source]]") -> int | None:
    count = 0
    for source in open_inputs():
        if is_archive(source):
            # Nobody knows how many images it has.
            return None
        count += 1
    return count
