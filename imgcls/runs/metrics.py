"""What a run's folder tells of it: the lines of metrics.jsonl, and result.json.

Anybody may have written to them, so that whoever reads a line here gets numbers where numbers belong.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imgcls.errors import DataError
from imgcls.host.data_files import MalformedError, parse_json, read_json_file
from imgcls.runs.result import Score

NAME = "metrics.jsonl"
# Ten thousand epochs take a few megabytes.
MAX_BYTES = 64 * 2**20
MAX_EPOCHS = 10**9
# What a line must say; the first two of validation are null without it.
FIGURES = ("loss", "top1")
OPTIONAL_FIGURES = ("map", "top5", "lr", "train_top1", "images_per_sec", "validation_sec", "elapsed_sec")


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl, without a torn one at its end; none where there is no such file.

    Raises:
        DataError: it can't be read, or isn't what a run writes.
    """
    path = run / NAME
    try:
        if not path.is_file():
            return []
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as exc:
        raise _damaged(path, f"can't be read: {exc.strerror}") from exc
    if len(content) > MAX_BYTES:
        raise _damaged(path, f"is larger than {MAX_BYTES // 2**20} MiB")
    rows = []
    lines = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            # A process may have died in the middle of its last line.
            if number < len(lines):
                rows.append(_row(line))
        except MalformedError as exc:
            raise _damaged(path, f"is damaged: line {number} {exc}") from exc
    return rows


def _row(line: bytes) -> dict[str, Any]:
    try:
        row = parse_json(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise MalformedError("is not UTF-8 text") from None
    if not isinstance(row, dict):
        raise MalformedError("is no line of a run's metrics")
    epoch = row.get("epoch")
    if type(epoch) is not int or not 0 < epoch < MAX_EPOCHS:
        raise MalformedError("names no epoch")
    for key in ("train_loss", "seconds"):
        if not _is_number(row.get(key)):
            raise MalformedError(f"has no {key}")
    for key in FIGURES:
        if key not in row:
            raise MalformedError(f"has no {key}")
    for key in (*FIGURES, *OPTIONAL_FIGURES):
        if row.get(key) is not None and not _is_number(row[key]):
            raise MalformedError(f"has a {key} that is no number")
    if row.get("split") not in (None, "val", "test"):
        raise MalformedError("was measured on images that it doesn't name")
    return row


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300 and math.isfinite(value)  # type: ignore[arg-type]


def read_result(run: Path) -> dict[str, Any] | None:
    """A run's result.json; None where the run hasn't ended.

    Raises:
        DataError: it can't be read, or isn't what a run writes.
    """
    path = run / "result.json"
    try:
        if not path.is_file():
            return None
        result = read_json_file(path)
    except OSError as exc:
        raise _damaged(path, f"can't be read: {exc.strerror}") from exc
    except MalformedError as exc:
        raise _damaged(path, str(exc)) from exc
    test = result.get("test") if isinstance(result, dict) else None
    is_measured = test is None or (isinstance(test, dict) and _is_number(test.get("map", test.get("top1"))))
    if not isinstance(result, dict) or not is_measured or not isinstance(result.get("stopped"), str | None):
        raise _damaged(path, "is no result of a run")
    return result


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(f"{path} {reason}", hint="move it away; the weights of the run are not touched by it")


def score_of(line: Mapping[str, Any]) -> Score:
    """The score of a line of metrics.jsonl."""
    return Score(line["epoch"], line["top1"], line["loss"], line.get("map"))


def best_score(metrics: Sequence[Mapping[str, Any]]) -> Score | None:
    """The epoch behind best.pt; None before the first has ended.

    Args:
        metrics: lines of metrics.jsonl.
    """
    best: Score | None = None
    for line in metrics:
        score = score_of(line)
        # Nothing is chosen by the test images.
        if line.get("split") == "test" or score.beats(best):
            best = score
    return best
