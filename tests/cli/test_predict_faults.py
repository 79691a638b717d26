"""`imgcls predict` on machines that fail: signals, kills, full disks, closed pipes, two runs at once, little memory."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from labelled_data import damage, write_classes
from tiny_model import save_image, save_images

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and file systems of Unix")

LONG_SEC = 120.0


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    save_images(folder, 20)
    return folder


class OpenList:
    """A list of inputs that goes on as long as a test likes."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def add(self, *paths: Path) -> None:
        os.write(self.writer, b"".join(os.fsencode(path) + b"\n" for path in paths))

    def close(self) -> None:
        for number in (self.reader, self.writer):
            os.close(number)


@pytest.fixture
def open_list() -> Iterator[OpenList]:
    opened = OpenList()
    yield opened
    opened.close()


def wait_for_records(path: Path, count: int) -> None:
    deadline = time.monotonic() + LONG_SEC
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_ends_the_run_in_order_and_it_can_be_resumed(
    inbox, imgcls, tiny_model, tmp_path, open_list, name, code
):
    paths = sorted(inbox.iterdir())
    output, part = tmp_path / "r.jsonl", tmp_path / "r.jsonl.part"
    command = ("predict", "-m", tiny_model, "-f", "jsonl", "-o", output)
    running = imgcls.start(*command, "--files-from", "-", stdin=open_list.reader)
    open_list.add(*paths[:8])
    wait_for_records(part, 8)
    # The list is still open: nothing but the signal ends this.
    running.kill(getattr(signal, name))
    run = running.wait()
    assert run.code == code
    assert run.stdout == b""
    first, last = run.stderr.splitlines()
    assert first.startswith("8 images: 8 ok, ")
    assert last == "interrupted; what is done is kept, --resume continues it"
    assert [record["input"] for record in records(part)] == [str(path) for path in paths[:8]]
    assert not output.exists()
    note = json.loads((tmp_path / "r.jsonl.run.json").read_text())
    assert (note["status"], note["counts"]["count"]) == ("interrupted", 8)

    resumed = imgcls(*command, inbox, "--resume")
    assert (resumed.code, part.exists()) == (0, False)
    assert resumed.stderr.startswith("20 images: 20 ok (8 kept from before), ")
    imgcls("predict", "-m", tiny_model, "-f", "jsonl", "-o", tmp_path / "undisturbed.jsonl", inbox)
    assert output.read_bytes() == (tmp_path / "undisturbed.jsonl").read_bytes()


@pytest.mark.parametrize(("format_", "code"), [("json", 143), ("csv", 143), ("jsonl", 143)])
def test_what_was_printed_before_a_signal_still_parses(imgcls, tiny_model, inbox, tmp_path, open_list, format_, code):
    paths = sorted(inbox.iterdir())
    printed = tmp_path / "printed"
    with printed.open("wb") as stdout:
        running = imgcls.start(
            "predict", "-m", tiny_model, "-f", format_, "--files-from", "-", stdin=open_list.reader, stdout=stdout
        )
        open_list.add(*paths[:3])
        wait_for_records(printed, 3)
        running.kill(signal.SIGTERM)
        assert running.wait().code == code
    text = printed.read_text()
    if format_ == "json":
        document = json.loads(text)
        assert (len(document["results"]), document["summary"]["ended"]) == (3, "interrupted")
    else:
        assert text.count("\n") == 3 + (format_ == "csv")


def test_a_second_signal_ends_the_run_at_once(imgcls, tiny_model, inbox):
    # The first one waits for the batch in hand, and a pipe that nobody reads any more keeps that in hand for ever.
    reader, writer = os.pipe()
    running = imgcls.start("predict", *[inbox] * 50, "-m", tiny_model, "-f", "jsonl", stdout=writer)
    os.close(writer)
    before, waiting = -1, 0
    while waiting != before or waiting < 32_768:
        time.sleep(0.2)
        before, waiting = waiting, waiting_bytes(reader)
    num_signals = 0
    while not running.has_ended(1):
        running.kill(signal.SIGTERM)
        num_signals += 1
    # On a machine too busy to be through in a second, a third one meets an interpreter that is already leaving.
    assert running.wait().code in (143, -signal.SIGTERM)
    assert num_signals >= 2
    os.close(reader)


def waiting_bytes(reader: int) -> int:
    """How much lies in a pipe."""
    import fcntl
    import termios

    return int.from_bytes(fcntl.ioctl(reader, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_a_reader_that_has_seen_enough(imgcls, tiny_model, inbox):
    for format_ in ("table", "jsonl", "csv", "json"):
        reader, writer = os.pipe()
        # More than a pipe holds, or a fast run would be through before its reader goes.
        running = imgcls.start("predict", *[inbox] * 40, "-m", tiny_model, "-f", format_, stdout=writer)
        os.close(writer)
        os.read(reader, 10)
        os.close(reader)
        run = running.wait()
        assert (run.code, run.stderr) == (141, "")


def test_a_full_disk(imgcls, tiny_model, inbox, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    for format_ in ("table", "jsonl", "json"):
        with open("/dev/full", "wb") as full:  # noqa: PTH123
            run = imgcls("predict", inbox, "-m", tiny_model, "-f", format_, stdout=full)
        assert run.code == 8
        assert run.stderr.startswith("error: can't write to stdout: No space left on device\n  hint: ")
        run = imgcls("predict", inbox, "-m", tiny_model, "-f", format_, "-o", "/dev/full")
        assert run.code == 8
        assert run.stderr.startswith("error: can't write to /dev/full: No space left on device\n  hint: ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("format_", ["table", "json"])
def test_a_full_disk_under_an_evaluation(imgcls, tmp_path, tiny_model, format_):
    """Also where another code was due: a damaged image was passed over."""
    write_classes(tmp_path / "in", {"cat": 2, "dog": 2})
    damage(tmp_path / "in" / "cat" / "000.png")
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        run = imgcls("eval", tiny_model, "--data", tmp_path / "in", "-f", format_, stdout=full)
    assert (run.code, run.stderr.count("can't write to stdout: No space left")) == (8, 1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if shutil.which("mount") is None or os.getuid() != 0:
        pytest.skip("only root may mount a file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("format_", ["jsonl", "csv", "json"])
def test_a_disk_that_fills_up(imgcls, tiny_model, inbox, small_disk, tmp_path, format_):
    output = small_disk / f"r.{format_}"
    arguments = ("predict", *[inbox] * 20, "-m", tiny_model, "-f", format_)
    run = imgcls(*arguments, "-o", output)
    assert (run.code, run.stdout) == (8, b"")
    assert run.stderr.startswith(f"error: can't write {output}: No space left on device\n  hint: free some space")
    # No half of a file under the name of a whole one, and no rubbish.
    assert not output.exists()
    left = {path.name for path in small_disk.iterdir()}
    assert left <= {f"r.{format_}.part", f"r.{format_}.run.json"}
    if format_ == "json":
        return
    subprocess.run(["mount", "-o", "remount,size=1m", small_disk], check=True)
    run = imgcls(*arguments, "-o", output, "--resume")
    assert run.code == 0
    assert "kept from before" in run.stderr
    imgcls(*arguments, "-o", tmp_path / "undisturbed")
    assert output.read_bytes() == (tmp_path / "undisturbed").read_bytes()


def test_a_folder_that_cant_be_written(imgcls, tiny_model, inbox, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for format_ in ("jsonl", "json", "table"):
        run = imgcls("predict", inbox, "-m", tiny_model, "-f", format_, "-o", small_disk / "r")
        assert (run.code, run.stdout) == (8, b"")
        assert "Read-only file system" in run.stderr
    for output in (inbox / "0001.png" / "r.txt", inbox / ("x" * 300), inbox / ("x" * 300) / "r.txt"):
        for option in ("-o", "--html"):
            run = imgcls("predict", inbox, "-m", tiny_model, "-f", "table", option, output)
            assert run.code == 8, output
            assert run.stderr.splitlines()[1] == f"  hint: name another place with {option.replace('-o', '--output')}"


def test_a_report_that_cant_be_written_names_its_own_option(imgcls, tiny_model, inbox, small_disk, tmp_path):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    page = small_disk / "r.html"
    run = imgcls("predict", inbox, "-m", tiny_model, "-f", "jsonl", "-o", tmp_path / "r.jsonl", "--html", page)
    assert run.code == 8
    assert run.stderr == (f"error: can't write {page}: Read-only file system\n  hint: name another place with --html\n")


def test_an_output_that_is_stdout_is_added_to(imgcls, tiny_model, inbox, tmp_path):
    log = tmp_path / "log"
    log.write_text("before\n")
    with log.open("ab") as stdout:
        run = imgcls("predict", inbox, "-m", tiny_model, "-f", "jsonl", "-o", "/dev/stdout", stdout=stdout)
    assert run.code == 0, run.stderr
    first, *lines = log.read_text().splitlines()
    assert (first, len(lines)) == ("before", 20)
    assert json.loads(lines[-1])["input"] == str(inbox / "0019.png")


def test_what_a_killed_run_left_is_tidied_up_by_the_next(imgcls, tiny_model, inbox, tmp_path):
    left = [tmp_path / ".r.json.abcd1234.part", tmp_path / ".r.html.abcd1234.part", tmp_path / ".r.json.new.part"]
    for path in left:
        path.touch()
        if path != left[-1]:
            os.utime(path, (0, 0))
    run = imgcls(
        "predict", inbox, "-m", tiny_model, "-f", "json", "-o", tmp_path / "r.json", "--html", tmp_path / "r.html"
    )
    assert run.code == 0
    # However fresh they are: a run that goes on holds the lock of its output.
    assert [path.exists() for path in left] == [False, False, False]


def test_records_that_go_are_told(imgcls, tiny_model, inbox, tmp_path):
    other, output = tmp_path / "other", tmp_path / "r.jsonl"
    save_images(other, 3)
    command = ("predict", inbox, other, "-m", tiny_model, "-f", "jsonl", "-o", output, "--resume")
    assert imgcls(*command).code == 0
    # As a folder that isn't mounted.
    other.rename(tmp_path / "elsewhere")
    other.mkdir()
    run = imgcls(*command)
    assert run.code == 0
    warning, first, last = run.stderr.splitlines()
    assert warning == f"warning: no images in the folder {other}"
    assert first.startswith("20 images: 20 ok (20 kept from before)")
    assert last == f"{output} had records of 3 inputs that are no longer given; they were removed"


def test_a_missing_folder_is_made(imgcls, tiny_model, inbox, tmp_path):
    for format_ in ("jsonl", "csv", "json", "table"):
        output = tmp_path / "new" / format_ / "r"
        assert imgcls("predict", inbox, "-m", tiny_model, "-f", format_, "-o", output).code == 0
        assert output.stat().st_size > 0


@pytest.mark.parametrize("format_", ["jsonl", "json"])
def test_a_second_run_on_one_output_ends_at_once_and_says_who_holds_it(
    imgcls, tiny_model, inbox, tmp_path, open_list, format_
):
    output, note = tmp_path / f"r.{format_}", tmp_path / f"r.{format_}.run.json"
    command = ("predict", "-f", format_, "-o", output, "-m")
    running = imgcls.start(*command, tiny_model, "--files-from", "-", stdin=open_list.reader)
    deadline = time.monotonic() + LONG_SEC
    while not note.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    for option in ("--resume", "--overwrite"):
        if option == "--resume" and format_ == "json":
            continue
        # Not even the model is looked for.
        run = imgcls(*command, "no such model", inbox, option)
        assert (run.code, run.stdout) == (8, b"")
        who = f"(process {running.pid} on {socket.gethostname()}, since 20"
        assert run.stderr.startswith(f"error: another run is writing {output} {who}")
    # The one that was killed doesn't stand in the way of the next.
    running.kill(signal.SIGKILL)
    assert running.wait().code == -signal.SIGKILL
    run = imgcls(*command, tiny_model, inbox, "--overwrite")
    assert run.code == 0
    assert json.loads(note.read_text())["status"] == "finished"
    assert not [path.name for path in tmp_path.iterdir() if path.name.endswith(".part") and format_ == "jsonl"]


@pytest.mark.parametrize("format_", ["jsonl", "csv"])
def test_killed_at_any_moment_a_growing_run_loses_nothing(imgcls, tiny_model, tmp_path, format_):
    """Five kills here; `benchmarks/kill_resume.py` does fifty."""
    rng = random.Random(7)
    inbox, output = tmp_path / "in", tmp_path / f"r.{format_}"
    names = [f"{number:03}.png" for number in range(300)]
    rng.shuffle(names)
    command = ("predict", inbox, "-m", tiny_model, "-f", format_, "--batch-size", 4)
    for name in names[:150]:
        save_image(inbox / name)
    part, num_killed = output.with_name(output.name + ".part"), 0
    for kill in range(5):
        for name in names[150 + 30 * kill : 180 + 30 * kill]:
            save_image(inbox / name)
        before = part.stat().st_size if part.exists() else 0
        running = imgcls.start(*command, "-o", output, "--resume")
        # Once so many bytes have been added, wherever in a record, a batch or the file's last copy that is.
        more = rng.randrange(2000)
        while not running.has_ended() and (not part.exists() or part.stat().st_size < before + more):
            time.sleep(0.001)
        running.kill(signal.SIGKILL)
        num_killed += running.wait().code == -signal.SIGKILL
    assert imgcls(*command, "-o", output, "--resume").code == 0
    assert imgcls(*command, "-o", tmp_path / "undisturbed").code == 0
    assert output.read_bytes() == (tmp_path / "undisturbed").read_bytes()
    assert output.read_bytes().count(b"\n") == 300 + (format_ == "csv")
    assert num_killed
    assert not output.with_name(output.name + ".part").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the address space so that allocations fail")
def test_a_batch_that_memory_cant_hold_is_halved(tmp_path):
    """For real: PyTorch's allocator fails in a process whose address space is bounded."""
    script = tmp_path / "little_memory.py"
    script.write_text("""
import resource, sys
import numpy as np, torch
from imgcls.inference.batch_executor import Batcher
from imgcls.inference.backends.torch_backend import TorchBackend
from imgcls.images.transform import Transform
torch.set_num_threads(1)

class Network(torch.nn.Module):
    def forward(self, images_BCHW):
        # 128 MiB an image.
        return images_BCHW.new_zeros(len(images_BCHW), 1 << 25).add_(1)[:, :3]

class Model:
    id, classes, transform, network = "hungry@0", ("a", "b", "c"), Transform(8, 8), Network()
    calibration, multi_label = None, False

backend = TorchBackend(Model(), torch.device("cpu"))
images = [np.zeros((8, 8, 3), np.uint8)] * 20
backend.probabilities(np.stack(images[:1]))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (900 << 20), -1))
print(len(list(Batcher(backend, batch_size=16, on_smaller_batch=print).probabilities(images))))
""")
    run = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, timeout=LONG_SEC,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "MALLOC_ARENA_MAX": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() in (["4", "20"], ["2", "20"])
