"""Several labels per image from the command line: train, eval, predict, export, and what is refused."""

import csv
import dataclasses
import io
import json
import shutil

import pytest
import torch
from several_labels import write_several
from typer.testing import CliRunner

from imgcls.cli.app import app
from imgcls.models.checkpoint import load_checkpoint, save_checkpoint

RUN = ["--set", "model.arguments.widths=[4,4,8,8]", "--set", "data.image_px=16", "--set", "augment.flip=off"]


def call(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A table and a run on it."""
    folder = tmp_path_factory.mktemp("several")
    table = write_several(folder / "data", split=True)
    call("train", "--data", table, "-m", "cnn", *RUN, "--epochs", 10, "--batch-size", 8, "-o", folder / "run", "-q")
    return table, folder / "run"


def test_train_and_compare_say_map(tmp_path):
    table = write_several(tmp_path / "data", split=True)
    text = call("train", "--data", table, "-m", "cnn", *RUN, "--epochs", 2, "-o", tmp_path / "run")
    assert "best      epoch" in text
    assert "mAP" in text
    assert "top-1" not in text
    answer = json.loads(call("compare", tmp_path / "run", "-f", "json"))
    assert set(answer["runs"][0]["best"]) == {"epoch", "top1", "loss", "map"}
    assert "mAP" in call("compare", tmp_path / "run")


def test_folds(tmp_path):
    table = write_several(tmp_path / "data", 24)
    train = ["train", "--data", table, "-m", "cnn", *RUN, "--epochs", 1, "--folds", 2, "-q"]
    text = call(*train, "-o", tmp_path / "runs")
    assert "mAP" in text


def test_eval_as_table_and_json(trained):
    table, run = trained
    text = call("eval", run)
    assert "several labels per image" in text
    for word in ("mAP", "exact match", "threshold"):
        assert word in text
    answer = json.loads(call("eval", run, "-f", "json"))
    assert (answer["multi_label"], answer["count"], answer["data"]["split"]) == (True, 8, "val")
    assert [each["label"] for each in answer["classes"]] == ["blue", "green", "red"]
    metrics = load_checkpoint(run / "best.pt").metrics
    assert answer["map"] == pytest.approx(metrics["map"], abs=1e-6)
    assert answer["loss"] == pytest.approx(metrics["loss"], rel=1e-4)
    assert answer["model"]["thresholds"] == list(load_checkpoint(run / "best.pt").multi_label.thresholds)
    everything = json.loads(call("eval", run, "--data", table, "--split", "train", "--tta", "flip", "-f", "json"))
    assert (everything["count"], everything["tta"], everything["trained_on"]) == (40, "flip", 40)


def test_the_answer_for_each_image(trained, tmp_path):
    _table, run = trained
    call("eval", run, "--errors", tmp_path / "a.csv", "--sort", "loss")
    call("eval", run, "--errors", tmp_path / "a.jsonl")
    call("eval", run, "--errors", tmp_path / "a.parquet")
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text())))
    assert sorted(row["loss"] for row in rows) == sorted(str(line["loss"]) for line in lines)
    assert [float(row["loss"]) for row in rows] == sorted((float(row["loss"]) for row in rows), reverse=True)
    for line in lines:
        assert set(line["missed"]) == set(line["labels"]) - set(line["predicted"])
        assert set(line["wrong"]) == set(line["predicted"]) - set(line["labels"])
        assert line["correct"] == (set(line["labels"]) == set(line["predicted"]))
    from pyarrow import parquet

    assert parquet.read_table(tmp_path / "a.parquet").to_pylist() == lines


@pytest.mark.parametrize("format_", ["jsonl", "csv", "parquet", "table"])
def test_predict_lists_all_labels_in_every_format(trained, tmp_path, format_):
    table, run = trained
    low = ["predict", "-m", run, table.parent / "007.png", "-k", 1, "--threshold", 0.01, "-f", format_]
    if format_ == "parquet":
        from pyarrow import parquet

        call(*low, "-o", tmp_path / "a.parquet")
        (row,) = parquet.read_table(tmp_path / "a.parquet").to_pylist()
        assert (len(row["predictions"]), row["multi_label"]) == (3, True)
        assert sorted(row["labels"]) == ["blue", "green", "red"]
        return
    text = call(*low)
    if format_ == "jsonl":
        record = json.loads(text)
        assert sorted(record["labels"]) == sorted(p["label"] for p in record["predictions"]) == ["blue", "green", "red"]
        assert record["uncertain"] is False
    elif format_ == "csv":
        (row,) = csv.DictReader(io.StringIO(text))
        assert sorted(json.loads(row["labels"])) == ["blue", "green", "red"]
        assert "label_2" not in row
    else:
        assert all(name in text for name in ("blue", "green", "red"))


def test_no_label_is_an_answer_too(trained, tmp_path):
    table, run = trained
    image = table.parent / "000.png"
    record = json.loads(call("predict", "-m", run, image, "--threshold", 1, "-f", "jsonl"))
    assert (record["labels"], record["uncertain"], len(record["predictions"])) == ([], True, 3)
    assert "(no label)" in call("predict", "-m", run, image, "--threshold", 1)
    only = json.loads(call("predict", "-m", run, image, "--threshold", 0, "--classes", "red,blue", "-f", "jsonl"))
    assert sorted(only["labels"]) == ["blue", "red"]


def test_a_resumed_output_keeps_the_labels(trained, tmp_path):
    table, run = trained
    for suffix in ("jsonl", "csv"):
        out = tmp_path / f"a.{suffix}"
        call("predict", "-m", run, table.parent / "007.png", "-o", out)
        first = out.read_text()
        call("predict", "-m", run, table.parent / "007.png", table.parent / "001.png", "-o", out, "--resume")
        assert out.read_text().startswith(first)
        assert len(out.read_text().splitlines()) == len(first.splitlines()) + 1


def test_an_exported_model_answers_the_same(trained, tmp_path):
    pytest.importorskip("onnxscript")
    table, run = trained
    call("export", run, "-o", tmp_path / "m.onnx", "-q")
    images = sorted(table.parent.glob("*.png"))[:8]
    own, exported = (
        [json.loads(line) for line in call("predict", "-m", model, *images, "-f", "jsonl").splitlines()]
        for model in (run, tmp_path / "m.onnx")
    )
    for one, other in zip(own, exported, strict=True):
        assert (one["labels"], one["multi_label"]) == (other["labels"], other["multi_label"])
        for first, second in zip(one["predictions"], other["predictions"], strict=True):
            assert first["probability"] == pytest.approx(second["probability"], abs=1e-5)
    answers = [json.loads(call("eval", model, "--data", table, "-f", "json")) for model in (run, tmp_path / "m.onnx")]
    assert answers[0]["map"] == pytest.approx(answers[1]["map"])
    assert answers[0]["loss"] == pytest.approx(answers[1]["loss"], rel=1e-5)
    assert answers[1]["runtime"] == "onnxruntime"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("eval {run} --html {tmp}/page.html", "--html is for one label per image"),
        ("eval {run} --confusion {tmp}/c.csv", "--confusion is for one label per image"),
        ("calibrate {run}", "calibration is for one"),
        ("eval {run} --data {tmp}/folders", "one label per image, by its folders"),
        ("tune --data {table} --space space -o {tmp}/study", "a search goes by top-1"),
        ("compare {run} {run} --data {table}", "several labels per image"),
    ],
)
def test_what_is_for_one_label_per_image_says_so(trained, tmp_path, command, said):
    table, run = trained
    for name in ("blue", "red"):
        (tmp_path / "folders" / name).mkdir(parents=True)
        shutil.copy(table.parent / "001.png", tmp_path / "folders" / name)
    arguments = command.format(run=run, tmp=tmp_path, table=table).split()
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code in (2, 5)
    assert said in " ".join(result.stderr.split())


def test_a_model_of_one_label_is_not_measured_on_several(trained, tmp_path):
    table, run = trained
    stored = load_checkpoint(run / "best.pt")
    save_checkpoint(dataclasses.replace(stored, multi_label=None), tmp_path / "single.pt")
    assert "answers one label per image" in call("eval", tmp_path / "single.pt", "--data", table, code=5)


def test_older_versions_refuse_what_they_would_answer_with_softmax(trained):
    _table, run = trained
    assert torch.load(run / "best.pt", weights_only=True)["format_version"] == 2


@pytest.mark.parametrize("thresholds", [[0.5], [0.5, 0.5, 2.0], [0.5, 0.5, float("nan")], "abc", None])
def test_damaged_thresholds_are_noticed(trained, tmp_path, thresholds):
    table, run = trained
    content = torch.load(run / "best.pt", weights_only=True)
    content["multi_label"] = {"thresholds": thresholds}
    torch.save(content, tmp_path / "damaged.pt")
    said = call("predict", "-m", tmp_path / "damaged.pt", table.parent / "001.png", code=6)
    assert "threshold" in said


def test_check_finds_copies_among_images_of_several_labels(tmp_path):
    pytest.importorskip("cleanlab")
    table = write_several(tmp_path, 32)
    (tmp_path / "copy.png").write_bytes((tmp_path / "007.png").read_bytes())
    table.write_text(table.read_text() + "copy.png,red\n")
    answer = json.loads(call("check", table, "-f", "json"))
    conflicts = [each for each in answer["findings"] if each["kind"] == "conflict"]
    assert {conflicts[0]["input"], conflicts[0]["other"]} == {str(tmp_path / "007.png"), str(tmp_path / "copy.png")}
    assert any("several labels" in text for text in answer["warnings"])


def test_fixes_move_images_to_lists_of_labels(trained, tmp_path):
    from imgcls.datasets.checks.fixes import with_fixes
    from imgcls.datasets.resolving import SPLITS, resolve

    table, _run = trained
    (tmp_path / "fixes.csv").write_text(f"path,action,to\n{table.parent / '000.png'},move,red;blue\n")
    data = with_fixes(resolve(str(table), splits=SPLITS), tmp_path / "fixes.csv")
    assert data.splits["train"].labels[0] == (0, 2)


def test_sorting_goes_by_the_first_label_and_leaves_images_without(trained, tmp_path):
    table, run = trained
    images = [table.parent / "000.png", table.parent / "007.png"]
    call("predict", "-m", run, *images, "--sort-into", tmp_path / "s", "--threshold", 1, "-q", "-f", "jsonl")
    assert not list((tmp_path / "s").rglob("*.png"))
    text = call("predict", "-m", run, *images, "--sort-into", tmp_path / "t", "--threshold", 0.01, "-f", "jsonl")
    for line, image in zip(text.splitlines(), images, strict=True):
        assert (tmp_path / "t" / json.loads(line)["labels"][0] / image.name).is_file()
