import json
import sys

import pytest

from imgcls.environment.check import check_environment
from imgcls.environment.packages import ONE_PLACE, broken
from imgcls.environment.report import Check, Status
from imgcls.environment.second_process import parse_outcome
from imgcls.errors import UsageError


@pytest.fixture
def break_package(tmp_path, monkeypatch):
    """Put a package of the given name and code before the real one."""

    def put(name, code):
        (tmp_path / "broken" / name).mkdir(parents=True)
        (tmp_path / "broken" / name / "__init__.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path / "broken")
        monkeypatch.setenv("IMGCLS_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch-home"))

    return put


def by_name(report):
    return {check.name: check for check in report.checks}


def test_a_torch_that_crashes_the_process(break_package):
    break_package("torch", "import os; print('stray'); os.abort()")
    report = check_environment()
    checks = by_name(report)
    assert checks["torch"].status is Status.FAULT
    assert "crashed with" in checks["torch"].detail
    assert "stray" in checks["torch"].detail
    for name in ("torchvision", "accelerators", "device:cpu", "auto"):
        assert checks[name].status is Status.WARNING
        assert "not tried: the probing process stopped at torch" in checks[name].detail
    for name in ("python", "cores", "memory", "disk", "pillow", "numpy", "weights", "cache"):
        assert checks[name].status is Status.OK, checks[name]
    assert (report.ok, report.devices, report.auto_device) == (False, (), None)


def test_a_torch_that_hangs(break_package):
    break_package("torch", "import time; time.sleep(600)")
    report = check_environment(time_limit_sec=1.5)
    # On a busy machine the limit may strike before torch's turn comes; some step is blamed in any case.
    blamed = [check for check in report.checks if "did not end within 1.5 s" in check.detail]
    assert [check.status for check in blamed] == [Status.FAULT]
    assert not report.ok


def test_a_process_that_can_not_even_start(break_package):
    break_package("json", "import sys; sys.exit('broken from the start')")
    checks = by_name(check_environment("cpu"))
    assert checks["torch"].status is Status.FAULT
    assert "exit code 1; its last words: broken from the start" in checks["torch"].detail
    assert "stopped at start" in checks["numpy"].detail


def test_a_torn_last_line_and_a_crash_on_a_card():
    told = b"\n".join(
        json.dumps(line).encode()
        for line in (
            {"begin": "torch"},
            {"check": Check("torch", Status.OK, "fine").to_dict()},
            {"begin": "accelerators"},
        )
    )
    outcome = parse_outcome(told + b'\n{"accelerators": {"cu', b"driver: boom\n", returncode=-11)
    assert [check.name for check in outcome.checks] == ["torch"]
    assert outcome.accelerators is None
    assert outcome.stopped_at == "accelerators"
    assert outcome.reason == "crashed with SIGSEGV; its last words: driver: boom"


def test_windows_crashes_are_shown_in_hexadecimal():
    assert "0xc0000005" in parse_outcome(b"", b"", returncode=0xC0000005).reason


def test_a_package_that_is_not_installed():
    error = ModuleNotFoundError("No module named 'torch'", name="torch")
    check = broken("torch", "torch", error, {"version": None, "path": None}, ONE_PLACE)
    assert "torch is not installed" in check.detail


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "", "auto:1"])
def test_a_word_that_names_no_device(device):
    with pytest.raises(UsageError, match="unknown device"):
        check_environment(device)


def test_nothing_here_imports_torch():
    code = "import sys, imgcls.environment.check, imgcls.cli.env_check; print('torch' in sys.modules)"
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
