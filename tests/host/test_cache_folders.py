"""Where the caches are."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch.hub

from imgcls.errors import OutputError
from imgcls.host import cache_folders


@pytest.mark.parametrize(
    "variables",
    [
        {"TORCH_HOME": "/somewhere/torch"},
        {"TORCH_HOME": "~/torch"},
        {"XDG_CACHE_HOME": "/somewhere/cache"},
        {},
    ],
)
def test_weights_are_where_torch_hub_looks(monkeypatch, variables):
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folders.weights_folder() == Path(torch.hub.get_dir()) / "checkpoints"


def test_our_cache(monkeypatch, private_home):
    assert cache_folders.cache_folder() == private_home / "imgcls"
    assert cache_folders.datasets_folder() == private_home / "imgcls" / "datasets"
    monkeypatch.setenv("IMGCLS_CACHE", "~/elsewhere")
    assert cache_folders.cache_folder() == private_home / "elsewhere"


@pytest.mark.parametrize(
    ("platform", "expected"),
    [("linux", "cache/imgcls"), ("darwin", "Library/Caches/imgcls"), ("win32", "imgcls")],
)
def test_each_platforms_place(monkeypatch, private_home, platform, expected):
    monkeypatch.delenv("IMGCLS_CACHE")
    monkeypatch.setattr("sys.platform", platform)
    assert cache_folders.cache_folder() == private_home / expected


@pytest.mark.parametrize(("value", "offline"), [("", False), ("0", False), ("1", True), ("yes", True)])
def test_offline(monkeypatch, value, offline):
    monkeypatch.setenv("IMGCLS_OFFLINE", value)
    assert cache_folders.is_offline() is offline


def test_online_unless_told():
    assert not cache_folders.is_offline()


NOBODY = (
    "import os, tempfile; from pathlib import Path\n"
    "from imgcls.errors import OutputError; from imgcls.host import cache_folders, digests\n"
    "os.setuid(54321)\n"
    "def places(): return cache_folders.cache_folder(), cache_folders.weights_folder()\n"
)


def run_as_nobody(code: str, temporary: Path) -> str:
    env = {name: value for name, value in os.environ.items() if name not in CACHE_VARIABLES}
    command = [sys.executable, "-c", NOBODY + code]
    run = subprocess.run(command, env={**env, "TMPDIR": str(temporary)}, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


CACHE_VARIABLES = ("HOME", "XDG_CACHE_HOME", "IMGCLS_CACHE", "TORCH_HOME")
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may become somebody else"
)


@as_root
def test_a_user_without_a_name_or_a_home():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        lines = run_as_nobody("print(*places(), sep='\\n'); print(*places(), sep='\\n')", Path(folder)).splitlines()
        home = Path(folder) / "imgcls-54321"
        assert lines == 2 * [str(home / ".cache/imgcls"), str(home / ".cache/torch/hub/checkpoints")]
        assert (home.stat().st_uid, home.stat().st_mode & 0o777) == (54321, 0o700)


@as_root
@pytest.mark.parametrize("owner", [0, 54321])
def test_a_home_that_somebody_else_made_or_may_write_to_is_refused(owner):
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "imgcls-54321"
        home.mkdir()
        home.chmod(0o777)
        os.chown(home, owner, owner)
        Path(folder).chmod(0o777)
        code = (
            "path = Path(tempfile.gettempdir()) / 'file'; path.write_text('abc')\n"
            "try: places()\nexcept OutputError as exc: print(exc.message, exc.hint)\n"
            "print(digests.file_sha256(path)[:8])"
        )
        said, digest = run_as_nobody(code, Path(folder)).splitlines()
        assert "is not this user's alone" in said
        assert "IMGCLS_CACHE" in said
        # A cache that can't be written costs time, never the answer.
        assert digest == "ba7816bf"


def test_a_home_of_nobody(monkeypatch):
    monkeypatch.setenv("IMGCLS_CACHE", "~no-such-user/x")
    with pytest.raises(OutputError, match="no such home folder"):
        cache_folders.cache_folder()
