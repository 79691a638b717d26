"""Image folders as people really have them."""

import os
import shutil
import sys
import unicodedata
from pathlib import Path

import pytest
from labelled_data import write_classes, write_image

from imgcls.datasets.evaluation_data import open_for_evaluation
from imgcls.datasets.opening import Opening, open_dataset
from imgcls.datasets.readers.folder import scan_classes
from imgcls.datasets.resolving import resolve
from imgcls.errors import DataError
from imgcls.images.transform import Transform

TRANSFORM = Transform(8, 8)


def test_names_are_sorted_and_may_be_any_words(tmp_path: Path) -> None:
    write_classes(tmp_path, {"zebra": 1, "été chaud": 1, "猫": 2, "a b": 1})
    scan = scan_classes(tmp_path)
    assert scan.classes == ("a b", "zebra", "été chaud", "猫")
    assert [file.name for file in scan.files if file.label == "猫"] == ["猫/000.png", "猫/001.png"]


def test_one_class_however_its_name_is_composed(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {unicodedata.normalize("NFD", "é"): 1, "b": 1})
    write_classes(tmp_path / "val", {unicodedata.normalize("NFC", "é"): 1, "b": 1})
    data = open_dataset(str(tmp_path), transform=TRANSFORM)
    assert data.classes == ("b", "é")


def test_nested_files_count_and_foreign_ones_do_not(tmp_path: Path) -> None:
    write_classes(tmp_path, {"cat": 1})
    write_image(tmp_path / "cat" / "2024" / "may" / "x.JPG")
    write_image(tmp_path / "cat" / ".hidden.png")
    write_image(tmp_path / ".thumbnails" / "x.png")
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "readme.md").write_text("no image")
    scan = scan_classes(tmp_path)
    assert scan.classes == ("cat",)
    assert [file.name for file in scan.files] == ["cat/000.png", "cat/2024/may/x.JPG"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_are_followed_and_loops_survived(tmp_path: Path) -> None:
    elsewhere = write_image(tmp_path / "elsewhere" / "a.png").parent
    root = write_classes(tmp_path / "data", {"cat": 1})
    (root / "dog").symlink_to(elsewhere)
    (root / "cat" / "again").symlink_to(root / "cat")
    (root / "cat" / "self").symlink_to("self")
    (root / "cat" / "gone.png").symlink_to("nowhere.png")
    scan = scan_classes(root)
    # The dangling link stays in the list, so that it is counted among the unreadable ones.
    assert [file.name for file in scan.files] == ["cat/000.png", "cat/gone.png", "dog/a.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes there")
def test_a_pipe_is_no_image(tmp_path: Path) -> None:
    write_classes(tmp_path, {"cat": 1})
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    assert len(scan_classes(tmp_path).files) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="names must be Unicode there")
def test_a_class_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9")).mkdir()
    with pytest.raises(DataError, match="not UTF-8"):
        scan_classes(tmp_path)


@pytest.mark.parametrize("name", ["val", "valid"])
def test_folders_of_splits(tmp_path: Path, name: str) -> None:
    write_classes(tmp_path / "train", {"cat": 3, "dog": 2})
    write_classes(tmp_path / name, {"cat": 1, "dog": 1})
    write_classes(tmp_path / "test", {"dog": 2, "cat": 1})
    data = open_dataset(str(tmp_path), transform=TRANSFORM, val_fraction=0.5)
    assert data.train is not None
    assert data.val is not None
    assert data.test is not None
    assert [len(data.train), len(data.val), len(data.test)] == [5, 2, 3]
    assert data.test.labels_N.tolist() == [0, 1, 1]
    assert data.validation is data.val
    assert data.val.description.split == "val"


def test_test_validates_where_there_is_no_val(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"cat": 3, "dog": 2})
    write_classes(tmp_path / "test", {"cat": 1, "dog": 1})
    data = open_dataset(str(tmp_path), transform=TRANSFORM)
    assert data.val is None
    assert data.validation is data.test
    carved = open_dataset(str(tmp_path), transform=TRANSFORM, val_fraction=0.4)
    assert carved.train is not None
    assert carved.val is not None
    assert (len(carved.train), len(carved.val)) == (3, 2)


@pytest.mark.parametrize("below", ["", "train"])
def test_class_folders_alone_are_split(tmp_path: Path, below: str) -> None:
    write_classes(tmp_path / below, {"cat": 10, "dog": 5, "rare": 1, "none": 0})
    data = open_dataset(str(tmp_path), transform=TRANSFORM)
    assert data.classes == ("cat", "dog", "rare")
    assert data.train is not None
    assert data.val is not None
    assert data.train.labels_N.bincount().tolist() == [8, 4, 1]
    assert data.val.labels_N.bincount(minlength=3).tolist() == [2, 1, 0]
    assert data.train.description.fingerprint != data.val.description.fingerprint
    empty, single = data.warnings
    assert "'none'" in empty
    assert "'rare'" in single


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    write_classes(tmp_path, {"train": 2, "plane": 2})
    assert open_dataset(str(tmp_path), transform=TRANSFORM).classes == ("plane", "train")


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    def refuse(text: str, folder: str, *, splits: tuple[str, ...] = ("train", "val", "test")) -> DataError:
        with pytest.raises(DataError, match=text) as caught:
            open_dataset(str(tmp_path / folder), transform=TRANSFORM, splits=splits)
        return caught.value

    assert "DIR/train/CLASS" in refuse("no such data set", "nowhere").hint
    (tmp_path / "file").write_text("")
    refuse("not a folder", "file")
    (tmp_path / "empty").mkdir()
    assert "DIR/CLASS" in refuse("no images in class folders", "empty").hint
    write_image(tmp_path / "flat" / "x.png")
    refuse("images, but not in class folders", "flat")
    write_classes(tmp_path / "one", {"animals": 3})
    refuse("only one class, 'animals'", "one")
    write_classes(tmp_path / "more" / "train", {"cat": 1, "dog": 1})
    write_classes(tmp_path / "more" / "val", {"cat": 1, "wolf": 1})
    refuse("1 class that .*train lacks: 'wolf'", "more")
    write_classes(tmp_path / "twice" / "val", {"cat": 1})
    write_classes(tmp_path / "twice" / "valid", {"cat": 1})
    refuse("both val and valid", "twice")
    shutil.rmtree(tmp_path / "twice" / "valid")
    refuse("no train folder", "twice")


def test_a_class_that_validation_lacks_is_said(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"cat": 1, "dog": 1})
    write_classes(tmp_path / "val", {"cat": 1})
    warnings = open_dataset(str(tmp_path), transform=TRANSFORM).warnings
    assert ["no images of 'dog'" in warning for warning in warnings].count(True) == 1


def test_what_eval_chooses(tmp_path: Path) -> None:
    plain = write_classes(tmp_path / "plain", {"cat": 10, "dog": 5})
    parts = tmp_path / "parts"
    write_classes(parts / "train", {"cat": 5, "dog": 5})

    def choose(folder: Path, **settings: object) -> tuple[str, int]:
        images = open_for_evaluation(str(folder), opening=Opening(transform=TRANSFORM), **settings).images  # type: ignore[arg-type]
        return images.description.split, len(images)

    assert choose(plain) == ("all", 15)
    assert choose(plain, whole=False) == ("val", 3)
    assert choose(plain, split="train") == ("train", 12)
    with pytest.raises(DataError, match="only a train folder"):
        choose(parts)
    assert choose(parts, whole=False) == ("val", 2)
    write_classes(parts / "val", {"cat": 1})
    assert choose(parts) == ("val", 1)
    write_classes(parts / "test", {"cat": 1, "dog": 2})
    assert choose(parts) == ("test", 3)
    assert choose(parts, split="train") == ("train", 10)
    with pytest.raises(DataError, match="no test split"):
        choose(plain, split="test")


def test_the_same_split_whatever_is_asked_for(tmp_path: Path) -> None:
    write_classes(tmp_path, {"cat": 10, "dog": 5})
    both = resolve(str(tmp_path), splits=("train", "val"), seed=3).splits
    alone = resolve(str(tmp_path), splits=("val",), seed=3).splits
    assert both["val"].rows == alone["val"].rows
    assert both["val"].description == alone["val"].description
    assert set(both["train"].rows).isdisjoint(both["val"].rows)


def test_the_fingerprint_follows_the_files(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "a", {"cat": 2, "dog": 1})
    copy = Path(shutil.copytree(root, tmp_path / "b"))

    def fingerprint(folder: Path) -> str:
        return resolve(str(folder), splits=None).splits["all"].description.fingerprint

    first = fingerprint(root)
    assert fingerprint(copy) == first
    os.utime(copy / "dog" / "000.png", ns=(0, 0))
    assert fingerprint(copy) != first
