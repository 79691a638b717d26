"""Files are whole or not there, whatever happens to the process that writes them."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from imgcls.errors import ExitCode, OutputError
from imgcls.host.files import remove_stale_parts, replacing, write_text
from imgcls.host.tensor_files import save_tensors

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX files")


def test_new_file_in_a_new_folder(tmp_path):
    write_text(tmp_path / "a" / "b" / "file.txt", "naïve\n")
    assert (tmp_path / "a" / "b" / "file.txt").read_bytes() == "naïve\n".encode()


def test_old_file_stays_when_the_block_fails(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as part:
            part.write_text("half")
            assert path.read_text() == "old"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("delay", ["before", "after"])
def test_killed_while_writing(tmp_path, delay):
    path = tmp_path / "file.txt"
    path.write_text("old")
    script = (
        "import sys, time; from pathlib import Path; from imgcls.host.files import replacing\n"
        "def wait(): print('ready', flush=True); time.sleep(60)\n"
        "with replacing(Path(sys.argv[1])) as part, part.open('w') as file:\n"
        "    file.write('new ' * 100_000)\n"
        "    sys.argv[2] == 'before' and wait()\n"
        "sys.argv[2] == 'after' and wait()\n"
    )
    command = [sys.executable, "-c", script, str(path), delay]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
    assert path.read_text() == ("old" if delay == "before" else "new " * 100_000)
    left = [other for other in tmp_path.iterdir() if other != path]
    assert len(left) == (1 if delay == "before" else 0)
    # At once: no process owns it any more.
    remove_stale_parts(path)
    assert list(tmp_path.iterdir()) == [path]


def test_sweep_leaves_what_a_process_still_writes(tmp_path):
    path = tmp_path / "file.txt"
    with replacing(path) as part:
        os.utime(part, (0, 0))
        script = (
            "import sys, pathlib; from imgcls.host.files import remove_stale_parts as r; r(pathlib.Path(sys.argv[1]))"
        )
        subprocess.run([sys.executable, "-c", script, str(path)], check=True)
        part.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_sweep_leaves_other_files(tmp_path):
    for name in ("file.txt", ".other.txt.x.part", ".file.txt.x", "file.txt.part"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    remove_stale_parts(tmp_path / "file.txt")
    remove_stale_parts(tmp_path / "no folder" / "file.txt")
    assert len(list(tmp_path.iterdir())) == 4


@posix
def test_permissions_are_ordinary(tmp_path):
    write_text(tmp_path / "ours", "")
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o400])
def test_a_replaced_file_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "private"
    path.write_text("old")
    path.chmod(mode)
    write_text(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == mode
    link = tmp_path / "link"
    link.symlink_to(path)
    write_text(link, "newer")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("newer", mode)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away")
def test_a_replaced_file_keeps_its_owner(tmp_path):
    path = tmp_path / "theirs"
    path.write_text("old")
    path.chmod(0o640)
    os.chown(path, 1234, 5678)
    write_text(path, "new")
    status = path.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 5678, 0o640)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may become somebody else")
def test_a_file_of_somebody_else_is_replaced_all_the_same():
    # In a folder that all may write to; whoever replaces the file can't give it back.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "theirs"
        path.write_text("old")
        path.chmod(0o604)
        Path(folder).chmod(0o777)
        code = (
            "import os, sys; from pathlib import Path; from imgcls.host.files import write_text\n"
            "os.setgroups([]); os.setgid(12345); os.setuid(12345); write_text(Path(sys.argv[1]), 'new')"
        )
        subprocess.run([sys.executable, "-c", code, str(path)], check=True)
        assert (path.read_text(), stat.S_IMODE(path.stat().st_mode), path.stat().st_uid) == ("new", 0o604, 12345)


@posix
def test_written_through_a_link(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


@posix
def test_devices_and_pipes_are_written_to():
    write_text(Path("/dev/null"), "gone")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    script = "from pathlib import Path; from imgcls.host.files import write_text; write_text(Path('/dev/stdout'), 'hi')"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout == b"hi"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_full_disk():
    with pytest.raises(OutputError, match="can't write /dev/full: No space left on device") as caught:
        write_text(Path("/dev/full"), "x" * 100_000)
    assert caught.value.exit_code == ExitCode.OUTPUT
    assert caught.value.hint


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_full_disk_under_a_library_that_does_not_say_so():
    """PyTorch says "unexpected pos 704 vs 598"."""
    with (
        pytest.raises(OutputError, match="can't write /dev/full: No space left on device"),
        replacing(Path("/dev/full")) as part,
    ):
        save_tensors({"weights": torch.zeros(100_000)}, part)


ON_A_SMALL_DISK = """
import subprocess, sys; from pathlib import Path
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", sys.argv[1]], check=True)
import torch
from imgcls.errors import OutputError
from imgcls.host.files import replacing
from imgcls.host.tensor_files import save_tensors
try:
    with replacing(Path(sys.argv[1]) / "last.pt") as part:
        save_tensors({"weights": torch.zeros(10**6)}, part)
except OutputError as exc:
    print(exc.message, exc.hint, [path.name for path in Path(sys.argv[1]).iterdir()], sep="\\n")
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs Linux's unshare")
def test_checkpoint_on_a_disk_that_fills_up(tmp_path):
    command = ["unshare", "-rm", sys.executable, "-c", ON_A_SMALL_DISK, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unshare:" in run.stderr or "mount:" in run.stderr:
        pytest.skip("this system gives no mount namespace")
    message, hint, left = run.stdout.splitlines()
    assert message == f"can't write {tmp_path}/last.pt: No space left on device"
    assert hint.startswith("free some space")
    assert left == "[]"


@posix
def test_closed_pipe_is_no_output_error(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    def write() -> None:
        with replacing(pipe) as part, part.open("w") as file:
            os.close(reader)
            file.write("nobody reads this")

    with pytest.raises(BrokenPipeError):
        write()


def test_file_in_the_folders_place(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't write"):
        write_text(tmp_path / "file" / "below", "")


def test_folder_in_the_files_place(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="can't write"):
        write_text(tmp_path / "folder", "")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_name_too_long(tmp_path):
    with pytest.raises(OutputError, match="can't write"):
        write_text(tmp_path / ("x" * 300), "")
    for name in ("x" * 255, "\u00e4" * 127, "\U0001f642" * 63):
        write_text(tmp_path / name, "fits")
        assert (tmp_path / name).read_text() == "fits"


@pytest.mark.unprivileged
def test_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        write_text(tmp_path / "file", "")
