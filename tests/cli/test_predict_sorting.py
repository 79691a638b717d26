"""`imgcls predict --sort-into` through its command line."""

import json
from pathlib import Path

from tiny_model import save_images
from typer.testing import CliRunner, Result

from imgcls.cli.app import app


def predict(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", "--runtime", "torch", *map(str, arguments)])


def test_files_are_copied_by_class_recorded_and_taken_back(tmp_path: Path, tiny_model: Path) -> None:
    paths = save_images(tmp_path / "shots", 6)
    (tmp_path / "shots/torn.png").write_bytes(paths[0].read_bytes()[:60])
    output = tmp_path / "r.jsonl"
    arguments = ("-m", tiny_model, tmp_path / "shots", "--sort-into", tmp_path / "out", "-o", output)
    result = predict(*arguments)
    assert result.exit_code == 4, result.stderr
    assert "files: 6 copied, 1 left as they are" in result.stderr
    records = [json.loads(line) for line in output.read_text().splitlines()]
    for record in records:
        if record["status"] == "ok":
            label = record["predictions"][0]["label"]
            copied = tmp_path / "out" / label / Path(record["input"]).name
            assert copied.read_bytes() == Path(record["input"]).read_bytes()
    # Kept records of a resumed run are sorted too, and recognised.
    again = predict(*arguments, "--resume")
    assert "6 there already" in again.stderr
    (undo,) = (tmp_path / "out").glob("undo-*.jsonl")
    back = predict("--undo", undo)
    assert back.exit_code == 0, back.stderr
    assert "6 files undone" in back.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == [undo.name]
    assert len(list((tmp_path / "shots").iterdir())) == 7


def test_moved_by_threshold_and_a_dry_run_before(tmp_path: Path, tiny_model: Path) -> None:
    save_images(tmp_path / "shots", 4)
    arguments = ("-m", tiny_model, tmp_path / "shots", "--sort-into", tmp_path / "out", "--how", "move", "-k", 1)
    dry = predict(*arguments, "--threshold", 1, "--unsure-into", "unsure", "--dry-run")
    assert dry.exit_code == 0, dry.stderr
    assert dry.stderr.count("would be moved") == 4
    assert not (tmp_path / "out").exists()
    assert predict(*arguments, "--threshold", 1, "--unsure-into", "unsure").exit_code == 0
    assert len(list((tmp_path / "out/unsure").iterdir())) == 4
    assert list((tmp_path / "shots").iterdir()) == []


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.stderr
    assert result.stdout == ""
    for word in words:
        assert word in result.stderr


def test_what_does_not_go_together(tmp_path: Path, tiny_model: Path) -> None:
    save_images(tmp_path / "shots", 1)
    shots, out = tmp_path / "shots", tmp_path / "out"
    refused(predict(shots, "--how", "move"), "--sort-into")
    refused(predict(shots, "--sort-into", out, "--unsure-into", "unsure"), "--threshold 0.8")
    refused(predict(shots, "--sort-into", shots / "sorted"), "which is read meanwhile")
    refused(predict(shots, "--sort-into", out, "--threshold", 0.5, "--unsure-into", "../x"), "no name of a folder")
    refused(predict(shots, "--sort-into", out, "--how", "move", "-o", tmp_path / "r.jsonl", "--resume"), "contradict")
