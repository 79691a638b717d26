"""Small ONNX classifiers made by onnx itself, as other tools would write them."""

from collections.abc import Sequence
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
    path.write_bytes(b"".join(laid_out(linear_model(**settings).SerializeToString(), {CARD_KEY: _card().to_json()})))
    return path


def expected_logits(images_BHWC: "np.ndarray[Any, Any]", scale: float = 1.0) -> "np.ndarray[Any, Any]":
    """What the model answers, computed here."""
    scaled = images_BHWC.astype(np.float64) / 255
    normalised = (scaled - np.array(TRANSFORM.mean)) / np.array(TRANSFORM.std)
    return normalised.transpose(0, 3, 1, 2).reshape(len(images_BHWC), -1) @ weights(scale).astype(np.float64)


def some_pixels(count: int) -> "np.ndarray[Any, Any]":
    """Bytes of shape (count, 8, 8, 3)."""
    return np.random.default_rng(count).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def write_convolution(path: Path) -> Path:
    """Write a classifier that says nothing of its classes, with a convolution, whose kernels differ by layout."""
    random = np.random.default_rng(1)
    kernels = random.normal(size=(16, 3, 3, 3)).astype(np.float32)
    head = random.normal(size=(16, NUM_CLASSES)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["images", "kernels"], ["maps"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["maps"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "convolution",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", NUM_CLASSES])],
        [numpy_helper.from_array(kernels, "kernels"), numpy_helper.from_array(head, "head")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def ending_in(
    nodes: Sequence[onnx.NodeProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Sequence[onnx.TensorProto] = (),
    **settings: Any,
) -> onnx.ModelProto:
    """The linear model, whose `logits` go on into other nodes.

    Args:
        nodes: appended.
        outputs: in place of its own.
        constants: which the nodes need.
        settings: of `linear_model`.
    """
    model = linear_model(**settings)
    model.graph.node.extend(nodes)
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    model.graph.initializer.extend(constants)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    return model


def write_endless(path: Path) -> Path:
    """Write a file as `imgcls export` lays it out, whose graph goes round in a loop for ever."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["goes_on"], ["goes_on_after"]),
            helper.make_node("Relu", ["state"], ["state_after"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("goes_on_after", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state_after", TensorProto.FLOAT, None),
        ],
    )
    model = linear_model()
    model.graph.node.insert(0, helper.make_node("Loop", ["", "always", "images"], ["images_after"], body=body))
    model.graph.node[1].input[0] = "images_after"
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "always"))
    path.write_bytes(b"".join(laid_out(model.SerializeToString(), {CARD_KEY: _card().to_json()})))
    return path


def _card() -> ModelCard:
    return ModelCard("linear", LABELS, TRANSFORM, "ab" * 32, versions={"imgcls": "0"})
