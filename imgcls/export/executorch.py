"""A model as an ExecuTorch program: one `.pte` file for phones and small devices, computed by XNNPACK.

Shapes: N images, B batch, H height, W width, C channels (1 or 3), K classes.
"""

import contextlib
import copy
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from imgcls.errors import DeviceError, ModelError
from imgcls.export.aoti import outputs_of_file
from imgcls.export.card import card_of
from imgcls.export.onnx import check_exportable
from imgcls.export.parity import compare, in_batches, median_ms, outputs_of
from imgcls.export.quantize import CALIBRATED
from imgcls.export.report import ExportReport, Variant, first_reason
from imgcls.export.request import ExportRequest
from imgcls.export.sample_images import drawn_pixels, folder_pixels, hold_out
from imgcls.host.digests import file_sha256
from imgcls.host.files import replacing
from imgcls.images.transform import Pixels
from imgcls.models.loaded_model import LoadedModel
from imgcls.models.programs.executorch import (
    CARD_METHOD,
    INSTALL_HINT,
    METHOD,
    ExecutorchNetwork,
    load_runtime,
    quiet_imports,
    quiet_stderr,
    with_sum,
)


def write(model: LoadedModel, output: Path, request: ExportRequest) -> ExportReport:
    """Write a program, load it again with ExecuTorch's own runtime, and compare its answers with the model's.

    Args:
        model: any that `load_model` gives.
        output: the file; replaced when it is there.
        request: how; `int8` is calibrated on half of the folder's images, and compared on the others.
    Raises:
        ModelError: it can't be expressed, or the float32 file answers differently; then it isn't kept.
        UsageError: the model is an exported file.
        DataError: no image in the folder can be read.
        DeviceError: the `executorch` extra isn't installed.
        OutputError: the file can't be written.
    """
    check_exportable(model)
    check_installed()
    drawn = drawn_pixels(model.transform)
    found = None if request.folder is None else folder_pixels(request.folder, model.transform)
    images = drawn if found is None else np.concatenate([drawn, found])
    calibration = None
    if request.precision == "int8":
        assert found is not None
        calibration, held_out = hold_out(found, most=CALIBRATED)
        images = held_out if len(held_out) else drawn
    card = card_of(model, precision=request.precision)
    request.on_step("tracing the network")
    content = _program(model, card.to_json(), calibration, request.on_step)
    with replacing(output) as part:
        part.write_bytes(with_sum(content))
        request.on_step("comparing its answers")
        loaded = ExecutorchNetwork(part)
        if loaded.card != card:
            raise ModelError(f"the description in {output} can't be read back; it was not kept")
        own, run = outputs_of(model), outputs_of_file(loaded)
        parity = compare(in_batches(own, images), in_batches(run, images))
        if request.precision == "fp32":
            parity.check("the ExecuTorch program")
        times = median_ms({"torch": own, request.precision: run}, images)
        size_bytes = part.stat().st_size
    own_size = model.weights_path.stat().st_size if model.weights_path.is_file() else 0
    return ExportReport(
        output=output,
        format="executorch",
        sha256=file_sha256(output) if output.is_file() else "",
        model=model.describe(),
        variants=(
            Variant("torch", own_size, times["torch"], None),
            Variant(request.precision, size_bytes, times[request.precision], parity),
        ),
        num_drawn=0 if calibration is not None and images is not drawn else len(drawn),
        folder=request.folder,
        num_calibrated=0 if calibration is None else len(calibration),
    )


def _program(model: LoadedModel, card: str, calibration: Pixels | None, on_step: Callable[[str], None]) -> bytes:
    """A program's bytes; of integers where there are images to calibrate on."""
    if calibration is None:
        on_step("lowering it to XNNPACK, which takes some ten seconds")
        with _quiet():
            return _lowered(model, _trace(model, model.network), card)
    on_step(f"calibrating on {len(calibration)} images")
    try:
        with _quiet():
            return _lowered(model, _quantised(model, model.network, calibration), card)
    except ModelError:
        on_step("calibrating again, with batch norms as convolutions")
    with _quiet():
        return _lowered(model, _quantised(model, norms_as_convolutions(model.network), calibration), card)


def check_installed() -> None:
    """Say what to install, before any work.

    Raises:
        DeviceError: ExecuTorch or what it needs can't be imported.
    """
    try:
        with quiet_imports():
            import executorch.exir  # noqa: F401
            import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401
    except Exception as exc:
        raise DeviceError(
            f"writing .pte files needs a package that can't be imported: {first_reason(exc)}", hint=INSTALL_HINT
        ) from exc
    load_runtime("writing .pte files")


def _trace(model: LoadedModel, network: torch.nn.Module) -> torch.export.ExportedProgram:
    """The network for one image; phones ask about one, and memory is set aside for as many as a program takes."""
    example_BCHW = torch.zeros(1, model.transform.num_channels, *model.transform.size_px)
    try:
        return torch.export.export(network, (example_BCHW,), strict=False)
    except Exception as exc:
        raise _inexpressible(model, first_reason(exc)) from exc


def norms_as_convolutions(network: torch.nn.Module) -> torch.nn.Module:
    """A copy whose batch norms are what they compute, a convolution of each channel for itself.

    Those behind a convolution melt into it. Those behind something else XNNPACK takes in this form alone, once there
    are integers around them.
    """
    copied = copy.deepcopy(network).eval()
    for name, layer in list(copied.named_modules()):
        if not isinstance(layer, torch.nn.BatchNorm2d) or layer.running_mean is None or layer.running_var is None:
            continue
        scale_C = (layer.running_var + layer.eps).rsqrt() * (1 if layer.weight is None else layer.weight)
        shift_C = (0 if layer.bias is None else layer.bias) - layer.running_mean * scale_C
        width = layer.num_features
        convolution = torch.nn.Conv2d(width, width, 1, groups=width).eval()
        with torch.no_grad():
            convolution.weight.copy_(scale_C.view(-1, 1, 1, 1))
            assert convolution.bias is not None
            convolution.bias.copy_(shift_C)
        copied.set_submodule(name, convolution)
    return copied


def _quantised(model: LoadedModel, network: torch.nn.Module, images_NHWC: Pixels) -> torch.export.ExportedProgram:
    """The network with 8-bit integers, with a scale for each output channel's weights, as XNNPACK computes them."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    try:
        quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
        prepared = prepare_pt2e(_trace(model, network).module(), quantizer)
        with torch.inference_mode():
            for image_HWC in images_NHWC:
                prepared(torch.from_numpy(model.transform.normalise_array(image_HWC[None])))
        return _trace(model, convert_pt2e(prepared))
    except ModelError:
        raise
    except Exception as exc:
        raise ModelError(
            f"{model.name!r} can't be quantised to int8: {first_reason(exc)}", hint="export without --int8"
        ) from exc


def _lowered(model: LoadedModel, program: torch.export.ExportedProgram, card: str) -> bytes:
    """A program's bytes.

    Raises:
        ModelError: ExecuTorch has no kernel for an operator; names it and its layer.
    """
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

    try:
        edge = to_edge_transform_and_lower(
            program,
            partitioner=[XnnpackPartitioner()],
            constant_methods={CARD_METHOD: card},
            # Whether there are kernels is checked below, with the layers' names.
            compile_config=EdgeCompileConfig(_check_ir_validity=False),
        )
        _check_kernels(model, edge.exported_program(METHOD).graph)
        content: bytes = edge.to_executorch().buffer
        return content
    except ModelError:
        raise
    except Exception as exc:
        raise _inexpressible(model, first_reason(exc)) from exc


def _check_kernels(model: LoadedModel, graph: torch.fx.Graph) -> None:
    """See that whatever XNNPACK doesn't compute is an operator that ExecuTorch has a kernel for."""
    registry = load_runtime("writing .pte files").operator_registry
    known = registry.operator_names
    for node in graph.nodes:
        schema = getattr(getattr(node.target, "_op", None), "_schema", None)
        if node.op != "call_function" or schema is None:
            continue
        # Kernels write into memory that was set aside for them, so they are those of the operators' `out` forms.
        if any(name == schema.name or name.startswith(f"{schema.name}.") for name in known):
            continue
        layers = list((node.meta.get("nn_module_stack") or {}).values())
        where = f" in the layer {layers[-1][0]!r}" if layers and layers[-1][0] else ""
        raise _inexpressible(model, f"there is no kernel for {schema.name}{where}")


def _inexpressible(model: LoadedModel, reason: str) -> ModelError:
    return ModelError(
        f"{model.name!r} can't be written for ExecuTorch: {reason}",
        hint=f"imgcls export {model.name} --to onnx -o {model.name}.onnx",
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what ExecuTorch's parts say to their developers off stdout, which is for data, and off stderr."""
    with contextlib.redirect_stdout(io.StringIO()), quiet_imports(), quiet_stderr():
        yield
