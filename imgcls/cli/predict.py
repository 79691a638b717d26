"""`imgcls predict`: the top classes of any picture."""

import contextlib
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional, TextIO

import typer

from imgcls.cli import console, options
from imgcls.errors import DataError, ExitCode, UsageError

if TYPE_CHECKING:
    from imgcls.prediction.runner import Runner
    from imgcls.prediction.writers import RecordWriter

EXAMPLE = "Example: imgcls predict coffee.jpg   or: imgcls predict -m cifar10-cnn shots/ -f jsonl -o results.jsonl"


def predict(
    inputs: Annotated[
        Optional[list[str]],  # noqa: UP045 - Typer reads it at run time
        typer.Argument(help="Files, folders, glob patterns, URLs, or - for one picture on stdin.", metavar="INPUT..."),
    ] = None,
    model: options.Model = "alexnet",
    weights: options.Weights = None,
    files_from: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--files-from", help="A list of inputs, one a line; - for stdin.", metavar="FILE"),
    ] = None,
    null: Annotated[bool, typer.Option("--null", "-0", help="The list's entries end with a NUL byte.")] = False,
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, help="How many classes to name.")] = 5,
    format_: Annotated[
        options.Format, typer.Option("--format", "-f", help="How to print the records.")
    ] = options.Format.TABLE,
    output: options.Output = None,
    device: options.Device = "auto",
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Pictures the network sees at once.")] = 32,
    workers: options.Workers = None,
    max_pixels: Annotated[
        int, typer.Option("--max-pixels", min=1, help="Refuse larger pictures.", show_default=True)
    ] = 178_956_970,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Name the most probable classes of any picture: one record an input, also for those that can't be read."""
    console.quiet = quiet
    if not inputs and files_from is None:
        raise UsageError("nothing to classify", hint="imgcls predict photo.jpg, or --files-from LIST")
    # The command has its own process, so Pillow's global limit may make way for --max-pixels.
    from PIL import Image

    from imgcls.data.sources import check_stdin_use, iterate_sources, read_list
    from imgcls.prediction.records import Summary
    from imgcls.prediction.stream import StreamSettings, classify_stream

    Image.MAX_IMAGE_PIXELS = None
    check_stdin_use(inputs or (), files_from)
    listed = read_list(files_from, nul=null) if files_from is not None else ()
    runner = load_runner(model, weights, device, verbose=verbose)
    settings = StreamSettings(
        top_k=min(top_k, len(runner.classes)), batch_size=batch_size, num_threads=workers, max_pixels=max_pixels
    )
    summary = Summary()
    sources = iterate_sources(itertools.chain(inputs or (), listed))
    with _opened(output) as file:
        writer = build_writer(format_, file, runner, settings.top_k)
        for record in classify_stream(sources, runner, settings):
            summary.add(record)
            writer.write(record)
            file.flush()
        writer.finish(summary)
        if summary.count == 0:
            raise DataError("no pictures among the inputs", hint="name a file, or a folder that holds pictures")
    if summary.num_failed:
        if summary.count > 1:
            kinds = ", ".join(f"{count} {kind}" for kind, count in summary.kinds.items())
            console.talk(f"{summary.count:,} images: {summary.num_ok:,} ok, {summary.num_failed:,} failed ({kinds})")
        raise typer.Exit(ExitCode.SOME_FAILED)


def load_runner(model: str, weights: Path | None, device: str, *, verbose: bool = False) -> "Runner":
    """Load the model that the options name, showing a download on stderr."""
    from imgcls.core.device import choose_device
    from imgcls.models.catalog import load_model
    from imgcls.prediction.torch_runner import TorchRunner

    choice = choose_device(device)
    with console.download_progress(f"the weights of {model}") as progress:
        loaded = load_model(model, weights=weights, progress=progress)
    if verbose:
        console.talk(f"{loaded.id} on {choice.device} ({choice.reason}), weights from {loaded.weights_path}")
    return TorchRunner(loaded, choice.device)


def build_writer(format_: options.Format, file: TextIO, runner: "Runner", top_k: int) -> "RecordWriter":
    """The writer for a format."""
    from imgcls.prediction import writers

    if format_ is options.Format.JSON:
        return writers.JsonWriter(file, runner.describe())
    if format_ is options.Format.JSONL:
        return writers.JsonlWriter(file)
    if format_ is options.Format.CSV:
        return writers.CsvWriter(file, top_k)
    return writers.TableWriter(file, top_k, colour=file is sys.stdout and console.stdout_has_colour())


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        # Data is UTF-8 with bare line feeds whatever the platform's habit, so that it parses everywhere.
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
        yield sys.stdout
        return
    from imgcls.core.files import replacing

    with replacing(output) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        yield file
