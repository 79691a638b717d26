"""Files into class folders: nothing overwritten, nothing lost, everything undone."""

import json
import os
from pathlib import Path

import pytest

from imgcls.errors import OutputError
from imgcls.outputs.record import ImageRecord, Prediction, RecordError
from imgcls.outputs.sorting.sorter import Sorter, folder_name
from imgcls.outputs.sorting.undo import undo


def record(path: Path, label: str = "cat", **values: object) -> ImageRecord:
    return ImageRecord(str(path), "m@1", (Prediction(0, label, 0.9),), 4, 4, **values)


def photo(path: Path, content: bytes = b"a") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def tree(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.startswith("undo-")
    }


@pytest.mark.parametrize("how", ["copy", "move", "link"])
def test_a_file_goes_into_its_class_and_back(tmp_path, how):
    source = photo(tmp_path / "in" / "a.jpg", b"pixels")
    with Sorter(tmp_path / "out", how) as sorter:
        placed = sorter.place(record(source))
    assert placed.target == tmp_path / "out/cat/a.jpg"
    assert placed.target.read_bytes() == b"pixels"
    assert placed.target.is_symlink() is (how == "link")
    assert source.exists() is (how != "move")
    assert undo(sorter.undo_path) == {"undone": 1}
    assert tree(tmp_path) == {"in/a.jpg": b"pixels"}
    assert not (tmp_path / "out/cat").exists()
    assert undo(sorter.undo_path) == {"gone": 1}


@pytest.mark.parametrize("how", ["copy", "move", "link"])
def test_other_content_gets_a_number_and_the_same_is_recognised(tmp_path, how):
    first, second, third = (photo(tmp_path / f"in{n}/a.jpg", content) for n, content in enumerate((b"1", b"2", b"1")))
    with Sorter(tmp_path / "out", how) as sorter:
        for each in (first, second, third):
            sorter.place(record(each))
    assert tree(tmp_path / "out") == {"cat/a.jpg": b"1", "cat/a-2.jpg": b"2"}
    # Once more, as after a run that was cut.
    with Sorter(tmp_path / "out", how) as again:
        for each in (first, second, third):
            again.place(record(each))
    assert tree(tmp_path / "out") == {"cat/a.jpg": b"1", "cat/a-2.jpg": b"2"}
    assert set(again.counts) <= {"there", "left"}
    undo(sorter.undo_path)
    assert tree(tmp_path) == {"in0/a.jpg": b"1", "in1/a.jpg": b"2", "in2/a.jpg": b"1"}


def test_a_move_that_was_cut_between_its_steps_is_finished(tmp_path):
    source = photo(tmp_path / "in/a.jpg", b"1")
    photo(tmp_path / "out/cat/a.jpg", b"1")
    with Sorter(tmp_path / "out", "move") as sorter:
        sorter.place(record(source))
    assert tree(tmp_path) == {"out/cat/a.jpg": b"1"}
    undo(sorter.undo_path)
    assert tree(tmp_path) == {"in/a.jpg": b"1", "out/cat/a.jpg": b"1"}


def test_a_file_that_lies_where_it_belongs_stays(tmp_path):
    source = photo(tmp_path / "out/cat/a.jpg", b"1")
    with Sorter(tmp_path / "out", "move") as sorter:
        assert sorter.place(record(source)).did == "there"
    assert tree(tmp_path) == {"out/cat/a.jpg": b"1"}


def test_unsure_answers_go_elsewhere_or_stay(tmp_path):
    source = photo(tmp_path / "in/a.jpg")
    with Sorter(tmp_path / "out") as sorter:
        assert sorter.place(record(source, uncertain=True)).did == "left"
        assert sorter.place(record(source, accepted=False)).did == "left"
    with Sorter(tmp_path / "out", unsure_into="unsure") as sorter:
        assert sorter.place(record(source, uncertain=True)).target == tmp_path / "out/unsure/a.jpg"
        assert sorter.place(record(source, uncertain=False)).target == tmp_path / "out/cat/a.jpg"


def test_what_is_no_file_or_has_no_answer_is_left(tmp_path):
    broken = photo(tmp_path / "in/a.jpg")
    with Sorter(tmp_path / "out") as sorter:
        sorter.place(ImageRecord(str(broken), "m@1", error=RecordError("corrupt_image", "torn")))
        sorter.place(record(Path("https://host/a.jpg")))
        sorter.place(record(broken, frame=3, frames=4))
        sorter.place(record(tmp_path / "gone.jpg"))
    assert sorter.counts == {"left": 4}
    assert sorter.undo_path is None
    assert not (tmp_path / "out").exists()


def test_a_dry_run_touches_nothing_and_foresees_clashes(tmp_path):
    first, second = photo(tmp_path / "in0/a.jpg", b"1"), photo(tmp_path / "in1/a.jpg", b"2")
    before = tree(tmp_path)
    with Sorter(tmp_path / "out", "move", dry_run=True) as sorter:
        targets = [sorter.place(record(each)).target for each in (first, second)]
    assert [target.name for target in targets] == ["a.jpg", "a-2.jpg"]
    assert tree(tmp_path) == before
    assert not (tmp_path / "out").exists()


def test_what_was_changed_since_is_not_undone(tmp_path):
    source = photo(tmp_path / "in/a.jpg", b"1")
    with Sorter(tmp_path / "out") as sorter:
        target = sorter.place(record(source)).target
    target.write_bytes(b"edited")
    assert undo(sorter.undo_path) == {"changed": 1}
    assert target.read_bytes() == b"edited"


def test_nothing_is_put_over_a_file_that_came_back(tmp_path):
    source = photo(tmp_path / "in/a.jpg", b"1")
    with Sorter(tmp_path / "out", "move") as sorter:
        sorter.place(record(source))
    photo(source, b"another")
    assert undo(sorter.undo_path) == {"changed": 1}
    assert source.read_bytes() == b"another"


def test_times_are_kept(tmp_path):
    source = photo(tmp_path / "in/a.jpg")
    os.utime(source, ns=(10**18, 10**18))
    with Sorter(tmp_path / "out") as sorter:
        assert sorter.place(record(source)).target.stat().st_mtime_ns == 10**18


@pytest.mark.parametrize(
    ("label", "name"),
    [("cat", "cat"), ("a/b", "a_b"), ("..", "_"), ("", "_"), ("con", "_con"), ("tabby, tabby cat", "tabby, tabby cat")],
)
def test_labels_become_names_of_folders(label, name):
    assert folder_name(label) == name


def test_an_undo_file_that_is_none(tmp_path):
    path = photo(tmp_path / "undo-1.jsonl", json.dumps({"did": "copied"}).encode())
    with pytest.raises(OutputError, match="no undo file"):
        undo(path)
    with pytest.raises(OutputError, match="can't read"):
        undo(tmp_path / "none.jsonl")


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path):
    source = photo(tmp_path / "in/a.jpg")
    photo(tmp_path / "out")
    with Sorter(tmp_path / "out") as sorter, pytest.raises(OutputError, match="can't copy"):
        sorter.place(record(source))
