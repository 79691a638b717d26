"""The note beside an output: what made it, and how it differs from the last one."""

import json
from pathlib import Path
from typing import Any

import pytest
from colour_backend import ColourBackend, draw_image

from imgcls.errors import OutputError
from imgcls.images.inputs.sources import iterate_sources
from imgcls.inference.batch_run import run_batch
from imgcls.inference.pipeline import StreamSettings
from imgcls.outputs.destination import Destination
from imgcls.outputs.manifest import describe_holder, former_manifest_path, last_finished, manifest_path, read_manifest

RED, GREEN, BLUE = (240, 5, 5), (5, 240, 5), (5, 5, 240)


class Nightly:
    """A folder that fills up, and the run that comes every night."""

    def __init__(self, root: Path) -> None:
        self.inbox, self.output = root / "in", root / "results.jsonl"
        self.inbox.mkdir()

    def add(self, *colours: tuple[int, int, int]) -> None:
        for colour in colours:
            draw_image(*colour).save(self.inbox / f"{len(list(self.inbox.iterdir())):03}.png")

    def run(self, output: Path | None = None, *, stop: bool = False, **options: Any) -> dict[str, Any]:
        """The note that the run leaves."""
        output = output or self.output
        format_: Any = output.suffix[1:]
        destination = Destination(format_, output, format_ != "json", format_ == "json")
        settings = StreamSettings(top_k=2, should_stop=lambda: stop, **options)
        run_batch(ColourBackend(), iterate_sources([str(self.inbox)]), destination, settings, device="cpu")
        note: dict[str, Any] = json.loads(manifest_path(output).read_text(encoding="utf-8"))
        return note


@pytest.fixture
def nightly(tmp_path: Path) -> Nightly:
    return Nightly(tmp_path)


def test_a_figure_can_be_traced(nightly, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/usr/bin/imgcls", "predict", "in\udcff"])
    nightly.add(RED, RED, GREEN)
    (nightly.inbox / "bad.png").write_bytes(b"text")
    note = nightly.run(threshold=0.5)
    assert (note["schema"], note["status"], note["output"]) == (1, "finished", "results.jsonl")
    assert note["command"] == ["imgcls", "predict", "in\udcff"]
    assert note["model"] == ColourBackend().describe()
    assert note["options"] == {"top_k": 2, "threshold": 0.5, "fast_decode": False, "max_pixels": 178_956_970}
    assert note["device"] == "cpu"
    assert {"imgcls", "python", "torch", "torchvision", "pillow", "numpy"} <= note["versions"].keys()
    assert note["started"] <= note["finished"]
    assert note["counts"] == {"count": 4, "ok": 3, "failed": 1, "errors": {"not_an_image": 1}, "kept": 0}
    assert note["mean_confidence"] == pytest.approx(240 / 250, abs=1e-6)
    assert list(note["classes"]) == ["red", "green"]
    assert note["classes"]["red"] == {"count": 2, "share": 0.666667, "last_count": None, "last_share": None}
    assert "last" not in note
    settings = {json.loads(line)["settings"] for line in nightly.output.read_text().splitlines()}
    assert settings == {note["settings"]}


def test_a_drift_shows(nightly):
    nightly.add(RED, RED, RED, GREEN)
    nightly.run()
    nightly.add(BLUE, BLUE, BLUE, BLUE)
    note = nightly.run()
    assert note["classes"] == {
        "blue": {"count": 4, "share": 0.5, "last_count": 0, "last_share": 0.0},
        "red": {"count": 3, "share": 0.375, "last_count": 3, "last_share": 0.75},
        "green": {"count": 1, "share": 0.125, "last_count": 1, "last_share": 0.25},
    }
    assert note["counts"]["kept"] == 4
    assert note["last"]["counts"]["count"] == 4
    assert note["last"]["mean_confidence"] == note["mean_confidence"]
    for path in sorted(nightly.inbox.iterdir())[:4]:
        path.unlink()
    gone = nightly.run()["classes"]
    assert gone["red"] == {"count": 0, "share": 0.0, "last_count": 3, "last_share": 0.375}


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_a_run_that_never_ended_is_nothing_to_compare_with(nightly, end):
    nightly.add(RED, GREEN)
    first = nightly.run()
    nightly.add(BLUE)
    if end == "stopped":
        assert nightly.run(stop=True)["status"] == "interrupted"
    else:
        # What a run writes when it starts, and SIGKILL lets stand.
        running = {"status": "running", "output": "results.jsonl", "last": nightly.run()["last"]}
        manifest_path(nightly.output).write_text(json.dumps(running))
    note = nightly.run()
    assert note["last"]["started"] == first["started"]
    assert note["classes"]["red"]["last_count"] == 1
    assert note["classes"]["blue"]["last_count"] == 0


def test_a_run_without_any_input_is_nothing_to_compare_with(nightly):
    nightly.add(RED, RED)
    first = nightly.run()
    arguments = [str(nightly.inbox)]
    for path in nightly.inbox.iterdir():
        path.unlink()
    result = run_batch(
        ColourBackend(),
        iterate_sources(arguments),
        Destination("jsonl", nightly.output, True, False),
        StreamSettings(top_k=2),
        may_be_empty=lambda: True,
    )
    assert result.left_output
    nightly.add(RED)
    assert nightly.run()["last"]["finished"] == first["finished"]
    assert nightly.run()["classes"]["red"]["last_count"] == 1


def test_every_output_has_a_manifest_of_its_own_and_compares_with_its_own(nightly, tmp_path):
    nightly.add(RED)
    for name in ("results.json", "results.csv", "results.jsonl"):
        note = nightly.run(tmp_path / name)
        assert (note["output"], note["status"], "last" in note) == (name, "finished", False)
    for name in ("results.json", "results.csv", "results.jsonl"):
        note = nightly.run(tmp_path / name)
        assert (note["output"], note["last"]["counts"]["count"]) == (name, 1)


def test_a_note_of_version_0_1_is_read_and_stays(nightly):
    nightly.add(RED, RED)
    nightly.run()
    former = former_manifest_path(nightly.output)
    manifest_path(nightly.output).rename(former)
    before = former.read_bytes()
    nightly.add(GREEN)
    assert nightly.run()["last"]["counts"]["count"] == 2
    assert former.read_bytes() == before
    # One about another output says nothing of this one.
    assert "last" not in nightly.run(nightly.output.with_suffix(".csv"))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"name": "my-package"}', '{"output": "results.jsonl"}'])
def test_only_a_manifest_of_ours_is_replaced(nightly, text):
    nightly.add(RED)
    path = manifest_path(nightly.output)
    path.write_text(text)
    for overwrite in (False, True):
        destination = Destination("jsonl", nightly.output, overwrite=overwrite)
        with pytest.raises(OutputError, match=r"is no manifest of results\.jsonl, and would be replaced"):
            destination.check()
    with pytest.raises(OutputError, match="is no manifest"):
        nightly.run()
    assert path.read_text() == text
    assert [entry.name for entry in nightly.output.parent.iterdir() if entry.is_file()] == [path.name]


def test_a_manifest_is_never_written_through_a_link(nightly, tmp_path):
    nightly.add(RED)
    nightly.run()
    elsewhere = tmp_path / "elsewhere.json"
    manifest_path(nightly.output).rename(elsewhere)
    before = elsewhere.read_bytes()
    manifest_path(nightly.output).symlink_to(elsewhere)
    with pytest.raises(OutputError, match="is a link"):
        nightly.run()
    assert elsewhere.read_bytes() == before


@pytest.mark.parametrize("last", [3, {"classes": 3}, {"classes": {"red": {}}}])
def test_a_manifest_that_somebody_has_written_to_is_no_obstacle(nightly, last):
    nightly.add(RED)
    text = json.dumps({"output": "results.jsonl", "status": "finished", "last": last, **({} if last == 3 else last)})
    manifest_path(nightly.output).write_text(text)
    assert nightly.run()["status"] == "finished"
    assert describe_holder(nightly.output) == ""


@pytest.mark.parametrize("status", ["running", "finished"])
@pytest.mark.parametrize("share", [10**400, "much", None])
def test_shares_that_nobody_can_compute_with_are_left_out(status, share):
    figures = {"started": "2026-01-01T00:00:00Z", "classes": {"red": {"count": 1, "share": share}}}
    manifest = {"status": status, **(figures if status == "finished" else {"last": figures})}
    assert last_finished(manifest) == {}


def test_a_failure_of_ours_is_noted(nightly, monkeypatch):
    nightly.add(RED)
    monkeypatch.setattr(ColourBackend, "probabilities", lambda *_args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        nightly.run()
    assert read_manifest(nightly.output)["status"] == "failed"
