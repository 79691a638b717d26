"""Batch classification of photographs: imgcls against the plain script that loops over the files.

AlexNet with random but fixed weights, JPEG photographs of 1600 x 1200, all in one run on the same files, in turn:

    plain script     PIL, torchvision's preset, batch 1
    imgcls           predict -f jsonl
    --fast-decode    the same with JPEGs scaled while they are decoded; and with bf16 arithmetic where the CPU has it
    bound            what the parts cost alone: (decode + transform + model core-seconds) over the cores

    python benchmarks/throughput.py [--photos DIR] [--count 2000] [--rounds 3]

With --photos, the images in DIR are cropped at random and enlarged; without, scenes are drawn.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from imgcls.host.devices import supports_bfloat16
from imgcls.host.resources import available_cores
from imgcls.images.decoding import decode_image
from imgcls.images.transform import Transform
from imgcls.inference.backends.torch_backend import TorchBackend
from imgcls.models.loading import load_model
from imgcls.models.networks.alexnet import AlexNet

WIDTH, HEIGHT = 1600, 1200
PLAIN_SCRIPT = """
import json, sys
from pathlib import Path
import torch
from PIL import Image
from torchvision.models import AlexNet_Weights, alexnet
weights, folder, out = sys.argv[1:]
network = alexnet(weights=None)
network.load_state_dict(torch.load(weights, weights_only=True))
network.eval()
preset = AlexNet_Weights.IMAGENET1K_V1.transforms()
with torch.no_grad(), open(out, "w") as file:
    for path in sorted(Path(folder).iterdir()):
        probabilities = network(preset(Image.open(path).convert("RGB"))[None]).softmax(1)[0]
        top = probabilities.topk(5)
        file.write(json.dumps([top.indices.tolist(), top.values.tolist()]) + "\\n")
"""


def scene(rng: np.random.Generator, photos: list[Image.Image]) -> Image.Image:
    """A photograph-like image: one of the given ones cropped at random, or a drawn one with grain."""
    if photos:
        photo = photos[rng.integers(len(photos))]
        box = [rng.uniform(0, 0.15), rng.uniform(0, 0.15), rng.uniform(0.85, 1), rng.uniform(0.85, 1)]
        left, top, right, bottom = (part * side for part, side in zip(box, photo.size * 2, strict=True))
        return ImageOps.fit(photo.crop((int(left), int(top), int(right), int(bottom))), (WIDTH, HEIGHT))
    shapes = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(
        (400, 300), Image.Resampling.BICUBIC
    )
    grain = rng.normal(0, 12, (300, 400, 1))
    pixels = np.clip(np.asarray(shapes) + grain, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)


def make_photos(folder: Path, count: int, originals: Path | None) -> None:
    """Write `count` JPEG files."""
    rng = np.random.default_rng(0)
    photos = [decode_image(path).image for path in sorted(originals.rglob("*.jpg"))] if originals else []
    # Encoding is slow and names tell the files apart: fifty different images, then copies.
    for index in range(min(count, 50)):
        scene(rng, photos).save(folder / f"{index:05d}.jpg", quality=88)
    for index in range(50, count):
        os.link(folder / f"{index % 50:05d}.jpg", folder / f"{index:05d}.jpg")


def timed(command: list[str]) -> float:
    """Whole-process wall seconds."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def parts(folder: Path, weights: Path, sample: int, *, fast: bool, lowered: bool) -> dict[str, float]:
    """Core-milliseconds an image of each part alone, the model's with every core at work."""
    paths = sorted(folder.iterdir())[:sample]
    transform = Transform(resize_px=256, crop_px=224)
    decode = transformed = 0.0
    pixels = []
    # One image after the other, as a run has them: hundreds held at once would cost page faults that no run pays.
    for path in paths:
        started = time.process_time()
        image = decode_image(path, smallest_px=256 if fast else 0).image
        decoded = time.process_time()
        pixels.append(transform.crop(image))
        decode += decoded - started
        transformed += time.process_time() - decoded
    crops = np.stack(pixels)
    loaded = load_model("alexnet", weights=weights)
    backend = TorchBackend(loaded, torch.device("cpu"), "bf16" if lowered else "fp32")
    batch = crops[:32]
    backend.probabilities(batch)
    started = time.process_time()
    for _ in range(4):
        backend.probabilities(batch)
    model = (time.process_time() - started) / 4 * len(paths) / len(batch)
    return {
        name: 1000 * seconds / len(paths)
        for name, seconds in (("decode", decode), ("transform", transformed), ("model", model))
    }


def largest_difference(plain: Path, ours: Path) -> tuple[float, int, int]:
    """Largest difference in the probability of the plain script's five classes, and how often the first agrees."""
    largest, agree, count = 0.0, 0, 0
    for expected, record in zip(plain.read_text().splitlines(), ours.read_text().splitlines(), strict=True):
        indices, values = json.loads(expected)
        answered = {p["class_id"]: p["probability"] for p in json.loads(record)["predictions"]}
        largest = max([largest, *(abs(answered[i] - v) for i, v in zip(indices, values, strict=True) if i in answered)])
        agree += json.loads(record)["predictions"][0]["class_id"] == indices[0]
        count += 1
    return largest, agree, count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    cores = available_cores()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        (work / "photos").mkdir()
        make_photos(work / "photos", arguments.count, arguments.photos)
        weights = work / "alexnet.pth"
        torch.manual_seed(0)
        network = AlexNet()
        for parameter in network.parameters():
            if parameter.ndim > 1:
                torch.nn.init.kaiming_normal_(parameter)
        torch.save(network.state_dict(), weights)
        files = [str(work / "photos"), "-f", "jsonl", "-k", "20", "--weights", str(weights), "--overwrite", "-q"]
        ours = [sys.executable, "-m", "imgcls", "predict", *files]
        commands = {
            "plain script": [
                sys.executable,
                "-c",
                PLAIN_SCRIPT,
                str(weights),
                str(work / "photos"),
                str(work / "plain"),
            ],
            "imgcls": [*ours, "-o", str(work / "ours.jsonl")],
            "imgcls --fast-decode": [*ours, "--fast-decode", "-o", str(work / "fast.jsonl")],
        }
        if supports_bfloat16(torch.device("cpu")):
            lowered = ["--fast-decode", "--precision", "bf16", "-o", str(work / "bf16.jsonl")]
            commands["imgcls --fast-decode --precision bf16"] = [*ours, *lowered]
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _round in range(arguments.rounds):
            for name, command in commands.items():
                seconds[name].append(timed(command))
        print(f"{arguments.count:,} JPEG photographs of {WIDTH} x {HEIGHT}, AlexNet, {cores} cores; whole processes")
        baseline = statistics.median(seconds["plain script"])
        for name, times in seconds.items():
            median = statistics.median(times)
            print(
                f"{name:38} {arguments.count / median:6.1f} images/s (median of {len(times)}; {min(times):.1f} to "
                f"{max(times):.1f} s), {baseline / median:.2f} times the plain script"
            )
        for name in list(commands)[1:]:
            fast, lowered = "fast" in name, "bf16" in name
            cost = parts(work / "photos", weights, min(200, arguments.count), fast=fast, lowered=lowered)
            bound = 1000 * cores / sum(cost.values())
            reached = arguments.count / statistics.median(seconds[name]) / bound
            listed = ", ".join(f"{part} {value:.1f} ms" for part, value in cost.items())
            print(f"bound of {name}: {bound:.1f} images/s ({listed} of one core); reached {reached:.0%}")
        for name, command in list(commands.items())[1:]:
            largest, agree, count = largest_difference(work / "plain", Path(command[-1]))
            print(f"answers of {name}: largest difference {largest:.1e}, same first class {agree:,} of {count:,}")


if __name__ == "__main__":
    main()
