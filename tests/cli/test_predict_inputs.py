"""`imgcls predict` on inputs as people and machines leave them: a record each, in order, in every format."""

import base64
import csv
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from forked_cli import Imgcls
from PIL import Image
from tiny_model import CLASSES, save_image

from imgcls.errors import ExitCode
from imgcls.images.inputs.subset import Shard

needs_posix = pytest.mark.skipif(os.name == "nt", reason="Windows has neither such names nor such files")


def png(width: int, height: int, *, rows: bool = True) -> bytes:
    """A PNG of one black bit a pixel; without its rows just a header that promises them."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer = zlib.compressobj()
    row = bytes(1 + (width + 7) // 8)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush() if rows else zlib.compress(b"")
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder of trouble, and what each input should be: `ok`, or the kind of its error."""
    folder = tmp_path_factory.mktemp("trouble") / "in"
    good = save_image(folder / "good.png", 1)
    expected = {"good.png": "ok"}

    def put(name: str, content: bytes, kind: str) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        expected[name] = kind

    jpeg = save_image(folder / "good.jpg", 2).read_bytes()
    expected["good.jpg"] = "ok"
    put("truncated.jpg", jpeg[: len(jpeg) // 2], "corrupt_image")
    put("truncated.png", good.read_bytes()[:300], "corrupt_image")
    put("header.jpg", jpeg[:2], "not_an_image")
    put("empty.jpg", b"", "not_an_image")
    put("text.jpg", b"Dear Sir or Madam,\n", "not_an_image")
    put("really_png.jpg", good.read_bytes(), "ok")
    bomb = png(100_000, 100_000, rows=False)
    put("bomb.png", bomb, "too_large")
    # An icon of 16 x 16, says its header, around the same bomb.
    header = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(bomb), 22)
    put("bomb.ico", header + bomb, "too_large")
    put("x.jpg/inside.png", good.read_bytes(), "ok")
    put("thin.png", png(1, 90_000), "ok")
    put("damaged_exif.jpg", jpeg[:2] + b"\xff\xe1\x00\x10Exif\0\0II*\0\xff\xff\xff\xff" + jpeg[2:], "ok")
    if os.name != "nt":
        for name in (
            "new\nline.png",
            'quo"te,comma.png',
            "tab\t.png",
            "car\rriage.png",
            "\x1b[31mred.png",
            "nel\x85.png",
        ):
            put(name, good.read_bytes(), "ok")
        put("torn\n\x1b[2J.jpg", jpeg[:200], "corrupt_image")
        (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(good.read_bytes())
        os.mkfifo(folder / "fifo.jpg")
        (folder / "loop.jpg").symlink_to("loop.jpg")
        (folder / "dangling.jpg").symlink_to("nowhere")
        expected |= {os.fsdecode(b"caf\xe9.png"): "ok", "fifo.jpg": "not_an_image"}
        expected |= {"loop.jpg": "not_found", "dangling.jpg": "not_found"}
    return folder, expected


def in_order(folder: Path, expected: dict[str, str]) -> list[tuple[str, str]]:
    """Names as records give them, files before folders, with what is expected of each."""
    top = sorted(name for name in expected if "/" not in name)
    names = [*top, *sorted(name for name in expected if "/" in name)]
    uris = {os.fsdecode(b"caf\xe9.png"): f"{folder.as_uri()}/caf%E9.png"}
    return [(uris.get(name, f"{folder}/{name}"), expected[name]) for name in names]


@pytest.fixture(scope="module")
def answers(inbox: Any, imgcls: Imgcls, tiny_model: Path) -> dict[str, Any]:
    """One run over the folder in each format."""
    return {
        name: imgcls("predict", inbox[0], "-m", tiny_model, "-f", name, "--threshold", "0.36")
        for name in ("json", "jsonl", "csv", "table")
    }


def kinds(records: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(r["input"], r["status"] if r["status"] == "ok" else r["error"]["kind"]) for r in records]


def test_json_has_a_record_for_each_in_order(inbox, answers):
    run = answers["json"]
    assert run.code == 4
    document = json.loads(run.stdout)
    assert kinds(document["results"]) == in_order(*inbox)
    failed = [kind for kind in inbox[1].values() if kind != "ok"]
    summary = document["summary"]
    assert (summary["count"], summary["failed"]) == (len(inbox[1]), len(failed))
    assert summary["errors"] == {kind: failed.count(kind) for kind in set(failed)}
    assert document["model"]["name"] == "mlp"
    assert len(document["model"]["weights_sha256"]) == 64


def test_every_record_has_the_contracts_form(answers):
    for record in json.loads(answers["json"].stdout)["results"]:
        if record["status"] == "ok":
            assert list(record) == ["input", "status", "width", "height", "model", "predictions", "uncertain"]
            chances = [p["probability"] for p in record["predictions"]]
            assert chances == sorted(chances, reverse=True)
            assert sum(chances) == pytest.approx(1, abs=1e-6)
            assert all(CLASSES[p["class_id"]] == p["label"] for p in record["predictions"])
            assert record["uncertain"] is (chances[0] < 0.36)
        else:
            assert list(record) == ["input", "status", "model", "error"]
            assert list(record["error"]) == ["kind", "message"]
            assert "\n" not in record["error"]["message"]


def test_the_other_formats_say_the_same(answers):
    records = json.loads(answers["json"].stdout)["results"]
    assert [json.loads(line) for line in answers["jsonl"].stdout.split(b"\n")[:-1]] == records
    rows = list(csv.DictReader(io.StringIO(answers["csv"].stdout.decode(), newline="")))
    for row, record in zip(rows, records, strict=True):
        assert (row["input"], row["status"]) == (record["input"], record["status"])
        if record["status"] == "ok":
            pairs = [(row[f"label_{rank}"], float(row[f"probability_{rank}"])) for rank in (1, 2, 3)]
            assert pairs == [(p["label"], p["probability"]) for p in record["predictions"]]
            assert (row["uncertain"], row["error"]) == (str(record["uncertain"]).lower(), "")
        else:
            assert row["error"] == "{kind}: {message}".format(**record["error"])
            assert not row["label_1"] + row["probability_3"] + row["uncertain"]
    assert {run.code for run in answers.values()} == {4}


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_jq_reads_it(inbox, answers):
    def jq(program: str, content: bytes) -> Any:
        run = subprocess.run(["jq", "-c", program], input=content, capture_output=True, check=True)
        return [json.loads(line) for line in run.stdout.split(b"\n")[:-1]]

    names = [name for name, _ in in_order(*inbox)]
    assert jq("[.results[].input]", answers["json"].stdout) == [names]
    assert jq(".input", answers["jsonl"].stdout) == names


@needs_posix
def test_no_name_and_no_reason_steers_a_terminal(answers):
    table = answers["table"].stdout.decode()
    assert {char for char in table if not char.isprintable()} == {"\n"}
    assert "new\\x0aline.png" in table


def test_the_end_is_told_in_one_line(inbox, answers):
    expected = inbox[1]
    num_failed = sum(kind != "ok" for kind in expected.values())
    for run in answers.values():
        (line,) = run.stderr.splitlines()
        assert line.startswith(f"{len(expected)} images: {len(expected) - num_failed} ok, {num_failed} failed (")
        assert line.endswith(" img/s")


@needs_posix
def test_records_fed_back_name_the_same_inputs(inbox, answers, imgcls, tiny_model):
    names = [record["input"] for record in json.loads(answers["json"].stdout)["results"]]
    listed = "\0".join(names).encode()
    run = imgcls(
        "predict", "-m", tiny_model, "--files-from", "-", "-0", "-f", "json", "--threshold", "0.36", input=listed
    )
    assert run.stdout == answers["json"].stdout


def test_inputs_that_are_named_outright(inbox, imgcls, tiny_model):
    folder = inbox[0]
    names = [
        folder / "good.png",
        folder / "missing.jpg",
        folder / "good.png" / "below.jpg",
        "",
        "no*match.jpg",
        folder / ("x" * 300),
    ]
    run = imgcls("predict", *names, "-m", tiny_model, "-f", "jsonl", "-q")
    found = kinds([json.loads(line) for line in run.stdout.splitlines()])
    assert [name for name, _ in found] == [str(name) for name in names]
    assert [kind for _, kind in found] == ["ok", *["not_found"] * 5]
    assert (run.code, run.stderr) == (4, "")


def test_a_single_failed_input_is_code_4(inbox, imgcls, tiny_model):
    run = imgcls("predict", inbox[0] / "text.jpg", "-m", tiny_model)
    assert run.code == 4
    assert b"not_an_image" in run.stdout


def test_a_single_name_that_no_file_can_have(imgcls, tiny_model):
    run = imgcls("predict", "x" * 300 + ".jpg", "-m", tiny_model, "-f", "jsonl")
    assert (run.code, run.stderr.count("defect")) == (4, 0)
    assert json.loads(run.stdout)["error"]["kind"] == "not_found"


def test_stdin_can_be_an_image(inbox, imgcls, tiny_model):
    content = (inbox[0] / "good.png").read_bytes()
    run = imgcls("predict", "-", "-m", tiny_model, "-f", "jsonl", input=content)
    assert kinds([json.loads(run.stdout)]) == [("-", "ok")]
    run = imgcls("predict", "-", "-m", tiny_model, "-f", "jsonl", input=b"")
    assert kinds([json.loads(run.stdout)]) == [("-", "not_an_image")]
    run = imgcls("predict", "-", "-", "-m", tiny_model, input=content)
    assert (run.code, run.stdout) == (2, b"")


def test_a_huge_image_within_the_limit_is_classified(tmp_path, imgcls, tiny_model):
    huge = tmp_path / "huge.png"
    huge.write_bytes(png(20_000, 20_000))
    run = imgcls("predict", huge, "-m", tiny_model, "-f", "jsonl")
    assert kinds([json.loads(run.stdout)]) == [(str(huge), "too_large")]
    run = imgcls("predict", huge, "-m", tiny_model, "-f", "jsonl", "--max-pixels", 400_000_000)
    record = json.loads(run.stdout)
    assert (record["status"], record["width"], record["height"], run.stderr) == ("ok", 20_000, 20_000, "")


def test_a_decoder_that_takes_too_long_is_left_behind(tmp_path, imgcls, tiny_model):
    slow = tmp_path / "slow.png"
    slow.write_bytes(png(12_000, 12_000))
    run = imgcls("predict", slow, slow, "-m", tiny_model, "-f", "jsonl", "--image-timeout", "0.001", "--workers", 1)
    assert kinds([json.loads(line) for line in run.stdout.splitlines()]) == [(str(slow), "corrupt_image")] * 2
    assert b"decoding took more than 0.001 s" in run.stdout
    assert run.code == 4


@needs_posix
def test_what_may_not_be_read(tmp_path):
    """In a process without root's privileges, whoever runs the tests; an ONNX file makes it a quick one."""
    pytest.importorskip("onnx", reason="onnx is not installed: pip install 'imgcls[onnx]'")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'imgcls[onnx]'")
    from onnx_files import write_own

    unprivileged = []
    if os.getuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may read everything, and setpriv is not installed")
        unprivileged = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    inbox = tmp_path / "in"
    save_image(inbox / "good.png")
    locked = [save_image(inbox / "locked.png"), save_image(inbox / "sub" / "a.png").parent]
    model, output, folder = write_own(tmp_path / "m.onnx"), tmp_path / "r.jsonl", tmp_path / "out"
    output.write_text("mine")
    folder.mkdir()

    def run(*arguments: object) -> "subprocess.CompletedProcess[bytes]":
        command = [*unprivileged, sys.executable, "-m", "imgcls", "predict", inbox, "-m", model, "-f", "jsonl"]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        return subprocess.run([*command, *arguments], env=environment, capture_output=True, check=False, timeout=120)

    for path in (*locked, output, folder):
        path.chmod(0)
    try:
        read = run()
        unread = run("-o", output, "--resume")
        unwritten = run("-o", folder / "r.jsonl")
    finally:
        for path in (*locked, output, folder):
            path.chmod(0o700)
    assert kinds([json.loads(line) for line in read.stdout.splitlines()]) == [
        (str(inbox / "good.png"), "ok"),
        *((str(path), "permission_denied") for path in locked),
    ]
    assert (read.returncode, unread.returncode, unwritten.returncode) == (4, 8, 8)
    assert unread.stderr.decode().startswith(f"error: can't read {output}: Permission denied\n  hint: ")
    assert unwritten.stderr.decode().startswith(f"error: can't write {folder / 'r.jsonl'}: Permission denied\n  hint: ")
    assert output.read_text() == "mine"


def test_a_file_that_vanishes_between_listing_and_opening(tmp_path, imgcls, tiny_model):
    paths = [save_image(tmp_path / f"{number}.png", number) for number in range(3)]
    reader, writer = os.pipe()
    # A list that is still open is a listing that goes on.
    running = imgcls.start("predict", "-m", tiny_model, "-f", "jsonl", "--files-from", "-", stdin=reader)
    os.close(reader)
    os.write(writer, f"{paths[0]}\n".encode())
    paths[1].unlink()
    os.write(writer, f"{paths[1]}\n{paths[2]}\n".encode())
    os.close(writer)
    run = running.wait()
    assert [kind for _, kind in kinds([json.loads(line) for line in run.stdout.splitlines()])] == [
        "ok",
        "not_found",
        "ok",
    ]


@pytest.mark.parametrize("nul", [False, True])
def test_a_list_is_answered_while_it_is_still_open(tmp_path, imgcls, tiny_model, nul):
    paths = [save_image(tmp_path / f"{number}.png", number) for number in range(3)]
    list_read, list_write = os.pipe()
    answer_read, answer_write = os.pipe()
    options = ["-0"] if nul else []
    running = imgcls.start(
        "predict", "-m", tiny_model, "-f", "jsonl", "--files-from", "-", *options, stdin=list_read, stdout=answer_write
    )
    os.close(list_read)
    os.close(answer_write)
    with os.fdopen(answer_read, "rb") as lines:
        for path in paths:
            os.write(list_write, str(path).encode() + (b"\0" if nul else b"\n"))
            assert json.loads(lines.readline())["input"] == str(path)
        os.close(list_write)
        assert lines.read() == b""
    assert running.wait().code == 0


def test_a_lists_entries_are_names_and_no_patterns(tmp_path, imgcls, tiny_model):
    save_image(tmp_path / "a1.png")
    run = imgcls(
        "predict", "-m", tiny_model, "-f", "jsonl", "--files-from", "-", cwd=tmp_path, input=b"a[1].png\n*.png\n"
    )
    assert kinds([json.loads(line) for line in run.stdout.splitlines()]) == [
        ("a[1].png", "not_found"),
        ("*.png", "not_found"),
    ]


def test_shards_part_a_folder_exactly(tmp_path, imgcls, tiny_model):
    names = [str(save_image(tmp_path / f"{number}.png", number)) for number in range(12)]
    shares = [
        [
            json.loads(line)["input"]
            for line in imgcls(
                "predict", tmp_path, "-m", tiny_model, "-f", "jsonl", "--shard", f"{i}/3"
            ).stdout.splitlines()
        ]
        for i in (1, 2, 3)
    ]
    assert sorted(name for share in shares for name in share) == sorted(names)
    assert all(share == sorted(share) for share in shares)


def test_an_empty_share_or_nothing_new_is_no_fault(tmp_path, imgcls, tiny_model):
    save_image(tmp_path / "in" / "a.png")
    run = imgcls("predict", tmp_path / "in", "-m", tiny_model, "-f", "json", "--newer-than", "2100-01-01")
    assert (run.code, json.loads(run.stdout)["results"], run.stderr) == (0, [], "0 images: 0 ok\n")
    output = tmp_path / "r.jsonl"
    whole = ("predict", tmp_path / "in", "-m", tiny_model, "-f", "jsonl", "-o", output)
    imgcls(*whole)
    before = output.read_bytes()
    run = imgcls(*whole, "--resume", "--newer-than", "2100-01-01")
    assert (run.code, output.read_bytes()) == (0, before)
    assert run.stderr.startswith("1 image: 1 ok (1 kept from before)")
    save_image(tmp_path / "in" / "b.png")
    run = imgcls(*whole, "--resume", "--shard", "1/1", "--newer-than", "2100-01-01")
    assert (run.code, output.read_bytes()) == (0, before)
    other = [n for n in range(1, 9) if not Shard(n, 8).has(str(tmp_path / "in" / "a.png"))]
    run = imgcls("predict", tmp_path / "in" / "a.png", *whole[2:], "--resume", "--shard", f"{other[0]}/8")
    assert (run.code, output.read_bytes()) == (0, before)
    assert "stays as it is" in run.stderr


def test_names_can_be_chosen(tmp_path, imgcls, tiny_model):
    for name in ("a.png", "b.jpg", "sub/c.png", "sub/no.png", "old/d.png"):
        save_image(tmp_path / name)
    run = imgcls(
        "predict",
        tmp_path,
        "-m",
        tiny_model,
        "-f",
        "jsonl",
        "--include",
        "*.png",
        "--exclude",
        "no*",
        "--exclude",
        "old/*",
    )
    names = [Path(json.loads(line)["input"]).name for line in run.stdout.splitlines()]
    assert names == ["a.png", "c.png"]


def test_urls(server, imgcls, tiny_model, tmp_path):
    content = save_image(tmp_path / "a.png").read_bytes()
    good = server.add("/a.png", content)
    moved = server.add("/moved", status=302, headers={"Location": "/a.png"})
    off = server.add("/off", status=302, headers={"Location": (tmp_path / "a.png").as_uri()})
    large = server.add("/large", b"x" * 3_000_000)
    text = server.add("/text", b"<html>")
    urls = [good, moved, off, large, text, server.url + "/gone", "http://[broken", good]
    run = imgcls(
        "predict", "-m", tiny_model, "-f", "jsonl", "--url-max-mib", "1",
        "--files-from", "-", input=os.fsencode("\n".join(urls)) + b"\nhttp://127.0.0.1:1/\xff.jpg",
    )  # fmt: skip
    failed = "download_failed"
    assert kinds([json.loads(line) for line in run.stdout.splitlines()]) == list(
        zip(
            [*urls, "http://127.0.0.1:1/%FF.jpg"],
            ["ok", "ok", failed, failed, "not_an_image", failed, failed, "ok", failed],
            strict=True,
        )
    )


def test_passwords_of_urls_reach_the_server_and_nothing_that_is_written(server, imgcls, tiny_model, tmp_path):
    good = server.add("/a.png", save_image(tmp_path / "a.png").read_bytes()).replace("://", "://me:secret@")
    gone = good.replace("a.png", "gone.png?token=0p3n")
    output, report = tmp_path / "results.jsonl", tmp_path / "results.html"
    run = imgcls("predict", "-m", tiny_model, good, gone, "-v", "-o", output, "--html", report, IMGCLS_DEBUG="1")
    assert run.code == ExitCode.SOME_FAILED
    names = [json.loads(line)["input"] for line in output.read_text().splitlines()]
    place = server.url.removeprefix("http://")
    assert names == [f"http://***@{place}/a.png", f"http://***@{place}/gone.png?token=***"]
    written = [path.read_text(errors="replace") for path in tmp_path.iterdir()]
    assert not [text for text in (*written, run.stderr) if "secret" in text or "0p3n" in text]
    assert len(written) >= 3
    again = imgcls("predict", "-m", tiny_model, good, gone, "-o", output, "--resume")
    assert again.code == ExitCode.SOME_FAILED
    assert [json.loads(line)["input"] for line in output.read_text().splitlines()] == names


def test_data_uris(imgcls, tiny_model, tmp_path):
    content = save_image(tmp_path / "a.png").read_bytes()
    uri = "data:image/png;base64," + base64.b64encode(content).decode()
    run = imgcls("predict", "-m", tiny_model, "-f", "jsonl", uri, tmp_path / "a.png", "data:;base64,A")
    first, second, third = (json.loads(line) for line in run.stdout.splitlines())
    assert (first["input"], first["predictions"]) == (uri, second["predictions"])
    assert (third["status"], third["error"]["kind"]) == ("error", "corrupt_image")


def test_a_public_server_leads_home_only_where_that_is_allowed(server, imgcls, tiny_model, tmp_path):
    # A proxy stands for the world outside: what it is asked for by name is public.
    server.add("http://public.invalid/a.png", status=302, headers={"Location": "http://127.0.0.1:9/a.png"})
    server.add("http://127.0.0.1:9/a.png", save_image(tmp_path / "a.png").read_bytes())
    command = ("predict", "-m", tiny_model, "-f", "jsonl", "http://public.invalid/a.png")
    refused = json.loads(imgcls(*command, http_proxy=server.url).stdout)
    assert refused["error"]["kind"] == "download_failed"
    assert "private address 127.0.0.1" in refused["error"]["message"]
    assert json.loads(imgcls(*command, "--allow-private-urls", http_proxy=server.url).stdout)["status"] == "ok"


def test_a_url_that_never_answers(server, imgcls, tiny_model):
    slow = server.add("/slow", hang=True)
    run = imgcls("predict", "-m", tiny_model, "-f", "jsonl", "--url-timeout", "0.2", slow)
    assert kinds([json.loads(run.stdout)]) == [(slow, "download_failed")]


def test_pillows_warnings_stay_between_it_and_us(tmp_path, imgcls, tiny_model):
    path = tmp_path / "palette.png"
    image = Image.new("P", (8, 8))
    image.save(path, transparency=bytes(range(256)))
    run = imgcls("predict", path, "-m", tiny_model, "-q", PYTHONWARNINGS="default")
    assert (run.code, run.stderr) == (0, "")
