import csv
from pathlib import Path

import pytest
from labelled_data import write_classes

from imgcls.datasets.checks.finding import Finding
from imgcls.datasets.checks.fixes import Fix, apply_fixes, fix_list, read_fixes
from imgcls.datasets.resolving import SPLITS, resolve
from imgcls.errors import DataError

FINDINGS = (
    Finding("label", "a.jpg", "looks like 'dog'", 0.99, label="cat", suggested_label="dog"),
    Finding("odd", "a.jpg", "dark", 0.9, label="cat"),
    Finding("leakage", "b.jpg", "the same pixels", 1.0, other="c.jpg", label="cat"),
    Finding("duplicate", "d.jpg", "the same pixels", 1.0, other="c.jpg", label="cat"),
    Finding("imbalance", "owl", "1 image", 0.9, label="owl"),
)


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "data"
    write_classes(root / "train", {"cat": 4, "dog": 4})
    write_classes(root / "val", {"cat": 2, "dog": 2})
    return root


def write_list(path: Path, *rows: str) -> Path:
    path.write_text("path,action,to\n" + "".join(f"{row}\n" for row in rows))
    return path


def test_the_list_has_a_row_per_image_with_what_is_proposed():
    rows = list(csv.DictReader(fix_list(FINDINGS).splitlines()))
    assert [(row["path"], row["action"], row["to"], row["kind"]) for row in rows] == [
        ("a.jpg", "keep", "dog", "label"),
        ("b.jpg", "drop", "", "leakage"),
        ("d.jpg", "keep", "", "duplicate"),
    ]


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "fixes.csv"
    path.write_text(fix_list(FINDINGS))
    assert read_fixes(path) == {"a.jpg": Fix("keep"), "b.jpg": Fix("drop"), "d.jpg": Fix("keep")}
    path.write_text(fix_list(FINDINGS).replace("a.jpg,keep", "a.jpg,move"))
    assert read_fixes(path)["a.jpg"] == Fix("move", "dog")


def test_images_are_left_out_and_relabelled_and_files_stay(data, tmp_path, monkeypatch):
    before = sorted(data.rglob("*.png"))
    fixes = {
        str(data / "train/cat/000.png"): Fix("drop"),
        str(data / "train/cat/001.png"): Fix("move", "dog"),
        str(data / "val/dog/001.png"): Fix("keep"),
        str(data / "gone.png"): Fix("drop"),
    }
    resolved = resolve(str(data), splits=SPLITS)
    applied = apply_fixes(resolved, fixes, tmp_path / "fixes.csv")
    assert (applied.num_dropped, applied.num_moved, applied.unmet) == (1, 1, (str(data / "gone.png"),))
    train = applied.data.splits["train"]
    images = [train.images.path(row).name for row in train.rows]
    assert list(zip(images, train.labels, strict=True))[:3] == [("001.png", 1), ("002.png", 0), ("003.png", 0)]
    assert train.description.fingerprint != resolved.splits["train"].description.fingerprint
    assert applied.data.splits["val"].description == resolved.splits["val"].description
    assert sorted(data.rglob("*.png")) == before


def test_paths_may_be_relative_to_where_the_command_runs(data, monkeypatch):
    monkeypatch.chdir(data)
    applied = apply_fixes(resolve(str(data), splits=SPLITS), {"train/cat/000.png": Fix("drop")}, Path("fixes.csv"))
    assert applied.num_dropped == 1


@pytest.mark.parametrize(
    ("row", "said"),
    [("a.png,delete,", "'delete' is no action"), ("a.png,move,", "move to which class")],
)
def test_a_row_that_means_nothing_is_named(tmp_path, row, said):
    with pytest.raises(DataError, match=said):
        read_fixes(write_list(tmp_path / "fixes.csv", row))


def test_a_class_that_the_data_lacks(data, tmp_path):
    with pytest.raises(DataError, match="'owl', which is no class"):
        apply_fixes(resolve(str(data), splits=SPLITS), {"a.png": Fix("move", "owl")}, tmp_path / "f.csv")


def test_no_list_and_no_columns(tmp_path):
    with pytest.raises(DataError, match="can't read"):
        read_fixes(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="no column 'path'"):
        read_fixes(tmp_path / "other.csv")


def test_not_every_image_of_a_split_may_go(data, tmp_path):
    fixes = {str(path): Fix("drop") for path in (data / "val").rglob("*.png")}
    with pytest.raises(DataError, match="drops every image of val"):
        apply_fixes(resolve(str(data), splits=SPLITS), fixes, tmp_path / "f.csv")
