"""How soon a web site of `imgcls export --to web` answers: on a first visit, and on a second one from what it kept.

A static server on this machine and Chromium without a window and without a GPU. Each first visit is that of a browser
that was never there. Measured from the start of navigation to the answer for one photograph, which is handed over once
the model is ready; medians and ranges. Beside it `imgcls predict` answers for the same photograph from a new process,
with the same ONNX file.

    python benchmarks/browser.py --ort onnxruntime-web-1.30.0.tgz [MODEL ...] [--runs 5]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "tests"), str(HERE.parent / "tests" / "export" / "web")]
MODELS = ("efficientnet-lite0", "cifar10-cnn")
PHOTO = HERE.parent / "examples" / "espresso.jpg"
MIB = 2**20


def main() -> None:
    from static_server import static_server

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--ort", required=True, type=Path)
    parser.add_argument("--runs", type=int, default=5)
    told = parser.parse_args()
    for model in told.models:
        with tempfile.TemporaryDirectory() as name:
            site = Path(name, "www", "site")
            command = [sys.executable, "-m", "imgcls", "export", model, "--to", "web", "-o", str(site), "-q"]
            subprocess.run([*command, "--ort", str(told.ort)], check=True, stdout=subprocess.DEVNULL)
            with static_server(site.parent) as server:
                visits = [two_visits(f"{server.url}/site/", server, Path(name)) for _ in range(told.runs)]
            command = [sys.executable, "-m", "imgcls", "predict", str(PHOTO), "-m", str(site / "model.onnx"), "-q"]
            shell = [seconds_of(command) for _ in range(told.runs)]
            files = [path.stat().st_size for path in site.rglob("*") if path.is_file()]
        print(f"{model}: site {sum(files) / MIB:.1f} MiB, {told.runs} runs")
        firsts, seconds, runs, requests, backends = zip(*visits, strict=True)
        print(f"  first answer, first visit    {spread(firsts, 's')}")
        print(f"  first answer, second visit   {spread(seconds, 's')}, {max(requests)} requests")
        print(f"  model alone, per image       {spread(runs, 'ms')}, {backends[0]}")
        print(f"  imgcls predict, new process  {spread(shell, 's')}")


def two_visits(address: str, server: object, folder: Path) -> tuple[float, float, float, int, str]:
    """Seconds to the first answer on both visits, ms of the model alone, requests of the second, and what ran it."""
    from chromium import started_chromium

    with tempfile.TemporaryDirectory(dir=folder) as profile, started_chromium(Path(profile)) as page:
        first = first_answer(page, address)
        server.asked.clear()  # type: ignore[attr-defined]
        second = first_answer(page, address)
        requests = len(server.asked)  # type: ignore[attr-defined]
        states = page.run("[...document.querySelectorAll('.state')].map(each => each.textContent)")
        model_ms = float(states[0].rpartition("model ")[2].rstrip(")"))
        backend = page.run("document.getElementById('backend').textContent").partition(",")[0]
        return first, second, model_ms, requests, backend


def first_answer(page: object, address: str) -> float:
    """Open the site, hand it the photograph, and wait for the answer."""
    from visitor import give, visit

    begin = time.monotonic()
    visit(page, address)  # type: ignore[arg-type]
    give(page, {PHOTO.name: PHOTO.read_bytes()})  # type: ignore[arg-type]
    return time.monotonic() - begin


def seconds_of(command: list[str]) -> float:
    """Seconds that a command takes."""
    begin = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin


def spread(values: tuple[float, ...] | list[float], unit: str) -> str:
    """A median and its range."""
    return f"{statistics.median(values):7.2f} {unit} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
