"""The answer for each image of an evaluation, as a table: true class, first answers, margin, loss."""

import csv
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imgcls.errors import UsageError
from imgcls.evaluation.figures.scores import ImageScores, Integers
from imgcls.host.terminal_text import counted

SUFFIXES = (".csv", ".jsonl", ".parquet")
# Rows that are held before they become a row group of Parquet.
ROW_GROUP_ROWS = 50_000


def check_suffix(path: Path) -> None:
    """Refuse a file whose suffix stands for no format, or for one that needs what isn't installed.

    Raises:
        UsageError: says which suffixes there are.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"{path}: its suffix stands for none of the {counted(len(SUFFIXES), 'format')} of answers",
            hint=f"--errors {path.stem or 'answers'}.csv, or .jsonl, or .parquet",
        )
    if path.suffix.lower() == ".parquet":
        from imgcls.outputs.formats.parquet import require_pyarrow

        require_pyarrow()


def order_of(scores: ImageScores, *, by_loss: bool) -> Integers:
    """The rows of the table: by falling loss, equal ones in the order of the set; else that order."""
    if not by_loss:
        return np.arange(len(scores))
    return np.argsort(-np.nan_to_num(scores.losses_N, nan=np.inf), kind="stable")


def rows(
    scores: ImageScores, labels: Sequence[str], name_of: Callable[[int], str], order_N: Integers
) -> Iterator[dict[str, Any]]:
    """The answer for each image, as plain values; a number that is none is None.

    Args:
        scores: of the images.
        labels: of the model's outputs.
        name_of: from an image's index in the set to its name.
        order_N: of the rows, as indices in `scores`.
    """
    for row in order_N.tolist():
        yield {
            "input": name_of(int(scores.indices_N[row])),
            "label": labels[int(scores.labels_N[row])],
            "predicted": labels[int(scores.guesses_N[row])],
            "correct": bool(scores.correct_N[row]),
            "probability": _number(scores.confidences_N[row]),
            "label_probability": _number(scores.true_probabilities_N[row]),
            "margin": _number(scores.margins_N[row]),
            "loss": _number(scores.losses_N[row]),
            "predictions": [
                {"class_id": class_id, "label": labels[class_id], "probability": _number(probability)}
                for class_id, probability in zip(
                    scores.top_ids_NT[row].tolist(), scores.top_probabilities_NT[row].tolist(), strict=True
                )
            ],
        }


def write_rows(path: Path, suffix: str, found: Iterator[dict[str, Any]], *, num_answers: int) -> None:
    """Write the table.

    Args:
        path: the file.
        suffix: one of `SUFFIXES`.
        found: see `rows`.
        num_answers: classes in each row.
    """
    if suffix == ".parquet":
        _write_parquet(path, found)
        return
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        if suffix == ".jsonl":
            file.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in found)
            return
        plain = ("input", "label", "predicted", "correct", "probability", "label_probability", "margin", "loss")
        ranks = range(1, num_answers + 1)
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*plain, *(f"{name}_{rank}" for rank in ranks for name in ("label", "probability"))])
        for row in found:
            answers = [each[key] for each in row["predictions"] for key in ("label", "probability")]
            writer.writerow([_cell(value) for value in (*(row[name] for name in plain), *answers)])


def _write_parquet(path: Path, found: Iterator[dict[str, Any]]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    text, number = pa.string(), pa.float64()
    answer = pa.struct([("class_id", pa.int32()), ("label", text), ("probability", number)])
    schema = pa.schema(
        [
            *((name, text) for name in ("input", "label", "predicted")),
            ("correct", pa.bool_()),
            *((name, number) for name in ("probability", "label_probability", "margin", "loss")),
            ("predictions", pa.list_(answer)),
        ]
    )
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        group: list[dict[str, Any]] = []
        for row in found:
            group.append(row)
            if len(group) == ROW_GROUP_ROWS:
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
                group.clear()
        writer.write_table(pa.Table.from_pylist(group, schema=schema))


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else value


def _number(value: float) -> float | None:
    # The digits that float32 has.
    return float(f"{value:.7g}") if math.isfinite(value) else None
