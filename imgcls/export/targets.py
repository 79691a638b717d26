"""The formats that `export` writes: one line here and one file a target, which has `write(model, output, request)`.

`write` gives an `ExportReport`; it loads what it wrote, compares answers, and keeps nothing that answers differently.
Importing this imports no torch.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from imgcls.errors import OutputError, UsageError
from imgcls.export.request import ExportRequest, Precision
from imgcls.export.web.folder import check_replaceable

if TYPE_CHECKING:
    from imgcls.export.report import ExportReport
    from imgcls.models.loaded_model import LoadedModel


@dataclass(frozen=True, slots=True)
class ExportTarget:
    """One format.

    Attributes:
        name: as `--to` takes it.
        suffix: of its files; empty where it writes a folder.
        module: in this room, with `write`.
        precisions: that it can be written in, the default first.
        takes_transform: whether the transform can be part of the graph.
        takes_device: whether what it writes is for one kind of device.
    """

    name: str
    suffix: str
    module: str
    precisions: tuple[Precision, ...] = ("fp32",)
    takes_transform: bool = False
    takes_device: bool = False


# Of several with one suffix the first is what a name alone means.
TARGETS = (
    ExportTarget("onnx", ".onnx", "onnx", ("fp32", "fp16", "int8"), takes_transform=True),
    ExportTarget("torch-export", ".pt2", "torch_export"),
    ExportTarget("aoti", ".pt2", "aoti", takes_transform=True, takes_device=True),
    ExportTarget("executorch", ".pte", "executorch", ("fp32", "int8")),
    ExportTarget("web", "", "web.site", ("fp16", "int8")),
)


def target_of(output: Path, name: str | None = None) -> ExportTarget:
    """The format that a file's name says, or that was asked for by name.

    Raises:
        UsageError: the name says none, or another one.
    """
    suffix = output.suffix.lower()
    if name is None:
        by_suffix = next((target for target in TARGETS if target.suffix == suffix and suffix), None)
        if by_suffix is None:
            suffixes = sorted({target.suffix for target in TARGETS if target.suffix})
            raise UsageError(
                f"can't tell the format of {output}", hint=f"name it {' or '.join(suffixes)}, or add --to onnx"
            )
        return by_suffix
    target = next((each for each in TARGETS if each.name == name), None)
    if target is None:
        raise UsageError(f"unknown format {name!r}", hint=f"use {', '.join(each.name for each in TARGETS)}")
    # predict knows an exported file by its suffix.
    if target.suffix and target.suffix != suffix:
        raise UsageError(
            f"--to {name} writes {target.suffix} files, not {output.name}", hint=f"-o {output.stem}{target.suffix}"
        )
    return target


def check_request(target: ExportTarget, request: ExportRequest) -> None:
    """Refuse what the format doesn't have, before any work.

    Raises:
        UsageError: says what to use instead.
    """
    if request.precision not in target.precisions:
        able = [each.name for each in TARGETS if request.precision in each.precisions]
        raise UsageError(
            f"{request.precision} is for {' and '.join(able)}, not for {target.name}",
            hint=f"use --to {' or '.join(able)}",
        )
    if request.precision == "int8" and request.folder is None:
        raise UsageError("int8 needs images to calibrate on", hint="add --calibrate DIR, a folder of typical images")
    if request.with_transform and not target.takes_transform:
        able = [each.name for each in TARGETS if each.takes_transform]
        raise UsageError(f"--with-transform is not for {target.name}", hint=f"use --to {' or '.join(able)}")
    if request.web_runtime is not None and target.name != "web":
        raise UsageError(f"--ort is not for {target.name}", hint="use --to web")
    if request.device != "auto" and not target.takes_device:
        able = [each.name for each in TARGETS if each.takes_device]
        raise UsageError(f"--device is not for {target.name}", hint=f"use --to {' or '.join(able)}")


def check_output(output: Path, target: ExportTarget | None, *, overwrite: bool) -> None:
    """Refuse to write over something.

    Args:
        output: the file or folder.
        target: the format; None for our own checkpoint.
        overwrite: whether what is there may be replaced.
    Raises:
        OutputError: it is there, and may not, or is something else.
    """
    if target is not None and not target.suffix:
        check_replaceable(output, overwrite=overwrite)
        return
    if output.is_dir():
        raise OutputError(f"{output} is a folder", hint="name a file with --output")
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists already", hint="--overwrite replaces it")


def write(model: "LoadedModel", target: ExportTarget, output: Path, request: ExportRequest) -> "ExportReport":
    """Write a model in a format; see the target's own file for errors."""
    check_request(target, request)
    report: ExportReport = import_module(f"imgcls.export.{target.module}").write(model, output, request)
    return report
