"""The scripts in benchmarks/ import each other as neighbours, so their folder must be on the path."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))


@pytest.fixture
def benchmarks_folder():
    """Where the scripts are."""
    return BENCHMARKS
