"""efficientnet-lite0 in every precision on the same photographs: agreement, images per second, size and cold start.

`imgcls predict` with PyTorch in fp32 (the baseline) and bf16, and with ONNX files in fp32, fp16 and int8 that
`imgcls export` writes first; int8 is calibrated on half of the photographs, and agreement is counted on the other half.
Whole processes in turn, one round after the other; the figures are medians, and ratios of the same round.

    python benchmarks/lite0.py DIR        DIR holds folders of photographs named by WordNet ID, or anything; 10 minutes
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from imgcls.models.registry import published_weights

NAME = "efficientnet-lite0"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass
class Form:
    """A form of the model, and what was measured of it.

    Attributes:
        name: as it is printed.
        options: of `imgcls predict`.
        path: the file whose size counts.
        labels: the first answer for each image.
        whole_sec, single_sec: of whole processes, for all images and for one.
    """

    name: str
    options: list[str]
    path: Path
    labels: dict[str, str] = field(default_factory=dict)
    whole_sec: list[float] = field(default_factory=list)
    single_sec: list[float] = field(default_factory=list)

    def images_per_sec(self, count: int) -> float:
        """Beyond the first image."""
        return (count - 1) / (statistics.median(self.whole_sec) - statistics.median(self.single_sec))


def run(*arguments: str | Path) -> float:
    """Seconds of an imgcls process."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "imgcls", *map(str, arguments)],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "IMGCLS_OFFLINE": "1"},
    )
    return time.perf_counter() - started


def forms(work: Path, calibration: Path) -> list[Form]:
    """The models, exported where they are files."""
    weights = published_weights(NAME)
    found = [
        Form("torch fp32", ["-m", NAME, "--runtime", "torch"], weights),
        Form("torch bf16", ["-m", NAME, "--runtime", "torch", "--precision", "bf16"], weights),
    ]
    for kind, options in {"fp32": [], "fp16": ["--fp16"], "int8": ["--int8", "--calibrate", calibration]}.items():
        path = work / f"{kind}.onnx"
        run("export", NAME, "-o", path, "-q", *options)
        found.append(Form(f"onnx {kind}", ["-m", str(path)], path))
    return found


def measure(form: Form, images: list[Path], work: Path) -> None:
    """All images, then one."""
    listed, output = work / "images.txt", work / "answers.jsonl"
    listed.write_text("\n".join(map(str, images)))
    common = [*form.options, "-q", "--overwrite", "-o", output, "-k", "1"]
    form.whole_sec.append(run("predict", "--files-from", listed, *common))
    records = map(json.loads, output.read_text("utf-8").splitlines())
    form.labels = {record["input"]: record["predictions"][0]["label"] for record in records}
    form.single_sec.append(run("predict", images[0], *common))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    images = sorted(path.resolve() for path in arguments.photographs.rglob("*") if path.suffix.lower() in SUFFIXES)
    held_out = {str(path) for path in images[1::2]}
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        (work / "calibration").mkdir()
        for number, path in enumerate(images[::2]):
            (work / "calibration" / f"{number}{path.suffix}").symlink_to(path)
        found = forms(work, work / "calibration")
        for _round in range(arguments.rounds):
            for form in found:
                measure(form, images, work)
        base = found[0]
        print(f"{NAME}, {len(images)} photographs, {len(held_out)} of them for agreement, {arguments.rounds} rounds")
        for form in found:
            same = sum(form.labels[path] == base.labels[path] for path in held_out)
            speed, cold = form.images_per_sec(len(images)), statistics.median(form.single_sec)
            print(
                f"{form.name}: same answer as torch fp32 {same} of {len(held_out)}, {speed:.0f} images/s "
                f"({speed / base.images_per_sec(len(images)):.2f} times), {form.path.stat().st_size / 2**20:.1f} MiB, "
                f"one image {cold:.2f} s ({cold / statistics.median(base.single_sec):.2f} times)"
            )


if __name__ == "__main__":
    main()
