"""From what an ONNX file answers to probabilities: which output, in which shape, softmax or sigmoid or neither.

What is done follows from the file and from what a person says of it, never from the numbers: the same image gets the
same answer whatever came before it.

Shapes: B batch, K classes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from imgcls.errors import ModelError, UsageError
from imgcls.images.transform import Floats
from imgcls.models.onnx.graph import Graph

Activation = Literal["softmax", "sigmoid", "none"]
FLOAT_TYPES = ("tensor(float)", "tensor(float16)", "tensor(double)")
MAP_TYPE = "seq(map("
# Of several outputs of probabilities, the one that other tools call so; a name that contains it will do.
LIKELY_NAMES = ("prob", "softmax", "score", "loss", "output", "logit")
# Half precision leaves so much beyond 0 and 1.
TOLERANCE = 5e-3
# Beyond it e^-x is no float32 any more.
LARGEST_EXPONENT = 88.0


class Output(NamedTuple):
    """One output of a file, as onnxruntime describes it.

    Attributes:
        name, type: such as `tensor(float)`.
        shape: sizes, None where any will do; empty for maps.
    """

    name: str
    type: str
    shape: tuple[int | None, ...]

    @property
    def num_values(self) -> int | None:
        """How many numbers it gives per image; None where that isn't said."""
        rest = [size for size in self.shape[1:] if size != 1]
        return 1 if len(self.shape) > 1 and not rest else rest[0] if len(rest) == 1 else None

    @property
    def holds_scores(self) -> bool:
        """Whether it may hold a number for each class."""
        if self.type.startswith(MAP_TYPE):
            return True
        return self.type in FLOAT_TYPES and len([size for size in self.shape[1:] if size != 1]) <= 1


class Answers(NamedTuple):
    """How a file's answers are read.

    Attributes:
        output: the name of the output.
        activation: what is done to it.
        multi_label: whether each class is answered for itself, so that probabilities don't add up to 1.
        labels: keys of a map from classes to probabilities, in order; empty for tensors.
    """

    output: str
    activation: Activation
    multi_label: bool = False
    labels: tuple[str, ...] = ()

    def rows(self, raw: Any, count: int) -> Floats:
        """The numbers of an output.

        Args:
            raw: as onnxruntime gives it.
            count: of images.
        Returns:
            float32, shape (count, K).
        Raises:
            ValueError: it has another shape.
        """
        if isinstance(raw, list):
            raw = [[row[key] for key in _keys(row, self.labels)] for row in raw]
        values: Floats = np.asarray(raw).astype(np.float32, copy=False)
        if sum(size != 1 for size in values.shape[1:]) > 1 or values.size % count or values.ndim == 0:
            raise ValueError(f"answers in shape {values.shape}, not one row per image")
        if len(values) != count and (values.ndim != 1 or count != 1):
            raise ValueError(f"answers in shape {values.shape}, not one row per image")
        return values.reshape(count, -1)

    def probabilities(self, rows_BK: Floats, num_classes: int) -> Floats:
        """Probabilities from the numbers of an output.

        Args:
            rows_BK: as `rows` gives them.
            num_classes: how many labels there are: two for one number means that it is the second one's probability.
        Raises:
            ValueError: without activation, but no probabilities.
        """
        if self.activation == "softmax":
            return softmax(rows_BK)
        if self.activation == "sigmoid":
            rows_BK = sigmoid(rows_BK)
        elif not ((rows_BK > -TOLERANCE) & (rows_BK < 1 + TOLERANCE)).all():
            raise ValueError(f"answers from {rows_BK.min():.3g} to {rows_BK.max():.3g}, which are no probabilities")
        rows_BK = rows_BK.clip(0, 1)
        return np.concatenate([1 - rows_BK, rows_BK], axis=1) if rows_BK.shape[1] < num_classes else rows_BK

    def check_count(self, num_outputs: int, num_labels: int, *, path: Path) -> None:
        """See that there is a label for each number of an image's answer.

        Args:
            num_outputs: numbers per image.
            num_labels: of the model.
            path: of the file, for the message.
        Raises:
            ModelError: there are more, or fewer.
        """
        # One probability answers a question of two classes.
        is_one = num_outputs == 1 and num_labels == 2 and self.activation != "softmax"
        if num_outputs != num_labels and not is_one:
            raise ModelError(
                f"{path} has {num_outputs} outputs, but {num_labels} labels",
                hint="give one label a line for every output, in their order",
            )


OWN_ANSWERS = Answers("", "softmax")
OWN_MULTI_LABEL_ANSWERS = Answers("", "sigmoid", True)


def choose_output(outputs: Sequence[Output], graph: Graph, *, told: str | None, num_labels: int | None) -> Output:
    """The output to read.

    Args:
        outputs: all of the file's.
        graph: of the file.
        told: its name, from a person.
        num_labels: how many classes there are, where known.
    Raises:
        UsageError: there is none of that name.
        ModelError: none holds a number for each class.
    """
    names = ", ".join(output.name for output in outputs)
    if told is not None:
        named = next((output for output in outputs if output.name == told), None)
        if named is None:
            raise UsageError(f"there is no output {told!r}", hint=f"--output-name takes one of: {names}")
        candidates = [named]
    else:
        candidates = list(outputs)
    candidates = [output for output in candidates if output.holds_scores]
    if not candidates:
        raise ModelError(
            f"no number for each class in the output {told or names}", hint="use an image classifier's ONNX file"
        )

    def likelihood(output: Output) -> tuple[bool, bool, int]:
        found = len(graph.labels.get(output.name, ())) or output.num_values
        name = output.name.lower()
        rank = next((-place for place, word in enumerate(LIKELY_NAMES) if word in name), -len(LIKELY_NAMES))
        is_probable = graph.endings.get(output.name) in ("softmax", "sigmoid")
        return num_labels is not None and found == num_labels, is_probable, rank

    return max(candidates, key=likelihood)


def read_answers(output: Output, graph: Graph, *, activation: Activation | None) -> Answers:
    """How the numbers of an output become probabilities.

    Args:
        output: which.
        graph: of the file, whose last operator decides where nobody says it.
        activation: what a person says.
    Raises:
        UsageError: the graph doesn't show it, or what was said can't be.
    """
    ending = graph.endings.get(output.name, "unknown")
    labels = graph.labels.get(output.name, ())
    if activation == "softmax" and output.num_values == 1:
        raise UsageError(
            "the softmax of a single output is always 1", hint="use --activation sigmoid, or none for a probability"
        )
    if activation is not None:
        is_multi = activation == "sigmoid" or (activation == "none" and ending == "sigmoid")
        return Answers(output.name, activation, is_multi, labels)
    if ending == "logits" and output.num_values != 1:
        return Answers(output.name, "softmax", False, labels)
    if ending in ("softmax", "sigmoid") and (ending, output.num_values) != ("softmax", 1):
        return Answers(output.name, "none", ending == "sigmoid", labels)
    if output.num_values == 1:
        raise UsageError(
            f"the single output {output.name!r} doesn't show whether it is a probability",
            hint="add --activation sigmoid, or --activation none where it is one already",
        )
    raise UsageError(
        f"the graph doesn't show whether the output {output.name!r} holds probabilities",
        hint="add --activation softmax for logits, sigmoid for several labels per image, none for probabilities",
    )


def softmax(logits_BK: Floats) -> Floats:
    """Probabilities of each row, float32."""
    exponentials_BK = np.exp(logits_BK - logits_BK.max(axis=1, keepdims=True))
    result: Floats = exponentials_BK / exponentials_BK.sum(axis=1, keepdims=True)
    return result


def sigmoid(logits_BK: Floats) -> Floats:
    """Probabilities of each number, float32."""
    result: Floats = 1 / (1 + np.exp(-logits_BK.clip(-LARGEST_EXPONENT, LARGEST_EXPONENT)))
    return result


def _keys(row: dict[Any, float], labels: tuple[str, ...]) -> list[Any]:
    by_name = {str(key): key for key in row}
    if set(by_name) != set(labels):
        raise ValueError(f"answers for {len(by_name)} classes, not for the {len(labels)} that it names")
    return [by_name[label] for label in labels]
