"""Tests marked `unprivileged` need a user whom permissions bind; root gives up its powers for them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# The user stays root, whose files these are, and who may enter a home folder that holds Python; the powers go.
WITHOUT_POWERS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")


def is_privileged() -> bool:
    """Whether this process reads and writes what no permission allows."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return True
    effective = next((line.split()[1] for line in lines if line.startswith("CapEff:")), "f")
    return int(effective, 16) != 0


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "unprivileged: needs a user whom permissions bind; root drops its powers")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a marked test in a process of its own where this one may do everything."""
    if pyfuncitem.get_closest_marker("unprivileged") is None:
        return None
    if os.name == "nt":
        pytest.skip("Windows keeps no such permissions")
    if not is_privileged():
        return None
    if shutil.which("setpriv") is None:
        pytest.skip("root may do everything, and setpriv is not installed")
    ran = subprocess.run(
        [*WITHOUT_POWERS, sys.executable, "-m", "pytest", "-p", "no:cacheprovider", pyfuncitem.nodeid],
        cwd=pyfuncitem.config.rootpath, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    # Neither skipped nor left out.
    assert "\n." in f"\n{ran.stdout}", ran.stdout
    return True
