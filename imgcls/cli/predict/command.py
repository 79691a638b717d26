"""`imgcls predict`: the top classes of any image."""

import contextlib
import time

import typer

from imgcls.cli import console, options
from imgcls.cli.foreign_model import ForeignOptions
from imgcls.cli.help.option_groups import grouped
from imgcls.cli.predict import messages
from imgcls.cli.predict.cluster import ClusterOptions
from imgcls.cli.predict.decoding import DecodingOptions
from imgcls.cli.predict.explaining import ExplainOptions
from imgcls.cli.predict.inputs import InputOptions
from imgcls.cli.predict.limits import LimitOptions
from imgcls.cli.predict.model import ModelOptions, SpeedOptions, load_model, with_network
from imgcls.cli.predict.output import OutputOptions
from imgcls.cli.predict.progress import progress_bar
from imgcls.cli.predict.server import ServerOptions, as_served, check_goes_with_server, classify_with
from imgcls.cli.predict.sorting import SortingOptions, say_what_was_sorted, sorted_too
from imgcls.cli.process import startup
from imgcls.cli.process.interrupts import noted_interruptions
from imgcls.errors import ExitCode, UsageError

EXAMPLE = "Example: imgcls predict coffee.jpg   or: imgcls predict shots/ -f jsonl -o results.jsonl --resume"


def never() -> bool:
    """The end of a stream that ends by its inputs."""
    return False


@grouped
def predict(
    asked: InputOptions,
    model: ModelOptions,
    target: OutputOptions,
    speed: SpeedOptions,
    limits: LimitOptions,
    decoding: DecodingOptions,
    foreign: ForeignOptions,
    remote: ServerOptions,
    sorting: SortingOptions,
    cluster: ClusterOptions,
    explaining: ExplainOptions,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Name the most probable classes of any image: one record per input, also for those that can't be read."""
    console.quiet = quiet
    if sorting.undo is not None:
        sorting.take_back()
        return
    can_be_unsure = model.threshold is not None or model.accept_if is not None
    sorter = sorting.sorter(asked.inputs, can_be_unsure=can_be_unsure, resumes=target.resume)
    with startup.loading():
        from dataclasses import replace

        from imgcls.inference.batch_run import run_batch
        from imgcls.inference.pipeline import StreamSettings

    model.check_ensemble(foreign)
    if model.ensemble is not None and (cluster.ray is not None or explaining.explain is not None):
        raise UsageError("--ensemble goes with neither --ray nor --explain", hint="leave one of them out")
    explaining.check(is_elsewhere=remote.server is not None or cluster.ray is not None)
    limits.bound_pillow()
    background_rgb = decoding.background_rgb
    settings = StreamSettings(
        top_k=model.top_k,
        batch_size=model.batch_size,
        num_threads=model.workers or None,
        max_pixels=limits.max_pixels,
        decode_limit_sec=limits.image_timeout,
        fetch_limit_sec=limits.url_timeout,
        threshold=model.threshold,
        only_classes=tuple(model.classes or ()),
        accepts_single=model.accept_if is not None,
        fast_decode=speed.fast_decode,
        all_frames=asked.all_frames,
        accepts_truncated=decoding.accepts_truncated,
        background_rgb=background_rgb,
        depth_bits=decoding.depth,
        keeps_crops=explaining.explain is not None,
        fetch=limits.fetch(asked.storage),
    )
    if cluster.ray is not None:
        from imgcls.cli.predict.on_ray import predict_on_ray

        if remote.server is not None or sorter is not None or asked.watch:
            raise UsageError("--ray goes with neither --server, --sort-into nor --watch", hint="leave one of them out")
        predict_on_ray(
            cluster,
            asked,
            model,
            target,
            speed,
            foreign,
            settings,
            limits.error_limits(),
            max_bytes=limits.max_bytes,
            verbose=verbose,
        )
        return
    selection = asked.selection(max_stdin_bytes=limits.max_bytes)
    sources = selection.open(marks_old=target.resume)
    with target.uploading(asked.storage):
        destination = target.destination((asked.files_from, *model.names, model.weights, foreign.labels))
        destination.check()
        # What an earlier run has done is no work, and where it was much, that run has made the twin.
        is_new_work = not asked.come_once and not (target.resume and destination.has_earlier_records())
        upcoming = selection.open if is_new_work else None
        if remote.server is None:
            # Grad-CAM needs the network itself, not its twin.
            asked_model = model if explaining.explain is None else with_network(model)
            loaded = load_model(asked_model, speed, foreign, upcoming=upcoming, verbose=verbose)
        else:
            check_goes_with_server(model, speed, decoding, foreign, all_frames=asked.all_frames)
            loaded = remote.open(model)
        explanations = explaining.writer(loaded)
        target.prepare_stdout()
        started = time.monotonic()
        # Which old files have a record shows on the way.
        countable = not asked.come_once and not (target.resume and asked.newer_than)
        with contextlib.ExitStack() as stack:
            interruption = stack.enter_context(noted_interruptions())
            watches = asked.may_be_many and (destination.report_only or not target.has_table_on_screen)
            on_record = stack.enter_context(progress_bar(selection.open if countable else None, is_wanted=watches))
            if explanations is not None:
                on_record = explanations.added_too(on_record)
            if sorter is not None:
                on_record = sorted_too(stack.enter_context(sorter), on_record)
            should_stop = interruption.has_come
            if selection.watch is not None:
                # A signal is how a watch ends: what has arrived is answered, and the output is whole.
                selection.watch.is_stopped, should_stop = interruption.has_come, never
                console.message(f"watching {', '.join(selection.arguments)}; Ctrl-C ends")
            result = run_batch(
                loaded.backend,
                sources,
                destination,
                as_served(
                    loaded,
                    replace(settings, should_stop=should_stop, on_smaller_batch=messages.say_smaller_batch),
                ),
                device=loaded.device,
                runtime=loaded.runtime,
                limits=limits.error_limits(),
                # An empty share of a list, or nothing new since yesterday, is no fault.
                may_be_empty=lambda: sources.num_left_out > 0 or asked.watch,
                on_record=on_record,
                classify=classify_with(loaded),
            )
    messages.say_what_was_passed_over(sources.passed_over, any_suffix=asked.any_suffix)
    messages.say_how_it_ended(result, time.monotonic() - started, destination)
    if sorter is not None:
        say_what_was_sorted(sorter)
    if explanations is not None:
        console.message(explanations.finish())
    if interruption.exit_code is not None and not asked.watch:
        raise typer.Exit(interruption.exit_code)
    if asked.strict and sources.passed_over.empty:
        raise typer.Exit(ExitCode.DATA)
    if result.summary.num_failed:
        raise typer.Exit(ExitCode.SOME_FAILED)
