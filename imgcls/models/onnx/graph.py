"""What the graph of an ONNX file says beside its numbers: how it ends, which classes it names, where its weights are.

Only files that `imgcls export` didn't write are read here: the `onnx` package copies all of a file's weights.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from imgcls.errors import DeviceError, ModelError

if TYPE_CHECKING:
    import onnx

INSTALL_HINT = "pip install 'imgcls[onnx]'"
# What an output is, as the operator says that computes it.
Ending = Literal["softmax", "sigmoid", "logits", "unknown"]
# Operators that change the type or the shape of an answer, not what it means.
LOOKED_THROUGH = frozenset(
    (
        *("Cast", "CastLike", "DequantizeLinear", "Dropout", "Flatten", "Identity"),
        *("QuantizeLinear", "Reshape", "Squeeze", "Transpose", "Unsqueeze", "ZipMap"),
    )
)
LINEAR = (
    *("Conv", "FusedConv", "QLinearConv", "Einsum", "BatchNormalization"),
    *("Gemm", "FusedGemm", "QGemm", "MatMul", "FusedMatMul", "QLinearMatMul", "DynamicQuantizeMatMul"),
    *("MatMulIntegerToFloat", "MatMulNBits"),
)
POOLING = (
    *("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean"),
    *("QLinearAveragePool", "QLinearGlobalAveragePool"),
)
ENDINGS: dict[str, Ending] = {
    **dict.fromkeys(("Softmax", "QLinearSoftmax"), "softmax"),
    **dict.fromkeys(("Sigmoid", "QLinearSigmoid", "HardSigmoid"), "sigmoid"),
    # The softmax of a log-softmax is the softmax.
    **dict.fromkeys((*LINEAR, *POOLING, "LogSoftmax"), "logits"),
}
# Arithmetic that leaves logits logits, and makes something else of probabilities.
ARITHMETIC = frozenset(("Add", "Div", "Mul", "QLinearAdd", "QLinearMul", "Sub"))
# So much of it in a row: a bias, a scale, a temperature, an offset.
MAX_DEPTH = 4
TO_PLANES = [0, 3, 1, 2]


class Graph(NamedTuple):
    """What was found.

    Attributes:
        endings: what each output is, by its name.
        labels: class names of each output that is a map from them, in order.
        takes_channels_last: the input is turned from BHWC to BCHW first.
        external: files beside it that hold weights, by their names in it, sorted.
    """

    endings: dict[str, Ending]
    labels: dict[str, tuple[str, ...]]
    takes_channels_last: bool
    external: tuple[str, ...]


def read_graph(path: Path) -> Graph:
    """Read an ONNX file's graph.

    Raises:
        ModelError: no ONNX file, or its weights are said to lie outside its folder.
        DeviceError: the `onnx` package isn't installed.
    """
    try:
        import onnx
    except ImportError as exc:
        raise DeviceError(
            f"ONNX files from elsewhere need a package that can't be imported: {exc}", hint=INSTALL_HINT
        ) from exc
    try:
        model = onnx.load(str(path), load_external_data=False)
        external = tuple(sorted(set(_locations(_tensors(model)))))
        if model.functions:
            from onnx.inliner import inline_local_functions

            model = inline_local_functions(model)
    except Exception as exc:
        # A damaged message drives the parser into any error there is.
        reason = str(exc).partition("\n")[0]
        raise ModelError(f"{path} can't be read: {reason}", hint="use an ONNX file, or export the model again") from exc
    outside = [name for name in external if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts]
    if outside:
        raise ModelError(f"{path} has weights outside of its folder: {outside[0]}", hint="use another model")
    walk = _Walk(model.graph)
    names = [output.name for output in model.graph.output]
    inputs = {each.name for each in model.graph.input} - walk.constants
    first = [node for node in model.graph.node if inputs & set(node.input)]
    return Graph(
        endings={name: walk.ending(name) for name in names},
        labels={name: labels for name in names if (labels := walk.map_labels(name))},
        takes_channels_last=any(_ints(node, "perm") == TO_PLANES for node in first if node.op_type == "Transpose"),
        external=external,
    )


class _Walk:
    """Follows a graph from its outputs backwards."""

    def __init__(self, graph: "onnx.GraphProto") -> None:
        self._producers = {name: node for node in graph.node for name in node.output}
        self.constants = {tensor.name for tensor in graph.initializer}

    def ending(self, name: str, *, depth: int = MAX_DEPTH) -> Ending:
        """What a value is."""
        node = self._producers.get(name)
        # A damaged graph may go round in circles.
        for _ in self._producers:
            if node is None or node.op_type not in LOOKED_THROUGH or not node.input:
                break
            node = self._producers.get(node.input[0])
        if node is None:
            return "unknown"
        if node.op_type in ARITHMETIC and depth > 0:
            return self._of_arithmetic(node, depth)
        return ENDINGS.get(node.op_type, "unknown")

    def map_labels(self, name: str) -> tuple[str, ...]:
        """The keys of a map from classes to probabilities; empty for other outputs."""
        node = self._producers.get(name)
        if node is None or node.op_type != "ZipMap":
            return ()
        for attribute in node.attribute:
            if attribute.name == "classlabels_strings":
                return tuple(label.decode("utf-8", "replace") for label in attribute.strings)
            if attribute.name == "classlabels_int64s":
                return tuple(map(str, attribute.ints))
        return ()

    def _of_arithmetic(self, node: "onnx.NodeProto", depth: int) -> Ending:
        above, below = (self._operator(name) for name in (*node.input, "", "")[:2])
        if node.op_type == "Div" and (above, below) == ("Exp", "ReduceSum"):
            return "softmax"
        values = [name for name in node.input if name and not self._is_constant(name)]
        kinds = {self.ending(name, depth=depth - 1) for name in values}
        is_sum = node.op_type in ("Add", "QLinearAdd", "Sub")
        # A sum of two values is what a network with branches ends in; a product of two can be anything.
        return "logits" if kinds == {"logits"} and (is_sum or len(values) == 1) else "unknown"

    def _operator(self, name: str) -> str:
        node = self._producers.get(name)
        return node.op_type if node is not None else ""

    def _is_constant(self, name: str) -> bool:
        node = self._producers.get(name)
        if node is None:
            return name in self.constants
        is_passed_on = node.op_type in LOOKED_THROUGH and bool(node.input)
        return node.op_type == "Constant" or (is_passed_on and node.input[0] in self.constants)


def _ints(node: "onnx.NodeProto", name: str) -> list[int]:
    return next((list(attribute.ints) for attribute in node.attribute if attribute.name == name), [])


def _tensors(model: "onnx.ModelProto") -> Iterator[Any]:
    nodes: list[Any] = [node for function in model.functions for node in function.node]
    graphs: list[Any] = [model.graph]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes += graph.node
            continue
        for attribute in nodes.pop().attribute:
            yield from (attribute.t, *attribute.tensors)
            graphs += [each for each in (attribute.g, *attribute.graphs) if each.node or each.initializer]


def _locations(tensors: Iterable[Any]) -> Iterator[str]:
    for tensor in tensors:
        for entry in tensor.external_data:
            if entry.key == "location":
                yield entry.value
