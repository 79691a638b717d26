"""`imgcls calibrate`: probabilities that mean something, and sets of labels with a guarantee."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgcls.cli import console, options
from imgcls.cli.help.completion import complete_model
from imgcls.errors import OutputError, UsageError

if TYPE_CHECKING:
    from imgcls.evaluation.calibration.figures import Figure
    from imgcls.evaluation.calibration.fitting import CalibrationReport

EXAMPLE = "Example: imgcls calibrate runs/my-run   or: imgcls calibrate best.pt --data held-out/ --coverage 0.9 -o c.pt"


class Split(StrEnum):
    """Which part of the data to fit on."""

    VAL = "val"
    TEST = "test"


def calibrate(
    model: Annotated[
        str,
        typer.Argument(
            help="A checkpoint, a run folder, an .onnx file of imgcls export, or a name that 'imgcls models' lists.",
            metavar="MODEL",
            autocompletion=complete_model,
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="Labelled images that the model wasn't trained on; by default what its training kept to validate.",
            metavar="DATA",
        ),
    ] = None,
    split: Annotated[
        Split | None, typer.Option("--split", help="By default val for the model's own data, else as eval chooses.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The calibrated copy; by default calibrated.pt beside the model.", metavar="FILE"
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing copy.")] = False,
    vector: Annotated[
        bool, typer.Option("--vector", help="A scale and an offset for each class; needs more images.")
    ] = False,
    coverage: Annotated[
        float | None,
        typer.Option(
            "--coverage",
            min=0.01,
            max=0.999,
            help="Also sets of labels that hold the true one at least this often, such as 0.9.",
        ),
    ] = None,
    penalty: Annotated[
        float | None,
        typer.Option(
            "--set-penalty",
            min=0,
            help="Penalty on labels after the fifth, for smaller sets (RAPS); 0 is APS. By default by class count.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of folds, halves and intervals.")] = 0,
    allow_modified_data: Annotated[
        bool,
        typer.Option(
            "--allow-modified-data", help="Accept CIFAR-10 files with other checksums than the published ones."
        ),
    ] = False,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images per forward pass.")] = 64,
    device: options.Device = "auto",
    workers: options.Workers = None,
    format_: options.ReportFormatOption = options.ReportFormat.TABLE,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Make a model's probabilities mean something: fit a temperature on held-out images, write a calibrated copy.

    predict, eval, export and serve then answer with calibrated probabilities. The figures are cross-fitted: each image
    is measured with a temperature that was fitted without it.
    """
    console.quiet = quiet
    from imgcls.evaluation.calibration.calibrate import CalibrateSettings, calibrate_model, copy_path, save_calibrated
    from imgcls.models.loading import load_model

    with console.download_progress(f"the weights of {model}") as downloading:
        loaded = load_model(model, progress=downloading)
    if verbose:
        console.message(f"{loaded.id}, weights from {loaded.weights_path}")
    if penalty is not None and coverage is None:
        raise UsageError("--set-penalty goes with --coverage", hint="add --coverage 0.9")
    target = output or copy_path(model, loaded)
    if target.exists() and not overwrite:
        raise OutputError(f"{target} exists already", hint="--overwrite replaces it, or name another with --output")
    report = calibrate_model(
        loaded,
        data,
        CalibrateSettings(
            method="vector" if vector else "temperature",
            coverage=coverage,
            penalty=penalty,
            split=split.value if split is not None else None,
            seed=seed,
            device=device,
            workers=workers,
            batch_size=batch_size,
            allow_modified_data=allow_modified_data,
        ),
    )
    save_calibrated(loaded, report.calibration, target)
    for text in report.warnings:
        console.warn(text)
    console.use_utf8_stdout()
    if format_ is options.ReportFormat.JSON:
        console.data(json.dumps(report.to_dict() | {"output": str(target)}, ensure_ascii=False, allow_nan=False))
    else:
        for line in _lines(report):
            console.data(line)
    console.message(f"wrote {target}: imgcls predict -m {target} ...")


def _lines(report: "CalibrationReport") -> list[str]:
    found = report.calibration
    what = f"temperature {found.temperature:.3f}" if found.temperature is not None else "a scale and offset per class"
    lines = [
        f"{report.model.get('name', '')}: {what}, fitted on {found.num_images:,} images",
        "",
        f"{'':<10} {'before':>26} {'after (cross-fitted)':>26}",
    ]
    for title, name in (("ECE", "ece"), ("Brier", "brier"), ("log loss", "log_loss"), ("accuracy", "accuracy")):
        before, after = getattr(report.before, name), getattr(report.after, name)
        lines.append(f"{title:<10} {_shown(before):>26} {_shown(after):>26}")
    if found.sets is not None:
        sets = found.sets
        kind = f"RAPS, penalty {sets.penalty:g}" if sets.penalty else "APS"
        lines += ["", f"sets of labels hold the true one at least {sets.coverage:.1%} of the time ({kind})"]
        if report.sets is not None:
            sizes = f"{report.sets.mean_size:.2f} labels on average, {report.sets.singles:.0%} of them a single one"
            lines.append(f"on other thirds of the {report.count:,} images: {report.sets.coverage:.1%} covered, {sizes}")
    return lines


def _shown(figure: "Figure") -> str:
    return f"{figure.value:.4f} [{figure.low:.4f}, {figure.high:.4f}]"
