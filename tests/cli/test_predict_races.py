"""Runs that are started on one output at the same time: exactly one wins, and nothing of it is lost."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_model import save_images


def outcomes(imgcls: Any, tmp_path: Path, commands: list[tuple[object, ...]]) -> list[int]:
    """The exit codes of commands that run at once; whoever doesn't win says why, in one line and a hint."""
    runs = [run.wait() for run in [imgcls.start(*command, cwd=tmp_path) for command in commands]]
    for run in runs:
        assert run.code in (0, 8), run.stderr
        if run.code == 8:
            first, hint = run.stderr.splitlines()
            assert first.startswith(("error: another run is writing ", "error: ")), run.stderr
            assert "another run is writing" in first or "exists already" in first
            assert hint.startswith("  hint: ")
    return sorted(run.code for run in runs)


@pytest.mark.parametrize("format_", ["table", "json", "jsonl", "csv", "parquet", "jsonl.gz"])
def test_of_eight_runs_one_wins(imgcls, tiny_model, tmp_path, format_):
    if format_ == "parquet":
        pytest.importorskip("pyarrow", reason="pip install 'imgcls[parquet]'")
    save_images(tmp_path / "in", 8)
    name = f"r.{format_}"
    inputs = [f"in/000{number}.png" for number in range(8)]
    commands = [
        ("predict", name_of_input, "-m", tiny_model, "-o", name, *(("-f", "table") if format_ == "table" else ()))
        for name_of_input in inputs
    ]
    assert outcomes(imgcls, tmp_path, commands) == [0] + [8] * 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", name, f"{name}.run.json"]
    note = json.loads((tmp_path / f"{name}.run.json").read_text())
    # The manifest tells of the run whose records are there.
    (winner,) = [each for each in inputs if each in note["command"]]
    assert (note["status"], note["counts"]["count"]) == ("finished", 1)
    if format_ in ("table", "json", "jsonl", "csv"):
        assert winner in (tmp_path / name).read_text()


def test_of_eight_runs_with_one_page_one_wins(imgcls, tiny_model, tmp_path):
    save_images(tmp_path / "in", 8)
    commands = [
        ("predict", f"in/000{number}.png", "-m", tiny_model, "-o", f"r{number}.jsonl", "--html", "page.html")
        for number in range(8)
    ]
    assert outcomes(imgcls, tmp_path, commands) == [0] + [8] * 7
    outputs = sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".jsonl")
    assert len(outputs) == 1
    assert f"in/000{outputs[0][1]}.png" in (tmp_path / "page.html").read_text()
