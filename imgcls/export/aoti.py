"""A model as an AOTInductor package: native code for one kind of machine, which C++ runs without Python.

Shapes: N images, H height, W width, C channels (3), K classes.
"""

import contextlib
import io
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from imgcls.errors import DeviceError, ModelError
from imgcls.export.card import card_of
from imgcls.export.onnx import check_exportable
from imgcls.export.parity import Outputs, compare, in_batches, median_ms, outputs_of
from imgcls.export.report import ExportReport, Variant, first_reason
from imgcls.export.request import ExportRequest
from imgcls.export.sample_images import drawn_pixels, folder_pixels
from imgcls.export.torch_export import trace
from imgcls.export.transform_check import check_transform
from imgcls.host.devices import choose_device
from imgcls.host.digests import file_sha256
from imgcls.host.files import replacing
from imgcls.images.transform import Floats, Pixels
from imgcls.models.exported import ExportedNetwork, open_exported
from imgcls.models.loaded_model import LoadedModel
from imgcls.models.model_card import ModelCard
from imgcls.models.programs.aoti import AotiNetwork
from imgcls.models.programs.archive import CARD_KEY

COMPILERS = ("c++", "g++", "clang++", "cl")
COMPILER_HINT = "apt-get install g++ (Debian, Ubuntu), xcode-select --install (macOS); or name yours in CXX"


def write(model: LoadedModel, output: Path, request: ExportRequest) -> ExportReport:
    """Compile a model, load the package again, and compare its answers with the model's.

    Args:
        model: any that `load_model` gives.
        output: the file; replaced when it is there.
        request: how.
    Raises:
        ModelError: it can't be compiled, or the package answers differently; then it isn't kept.
        UsageError: the model is an exported file.
        DataError: no image in the folder can be read.
        DeviceError: there is no C++ compiler, or the device isn't there.
        OutputError: the file can't be written.
    """
    check_exportable(model)
    check_compiler()
    device = choose_device(request.device).device
    if device.type not in ("cpu", "cuda"):
        if request.device != "auto":
            raise DeviceError(f"packages are for cpu and cuda, not for {device.type}", hint="--device cpu")
        device = torch.device("cpu")
    images = drawn = drawn_pixels(model.transform)
    if request.folder is not None:
        images = np.concatenate([drawn, folder_pixels(request.folder, model.transform)])
    own = outputs_of(model)
    expected = in_batches(own, images)
    with contextlib.ExitStack() as stack:
        part = stack.enter_context(replacing(output))
        # Under a name of its own: torch insists on the suffix.
        package = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="imgcls-"))) / "m.pt2"
        request.on_step("tracing the network")
        card = card_of(model, input_="pixels" if request.with_transform else "normalised")
        compile_package(model, card, package, device=device, on_step=request.on_step)
        request.on_step("comparing its answers")
        # What this process has just compiled is no stranger's code.
        loaded = open_exported(package, allow_code=True)
        if loaded.card != card:
            raise ModelError(f"the description in {output} can't be read back; it was not kept")
        run = outputs_of_file(loaded)
        several = model.multi_label is not None
        parity = compare(expected, in_batches(run, images), is_multi_label=several)
        parity.check("the AOTInductor package")
        transform_parity = None
        if isinstance(loaded, AotiNetwork) and card.takes_pixels:
            request.on_step("comparing its transform with Pillow's")
            transform_parity = check_transform(model, own, pixel_outputs_of(loaded), request.folder)
        times = median_ms({"torch": own, "aoti": run}, images)
        shutil.copyfile(package, part)
    own_size = model.weights_path.stat().st_size if model.weights_path.is_file() else 0
    return ExportReport(
        output=output,
        format="aoti",
        sha256=file_sha256(output) if output.is_file() else "",
        model=model.describe(),
        variants=(
            Variant("torch", own_size, times["torch"], None),
            Variant("aoti", output.stat().st_size, times["aoti"], parity),
        ),
        num_drawn=len(drawn),
        folder=request.folder,
        transform_parity=transform_parity,
    )


def outputs_of_file(network: ExportedNetwork) -> Outputs:
    """An exported file's answers, as the parity check asks for them."""

    @torch.inference_mode()
    def run(images_NHWC: Pixels) -> Floats:
        images_NCHW = torch.from_numpy(images_NHWC).permute(0, 3, 1, 2).contiguous()
        outputs: Floats = network(network.card.transform.normalise(images_NCHW)).float().numpy()
        return outputs

    return run


def pixel_outputs_of(network: AotiNetwork) -> Outputs:
    """A package's answers for decoded images of any size, where it holds its transform."""

    @torch.inference_mode()
    def run(pixels_NHWC: Pixels) -> Floats:
        outputs: Floats = network.run(torch.from_numpy(pixels_NHWC.copy())).float().cpu().numpy()
        return outputs

    return run


def compile_package(
    model: LoadedModel, card: ModelCard, package: Path, *, device: torch.device, on_step: Callable[[str], None]
) -> None:
    """Write a package.

    Args:
        model: whose network is compiled; it stays where it is.
        card: what the package says of itself.
        package: the file; its suffix is `.pt2`.
        device: whose code it is.
        on_step: told what is being done.
    Raises:
        ModelError: the network can't be traced or compiled.
    """
    program = trace(model, with_transform=card.takes_pixels)
    if device.type != "cpu":
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)
    on_step("compiling it, which takes about half a minute")
    # The number of threads is the caller's to choose, not fixed in the code; and the description travels inside.
    configs = {"cpp.dynamic_threads": True, "aot_inductor.metadata": {CARD_KEY: card.to_json()}}
    try:
        with _quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torch._inductor import aoti_compile_and_package

            aoti_compile_and_package(program, package_path=str(package), inductor_configs=configs)
    except Exception as exc:
        raise ModelError(
            f"{model.name!r} can't be compiled: {first_reason(exc)}",
            hint=f"imgcls export {model.name} --to onnx -o {model.name}.onnx",
        ) from exc


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the compiler's parts say to their developers from people, and off stdout, which is for data."""
    # It warns that a build of torch with CUDA finds none, which is no fault.
    logger = logging.getLogger("torch.utils.cpp_extension")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def check_compiler() -> None:
    """Say what to install, before any work.

    Raises:
        DeviceError: there is no C++ compiler.
    """
    told = os.environ.get("CXX")
    if not any(shutil.which(name) for name in ([told] if told else COMPILERS)):
        raise DeviceError(
            f"an AOTInductor package takes a C++ compiler, and there is no {told or 'g++ or clang++'} here",
            hint=COMPILER_HINT,
        )
