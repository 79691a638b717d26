"""Each format, byte for byte."""

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest

from imgcls.errors import ImageError
from imgcls.host.terminal_text import printable
from imgcls.outputs.formats import FORMATS
from imgcls.outputs.formats.format import Layout, Span
from imgcls.outputs.formats.values import record_of
from imgcls.outputs.record import OPTIONAL_KEYS, FileVersion, ImageRecord, Prediction, failed_record
from imgcls.outputs.summary import Summary

MODEL = {"id": "m@1", "name": "m"}
GOOD = ImageRecord(
    "a.jpg", "m@1", (Prediction(2, "tree frog, tree-frog", 0.75), Prediction(0, "cat", 0.125)), 4, 3,
    version=FileVersion(10, 20),
)  # fmt: skip
BAD = failed_record("b\n.jpg", "m@1", ImageError("corrupt_image", "line\n  two\udcff"), FileVersion(1, 2))


def written(format_: str, *records: ImageRecord, top_k: int = 2, **options: Any) -> str:
    encoder = FORMATS[format_].encoder(Layout(MODEL, top_k, **options))
    summary = Summary()
    content = encoder.head()
    for record in records:
        summary.add(record)
        content += encoder.encode(record)
    return (content + encoder.tail(summary)).decode("utf-8")


def test_jsonl():
    assert written("jsonl", GOOD, BAD) == (
        '{"input": "a.jpg", "status": "ok", "width": 4, "height": 3, "model": "m@1", "predictions": '
        '[{"class_id": 2, "label": "tree frog, tree-frog", "probability": 0.75}, '
        '{"class_id": 0, "label": "cat", "probability": 0.125}]}\n'
        '{"input": "b\\n.jpg", "status": "error", "model": "m@1", '
        '"error": {"kind": "corrupt_image", "message": "line two\\\\udcff"}}\n'
    )


def test_a_journal_says_which_version_of_the_file_it_saw_and_how():
    record = json.loads(written("jsonl", BAD, is_resumable=True, settings="0123"))
    assert (record["size_bytes"], record["modified_ns"], record["settings"]) == (1, 2, "0123")


def test_csv():
    assert written("csv", GOOD, BAD, settings="0123") == (
        "input,status,error,label_1,probability_1,label_2,probability_2,class_id_1,class_id_2,width,height,model,"
        "uncertain,frame,frames,truncated,multi_label,labels,restricted_to,set,accepted,size_bytes,modified_ns,"
        "settings\n"
        'a.jpg,ok,,"tree frog, tree-frog",0.75,cat,0.125,2,0,4,3,m@1,,,,,,,,,,10,20,0123\n'
        '"b\n.jpg",error,corrupt_image: line two\\udcff,,,,,,,,,m@1,,,,,,,,,,1,2,0123\n'
    )


def test_csv_has_the_same_columns_wherever_it_goes_and_whatever_is_asked():
    assert written("csv", is_resumable=True, csv_safe=True, colour=True) == written("csv")


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''", "plain", "a=b"]


def test_csv_safe_leaves_a_spreadsheet_no_formula_and_every_name_comes_back():
    records = [ImageRecord(name, "m@1", (Prediction(0, name, 0.5),), 1, 1) for name in FORMULAS]
    plain, safe = written("csv", *records, top_k=1), written("csv", *records, top_k=1, csv_safe=True)
    assert [row["input"] for row in csv.DictReader(io.StringIO(plain, newline=""))] == FORMULAS
    cells = [cell for row in csv.reader(io.StringIO(safe, newline="")) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert cells.count("plain") == cells.count("a=b") == 2
    values = [values for _, values in read_back("csv", safe.encode(), csv_safe=True)]
    assert [(v["input"], v["predictions"][0]["label"]) for v in values if v] == [(name, name) for name in FORMULAS]


def read_back(format_: str, content: bytes, **options: Any) -> list[tuple[Span, dict[str, Any] | None]]:
    """What a format's reader gives, by walking and by looking up."""
    reader_type = FORMATS[format_].reader
    assert reader_type is not None
    reader = reader_type(io.BytesIO(content), Layout(MODEL, 2, **options))
    found = list(reader.scan())
    assert [reader.read(span) for span, _ in found] == [values for _, values in found]
    return found


def full_record() -> ImageRecord:
    """A record with every optional key."""
    examples = {bool: True, int: 3, tuple: ("cat", 'a "dog", owl')}
    values: dict[str, Any] = {name: examples[kind] for name, kind in OPTIONAL_KEYS.items()}
    return replace(GOOD, **values)


@pytest.mark.parametrize("format_", [name for name, each in FORMATS.items() if each.is_resumable])
@pytest.mark.parametrize("record", [GOOD, full_record()], ids=["plain", "full"])
def test_a_record_comes_back_from_every_format_that_is_resumed(format_, record):
    ((_, values),) = read_back(format_, written(format_, record, is_resumable=True, settings="0123").encode())
    assert values is not None
    assert (record_of(values), values["settings"]) == (record, "0123")


def test_optional_keys_stand_in_every_format():
    record = full_record()
    for name in OPTIONAL_KEYS:
        expected = getattr(record, name)
        expected = list(expected) if isinstance(expected, tuple) else expected
        assert json.loads(written("jsonl", record))[name] == expected
        (row,) = csv.DictReader(io.StringIO(written("csv", record), newline=""))
        assert row[name] == (json.dumps(expected) if isinstance(expected, list) else str(expected).lower())
        assert name not in json.loads(written("jsonl", GOOD))
    assert "(uncertain) (truncated)" in written("table", record)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[" * 100_000,
        b'{"input": 3, "status": "ok"}',
        b'{"input": "a", "status": "fine"}',
        b'{"input": "a", "status": "ok", "predictions": []}',
        b'{"input": "a", "status": "ok", "predictions": [{"label": "x", "probability": NaN}]}',
        b'{"input": "a", "status": "ok", "predictions": [{"label": 3, "probability": 0.5}]}',
        b"\xff\xfe",
        b'a,ok,,"x",2,y,0.1,1,2,,,,,',
        b"a,ok",
    ],
    ids=range(11),
)
@pytest.mark.parametrize("format_", ["jsonl", "csv"])
def test_what_is_no_record_of_ours_is_not_taken_for_one(format_, line):
    head = written(format_).encode()
    good = written(format_, GOOD, is_resumable=True).encode()[len(head) :]
    found = read_back(format_, head + good + line + b"\n" + good)
    assert [values is not None for _, values in found] == [True, False, True]


def test_a_lone_surrogate_in_a_label_costs_no_record():
    record = replace(GOOD, predictions=(Prediction(0, "a\udcffb", 0.5),))
    for format_ in ("jsonl", "csv", "json", "table"):
        assert "a\\udcffb" in written(format_, record)
    assert json.loads(written("jsonl", record))["predictions"][0]["label"] == "a\udcffb"


def test_a_reason_is_cut_where_somebody_says_too_much():
    record = failed_record("a", "m@1", ImageError("download_failed", "x" * 100_000))
    assert record.error is not None
    assert (len(record.error.message), record.error.message[-2:]) == (300, "x…")


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
        f"a.jpg  4 x 3  {GOOD.model.partition('@')[0]}\n"
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
    assert printable("a\tb é 漢 \u202e\U000e0001") == "a\\x09b é 漢 \\u202e\\U000e0001"


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
