"""Runs that are cut, continued and repeated: what is kept, what is done again, and what the output ends up as."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from colour_backend import ColourBackend, draw_image

from imgcls.errors import DataError, OutputError, UsageError
from imgcls.images.inputs.source import Source
from imgcls.images.inputs.sources import iterate_sources
from imgcls.inference.batch_run import BatchResult, ErrorLimits, run_batch
from imgcls.inference.pipeline import StreamSettings
from imgcls.outputs.destination import Destination
from imgcls.outputs.formats import FORMATS
from imgcls.outputs.formats.format import Layout
from imgcls.outputs.journal import part_path
from imgcls.outputs.manifest import read_manifest

# Names that a line-based or comma-based reader would trip over.
AWKWARD = [
    "a,b.png",
    'quo"te.png',
    "line\nfeed.png",
    "car\rriage.png",
    "crlf\r\n.png",
    "tab\t.png",
    "\x1b[31m.png",
    "é.png",
]


class CountingRunner(ColourBackend):
    """Counts the images it has seen."""

    num_seen = 0
    num_threads = 1

    def probabilities(self, images_BHWC: Any) -> Any:
        self.num_seen += int(images_BHWC.any(axis=(1, 2, 3)).sum())
        return super().probabilities(images_BHWC)


class Folder:
    """A folder of images, and runs over it."""

    def __init__(self, root: Path, format_: str) -> None:
        self.images = root / "in"
        self.images.mkdir()
        self.format = format_
        self.output = root / f"results.{format_}"
        for number in range(10):
            self.add(f"{number}.png", number)

    def add(self, name: str, shade: int = 0) -> Path:
        path = self.images / name
        draw_image(20 * shade + 10, 100, 50).save(path, "png")
        return path

    def run(
        self,
        sources: Any = None,
        *,
        classes: tuple[str, ...] = ("red", "green", "blue"),
        stop_after: int = -1,
        **options: Any,
    ) -> tuple[int, BatchResult]:
        """How many images were looked at, and how the run ended."""
        backend = CountingRunner(classes)
        count = 0

        def on_record(_record: Any, _summary: Any) -> None:
            nonlocal count
            count += 1

        settings = {
            "top_k": 3,
            "batch_size": 4,
            **{k: v for k, v in options.items() if k not in ("overwrite", "limits", "resume")},
        }
        result = run_batch(
            backend,
            iterate_sources([str(self.images)]) if sources is None else sources,
            Destination(self.format, self.output, options.get("resume", True), options.get("overwrite", False)),  # type: ignore[arg-type]
            StreamSettings(**settings, should_stop=lambda: 0 <= stop_after <= count),
            limits=options.get("limits", ErrorLimits()),
            on_record=on_record,
        )
        return backend.num_seen, result

    def rows(self, path: Path | None = None) -> list[dict[str, Any]]:
        """The records as a standard parser gives them."""
        text = (path or self.output).read_bytes().decode("utf-8")
        if self.format == "csv":
            return list(csv.DictReader(io.StringIO(text, newline="")))
        return [json.loads(line) for line in text.splitlines()] if "\x85" not in text else []

    def run_values(self) -> list[dict[str, Any]]:
        """The records that a cut run has left, whatever their columns."""
        format_ = FORMATS[self.format]
        with part_path(self.output).open("rb") as file:
            assert format_.reader is not None
            reader = format_.reader(file, Layout({}, 3))
            return [values for _, values in reader.scan() if values is not None]

    def inputs(self) -> list[str]:
        return [Path(row["input"]).name for row in self.rows()]


@pytest.fixture(params=["jsonl", "csv"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Folder:
    return Folder(tmp_path, request.param)


def test_what_is_done_is_not_looked_at_again(folder):
    assert folder.run()[0] == 10
    before = folder.output.read_bytes()
    seen, result = folder.run()
    assert (seen, result.summary.num_ok, result.summary.num_kept) == (0, 10, 10)
    assert folder.output.read_bytes() == before


def test_a_folder_that_grew_and_shrank(folder):
    folder.run()
    folder.add("3a.png", 5)
    folder.add("00.png", 6)
    (folder.images / "7.png").unlink()
    seen, result = folder.run()
    assert (seen, result.num_gone) == (2, 1)
    assert folder.run()[1].num_gone == 0
    assert folder.inputs() == [
        "0.png",
        "00.png",
        "1.png",
        "2.png",
        "3.png",
        "3a.png",
        "4.png",
        "5.png",
        "6.png",
        "8.png",
        "9.png",
    ]
    whole = folder.output.read_bytes()
    folder.run(resume=False, overwrite=True)
    assert folder.output.read_bytes() == whole


def test_what_has_changed_is_done_again(folder):
    folder.run()
    draw_image(1, 2, 250).save(folder.images / "2.png")
    touched = folder.images / "5.png"
    stamp = touched.stat().st_mtime_ns + 1
    os.utime(touched, ns=(stamp, stamp))
    same_time = folder.images / "8.png"
    stamp = same_time.stat().st_mtime_ns
    with same_time.open("ab") as file:
        file.write(b"\0")
    os.utime(same_time, ns=(stamp, stamp))
    assert folder.run()[0] == 3
    assert len(folder.inputs()) == 10
    assert folder.run()[0] == 0


def test_what_failed_is_done_again(folder):
    bad = folder.images / "4.png"
    good = bad.read_bytes()
    bad.write_bytes(good[:40])
    seen, result = folder.run()
    assert (seen, result.summary.num_failed) == (9, 1)
    seen, result = folder.run()
    assert (seen, result.summary.num_failed) == (0, 1)
    bad.write_bytes(good)
    seen, result = folder.run()
    assert (seen, result.summary.num_failed) == (1, 0)
    assert folder.inputs() == sorted(folder.inputs())


def test_an_image_that_went_bad_loses_its_answer(folder):
    folder.run()
    for path in folder.images.iterdir():
        path.write_bytes(b"no longer an image")
    _, result = folder.run()
    assert (result.summary.num_ok, result.summary.num_failed) == (0, 10)
    assert {row["status"] for row in folder.rows()} == {"error"}


@pytest.mark.parametrize("changed", [{"top_k": 2}, {"threshold": 0.5}, {"fast_decode": True}])
def test_another_question_is_asked_again(folder, changed):
    folder.run()
    assert folder.run(**changed)[0] == 10
    assert folder.run(**changed)[0] == 0
    assert len(folder.inputs()) == 10


def test_another_model_is_asked_again(folder, monkeypatch):
    folder.run()
    monkeypatch.setattr(ColourBackend, "id", "colour@111111111111")
    assert folder.run()[0] == 10


def test_a_limit_on_size_does_not_make_answers_old(folder):
    folder.run()
    assert folder.run(max_pixels=10**9)[0] == 0


def test_a_cut_run_is_continued_and_ends_with_the_same_bytes(folder, tmp_path):
    folder.run()
    whole = folder.output.read_bytes()
    folder.output.unlink()
    seen, result = folder.run(stop_after=4)
    assert result.ended == "interrupted"
    assert not folder.output.exists()
    done = len(folder.rows(part_path(folder.output)))
    assert seen >= done >= 4
    assert read_manifest(folder.output)["status"] == "interrupted"
    assert folder.run()[0] == 10 - done
    assert folder.output.read_bytes() == whole
    assert not part_path(folder.output).exists()


@pytest.mark.parametrize("torn", [1, 30, 200])
def test_a_torn_last_line_is_dropped(folder, torn):
    folder.run()
    whole = folder.output.read_bytes()
    part_path(folder.output).write_bytes(whole[:-torn])
    folder.output.unlink()
    seen, _ = folder.run()
    assert seen in (1, 2, 3)
    assert folder.output.read_bytes() == whole


@pytest.mark.parametrize(
    "garbage", [b"\0" * 300 + b"\n", b"\xff\xfe\n", b"[1, 2]\n", b"1,2\n", b"null\n", b'{"input": 3}\n']
)
def test_garbage_in_a_part_costs_nothing_but_itself(folder, garbage):
    folder.run()
    whole = folder.output.read_bytes()
    lines = whole.splitlines(keepends=True)
    part_path(folder.output).write_bytes(b"".join(lines[:4]) + garbage + b"".join(lines[4:7]))
    folder.output.unlink()
    seen, _ = folder.run()
    assert seen <= 5
    assert folder.output.read_bytes() == whole


def test_a_stray_quote_in_a_csv_costs_its_records_alone(tmp_path):
    folder = Folder(tmp_path, "csv")
    folder.run()
    whole = folder.output.read_bytes()
    folder.output.write_bytes(whole.replace(b"3.png", b'3"png'))
    folder.run()
    assert folder.output.read_bytes() == whole


@pytest.mark.parametrize(
    "content", ["something else\nentirely\n", "id,name\n1,one\n", '{"id": 1}\n', '{"schema": 1, "results": [\n', "text"]
)
def test_a_file_of_another_tool_is_not_taken_for_an_output(folder, content):
    folder.output.write_text(content)
    with pytest.raises(OutputError, match="holds no records in") as caught:
        folder.run()
    assert "--overwrite" in caught.value.hint
    assert folder.output.read_text() == content
    assert not part_path(folder.output).exists()
    folder.run(resume=False, overwrite=True)
    assert len(folder.inputs()) == 10


def test_an_output_without_records_is_continued(folder):
    folder.output.touch()
    assert folder.run()[0] == 10
    if folder.format == "csv":
        folder.output.write_bytes(folder.output.read_bytes().splitlines(keepends=True)[0])
        assert folder.run()[0] == 10


def test_old_files_keep_their_records_and_unknown_ones_are_left_out(folder):
    """--newer-than with --resume: yesterday's records stay."""
    known = [f"{number}.png" for number in range(5)]
    (folder.images / "3.png").write_bytes(b"no image")
    folder.run(sources=[Source(name, folder.images / name) for name in known])
    draw_image(9, 9, 9).save(folder.images / "1.png")
    sources = [Source(f"{n}.png", folder.images / f"{n}.png", is_old=n != 7) for n in range(10)]
    seen, result = folder.run(sources=iter(sources))
    # The new one, and the old ones whose record doesn't hold: one changed, one had failed.
    assert (seen, result.summary.num_kept, result.summary.num_failed) == (2, 3, 1)
    assert folder.inputs() == [*known, "7.png"]
    before = folder.output.read_bytes()
    assert folder.run(sources=[Source(s.name, s.path, is_old=True) for s in sources])[0] == 0
    assert folder.output.read_bytes() == before


def test_each_entry_of_a_list_has_its_record_be_it_twice(folder):
    names = ["3", "1", "3", "9", "1", "missing"]
    sources = [Source(f"{name}.png", folder.images / f"{name}.png") for name in names]
    folder.run(sources=iter(sources))
    assert folder.inputs() == [f"{name}.png" for name in names]
    whole = folder.output.read_bytes()
    seen, result = folder.run(sources=iter(sources))
    assert (seen, result.num_gone) == (0, 0)
    assert folder.output.read_bytes() == whole


def test_awkward_names_come_back(folder):
    for name in AWKWARD:
        folder.add(name)
    folder.run()
    expected = sorted(path.name for path in folder.images.iterdir())
    assert folder.inputs() == expected
    whole = folder.output.read_bytes()
    assert folder.run()[0] == 0
    assert folder.output.read_bytes() == whole


def test_existing_outputs_are_refused_unless_somebody_says_what_to_do(folder):
    destination = Destination(folder.format, folder.output)
    destination.check()
    for there in (folder.output, part_path(folder.output)):
        there.write_text("x")
        with pytest.raises(OutputError, match="exists already") as caught:
            destination.check()
        assert "--resume" in caught.value.hint
        Destination(folder.format, folder.output, resume=True).check()
        Destination(folder.format, folder.output, overwrite=True).check()
        there.unlink()
    folder.output.mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        Destination(folder.format, folder.output, overwrite=True).check()


@pytest.mark.parametrize(
    "options",
    [
        {"format": "json", "path": Path("x.json")},
        {"format": "table", "path": Path("x.txt")},
        {"format": "jsonl"},
        {"format": "jsonl", "path": Path(os.devnull)},
        {"format": "jsonl", "path": Path("x.jsonl"), "overwrite": True},
    ],
)
def test_what_cant_be_resumed(options):
    with pytest.raises(UsageError, match="--resume"):
        Destination(resume=True, **options).check()


@pytest.mark.parametrize("k", [1, 2])
def test_a_wrong_number_of_classes_costs_a_cut_run_nothing(folder, k):
    """Who types another -k by mistake and notices it still has what was done."""
    folder.run()
    whole = folder.output.read_bytes()
    folder.output.unlink()
    folder.run(stop_after=5)
    done = len(folder.run_values())
    assert folder.run(top_k=k, stop_after=0)[1].ended == "interrupted"
    folder.run(top_k=k, stop_after=2)
    seen, _ = folder.run()
    assert seen == 10 - done
    assert folder.output.read_bytes() == whole


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_an_output_in_utf_16_is_refused(folder, encoding):
    folder.run()
    content = folder.output.read_text(encoding="utf-8").encode(encoding)
    for there in (folder.output, part_path(folder.output)):
        folder.output.unlink(missing_ok=True)
        there.write_bytes(content)
        with pytest.raises(OutputError, match="is in UTF-16"):
            folder.run()
        assert there.read_bytes() == content


def test_an_overwritten_output_stays_until_the_new_one_is_whole(folder):
    folder.output.write_text("old")
    _, result = folder.run(resume=False, overwrite=True, stop_after=4)
    assert result.ended == "interrupted"
    assert folder.output.read_text() == "old"
    folder.run()
    assert len(folder.inputs()) == 10


def test_too_many_failures_end_the_run_and_keep_what_is_done(folder):
    for number in (2, 3, 5):
        (folder.images / f"{number}.png").write_bytes(b"text")
    _, result = folder.run(limits=ErrorLimits(1))
    assert (result.ended, result.summary.num_failed) == ("failed", 2)
    assert [Path(row["input"]).name for row in folder.rows(part_path(folder.output))] == [
        "0.png",
        "1.png",
        "2.png",
        "3.png",
    ]
    assert folder.run(limits=ErrorLimits(3))[0] == 5
    assert len(folder.inputs()) == 10


@pytest.mark.parametrize("earlier", [False, True])
def test_no_input_at_all_leaves_what_is_there(folder, earlier):
    if earlier:
        folder.run()
    before = folder.output.read_bytes() if earlier else None
    for path in folder.images.iterdir():
        path.unlink()
    with pytest.raises(DataError, match="no images"):
        folder.run()
    assert (folder.output.read_bytes() if folder.output.exists() else None) == before
    assert not part_path(folder.output).exists()


def test_a_folder_that_isnt_mounted_costs_no_results(folder):
    folder.run()
    before = folder.output.read_bytes()
    folder.images.rename(folder.images.with_name("elsewhere"))
    with pytest.raises(DataError, match="stays as it is"):
        folder.run()
    assert folder.output.read_bytes() == before
    folder.images.with_name("elsewhere").rename(folder.images)
    assert folder.run()[0] == 0
    assert folder.output.read_bytes() == before


def test_an_output_behind_a_link_is_written_through_it(folder, tmp_path):
    real = tmp_path / "deep" / "real.out"
    real.parent.mkdir()
    folder.output.symlink_to(real)
    folder.run()
    assert folder.output.is_symlink()
    assert len(folder.inputs()) == 10
    assert folder.run()[0] == 0
    assert read_manifest(real)["status"] == "finished"


def test_records_can_be_followed_while_the_run_goes_on(folder):
    part, counts = part_path(folder.output), []

    def slowly():
        for source in iterate_sources([str(folder.images)]):
            counts.append(len(folder.rows(part)) if part.exists() else 0)
            yield source

    folder.run(sources=slowly(), batch_size=1)
    assert counts[-1] > 0


def test_a_full_disk_while_the_final_file_is_made_loses_nothing(folder, monkeypatch):
    folder.run()
    whole = folder.output.read_bytes()
    folder.add("00.png")
    from imgcls.outputs.journal import Journal

    def full(*_args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "copy_in_order", full)
        with pytest.raises(OutputError, match="No space left on device"):
            folder.run()
    assert folder.output.read_bytes() == whole
    assert read_manifest(folder.output)["status"] == "failed"
    assert folder.run()[0] == 0
    assert len(folder.inputs()) == 11
    assert not [path.name for path in folder.output.parent.iterdir() if ".part" in path.name]


def test_look_ups_are_exact_whatever_the_hash(folder, monkeypatch):
    # As floats, which NumPy is quick to turn mixed integers into, these would all be one number.
    monkeypatch.setattr("imgcls.outputs.resume.hash_name", lambda name: 2**62 + int(Path(name).stem))
    folder.run()
    assert folder.run()[0] == 0
    monkeypatch.setattr("imgcls.outputs.resume.hash_name", lambda _name: 2**64 - 1)
    assert folder.run()[0] == 0
