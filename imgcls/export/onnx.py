"""A model as an ONNX file: float NCHW images in, logits out, everything else in the file's metadata.

The network stands alone in the graph, unless its transform is asked for too; the constants stand in the metadata.
"""

import contextlib
import io
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imgcls.errors import DeviceError, ModelError, UsageError
from imgcls.export.card import card_of
from imgcls.export.graph_input import traceable
from imgcls.export.parity import Outputs, compare, in_batches, median_ms, outputs_of
from imgcls.export.quantize import CALIBRATED, to_fp16, to_int8
from imgcls.export.report import ExportReport, Variant, first_reason
from imgcls.export.request import ExportRequest, Precision
from imgcls.export.sample_images import drawn_pixels, folder_pixels, hold_out
from imgcls.export.transform_check import check_transform
from imgcls.host.digests import file_sha256
from imgcls.host.files import replacing
from imgcls.images.transform import Floats, Pixels
from imgcls.models.exported import ORIGIN_HINT, ExportedNetwork
from imgcls.models.loaded_model import LoadedModel
from imgcls.models.model_card import Input
from imgcls.models.onnx.file_bytes import laid_out
from imgcls.models.onnx.graph import INSTALL_HINT
from imgcls.models.onnx.model import CARD_KEY, OnnxModel

INPUT, OUTPUT = "images", "logits"
# A protocol-buffers message holds less than 2 GiB; the graph itself takes a little of it.
MOST_WEIGHT_BYTES = 2**31 - 2**24


def write(model: LoadedModel, output: Path, request: ExportRequest) -> ExportReport:
    """See `export_onnx`."""
    return export_onnx(
        model,
        output,
        precision=request.precision,
        folder=request.folder,
        with_transform=request.with_transform,
        on_step=request.on_step,
    )


def export_onnx(
    model: LoadedModel,
    output: Path,
    *,
    precision: Precision = "fp32",
    folder: Path | None = None,
    with_transform: bool = False,
    to_half: Callable[[bytes], bytes] = to_fp16,
    on_step: Callable[[str], None] = lambda _step: None,
) -> ExportReport:
    """Write a model as ONNX, load the file again, and compare its answers with the model's.

    Args:
        model: any that `load_model` gives.
        output: the file; replaced when it is there.
        precision: `fp16` halves the file; `int8` quarters it, and needs a folder to calibrate on.
        folder: images to compare on beside the drawn ones, and to calibrate on.
        with_transform: put resize, crop and normalisation into the graph, which then takes decoded RGB bytes.
        to_half: what `fp16` does to the file's bytes.
        on_step: told what is being done.
    Raises:
        ModelError: it can't be expressed as ONNX, or the file answers differently; then it isn't kept.
        UsageError: the model is an ONNX file already, or `int8` without a folder.
        DataError: no image in the folder can be read.
        DeviceError: the `onnx` extra isn't installed.
        OutputError: the file can't be written.
    """
    if precision == "int8" and folder is None:
        raise UsageError("--int8 needs images to calibrate on", hint="add --calibrate DIR, a folder of typical images")
    if with_transform and precision != "fp32":
        raise UsageError("--with-transform is for float32", hint="leave out --fp16 and --int8")
    check_exportable(model)
    drawn = drawn_pixels(model.transform)
    found = None if folder is None else folder_pixels(folder, model.transform)
    calibration = None
    # Lower precision is judged on the images that it is meant for, and not on those that shaped it.
    images = drawn if found is None else found
    if precision == "fp32" and found is not None:
        images = np.concatenate([drawn, found])
    elif precision == "int8":
        assert found is not None
        calibration, held_out = hold_out(found, most=CALIBRATED)
        images = held_out if len(held_out) else drawn
    on_step("tracing the network")
    plain = to_onnx_bytes(model, with_transform=with_transform)
    torch_outputs = outputs_of(model)
    expected = in_batches(torch_outputs, images)
    runs: dict[str, Outputs] = {"torch": torch_outputs}
    with contextlib.ExitStack() as stack:
        part = stack.enter_context(replacing(output))
        path = part
        if precision != "fp32":
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="imgcls-"))) / "fp32.onnx"
        write_onnx(path, plain, model, input_="pixels" if with_transform else "normalised")
        on_step("comparing its answers")
        files = {"fp32": _opened(path, runs, "fp32")}
        several = model.multi_label is not None
        parities = {"fp32": compare(expected, in_batches(runs["fp32"], images), is_multi_label=several)}
        parities["fp32"].check("the ONNX file")
        transform_parity = None
        if with_transform:
            on_step("comparing its transform with Pillow's")
            transform_parity = check_transform(model, torch_outputs, files["fp32"].run_pixels, folder)
        if precision != "fp32":
            on_step(f"converting to {precision}")
            smaller = to_half(plain) if calibration is None else to_int8(path, INPUT, calibration, model.transform)
            write_onnx(part, smaller, model, precision=precision)
            files[precision] = _opened(part, runs, precision)
            parities[precision] = compare(expected, in_batches(runs[precision], images), is_multi_label=several)
        times = median_ms(runs, images)
        variants = [Variant("torch", _size(model.weights_path), times["torch"], None)]
        variants += [
            Variant(name, file.path.stat().st_size, times[name], parities[name]) for name, file in files.items()
        ]
        # The weights stay mapped while a session lives, and Windows moves no file that is mapped.
        runs.clear()
        files.clear()
    return ExportReport(
        output=output,
        format="onnx",
        sha256=file_sha256(output) if output.is_file() else "",
        model=model.describe(),
        variants=tuple(variants),
        num_drawn=len(drawn) if images is drawn or precision == "fp32" else 0,
        folder=folder,
        num_calibrated=0 if calibration is None else len(calibration),
        transform_parity=transform_parity,
    )


def check_exportable(model: LoadedModel) -> None:
    """Refuse what is exported already.

    Raises:
        UsageError: the model is an exported file.
    """
    if isinstance(model.network, ExportedNetwork):
        raise UsageError(f"{model.weights_path} is an exported file already", hint=ORIGIN_HINT)


def to_onnx_bytes(model: LoadedModel, *, with_transform: bool = False) -> bytes:
    """A model's network as a whole ONNX file of float32.

    Args:
        model: whose network it is.
        with_transform: put its transform in front.
    Raises:
        UsageError: its transform can't be part of a graph.
        ModelError: it can't be expressed as ONNX.
        DeviceError: the `onnx` extra isn't installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as exc:
        raise DeviceError(f"writing ONNX needs a package that can't be imported: {exc}", hint=INSTALL_HINT) from exc
    num_bytes = sum(tensor.nbytes for tensor in model.network.state_dict().values())
    if num_bytes > MOST_WEIGHT_BYTES:
        raise ModelError(
            f"{model.name!r} has {num_bytes / 2**30:.1f} GiB of weights; one ONNX file holds less than 2",
            hint=f"imgcls export {model.name} --to torch-export -o {model.name}.pt2",
        )
    traced = traceable(model, with_transform=with_transform)
    try:
        # The exporter reports to people, on stdout and in warnings; what matters to them is said by the comparison.
        with plain_attention(model.network), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(
                traced.network,
                (traced.example,),
                dynamo=True,
                verbose=False,
                input_names=[traced.input_name],
                output_names=[OUTPUT],
                dynamic_shapes=traced.dynamic_shapes,
            )
    except Exception as exc:
        raise ModelError(
            f"{model.name!r} can't be expressed as ONNX: {first_reason(exc)}",
            hint=f"imgcls export {model.name} --to torch-export -o {model.name}.pt2",
        ) from exc
    serialised: bytes = program.model_proto.SerializeToString()
    return serialised


@contextlib.contextmanager
def plain_attention(network: torch.nn.Module) -> Iterator[None]:
    """Let timm's attention layers compute what they compute in plain steps.

    The exporter doesn't get through the fused operation in every layout of its inputs (BEiT, Hiera, MaxViT). The plain
    steps are what it turns that operation into elsewhere.
    """
    fused = [layer for layer in network.modules() if getattr(layer, "fused_attn", None) is True]
    for layer in fused:
        layer.fused_attn = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for layer in fused:
            layer.fused_attn = True  # type: ignore[assignment]


def write_onnx(
    path: Path,
    exported: bytes,
    model: LoadedModel,
    *,
    precision: Precision = "fp32",
    input_: Input = "normalised",
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a file that says what it is, with its weights laid out to be mapped into memory.

    Args:
        path: the file.
        exported: a whole ONNX file, as `to_onnx_bytes` gives it or made smaller since.
        model: where it came from.
        precision: of its arithmetic.
        input_: what its graph takes.
        metadata: to be kept beside the description.
    """
    card = card_of(model, precision=precision, input_=input_)
    with path.open("wb") as file:
        file.writelines(laid_out(exported, {CARD_KEY: card.to_json(), **(metadata or {})}))


def _opened(path: Path, runs: dict[str, Outputs], name: str) -> OnnxModel:
    file = OnnxModel(path, device="cpu")

    def run(images_NHWC: Pixels) -> Floats:
        return file.outputs(images_NHWC)

    runs[name] = run
    return file


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
