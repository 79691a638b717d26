"""Outputs of version 0.1, written by it and kept in `before/`: each is continued, and none loses a record."""

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

BEFORE = Path(__file__).with_name("before")
MTIME_NS = 1_700_000_000_000_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder where version 0.1 ran, as it left it."""
    shutil.copytree(BEFORE, tmp_path, dirs_exist_ok=True)
    for number, path in enumerate(sorted((tmp_path / "in").iterdir())):
        os.utime(path, ns=(MTIME_NS + number, MTIME_NS + number))
    return tmp_path


def rows(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".csv":
        return list(csv.DictReader(text.splitlines()))
    return [json.loads(line) for line in text.splitlines()]


def predict(imgcls: Any, folder: Path, output: str, *arguments: object) -> str:
    """What a resumed run says."""
    command = ("predict", "-m", "cifar10-cnn", "-k", 2, "-o", output, "--resume", *arguments)
    run = imgcls(*command, cwd=folder)
    assert run.code == 0, run.stderr
    return str(run.stderr)


@pytest.mark.parametrize("output", ["lines.jsonl", "cells.csv", "doubts.csv"])
@pytest.mark.parametrize("inputs", ["in", "./in", "in//", "in/*.png"])
def test_a_finished_output_is_kept(imgcls, folder, output, inputs):
    threshold = ("--threshold", 0.5) if output == "doubts.csv" else ()
    before = rows(folder / output)
    assert "6 ok (6 kept from before)" in predict(imgcls, folder, output, inputs, *threshold)
    after = rows(folder / output)
    prefix = "./" if inputs == "./in" else ""
    separator = "//" if inputs == "in//" else "/"
    assert [row["input"] for row in after] == [f"{prefix}in{separator}{number}.png" for number in range(6)]
    for old, new in zip(before, after, strict=True):
        assert {key: new[key] for key in old if key != "input"} == {key: old[key] for key in old if key != "input"}
    again = (folder / output).read_bytes()
    assert "6 ok (6 kept from before)" in predict(imgcls, folder, output, inputs, *threshold)
    assert (folder / output).read_bytes() == again


@pytest.mark.parametrize("output", ["cut-lines.jsonl", "cut-cells.csv"])
def test_a_cut_run_is_continued(imgcls, folder, output):
    assert "6 ok (3 kept from before)" in predict(imgcls, folder, output, "in")
    assert [row["input"] for row in rows(folder / output)] == [f"in/{number}.png" for number in range(6)]
    assert not (folder / f"{output}.part").exists()


def test_csv_gets_the_columns_of_today(imgcls, folder):
    (folder / "in" / "5.png").unlink()
    shutil.copy(folder / "in" / "0.png", folder / "in" / "6.png")
    predict(imgcls, folder, "cells.csv", "in")
    first, *_, last = rows(folder / "cells.csv")
    # What version 0.1 didn't write down isn't known; what follows from the model is.
    assert (first["width"], first["class_id_1"], first["model"]) == ("", "2", "cifar10-cnn@a3a14f7cbdab")
    assert (last["width"], last["class_id_1"], last["model"]) == ("8", "2", "cifar10-cnn@a3a14f7cbdab")


@pytest.mark.parametrize("output", ["lines.jsonl", "cells.csv"])
def test_the_note_of_a_run_is_compared_with(imgcls, folder, output):
    former = folder / f"{Path(output).stem}.run.json"
    before = former.read_bytes()
    predict(imgcls, folder, output, "in")
    note = json.loads((folder / f"{output}.run.json").read_text(encoding="utf-8"))
    assert note["last"]["started"] == json.loads(before)["started"]
    assert note["classes"]["bird"]["last_count"] == 4
    assert former.read_bytes() == before


def test_a_report_shows_what_is_kept(imgcls, folder):
    predict(imgcls, folder, "cells.csv", "in", "--html", "page.html")
    text = (folder / "page.html").read_text(encoding="utf-8")
    assert '["in/0.png","in/0.png",8,6,0,[2,0.49116,3,0.11109]]' in text


def to_six_digits(record):
    """What is equal to a record but for the last digits of its probabilities, which depend on how many images share one
    step of the arithmetic."""
    answers = [{**each, "probability": pytest.approx(each["probability"], abs=1e-6)} for each in record["predictions"]]
    return {**record, "predictions": answers}


@pytest.mark.parametrize("name", ["whole.json", "rows.parquet"])
def test_formats_without_resume_are_still_what_they_were(imgcls, folder, name):
    """Same keys and columns, new ones beside them."""
    new = "new" + Path(name).suffix
    assert imgcls("predict", "-m", "cifar10-cnn", "-k", 2, "./in", "-o", new, cwd=folder).code == 0
    if name == "whole.json":
        old_document, new_document = (json.loads((folder / each).read_text()) for each in (name, new))
        assert old_document["model"] == new_document["model"]
        for old, record in zip(old_document["results"], new_document["results"], strict=True):
            assert record | {"input": old["input"]} == to_six_digits(old)
        return
    parquet = pytest.importorskip("pyarrow.parquet", reason="pip install 'imgcls[parquet]'")
    old_rows, new_rows = (parquet.read_table(folder / each).to_pylist() for each in (name, new))
    for old, row in zip(old_rows, new_rows, strict=True):
        assert {key: row[key] for key in old} | {"input": old["input"]} == to_six_digits(old)
