"""Batch classification of photographs: imgcls against the plain script that loops over the files.

JPEG photographs of 1600 x 1200, or as large as --side says, all in one run on the same files, in turn. torchvision's
networks have random but fixed weights whose answers differ from image to image; efficientnet-lite0 and cifar10-cnn have
their own.

    plain script     PIL, torchvision's preset (lite0, cifar10-cnn: their own), batch 1
    imgcls           predict -f jsonl, with the ONNX twin, made before the clock starts; its making is told apart
    --runtime torch  the same with PyTorch
    --fast-decode    with JPEGs scaled while they are decoded; and with bf16 arithmetic where the CPU has it
    before           an earlier version, whose sources --before names
    bound            what the parts cost alone: (decode + transform + model core-seconds) over the cores

    python benchmarks/throughput.py [--photos DIR] [--count 2000] [--rounds 3] [--model NAME]... [--side 1600]

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
from imgcls.inference.backends.backend import LoadOptions, load_backend
from imgcls.models.building import build_network

WIDTH = 1600
MODELS = ("resnet50", "resnet18", "alexnet", "efficientnet-lite0", "cifar10-cnn")
OWN_WEIGHTS = ("efficientnet-lite0", "cifar10-cnn")
PLAIN_SCRIPT = """
import json, sys
from pathlib import Path
import torch
from PIL import Image
from torchvision import models, transforms
name, weights, folder, out = sys.argv[1:]
if weights:
    network = models.get_model(name, weights=None)
    network.load_state_dict(torch.load(weights, weights_only=True))
    preset = models.get_model_weights(name).DEFAULT.transforms()
else:
    from imgcls.models.loading import load_model
    loaded = load_model(name)
    network, transform = loaded.network, loaded.transform
    preset = transforms.Compose([
        transforms.Resize(transform.resize_px, transforms.InterpolationMode(transform.interpolation)),
        transforms.CenterCrop(transform.crop_px), transforms.ToTensor(),
        transforms.Normalize(transform.mean, transform.std),
    ])
network.eval()
with torch.no_grad(), open(out, "w") as file:
    for path in sorted(Path(folder).iterdir()):
        probabilities = network(preset(Image.open(path).convert("RGB"))[None]).softmax(1)[0]
        top = probabilities.topk(5)
        file.write(json.dumps([top.indices.tolist(), top.values.tolist()]) + "\\n")
"""


def scene(rng: np.random.Generator, photos: list[Image.Image], width: int) -> Image.Image:
    """A photograph-like image: one of the given ones cropped at random, or a drawn one with grain."""
    size = (width, width * 3 // 4)
    if photos:
        photo = photos[rng.integers(len(photos))]
        box = [rng.uniform(0, 0.15), rng.uniform(0, 0.15), rng.uniform(0.85, 1), rng.uniform(0.85, 1)]
        left, top, right, bottom = (part * side for part, side in zip(box, photo.size * 2, strict=True))
        return ImageOps.fit(photo.crop((int(left), int(top), int(right), int(bottom))), size)
    shapes = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(
        (400, 300), Image.Resampling.BICUBIC
    )
    grain = rng.normal(0, 12, (300, 400, 1))
    pixels = np.clip(np.asarray(shapes) + grain, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def make_photos(folder: Path, count: int, originals: Path | None, width: int = WIDTH) -> None:
    """Write `count` JPEG files."""
    rng = np.random.default_rng(0)
    photos = [decode_image(path).image for path in sorted(originals.rglob("*.jpg"))] if originals else []
    # Encoding is slow and names tell the files apart: fifty different images, then copies.
    for index in range(min(count, 50)):
        scene(rng, photos, width).save(folder / f"{index:05d}.jpg", quality=88)
    for index in range(50, count):
        os.link(folder / f"{index % 50:05d}.jpg", folder / f"{index:05d}.jpg")


def write_weights(name: str, path: Path) -> None:
    """Random ones of a torchvision network; batch norms have the statistics that these weights give."""
    torch.manual_seed(0)
    network = build_network(name, num_classes=1000)
    for module in network.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            torch.nn.init.kaiming_normal_(module.weight)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    images = [Transform(256, 224).crop(scene(np.random.default_rng(seed), [], 400)) for seed in range(16)]
    with torch.no_grad():
        network.train()(Transform(256, 224).normalise(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)))
    torch.save(network.state_dict(), path)


def timed(command: list[str], environment: dict[str, str]) -> float:
    """Whole-process wall seconds."""
    started = time.perf_counter()
    # In a folder without sources: Python looks for the package where it is started, before PYTHONPATH.
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, cwd=folder
        )
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


def measure(name: str, work: Path, arguments: argparse.Namespace) -> None:
    """Run everything with one network, and print."""
    cores = available_cores()
    weights = None if name in OWN_WEIGHTS else work / f"{name}.pth"
    if weights is not None:
        write_weights(name, weights)
    told = ["--weights", str(weights)] if weights else []
    photos = str(work / "photos")
    options = ["-m", name, *told, "-f", "jsonl", "-k", "20", "--overwrite", "-q"]
    ours = [sys.executable, "-m", "imgcls", "predict", photos, *options]
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "IMGCLS_CACHE": str(work / "cache")}
    plain = [sys.executable, "-c", PLAIN_SCRIPT, name, str(weights or ""), photos, str(work / "plain")]
    ways = {"plain script": (plain, here)}
    if arguments.before:
        earlier = {**here, "PYTHONPATH": str(arguments.before.resolve()), "IMGCLS_CACHE": str(work / "before")}
        ways["before"] = ([*ours, "-o", str(work / "before.jsonl")], earlier)
    flags: dict[str, list[str]] = {"imgcls": [], "imgcls --fast-decode": ["--fast-decode"]}
    flags["imgcls --runtime torch"] = ["--runtime", "torch"]
    flags["imgcls --runtime torch --fast-decode"] = ["--runtime", "torch", "--fast-decode"]
    if arguments.bf16 and supports_bfloat16(torch.device("cpu")):
        flags["imgcls --fast-decode --precision bf16"] = ["--fast-decode", "--precision", "bf16"]
    if arguments.default_runtime:
        flags = {way: added for way, added in flags.items() if "--runtime" not in added}
    for index, (way, added) in enumerate(flags.items()):
        ways[way] = ([*ours, *added, "-o", str(work / f"{index}.jsonl")], here)
    one = [sys.executable, "-m", "imgcls", "predict", f"{photos}/00000.jpg", *options, "-o", str(work / "one.jsonl")]
    made = timed([*one, "--runtime", "onnx"], here)
    warm = timed([*one, "--runtime", "onnx"], here)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _round in range(arguments.rounds):
        for way, (command, environment) in ways.items():
            seconds[way].append(timed(command, environment))
    print(
        f"\n{name}: {arguments.count:,} JPEG photographs, {arguments.side} pixels wide, {cores} cores; "
        f"whole processes; the twin took {made - warm:.1f} s to make"
    )
    baseline = statistics.median(seconds["plain script"])
    for way, times in seconds.items():
        median = statistics.median(times)
        print(
            f"{way:38} {arguments.count / median:6.1f} images/s (median of {len(times)}; {min(times):.1f} to "
            f"{max(times):.1f} s), {baseline / median:.2f} times the plain script"
        )
    os.environ["IMGCLS_CACHE"] = here["IMGCLS_CACHE"]
    for way in flags:
        load = LoadOptions(
            weights=weights,
            device="cpu",
            precision="bf16" if "bf16" in way else "fp32",
            runtime="torch" if "torch" in way or "bf16" in way else "onnx",
        )
        cost = parts(work / "photos", name, load, min(200, arguments.count), fast="fast" in way)
        bound = 1000 * cores / sum(cost.values())
        reached = arguments.count / statistics.median(seconds[way]) / bound
        listed = ", ".join(f"{part} {value:.1f} ms" for part, value in cost.items())
        print(f"bound of {way}: {bound:.1f} images/s ({listed} of one core); reached {reached:.0%}")
    for way, (command, _environment) in list(ways.items())[1:]:
        largest, agree, count = largest_difference(work / "plain", Path(command[-1]))
        print(f"answers of {way}: largest difference {largest:.1e}, same first class {agree:,} of {count:,}")


def main() -> None:
    """Measure each network and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", choices=MODELS, action="append")
    parser.add_argument("--side", type=int, default=WIDTH, help="width of the photographs, in pixels")
    parser.add_argument("--before", type=Path, help="a folder with the sources of an earlier version")
    parser.add_argument("--bf16", action="store_true", help="measure bf16 too")
    parser.add_argument("--default-runtime", action="store_true", help="leave out the ways with --runtime torch")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        (work / "photos").mkdir()
        make_photos(work / "photos", arguments.count, arguments.photos, arguments.side)
        for name in arguments.model or MODELS[:4]:
            measure(name, work, arguments)


if __name__ == "__main__":
    main()
