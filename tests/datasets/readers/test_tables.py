"""Labels in tables: the same images and splits as from folders, groups that stay together, and what is refused."""

import shutil
from pathlib import Path

import pytest
from labelled_data import write_classes

from imgcls.datasets.evaluation_data import open_for_evaluation
from imgcls.datasets.opening import Opening, open_dataset
from imgcls.datasets.resolving import SPLITS, resolve
from imgcls.datasets.splits import split_fold, split_grouped
from imgcls.errors import ConfigError, DataError
from imgcls.images.transform import Transform

TRANSFORM = Transform(8, 8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """All images in one folder, five of each class."""
    write_classes(tmp_path / "sorted", {"cat": 5, "dog": 5})
    (tmp_path / "shots").mkdir()
    for path in (tmp_path / "sorted").rglob("*.png"):
        shutil.move(path, tmp_path / "shots" / f"{path.parent.name}-{path.name}")
    return tmp_path


def write(folder: Path, *rows: str, name: str = "labels.csv", head: str = "path,label") -> str:
    (folder / name).write_text("\n".join((head, *rows)) + "\n")
    return str(folder / name)


def all_rows(folder: Path, *, extra=lambda name: "") -> list[str]:
    names = sorted(path.name for path in (folder / "shots").iterdir())
    return [f"shots/{name},{name[:3]}{extra(name)}" for name in names]


def test_a_table_is_split_as_class_folders_would_be(photos):
    dataset = open_dataset(write(photos, *all_rows(photos)), transform=TRANSFORM, seed=1)
    assert dataset.classes == ("cat", "dog")
    assert (len(dataset.train), len(dataset.val)) == (8, 2)
    assert dataset.val.labels_N.tolist() == [0, 1]
    again = open_dataset(str(photos / "labels.csv"), transform=TRANSFORM, seed=1)
    assert again.val.fingerprints().tolist() == dataset.val.fingerprints().tolist()


def test_the_split_column_decides(photos):
    split = {"0": "train", "1": "Training", "2": "valid", "3": "test", "4": "train"}
    table = write(photos, *all_rows(photos, extra=lambda name: "," + split[name[6]]), head="Image_Path,Class,Subset")
    dataset = open_dataset(table, transform=TRANSFORM)
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (6, 2, 2)
    found = open_for_evaluation(table, opening=Opening(transform=TRANSFORM))
    assert found.images.description.split == "test"


def test_no_group_is_on_both_sides(photos):
    table = write(photos, *all_rows(photos, extra=lambda name: f",camera-{int(name[6]) % 3}"), head="path,label,group")
    for seed in range(10):
        data = resolve(table, splits=SPLITS, val_fraction=0.4, seed=seed)
        sides = {
            split: {int(part.images.files[row].name[-5]) % 3 for row in part.rows}
            for split, part in data.splits.items()
        }
        assert sides["train"].isdisjoint(sides["val"])
        assert sides["val"]


def test_a_named_column_of_groups_and_one_that_there_is_not(photos):
    table = write(photos, *all_rows(photos, extra=lambda name: f",{name[6]}"), head="path,label,patient")
    data = resolve(table, splits=SPLITS, group_column="Patient")
    assert [len(part.rows) for part in data.splits.values()] == [8, 2]
    assert len({data.splits["val"].images.files[row].name[-5] for row in data.splits["val"].rows}) == 1
    with pytest.raises(DataError, match="no column 'doctor'"):
        resolve(table, splits=SPLITS, group_column="doctor")


def test_groups_that_the_split_column_tears_apart_are_named(photos):
    rows = all_rows(photos, extra=lambda name: f",{'val' if name[6] == '4' else 'train'},everybody")
    data = resolve(write(photos, *rows, head="path,label,split,group"), splits=SPLITS)
    assert "1 group is in more than one split, such as 'everybody'" in data.warnings[0]


@pytest.mark.parametrize("seed", range(5))
def test_grouped_splits_have_about_the_share_that_was_asked_for(seed):
    labels = [index % 4 for index in range(400)]
    groups = [f"g{index // 8}" for index in range(400)]
    train, val = split_grouped(labels, groups, val_fraction=0.25, seed=seed)
    assert sorted(train + val) == list(range(400))
    assert 80 <= len(val) <= 120
    assert {groups[index] for index in train}.isdisjoint({groups[index] for index in val})


def test_an_image_without_a_group_is_one_by_itself():
    train, val = split_grouped([0] * 10, [""] * 10, val_fraction=0.3, seed=0)
    assert (len(train), len(val)) == (7, 3)


def test_tsv_semicolons_and_parquet_are_the_same(photos):
    expected = resolve(write(photos, *all_rows(photos)), splits=SPLITS).splits["val"].rows
    tabs = [row.replace(",", "\t") for row in all_rows(photos)]
    semicolons = [row.replace(",", ";") for row in all_rows(photos)]
    for table in (
        write(photos, *tabs, name="labels.tsv", head="path\tlabel"),
        write(photos, *semicolons, name="other.csv", head="path;label"),
    ):
        assert resolve(table, splits=SPLITS).splits["val"].rows == expected
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = list(zip(*(row.split(",") for row in all_rows(photos)), strict=True))
    parquet.write_table(pyarrow.table({"path": columns[0], "label": columns[1]}), photos / "labels.parquet")
    assert resolve(str(photos / "labels.parquet"), splits=SPLITS).splits["val"].rows == expected


def test_a_file_that_is_not_there_is_skipped_and_reported(photos):
    dataset = open_dataset(write(photos, *all_rows(photos), "shots/gone.png,cat"), transform=TRANSFORM)
    skipped = [bad for images in dataset.splits.values() for bad in images.skipped]
    assert [(bad.path.name, bad.kind) for bad in skipped] == [("gone.png", "not_found")]


def test_absolute_paths_and_a_row_that_comes_twice(photos):
    first, *rest = all_rows(photos)
    table = write(photos, f"{photos}/{first}", *rest, rest[0])
    assert sum(len(part.rows) for part in resolve(table, splits=SPLITS).splits.values()) == 10


@pytest.mark.parametrize(
    ("rows", "head", "said"),
    [
        (["a.png,cat"], "where,label", "no column 'path'"),
        (["a.png,cat"], "path,kind", "no column 'label'"),
        ([], "path,label", "no rows"),
        (["a.png,"], "path,label", "row 2: no label"),
        (["a.png,cat", "a.png,dog"], "path,label", "row 3: a.png is listed twice, first as cat"),
        (["a.png,cat,middle"], "path,label,split", "'middle' is no split"),
        (["a.png,;", "b.png,"], "path,label", "no label in any row"),
        (["a.png,cat,train", "b.png,dog,val"], "path,label,split", "val has 1 class that train lacks: 'dog'"),
    ],
)
def test_what_is_refused(tmp_path, rows, head, said):
    with pytest.raises(DataError, match=said):
        resolve(write(tmp_path, *rows, head=head), splits=SPLITS)


def test_groups_need_a_table(photos):
    write_classes(photos / "folders", {"cat": 2, "dog": 2})
    with pytest.raises(DataError, match="there are no groups"):
        resolve(str(photos / "folders"), splits=SPLITS, group_column="patient")


@pytest.mark.parametrize("groups", [(), tuple(f"g{index // 3}" for index in range(60))])
def test_folds_hold_each_image_once_and_their_share_of_each_class(groups):
    labels, names = [index % 3 for index in range(60)], [f"{index:03d}" for index in range(60)]
    parts = [split_fold(labels, names, fold=(number, 5), seed=2, groups=groups) for number in range(1, 6)]
    assert sorted(index for _train, val in parts for index in val) == list(range(60))
    for train, val in parts:
        assert sorted(train + val) == list(range(60))
        assert [sum(labels[index] == label for index in val) for label in range(3)] == [4, 4, 4]
        if groups:
            assert {groups[index] for index in train}.isdisjoint({groups[index] for index in val})
    assert split_fold(labels, names, fold=(1, 5), seed=3, groups=groups) != parts[0]


def test_more_folds_than_images_and_folds_beside_a_val_folder(photos):
    with pytest.raises(ConfigError, match="can't be divided into 3 folds"):
        split_fold([0, 1], ["a", "b"], fold=(1, 3), seed=0)
    write_classes(photos / "both/train", {"cat": 2, "dog": 2})
    write_classes(photos / "both/val", {"cat": 2, "dog": 2})
    with pytest.raises(DataError, match="no folds"):
        resolve(str(photos / "both"), splits=SPLITS, fold=(1, 2))
