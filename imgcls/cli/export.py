"""`imgcls export`: a model as a file that other tools run."""

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgcls.cli import console, foreign_model, options
from imgcls.cli.help.completion import complete_model
from imgcls.errors import UsageError
from imgcls.host.data_files import json_text
from imgcls.host.terminal_text import counted

if TYPE_CHECKING:
    from imgcls.export.report import ExportReport
    from imgcls.export.targets import ExportTarget

EXAMPLE = (
    "Example: imgcls export alexnet -o alexnet.onnx   or: imgcls export runs/my-run -o cnn.onnx --int8 --calibrate DIR"
)
CHECKPOINT_SUFFIX = ".pt"
MIB = 2**20


class Target(StrEnum):
    """`TARGETS`, our own checkpoint, and one that is named only to say what to use instead."""

    ONNX = "onnx"
    TORCH_EXPORT = "torch-export"
    AOTI = "aoti"
    EXECUTORCH = "executorch"
    WEB = "web"
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
        Path,
        typer.Option(
            "--output", "-o", help="The file to write: .onnx, .pt2, .pte or .pt; a folder for --to web.", metavar="FILE"
        ),
    ],
    to: Annotated[
        Target | None,
        typer.Option(
            "--to",
            help="onnx, torch-export, aoti (native code), executorch (phones), web (a page that classifies in the "
            "browser) or checkpoint; by default as the file is named.",
            metavar="FORMAT",
        ),
    ] = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="Half precision: half the size (ONNX; web by default).")] = False,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8", help="8-bit integers: a quarter of the size (ONNX, ExecuTorch, web); needs --calibrate."
        ),
    ] = False,
    calibrate: Annotated[
        Path | None,
        typer.Option("--calibrate", help="Typical images: for --int8, and to compare on.", metavar="DIR"),
    ] = None,
    with_transform: Annotated[
        bool,
        typer.Option(
            "--with-transform",
            help="Resize, crop and normalise in the graph, which then takes decoded RGB bytes (ONNX, aoti).",
        ),
    ] = False,
    device: Annotated[
        str, typer.Option("--device", help="cpu or cuda: what --to aoti compiles for.", metavar="DEVICE")
    ] = "auto",
    ort: Annotated[
        Path | None,
        typer.Option(
            "--ort",
            help="The npm package onnxruntime-web, for --to web: its .tgz file, or a folder with node_modules.",
            metavar="PATH",
        ),
    ] = None,
    weights: options.Weights = None,
    labels: options.Labels = None,
    ema: options.Ema = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    format_: options.ReportFormatOption = options.ReportFormat.TABLE,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Write a model in another format, load the file again, and compare its answers on images."""
    console.quiet = quiet
    if fp16 and int8:
        raise UsageError("--fp16 and --int8 exclude each other", hint="export twice")
    from imgcls.export.request import ExportRequest
    from imgcls.export.targets import check_output, check_request

    target = _target(to, output)
    request = ExportRequest(
        precision="fp16" if fp16 else "int8" if int8 else "fp32" if target is None else target.precisions[0],
        folder=calibrate,
        with_transform=with_transform,
        device=device,
        web_runtime=ort,
        overwrite=overwrite,
        on_step=lambda step: console.message(f"{step} ..."),
    )
    if target is not None:
        check_request(target, request)
    elif fp16 or int8 or calibrate or ort or device != "auto":
        raise UsageError(
            "a checkpoint is the model as it is", hint="leave out --fp16, --int8, --calibrate, --ort and --device"
        )
    check_output(output, target, overwrite=overwrite)
    from imgcls.models.loading import load_model
    from imgcls.models.registry import EXPORTED

    if Path(model).suffix.lower() in (".onnx", *EXPORTED) and Path(model).exists():
        raise UsageError(f"{model} is an exported file already", hint="name the checkpoint or the model it came from")
    with console.download_progress(f"the weights of {model}") as downloading:
        loaded = load_model(
            model, weights=weights, labels=foreign_model.read_labels(labels), ema=ema, progress=downloading
        )
    for remark in loaded.remarks if verbose else ():
        console.message(remark)
    if target is None:
        from imgcls.models.loaded_model import save_loaded

        save_loaded(loaded, output)
        console.message(
            f"{output}: {loaded.id} as a checkpoint, {counted(len(loaded.classes), 'class', plural='classes')}"
        )
        return
    from imgcls.export.targets import write

    report = write(loaded, target, output, request)
    for text in report.warnings:
        console.warn(text)
    if format_ is options.ReportFormat.JSON:
        console.data(json_text(report.to_dict()))
        return
    for line in _lines(report):
        console.data(line)
    if report.format == "web":
        console.message(f"try it: python3 -m http.server -d {shlex.quote(str(output))}, then http://localhost:8000/")


def _target(to: Target | None, output: Path) -> "ExportTarget | None":
    """The format; None for our own checkpoint."""
    from imgcls.export.targets import target_of

    if to is Target.TORCHSCRIPT:
        raise UsageError(
            "TorchScript is deprecated and is not written", hint="use --to torch-export (.pt2), or --to onnx"
        )
    is_checkpoint = output.suffix.lower() == CHECKPOINT_SUFFIX
    if to is Target.CHECKPOINT and not is_checkpoint:
        raise UsageError(f"--to checkpoint writes .pt files, not {output.name}", hint=f"-o {output.stem}.pt")
    if to is Target.CHECKPOINT or (to is None and is_checkpoint):
        return None
    return target_of(output, None if to is None else to.value)


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
        *_about_transform(report),
        *([f"all files of the site: {report.total_bytes / MIB:.1f} MiB"] if report.total_bytes else []),
        "",
        f"{'':14}{'MiB':>9}{'ms/image':>12}{'same top-1':>12}{'difference':>12}",
    ]
    for each in report.variants:
        row = f"{each.name:14}{each.size_bytes / MIB:>9.1f}{each.ms_per_image:>12.2f}"
        if each.parity is not None:
            row += f"{each.parity.top1:>12.2%}{each.parity.largest_difference:>12.2g}"
        lines.append(row)
    return lines


def _about_transform(report: "ExportReport") -> list[str]:
    parity = report.transform_parity
    if parity is None:
        return []
    return [
        f"transform in the graph, against Pillow's, on {counted(parity.num_images, 'whole image')}: same top-1 "
        f"{parity.top1:.2%}, largest difference of any probability {parity.largest_difference:.2g}"
    ]
