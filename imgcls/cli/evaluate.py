"""`imgcls eval`: how often a model is right on labelled images."""

import contextlib
import json
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from imgcls.cli import console, foreign_model, options
from imgcls.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from imgcls.datasets.labelled_images import SkippedImage

EXAMPLE = "Example: imgcls eval runs/cnn-20250101-120000   or: imgcls eval alexnet --data imagenet/val -f json"
# How many damaged files, and how many class names, are spelt out on stderr.
SHOWN = 5


class Split(StrEnum):
    """Which part of the data to measure on."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class Views(StrEnum):
    """`TestTimeAugmentation`, without what that imports."""

    FLIP = "flip"
    FLIP_SHIFT = "flip+shift"


class Order(StrEnum):
    """Of the rows of the table of classes."""

    CLASS = "class"
    ACCURACY = "accuracy"


def evaluate(
    model: Annotated[
        Optional[str],  # noqa: UP045 - Typer reads it at run time
        typer.Argument(
            help="A checkpoint, run folder, .onnx file, bundled model or torchvision name.", metavar="MODEL"
        ),
    ] = None,
    model_option: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--model", "-m", help="The same, as the other commands take it.", metavar="MODEL"),
    ] = None,
    data: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--data",
            help="cifar10, or a folder of class folders; by default what the model was trained on.",
            metavar="DATA",
        ),
    ] = None,
    split: Annotated[
        Optional[Split],  # noqa: UP045
        typer.Option("--split", help="By default test, else val, else all of a folder without splits."),
    ] = None,
    weights: options.Weights = None,
    labels: options.Labels = None,
    ema: options.Ema = False,
    device: options.Device = "auto",
    batch_size: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--batch-size", min=1, help="Images the network sees at once; by default by their size."),
    ] = None,
    workers: options.Workers = None,
    tta: Annotated[
        Optional[Views],  # noqa: UP045
        typer.Option("--tta", help="Average the logits of the image and its horizontal flip, or of six views."),
    ] = None,
    format_: options.ReportFormatOption = options.ReportFormat.TABLE,
    sort: Annotated[
        Order, typer.Option("--sort", help="Classes in the model's order, or the worst first (table).")
    ] = Order.CLASS,
    output: options.Output = None,
    confusion: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--confusion", help="Also write the confusion matrix, as CSV.", metavar="FILE"),
    ] = None,
    allow_modified_data: Annotated[
        bool,
        typer.Option("--allow-modified-data", help="Take CIFAR-10 files whose checksums are not the published ones."),
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse damaged images instead of skipping them.")] = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Measure a model on labelled images: loss, top-1, top-5, every class, and what is taken for what."""
    console.quiet = quiet
    if (model is None) == (model_option is None):
        raise UsageError("name one model", hint="imgcls eval runs/my-run, or imgcls eval alexnet --data DIR")
    if confusion is not None and output is not None and confusion.resolve() == output.resolve():
        raise UsageError(
            f"--output and --confusion both name {output}", hint=f"--confusion {output.stem}-confusion.csv"
        )
    spec = model or model_option or ""
    from imgcls.datasets.opening import Opening
    from imgcls.datasets.per_process import check_same_images, memory_for_each_mib, workers_for_each
    from imgcls.distributed.process_group import choose_device_of, joined
    from imgcls.evaluation.data import open_data_for
    from imgcls.evaluation.run import evaluate_model, placed
    from imgcls.evaluation.test_time_augmentation import TestTimeAugmentation
    from imgcls.models.loading import load_model

    with joined(device) as processes:
        choice = choose_device_of(device, processes.launch)
        with (
            processes.first_of_each_machine_first(),
            console.download_progress(f"the weights of {spec}") as downloading,
        ):
            loaded, place = placed(
                load_model(
                    spec, weights=weights, labels=foreign_model.read_labels(labels), ema=ema, progress=downloading
                ),
                device,
                choice.device,
            )
        if verbose:
            reason = choice.reason if place == choice.device else "onnxruntime"
            console.message(f"{loaded.id} on {place} ({reason}), weights from {loaded.weights_path}")
            for remark in loaded.remarks:
                console.message(remark)
        # The outputs are opened first: a folder that can't be written must not be found out after an hour's work.
        with (
            _answer_to(output if processes.is_first else None) as write,
            _whole_file(confusion if processes.is_first else None) as write_confusion,
        ):
            memory_mib = memory_for_each_mib(processes)
            with processes.first_of_each_machine_first(), _progress("decoding") as decoding:
                opening = Opening(
                    transform=loaded.transform,
                    strict=strict,
                    max_memory_mib=memory_mib,
                    workers=workers_for_each(workers, processes),
                    progress=decoding,
                )
                with console.download_progress("CIFAR-10") as downloading:
                    found = open_data_for(
                        loaded,
                        data,
                        split=split,
                        opening=opening,
                        allow_modified=allow_modified_data,
                        download_progress=downloading,
                    )
            check_same_images({"images": found.images}, found.images.classes, processes)
            for text in found.warnings:
                console.warn(text)
            if tta is not None and loaded.recipe.get("augment", {}).get("flip") == "off":
                console.warn(f"{loaded.name} was trained without horizontal flips, but --tta {tta} uses them")
            with _progress("evaluating") as evaluating:
                report = evaluate_model(
                    loaded,
                    found.images,
                    device=place,
                    batch_size=batch_size,
                    tta=TestTimeAugmentation(tta) if tta is not None else None,
                    progress=evaluating,
                    processes=processes,
                    warnings=found.warnings,
                )
            if format_ is options.ReportFormat.JSON:
                write(json.dumps(report.to_dict(), ensure_ascii=False, allow_nan=False))
            else:
                from imgcls.cli.evaluation_table import render_report

                colour = output is None and console.stdout_has_colour()
                write(render_report(report, colour=colour, worst_first=sort is Order.ACCURACY))
            write_confusion(report.confusion_csv())
    if report.missing:
        names = ", ".join(report.missing[:SHOWN]) + (", ..." if len(report.missing) > SHOWN else "")
        console.warn(f"the data has no images of {len(report.missing)} of the model's classes: {names}")
    if report.skipped:
        _warn_skipped(report.skipped)
        raise typer.Exit(ExitCode.SOME_FAILED)


def _warn_skipped(skipped: "tuple[SkippedImage, ...]") -> None:
    for bad in skipped[:SHOWN]:
        console.warn(f"skipped {bad.path}: {bad.kind}: {bad.message}")
    if len(skipped) > SHOWN:
        console.warn(f"skipped {len(skipped) - SHOWN} more; -f json names them all")


@contextlib.contextmanager
def _answer_to(output: Path | None) -> Iterator[Callable[[str], None]]:
    if output is None:
        console.use_utf8_stdout()
        yield console.data
        return
    with _whole_file(output) as write:
        yield lambda text: write(text + "\n")


@contextlib.contextmanager
def _whole_file(path: Path | None) -> Iterator[Callable[[str], None]]:
    """A file that appears when the block ends well; without a path, what is written goes nowhere."""
    if path is None:
        yield lambda _text: None
        return
    from imgcls.host.files import replacing

    with replacing(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:

        def write(text: str) -> None:
            file.write(text)

        yield write


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on a terminal; nothing elsewhere, and nothing before the first call."""
    if console.quiet or not console.is_terminal():
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console.stderr_console(), transient=True) as bar:
        task = None

        def move(done: int, total: int) -> None:
            nonlocal task
            if task is None:
                task = bar.add_task(what, total=total)
            bar.update(task, completed=done, total=total)

        yield move
