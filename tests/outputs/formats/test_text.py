"""Each format, byte for byte."""

import csv
import io
import json

from imgcls.errors import ImageError
from imgcls.outputs.formats.text import CsvWriter, JsonlWriter, build_writer, printable
from imgcls.outputs.record import FileVersion, ImageRecord, Prediction, Summary, failed_record

MODEL = {"id": "m@1", "name": "m"}
GOOD = ImageRecord(
    "a.jpg", "m@1", (Prediction(2, "tree frog, tree-frog", 0.75), Prediction(0, "cat", 0.125)), 4, 3,
    version=FileVersion(10, 20),
)  # fmt: skip
BAD = failed_record("b\n.jpg", "m@1", ImageError("corrupt_image", "line\n  two\udcff"), FileVersion(1, 2))


def written(format_: str, *records: ImageRecord, top_k: int = 2, **options: bool) -> str:
    text = io.StringIO()
    writer = build_writer(format_, text, model=MODEL, top_k=top_k, **options)
    summary = Summary()
    for record in records:
        summary.add(record)
        writer.write(record)
    writer.finish(summary)
    return text.getvalue()


def test_jsonl():
    assert written("jsonl", GOOD, BAD) == (
        '{"input": "a.jpg", "status": "ok", "width": 4, "height": 3, "model": "m@1", "predictions": '
        '[{"class_id": 2, "label": "tree frog, tree-frog", "probability": 0.75}, '
        '{"class_id": 0, "label": "cat", "probability": 0.125}]}\n'
        '{"input": "b\\n.jpg", "status": "error", "model": "m@1", '
        '"error": {"kind": "corrupt_image", "message": "line two\\\\udcff"}}\n'
    )


def test_a_log_says_which_version_of_the_file_it_saw_and_how():
    text = io.StringIO()
    JsonlWriter(text, settings="0123").write(BAD)
    record = json.loads(text.getvalue())
    assert (record["size_bytes"], record["modified_ns"], record["settings"]) == (1, 2, "0123")
    text = io.StringIO()
    CsvWriter(text, 1, settings="0123").write(BAD)
    (row,) = csv.DictReader(io.StringIO(text.getvalue(), newline=""))
    assert (row["size_bytes"], row["modified_ns"], row["settings"]) == ("1", "2", "0123")


def test_csv():
    assert written("csv", GOOD, BAD, threshold=True) == (
        "input,status,error,label_1,probability_1,label_2,probability_2,uncertain\n"
        'a.jpg,ok,,"tree frog, tree-frog",0.75,cat,0.125,\n'
        '"b\n.jpg",error,corrupt_image: line two\\udcff,,,,,\n'
    )


def test_csv_quotes_whatever_a_reader_would_take_for_the_end_of_a_line():
    names = ["a\r.jpg", "a\r\n.jpg", 'a".jpg', " a.jpg ", "a,b", ""]
    text = written("csv", *(ImageRecord(name, "m@1", GOOD.predictions, 1, 1) for name in names))
    assert [row["input"] for row in csv.DictReader(io.StringIO(text, newline=""))] == names


def test_json():
    document = json.loads(written("json", GOOD, BAD))
    assert list(document) == ["schema", "model", "results", "summary"]
    assert (document["schema"], document["model"]) == (1, MODEL)
    assert document["results"] == [json.loads(line) for line in written("jsonl", GOOD, BAD).splitlines()]
    assert document["summary"] == {"count": 2, "ok": 1, "failed": 1, "errors": {"corrupt_image": 1}}
    assert json.loads(written("json"))["results"] == []


def test_table():
    assert written("table", GOOD, BAD) == (
        "a.jpg  4 x 3\n"
        "    75.00%  tree frog, tree-frog  ███████████████\n"
        "    12.50%  cat                   ██\n"
        "b\\x0a.jpg  corrupt_image: line two\\udcff\n"
    )
    assert written("table", GOOD, top_k=1) == "  75.00%  tree frog, tree-frog  a.jpg\n"
    assert "\x1b[31m" in written("table", BAD, colour=True)


def test_nothing_steers_a_terminal():
    evil = "\x1b]0;title\x07\r\x9b2J\u202e"
    record = ImageRecord(evil, "m@1", (Prediction(0, evil, 0.5), Prediction(1, "b", 0.25)), 1, 1)
    bad = failed_record(evil, "m@1", ImageError("corrupt_image", evil))
    for top_k in (1, 2):
        assert {char for char in written("table", record, bad, top_k=top_k) if not char.isprintable()} == {"\n"}
    assert printable("a\tb é 漢") == "a\\x09b é 漢"


def test_the_last_line():
    summary = Summary()
    assert str(summary) == "0 images: 0 ok"
    summary.add(GOOD)
    assert str(summary) == "1 image: 1 ok"
    for _ in range(12_470):
        summary.add(GOOD)
    for _ in range(7):
        summary.add(BAD)
    for _ in range(2):
        summary.add(failed_record("c", "m@1", ImageError("not_found", "no such file")))
    assert str(summary) == "12,480 images: 12,471 ok, 9 failed (7 corrupt_image, 2 not_found)"
