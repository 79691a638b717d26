"""`imgcls eval`: how often a model is right on labelled images."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from imgcls.cli import console, foreign_model, options
from imgcls.cli.evaluate.options import AnswerOptions, MeasureOptions, Order
from imgcls.cli.help.option_groups import grouped
from imgcls.errors import ExitCode
from imgcls.host.data_files import json_text

if TYPE_CHECKING:
    import torch

    from imgcls.datasets.labelled_images import LabelledImages, SkippedImage
    from imgcls.distributed.process_group import Processes
    from imgcls.evaluation.report import EvalReport
    from imgcls.models.loading import LoadedModel

EXAMPLE = "Example: imgcls eval runs/cnn-20250101-120000   or: imgcls eval alexnet --data imagenet/val -f json"
# How many damaged files, and how many class names, are spelt out on stderr.
SHOWN = 5


@grouped
def evaluate(
    measured: MeasureOptions,
    foreign: foreign_model.ForeignOptions,
    machine: options.Machine,
    answer: AnswerOptions,
    report: options.Report,
) -> None:
    """Measure a model on labelled images: accuracy, precision, recall, calibration, each with its 95 % interval."""
    console.quiet = report.quiet
    spec = measured.spec
    answer.check()
    from imgcls.distributed.process_group import choose_device_of, joined
    from imgcls.evaluation.placement import placed, taking_truncated
    from imgcls.models.loading import load_model

    with joined(machine.device) as processes:
        choice = choose_device_of(machine.device, processes.launch)
        with (
            processes.first_of_each_machine_first(),
            console.download_progress(f"the weights of {spec}") as downloading,
        ):
            labels = foreign_model.read_labels(foreign.labels)
            loaded = load_model(
                spec,
                weights=measured.weights,
                labels=labels,
                ema=measured.ema,
                transform=foreign.transform(),
                activation=foreign.told_activation(),
                output_name=foreign.output_name,
                progress=downloading,
            )
            loaded = taking_truncated(loaded, measured.accepts_truncated)
            loaded, place = placed(loaded, machine.device, choice.device)
        for note in loaded.notes:
            console.message(note)
        if report.verbose:
            reason = choice.reason if place == choice.device else "onnxruntime"
            console.message(f"{loaded.id} on {place} ({reason}), weights from {loaded.weights_path}")
            for remark in loaded.remarks:
                console.message(remark)
        # The outputs are opened first: a folder that can't be written must not be found out after an hour's work.
        with (
            _answer_to(answer.output if processes.is_first else None) as write,
            _whole_file(answer.confusion if processes.is_first else None) as write_confusion,
            _part(answer.errors if processes.is_first else None, "--errors") as errors,
            _part(answer.html if processes.is_first else None, "--html") as html,
        ):
            found, images = _measure(loaded, measured, place, machine.workers, processes, labels)
            if processes.is_first:
                write(_text(found, answer, report.format_))
                write_confusion(found.confusion_csv())
                if errors is not None and answer.errors is not None:
                    _write_answers(errors, answer.errors.suffix.lower(), found, images, answer)
                if html is not None and answer.html is not None:
                    _write_page(html, answer, found, images, loaded, place)
    _warn(found)
    if found.skipped:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _measure(
    loaded: "LoadedModel",
    measured: MeasureOptions,
    place: "torch.device",
    workers: int | None,
    processes: "Processes",
    labels: tuple[str, ...] | None,
) -> "tuple[EvalReport, LabelledImages]":
    """Open the images and measure the model on them."""
    from imgcls.datasets.opening import Opening
    from imgcls.datasets.per_process import check_same_images, memory_for_each_mib, workers_for_each
    from imgcls.evaluation.data import open_data_for
    from imgcls.evaluation.placement import UpcomingImages, with_twin
    from imgcls.evaluation.run import evaluate_model
    from imgcls.evaluation.test_time_augmentation import TestTimeAugmentation
    from imgcls.twins.runtime import TwinRequest

    memory_mib = memory_for_each_mib(processes)
    with processes.first_of_each_machine_first(), _progress("decoding") as decoding:
        opening = Opening(
            transform=loaded.transform,
            strict=measured.strict,
            max_memory_mib=memory_mib,
            workers=workers_for_each(workers, processes),
            progress=decoding,
        )
        with console.download_progress("CIFAR-10") as downloading:
            data = open_data_for(
                loaded,
                measured.data,
                split=measured.split,
                opening=opening,
                allow_modified=measured.allow_modified_data,
                download_progress=downloading,
            )
    check_same_images({"images": data.images}, data.images.classes, processes)
    for text in data.warnings:
        console.warn(text)
    tta = measured.tta
    if tta is not None and loaded.recipe.get("augment", {}).get("flip") == "off":
        console.warn(f"{loaded.name} was trained without horizontal flips, but --tta {tta} uses them")
    # Several processes share the cores, which onnxruntime doesn't know.
    if processes.count == 1:
        request = TwinRequest(
            spec=measured.spec,
            weights=measured.weights,
            labels=labels,
            ema=measured.ema,
            runtime=measured.runtime.value,
            device=str(place),
            upcoming=UpcomingImages(data.images),
            on_step=console.message,
        )
        loaded = with_twin(loaded, request)
    with _progress("evaluating") as evaluating:
        report = evaluate_model(
            loaded,
            data.images,
            device=place,
            batch_size=measured.batch_size,
            tta=TestTimeAugmentation(tta) if tta is not None else None,
            progress=evaluating,
            processes=processes,
            warnings=data.warnings,
        )
    return report, data.images


def _write_answers(
    part: Path, suffix: str, found: "EvalReport", images: "LabelledImages", answer: AnswerOptions
) -> None:
    from imgcls.evaluation.answers import order_of, rows, write_rows

    scores = found.result.scores
    assert scores is not None

    def name_of(index: int) -> str:
        stored, row = images.stored(index)
        return stored.name(row)

    order_N = order_of(scores, by_loss=answer.sort is Order.LOSS)
    num_answers = scores.top_ids_NT.shape[1]
    write_rows(part, suffix, rows(scores, found.result.labels, name_of, order_N), num_answers=num_answers)


def _write_page(
    part: Path,
    answer: AnswerOptions,
    found: "EvalReport",
    images: "LabelledImages",
    loaded: "LoadedModel",
    place: "torch.device",
) -> None:
    from imgcls.cli.evaluate.table import describe_data
    from imgcls.evaluation.page.heat_maps import explain_images, explainer_of, usual_count
    from imgcls.evaluation.page.page import write_page
    from imgcls.evaluation.page.previews import make_previews

    scores, path = found.result.scores, answer.html
    assert scores is not None
    assert path is not None
    with _progress("making previews") as making:
        previews = make_previews(images, scores, loaded.transform, progress=making)
    with _progress("explaining") as explaining:
        explained, method = explain_images(
            images,
            scores,
            previews,
            loaded,
            explainer_of(loaded, place),
            count=usual_count(loaded) if answer.heat_maps is None else answer.heat_maps,
            progress=explaining,
        )
    write_page(
        part,
        found,
        images,
        previews,
        folder=path.absolute().parent,
        explained=explained,
        method=method,
        title=describe_data(found.data),
    )
    console.message(
        f"wrote {path} ({part.stat().st_size / 2**20:.1f} MiB; previews of {len(previews.rows):,} images, heat maps of "
        f"{len(explained):,})"
    )


def _text(found: "EvalReport", answer: AnswerOptions, format_: options.ReportFormat) -> str:
    if format_ is options.ReportFormat.JSON:
        return json_text(found.to_dict())
    from imgcls.cli.evaluate.table import render_report

    colour = answer.output is None and console.stdout_has_colour()
    return render_report(found, colour=colour, sort=answer.sort.value)


def _warn(found: "EvalReport") -> None:
    if found.missing:
        names = ", ".join(found.missing[:SHOWN]) + (", ..." if len(found.missing) > SHOWN else "")
        console.warn(f"the data has no images of {len(found.missing)} of the model's classes: {names}")
    if found.skipped:
        _warn_skipped(found.skipped)


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
def _part(path: Path | None, option: str) -> Iterator[Path | None]:
    """A file that appears when the block ends well, to be written by its name; None without a path."""
    if path is None:
        yield None
        return
    from imgcls.host.files import replacing

    with replacing(path, option=option) as part:
        yield part


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
