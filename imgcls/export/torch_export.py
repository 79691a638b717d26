"""A model as a torch.export program: one `.pt2` file that PyTorch loads without the code that built the network.

TorchScript did this before; it is deprecated.
"""

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from imgcls.errors import ModelError
from imgcls.export.card import card_of
from imgcls.export.graph_input import traceable
from imgcls.export.onnx import check_exportable
from imgcls.export.parity import compare, in_batches, median_ms, outputs_of
from imgcls.export.report import ExportReport, Variant
from imgcls.export.request import ExportRequest
from imgcls.export.sample_images import drawn_pixels, folder_pixels
from imgcls.host.digests import file_sha256
from imgcls.host.files import replacing
from imgcls.images.transform import Floats, Pixels
from imgcls.models.loaded_model import LoadedModel
from imgcls.models.programs.archive import CARD_FILE, read_archive
from imgcls.models.programs.torch_export import load_program


def write(model: LoadedModel, output: Path, request: ExportRequest) -> ExportReport:
    """See `export_program`."""
    return export_program(model, output, folder=request.folder, on_step=request.on_step)


def export_program(
    model: LoadedModel,
    output: Path,
    *,
    folder: Path | None = None,
    on_step: Callable[[str], None] = lambda _step: None,
) -> ExportReport:
    """Write a model as a torch.export program, load the file again, and compare its answers with the model's.

    Args:
        model: any that `load_model` gives.
        output: the file; replaced when it is there.
        folder: images to compare on beside the drawn ones.
        on_step: told what is being done.
    Raises:
        ModelError: it can't be exported, or the file answers differently; then it isn't kept.
        UsageError: the model is an exported file.
        DataError: no image in the folder can be read.
        OutputError: the file can't be written.
    """
    check_exportable(model)
    images = drawn = drawn_pixels(model.transform)
    if folder is not None:
        images = np.concatenate([drawn, folder_pixels(folder, model.transform)])
    on_step("tracing the network")
    program = trace(model)
    card = card_of(model)
    with replacing(output) as part:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Through memory, because torch insists on the suffix .pt2 and the temporary file has another.
            buffer = io.BytesIO()
            torch.export.save(program, buffer, extra_files={CARD_FILE: card.to_json()})
            part.write_bytes(buffer.getbuffer())
            del program, buffer
            on_step("comparing its answers")
            found_card = read_archive(part).card
            loaded = load_program(part, found_card)
        if found_card != card:
            raise ModelError(f"the description in {output} can't be read back; it was not kept")

        @torch.inference_mode()
        def run(images_NHWC: Pixels) -> Floats:
            images_NCHW = torch.from_numpy(images_NHWC).permute(0, 3, 1, 2).contiguous()
            outputs: Floats = loaded(found_card.transform.normalise(images_NCHW)).numpy()
            return outputs

        own = outputs_of(model)
        several = model.multi_label is not None
        parity = compare(in_batches(own, images), in_batches(run, images), is_multi_label=several)
        parity.check("the torch.export program")
        times = median_ms({"torch": own, "torch-export": run}, images)
        size_bytes = part.stat().st_size
    own_size = model.weights_path.stat().st_size if model.weights_path.is_file() else 0
    return ExportReport(
        output=output,
        format="torch-export",
        sha256=file_sha256(output) if output.is_file() else "",
        model=model.describe(),
        variants=(
            Variant("torch", own_size, times["torch"], None),
            Variant("torch-export", size_bytes, times["torch-export"], parity),
        ),
        num_drawn=len(drawn),
        folder=folder,
    )


def trace(model: LoadedModel, *, with_transform: bool = False) -> torch.export.ExportedProgram:
    """The network as a program for any number of images.

    Args:
        model: whose network it is.
        with_transform: put its transform in front; then images may have any size.
    Raises:
        ModelError: it can't be exported.
        UsageError: its transform can't be part of a graph.
    """
    traced = traceable(model, with_transform=with_transform)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(
                traced.network, (traced.example,), dynamic_shapes=traced.dynamic_shapes, strict=False
            )
    except Exception as exc:
        raise ModelError(
            f"{model.name!r} can't be exported: {str(exc).strip().partition(chr(10))[0]}",
            hint=f"imgcls export {model.name} --to onnx -o {model.name}.onnx",
        ) from exc
