"""Counts that would take the machine down are wrong usage, before any work."""

import pytest
from typer.testing import CliRunner

from imgcls.cli.app import app


@pytest.mark.parametrize("command", [("train", "--data", "d"), ("eval", "m.pt", "--data", "d"), ("predict", "a.jpg")])
def test_a_million_workers(command: tuple[str, ...]) -> None:
    run = CliRunner().invoke(app, [*command, "--workers", "1000000"])
    assert (run.exit_code, run.stdout) == (2, "")
    assert "1024" in run.stderr
