"""`imgcls predict`: the top classes of any image."""

import contextlib
import functools
import os
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from imgcls.cli import console, foreign_model, options, predict_options, startup
from imgcls.cli.interrupts import noted_interruptions
from imgcls.cli.predict_progress import progress_bar
from imgcls.errors import ExitCode, OutputError

if TYPE_CHECKING:
    from imgcls.images.selection import InputSelection
    from imgcls.inference.batch_run import BatchResult
    from imgcls.outputs.destination import Destination

EXAMPLE = "Example: imgcls predict coffee.jpg   or: imgcls predict shots/ -f jsonl -o results.jsonl --resume"


def predict(
    inputs: predict_options.Inputs = None,
    model: options.Model = "alexnet",
    weights: options.Weights = None,
    top_k: predict_options.TopK = 5,
    threshold: predict_options.Threshold = None,
    device: options.Device = "auto",
    batch_size: predict_options.BatchSize = 32,
    workers: options.Workers = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    files_from: predict_options.FilesFrom = None,
    null: predict_options.Null = False,
    include: predict_options.Include = None,
    exclude: predict_options.Exclude = None,
    shard: predict_options.ShardOption = None,
    newer_than: predict_options.NewerThan = None,
    format_: predict_options.FormatOption = None,
    output: predict_options.Output = None,
    resume: predict_options.Resume = False,
    overwrite: predict_options.Overwrite = False,
    html: predict_options.Html = None,
    fast_decode: predict_options.FastDecode = False,
    precision: predict_options.PrecisionOption = predict_options.Precision.FP32,
    max_pixels: predict_options.MaxPixels = 178_956_970,
    image_timeout: predict_options.ImageTimeout = 120.0,
    url_timeout: predict_options.UrlTimeout = 60.0,
    url_max_mib: predict_options.UrlMaxMib = 64.0,
    allow_private_urls: predict_options.AllowPrivateUrls = False,
    max_errors: predict_options.MaxErrors = None,
    fail_fast: predict_options.FailFast = False,
    labels: foreign_model.Labels = None,
    preset: foreign_model.PresetOption = None,
    mean: foreign_model.Mean = None,
    std: foreign_model.Std = None,
    size: foreign_model.Size = None,
    channels: foreign_model.ChannelsOption = None,
    resize: foreign_model.ResizeOption = None,
    pad_colour: foreign_model.PadColour = None,
    interpolation: foreign_model.InterpolationOption = None,
    scale: foreign_model.ScaleOption = None,
    activation: foreign_model.ActivationOption = None,
    output_name: foreign_model.OutputName = None,
) -> None:
    """Name the most probable classes of any image: one record per input, also for those that can't be read."""
    console.quiet = quiet
    from PIL import Image

    from imgcls.images.download import fetch_image
    from imgcls.images.selection import InputSelection
    from imgcls.inference.backends.backend import load_backend
    from imgcls.inference.batch_run import ErrorLimits, run_batch
    from imgcls.inference.pipeline import StreamSettings
    from imgcls.outputs.destination import Destination, format_of

    # Pillow's own check counts too, as it also sees images inside of images (.ico). It refuses twice its limit, and
    # may be a global one because the command has its own process.
    Image.MAX_IMAGE_PIXELS = -(-max_pixels // 2)
    # Pillow's remarks on odd files are written for programmers, and a record says all that matters here.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    selection = InputSelection(
        tuple(inputs or ()), files_from, null, tuple(include or ()), tuple(exclude or ()), shard, newer_than
    )
    sources = selection.open(marks_old=resume)
    output = None if output == Path("-") else output
    read = [files_from, model, weights, labels]
    destination = Destination(
        format_.value if format_ else format_of(output),
        output,
        resume,
        overwrite,
        colour=console.stdout_has_colour(),
        report=html,
        reads=tuple(Path(name) for name in read if name is not None),
        stream=sys.stdout.buffer if sys.stdout is not None else None,
    )
    destination.check()
    with startup.loading(), console.download_progress(f"the weights of {model}") as downloading:
        loaded = load_backend(
            model,
            weights=weights,
            device=device,
            precision=precision.value,
            labels=foreign_model.read_labels(labels),
            transform=foreign_model.input_options(
                preset, mean, std, size, channels, resize, pad_colour, interpolation, scale
            ),
            progress=downloading,
            activation=activation.value if activation else None,
            output_name=output_name,
        )
    for note in loaded.notes:
        console.message(note)
    if verbose:
        console.message(loaded.remark)
    _prepare_stdout(destination)
    started = time.monotonic()
    # Stdin and pipes come only once, and which old files have a record shows on the way.
    once = "-" in selection.arguments or (files_from is not None and not os.path.isfile(files_from))  # noqa: PTH113
    countable = None if once or (resume and newer_than) else selection.open
    with contextlib.ExitStack() as stack:
        interruption = stack.enter_context(noted_interruptions())
        on_record = stack.enter_context(progress_bar(countable)) if _watches(selection, output) else None
        settings = StreamSettings(
            top_k=top_k,
            batch_size=batch_size,
            num_threads=workers or None,
            max_pixels=max_pixels,
            decode_limit_sec=image_timeout,
            fetch_limit_sec=url_timeout,
            threshold=threshold,
            fast_decode=fast_decode,
            fetch=functools.partial(
                fetch_image,
                max_bytes=int(url_max_mib * 2**20),
                time_limit_sec=url_timeout,
                allow_private=allow_private_urls,
            ),
            should_stop=interruption.has_come,
            on_smaller_batch=_say_smaller_batch,
        )
        result = run_batch(
            loaded.backend,
            sources,
            destination,
            settings,
            device=loaded.device,
            limits=ErrorLimits(0 if fail_fast else max_errors),
            # An empty share of a list, or nothing new since yesterday, is no fault.
            may_be_empty=lambda: sources.num_left_out > 0,
            on_record=on_record or (lambda _record, _summary: None),
        )
    _say_how_it_ended(result, time.monotonic() - started, output, is_resumable=destination.is_resumable)
    if interruption.exit_code is not None:
        raise typer.Exit(interruption.exit_code)
    if result.summary.num_failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _prepare_stdout(destination: "Destination") -> None:
    if destination.path is not None:
        return
    if sys.stdout is None:
        raise OutputError("stdout is closed", hint="name a file with --output")
    console.use_utf8_stdout()


def _watches(selection: "InputSelection", output: Path | None) -> bool:
    """Whether a progress bar helps: there is more than one input, and the records don't scroll past on the screen."""
    if output is None and sys.stdout.isatty():
        return False
    only = selection.arguments[0] if len(selection.arguments) == 1 and selection.files_from is None else None
    # A folder or a pattern stands for many.
    # Unlike Path.is_file, this is never an error: a name may be too long, or lead where nobody may look.
    return only is None or not (only == "-" or "://" in only or os.path.isfile(only))  # noqa: PTH113


def _say_smaller_batch(size: int) -> None:
    noun = "image" if size == 1 else "images"
    console.warn(f"not enough memory for that many images at once; going on with {size} {noun} (--batch-size {size})")


def _say_how_it_ended(result: "BatchResult", seconds: float, output: Path | None, *, is_resumable: bool) -> None:
    summary = result.summary
    fresh = summary.count - summary.num_kept
    if summary.count != 1 or output is not None:
        rate = f", {fresh / seconds:.0f} img/s" if fresh > 1 else ""
        console.message(f"{summary}{rate}")
    if result.num_gone:
        noun = "an input" if result.num_gone == 1 else f"{result.num_gone:,} inputs"
        console.message(f"{output} had records of {noun} that came up no more; they are gone from it")
    if result.left_output:
        console.message(f"{output} stays as it is")
    if result.ended != "finished":
        why = "interrupted" if result.ended == "interrupted" else "stopped: too many inputs failed"
        console.message(
            f"{why}; {'what is done is kept, --resume continues it' if is_resumable else 'the rest is not done'}"
        )
