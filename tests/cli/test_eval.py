"""`imgcls eval` through its command line: answers on stdout, messages on stderr, the contract's exit codes."""

import csv
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from labelled_data import damage, write_cifar10, write_classes, write_image
from typer.testing import CliRunner, Result

from imgcls.cli.app import app
from imgcls.images.transform import Transform
from imgcls.models.building import build_network
from imgcls.models.checkpoint import Checkpoint, save_checkpoint

TRANSFORM = Transform(8, 8)
ARGUMENTS = {"hidden": [4], "image_px": 8}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["eval", *map(str, arguments)])


def save(path: Path, classes: tuple[str, ...] = ("cat", "dog"), **recipe: Any) -> Path:
    torch.manual_seed(0)
    weights = build_network("mlp", num_classes=len(classes), arguments=ARGUMENTS).state_dict()
    save_checkpoint(Checkpoint("mlp", ARGUMENTS, classes, TRANSFORM, weights, recipe=recipe), path)
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save(tmp_path / "best.pt")


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return write_classes(tmp_path / "pets", {"dog": 4, "cat": 6})


def refused(result: Result, code: int, *words: str) -> None:
    """Check an error: its exit code, its words on stderr with a hint, and nothing on stdout."""
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "\n  hint: " in result.stderr
    for word in words:
        assert word in result.stderr


def test_json_is_the_contracts_and_exact(checkpoint: Path, pets: Path) -> None:
    result = run(checkpoint, "--data", pets, "-f", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    report = json.loads(result.stdout)
    assert report["model"]["name"] == "mlp"
    assert report["data"]["split"] == "all"
    assert report["count"] == 10
    assert report["correct"] == report["confusion"][0][0] + report["confusion"][1][1]
    assert report["top5"] == 1.0
    assert [(c["label"], c["count"]) for c in report["classes"]] == [("cat", 6), ("dog", 4)]


def test_figures_equal_a_plain_loop(checkpoint: Path, pets: Path) -> None:
    from PIL import Image

    from imgcls.models.loading import load_model

    model = load_model(str(checkpoint))
    correct, loss = 0, 0.0
    with torch.inference_mode():
        for path in pets.glob("*/*.png"):
            pixels = torch.from_numpy(TRANSFORM.crop(Image.open(path)).copy()).permute(2, 0, 1)
            log_probabilities = model.network(TRANSFORM.normalise(pixels[None]))[0].log_softmax(0)
            label = model.classes.index(path.parent.name)
            correct += int(log_probabilities.argmax()) == label
            loss -= float(log_probabilities[label]) / 10
    report = json.loads(run("-m", checkpoint, "--data", pets, "-f", "json", "--batch-size", "3").stdout)
    assert report["correct"] == correct
    assert report["loss"] == pytest.approx(loss, rel=1e-5)


def test_the_table_names_data_classes_and_confusions(checkpoint: Path, pets: Path) -> None:
    result = run(checkpoint, "--data", pets)
    assert result.exit_code == 0
    for words in ("mlp@", f"on {pets}, 10 images", "top-1", "loss", "cat", "dog", "taken for"):
        assert words in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize("num_classes", [2, 3, 5, 6])
def test_top_k_is_said_where_it_says_something(tmp_path: Path, num_classes: int) -> None:
    classes = tuple("abcdef"[:num_classes])
    checkpoint = save(tmp_path / "best.pt", classes)
    data = write_classes(tmp_path / "data", dict.fromkeys(classes, 2))
    stdout = run(checkpoint, "--data", data).stdout
    assert [line.split()[0] for line in stdout.splitlines() if line.startswith("top-")] == (
        ["top-1", "top-5"] if num_classes > 5 else ["top-1"]
    )
    # The key that scripts read stays.
    assert "top5" in json.loads(run(checkpoint, "--data", data, "-f", "json").stdout)


def test_output_takes_the_answer(checkpoint: Path, pets: Path, tmp_path: Path) -> None:
    result = run(checkpoint, "--data", pets, "-f", "json", "-o", tmp_path / "new" / "report.json")
    assert (result.exit_code, result.stdout) == (0, "")
    assert json.loads((tmp_path / "new" / "report.json").read_text())["count"] == 10


def test_damaged_images_are_named_counted_and_exit_4(checkpoint: Path, pets: Path, tmp_path: Path) -> None:
    torn = damage(pets / "cat" / "003.png")
    result = run(checkpoint, "--data", pets, "-f", "json", "-q")
    assert result.exit_code == 4
    report = json.loads(result.stdout)
    assert (report["count"], report["skipped_images"], report["skipped"][0]["input"]) == (9, 1, str(torn))
    assert f"warning: skipped {torn}: corrupt_image" in result.stderr
    written = run(checkpoint, "--data", pets, "-f", "json", "-o", tmp_path / "report.json")
    assert written.exit_code == 4
    assert (tmp_path / "report.json").is_file()
    refused(run(checkpoint, "--data", pets, "--strict"), 5, str(torn), "corrupt_image")


def test_a_missing_class_is_reported(checkpoint: Path, tmp_path: Path) -> None:
    result = run(checkpoint, "--data", write_classes(tmp_path / "cats", {"cat": 2}), "-f", "json")
    assert result.exit_code == 0
    assert "no images of 1 of the model's classes: dog" in result.stderr
    report = json.loads(result.stdout)
    assert report["missing_classes"] == ["dog"]
    absent = report["classes"][1]
    assert absent.items() >= {"label": "dog", "count": 0, "correct": 0, "accuracy": None}.items()
    assert [absent[key] for key in ("recall", "roc_auc", "average_precision", "loss")] == [None] * 4


def test_an_unknown_class_is_refused_before_anything_is_decoded(checkpoint: Path, pets: Path) -> None:
    (pets / "dogs").mkdir()
    (pets / "dogs" / "x.png").write_bytes(b"never opened")
    refused(run(checkpoint, "--data", pets, "--strict"), 5, "no class 'dogs'", "nearest that it knows is 'dog'")


def test_names_in_any_script(tmp_path: Path) -> None:
    checkpoint = save(tmp_path / "best.pt", ("[bold] dog", "猫"))
    data = write_classes(tmp_path / "data", {"猫": 2, "[bold] dog": 1})
    assert "猫" in run(checkpoint, "--data", data).stdout
    assert "[bold] dog" in run(checkpoint, "--data", data).stdout
    # A process whose locale can't write them: data is UTF-8 all the same.
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "imgcls", "eval", checkpoint, "--data", data, "-f", "json"]
    found = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert json.loads(found.stdout.decode("utf-8"))["classes"][1]["label"] == "猫"


def test_default_data_is_the_part_that_training_kept_for_validation(pets: Path, tmp_path: Path) -> None:
    checkpoint = save(tmp_path / "best.pt", data={"source": str(pets), "val_fraction": 0.5}, train={"seed": 3})
    report = json.loads(run(checkpoint, "-f", "json").stdout)
    assert (report["data"]["split"], report["count"]) == ("val", 5)
    same = json.loads(run(checkpoint, "--data", pets, "--split", "val", "-f", "json").stdout)
    assert same["data"] == report["data"]
    assert json.loads(run(checkpoint, "--data", pets, "-f", "json").stdout)["count"] == 10


def test_splits_by_name(checkpoint: Path, tmp_path: Path) -> None:
    for split, count in (("train", 3), ("valid", 2), ("test", 1)):
        write_classes(tmp_path / "data" / split, {"cat": count, "dog": count})
    counts = [
        json.loads(run(checkpoint, "--data", tmp_path / "data", "-f", "json", *chosen).stdout)["count"]
        for chosen in ((), ("--split", "val"), ("--split", "train"))
    ]
    assert counts == [2, 4, 6]


def test_modified_cifar10_must_be_allowed_each_time_and_is_said(tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path / "cifar-10-batches-py")
    checkpoint = save(tmp_path / "best.pt", data={"source": str(tmp_path), "allow_modified": True})
    refused(run(checkpoint), 5, str(folder / "batches.meta"), "--allow-modified-data")
    table = run(checkpoint, "--allow-modified-data")
    assert table.exit_code == 0
    assert "CIFAR-10 test (modified: its files are not the published ones" in table.stdout
    report = json.loads(run(checkpoint, "--allow-modified-data", "-f", "json").stdout)
    assert report["data"]["name"] == "cifar10"
    assert report["data"]["modified"] is True


def test_imagenet_folders_by_wordnet_id_or_name(alexnet_weights: Path, tmp_path: Path) -> None:
    data = write_classes(tmp_path / "imagenet", {"n07920052": 1, "cup": 2})
    settings = ("alexnet", "--weights", alexnet_weights, "--data", data, "-f", "json")
    result = run(*settings)
    assert result.exit_code == 0
    assert "no images of 998 of the model's classes" in result.stderr
    report = json.loads(result.stdout)
    assert {c["label"]: c["count"] for c in report["classes"] if c["count"]} == {"espresso": 1, "cup": 2}
    (data / "cup").rename(data / "crane")
    refused(run(*settings), 5, "'crane' stands for 2 classes", "n02012849", "n03126707")


def test_usage_errors(checkpoint: Path, pets: Path) -> None:
    refused(run("--data", pets), 2, "name one model")
    refused(run(checkpoint, "-m", checkpoint, "--data", pets), 2, "name one model")
    refused(run(checkpoint), 2, "--data DIR")
    assert run(checkpoint, "--data", pets, "--split", "all").exit_code == 2
    assert run(checkpoint, "--data", pets, "--batch-size", "0").exit_code == 2


def test_data_errors(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(run(checkpoint, "--data", tmp_path / "nowhere"), 5, "no such data set")
    (tmp_path / "empty").mkdir()
    refused(run(checkpoint, "--data", tmp_path / "empty"), 5, "no images in class folders", "DIR/train/CLASS")
    damage(write_image(tmp_path / "torn" / "cat" / "x.png"))
    refused(run(checkpoint, "--data", tmp_path / "torn"), 5, "none of the 1 images")
    monkeypatch.setenv("IMGCLS_OFFLINE", "1")
    refused(run(checkpoint, "--data", "cifar10"), 5, "CIFAR-10 is not in", "by hand")
    moved = save(tmp_path / "moved.pt", data={"source": str(tmp_path / "gone")})
    refused(run(moved), 5, "trained on is not here", "--data")


def test_model_device_and_output_errors(checkpoint: Path, pets: Path, tmp_path: Path) -> None:
    refused(run(tmp_path / "no.pt", "--data", pets), 6, "no such checkpoint")
    (tmp_path / "bad.pt").write_bytes(b"rubbish")
    refused(run(tmp_path / "bad.pt", "--data", pets), 6, "bad.pt")
    if not torch.cuda.is_available():
        refused(run(checkpoint, "--data", pets, "--device", "cuda"), 7, "cuda")
    (tmp_path / "file").write_text("")
    # Found out before any work: the data need not even exist.
    refused(run(checkpoint, "--data", "nowhere", "-o", tmp_path / "file" / "report.json"), 8, "report.json")


def test_an_output_stays_as_it_was_when_the_run_fails(checkpoint: Path, tmp_path: Path) -> None:
    old = tmp_path / "report.json"
    old.write_text("old")
    assert run(checkpoint, "--data", tmp_path / "nowhere", "-o", old).exit_code == 5
    assert old.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "report.json"]


def test_views_are_averaged_and_said(checkpoint: Path, pets: Path) -> None:
    plain, flipped, shifted = (
        json.loads(run(checkpoint, "--data", pets, "-f", "json", *views).stdout)
        for views in ((), ("--tta", "flip"), ("--tta", "flip+shift"))
    )
    assert [report["tta"] for report in (plain, flipped, shifted)] == [None, "flip", "flip+shift"]
    assert len({report["loss"] for report in (plain, flipped, shifted)}) == 3
    table = run(checkpoint, "--data", pets, "--tta", "flip+shift").stdout
    assert "each the mean of 6 views' logits (--tta flip+shift)" in table
    assert run(checkpoint, "--data", pets, "--tta", "spin").exit_code == 2


def test_flips_that_training_did_not_use_are_warned_of(pets: Path, tmp_path: Path) -> None:
    checkpoint = save(tmp_path / "best.pt", augment={"flip": "off"})
    result = run(checkpoint, "--data", pets, "--tta", "flip", "-q", "-f", "json")
    assert result.exit_code == 0
    assert "warning: mlp was trained without horizontal flips" in result.stderr
    assert run(checkpoint, "--data", pets, "-q", "-f", "json").stderr == ""


def test_the_confusion_matrix_for_a_spreadsheet(tmp_path: Path) -> None:
    checkpoint = save(tmp_path / "best.pt", ("cat, tabby", "dog"))
    data = write_classes(tmp_path / "pets", {"dog": 4, "cat, tabby": 6})
    file = tmp_path / "new" / "confusion.csv"
    report = json.loads(run(checkpoint, "--data", data, "-f", "json", "--confusion", file).stdout)
    with file.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.reader(lines))
    assert rows[0] == ["true class", "cat, tabby", "dog"]
    assert [row[0] for row in rows[1:]] == ["cat, tabby", "dog"]
    assert [[int(cell) for cell in row[1:]] for row in rows[1:]] == report["confusion"]
    refused(run(checkpoint, "--data", data, "-o", file, "--confusion", file), 2, "both name")


def test_the_worst_classes_first(checkpoint: Path, tmp_path: Path) -> None:
    data = write_classes(tmp_path / "data", {"cat": 4, "dog": 4})
    orders = []
    for sort in ("class", "accuracy", "loss"):
        lines = run(checkpoint, "--data", data, "--sort", sort).stdout.partition("class ")[2].splitlines()[2:4]
        orders.append([(line.split()[0], float(line.split()[1].rstrip("%"))) for line in lines])
    assert [label for label, _accuracy in orders[0]] == ["cat", "dog"]
    assert orders[1] == sorted(orders[0], key=lambda pair: pair[1])
    # Of two classes, the one with more mistakes has the larger loss here.
    assert orders[2] == orders[1]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_each_image_with_its_answers(checkpoint: Path, pets: Path, tmp_path: Path, suffix: str) -> None:
    torn = damage(pets / "cat" / "003.png")
    file = tmp_path / "new" / f"answers.{suffix}"
    result = run(checkpoint, "--data", pets, "-f", "json", "--errors", file)
    report = json.loads(result.stdout)
    rows = read_answers(file)
    assert [row["input"] for row in rows] == [str(path) for path in sorted(pets.glob("*/*.png")) if path != torn]
    assert sum(row["correct"] for row in rows) == report["correct"]
    assert sum(row["loss"] for row in rows) / len(rows) == pytest.approx(report["loss"], rel=1e-6)
    for row in rows:
        assert row["label"] == Path(row["input"]).parent.name
        assert row["correct"] == (row["label"] == row["predicted"])
        (first, best), (_second, other) = row["answers"]
        assert (first, best) == (row["predicted"], row["probability"])
        right = best if row["correct"] else other
        assert row["label_probability"] == pytest.approx(right, rel=1e-6)
        assert row["margin"] == pytest.approx(2 * right - 1, abs=1e-6)
        assert row["loss"] == pytest.approx(-math.log(right), rel=1e-5)
    run(checkpoint, "--data", pets, "--errors", file, "--sort", "loss")
    losses = [row["loss"] for row in read_answers(file)]
    assert losses == sorted((row["loss"] for row in rows), reverse=True)


def read_answers(file: Path) -> list[dict[str, Any]]:
    """The rows of a file of answers, whatever its format, with `answers` as pairs of class and probability."""
    if file.suffix == ".jsonl":
        rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    elif file.suffix == ".parquet":
        from pyarrow import parquet

        rows = parquet.read_table(file).to_pylist()
    else:
        numbers = ("probability", "label_probability", "margin", "loss")
        with file.open(newline="", encoding="utf-8") as lines:
            return [
                {
                    **row,
                    "correct": {"true": True, "false": False}[row["correct"]],
                    **{name: float(row[name]) for name in numbers},
                    "answers": [(row[f"label_{rank}"], float(row[f"probability_{rank}"])) for rank in (1, 2)],
                }
                for row in csv.DictReader(lines)
            ]
    return [row | {"answers": [(each["label"], each["probability"]) for each in row["predictions"]]} for row in rows]


def test_answers_that_cannot_be_written_are_refused_first(checkpoint: Path, pets: Path, tmp_path: Path) -> None:
    refused(run(checkpoint, "--data", pets, "--errors", tmp_path / "a.xlsx"), 2, "a.xlsx", "stands for none")
    twice = tmp_path / "a.csv"
    refused(run(checkpoint, "--data", pets, "--errors", twice, "--confusion", twice), 2, "both name")


def test_images_of_an_array_are_numbered(tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path / "cifar-10-batches-py")
    checkpoint = save(tmp_path / "best.pt", data={"source": str(tmp_path)})
    file = tmp_path / "answers.jsonl"
    assert run(checkpoint, "--allow-modified-data", "--errors", file).exit_code == 0
    assert [row["input"] for row in read_answers(file)] == [f"{folder}::{number:05d}" for number in range(4)]


def test_help_shows_an_example() -> None:
    assert "Example: imgcls eval" in run("--help").stdout
