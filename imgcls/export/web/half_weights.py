"""Weights stored in half precision for arithmetic in float32, which every browser has.

Half-precision arithmetic isn't: WebAssembly has none, and of the GPUs that WebGPU offers only some do.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Scalars and short vectors are no weights worth shrinking.
FEWEST_VALUES = 64


def with_half_weights(model: bytes) -> bytes:
    """The same graph with its large float32 constants in half precision, and a cast behind each.

    ONNX Runtime computes the casts once, when it opens the model. Constants that half precision has no numbers for stay
    as they are.

    Args:
        model: a whole ONNX file of float32.
    """
    proto = onnx.load_from_string(model)
    casts = []
    for constant in proto.graph.initializer:
        if constant.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(constant)
        if values.size < FEWEST_VALUES or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = f"{constant.name}.half"
        casts.append(helper.make_node("Cast", [name], [constant.name], to=TensorProto.FLOAT))
        constant.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name))
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend([*casts, *nodes])
    serialised: bytes = proto.SerializeToString()
    return serialised
