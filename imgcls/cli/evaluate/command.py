"""`imgcls eval`: how often a model is right on labelled images."""

from typing import TYPE_CHECKING

import typer

from imgcls.cli import console, foreign_model, options
from imgcls.cli.evaluate.answers import answer_text, write_answers, write_html_page
from imgcls.cli.evaluate.options import AnswerOptions, MeasureOptions
from imgcls.cli.evaluate.output_files import answer_to, part_file, whole_file
from imgcls.cli.help.option_groups import grouped
from imgcls.cli.progress_bars import count_progress
from imgcls.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from imgcls.datasets.labelled_images import LabelledImages, SkippedImage
    from imgcls.distributed.process_group import Processes
    from imgcls.evaluation.multi_label.report import MultiLabelReport
    from imgcls.evaluation.report import EvalReport
    from imgcls.models.loaded_model import LoadedModel

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
    from imgcls.evaluation.report import EvalReport
    from imgcls.models.loading import load_model

    with joined(machine.device) as processes:
        choice = choose_device_of(machine.device, processes.launch)
        with (
            processes.first_of_each_machine_first(),
            console.download_progress(f"the weights of {', '.join(measured.names) or spec}") as downloading,
        ):
            labels = foreign_model.read_labels(foreign.labels)

            def load(name: str) -> "tuple[LoadedModel, torch.device]":
                model = load_model(
                    name,
                    weights=measured.weights,
                    labels=labels,
                    ema=measured.ema,
                    transform=foreign.transform(),
                    activation=foreign.told_activation(),
                    output_name=foreign.output_name,
                    progress=downloading,
                    allow_code=measured.allow_code,
                )
                model = taking_truncated(model, measured.accepts_truncated)
                return placed(model, machine.device, choice.device)

            loaded, place = load(spec) if measured.ensemble is None else load_together(measured, foreign, load)
        for note in loaded.notes:
            console.message(note)
        if report.verbose:
            reason = getattr(loaded.network, "runtime", choice.reason)
            console.message(f"{loaded.id} on {place} ({reason}), weights from {loaded.weights_path}")
            for remark in loaded.remarks:
                console.message(remark)
        # The outputs are opened first: a folder that can't be written must not be found out after an hour's work.
        with (
            answer_to(answer.output if processes.is_first else None) as write,
            whole_file(answer.confusion if processes.is_first else None) as write_confusion,
            part_file(answer.errors if processes.is_first else None, "--errors") as errors,
            part_file(answer.html if processes.is_first else None, "--html") as html,
        ):
            found, images = _measure(loaded, measured, answer, place, machine.workers, processes, labels)
            if processes.is_first:
                write(answer_text(found, answer, report.format_))
                if errors is not None and answer.errors is not None:
                    write_answers(errors, answer.errors.suffix.lower(), found, images, answer)
                if isinstance(found, EvalReport):
                    write_confusion(found.confusion_csv())
                    if html is not None and answer.html is not None:
                        write_html_page(html, answer, found, images, loaded, place)
    _warn(found)
    if found.skipped:
        raise typer.Exit(ExitCode.SOME_FAILED)


def load_together(
    measured: MeasureOptions,
    foreign: foreign_model.ForeignOptions,
    load: "Callable[[str], tuple[LoadedModel, torch.device]]",
) -> "tuple[LoadedModel, torch.device]":
    """The models of an ensemble as one, and where its batches have to be.

    Args:
        measured: names them.
        foreign: what is told of an ONNX file of another tool.
        load: gives one of them.
    Raises:
        UsageError: they don't go together.
    """
    import torch

    from imgcls.models.ensemble_network import ensemble_of
    from imgcls.models.ensembles import check_members

    assert measured.ensemble is not None
    options.check_of_one_model(weights=measured.weights, ema=measured.ema, foreign=foreign != type(foreign)())
    check_members(measured.names)
    members = [load(name) for name in measured.names]
    places = {place for _model, place in members}
    together = ensemble_of([model for model, _place in members], measured.ensemble.value)
    return together, places.pop() if len(places) == 1 else torch.device("cpu")


def _measure(
    loaded: "LoadedModel",
    measured: MeasureOptions,
    answer: AnswerOptions,
    place: "torch.device",
    workers: int | None,
    processes: "Processes",
    labels: tuple[str, ...] | None,
) -> "tuple[EvalReport | MultiLabelReport, LabelledImages]":
    """Open the images and measure the model on them."""
    from imgcls.datasets.labelled_images import is_multi_label
    from imgcls.datasets.opening import Opening
    from imgcls.datasets.per_process import check_same_images, memory_for_each_mib, workers_for_each
    from imgcls.evaluation.data import open_data_for
    from imgcls.evaluation.placement import UpcomingImages, with_twin
    from imgcls.evaluation.run import measure_model
    from imgcls.evaluation.test_time_augmentation import TestTimeAugmentation
    from imgcls.twins.runtime import TwinRequest

    memory_mib = memory_for_each_mib(processes)
    with processes.first_of_each_machine_first(), count_progress("decoding") as decoding:
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
    if is_multi_label(data.images):
        answer.check_several_labels()
    check_same_images({"images": data.images}, data.images.classes, processes)
    for text in data.warnings:
        console.warn(text)
    tta = measured.tta
    if tta is not None and loaded.recipe.get("augment", {}).get("flip") == "off":
        console.warn(f"{loaded.name} was trained without horizontal flips, but --tta {tta} uses them")
    # Several processes share the cores, which onnxruntime doesn't know; an ensemble has no one twin.
    if processes.count == 1 and not loaded.members:
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
    with count_progress("evaluating") as evaluating:
        report = measure_model(
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


def _warn(found: "EvalReport | MultiLabelReport") -> None:
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
