"""The answer of `eval` where images have several labels, and the answer for each image."""

import csv
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from imgcls.datasets.readers.tables import SEVERAL
from imgcls.evaluation.measured_report import SCHEMA, MeasuredReport
from imgcls.evaluation.multi_label.figures import MultiLabelFigures, measure_labels
from imgcls.evaluation.multi_label.measuring import MultiLabelResult
from imgcls.models.answers.multi_label import MultiLabel

# Classes of each image in the table of answers, the most probable first.
NUM_ANSWERS = 5
COLUMNS = ("input", "labels", "predicted", "correct", "missed", "wrong", "loss")


@dataclass(frozen=True)
class MultiLabelReport(MeasuredReport):
    """What `eval` answers where images have several labels.

    Attributes:
        result: what the network said.
        thresholds: of all of the model's classes.
    """

    result: MultiLabelResult
    thresholds: MultiLabel

    @cached_property
    def thresholds_D(self) -> "np.ndarray[Any, np.dtype[np.float32]]":
        """Those of the classes of the data."""
        return np.asarray([self.thresholds.thresholds[index] for index in self.result.class_ids], np.float32)

    @cached_property
    def figures(self) -> MultiLabelFigures:
        """All figures with their intervals."""
        return measure_labels(self.result, self.thresholds_D)

    def to_dict(self) -> dict[str, Any]:
        """The JSON answer; a figure that is no number is None."""
        values = self.figures.values
        return {
            "schema": SCHEMA,
            "model": self.model,
            "data": self.data.to_dict(),
            "multi_label": True,
            "count": self.result.count,
            "map": values["map"],
            "loss": values["loss"],
            "classes": [each.to_dict() for each in self.figures.classes],
            "figures": self.figures.to_dict(),
            **self.traces(),
        }

    def rows(self, name_of: Callable[[int], str], *, by_loss: bool) -> Iterator[dict[str, Any]]:
        """The answer for each image, as plain values.

        Args:
            name_of: from an image's index in the set to its name.
            by_loss: the worst first; else in the order of the set.
        """
        result = self.result
        losses_N = result.losses_ND.sum(1, dtype=np.float64)
        order_N = np.argsort(-losses_N, kind="stable") if by_loss else np.arange(result.count)
        for row in order_N.tolist():
            probabilities_D = result.probabilities_ND[row]
            guessed_D, true_D = probabilities_D >= self.thresholds_D, result.truth_ND[row]
            ranked = np.argsort(-probabilities_D, kind="stable").tolist()

            def names(chosen_D: "np.ndarray[Any, np.dtype[np.bool_]]", ranked: list[int] = ranked) -> list[str]:
                return [result.labels[place] for place in ranked if chosen_D[place]]

            yield {
                "input": name_of(int(result.indices_N[row])),
                "labels": names(true_D),
                "predicted": names(guessed_D),
                "correct": bool((guessed_D == true_D).all()),
                "missed": names(true_D & ~guessed_D),
                "wrong": names(guessed_D & ~true_D),
                "loss": float(f"{losses_N[row]:.7g}") if math.isfinite(losses_N[row]) else None,
                "predictions": [
                    {
                        "class_id": result.class_ids[place],
                        "label": result.labels[place],
                        "probability": float(f"{probabilities_D[place]:.7g}"),
                    }
                    for place in ranked[:NUM_ANSWERS]
                ],
            }

    def write_rows(self, path: Path, suffix: str, name_of: Callable[[int], str], *, by_loss: bool) -> None:
        """Write the answer for each image.

        Args:
            path: the file.
            suffix: `.csv`, `.jsonl` or `.parquet`.
            name_of: see `rows`.
            by_loss: see `rows`.
        """
        found = self.rows(name_of, by_loss=by_loss)
        if suffix == ".parquet":
            import pyarrow as pa
            from pyarrow import parquet

            parquet.write_table(pa.Table.from_pylist(list(found), schema=_schema()), path, compression="zstd")
            return
        with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            if suffix == ".jsonl":
                file.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in found)
                return
            ranks = range(1, min(NUM_ANSWERS, len(self.result.labels)) + 1)
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*COLUMNS, *(f"{name}_{rank}" for rank in ranks for name in ("label", "probability"))])
            for row in found:
                answers = [each[key] for each in row["predictions"] for key in ("label", "probability")]
                writer.writerow([*(_cell(row[name]) for name in COLUMNS), *answers])


def _schema() -> Any:
    import pyarrow as pa

    texts, number = pa.list_(pa.string()), pa.float64()
    answer = pa.struct([("class_id", pa.int32()), ("label", pa.string()), ("probability", number)])
    kinds = {"input": pa.string(), "correct": pa.bool_(), "loss": number}
    return pa.schema([*((name, kinds.get(name, texts)) for name in COLUMNS), ("predictions", pa.list_(answer))])


def _cell(value: object) -> object:
    if isinstance(value, list):
        return SEVERAL.join(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else value
