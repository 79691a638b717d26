"""Blocks whose borders depend on the names alone, parts that read back as written, versions that must agree."""

import json
import tracemalloc
from itertools import islice
from pathlib import Path

import pytest

from imgcls.errors import DataError, DeviceError, ImageError, OutputError, UsageError
from imgcls.host.versions import versions
from imgcls.images.inputs.source import Source
from imgcls.images.inputs.sources import iterate_sources
from imgcls.images.object_storage.urls import StorageOptions
from imgcls.inference.cluster.blocks import cut_blocks
from imgcls.inference.cluster.collecting import read_parts_manifest, read_records
from imgcls.inference.cluster.destination import PartsDestination
from imgcls.inference.cluster.parts import PartFolder, encode_part, is_part, part_name, read_part
from imgcls.inference.cluster.worker import check_versions
from imgcls.outputs.formats.format import Layout
from imgcls.outputs.record import FileVersion, ImageRecord, Prediction, failed_record
from imgcls.outputs.summary import Summary


def sources(*names: str) -> list[Source]:
    return [Source(name, path=Path(name)) for name in names]


def test_blocks_hold_every_input_once_and_in_order():
    names = [f"{number}.jpg" for number in range(20_000)]
    blocks = list(cut_blocks(sources(*names), size=100))
    assert [source.name for block in blocks for source in block.sources] == names
    sizes = [len(block.sources) for block in blocks]
    assert max(sizes) <= 400
    assert min(sizes[:-1]) >= 25
    assert 90 < sum(sizes) / len(sizes) < 150
    assert len({block.id for block in blocks}) == len(blocks)


def test_a_file_more_or_less_changes_the_blocks_around_it_and_no_others():
    names = [f"{number}.jpg" for number in range(20_000)]
    before = {block.id for block in cut_blocks(sources(*names), size=100)}
    for changed in ([*names[:7000], "new.jpg", *names[7000:]], [*names[:7000], *names[7001:]]):
        after = {block.id for block in cut_blocks(sources(*changed), size=100)}
        assert 1 <= len(after - before) <= 4
        assert 1 <= len(before - after) <= 4


def test_an_archive_is_a_block_of_its_own_and_the_same_names_twice_are_two():
    blocks = list(cut_blocks(sources("a.jpg", "s.tar", "b.jpg", "s.tar"), size=100))
    assert [[source.name for source in block.sources] for block in blocks] == [
        ["a.jpg"], ["s.tar"], ["b.jpg"], ["s.tar"]
    ]  # fmt: skip
    assert blocks[3].id == f"{blocks[1].id}-2"


def test_a_long_list_is_cut_without_being_held(tmp_path):
    path = tmp_path / "list"
    path.write_text("".join(f"s3://bucket/some/folder/{number:09}.jpg\n" for number in range(200_000)))
    with path.open() as lines:
        stream = iterate_sources((line.rstrip("\n") for line in lines), has_patterns=False)
        tracemalloc.start()
        try:
            assert sum(len(block.sources) for block in cut_blocks(stream, size=1000)) == 200_000
            assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
        finally:
            tracemalloc.stop()


VERSION = FileVersion(7, 9)
RECORDS = [
    ImageRecord(
        "a.jpg", "m@1", (Prediction(1, "dog", 0.75), Prediction(0, "cat", 0.25)), 4, 3, version=FileVersion(7, 9)
    ),
    failed_record("größe/b.jpg", "m@1", ImageError("not_found", "no such file")),
    ImageRecord("c.gif", "m@1", (Prediction(0, "cat", 0.5),), 4, 3, frame=1, frames=2),
]


@pytest.mark.parametrize("format_", ["parquet", "jsonl"])
def test_a_part_reads_back_as_it_was_written(format_):
    if format_ == "parquet":
        pytest.importorskip("pyarrow")
    layout = Layout({"id": "m@1"}, 2, settings="abc", is_resumable=True, facts={"settings": "abc"})
    content = encode_part(RECORDS, format_, layout, Summary())
    values = list(read_part(content, part_name("0", format_)))
    for found, record in zip(values, RECORDS, strict=True):
        assert {key: found[key] for key in record.to_dict()} == record.to_dict()
        assert found["settings"] == "abc"
        assert (found["size_bytes"], found["modified_ns"]) == (record.version or (None, None))
    for damaged in (content[: len(content) // 2], b"x" * 100):
        with pytest.raises((ValueError, OSError)):
            list(read_part(damaged, part_name("0", format_)))


def test_names_of_parts():
    assert part_name("0123", "parquet") == "part-0123.parquet"
    assert [is_part(name) for name in ("part-1.parquet", "part-1.jsonl", "manifest.json", ".part-1.x.part")] == [
        True, True, False, False
    ]  # fmt: skip


def test_a_folder_that_holds_a_run_is_refused_unless_told(tmp_path):
    folder = PartFolder(str(tmp_path / "out"), StorageOptions())
    PartsDestination(folder).check()
    folder.write("part-1.jsonl", b"")
    with pytest.raises(OutputError, match="holds a run already"):
        PartsDestination(folder).check()
    PartsDestination(folder, resume=True).check()
    with pytest.raises(UsageError, match="exclude each other"):
        PartsDestination(folder, resume=True, overwrite=True).check()
    with pytest.raises(UsageError, match="parquet or jsonl, not csv"):
        PartsDestination(folder, "csv", overwrite=True).check()


def test_a_run_without_a_manifest_is_unfinished_and_a_changed_part_is_told(tmp_path):
    folder = PartFolder(str(tmp_path), StorageOptions())
    with pytest.raises(DataError, match="holds no finished run"):
        read_parts_manifest(folder)
    folder.write("part-1.jsonl", b'{"input": "a", "status": "error", "error": {"kind": "not_found", "message": ""}}\n')
    part = {"name": "part-1.jsonl", "sha256": "0"}
    manifest = {"model": {"id": "m"}, "options": {"top_k": 5}, "parts": [part]}
    folder.write("manifest.json", json.dumps(manifest).encode())
    with pytest.raises(DataError, match="has changed since the run"):
        list(read_records(folder, read_parts_manifest(folder)))


def test_versions_that_differ_are_an_error_that_says_how_to_mend_it():
    ours = versions()
    check_versions(ours, ours | {"python": ".".join([*ours["python"].split(".")[:2], "99"])})
    check_versions(ours | {"torch": "2.14.1+cpu"}, ours | {"torch": "2.14.1+cu130"})
    with pytest.raises(DeviceError, match=r"a worker has torch 1\.0") as caught:
        check_versions(ours, ours | {"torch": "1.0"})
    assert "runtime_env" in caught.value.hint
    with pytest.raises(DeviceError, match="a worker has python"):
        check_versions(ours, ours | {"python": "3.9.1"})


def test_folders_and_objects_are_one_kind_of_place(s3):
    folder = PartFolder("s3://data/out", StorageOptions())
    assert (folder.read("part-1.jsonl"), folder.names()) == (None, [])
    folder.write("part-1.jsonl", b"x")
    folder.write("manifest.json", b"{}")
    assert (folder.read("part-1.jsonl"), folder.parts()) == (b"x", ["part-1.jsonl"])
    folder.remove("part-1.jsonl")
    folder.remove("part-1.jsonl")
    assert folder.names() == ["manifest.json"]
    s3.faults = lambda _method, _path: 403
    with pytest.raises(OutputError, match="can't use s3://data/out: the store refuses"):
        folder.read("manifest.json")


def test_no_more_than_asked_for_is_read_ahead():
    taken = []

    def stream():
        for number in range(1000):
            taken.append(number)
            yield Source(f"{number}.jpg", path=Path(f"{number}.jpg"))

    first = list(islice(cut_blocks(stream(), size=10), 1))
    assert len(taken) == len(first[0].sources)
