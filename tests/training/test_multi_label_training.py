"""Training on several labels per image: the loss, the labels of tables, a run that learns, and one that was cut."""

import json

import numpy as np
import pytest
import torch
from several_labels import NAMES, write_several
from sklearn.metrics import average_precision_score, log_loss
from tiny_runs import assert_same_metrics, assert_same_weights, recipe_for, stop_after

from imgcls.datasets.opening import open_dataset
from imgcls.datasets.resolving import SPLITS, resolve
from imgcls.errors import ConfigError, DataError
from imgcls.images.transform import Transform
from imgcls.inference.classifier import load_classifier
from imgcls.models.checkpoint import load_checkpoint
from imgcls.training.loss import build_multi_label_loss, positive_weights
from imgcls.training.run import train

SETTINGS = ("data.image_px=16", "augment.flip='off'", "augment.translate_px=0", "optim.label_smoothing=0")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_several(tmp_path_factory.mktemp("several"), split=True)


def test_the_loss_is_the_log_loss_of_all_labels():
    logits, truth = torch.randn(7, 4), (torch.rand(7, 4) < 0.4).to(torch.uint8)
    expected = sum(log_loss(truth[:, k], logits[:, k].sigmoid(), labels=[0, 1]) for k in range(4))
    assert float(build_multi_label_loss(0.0, None)(logits, truth)) == pytest.approx(expected, rel=1e-5)


def test_label_smoothing_and_weights_against_plain_sums():
    logits, truth = torch.tensor([[2.0, -1.0]]), torch.tensor([[1.0, 0.0]])
    right, wrong = np.log1p(np.exp(-2.0)), np.log1p(np.exp(2.0))
    other = 0.95 * np.log1p(np.exp(-1.0)) + 0.05 * np.log1p(np.exp(1.0))
    assert float(build_multi_label_loss(0.1, None)(logits, truth)) == pytest.approx(0.95 * right + 0.05 * wrong + other)
    weighted = build_multi_label_loss(0.0, torch.tensor([3.0, 5.0]))(logits, truth)
    assert float(weighted) == pytest.approx(3 * right + np.log1p(np.exp(-1.0)))


def test_a_class_of_a_quarter_of_the_images_weighs_three_times():
    labels_NK = torch.tensor([[1, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1]], dtype=torch.uint8)
    assert positive_weights(labels_NK).tolist() == pytest.approx([3, 1, 0.01])


def test_tables_with_lists_of_labels(table):
    dataset = open_dataset(str(table), transform=Transform(16, 16))
    assert dataset.classes == NAMES
    assert dataset.train.labels_N.dtype == torch.uint8
    assert dataset.train.labels_N[:8].tolist() == [[n & 1, n >> 1 & 1, n >> 2 & 1] for n in range(8)]
    assert dataset.val.labels_N.shape == (8, 3)


def test_a_carved_split_keeps_a_share_of_every_class(tmp_path):
    data = resolve(str(write_several(tmp_path, 80)), splits=SPLITS, val_fraction=0.25, seed=3)
    assert data.is_multi_label
    train_set, val = (data.splits[name] for name in ("train", "val"))
    assert sorted([*train_set.rows, *val.rows]) == list(range(80))
    for label in range(3):
        assert 5 <= sum(label in several for several in val.labels) <= 15


def test_one_label_a_row_can_be_told_to_be_several(tmp_path):
    write_several(tmp_path, 8)
    (tmp_path / "one.csv").write_text("path,label\n001.png,blue\n002.png,green\n000.png,\n")
    told = resolve(str(tmp_path / "one.csv"), splits=None, multi_label=True)
    assert told.splits["all"].labels == [(0,), (1,), ()]
    with pytest.raises(DataError, match="no label"):
        resolve(str(tmp_path / "one.csv"), splits=None)
    (tmp_path / "two.csv").write_text("path,label\n001.png,blue\n003.png,blue;green\n")
    assert resolve(str(tmp_path / "two.csv"), splits=None).splits["all"].labels == [(0,), (0, 1)]
    with pytest.raises(DataError, match="several labels"):
        resolve(str(tmp_path / "two.csv"), splits=None, multi_label=False)
    with pytest.raises(DataError, match="one label per image, by its folders"):
        resolve(str(tmp_path), splits=None, multi_label=True)


def test_it_learns_and_keeps_the_thresholds_that_validate_best(table, tmp_path):
    result = train(recipe_for(table, *SETTINGS, **{"train.epochs": 40}), output=tmp_path / "run")
    assert result.best.top1 is None
    assert result.best.map > 0.95
    row = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[result.best.epoch - 1])
    assert row["map"] == pytest.approx(result.best.map)
    best = load_checkpoint(tmp_path / "run/best.pt")
    assert len(best.multi_label.thresholds) == 3
    assert best.metrics["map"] == result.best.map
    # The same through the one way that answers.
    classifier = load_classifier(tmp_path / "run")
    truth = [[n & 1, n >> 1 & 1, n >> 2 & 1] for n in range(8)]
    records = classifier.predict_batch([table.parent / f"{24 + number:03d}.png" for number in range(8)], top_k=1)
    probabilities = [[{p.label: p.probability for p in record.predictions}.get(name, 0) for name in NAMES]
                     for record in classifier.predict_batch(
                         [table.parent / f"{24 + number:03d}.png" for number in range(8)], top_k=3)]  # fmt: skip
    assert average_precision_score(truth, probabilities, average="macro") == pytest.approx(result.best.map, abs=1e-3)
    for record, values in zip(records, probabilities, strict=True):
        above = {name: value for name, value, threshold in zip(NAMES, values, best.multi_label.thresholds, strict=True)
                 if value >= threshold}  # fmt: skip
        assert record.multi_label is True
        assert list(record.labels) == sorted(above, key=lambda name: -above[name])
        # The one that was asked for, which may be no label, and all labels.
        assert record.predictions[0].label == max(zip(values, NAMES, strict=True))[1]
        assert {p.label for p in record.predictions} == {record.predictions[0].label, *above}


@pytest.mark.parametrize("memory", ["held", "streamed"])
@pytest.mark.parametrize("steps", [2, 7])
def test_a_run_that_was_cut_ends_with_the_same_weights(table, tmp_path, steps, memory, monkeypatch):
    if memory == "streamed":
        monkeypatch.setattr("imgcls.datasets.opening.available_bytes", lambda: 0)
    recipe = recipe_for(table, *SETTINGS, "augment.mixup=0.2")
    train(recipe, output=tmp_path / "whole", workers=1)
    train(recipe, output=tmp_path / "cut", workers=1, should_stop=stop_after(steps))
    train(resume=tmp_path / "cut", workers=1)
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")
    assert_same_metrics(tmp_path / "whole", tmp_path / "cut")
    whole, cut = (load_checkpoint(tmp_path / name / "best.pt") for name in ("whole", "cut"))
    assert whole.multi_label == cut.multi_label


def test_without_validation_images_the_usual_thresholds_stay(tmp_path):
    table = write_several(tmp_path / "data", 16)
    train(recipe_for(table, *SETTINGS, "data.val_fraction=0"), output=tmp_path / "run")
    assert load_checkpoint(tmp_path / "run/best.pt").multi_label.thresholds == (0.5, 0.5, 0.5)


def test_what_is_told_of_labels_is_checked():
    with pytest.raises(ConfigError, match=r"data\.multi_label"):
        recipe_for("labels.csv", "data.multi_label='perhaps'")
