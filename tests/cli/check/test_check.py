"""`imgcls check` and `train --data-fixes` through their command lines."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from labelled_data import COLOURS, write_cifar10, write_image
from typer.testing import CliRunner, Result

from imgcls.cli.app import app
from imgcls.models.families.efficientnet_lite import weights_path

# Where the weights are installed, the real network looks at the images.
HAS_BACKBONE = weights_path().is_file()
SMALL = ("-m", "mlp", "--from-scratch", "--set", "data.image_px=8", "--epochs", "1", "-q", "-f", "json")


def run(command: str, *arguments: object) -> Result:
    return CliRunner().invoke(app, [command, *map(str, arguments)])


@pytest.fixture
def leaky(tmp_path: Path) -> Path:
    """Four images of two colours in train; of the two in val one is a copy of one in train."""
    root = tmp_path / "data"
    for position, name in enumerate(("cat", "dog")):
        for number in range(4):
            write_image(root / "train" / name / f"{number}.png", seed=10 * position + number, colour=COLOURS[position])
        write_image(root / "val" / name / "v.png", seed=90 + position, colour=COLOURS[position])
    shutil.copy(root / "train/cat/1.png", root / "val/cat/copy.png")
    return root


def test_json_on_stdout_and_code_9_only_where_asked(leaky: Path) -> None:
    result = run("check", leaky, "-f", "json", "-q")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["data"]["images"] == {"train": 8, "val": 3}
    (leak,) = [finding for finding in report["findings"] if finding["kind"] == "leakage" and finding["exact"]]
    assert (Path(leak["input"]).name, Path(leak["other"]).name, leak["score"]) == ("copy.png", "1.png", 1.0)
    assert report["backbone"] == ("efficientnet-lite0" if HAS_BACKBONE else None)
    failing = run("check", leaky, "--fail-on", "leakage", "-q")
    assert failing.exit_code == 9
    assert "leaks between splits" in failing.stdout
    assert "findings of leakage" in failing.stderr
    assert run("check", leaky, "--fail-on", "unreadable,label", "-q").exit_code == 0


def test_a_kind_that_there_is_not(leaky: Path) -> None:
    result = run("check", leaky, "--fail-on", "leaks")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "'leaks' is no kind of finding" in result.stderr


def test_a_list_of_fixes_is_written_edited_and_honoured(leaky: Path, tmp_path: Path) -> None:
    fixes, page = tmp_path / "fixes.csv", tmp_path / "page.html"
    result = run("check", leaky, "--fix-list", fixes, "--html", page, "-o", tmp_path / "found.txt")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert f"train --data-fixes {fixes}" in result.stderr
    assert page.read_text().count("data:image/jpeg;base64,") >= 2
    again = run("check", leaky, "--fix-list", fixes)
    assert again.exit_code == 8
    assert "exists already" in again.stderr
    rows = [row for row in csv.DictReader(fixes.read_text().splitlines()) if row["path"].endswith("copy.png")]
    assert [(row["action"], row["kind"]) for row in rows] == [("drop", "leakage")]
    fixes.write_text(
        f"path,action,to\n{leaky / 'val/cat/copy.png'},drop,\n{leaky / 'train/cat/0.png'},move,dog\n"
        f"{leaky / 'train/cat/2.png'},keep,\n"
    )
    trained = run("train", "--data", leaky, "--data-fixes", fixes, "-o", tmp_path / "run", *SMALL)
    assert trained.exit_code == 0, trained.stderr
    assert "1 image left out, 1 given another class" in trained.stderr
    assert "the same bytes" not in trained.stderr
    # What training was evaluated on, eval finds again, without the image that was left out.
    measured = run("eval", tmp_path / "run", "-f", "json")
    assert json.loads(measured.stdout)["count"] == 2
    confusion = json.loads(run("eval", tmp_path / "run", "--split", "train", "-f", "json").stdout)["confusion"]
    assert [sum(row) for row in confusion] == [3, 5]
    assert sorted(path.name for path in (leaky / "train/cat").iterdir()) == ["0.png", "1.png", "2.png", "3.png"]


def test_training_warns_of_images_that_are_on_both_sides(leaky: Path, tmp_path: Path) -> None:
    result = run("train", "--data", leaky, "-o", tmp_path / "run", *SMALL)
    assert result.exit_code == 0, result.stderr
    assert "1 image of val is in train too, the same bytes" in result.stderr


def test_fixes_for_images_that_are_no_files(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "cifar-10-batches-py")
    (tmp_path / "fixes.csv").write_text("path,action,to\na,drop,\n")
    result = run(
        "train", "--data", tmp_path, "--allow-modified-data", "--data-fixes", tmp_path / "fixes.csv", "-m", "mlp"
    )
    assert result.exit_code == 5
    assert "goes with images in files" in result.stderr


def test_cifar10_is_checked_too(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "cifar-10-batches-py", per_file=4)
    result = run("check", tmp_path, "--allow-modified-data", "-f", "json", "-q")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["data"]["images"] == {"train": 20, "test": 4}
