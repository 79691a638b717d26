"""ONNX files of other tools: what a person says of them, and what they say of themselves.

Ultralytics writes class names and the size of the image into the metadata.
"""

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from imgcls.errors import UsageError
from imgcls.images.transform import Transform
from imgcls.models.model_card import ModelCard
from imgcls.models.onnx.answers import Activation, Answers, choose_output, read_answers
from imgcls.models.onnx.graph import Graph
from imgcls.models.onnx.input_options import InputOptions
from imgcls.models.onnx.session import OnnxSession

HINT = "say what it was trained on: --labels FILE --preset imagenet, or --labels FILE --mean --std --size"
# Longer ones would take long to read; a thousand names take 20,000 characters.
MAX_CHARACTERS = 1 << 22


class Told(NamedTuple):
    """What a person says of a file that doesn't say it itself.

    Attributes:
        labels: of the outputs in their order.
        transform: the preprocessing.
        activation: what turns the outputs into probabilities.
        output_name: which of several outputs to read.
    """

    labels: Sequence[str] | None = None
    transform: Transform | InputOptions | None = None
    activation: Activation | None = None
    output_name: str | None = None


def read_foreign(
    path: Path, sha256: str, session: OnnxSession, graph: Graph, told: Told
) -> tuple[ModelCard, Answers, tuple[str, ...]]:
    """What the answers of another tool's file mean.

    Args:
        path: the file.
        sha256: of it.
        session: that runs it.
        graph: of the file.
        told: by a person; goes before what the file says.
    Returns:
        Its labels and transform, how its answers are read, and notes on what was chosen.
    Raises:
        UsageError: labels or transform are missing, or what was said can't be.
        ModelError: it is no classifier, or has another number of labels.
    """
    metadata, outputs = session.metadata, session.outputs
    labels = told.labels or stored_labels(metadata)
    output = choose_output(outputs, graph, told=told.output_name, num_labels=len(labels) if labels else None)
    labels = labels or graph.labels.get(output.name)
    transform = told.transform or described_input(metadata)
    missing = [name for name, value in (("class names", labels), ("transform", transform)) if value is None]
    if labels is None or transform is None:
        hint = HINT if labels is None else HINT.replace("--labels FILE ", "")
        raise UsageError(f"{path} doesn't hold its {' and '.join(missing)}", hint=hint)
    answers = read_answers(output, graph, activation=told.activation)
    if isinstance(transform, InputOptions):
        transform = transform.transform(session.input)
    notes: tuple[str, ...] = ()
    if len(outputs) > 1 and told.output_name is None:
        others = ", ".join(each.name for each in outputs if each.name != output.name)
        notes = (f"reads the output {output.name!r} of {path}, not {others} (--output-name)",)
    is_one = output.num_values == 1 and len(labels) == 2
    answers = answers._replace(multi_label=answers.multi_label and not is_one)
    if output.num_values is not None:
        answers.check_count(output.num_values, len(labels), path=path)
    return ModelCard(path.stem, tuple(labels), transform, sha256), answers, notes


def stored_labels(metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    """Class names as ultralytics writes them, `{0: 'tench', 1: 'goldfish'}`; None where there are none."""
    names = _literal(metadata.get("names", ""))
    if not isinstance(names, dict) or set(names) != set(range(len(names))) or not names:
        return None
    labels = tuple(str(names[index]) for index in range(len(names)))
    is_text = all(label and label == label.encode("utf-8", "replace").decode() for label in labels)
    return labels if is_text else None


def described_input(metadata: Mapping[str, str]) -> InputOptions | None:
    """The preprocessing of a classifier that ultralytics exported; None for other files."""
    if metadata.get("task") != "classify" or "names" not in metadata:
        return None
    size = _literal(metadata.get("imgsz", ""))
    is_size = isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)
    return InputOptions(preset="ultralytics", size=f"{size[0]}x{size[1]}" if is_size else None)  # type: ignore[index]


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text) if len(text) <= MAX_CHARACTERS else None
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None
