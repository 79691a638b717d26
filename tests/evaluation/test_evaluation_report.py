"""The report has the contract's keys, is plain JSON, and names the largest mistakes."""

import json
import math
from pathlib import Path

import torch

from imgcls.datasets.labelled_images import DataDescription, SkippedImage
from imgcls.evaluation.report import Confusion, EvalReport
from imgcls.evaluation.result import EvalResult

CONTRACT = ["schema", "model", "data", "count", "correct", "top1", "top5", "loss", "classes", "confusion"]


def build(confusion: list[list[int]], *, loss: float = 0.5) -> EvalReport:
    labels = tuple("abc"[: len(confusion)])
    return EvalReport(
        model={"id": "mlp@0123456789ab"},
        data=DataDescription("pets", "test", "f" * 64),
        result=EvalResult(labels, torch.tensor(confusion), 9, loss),
        missing=(),
        skipped=(SkippedImage(Path("cat/torn.png"), "corrupt_image", "cut"),),
        device="cpu",
    )


def test_keys_of_the_contract() -> None:
    report = build([[3, 1, 0], [0, 5, 1], [0, 0, 0]]).to_dict()
    assert list(report)[: len(CONTRACT)] == CONTRACT
    assert (report["schema"], report["count"], report["correct"], report["top1"]) == (1, 10, 8, 0.8)
    assert report["classes"][0].items() >= {"label": "a", "count": 4, "correct": 3, "accuracy": 0.75}.items()
    assert report["confusion_sparse"] == {
        "true": [0, 0, 1, 1],
        "guessed": [0, 1, 1, 2],
        "count": [3, 1, 5, 1],
    }
    assert report["classes"][2]["accuracy"] is None
    assert report["confusion"] == [[3, 1, 0], [0, 5, 1], [0, 0, 0]]
    assert report["skipped_images"] == 1
    assert report["skipped"][0]["error"] == {"kind": "corrupt_image", "message": "cut"}
    assert {"imgcls", "torch", "pillow"} <= set(report["versions"])
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_a_loss_that_is_no_number_is_null() -> None:
    assert build([[1]], loss=math.nan).to_dict()["loss"] is None


def test_largest_mistakes_first() -> None:
    report = build([[3, 1, 4], [1, 0, 0], [0, 4, 12]])
    assert report.largest_confusions(3) == [
        Confusion("a", "c", 4, 0.5),
        Confusion("c", "b", 4, 0.25),
        Confusion("a", "b", 1, 0.125),
    ]
    assert len(report.largest_confusions()) == 4
    assert build([[2, 0], [0, 2]]).largest_confusions() == []
