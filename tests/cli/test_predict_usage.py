"""What `imgcls predict` refuses, with which code and words, and that stdout stays empty or whole."""

import gzip
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_model import save_image, save_images


@pytest.fixture
def image_path(tmp_path: Path) -> Path:
    return save_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "nothing to classify"),
        (("--shard", "5/4"), "--shard '5/4' is not I/N"),
        (("--newer-than", "soon"), "--newer-than 'soon' is no age, date or file"),
        (("--resume",), "--resume needs an output file in jsonl or csv"),
        (("--resume", "-o", "r.json", "-f", "json"), "--resume needs an output file in jsonl or csv"),
        (("--resume", "--overwrite", "-o", "r.jsonl", "-f", "jsonl"), "exclude each other"),
        # The rest of these four messages is Typer's, and changes with its version.
        (("--top-k", "0"), "--top-k"),
        (("--threshold", "1.5"), "--threshold"),
        (("--format", "xml"), "'xml' is not one of"),
        (("--max-errors", "-1"), "--max-errors"),
        (("--image-timeout", "0"), "--image-timeout"),
        (("--files-from", "-", "-"), "stdin can be read only once"),
        (("--no-such-option",), "no such option"),
        (("--device", "tpu"), "unknown device 'tpu'"),
    ],
)
def test_wrong_usage_is_code_2(imgcls, tiny_model, image_path, arguments, words):
    inputs = [image_path] if arguments else []
    run = imgcls("predict", *inputs, *arguments, "-m", tiny_model, cwd=image_path.parent)
    assert (run.code, run.stdout) == (2, b""), run.stderr
    assert words in " ".join(run.stderr.replace("│", " ").split())
    assert [path.name for path in image_path.parent.iterdir()] == ["a.png"]


@pytest.mark.parametrize("name", ["r.json", "r.jsonl", "r.CSV"])
def test_an_outputs_suffix_says_the_format_unless_somebody_does(imgcls, tiny_model, image_path, name):
    output = image_path.parent / name
    assert imgcls("predict", image_path, "-m", tiny_model, "-o", output).code == 0
    format_ = output.suffix[1:].lower()
    named = image_path.parent / "named.txt"
    assert imgcls("predict", image_path, "-m", tiny_model, "-f", format_, "-o", named).code == 0
    assert output.read_text() == named.read_text()


@pytest.mark.parametrize("name", ["r.xlsx", "r.txt", "r", "r.gz", "r.jsonl.bz2", "r.json.zip"])
def test_a_suffix_that_stands_for_no_format_is_refused(imgcls, tiny_model, image_path, name):
    run = imgcls("predict", image_path, "-m", tiny_model, "-o", name, cwd=image_path.parent)
    assert (run.code, run.stdout) == (2, b"")
    assert "output format\n  hint: end it with one of .json, .jsonl," in run.stderr
    assert [path.name for path in image_path.parent.iterdir()] == ["a.png"]


@pytest.mark.parametrize("format_", ["json", "jsonl", "csv"])
@pytest.mark.parametrize("suffix", [".gz", ".zst", ".GZ"])
def test_a_compressed_output_holds_what_a_plain_one_does(imgcls, tiny_model, image_path, format_, suffix):
    folder = image_path.parent
    if suffix == ".zst":
        pyarrow = pytest.importorskip("pyarrow", reason="pip install 'imgcls[parquet]'")
    for _ in range(2):
        name = f"r.{format_}{suffix}"
        run = imgcls("predict", image_path, "-m", tiny_model, "-o", name, "--overwrite", cwd=folder)
        assert run.code == 0, run.stderr
    content = (folder / name).read_bytes()
    if suffix == ".zst":
        with pyarrow.input_stream(pyarrow.BufferReader(content), compression="zstd") as file:
            text = file.read()
    else:
        text = gzip.decompress(content)
    printed = imgcls("predict", image_path, "-m", tiny_model, "-f", format_, cwd=folder).stdout
    assert text == printed


def test_what_a_compressed_output_cant_be(imgcls, tiny_model, image_path):
    command = ("predict", image_path, "-m", tiny_model)
    run = imgcls(*command, "-o", "r.jsonl.gz", "--resume", cwd=image_path.parent)
    assert (run.code, "an output file in jsonl or csv, not compressed" in run.stderr) == (2, True)
    run = imgcls(*command, "-o", "r.parquet.gz", cwd=image_path.parent)
    assert (run.code, "parquet is compressed already" in run.stderr) == (2, True)
    assert [path.name for path in image_path.parent.iterdir()] == ["a.png"]


@pytest.mark.parametrize("format_", ["table", "json", "jsonl", "csv"])
def test_a_dash_is_stdout(imgcls, tiny_model, image_path, format_):
    command = ("predict", image_path, "-m", tiny_model, "-f", format_)
    run = imgcls(*command, "-o", "-", cwd=image_path.parent)
    assert (run.code, run.stdout) == (0, imgcls(*command).stdout)
    assert [path.name for path in image_path.parent.iterdir()] == ["a.png"]


@pytest.mark.parametrize("name", ["r.json", "r.jsonl", "r.csv", "r.jsonl.gz"])
def test_nothing_is_left_beside_an_output_but_its_manifest(imgcls, tiny_model, image_path, name):
    assert imgcls("predict", image_path, "-m", tiny_model, "-o", name, cwd=image_path.parent).code == 0
    assert sorted(path.name for path in image_path.parent.iterdir()) == ["a.png", name, f"{name}.run.json"]


@pytest.mark.parametrize("option", ["-o", "--html"])
@pytest.mark.parametrize("read", ["image", "link to it", "folder", "pattern", "list", "model", "weights", "labels"])
def test_an_output_that_the_run_reads_is_refused(imgcls, tiny_model, image_path, option, read):
    folder = image_path.parent
    (folder / "list").write_text("a.png\n")
    (folder / "labels").write_text("cat\ndog\nowl\n")
    (folder / "link.png").symlink_to("a.png")
    (folder / "m.pt").write_bytes(tiny_model.read_bytes())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    inputs, output = {
        "image": (["a.png"], "a.png"),
        "link to it": (["link.png"], "a.png"),
        "folder": (["."], "a.png"),
        "pattern": (["*.png"], "a.png"),
        "list": (["--files-from", "list"], "list"),
        "model": (["a.png"], "m.pt"),
        "weights": (["a.png", "--weights", "m.pt"], "m.pt"),
        "labels": (["a.png", "--labels", "labels"], "labels"),
    }[read]
    run = imgcls("predict", *inputs, "-m", "m.pt", "-f", "jsonl", option, output, "--overwrite", cwd=folder)
    assert (run.code, "output too" in run.stderr) == (2, True), run.stderr
    for name, content in before.items():
        assert (folder / name).read_bytes() == content


@pytest.mark.parametrize("format_", ["table", "json", "jsonl", "csv"])
def test_an_unknown_model_is_code_6_and_names_the_nearest(imgcls, image_path, format_):
    run = imgcls("predict", image_path, "-m", "alexnett", "-f", format_)
    assert (run.code, run.stdout) == (6, b"")
    assert run.stderr.startswith("error: unknown model 'alexnett'; did you mean 'alexnet'?\n  hint: ")


@pytest.mark.parametrize(
    ("format_", "output"), [("table", ""), ("jsonl", ""), ("json", ""), ("jsonl", "r"), ("json", "r")]
)
def test_an_empty_folder_is_code_5(imgcls, tiny_model, tmp_path, format_, output):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").touch()
    run = imgcls(
        "predict", tmp_path / "in", "-m", tiny_model, "-f", format_, *(["-o", tmp_path / output] if output else [])
    )
    assert run.code == 5
    assert run.stderr.startswith("error: no images among the inputs\n  hint: ")
    # What is printed parses even so; what is a file isn't there at all.
    if format_ == "json" and not output:
        assert json.loads(run.stdout)["results"] == []
    else:
        assert run.stdout == b""
    assert not output or not (tmp_path / output).exists()


@pytest.mark.parametrize("format_", ["json", "jsonl", "csv"])
def test_a_list_that_cant_be_read_leaves_stdout_parseable(imgcls, tiny_model, image_path, format_):
    run = imgcls("predict", image_path, "--files-from", "missing.txt", "-m", tiny_model, "-f", format_)
    assert run.code == 5
    assert "can't read the list missing.txt: No such file" in run.stderr
    text = run.stdout.decode()
    if format_ == "json":
        document = json.loads(text)
        assert (len(document["results"]), document["summary"]["ended"]) == (1, "failed")
    else:
        assert text.count("\n") == 1 + (format_ == "csv")


def test_an_existing_output_is_refused_before_the_model_is_loaded(imgcls, image_path, tmp_path):
    output = tmp_path / "r.jsonl"
    output.write_text("mine")
    run = imgcls("predict", image_path, "-m", "no-such-model", "-f", "jsonl", "-o", output)
    assert (run.code, output.read_text()) == (8, "mine")
    assert run.stderr == f"error: {output} exists already\n  hint: --resume continues it, --overwrite replaces it\n"


def test_quiet_says_nothing_but_errors(imgcls, tiny_model, tmp_path):
    save_images(tmp_path / "in", 3)
    (tmp_path / "in" / "bad.png").write_bytes(b"text")
    run = imgcls("predict", tmp_path / "in", "-m", tiny_model, "-q", "-f", "jsonl", "-o", tmp_path / "r.jsonl")
    assert (run.code, run.stdout, run.stderr) == (4, b"", "")
    run = imgcls("predict", tmp_path / "in", "-m", tiny_model, "-q", "-f", "jsonl", "-o", tmp_path / "r.jsonl")
    assert run.code == 8
    assert "exists already" in run.stderr


@pytest.mark.parametrize(
    ("option", "kept"), [(("--fail-fast",), 3), (("--max-errors", 0), 3), (("--max-errors", 1), 5)]
)
def test_a_run_that_is_ended_by_failures_keeps_what_is_done(imgcls, tiny_model, tmp_path, option, kept):
    inbox = tmp_path / "in"
    for number, path in enumerate(save_images(inbox, 8)):
        if number in (2, 4, 6):
            path.write_bytes(b"text")
    output = tmp_path / "r.jsonl"
    run = imgcls("predict", inbox, "-m", tiny_model, "-f", "jsonl", "-o", output, *option)
    assert run.code == 4
    assert "stopped: too many inputs failed; what is done is kept, --resume continues it" in run.stderr
    assert output.with_name("r.jsonl.part").read_bytes().count(b"\n") == kept
    assert imgcls("predict", inbox, "-m", tiny_model, "-f", "jsonl", "-o", output, "--resume").code == 4
    assert output.read_bytes().count(b"\n") == 8
    printed = imgcls("predict", inbox, "-m", tiny_model, "-f", "json", *option)
    document = json.loads(printed.stdout)
    assert (len(document["results"]), document["summary"]["ended"]) == (kept, "failed")


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_closed_streams_are_no_defect(tiny_model, image_path):
    command = [sys.executable, "-m", "imgcls", "predict", "-m", str(tiny_model), "-f", "jsonl"]
    script = f"""
{shlex.join(command)} {image_path} >&-; echo $?
{shlex.join(command)} - <&-; echo $?
{shlex.join(command)} {image_path} 2>&- >{image_path.parent}/out; echo $?
"""
    run = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, timeout=300)
    assert run.stdout.split() == ["8", "5", "0"]
    assert run.stderr.count("error: ") == 2
    assert "Traceback" not in run.stderr
