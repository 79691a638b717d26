"""Memory does not grow with the number of inputs; `benchmarks/memory.py` measures it with a real model."""

import subprocess
import sys
from pathlib import Path

import pytest
from colour_backend import draw_image

PROBE = """
import itertools, resource, sys
from pathlib import Path
from colour_backend import ColourBackend
from imgcls.images.inputs.sources import Source
from imgcls.inference.batch_run import run_batch
from imgcls.outputs.destination import Destination
from imgcls.inference.pipeline import StreamSettings
path, count, output = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
sources = (Source(f"some/folder/with/a/name/{number:08}.png", path) for number in range(count))
run_batch(ColourBackend(), sources, Destination("jsonl", output, resume=True), StreamSettings(top_k=3))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs the resource module")
def test_twenty_times_the_inputs_take_no_more_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    draw_image(1, 2, 3).save(path)

    def peak_mib(count: int, output: str) -> int:
        command = [sys.executable, "-c", PROBE, str(path), str(count), str(tmp_path / output)]
        environment = {"PYTHONPATH": f"{Path(__file__).parents[1]}:{Path(__file__).parents[2]}"}
        run = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True, env=environment)
        return int(run.stdout)

    few = peak_mib(1000, "few.jsonl")
    many = peak_mib(20_000, "many.jsonl")
    again = peak_mib(20_000, "many.jsonl")
    # The part that does grow is some sixty bytes an input: a megabyte here.
    assert many - few < 20
    assert again - few < 20
