"""Parquet: what a standard reader gets back."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from colour_backend import ColourBackend, classify, draw_image

from imgcls.errors import OutputError, UsageError
from imgcls.images.inputs.source import Source
from imgcls.outputs.destination import Destination
from imgcls.outputs.formats.format import Layout
from imgcls.outputs.formats.parquet import ParquetEncoder
from imgcls.outputs.record import OPTIONAL_KEYS, ImageRecord, Prediction
from imgcls.outputs.summary import Summary

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install 'imgcls[parquet]'")


def test_rows_and_metadata_come_back(tmp_path: Path) -> None:
    good, torn = tmp_path / 'a "red",\none.png', tmp_path / "torn.jpg"
    draw_image(200, 40, 10).save(good)
    torn.write_bytes(b"no image")
    output = tmp_path / "results.parquet"
    classify([Source(str(good), good), Source(str(torn), torn)], Destination("parquet", output), threshold=0.9)

    table = parquet.read_table(output)
    first, second = table.to_pylist()
    assert first["input"] == str(good)
    assert (first["status"], first["width"], first["height"], first["uncertain"]) == ("ok", 24, 16, True)
    assert [p["label"] for p in first["predictions"]] == ["red", "green", "blue"]
    assert [p["class_id"] for p in first["predictions"]] == [0, 1, 2]
    assert first["predictions"][0]["probability"] == pytest.approx(200 / 250)
    assert (first["size_bytes"], first["modified_ns"]) == (good.stat().st_size, good.stat().st_mtime_ns)
    assert (second["status"], second["error_kind"], second["predictions"]) == ("error", "not_an_image", [])
    assert second["error_message"]
    assert second["width"] is second["uncertain"] is None

    facts = {
        key.decode(): json.loads(value)
        for key, value in parquet.read_metadata(output).metadata.items()
        if key.startswith(b"imgcls.")
    }
    assert b"imgcls.model" in parquet.read_schema(output).metadata
    assert facts["imgcls.model"] == ColourBackend().describe()
    assert facts["imgcls.options"]["threshold"] == 0.9
    assert facts["imgcls.summary"] == {"count": 2, "ok": 1, "failed": 1, "errors": {"not_an_image": 1}}
    assert {"imgcls", "python", "torch"} <= facts["imgcls.versions"].keys()
    assert len(facts["imgcls.settings"]) == 16


def test_the_reference_names_columns_and_metadata(tmp_path: Path) -> None:
    draw_image(1, 2, 3).save(tmp_path / "a.png")
    output = tmp_path / "r.parquet"
    classify([Source("a.png", tmp_path / "a.png")], Destination("parquet", output))
    page = (Path(__file__).parents[3] / "docs" / "pages" / "reference" / "records.md").read_text("utf-8")
    keys = [key.decode() for key in parquet.read_metadata(output).metadata if key.startswith(b"imgcls.")]
    missing = [name for name in [*parquet.read_table(output).column_names, *keys] if f"`{name}`" not in page]
    assert not missing
    assert len(keys) == 6


def test_row_groups_are_written_as_records_come(tmp_path: Path) -> None:
    encoder = ParquetEncoder(Layout({}, 1), row_group_records=100)
    path = tmp_path / "rows.parquet"
    sizes = []
    with path.open("wb") as file:
        file.write(encoder.head())
        for number in range(250):
            file.write(encoder.encode(ImageRecord(f"{number}.jpg", "m@1", (Prediction(1, "cup", 0.5),), 4, 3)))
            sizes.append(file.tell())
        file.write(encoder.tail(Summary(num_ok=250)))
    # Nothing but the first bytes until a group is full, and then all of it at once.
    assert (sizes[98], len(set(sizes))) == (4, 3)
    rows = parquet.ParquetFile(path)
    assert [rows.metadata.row_group(i).num_rows for i in range(rows.num_row_groups)] == [100, 100, 50]
    assert rows.read(["input"])["input"].to_pylist() == [f"{number}.jpg" for number in range(250)]


def test_optional_keys_have_columns(tmp_path: Path) -> None:
    examples = {bool: True, int: 3, tuple: ("cat", "dog")}
    values: dict[str, Any] = {name: examples[kind] for name, kind in OPTIONAL_KEYS.items()}
    encoder = ParquetEncoder(Layout({}, 1))
    record = ImageRecord("a.gif", "m@1", (Prediction(1, "lone \udcff", 0.5),), 4, 3, **values)
    content = encoder.head() + encoder.encode(record) + encoder.tail(Summary(num_ok=1))
    (tmp_path / "r.parquet").write_bytes(content)
    (row,) = parquet.read_table(tmp_path / "r.parquet").to_pylist()
    assert {name: row[name] for name in OPTIONAL_KEYS} == values | {"set": ["cat", "dog"], "labels": ["cat", "dog"]}
    assert row["predictions"][0]["label"] == "lone \\udcff"


def test_a_run_that_fails_leaves_no_file(tmp_path: Path) -> None:
    class Broken(ColourBackend):
        def probabilities(self, images_BHWC):  # type: ignore[no-untyped-def]
            raise RuntimeError("broken")

    image = tmp_path / "a.png"
    draw_image(1, 2, 3).save(image)
    with pytest.raises(RuntimeError, match="broken"):
        classify([Source("a.png", image)], Destination("parquet", tmp_path / "results.parquet"), Broken())
    assert not [path.name for path in tmp_path.iterdir() if path.suffix in (".parquet", ".part")]


def test_only_to_a_file_and_only_with_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="not to stdout") as raised:
        Destination("parquet").check()
    assert raised.value.hint == "add -o results.parquet"
    with pytest.raises(UsageError, match="--resume needs"):
        Destination("parquet", tmp_path / "x.parquet", resume=True).check()
    (tmp_path / "there.parquet").touch()
    with pytest.raises(OutputError, match="exists already"):
        Destination("parquet", tmp_path / "there.parquet").check()
    Destination("parquet", tmp_path / "there.parquet", overwrite=True).check()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match="needs pyarrow") as raised:
        Destination("parquet", tmp_path / "x.parquet").check()
    assert "pip install 'imgcls[parquet]'" in raised.value.hint
