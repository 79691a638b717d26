"""What imgcls does on one CUDA GPU, against the published CIFAR-10 speed record's recipe on the same files.

    record     `record_recipe.py`: accuracy, seconds, images/s, peak memory, over several seeds
    imgcls     the same of recipes in configs/, and the seconds to the accuracy that the record's recipe came to
    wall       whole processes from nothing: `imgcls train`, and `record_recipe.py`
    overhead   imgcls's loop and one written by hand, in turn (`overhead.py`)
    resume     a deterministic run that is cut and resumed, and one that never was: the same weights, bit for bit?
    agreement  predict's answers on the GPU in fp32, bf16 and fp16 against the CPU's in fp32
    predict    `imgcls predict` over the test images as files, whole process; ResNet-50 without any decoding

Seconds of training are timed as the record times itself: without compiling, warming up, loading and measuring between
epochs; unlike the record's own clock without whitening and the six views either, for both. Needs no network.

    python benchmarks/gpu.py --data cifar10.tar.xz --output figures.json

--data is a folder that holds cifar-10-batches-py, the published archive, or an archive of train/<class>/*.jpg and
test/<class>/*.jpg. Where there is no GPU it says so in a line and ends with 0. A part that fails is told at the end,
with exit code 1; the others still run.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cifar10_files
import gpu_checks
import overhead
import record_recipe
import runs
import torch
from record_network import Settings

from imgcls import load_recipe, train
from imgcls.evaluation.metrics import evaluate_network
from imgcls.evaluation.test_time_augmentation import TestTimeAugmentation
from imgcls.models.loading import load_model
from imgcls.recipes.schema import Recipe
from imgcls.runs.events import EpochEnd
from imgcls.training.setup.inputs import open_data


@dataclass
class Bench:
    """What all parts share.

    Attributes:
        arguments: of the command line.
        data: holds `cifar-10-batches-py`.
        work: for the runs' folders.
        device: where everything runs.
        figures: of every part, for --output.
    """

    arguments: argparse.Namespace
    data: Path
    work: Path
    device: torch.device
    figures: dict[str, Any] = field(default_factory=dict)

    def recipe(self, name: str, *, seed: int = 0, epochs: int | None = None) -> Recipe:
        """A recipe in configs/ on these files, shortened as the arguments say."""
        whole = load_recipe(runs.CONFIGS / name)
        epochs = epochs or max(round(whole.train.epochs * self.arguments.epochs_fraction), 1)
        flags = {"data.source": str(self.data), "data.allow_modified": True, "train.seed": seed, "train.epochs": epochs}
        return load_recipe(runs.CONFIGS / name, assignments=self.arguments.set, flags=flags)

    def trained(self) -> Path:
        """The folder of a run that was trained before, or now if none was."""
        name = self.arguments.recipes[0]
        run = self.work / f"{Path(name).stem}-0"
        if not run.exists():
            train(self.recipe(name), output=run, device=str(self.device))
        return run

    def command(self, name: str, run: Path) -> list[str]:
        """`imgcls train` as a user types it."""
        epochs = str(self.recipe(name).train.epochs)
        command = [sys.executable, "-m", "imgcls", "train", "-c", str(runs.CONFIGS / name), "--data", str(self.data)]
        command += ["--allow-modified-data", "--epochs", epochs, "--device", str(self.device), "-o", str(run), "-q"]
        return [*command, *(part for setting in self.arguments.set for part in ("--set", setting))]


def measure_record(bench: Bench) -> None:
    """The record's recipe with every seed, after a short run that is not counted."""
    data, fraction = cifar10_files.load(bench.data), bench.arguments.epochs_fraction
    precision = "half" if bench.device.type == "cuda" else "autocast"
    chosen = torch.backends.cudnn.benchmark
    # As its authors run it; imgcls goes without, as it comes.
    torch.backends.cudnn.benchmark = True
    results = []
    try:
        for seed in (None, *range(bench.arguments.seeds)):
            epochs = 8 * fraction if seed is not None else min(8 * fraction, 0.5)
            settings = Settings(epochs=epochs)
            _reset_memory(bench.device)
            training = record_recipe.Training(data, settings, seed=seed or 0, device=bench.device, precision=precision)
            result = training.run()
            if seed is not None:
                results.append(vars(result) | {"peak_mib": _peak_mib(bench.device)})
    finally:
        torch.backends.cudnn.benchmark = chosen
    bench.figures["record"] = results
    _describe("record's recipe", results)


def measure_imgcls(bench: Bench) -> None:
    """Each recipe with every seed, after an epoch that is not counted."""
    mark = statistics.fmean(r["top1"] for r in bench.figures["record"]) if "record" in bench.figures else None
    for name in bench.arguments.recipes:
        dataset = open_data(bench.recipe(name))
        train(
            bench.recipe(name, epochs=1), output=bench.work / f"{name}-warm", device=str(bench.device), dataset=dataset
        )
        results = []
        for seed in range(bench.arguments.seeds):
            _reset_memory(bench.device)
            curve: list[tuple[float, float]] = []

            def note(event: object, curve: list[tuple[float, float]] = curve) -> None:
                if isinstance(event, EpochEnd):
                    curve.append((event.seconds + (curve[-1][0] if curve else 0.0), event.top1 or 0.0))

            recipe, run = bench.recipe(name, seed=seed), bench.work / f"{Path(name).stem}-{seed}"
            result = train(recipe, output=run, device=str(bench.device), on_event=note, dataset=dataset)
            peak_mib = _peak_mib(bench.device)
            model, images = load_model(str(run)), dataset.validation
            assert images is not None
            views = evaluate_network(
                model.network.to(bench.device),
                images,
                transform=model.transform,
                device=bench.device,
                batch_size=1000,
                tta=TestTimeAugmentation.FLIP_SHIFT,
            )
            results.append(
                {
                    "seed": seed,
                    "top1": curve[-1][1],
                    "six_views_top1": views.top1,
                    "train_sec": result.train_sec,
                    "images_per_sec": result.images_per_sec,
                    "peak_mib": peak_mib,
                    "precision": result.precision,
                    "curve": curve,
                }
            )
        bench.figures[name] = results
        _describe(f"imgcls, {name}", results)
        if mark is not None:
            times = [next((sec for sec, top1 in r["curve"] if top1 >= mark), None) for r in results]
            known = [seconds for seconds in times if seconds is not None]
            median = f"{statistics.median(known):.2f} s (median)" if known else "never"
            print(f"  to the record's recipe's {mark:.2%}: {median}, {len(known)} of {len(times)} seeds")


def measure_wall(bench: Bench) -> None:
    """Whole processes: interpreter, imports, reading, everything."""
    arguments = bench.arguments
    record = [sys.executable, str(Path(record_recipe.__file__)), "--data", str(bench.data)]
    record += ["--device", str(bench.device), "--epochs-fraction", str(arguments.epochs_fraction)]
    name = arguments.recipes[0]
    for title, command in (
        (f"imgcls train -c {name}", bench.command(name, bench.work / "wall")),
        ("record_recipe.py", record),
    ):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        bench.figures.setdefault("wall", {})[title] = seconds
        print(f"whole process: {title}: {seconds:.1f} s")


def measure_overhead(bench: Bench) -> None:
    """The loop against one written by hand; see `overhead.py`."""
    name = bench.arguments.recipes[0]
    small = bench.arguments.limit is not None
    options = argparse.Namespace(
        rounds=2 if small else 8, round_sec=3.0, images=bench.arguments.limit, device=str(bench.device)
    )
    bench.figures["overhead"] = overhead.measure(name, bench.data, options)


def check_resume(bench: Bench) -> None:
    """See `gpu_checks.resume`."""
    name = bench.arguments.recipes[0]
    found = gpu_checks.resume(lambda run: bench.command(name, run), bench.work)
    bench.figures["resume"] = found
    print(f"resume: {found['says']}")


def check_agreement(bench: Bench) -> None:
    """See `gpu_checks.agreement`."""
    found = gpu_checks.agreement(bench.trained(), cifar10_files.load(bench.data).test_NCHW[:1000], bench.device)
    bench.figures["agreement"] = found
    for precision, row in found.items():
        print(
            f"predict on {bench.device} in {precision} against the CPU in fp32: largest difference of a probability "
            f"{row['largest_difference']:.1e}, same first class {row['same_class']:,} of {row['count']:,}"
        )


def measure_predict(bench: Bench) -> None:
    """See `gpu_checks.predict_speed` and `gpu_checks.network_speed`."""
    images_NCHW = cifar10_files.load(bench.data).test_NCHW
    found = gpu_checks.predict_speed(bench.trained(), images_NCHW, bench.device, bench.work)
    print(
        f"imgcls predict: {found['count']:,} files of 32 x 32, {found['wall_sec']:.1f} s with the start-up "
        f"({found['start_sec']:.1f} s for one file): {found['images_per_sec']:,.0f} images/s after it"
    )
    small = {} if bench.arguments.limit is None else {"batch_size": 2, "batches": 1}
    speeds = gpu_checks.network_speed(bench.device, **small)
    bench.figures["predict"] = found | {"resnet50_images_per_sec": speeds}
    listed = ", ".join(f"{precision} {speed:,.0f}" for precision, speed in speeds.items())
    print(f"ResNet-50 at 224 x 224, from bytes to probabilities, in images/s: {listed}")


PARTS: dict[str, Callable[[Bench], None]] = {
    "record": measure_record,
    "imgcls": measure_imgcls,
    "wall": measure_wall,
    "overhead": measure_overhead,
    "resume": check_resume,
    "agreement": check_agreement,
    "predict": measure_predict,
}


def _describe(title: str, results: list[dict[str, Any]]) -> None:
    print(f"{title}: {len(results)} seeds, {results[0]['precision']}")
    for key, label, form in (
        ("top1", "test accuracy", ".2%"),
        ("six_views_top1", "with six views", ".2%"),
        ("train_sec", "training seconds", ".2f"),
        ("images_per_sec", "images/s", ",.0f"),
        ("peak_mib", "peak memory in MiB", ",.0f"),
    ):
        print(f"  {label}: {runs.spread([float(result[key]) for result in results], form)}", flush=True)


def _reset_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _peak_mib(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else 0.0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--recipes", nargs="+", default=["cnn-94.toml"], help="files in configs/; the first serves the other parts"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="for imgcls's recipes; may be repeated"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="all by default")
    parser.add_argument("--output", type=Path, help="write all figures here, as JSON")
    # To try every part out on a machine without a GPU, in seconds.
    parser.add_argument("--device", default="cuda", help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--epochs-fraction", type=float, default=1.0, help=argparse.SUPPRESS)
    return parser


def main() -> int:
    arguments = _parser().parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here: nothing was measured")
        return 0
    failed = []
    with cifar10_files.opened(arguments.data, limit=arguments.limit) as data, tempfile.TemporaryDirectory() as work:
        bench = Bench(arguments, data, Path(work), device)
        bench.figures["set"] = arguments.set
        hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU, only to try this out"
        bench.figures["about"] = f"{hardware}; {runs.heading(data)}"
        print(bench.figures["about"], flush=True)
        for part in arguments.parts:
            try:
                PARTS[part](bench)
            except Exception:
                # The machine is dear: the other parts are still worth having.
                traceback.print_exc()
                failed.append(part)
            if arguments.output is not None:
                arguments.output.write_text(json.dumps(bench.figures, indent=1), encoding="utf-8")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
