"""How long `imgcls eval --html` takes, how large its page is, and when a browser shows it.

Measured with the bundled `cifar10-cnn` on a folder of CIFAR-10's images (`train/` has 50,000, `test/` 10,000), each run
in a process of its own, beside the same evaluation without the page. Time to first paint is what Chromium reports for
the page opened from disk (median of three); "usable" is when its script has drawn everything and the previews are read.

    python benchmarks/eval_report.py DATA [--splits test,train] [--model cifar10-cnn]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--splits", default="test,train")
    parser.add_argument("--model", default="cifar10-cnn")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for split in arguments.splits.split(","):
            command = [sys.executable, "-m", "imgcls", "eval", arguments.model, "--data", str(arguments.data)]
            command += ["--split", split, "-q", "-f", "json"]
            # The first run decodes the images and keeps them; the two that count find them decoded.
            run(command)
            plain = run(command)
            page = Path(folder, f"{split}.html")
            whole = run([*command, "--html", str(page)])
            # The page stands or falls with its heat maps: without them, what is left.
            without = run([*command, "--html", str(Path(folder, "without.html")), "--heat-maps", "0"])
            count = sum(1 for _ in (arguments.data / split).rglob("*.jpg"))
            print(f"{split}: {count:,} images")
            print(f"  eval alone           {plain:7.1f} s")
            extra = f"{whole - plain:+.1f} s; without heat maps {without - plain:+.1f} s"
            print(f"  eval --html          {whole:7.1f} s ({extra})")
            print(f"  page                 {page.stat().st_size / 2**20:7.1f} MiB")
            paint, usable = opened(page)
            print(f"  first paint          {paint:7.0f} ms")
            print(f"  usable, all read     {usable:7.0f} ms")


def run(command: list[str]) -> float:
    """Seconds that a command takes."""
    started = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def opened(path: Path) -> tuple[float, float]:
    """Milliseconds from the start of navigation to the first contentful paint, and to the end of the page's script."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    from chromium import PROGRAM, started_chromium

    if PROGRAM is None:
        return float("nan"), float("nan")
    paints, ends = [], []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder, started_chromium(Path(folder)) as page:
            page.open(path.absolute().as_uri(), width_px=1400, height_px=900)
            paints.append(page.run("performance.getEntriesByName('first-contentful-paint')[0]?.startTime"))
            ends.append(page.run("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"))
    return statistics.median(paints), statistics.median(ends)


if __name__ == "__main__":
    main()
