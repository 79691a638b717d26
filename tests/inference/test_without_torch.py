"""The batch machinery runs where PyTorch isn't installed: what classifies ONNX files needs no more."""

import subprocess
import sys
from pathlib import Path

from colour_backend import picture

MODULES = """
    prediction.batch prediction.batch_runner prediction.decode_pool prediction.fetch prediction.runner prediction.stream
    results.destination results.html_report results.opening results.origin results.output_lock results.output_log
    results.provenance results.records results.resume results.sinks results.thumbnails results.writers
    results.written_records data.decoding data.input_lists data.selection data.sources core.cores core.transforms
""".split()  # noqa: SIM905 - a list of quoted words is harder to read


def test_a_whole_run_imports_neither_torch_nor_torchvision(tmp_path: Path) -> None:
    picture(200, 10, 10).save(tmp_path / "a.png")
    code = f"""
import importlib, sys
sys.modules["torch"] = sys.modules["torchvision"] = None  # an import fails, as where they are missing
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
for name in {MODULES}:
    importlib.import_module("imgcls." + name)
from pathlib import Path
from colour_backend import ColourRunner, classify
from imgcls.images.sources import iterate_sources
from imgcls.outputs.destination import Destination
for format in ("jsonl", "csv", "json"):
    output = Path({str(tmp_path)!r}, "results." + format)
    result = classify(list(iterate_sources([{str(tmp_path)!r}])), Destination(format, output, resume=format != "json"))
    assert result.summary.num_ok == 1, result
    print(result.summary.num_ok, output.name)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["1 results.jsonl", "1 results.csv", "1 results.json"]
