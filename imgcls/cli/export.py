"""`imgcls export`: a model as a file that other tools run."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgcls.cli import console, foreign_model, options
from imgcls.cli.help.completion import complete_model
from imgcls.errors import OutputError, UsageError
from imgcls.host.data_files import json_text
from imgcls.host.terminal_text import counted

if TYPE_CHECKING:
    from imgcls.export.report import ExportReport
    from imgcls.models.loaded_model import LoadedModel

EXAMPLE = (
    "Example: imgcls export alexnet -o alexnet.onnx   or: imgcls export runs/my-run -o cnn.onnx --int8 --calibrate DIR"
)
SUFFIXES = {".onnx": "onnx", ".pt2": "torch-export", ".pt": "checkpoint"}
MIB = 2**20


class Target(StrEnum):
    """Formats that a model can be written in; the last is named only to say what to use instead."""

    ONNX = "onnx"
    TORCH_EXPORT = "torch-export"
    CHECKPOINT = "checkpoint"
    TORCHSCRIPT = "torchscript"


def export(
    model: Annotated[
        str,
        typer.Argument(
            help="A checkpoint, a run folder, a bundled model or a torchvision name.",
            metavar="MODEL",
            autocompletion=complete_model,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write: .onnx, .pt2 or .pt.", metavar="FILE")
    ],
    to: Annotated[
        Target | None,
        typer.Option(
            "--to", help="onnx, torch-export or checkpoint; by default as the file is named.", metavar="FORMAT"
        ),
    ] = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="Half precision: half the size (ONNX).")] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="8-bit integers: a quarter of the size (ONNX); needs --calibrate.")
    ] = False,
    calibrate: Annotated[
        Path | None,
        typer.Option("--calibrate", help="Typical images: for --int8, and to compare on.", metavar="DIR"),
    ] = None,
    weights: options.Weights = None,
    labels: options.Labels = None,
    ema: options.Ema = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    format_: options.ReportFormatOption = options.ReportFormat.TABLE,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Write a model as ONNX or as a torch.export program, load the file again, and compare its answers on images."""
    console.quiet = quiet
    target = _target(to, output)
    if fp16 and int8:
        raise UsageError("--fp16 and --int8 exclude each other", hint="export twice")
    if int8 and calibrate is None:
        raise UsageError("--int8 needs images to calibrate on", hint="add --calibrate DIR, a folder of typical images")
    if target is not Target.ONNX and (fp16 or int8):
        raise UsageError("--fp16 and --int8 are for ONNX", hint="use --to onnx")
    if output.is_dir():
        raise OutputError(f"{output} is a folder", hint="name a file with --output")
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists already", hint="--overwrite replaces it")
    from imgcls.models.loading import load_model
    from imgcls.models.onnx.model import is_onnx

    if is_onnx(model) and Path(model).exists():
        raise UsageError(f"{model} is an ONNX file already", hint="name the checkpoint or the model that it came from")
    with console.download_progress(f"the weights of {model}") as downloading:
        loaded = load_model(
            model, weights=weights, labels=foreign_model.read_labels(labels), ema=ema, progress=downloading
        )
    for remark in loaded.remarks if verbose else ():
        console.message(remark)
    if target is Target.CHECKPOINT:
        from imgcls.models.loaded_model import save_loaded

        save_loaded(loaded, output)
        console.message(
            f"{output}: {loaded.id} as a checkpoint, {counted(len(loaded.classes), 'class', plural='classes')}"
        )
        return
    report = _write(loaded, target, output, "fp16" if fp16 else "int8" if int8 else "fp32", calibrate)
    for text in report.warnings:
        console.warn(text)
    if format_ is options.ReportFormat.JSON:
        console.data(json_text(report.to_dict()))
        return
    for line in _lines(report):
        console.data(line)


def _target(to: Target | None, output: Path) -> Target:
    if to is Target.TORCHSCRIPT:
        raise UsageError(
            "TorchScript is deprecated and is not written", hint="use --to torch-export (.pt2), or --to onnx"
        )
    by_name = SUFFIXES.get(output.suffix.lower())
    if to is None and by_name is None:
        raise UsageError(f"can't tell the format of {output}", hint="name it .onnx, .pt2 or .pt, or add --to onnx")
    # predict knows an ONNX file by its name.
    if to is not None and by_name != to.value:
        suffix = next(suffix for suffix, name in SUFFIXES.items() if name == to.value)
        raise UsageError(f"--to {to.value} writes {suffix} files, not {output.name}", hint=f"-o {output.stem}{suffix}")
    return to or Target(str(by_name))


def _write(
    loaded: "LoadedModel", target: Target, output: Path, precision: str, calibrate: Path | None
) -> "ExportReport":
    def say(step: str) -> None:
        console.message(f"{step} ...")

    if target is Target.TORCH_EXPORT:
        from imgcls.export.torch_export import export_program

        return export_program(loaded, output, folder=calibrate, on_step=say)
    from imgcls.export.onnx import Precision, export_onnx

    chosen: Precision = "fp16" if precision == "fp16" else "int8" if precision == "int8" else "fp32"
    return export_onnx(loaded, output, precision=chosen, folder=calibrate, on_step=say)


def _lines(report: "ExportReport") -> list[str]:
    found = report.written.parity
    assert found is not None
    drawn = f"{report.num_drawn} drawn here" if report.num_drawn else ""
    others = found.num_images - report.num_drawn
    from_folder = f"{others} of {report.folder}" if report.folder is not None else ""
    lines = [
        f"{report.output}: {report.model['id']} as {report.format}, {report.written.size_bytes / MIB:.1f} MiB",
        f"compared on {counted(found.num_images, 'image')} "
        f"({' and '.join(part for part in (drawn, from_folder) if part)})"
        + (f", calibrated on {report.num_calibrated} others of {report.folder}" if report.num_calibrated else ""),
        f"largest difference of any probability: {found.largest_difference:.2g}",
        "",
        f"{'':14}{'MiB':>9}{'ms/image':>12}{'same top-1':>12}{'difference':>12}",
    ]
    for each in report.variants:
        row = f"{each.name:14}{each.size_bytes / MIB:>9.1f}{each.ms_per_image:>12.2f}"
        if each.parity is not None:
            row += f"{each.parity.top1:>12.2%}{each.parity.largest_difference:>12.2g}"
        lines.append(row)
    return lines
