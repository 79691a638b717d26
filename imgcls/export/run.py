"""`export`: any model as a file that other tools run, in the format that the file's name says."""

from collections.abc import Callable
from pathlib import Path
from typing import get_args

from imgcls.errors import UsageError
from imgcls.export.report import ExportReport
from imgcls.export.request import ExportRequest, Precision
from imgcls.export.targets import check_output, check_request, target_of, write
from imgcls.models.loading import load_model


def export(
    model: str | Path,
    output: str | Path,
    *,
    to: str | None = None,
    precision: Precision | None = None,
    calibrate: str | Path | None = None,
    weights: str | Path | None = None,
    with_transform: bool = False,
    device: str = "auto",
    web_runtime: str | Path | None = None,
    overwrite: bool = False,
    on_step: Callable[[str], None] = lambda _step: None,
) -> ExportReport:
    """Write a model in another format, load the file again, and compare its answers on images.

    Args:
        model: a checkpoint, a run folder, a bundled name or the name of a network.
        output: the file to write; `.onnx` or `.pt2` says the format.
        to: `onnx`, `torch-export`, `aoti` ..., where the name alone means another one; see `imgcls export --to`.
        precision: `fp16` halves the file; `int8` quarters it, and needs `calibrate`; by default `fp32`, for web sites
            `fp16`.
        calibrate: a folder of typical images, to set the ranges of `int8` and to compare on.
        weights: a plain state_dict for a named network.
        with_transform: for ONNX and `aoti`: put resize, crop and normalisation into the graph, which then takes decoded
            RGB bytes of any size.
        device: `cpu` or `cuda`: what native code (`aoti`) is compiled for.
        web_runtime: for web sites: the npm package onnxruntime-web; `node_modules` by default.
        overwrite: replace an existing file, or a web site.
        on_step: called with what is being done.
    Raises:
        UsageError: arguments that don't go together, or a name that says no format.
        ModelError: no such model, it can't be expressed in the format, or the file answers differently.
        DataError: no image in the folder can be read.
        DeviceError: the `onnx` extra isn't installed.
        OutputError: the file is there already, or can't be written.
    """
    output = Path(output)
    target = target_of(output, to)
    precision = precision or target.precisions[0]
    if precision not in get_args(Precision):
        raise UsageError(f"unknown precision {precision!r}", hint=f"use {', '.join(get_args(Precision))}")
    request = ExportRequest(
        precision=precision,
        folder=Path(calibrate) if calibrate is not None else None,
        with_transform=with_transform,
        device=device,
        web_runtime=Path(web_runtime) if web_runtime is not None else None,
        overwrite=overwrite,
        on_step=on_step,
    )
    check_request(target, request)
    check_output(output, target, overwrite=overwrite)
    loaded = load_model(str(model), weights=Path(weights) if weights else None)
    return write(loaded, target, output, request)
