"""Smaller ONNX models: half precision, and 8-bit integers calibrated on images; onnxruntime's own tools do it.

Shapes: N images, H height, W width, C channels (3).
"""

import contextlib
import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imgcls.errors import ModelError
from imgcls.images.transform import Pixels, Transform

# How many images set the ranges; more change them little and take long.
CALIBRATED = 128


def to_fp16(model: bytes) -> bytes:
    """Weights and arithmetic in half precision; input and output stay float32.

    Where a processor has no half-precision arithmetic, onnxruntime computes in float32 and only the file is smaller.

    Raises:
        ModelError: it can't be converted.
    """
    try:
        with _tools():
            import onnx
            from onnxruntime.transformers.float16 import convert_float_to_float16

            converted = convert_float_to_float16(onnx.load_from_string(model), keep_io_types=True)
        serialised: bytes = converted.SerializeToString()
    except Exception as exc:
        raise ModelError(f"can't be converted to fp16: {_first_line(exc)}", hint="export without --fp16") from exc
    return serialised


def to_int8(model: Path, input_name: str, images_NHWC: Pixels, transform: Transform) -> bytes:
    """Weights and arithmetic in 8-bit integers, with a scale for each output channel's weights.

    One bit of the weights is left unused, because processors without VNNI overflow where it is used.

    Args:
        model: a float32 ONNX file.
        input_name: of its input.
        images_NHWC: images whose activations set the ranges.
        transform: its arithmetic.
    Raises:
        ModelError: it can't be quantised.
    """
    try:
        with _tools(), tempfile.TemporaryDirectory(prefix="imgcls-") as folder:
            from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
            from onnxruntime.quantization.shape_inference import quant_pre_process

            class StoredImages(CalibrationDataReader):  # type: ignore[misc, unused-ignore]
                def __init__(self) -> None:
                    self._left = iter(images_NHWC)

                def get_next(self) -> dict[str, Any] | None:  # type: ignore[override, unused-ignore]
                    image = next(self._left, None)
                    return None if image is None else {input_name: transform.normalise_array(image[None])}

            prepared, quantised = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
            quant_pre_process(model, prepared, skip_symbolic_shape=True)
            quantize_static(
                prepared,
                quantised,
                StoredImages(),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
            )
            return quantised.read_bytes()
    except Exception as exc:
        raise ModelError(f"can't be quantised to int8: {_first_line(exc)}", hint="export without --int8") from exc


@contextlib.contextmanager
def _tools() -> Iterator[None]:
    """Make onnxruntime's tools importable, and quiet: they log advice that their caller has followed."""
    path_before, silenced_before = list(sys.path), logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import onnxruntime.transformers

            # Its modules find each other by their bare names, which nobody else's imports should.
            sys.path.append(str(Path(onnxruntime.transformers.__file__).parent))
            yield
    finally:
        logging.disable(silenced_before)
        sys.path[:] = path_before


def _first_line(exc: Exception) -> str:
    return str(exc).strip().partition("\n")[0] or type(exc).__name__
