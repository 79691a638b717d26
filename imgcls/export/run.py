"""`export`: any model as a file that other tools run, in the format that the file's name says."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from imgcls.errors import OutputError, UsageError
from imgcls.export.report import ExportReport
from imgcls.models.loading import load_model

Precision = Literal["fp32", "fp16", "int8"]


def export(
    model: str | Path,
    output: str | Path,
    *,
    precision: Precision = "fp32",
    calibrate: str | Path | None = None,
    weights: str | Path | None = None,
    overwrite: bool = False,
    on_step: Callable[[str], None] = lambda _step: None,
) -> ExportReport:
    """Write a model as ONNX or as a torch.export program, load the file again, and compare its answers on images.

    Args:
        model: a checkpoint, a run folder, a bundled name or the name of a network.
        output: the file to write; `.onnx` or `.pt2` says the format.
        precision: for ONNX: `fp16` halves the file; `int8` quarters it, and needs `calibrate`.
        calibrate: a folder of typical images, to set the ranges of `int8` and to compare on.
        weights: a plain state_dict for a named network.
        overwrite: replace an existing file.
        on_step: called with what is being done.
    Raises:
        UsageError: arguments that don't go together, or a name that says no format.
        ModelError: no such model, it can't be expressed in the format, or the file answers differently.
        DataError: no image in the folder can be read.
        DeviceError: the `onnx` extra isn't installed.
        OutputError: the file is there already, or can't be written.
    """
    output, folder = Path(output), Path(calibrate) if calibrate is not None else None
    suffix = output.suffix.lower()
    if suffix not in (".onnx", ".pt2"):
        raise UsageError(f"can't tell the format of {output}", hint="name it .onnx or .pt2")
    if precision not in get_args(Precision):
        raise UsageError(f"unknown precision {precision!r}", hint=f"use {', '.join(get_args(Precision))}")
    if suffix == ".pt2" and precision != "fp32":
        raise UsageError(f"{precision} is for ONNX", hint="name the file .onnx")
    if precision == "int8" and folder is None:
        raise UsageError("int8 needs images to calibrate on", hint="calibrate=DIR, a folder of typical images")
    if output.is_dir():
        raise OutputError(f"{output} is a folder", hint="name a file")
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists already", hint="overwrite=True replaces it")
    loaded = load_model(str(model), weights=Path(weights) if weights else None)
    if suffix == ".pt2":
        from imgcls.export.torch_export import export_program

        return export_program(loaded, output, folder=folder, on_step=on_step)
    from imgcls.export.onnx import export_onnx

    return export_onnx(loaded, output, precision=precision, folder=folder, on_step=on_step)
