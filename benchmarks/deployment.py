"""Every form that a model can be deployed in, in one run: size, start-up, speed, memory, and how its answers compare.

Each form is exported with `imgcls export` and measured in a process of its own, in turn with others. Start-up is the
wall time of a whole process up to its first answer, imports and loading included. The times are of the network and its
normalisation, on crops that are ready, with all cores. Answers are compared with PyTorch's, on the images of a folder.

    python benchmarks/deployment.py --images DIR [--models efficientnet-lite0 resnet50 cifar10-cnn] [--rounds 5]
    python benchmarks/deployment.py --images DIR --program build/imgcls_predict

resnet50 has random but fixed weights where its published ones aren't here: times and sizes are the same. `--program` is
the C++ program of examples/cpp; it is measured beside `imgcls predict` on the same files, both as whole processes.
A new form is a line in `FORMS`.
"""

import argparse
import contextlib
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import imgcls
from imgcls.export.sample_images import folder_pixels
from imgcls.host.resources import available_cores
from imgcls.models.loading import load_model
from imgcls.models.registry import weights_are_here

MIB = 2**20
MODELS = ("efficientnet-lite0", "resnet50", "cifar10-cnn")
# In the child: load, answer once, then everything else. The clock began when the process was asked for.
CHILD = """
import json, statistics, sys, time
began, path, crops_path, answers_path, rounds = float(sys.argv[1]), *sys.argv[2:5], int(sys.argv[5])
import numpy as np
from pathlib import Path
from imgcls.inference.backends.backend import LoadOptions, load_backend
weights = Path(sys.argv[6]) if sys.argv[6] else None
exported = Path(path).suffix in (".onnx", ".pt2", ".pte")
options = LoadOptions(device="cpu", allow_code=True, weights=weights, runtime="auto" if exported else "torch")
backend = load_backend(path, options).backend
crops = np.load(crops_path)
backend.probabilities(crops[:1])
start_up = time.time() - began
answers = np.concatenate([backend.probabilities(crops[i : i + 32]) for i in range(0, len(crops), 32)])
np.save(answers_path, answers)
def median_ms(count, runs):
    batch = np.resize(crops, (count, *crops.shape[1:]))
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        backend.probabilities(batch)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)
ms_1, ms_32 = median_ms(1, 6 * rounds), median_ms(32, rounds) / 32
# Not ru_maxrss, which begins with what the parent held when it started this process.
lines = Path("/proc/self/status").read_text().splitlines() if Path("/proc/self/status").exists() else []
peak = next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), float("nan"))
print(json.dumps({"start_up": start_up, "ms_1": ms_1, "ms_32": ms_32, "peak_mib": peak}))
"""


class Form(NamedTuple):
    """One way to deploy a model.

    Attributes:
        name: of its row.
        suffix: of its file.
        options: of `imgcls export`; None for the model as it is.
        needs: a package that must be here.
    """

    name: str
    suffix: str
    options: tuple[str, ...] | None
    needs: str = "torch"


FORMS = (
    Form("PyTorch", "", None),
    Form("ONNX", ".onnx", ("--to", "onnx"), "onnxscript"),
    Form("ONNX fp16", ".onnx", ("--to", "onnx", "--fp16"), "onnxscript"),
    Form("ONNX, with transform", ".onnx", ("--to", "onnx", "--with-transform"), "onnxscript"),
    Form("torch.export", ".pt2", ("--to", "torch-export")),
    Form("AOTInductor", ".pt2", ("--to", "aoti")),
    Form("ExecuTorch", ".pte", ("--to", "executorch"), "executorch"),
)


class Row(NamedTuple):
    """A form, measured; see the header for what the columns are."""

    name: str
    size_mib: float
    start_up: float
    ms_1: float
    ms_32: float
    peak_mib: float
    difference: float
    agreement: float


def export(model: str, weights: Path | None, form: Form, path: Path) -> str:
    """Write a form; what was wrong, or nothing."""
    assert form.options is not None
    command = [sys.executable, "-m", "imgcls", "export", model, *form.options, "-o", str(path), "-q", "-f", "json"]
    if weights is not None:
        command += ["--weights", str(weights)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stderr.strip().splitlines()
    return "" if done.returncode == 0 else next((line for line in lines if line.startswith("error")), "it failed")


def measure(path: str, weights: Path | None, crops: Path, answers: Path, rounds: int) -> dict[str, float]:
    """One process."""
    told = [path, str(crops), str(answers), str(rounds), "" if weights is None else str(weights)]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, repr(time.time()), *told], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def rows_of(model: str, images: Path, folder: Path, rounds: int) -> list[Row]:
    """All forms of a model that can be had here."""
    weights = None
    if model == "resnet50" and not weights_are_here(model):
        weights = folder / "resnet50.pth"
        save_random(weights)
    loaded = load_model(model, weights=weights)
    np.save(folder / "crops.npy", folder_pixels(images, loaded.transform, most=256))
    rows: list[Row] = []
    expected: Any = None
    for number, form in enumerate(FORMS):
        if find_spec(form.needs) is None:
            print(f"  {form.name}: no {form.needs} here", file=sys.stderr)
            continue
        path = model if form.options is None else str(folder / f"{model}-{number}{form.suffix}")
        if form.options is not None and (fault := export(model, weights, form, Path(path))):
            print(f"  {form.name}: {fault}", file=sys.stderr)
            continue
        answers = folder / "answers.npy"
        told = weights if form.options is None else None
        measured = [measure(path, told, folder / "crops.npy", answers, rounds) for _ in range(3)]
        found = np.load(answers)
        expected = found if expected is None else expected
        size = loaded.weights_path.stat().st_size if form.options is None else Path(path).stat().st_size
        middle = {key: statistics.median(each[key] for each in measured) for key in measured[0]}
        agreement = float((found.argmax(1) == expected.argmax(1)).mean())
        difference = float(np.abs(found - expected).max())
        rows.append(Row(form.name, size / MIB, **middle, difference=difference, agreement=agreement))
    return rows


def save_random(path: Path) -> None:
    """A ResNet-50's state_dict, always the same."""
    from torchvision.models import resnet50

    torch.manual_seed(0)
    torch.save(resnet50(weights=None).state_dict(), path)


def whole_process(command: list[str]) -> tuple[float, float]:
    """Seconds and peak MiB of a process that prints records; the memory is looked at now and again (Linux)."""
    start, peak = time.perf_counter(), float("nan")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        with contextlib.suppress(OSError, StopIteration):
            text = status.read_text(encoding="utf-8")
            peak = next(int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("VmHWM"))
        time.sleep(0.005)
    return time.perf_counter() - start, peak


def compare_program(program: Path, model: str, images: Path, folder: Path, rounds: int) -> None:
    """The C++ program beside the Python command: one image, and all of them."""
    package = folder / "program.pt2"
    fault = export(model, None, next(each for each in FORMS if each.name == "AOTInductor"), package)
    if fault:
        raise SystemExit(fault)
    files = sorted(str(path) for path in images.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    python = [sys.executable, "-m", "imgcls", "predict", "-f", "jsonl", "-q"]
    commands = {
        "C++ program, package": [str(program), str(package)],
        "imgcls predict, package": [*python, "-m", str(package), "--allow-code"],
        "imgcls predict, PyTorch": [*python, "-m", model, "--runtime", "torch"],
    }
    if find_spec("onnxruntime"):
        commands["imgcls predict, ONNX file"] = [*python, "-m", str(folder / "program.onnx")]
        export(model, None, FORMS[1], folder / "program.onnx")
    times: dict[str, list[tuple[float, float, float]]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            one, _memory = whole_process([*command, files[0]])
            several, memory = whole_process([*command, *files])
            times[name].append((one, (len(files) - 1) / max(several - one, 1e-9), memory))
    print(f"\n{model}, whole processes on {len(files)} files, medians of {rounds}")
    print(f"{'':28}{'one image, s':>14}{'images/s':>10}{'peak MiB':>10}")
    for name, found in times.items():
        one, rate, memory = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"{name:28}{one:>14.2f}{rate:>10.0f}{memory:>10.0f}")


def main() -> None:
    """Print a table for each model, and one for the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--program", type=Path)
    told = parser.parse_args()
    print(f"imgcls {imgcls.__version__}, torch {torch.__version__}, {available_cores()} cores, {platform.machine()}")
    with tempfile.TemporaryDirectory(prefix="imgcls-") as name:
        for model in told.models:
            print(f"\n{model}, medians of 3 processes")
            print(
                f"{'':22}{'MiB':>8}{'start-up, s':>13}{'ms, batch 1':>13}{'ms/image, 32':>14}{'peak MiB':>10}"
                f"{'difference':>12}{'agreement':>11}",
                flush=True,
            )
            for row in rows_of(model, told.images, Path(name), told.rounds):
                print(
                    f"{row.name:22}{row.size_mib:>8.1f}{row.start_up:>13.2f}{row.ms_1:>13.2f}{row.ms_32:>14.2f}"
                    f"{row.peak_mib:>10.0f}{row.difference:>12.2g}{row.agreement:>11.2%}",
                    flush=True,
                )
        if told.program is not None:
            compare_program(told.program.resolve(), told.models[0], told.images, Path(name), told.rounds)


if __name__ == "__main__":
    main()
