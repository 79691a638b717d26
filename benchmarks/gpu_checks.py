"""Checks of `gpu.py` that compare answers rather than seconds: resuming, precision, and predict over many files.

Shapes: N images, C channels (3), H height, W width, K classes.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from imgcls.errors import DeviceError
from imgcls.images.transform import Transform
from imgcls.inference.backends.backend import Precision
from imgcls.inference.backends.torch_backend import TorchBackend
from imgcls.models.building import build_network
from imgcls.models.checkpoint import load_checkpoint
from imgcls.models.loaded_model import LoadedModel
from imgcls.models.loading import load_model
from imgcls.recipes.optimization import TrainSettings

PATIENCE_SEC = 300


def resume(command: Callable[[Path], Sequence[str]], work: Path) -> dict[str, Any]:
    """Train once in one go and once cut after its first epoch and resumed, and compare all weights.

    Args:
        command: the one that trains into a folder.
        work: for both runs.
    Returns:
        `identical`, `differing` (tensors), `largest_difference`, and `says`, a sentence of it.
    """
    deterministic = ["--set", "train.deterministic=true"] if "deterministic" in TrainSettings.model_fields else []
    whole, cut = work / "resume-whole", work / "resume-cut"
    subprocess.run([*command(whole), *deterministic], check=True, stdout=subprocess.DEVNULL)
    # It warns that it was cut, as it should.
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([*command(cut), *deterministic], **quiet)
    deadline = time.monotonic() + PATIENCE_SEC
    while not (metrics := cut / "metrics.jsonl").exists() or not metrics.read_bytes():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise RuntimeError(f"the run that was to be cut ended with {process.wait()} before its first epoch did")
        time.sleep(0.01)
    process.terminate()
    code = process.wait()
    again = [sys.executable, "-m", "imgcls", "train", "--resume", str(cut), "-q", *_device(command(cut))]
    subprocess.run(again, check=True, stdout=subprocess.DEVNULL)
    found = _compare(whole / "last.pt", cut / "last.pt")
    kind = "deterministic run" if deterministic else "run"
    cut_how = f"cut by SIGTERM (exit code {code}) and resumed" if code else "not cut in time, for it had ended"
    says = "the same weights, bit for bit"
    if not found["identical"]:
        says = f"{found['differing']} tensors differ, by {found['largest_difference']:.1e} at most"
    return found | {"exit_code": code, "says": f"{kind}, {cut_how}: {says}"}


def _device(command: Sequence[str]) -> list[str]:
    position = list(command).index("--device")
    return list(command[position : position + 2])


def _compare(first: Path, second: Path) -> dict[str, Any]:
    expected, found = (load_checkpoint(path).weights for path in (first, second))
    if expected.keys() != found.keys():
        raise RuntimeError(f"{first} and {second} hold other tensors")
    differing = [key for key, value in expected.items() if not torch.equal(value, found[key])]
    largest = max(((expected[key].double() - found[key].double()).abs().max().item() for key in differing), default=0.0)
    return {"identical": not differing, "differing": len(differing), "largest_difference": largest}


def agreement(run: Path, images_NCHW: Tensor, device: torch.device) -> dict[str, dict[str, Any]]:
    """Probabilities that predict gives on a device in each precision, against those on the CPU in float32.

    Args:
        run: the trained network's folder.
        images_NCHW: bytes, in the size that the network takes.
        device: to compare.
    """
    pixels_NHWC = images_NCHW.permute(0, 2, 3, 1).contiguous().numpy()
    expected_NK = TorchBackend(load_model(str(run)), torch.device("cpu")).probabilities(pixels_NHWC)
    found = {}
    for backend in backends(lambda: load_model(str(run)), device):
        answered_NK = backend.probabilities(pixels_NHWC)
        same = int((answered_NK.argmax(1) == expected_NK.argmax(1)).sum())
        largest = float(np.abs(answered_NK - expected_NK).max())
        found[backend.precision] = {"largest_difference": largest, "same_class": same, "count": len(pixels_NHWC)}
    return found


def backends(load: Callable[[], LoadedModel], device: torch.device) -> Iterator[TorchBackend]:
    """A model as predict runs it, in each precision that the device has."""
    for precision in get_args(Precision):
        with contextlib.suppress(DeviceError):
            yield TorchBackend(load(), device, precision)


def network_speed(device: torch.device, *, batch_size: int = 256, batches: int = 20) -> dict[str, float]:
    """Images/s of ResNet-50 with random weights at 224 x 224, from bytes on the host to probabilities on it.

    Args:
        device: where it runs.
        batch_size: images at once.
        batches: that are timed, after two that are not.
    Returns:
        By precision, as far as the device has it.
    """
    transform = Transform(resize_px=256, crop_px=224)
    rng = np.random.default_rng(0)
    pixels_NHWC = rng.integers(0, 256, (batch_size, 224, 224, 3), dtype=np.uint8)

    def load() -> LoadedModel:
        network = build_network("resnet50", num_classes=1000).eval()
        return LoadedModel("resnet50", network, tuple(map(str, range(1000))), transform, "0" * 64, Path("random"))

    found = {}
    for backend in backends(load, device):
        for count in (2, batches):
            started = time.perf_counter()
            for _ in range(count):
                # Probabilities come back to the host, so that each batch is done when it returns.
                backend.probabilities(pixels_NHWC)
            seconds = time.perf_counter() - started
        found[backend.precision] = batches * batch_size / seconds
    return found


def predict_speed(run: Path, images_NCHW: Tensor, device: torch.device, work: Path) -> dict[str, Any]:
    """`imgcls predict` over one file, then over all, each in a process of its own.

    Args:
        run: the trained network's folder.
        images_NCHW: bytes; written as PNG files first.
        device: where it runs.
        work: for the files.
    """
    folder = work / "images"
    folder.mkdir()
    for index, pixels_HWC in enumerate(images_NCHW.permute(0, 2, 3, 1).contiguous().numpy()):
        Image.fromarray(pixels_HWC).save(folder / f"{index:05d}.png")
    seconds = []
    for what in (folder / "00000.png", folder):
        command = [sys.executable, "-m", "imgcls", "predict", str(what), "-m", str(run), "--device", str(device)]
        command += ["--batch-size", "256", "-f", "jsonl", "-q", "-o", str(work / f"{what.stem}.jsonl")]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    start_sec, wall_sec = seconds
    speed = (len(images_NCHW) - 1) / max(wall_sec - start_sec, 1e-9)
    return {"count": len(images_NCHW), "start_sec": start_sec, "wall_sec": wall_sec, "images_per_sec": speed}
