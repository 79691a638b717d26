"""A watched folder: what is there and what arrives, finished files only, until a signal; in a real process."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tiny_model import save_image, save_images
from typer.testing import CliRunner

from imgcls.cli.app import app
from imgcls.images.inputs.selection import InputSelection
from imgcls.images.inputs.watching import Watch

pytest.importorskip("watchfiles")
WAIT_SEC = 60


def until(is_so, what: str) -> None:
    deadline = time.monotonic() + WAIT_SEC
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


class Watched:
    """A watch in a thread of its own, and the names that it has given."""

    def __init__(self, folder: Path, **selection: object) -> None:
        self.stopped = threading.Event()
        self.names: list[str] = []
        watch = Watch(self.stopped.is_set)
        self._sources = InputSelection((str(folder),), watch=watch, **selection).open()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        for source in self._sources:
            self.names.append(source.name)

    def __enter__(self) -> "Watched":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stopped.set()
        self._thread.join(WAIT_SEC)
        assert not self._thread.is_alive()

    def wait_for(self, *names: str) -> None:
        until(lambda: set(names) <= set(self.names), f"{names} of {self.names}")


def test_what_is_there_and_what_arrives(tmp_path):
    folder = tmp_path / "in"
    save_images(folder / "old", 2)
    with Watched(folder) as watched:
        watched.wait_for(f"{folder}/old/0000.png", f"{folder}/old/0001.png")
        save_image(folder / "new.png", 5)
        save_image(folder / "deep" / "er" / "new.jpg", 6)
        watched.wait_for(f"{folder}/new.png", f"{folder}/deep/er/new.jpg")
    assert len(watched.names) == len(set(watched.names)) == 4


def test_a_file_is_given_once_it_is_finished(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    content = save_image(tmp_path / "whole.png", 1).read_bytes()
    sizes = []
    with Watched(folder) as watched:
        with (folder / "slow.png").open("wb") as file:
            for start in range(0, len(content), len(content) // 5 + 1):
                file.write(content[start : start + len(content) // 5 + 1])
                file.flush()
                assert watched.names == []
                time.sleep(0.4)
        watched.wait_for(f"{folder}/slow.png")
        sizes.append((folder / "slow.png").stat().st_size)
    assert sizes == [len(content)]


def test_renamed_files_arrive_and_others_do_not(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    with Watched(folder, exclude=("*.gif",)) as watched:
        for name in ("note.txt", ".hidden.png", "b.gif", "Thumbs.db", "c.png.part"):
            shutil.copy(save_image(tmp_path / "made.png", 2), folder / name)
        (folder / "gone.png").write_bytes(b"x")
        (folder / "gone.png").unlink()
        (folder / "c.png.part").rename(folder / "c.png")
        watched.wait_for(f"{folder}/c.png")
    assert watched.names == [f"{folder}/c.png"]


def test_a_file_that_changes_is_an_input_again(tmp_path):
    path = save_image(tmp_path / "in" / "camera.png", 1)
    with Watched(tmp_path / "in") as watched:
        watched.wait_for(str(path))
        save_image(path, 2)
        until(lambda: watched.names == [str(path)] * 2, "the second time")


def running(tiny_model: Path, folder: Path, *options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "imgcls", "predict", "-m", tiny_model, folder, "--watch", *options]
    return subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_whole_output(tiny_model, tmp_path, number):
    folder, out = tmp_path / "in", tmp_path / "out.jsonl"
    save_images(folder, 1)
    process = running(tiny_model, folder, "-o", out)
    part = tmp_path / "out.jsonl.part"
    until(lambda: part.is_file() and part.read_text().count("\n") == 1, "the first record")
    save_image(folder / "later.png", 9)
    (folder / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    until(lambda: part.read_text().count("\n") == 3, "the others")
    process.send_signal(number)
    _stdout, said = process.communicate(timeout=WAIT_SEC)
    # One input failed, as in any other run.
    assert process.returncode == 4, said
    assert "watching" in said
    records = {Path(each["input"]).name: each["status"] for each in map(json.loads, out.read_text().splitlines())}
    assert records == {"0000.png": "ok", "later.png": "ok", "torn.png": "error"}
    assert json.loads((tmp_path / "out.jsonl.run.json").read_text())["status"] == "finished"


def test_records_are_on_stdout_at_once_and_nothing_at_all_is_no_error(tiny_model, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    process = running(tiny_model, folder, "-f", "jsonl")
    assert process.stdout is not None
    time.sleep(0.2)
    save_image(folder / "a.png", 3)
    assert json.loads(process.stdout.readline())["input"] == f"{folder}/a.png"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=WAIT_SEC)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("predict photo.jpg --watch", "--watch is for folders"),
        ("predict --watch", "nothing to watch"),
        ("predict {folder} --watch --ray local -o {folder}/out", "--watch"),
        ("predict {folder} --watch --files-from list.txt", "--watch goes with no list"),
    ],
)
def test_what_can_not_be_watched(tmp_path, arguments, said, tiny_model):
    result = CliRunner().invoke(app, [*arguments.format(folder=tmp_path).split(), "-m", str(tiny_model)])
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
