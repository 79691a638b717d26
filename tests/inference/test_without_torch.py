"""The batch machinery runs where PyTorch isn't installed: what classifies ONNX files needs no more."""

import subprocess
import sys
from pathlib import Path

from colour_backend import draw_image

MODULES = """
    inference.batch_run inference.batch_executor inference.decode_pool inference.decoder inference.pipeline
    inference.predictor inference.settings inference.backends.backend
    outputs.destination outputs.report.page images.thumbnails outputs.opening outputs.origin outputs.lock
    outputs.journal outputs.manifest outputs.record outputs.resume outputs.writer outputs.formats outputs.formats.values
    images.decoding images.inputs.download images.inputs.input_lists images.inputs.selection
    images.inputs.sources images.transform host.resources
""".split()  # noqa: SIM905 - a list of quoted words is harder to read


def test_a_whole_run_imports_neither_torch_nor_torchvision(tmp_path: Path) -> None:
    draw_image(200, 10, 10).save(tmp_path / "a.png")
    code = f"""
import importlib, sys
sys.modules["torch"] = sys.modules["torchvision"] = None  # an import fails, as where they are missing
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
for name in {MODULES}:
    importlib.import_module("imgcls." + name)
from pathlib import Path
from colour_backend import ColourBackend, classify
from imgcls.images.inputs.sources import iterate_sources
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
