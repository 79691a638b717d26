"""Several models that answer together: their mean, their vote, in predict and in eval alike, and what doesn't go."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from labelled_data import write_classes
from several_labels import write_several
from typer.testing import CliRunner

from imgcls.cli.app import app
from imgcls.evaluation.run import evaluate
from imgcls.images.transform import Transform
from imgcls.models.answers.multi_label import MultiLabel
from imgcls.models.building import build_network
from imgcls.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from imgcls.models.ensembles import combined

CLASSES = ("blue", "green", "red")
NETWORK = {"widths": [4, 4, 8, 8]}


def call(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else " ".join(result.stderr.split())


def write_model(path, *, seed: int, classes=CLASSES, px: int = 8, mean: float = 0.5, labels: MultiLabel | None = None):
    """A network with random weights that are large enough to disagree about."""
    torch.manual_seed(seed)
    network = build_network("cnn", num_classes=len(classes), arguments=NETWORK).eval()
    weights = {key: value * 3 if value.is_floating_point() else value for key, value in network.state_dict().items()}
    transform = Transform(px, px, mean=(mean,) * 3, std=(0.25,) * 3)
    save_checkpoint(Checkpoint("cnn", NETWORK, classes, transform, weights, multi_label=labels), path)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Three, one of which has its classes in another order and another arithmetic."""
    folder = tmp_path_factory.mktemp("models")
    first, second = (write_model(folder / f"{seed}.pt", seed=seed) for seed in (1, 2))
    return first, second, write_model(folder / "3.pt", seed=3, classes=("red", "blue", "green"), mean=0.3)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_classes(tmp_path_factory.mktemp("data") / "photos", {"blue": 5, "green": 5, "red": 5})


def probabilities(records: str) -> np.ndarray:
    rows = [json.loads(line) for line in records.splitlines()]
    return np.array(
        [[{p["label"]: p["probability"] for p in row["predictions"]}[name] for name in CLASSES] for row in rows]
    )


def predict(photos, *options) -> np.ndarray:
    return probabilities(call("predict", photos, *options, "-f", "jsonl", "--runtime", "torch"))


def named(models):
    return [each for model in models for each in ("-m", model)]


def test_the_mean_is_the_mean_of_what_each_says(models, photos):
    alone = [predict(photos, "-m", model) for model in models]
    together = predict(photos, *named(models), "--ensemble", "mean")
    np.testing.assert_allclose(together, np.mean(alone, axis=0), atol=1e-6)
    np.testing.assert_allclose(together.sum(1), 1, atol=1e-5)


def test_a_vote_counts_first_choices_and_lets_the_mean_decide_between_equal_ones(models, photos):
    alone = [predict(photos, "-m", model) for model in models]
    together = predict(photos, *named(models), "--ensemble", "vote")
    votes = sum(np.eye(3)[each.argmax(1)] for each in alone)
    np.testing.assert_allclose(together, (votes + np.mean(alone, axis=0)) / 4, atol=1e-6)
    for row, counts in zip(together, votes, strict=True):
        assert counts[row.argmax()] == counts.max()


def test_three_votes_by_hand():
    answers = [np.float32([[0.6, 0.4, 0.0]]), np.float32([[0.5, 0.2, 0.3]]), np.float32([[0.0, 0.9, 0.1]])]
    np.testing.assert_allclose(combined(answers, "mean"), [[1.1 / 3, 0.5, 0.4 / 3]], atol=1e-6)
    np.testing.assert_allclose(
        combined(answers, "vote"), [[(2 + 1.1 / 3) / 4, (1 + 0.5) / 4, (0.4 / 3) / 4]], atol=1e-6
    )


@pytest.mark.parametrize("how", ["mean", "vote"])
@pytest.mark.parametrize("tta", [None, "flip"])
def test_eval_measures_what_predict_answers(models, photos, how, tta):
    views = ["--tta", tta] if tta else []
    told = [*named(models), "--ensemble", how, *views]
    answer = json.loads(call("eval", *told, "--data", photos, "-f", "json"))
    records = call("predict", photos, *told, "-f", "jsonl")
    found = probabilities(records)
    truth = [CLASSES.index(json.loads(line)["input"].split("/")[-2]) for line in records.splitlines()]
    assert answer["correct"] == int((found.argmax(1) == truth).sum())
    assert answer["loss"] == pytest.approx(float(-np.log(found[range(15), truth]).mean()), rel=1e-4)
    # One id for both, which names the members.
    assert json.loads(records.splitlines()[0])["model"] == answer["model"]["id"]
    assert answer["model"]["ensemble"] == how
    ids = [member["id"] for member in answer["model"]["members"]]
    assert len(ids) == 3
    assert answer["model"]["id"].startswith("ensemble@")


def test_the_id_depends_on_members_order_and_how(models, photos):
    image = next(photos.rglob("*.png"))

    def id_of(members, how):
        return json.loads(call("predict", image, *named(members), "--ensemble", how, "-f", "jsonl"))["model"]

    first, second, third = models
    ids = {id_of(models, "mean"), id_of(models, "vote"), id_of((first, second), "mean"), id_of((first, third), "mean")}
    assert len(ids) == 4
    assert id_of(models, "mean") in ids


def test_onnx_members_beside_checkpoints(models, photos, tmp_path):
    pytest.importorskip("onnxscript")
    call("export", models[1], "-o", tmp_path / "m.onnx", "-q")
    mixed = ["-m", models[0], "-m", tmp_path / "m.onnx", "--ensemble", "mean"]
    plain = predict(photos, *named(models[:2]), "--ensemble", "mean")
    np.testing.assert_allclose(probabilities(call("predict", photos, *mixed, "-f", "jsonl")), plain, atol=1e-5)
    both = [json.loads(call("eval", *told, "--data", photos, "-f", "json"))
            for told in (mixed, [*named(models[:2]), "--ensemble", "mean"])]  # fmt: skip
    assert both[0]["loss"] == pytest.approx(both[1]["loss"], rel=1e-4)


def test_a_page_with_heat_maps(models, photos, tmp_path):
    told = [*named(models[:2]), "--ensemble", "mean", "--data", photos]
    call("eval", *told, "--html", tmp_path / "page.html", "--heat-maps", 1)
    assert "ensemble@" in (tmp_path / "page.html").read_text()


def test_a_resumed_run_with_other_members_classifies_again(models, photos, tmp_path):
    out = tmp_path / "a.jsonl"
    call("predict", photos, *named(models[:2]), "--ensemble", "mean", "-o", out)
    call("predict", photos, *named(models[1:]), "--ensemble", "mean", "-o", out, "--resume")
    assert len({json.loads(line)["model"] for line in out.read_text().splitlines()}) == 1
    manifest = json.loads((tmp_path / "a.jsonl.run.json").read_text())
    assert [member["name"] for member in manifest["model"]["members"]] == ["cnn", "cnn"]


def test_members_of_several_labels(tmp_path):
    table = write_several(tmp_path / "data", 16)
    members = [
        write_model(tmp_path / f"{seed}.pt", seed=seed, px=16, labels=MultiLabel((0.2 * seed, 0.5, 0.4)))
        for seed in (1, 2)
    ]
    told = [*named(members), "--ensemble", "mean"]
    (line,) = call("predict", table.parent / "003.png", *told, "-f", "jsonl").splitlines()
    record = json.loads(line)
    assert record["multi_label"] is True
    answer = json.loads(call("eval", *told, "--data", table, "-f", "json"))
    assert answer["model"]["thresholds"] == pytest.approx([0.3, 0.5, 0.4])
    above = [p["label"] for p in record["predictions"]
             if p["probability"] >= dict(zip(CLASSES, (0.3, 0.5, 0.4), strict=True))[p["label"]]]  # fmt: skip
    assert record["labels"] == above
    assert "can't vote" in call("predict", table.parent / "003.png", *named(members), "--ensemble", "vote", code=2)


def test_what_does_not_go_together(models, photos, tmp_path):
    image = next(photos.rglob("*.png"))
    other = write_model(tmp_path / "other.pt", seed=4, classes=("blue", "green", "yellow"))
    larger = write_model(tmp_path / "larger.pt", seed=5, px=16)
    several = tmp_path / "several.pt"
    save_checkpoint(dataclasses.replace(load_checkpoint(models[0]), multi_label=MultiLabel.usual(3)), several)
    one = models[0]
    for command in (["predict", image], ["eval", "--data", photos]):
        assert "don't have the same classes: 'red'" in call(
            *command, *named((one, other)), "--ensemble", "mean", code=2
        )
        assert "don't see the same crops: resize_px is 8 and 16" in call(
            *command, *named((one, larger)), "--ensemble", "mean", code=2
        )
        assert "answers several labels per image" in call(
            *command, *named((one, several)), "--ensemble", "mean", code=2
        )
        assert "comes twice" in call(*command, *named((one, one)), "--ensemble", "mean", code=2)
        assert "--ensemble is for several models" in call(*command, "-m", one, "--ensemble", "mean", code=2)
        assert "--ensemble mean" in call(*command, *named(models), code=2)
        assert "not for an ensemble" in call(*command, *named(models), "--ensemble", "mean", "--weights", one, code=2)
    assert "neither --ray nor --explain" in call(
        "predict", image, *named(models), "--ensemble", "mean", "--explain", tmp_path / "maps", code=2
    )


def test_python_measures_one_of_its_members_as_before(models, photos):
    assert evaluate(models[0], photos, device="cpu").result.count == 15


def test_the_variable_still_names_the_default_model(models, photos, monkeypatch):
    monkeypatch.setenv("IMGCLS_MODEL", str(models[0]))
    image = next(photos.rglob("*.png"))
    assert call("predict", image, "-f", "jsonl") == call("predict", image, "-m", models[0], "-f", "jsonl")
