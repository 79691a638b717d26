"""Folders that give nothing, and what they hold that isn't anybody's image; names as they were given."""

import json
from pathlib import Path

import pytest
from tiny_model import save_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image, an empty folder, and one of a network drive."""
    save_image(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    for name in ("b.png", "@eaDir/b.png", "._b.png", "__MACOSX/b.png", "sub/c.png", "sub/@eaDir/c.png"):
        save_image(tmp_path / "nas" / name)
    return tmp_path


@pytest.mark.parametrize("output", [(), ("-o", "r.jsonl"), ("-o", "r.json")])
def test_an_empty_folder_among_others_is_told(imgcls, tiny_model, folder, output):
    command = ("predict", "a.png", "empty", "-m", tiny_model, "-q", *output)
    run = imgcls(*command, cwd=folder)
    assert (run.code, run.stderr) == (0, "warning: no images in the folder empty\n")
    run = imgcls(*command, "--strict", "--overwrite", cwd=folder)
    assert (run.code, run.stderr) == (5, "warning: no images in the folder empty\n")
    # What could be done is done.
    assert "a.png" in ((folder / output[1]).read_text() if output else run.stdout.decode())


def test_strict_is_content_with_folders_that_have_images(imgcls, tiny_model, folder):
    run = imgcls("predict", "a.png", "nas", "-m", tiny_model, "--strict", "-q", cwd=folder)
    assert (run.code, run.stderr) == (0, "")
    run = imgcls("predict", "a.png", "nas", "-m", tiny_model, "--strict", "-q", "--include", "*.jpg", cwd=folder)
    assert (run.code, run.stderr) == (5, "warning: no images in the folder nas\n")


def test_many_empty_folders_are_not_all_named(imgcls, tiny_model, folder):
    for number in range(20):
        (folder / f"e{number:02}").mkdir()
    run = imgcls("predict", "a.png", *(f"e{number:02}" for number in range(20)), "-m", tiny_model, cwd=folder)
    warnings = run.stderr.splitlines()
    assert len([line for line in warnings if line.startswith("warning: ")]) == 6
    assert "warning: no images in 15 more folders" in warnings


def test_what_systems_leave_is_passed_over_and_said(imgcls, tiny_model, folder):
    run = imgcls("predict", "nas", "-m", tiny_model, "-f", "jsonl", cwd=folder)
    assert [json.loads(line)["input"] for line in run.stdout.splitlines()] == ["nas/b.png", "nas/sub/c.png"]
    assert "passed over: 2 @eaDir, 1 ._*, 1 __MACOSX\n" in run.stderr


def test_a_folder_can_be_excluded(imgcls, tiny_model, folder):
    run = imgcls("predict", "nas", "-m", tiny_model, "-f", "jsonl", "--exclude", "sub", cwd=folder)
    assert [json.loads(line)["input"] for line in run.stdout.splitlines()] == ["nas/b.png"]


@pytest.mark.parametrize("format_", ["jsonl", "json", "csv"])
def test_names_can_be_joined_with_the_callers_list(imgcls, tiny_model, folder, format_):
    uri = (folder / "a.png").as_uri()
    given = ["./a.png", ".//a.png", "nas//b.png", "s3://bucket/a.png", uri, "nas/../a.png"]
    run = imgcls("predict", *given, "-m", tiny_model, "-f", format_, cwd=folder)
    assert run.code == 4
    text = run.stdout.decode()
    if format_ == "csv":
        assert [line.partition(",")[0] for line in text.splitlines()[1:]] == given
    else:
        records = json.loads(text)["results"] if format_ == "json" else map(json.loads, text.splitlines())
        assert [record["input"] for record in records] == given


def test_stdin_has_the_limit_of_urls(imgcls, tiny_model):
    run = imgcls("predict", "-", "-m", tiny_model, "-f", "jsonl", "--url-max-mib", "0.5", input=b"x" * 600_000)
    record = json.loads(run.stdout)
    assert (run.code, record["error"]["kind"]) == (4, "too_large")
    assert record["error"]["message"] == "stdin gives more than 0.5 MiB"


def test_a_page_alone_comes_without_a_table(imgcls, tiny_model, folder):
    run = imgcls("predict", "nas", "-m", tiny_model, "--html", "h.html", cwd=folder)
    assert (run.code, run.stdout) == (0, b"")
    assert "wrote h.html\n" in run.stderr
    assert "nas/b.png" in (folder / "h.html").read_text()
    run = imgcls("predict", "nas", "-m", tiny_model, "--html", "h.html", "--overwrite", "-f", "table", cwd=folder)
    assert b"nas/b.png" in run.stdout
    assert "wrote h.html\n" in run.stderr


def test_csv_for_a_spreadsheet(imgcls, tiny_model, tmp_path):
    save_image(tmp_path / "=1+1.png")
    command = ("predict", "=1+1.png", "-m", tiny_model, "-o", "r.csv", "--resume")
    assert imgcls(*command, "--csv-safe", cwd=tmp_path).code == 0
    assert (tmp_path / "r.csv").read_text().splitlines()[1].startswith("'=1+1.png,ok")
    assert "1 kept from before" in imgcls(*command, "--csv-safe", cwd=tmp_path).stderr
    # One that was escaped is never mixed with others.
    assert imgcls(*command, cwd=tmp_path).code == 0
    assert (tmp_path / "r.csv").read_text().splitlines()[1].startswith("=1+1.png,ok")
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 2
