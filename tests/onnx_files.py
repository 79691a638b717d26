"""Small ONNX classifiers made by onnx itself, as other tools would write them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from imgcls.images.transform import Transform
from imgcls.models.model_card import ModelCard
from imgcls.models.onnx.file_bytes import laid_out
from imgcls.models.onnx.model import CARD_KEY

SIDE = 8
NUM_CLASSES = 12
LABELS = tuple(f"class {index}" for index in range(NUM_CLASSES))
TRANSFORM = Transform(SIDE, SIDE, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))


def weights(scale: float = 1.0) -> "np.ndarray[Any, Any]":
    """A matrix from flattened NCHW images to outputs, larger than what is copied instead of mapped."""
    return (np.random.default_rng(0).normal(size=(3 * SIDE * SIDE, NUM_CLASSES)) * scale).astype(np.float32)


def linear_model(
    *,
    batch: int | str = "batch",
    softmax: bool = False,
    channels_last: bool = False,
    dtype: int = TensorProto.FLOAT,
    scale: float = 1.0,
) -> onnx.ModelProto:
    """Flatten, multiply, and softmax if asked for.

    Args:
        batch: images at once, or a name for any number.
        softmax: whether the outputs are probabilities.
        channels_last: whether it takes BHWC.
        dtype: of the input, as onnx counts them.
        scale: of the weights.
    """
    nodes, name = [], "images"
    if dtype != TensorProto.FLOAT:
        nodes.append(helper.make_node("Cast", [name], ["cast"], to=TensorProto.FLOAT))
        name = "cast"
    if channels_last:
        nodes.append(helper.make_node("Transpose", [name], ["planes"], perm=[0, 3, 1, 2]))
        name = "planes"
    nodes += [
        helper.make_node("Flatten", [name], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    output = "logits"
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1))
        output = "probabilities"
    shape = [batch, SIDE, SIDE, 3] if channels_last else [batch, 3, SIDE, SIDE]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("images", dtype, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, NUM_CLASSES])],
        [numpy_helper.from_array(weights(scale), "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_foreign(path: Path, **settings: Any) -> Path:
    """Write a model that says nothing of its classes."""
    path.write_bytes(linear_model(**settings).SerializeToString())
    return path


def write_own(path: Path, **settings: Any) -> Path:
    """Write a model as `imgcls export` lays it out."""
    card = ModelCard("linear", LABELS, TRANSFORM, "ab" * 32, versions={"imgcls": "0"})
    path.write_bytes(b"".join(laid_out(linear_model(**settings).SerializeToString(), {CARD_KEY: card.to_json()})))
    return path


def expected_logits(images_BHWC: "np.ndarray[Any, Any]", scale: float = 1.0) -> "np.ndarray[Any, Any]":
    """What the model answers, computed here."""
    scaled = images_BHWC.astype(np.float64) / 255
    normalised = (scaled - np.array(TRANSFORM.mean)) / np.array(TRANSFORM.std)
    return normalised.transpose(0, 3, 1, 2).reshape(len(images_BHWC), -1) @ weights(scale).astype(np.float64)


def some_pixels(count: int) -> "np.ndarray[Any, Any]":
    """Bytes of shape (count, 8, 8, 3)."""
    return np.random.default_rng(count).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
