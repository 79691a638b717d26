"""The report as a file: what is in it, when it appears, and that no name can break out of it."""

import base64
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import pytest
import torch
from colour_backend import ColourBackend, classify, colour_origin, draw_image
from PIL import Image

from imgcls.errors import OutputError, UsageError
from imgcls.images.inputs.source import Source
from imgcls.images.transform import Transform
from imgcls.inference.batch_run import BatchResult
from imgcls.outputs.destination import Destination
from imgcls.outputs.record import ImageRecord
from imgcls.outputs.report.entries import link_to
from imgcls.outputs.report.page import BLOCK_RECORDS, HtmlReport

SCRIPT = re.compile(r'<script type="[^"]+" (?:class|id)="(records|thumbnails|run)">(.*?)</script>', re.DOTALL)


def with_report(
    sources: list[Source], destination: Destination, backend: ColourBackend | None = None, **settings: Any
) -> BatchResult:
    """A whole run with a report beside its output, as the command does it."""
    assert destination.report is not None
    return classify(sources, destination, backend, **settings)


def contents(page: Path) -> tuple[list[Any], list[bytes], dict[str, Any]]:
    """Records, thumbnails and facts of a page."""
    records: list[Any] = []
    thumbnails: list[bytes] = []
    run: dict[str, Any] = {}
    for name, text in SCRIPT.findall(page.read_text("utf-8")):
        if name == "records":
            records += json.loads(text)
        elif name == "thumbnails" and records:
            thumbnails += [base64.b64decode(line) for line in text.split("\n")]
        elif name == "run":
            run = json.loads(text)
    return records, thumbnails, run


def save(folder: Path, count: int) -> list[Source]:
    """Images of rising redness."""
    folder.mkdir(exist_ok=True)
    for number in range(count):
        draw_image(number, 40, 10, size=(300, 200)).save(folder / f"{number:04}.png")
    return [Source(str(path), path) for path in sorted(folder.iterdir())]


def test_frames_and_missing_ends_are_told(tmp_path: Path) -> None:
    frames = [draw_image(red, 0, 0, size=(30, 20)) for red in (0, 120, 240)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    draw_image(9, 9, 9, size=(30, 20)).save(tmp_path / "b.jpg")
    whole = (tmp_path / "b.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole[:-9])
    sources = [Source(name, tmp_path / name) for name in ("a.tif", "b.jpg")]
    page = tmp_path / "report.html"
    destination = Destination("jsonl", tmp_path / "r.jsonl", report=page)
    with_report(sources, destination, all_frames=True, accepts_truncated=True)
    records, thumbnails, _run = contents(page)
    assert [values[6:] for values in records] == [
        ["frame 1 of 3"], ["frame 2 of 3"], ["frame 3 of 3"], ["its last bytes are missing"]
    ]  # fmt: skip
    text = page.read_text("utf-8")
    assert "without their last bytes accepted" in text
    assert "each frame and page" in text
    reds = [Image.open(io.BytesIO(thumbnail)).getpixel((15, 10))[0] for thumbnail in thumbnails[:3]]
    assert reds == pytest.approx([0, 120, 240], abs=4)


def test_holds_every_record_in_order(tmp_path: Path) -> None:
    sources = save(tmp_path / "shots", BLOCK_RECORDS + 3)
    sources.insert(1, Source("gone.jpg", tmp_path / "gone.jpg"))
    page = tmp_path / "report.html"
    with_report(sources, Destination("jsonl", tmp_path / "r.jsonl", report=page), threshold=0.75)
    records, thumbnails, run = contents(page)
    assert [values[0] for values in records] == [source.name for source in sources]
    assert records[1][2:] == ["not_found", "no such file"]
    assert records[0][2:4] == [300, 200]
    assert records[0][4] == 0
    assert records[0][5] == pytest.approx([1, 0.8, 2, 0.2, 0, 0], abs=1e-5)
    assert records[-1][4] == 1
    assert len(thumbnails) == len(records)
    assert thumbnails[1] == b""
    assert Image.open(io.BytesIO(thumbnails[-1])).size == (160, 107)
    assert run == {
        "status": "finished",
        "block": BLOCK_RECORDS,
        "top_k": 3,
        "threshold": 0.75,
        "classes": ["red", "green", "blue"],
    }
    text = page.read_text("utf-8")
    assert "colour@000000000000" in text
    assert "shorter side to 8 px (bilinear), centre 8 px" in text
    assert "torch 2." in text


def test_loads_nothing(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    with_report(save(tmp_path / "shots", 1), Destination("jsonl", tmp_path / "r.jsonl", report=page))
    text = page.read_text("utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"""(src|href)=["']?(?!#|data:)[\w/.]|@import|url\(|https?://""", text)


@pytest.mark.parametrize("name", ["<script>alert(1)<script>.png", "</script><!--.png", "q\"uo'te\nline&amp;.png"])
def test_no_name_breaks_out(tmp_path: Path, name: str) -> None:
    image = tmp_path / name.replace("/", "∕")
    draw_image(9, 9, 9).save(image)
    page = tmp_path / "report.html"
    backend = ColourBackend(("</script><b>", "green", "blue"))
    with_report([Source(name, image)], Destination("jsonl", tmp_path / "r.jsonl", report=page), backend)
    records, _thumbnails, run = contents(page)
    assert records[0][0] == name
    assert run["classes"][0] == "</script><b>"
    text = page.read_text("utf-8")
    # Two scripts a block, the facts, and the page's own.
    assert text.count("</script>") == 4
    assert "<b>" not in text
    assert "alert(1)<" not in text


@pytest.mark.parametrize("format_", ["jsonl", "csv"])
def test_a_resumed_run_shows_what_it_kept(tmp_path: Path, format_: Literal["jsonl", "csv"]) -> None:
    sources = save(tmp_path / "shots", 5)
    output, first, second = tmp_path / "r.out", tmp_path / "first.html", tmp_path / "second.html"
    with_report(sources[1:4], Destination(format_, output, report=first), threshold=0.75)
    result = with_report(sources, Destination(format_, output, resume=True, report=second), threshold=0.75)
    assert result.summary.num_kept == 3
    kept, thumbnails, _run = contents(second)
    fresh = tmp_path / "fresh.html"
    with_report(sources, Destination(format_, tmp_path / "fresh.out", report=fresh), threshold=0.75)
    assert (kept, thumbnails) == contents(fresh)[:2]


def test_an_early_end_says_so_and_a_failure_leaves_the_old_page(tmp_path: Path) -> None:
    sources = save(tmp_path / "shots", 3)
    page = tmp_path / "report.html"
    sources.insert(1, Source("gone.jpg", tmp_path / "gone.jpg"))
    destination = Destination("jsonl", tmp_path / "r.jsonl", overwrite=True, report=page)
    stops = iter([False, True])
    with_report(sources, destination, batch_size=2, should_stop=lambda: next(stops, True))
    before = page.read_bytes()
    assert contents(page)[2]["status"] == "interrupted"

    class Broken(ColourBackend):
        def probabilities(self, images_BHWC):  # type: ignore[no-untyped-def]
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        with_report(sources, destination, Broken())
    assert page.read_bytes() == before
    assert not list(tmp_path.glob(".report*"))


def test_links(tmp_path: Path) -> None:
    def link(name: str) -> str:
        return link_to(ImageRecord(name, "m@1"), tmp_path / "out")

    assert link("https://example.org/a.jpg?x=1") == "https://example.org/a.jpg?x=1"
    assert link("-") == ""
    assert link(str(tmp_path / "in" / "a.jpg")) == "../in/a.jpg"
    odd = link(str(tmp_path / "out" / "javascript:alert('1')#?.jpg"))
    assert set(odd).isdisjoint(":'#?()")
    assert unquote(odd) == "javascript:alert('1')#?.jpg"
    assert link((tmp_path / "in").as_uri() + "/%FF.jpg") == "../in/%FF.jpg"


def test_an_existing_report_is_replaced_only_when_asked(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.touch()
    output = tmp_path / "r.jsonl"
    with pytest.raises(OutputError, match=r"report\.html exists already") as raised:
        Destination("jsonl", output, report=page).check()
    assert raised.value.hint == "--resume continues it, --overwrite replaces it"
    with pytest.raises(OutputError, match="exists already"):
        Destination("table", report=page).check()
    Destination("jsonl", output, overwrite=True, report=page).check()
    Destination("jsonl", output, resume=True, report=page).check()
    Destination("table", overwrite=True, report=page).check()
    with pytest.raises(UsageError, match="can't be both"):
        Destination("jsonl", output, report=output).check()
    with pytest.raises(OutputError, match="is a folder"):
        Destination("jsonl", output, report=tmp_path).check()


def test_a_run_without_a_report_makes_no_thumbnails(tmp_path: Path) -> None:
    result = classify(save(tmp_path / "shots", 1), Destination("jsonl", tmp_path / "r.jsonl"))
    assert result.summary.count == 1
    assert not list(tmp_path.glob("*.html"))


def test_a_run_that_ends_without_an_end_leaves_no_page(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    with HtmlReport(page, colour_origin()) as report:
        report.add(ImageRecord("a.jpg", "m@1"))
    assert not list(tmp_path.iterdir())


def test_from_the_command_line(tmp_path: Path) -> None:
    from imgcls.models.checkpoint import Checkpoint, save_checkpoint
    from imgcls.models.networks.mlp import MLP

    model = tmp_path / "best.pt"
    torch.manual_seed(0)
    save_checkpoint(
        Checkpoint(
            model_name="mlp",
            model_arguments={"image_px": 4, "hidden": [5]},
            classes=("cat", "dog"),
            transform=Transform(5, 4),
            weights=MLP(2, image_px=4, hidden=(5,)).state_dict(),
        ),
        model,
    )
    save(tmp_path / "shots", 3)
    (tmp_path / "shots" / "torn.jpg").write_bytes(b"")
    command = [sys.executable, "-m", "imgcls", "predict", "shots", "-m", str(model), "--html", "report.html"]

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        return subprocess.run(
            [*command, *options], cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", check=False
        )

    first = run("-f", "jsonl", "-o", "r.jsonl")
    assert first.returncode == 4, first.stderr
    records = contents(tmp_path / "report.html")[0]
    assert [values[1] for values in records] == [f"shots/{n}" for n in ("0000.png", "0001.png", "0002.png", "torn.jpg")]
    (tmp_path / "r.jsonl").rename(tmp_path / "other.jsonl")
    second = run("-f", "jsonl", "-o", "r.jsonl")
    assert (second.returncode, second.stdout) == (8, "")
    assert "report.html exists already" in second.stderr
    (tmp_path / "other.jsonl").rename(tmp_path / "r.jsonl")
    third = run("-f", "jsonl", "-o", "r.jsonl", "--resume")
    assert "3 kept" in third.stderr
    assert contents(tmp_path / "report.html")[0] == records
    to_stdout = run("-f", "parquet", "--overwrite")
    assert (to_stdout.returncode, to_stdout.stdout) == (2, "")
    assert "-o results.parquet" in to_stdout.stderr
