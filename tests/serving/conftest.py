"""One server for all fast tests of a session."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from serve_process import ServeProcess, noise, serving


@pytest.fixture(scope="session")
def served(tiny_model: Path) -> Iterator[ServeProcess]:
    """A server with the tiny model and small limits."""
    options = ("--max-body-mib", "1", "--max-files", "4", "--max-pixels", "1000000", "--header-timeout", "2")
    with serving("-m", str(tiny_model), "--runtime", "torch", *options, "--body-timeout", "2") as server:
        yield server


@pytest.fixture
def image(tmp_path: Path) -> bytes:
    """An encoded image."""
    return noise(tmp_path, 1)
