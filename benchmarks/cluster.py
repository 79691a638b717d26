"""What `predict --ray` costs and how far it reaches; each part against its baseline in the same run, on the same files.

    python benchmarks/cluster.py overhead [--images 20000]   --ray local against plain predict, images/s once started
    python benchmarks/cluster.py reading [--images 2000]     loose files, a tar, a zip, a local S3 server, images/s
    python benchmarks/cluster.py names [--names 10000000]    seconds and memory of listing so many names in blocks
    python benchmarks/cluster.py driver [--seconds 20]       SIMULATED workers: where the driver saturates

Needs the extras `ray`, `remote` and `dev`. Images are noise of 64 x 64 pixels, made here. `driver` starts real Ray
actors, which sleep for the time that a part takes instead of computing it; its figures say so.
"""

import argparse
import io
import os
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

ROUNDS = 3


def make_images(folder: Path, count: int) -> list[Path]:
    """Different JPEGs."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    made = []
    for number in range(count):
        small = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        made.append(folder / f"{number:06}.jpg")
        small.resize((64, 64)).save(made[-1], quality=90)
    return made


def predict(*arguments: str, cwd: Path) -> tuple[float, int]:
    """Seconds of a run, and how many images it told of."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "imgcls", "predict", "-m", "cifar10-cnn", "--runtime", "torch", *arguments],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 4):
        raise SystemExit(done.stderr)
    line = next(line for line in done.stderr.splitlines() if "images:" in line)
    return time.monotonic() - began, int(line.split()[0].replace(",", ""))


def rates(small: tuple[str, ...], large: tuple[str, ...], cwd: Path) -> float:
    """Images/s once started: the difference of a large and a small run."""
    (short_sec, few), (long_sec, many) = predict(*small, cwd=cwd), predict(*large, cwd=cwd)
    return (many - few) / (long_sec - short_sec)


def overhead(arguments: argparse.Namespace) -> None:
    """`--ray local` against one process, in turn."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        make_images(work / "large", arguments.images)
        make_images(work / "small", arguments.images // 20)
        found: dict[str, list[float]] = {"plain": [], "ray": []}
        for number in range(ROUNDS):
            for kind, options in (("plain", ()), ("ray", ("--ray", "local"))):
                suffix = ".jsonl" if kind == "plain" else ""
                runs = [(f"{size}", *options, "-o", f"{kind}-{size}-{number}{suffix}") for size in ("small", "large")]
                found[kind].append(rates(runs[0], runs[1], work))
                print(f"{kind}: {found[kind][-1]:.0f} images/s", flush=True)
        plain, spread = (statistics.median(found[kind]) for kind in ("plain", "ray"))
        print(f"median of {ROUNDS}: plain {plain:.0f}, --ray local {spread:.0f} images/s, ratio {spread / plain:.2f}")


def reading(arguments: argparse.Namespace) -> None:
    """The same images loose, in archives and from a server, in turn; start included, as it is the same for all."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from s3_server import CREDENTIALS, S3Server

    os.environ |= CREDENTIALS
    server = S3Server()
    os.environ["AWS_ENDPOINT_URL"] = server.url
    server.client.create_bucket(Bucket="data")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        images = make_images(work / "in", arguments.images)
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as tar, zipfile.ZipFile(work / "s.zip", "w") as zipped:
            for image in images:
                tar.add(image, image.name)
                zipped.write(image, image.name)
                server.put(f"in/{image.name}", image.read_bytes())
        (work / "s.tar").write_bytes(content.getvalue())
        server.put("s.tar", content.getvalue())
        kinds = {
            "loose": "in",
            "tar": "s.tar",
            "zip": "s.zip",
            "s3 tar": "s3://data/s.tar",
            "s3 loose": "s3://data/in/",
        }
        found: dict[str, list[float]] = {kind: [] for kind in kinds}
        for number in range(ROUNDS):
            for kind, place in kinds.items():
                seconds, count = predict(place, "-o", f"{kind.replace(' ', '')}-{number}.jsonl", cwd=work)
                found[kind].append(count / seconds)
        base = statistics.median(found["loose"])
        for kind, each in found.items():
            middle = statistics.median(each)
            print(f"{kind}: {middle:.0f} images/s, {middle / base:.2f} of loose files")
    server.close()


def names(arguments: argparse.Namespace) -> None:
    """Names that lead nowhere, through the code that lists and cuts them."""
    from imgcls.images.inputs.selection import InputSelection
    from imgcls.inference.cluster.blocks import cut_blocks

    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        for number in range(arguments.names):
            file.write(f"s3://bucket/some/folder/of/photos/{number:012}.jpg\n")
        file.flush()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.monotonic()
        count = blocks = 0
        for block in cut_blocks(InputSelection((), file.name).open(opens_archives=False), size=1000):
            count, blocks = count + len(block.sources), blocks + 1
        seconds = time.monotonic() - began
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{count:,} names in {blocks:,} blocks: {seconds:.0f} s, {count / seconds:,.0f} names/s, "
        f"at most {after / 1024:.0f} MiB, {(after - before) / 1024:.0f} of them for it"
    )


class SleepingWorker:
    """In the place of `BlockWorker`: the time of a part, without the work."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def prepare(self, _packed: object) -> dict[str, object]:
        """Ready at once."""
        return {"device": "simulated", "versions": {}, "node": "one"}

    def progress(self) -> tuple[int, int]:
        """Nothing to tell."""
        return 0, 0

    def classify(self, block: object, *, batch_size: int) -> object:
        """Sleep."""
        from imgcls.inference.cluster.worker import PartResult
        from imgcls.outputs.summary import Summary

        time.sleep(self._seconds)
        num_rows = len(block.sources)  # type: ignore[attr-defined]
        return PartResult(f"part-{block.id}.parquet", num_rows, "", Summary(num_ok=num_rows), "")  # type: ignore


def driver(arguments: argparse.Namespace) -> None:
    """More and more simulated workers, each of which would classify 300 images/s on one core."""
    import itertools
    from types import SimpleNamespace

    from imgcls.images.inputs.source import Source
    from imgcls.inference.cluster import pool as pools
    from imgcls.inference.cluster.blocks import cut_blocks
    from imgcls.inference.cluster.session import Shape, ray_session

    pools.BlockWorker = SleepingWorker  # type: ignore
    for count in (1, 8, 32):
        with ray_session("local", is_verbose=False, store_bytes=0) as ray:
            task: object = SimpleNamespace(settings=SimpleNamespace(batch_size=32))
            pool = pools.WorkerPool(ray, task, None, Shape(count, count, 0, 0))  # type: ignore
            kind = ray.remote(concurrency_groups={"talk": 1}, num_cpus=0)(SleepingWorker)
            pool._make = lambda kind=kind: kind.remote(1000 / arguments.rate)

            def sources() -> Iterator[Source]:
                return (Source(f"{number}.jpg", url=f"s3://b/{number}.jpg") for number in itertools.count())

            began, done, busy = None, 0, time.process_time()
            for result in pool.run(cut_blocks(sources(), size=1000), lambda: False):
                if pool.status.num_workers == count and began is None:
                    began, done, busy = time.monotonic(), 0, time.process_time()
                if result is not None:
                    done += result.num_rows
                if began is not None and time.monotonic() - began > arguments.seconds:
                    break
            assert began is not None
            seconds = time.monotonic() - began
            share = (time.process_time() - busy) / seconds
            print(
                f"SIMULATED, {count} workers of {arguments.rate} images/s: {done / seconds:,.0f} images/s, of "
                f"{count * arguments.rate:,} possible; the driver takes {share:.0%} of a core; "
                f"1 billion images: {1e9 / max(done / seconds, 1e-9) / 86400:.1f} days",
                flush=True,
            )
            pool.close()


def main() -> None:
    """Choose a part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["overhead", "reading", "names", "driver"])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--names", type=int, default=10_000_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=int, default=300)
    arguments = parser.parse_args()
    {"overhead": overhead, "reading": reading, "names": names, "driver": driver}[arguments.part](arguments)


if __name__ == "__main__":
    main()
