"""One image from a shell: the wall time and peak memory of whole processes, imgcls against what people use otherwise.

AlexNet with random but fixed weights (233 MiB), all in one run on the same image, in turn:

    usual script     import torch and torchvision, alexnet(weights=None), load the state_dict, PIL, preset, softmax
    imgcls, torch    imgcls predict image.jpg --weights alexnet.pth --runtime torch
    imgcls, twin     imgcls predict image.jpg --weights alexnet.pth, its ONNX twin in the cache
    imgcls, ONNX     imgcls predict image.jpg -m alexnet.onnx, as fp32, fp16 and int8
    ultralytics      yolo classify predict, on YOLOv8x-cls with random weights (57 million parameters), where installed
    transformers     the image-classification pipeline on ResNet-152 with random weights (60 million), where installed

    python benchmarks/cold_start.py [--image FILE] [--rounds 9] [--peers-python FILE]

--peers-python names the interpreter that has ultralytics and transformers, if it is another one.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from imgcls.host.resources import available_cores

USUAL_SCRIPT = """
import sys
import torch
from PIL import Image
from torchvision.models import AlexNet_Weights, alexnet
weights, image = sys.argv[1:]
network = alexnet(weights=None)
network.load_state_dict(torch.load(weights, weights_only=True))
network.eval()
preset = AlexNet_Weights.IMAGENET1K_V1.transforms()
with torch.no_grad():
    probabilities = network(preset(Image.open(image).convert("RGB"))[None]).softmax(1)[0]
top = probabilities.topk(5)
for index, value in zip(top.indices.tolist(), top.values.tolist()):
    print(AlexNet_Weights.IMAGENET1K_V1.meta["categories"][index], value)
"""
MAKE_YOLO = """
import sys
from ultralytics import YOLO
YOLO("yolov8x-cls.yaml").save(sys.argv[1])
"""
YOLO_PREDICT = """
import sys
from ultralytics.cfg import entrypoint
entrypoint()
"""
MAKE_TRANSFORMERS = """
import sys
from transformers import ConvNextImageProcessor, ResNetConfig, ResNetForImageClassification
ResNetForImageClassification(ResNetConfig(depths=[3, 8, 36, 3], num_labels=1000)).save_pretrained(sys.argv[1])
ConvNextImageProcessor().save_pretrained(sys.argv[1])
"""
TRANSFORMERS_PREDICT = """
import sys
from transformers import pipeline
for answer in pipeline("image-classification", model=sys.argv[1])(sys.argv[2]):
    print(answer["label"], answer["score"])
"""


class Measured(NamedTuple):
    """One process: wall time, and the most memory that it held at once (0 where the platform doesn't say)."""

    seconds: float
    peak_mib: float


def save_weights(path: Path) -> None:
    """AlexNet's state_dict, always the same; drawn so that its answers differ by more than a thousandth."""
    import torch

    from imgcls.models.networks.alexnet import AlexNet

    generator = torch.Generator().manual_seed(2012)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in AlexNet().state_dict().items()}
    state = {}
    for name, shape in shapes.items():
        # He et al. 2015, equation 10, keeps the size of activations from layer to layer.
        scale = (2 / shape[1:].numel()) ** 0.5 if len(shape) > 1 else 0.1
        state[name] = torch.empty(shape).normal_(generator=generator).mul_(scale)
    torch.save(state, path)


def draw_photographs(folder: Path, count: int) -> None:
    """JPEGs of 1600 x 1200 with shapes and grain, the same every time."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFilter

    folder.mkdir()
    for seed in range(count):
        rng = np.random.default_rng(seed)
        image = Image.fromarray(rng.integers(60, 200, (6, 8, 3), dtype=np.uint8)).resize((1600, 1200), Image.BICUBIC)
        draw = ImageDraw.Draw(image)
        for _ in range(12):
            x, y, size = rng.integers(0, 1400), rng.integers(0, 1000), rng.integers(60, 400)
            draw.ellipse((x, y, x + size, y + size * 0.7), fill=tuple(rng.integers(0, 256, 3).tolist()))
        pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(2)), np.int16) + rng.integers(-9, 10, (1200, 1600, 1))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{seed:02d}.jpg", quality=90)


def measure(command: list[str], environment: dict[str, str], folder: Path) -> Measured:
    """Run a command to its end."""
    start = time.perf_counter()
    with (folder / "stderr.txt").open("wb") as errors:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=errors)
        if hasattr(os, "wait4"):
            _pid, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            # Linux counts in KiB, macOS in bytes.
            peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        else:
            process.wait()
            peak = 0.0
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(
            f"{' '.join(command[:6])} ended with {process.returncode}:\n{(folder / 'stderr.txt').read_text()}"
        )
    return Measured(seconds, peak)


def has_module(python: str, name: str) -> bool:
    """Whether an interpreter can import a package."""
    return subprocess.run([python, "-c", f"import {name}"], capture_output=True).returncode == 0


def make(python: str, script: str, path: Path, environment: dict[str, str]) -> None:
    """Let another tool write a model of its own."""
    subprocess.run([python, "-c", script, str(path)], check=True, capture_output=True, cwd=path.parent, env=environment)


def peers(python: str, image: Path, folder: Path, environment: dict[str, str]) -> dict[str, list[str]]:
    """Commands of the other tools that are installed; says which are not."""
    commands: dict[str, list[str]] = {}
    if has_module(python, "ultralytics"):
        weights = folder / "yolo.pt"
        make(python, MAKE_YOLO, weights, environment)
        arguments = ["classify", "predict", f"model={weights}", f"source={image}", "save=False"]
        commands["ultralytics"] = [python, "-c", YOLO_PREDICT, *arguments]
    else:
        print("ultralytics is not installed: left out")
    if has_module(python, "transformers"):
        model = folder / "resnet152"
        make(python, MAKE_TRANSFORMERS, model, environment)
        commands["transformers"] = [python, "-c", TRANSFORMERS_PREDICT, str(model), str(image)]
    else:
        print("transformers is not installed: left out")
    return commands


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, help="a JPEG; by default one is drawn")
    parser.add_argument("--rounds", type=int, default=9, help="how often each command runs")
    parser.add_argument("--peers-python", default=sys.executable, help="interpreter of the other tools")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {
            **os.environ,
            "IMGCLS_CACHE": str(folder / "cache"),
            "IMGCLS_OFFLINE": "1",
            "HF_HUB_OFFLINE": "1",
            "YOLO_OFFLINE": "true",
            "YOLO_CONFIG_DIR": str(folder),
        }
        weights, photographs = folder / "alexnet.pth", folder / "photographs"
        # In a process of its own: Linux counts what this one holds into the peaks of those that it starts.
        preparing = multiprocessing.get_context("spawn")
        for function, *arguments in ((save_weights, weights), (draw_photographs, photographs, 32)):
            process = preparing.Process(target=function, args=arguments)
            process.start()
            process.join()
        image = (options.image or photographs / "00.jpg").resolve()
        imgcls = [sys.executable, "-m", "imgcls"]
        commands = {
            "usual script": [sys.executable, "-c", USUAL_SCRIPT, str(weights), str(image)],
        }
        ours = [*imgcls, "predict", str(image), "-m", "alexnet", "--weights", str(weights)]
        commands["imgcls, torch"] = [*ours, "--runtime", "torch"]
        commands["imgcls, twin"] = ours
        subprocess.run([*ours, "--runtime", "onnx"], env=environment, check=True, capture_output=True)
        for precision in ("fp32", "fp16", "int8"):
            path = folder / f"alexnet-{precision}.onnx"
            flags = [] if precision == "fp32" else [f"--{precision}"]
            export = ["export", "alexnet", "--weights", str(weights), "-o", str(path), "-f", "json", *flags]
            done = subprocess.run(
                [*imgcls, *export, "--calibrate", str(photographs)],
                env=environment,
                check=True,
                capture_output=True,
                text=True,
            )
            report = json.loads(done.stdout)
            print(
                f"exported {precision}: {report['size_bytes'] / 2**20:.1f} MiB, largest difference "
                f"{report['largest_difference']:.2g}, same top-1 {report['top1_agreement']:.1%} "
                f"of {report['num_pictures']} images"
            )
            commands[f"imgcls, ONNX {precision}"] = [*imgcls, "predict", str(image), "-m", str(path)]
        commands["imgcls --help"] = [*imgcls, "--help"]
        commands |= peers(options.peers_python, image, folder, environment)
        results: dict[str, list[Measured]] = {name: [] for name in commands}
        # The first round fills the page cache and remembers the hashes; it isn't counted.
        for turn in range(options.rounds + 1):
            for name, command in commands.items():
                measured = measure(command, environment, folder)
                if turn:
                    results[name].append(measured)
    print(f"\n{options.rounds} rounds in turn, {available_cores()} cores, torch {version('torch')}: {image.name}")
    print(
        f"{'':20}{'median s':>10}{'least':>8}{'most':>8}{'ratio':>8}{'spread of ratios':>20}"
        f"{'peak MiB':>10}{'ratio':>8}"
    )
    base = results["usual script"]
    base_peak = statistics.median(each.peak_mib for each in base)
    for name, runs in results.items():
        seconds = [each.seconds for each in runs]
        ratios = sorted(each.seconds / other.seconds for each, other in zip(runs, base, strict=True))
        peak = statistics.median(each.peak_mib for each in runs)
        print(
            f"{name:20}{statistics.median(seconds):>10.3f}{min(seconds):>8.3f}{max(seconds):>8.3f}"
            f"{statistics.median(ratios):>8.3f}{f'{ratios[0]:.3f} to {ratios[-1]:.3f}':>20}"
            f"{peak:>10.0f}{peak / base_peak if base_peak else 0:>8.2f}"
        )


if __name__ == "__main__":
    main()
