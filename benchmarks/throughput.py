"""Batch classification of photographs: imgcls against the plain script that loops over the files.

AlexNet with random but fixed weights, or `efficientnet-lite0` with its own, JPEG photographs of 1600 x 1200, all in one
run on the same files, in turn:

    plain script     PIL, torchvision's preset (lite0: its own), batch 1
    imgcls           predict -f jsonl, with PyTorch; lite0 with its ONNX twin too, made before the clock starts
    --fast-decode    the same with JPEGs scaled while they are decoded; and with bf16 arithmetic where the CPU has it
    bound            what the parts cost alone: (decode + transform + model core-seconds) over the cores

    python benchmarks/throughput.py [--photos DIR] [--count 2000] [--rounds 3] [--model efficientnet-lite0]

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
from imgcls.inference.backends.backend import LoadOptions, load_backend
from imgcls.models.networks.alexnet import AlexNet

WIDTH, HEIGHT = 1600, 1200
PLAIN_SCRIPT = """
import json, sys
from pathlib import Path
import torch
from PIL import Image
from torchvision import transforms
name, weights, folder, out = sys.argv[1:]
if name == "alexnet":
    from torchvision.models import AlexNet_Weights, alexnet
    network = alexnet(weights=None)
    network.load_state_dict(torch.load(weights, weights_only=True))
    preset = AlexNet_Weights.IMAGENET1K_V1.transforms()
else:
    from imgcls.models.loading import load_model
    network = load_model(name).network
    preset = transforms.Compose([
        transforms.Resize(256, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(224),
        transforms.ToTensor(), transforms.Normalize([127 / 255] * 3, [128 / 255] * 3),
    ])
network.eval()
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


def write_weights(path: Path) -> None:
    """Random ones of AlexNet, whose answers differ from image to image."""
    torch.manual_seed(0)
    network = AlexNet()
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
    torch.save(network.state_dict(), path)


def timed(command: list[str]) -> float:
    """Whole-process wall seconds."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def parts(folder: Path, name: str, options: LoadOptions, sample: int, *, fast: bool) -> dict[str, float]:
    """Core-milliseconds an image of each part alone, the model's with every core at work."""
    paths = sorted(folder.iterdir())[:sample]
    backend = load_backend(name, options).backend
    transform = backend.transform
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
    parser.add_argument("--model", choices=["alexnet", "efficientnet-lite0"], default="alexnet")
    arguments = parser.parse_args()
    cores = available_cores()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        (work / "photos").mkdir()
        make_photos(work / "photos", arguments.count, arguments.photos)
        name, weights = arguments.model, work / "alexnet.pth"
        files = [str(work / "photos"), "-m", name, "-f", "jsonl", "-k", "20", "--overwrite", "-q"]
        if name == "alexnet":
            write_weights(weights)
            files += ["--weights", str(weights)]
        told = weights if name == "alexnet" else None
        ours = [sys.executable, "-m", "imgcls", "predict", *files, "--runtime", "torch"]
        commands = {
            "plain script": [
                sys.executable,
                "-c",
                PLAIN_SCRIPT,
                name,
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
        if name != "alexnet":
            twin = [*ours[:-2], "--runtime", "onnx"]
            one = str(work / "photos/00000.jpg")
            timed([sys.executable, "-m", "imgcls", "predict", one, "-m", name, "--runtime", "onnx"])
            commands["imgcls --runtime onnx"] = [*twin, "-o", str(work / "twin.jsonl")]
            commands["imgcls --runtime onnx --fast-decode"] = [*twin, "--fast-decode", "-o", str(work / "both.jsonl")]
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _round in range(arguments.rounds):
            for way, command in commands.items():
                seconds[way].append(timed(command))
        print(f"{arguments.count:,} JPEG photographs of {WIDTH} x {HEIGHT}, {name}, {cores} cores; whole processes")
        baseline = statistics.median(seconds["plain script"])
        for way, times in seconds.items():
            median = statistics.median(times)
            print(
                f"{way:38} {arguments.count / median:6.1f} images/s (median of {len(times)}; {min(times):.1f} to "
                f"{max(times):.1f} s), {baseline / median:.2f} times the plain script"
            )
        for way in list(commands)[1:]:
            options = LoadOptions(
                weights=told,
                device="cpu",
                precision="bf16" if "bf16" in way else "fp32",
                runtime="onnx" if "onnx" in way else "torch",
            )
            cost = parts(work / "photos", name, options, min(200, arguments.count), fast="fast" in way)
            bound = 1000 * cores / sum(cost.values())
            reached = arguments.count / statistics.median(seconds[way]) / bound
            listed = ", ".join(f"{part} {value:.1f} ms" for part, value in cost.items())
            print(f"bound of {way}: {bound:.1f} images/s ({listed} of one core); reached {reached:.0%}")
        for way, command in list(commands.items())[1:]:
            largest, agree, count = largest_difference(work / "plain", Path(command[-1]))
            print(f"answers of {way}: largest difference {largest:.1e}, same first class {agree:,} of {count:,}")


if __name__ == "__main__":
    main()
