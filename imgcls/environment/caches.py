"""Where weights and data are kept, what is there, and so what works without a network."""

import os
import shutil
import tempfile
from dataclasses import asdict
from importlib import resources
from pathlib import Path

from imgcls.environment.report import CacheResult, Check, OfflineResult, Status
from imgcls.host import cache_folders
from imgcls.host.digests import file_sha256

MIB = 2**20
# AlexNet's weights take 233 MiB, CIFAR-10 with its archive about 340.
LOW_DISK_MIB = 1024.0
WEIGHTS_SUFFIXES = (".pth", ".pt", ".safetensors")
# The default model's weights, as torchvision names the file; the digits begin the SHA-256 of its bytes.
# Written out because the catalogue that knows it needs torch, which may be what is broken.
ALEXNET_FILE = "alexnet-owt-7be5be79.pth"
ALEXNET_DIGITS = "7be5be79"


def probe_caches() -> tuple[CacheResult, ...]:
    """Look into every folder that imgcls writes to, and try to write there."""
    return (
        probe_folder("weights", cache_folders.weights_folder()),
        probe_folder("datasets", cache_folders.datasets_folder()),
        probe_folder("cache", cache_folders.cache_folder()),
    )


def probe_folder(kind: str, folder: Path) -> CacheResult:
    """Look into one folder; leaves no trace, also where the folder doesn't exist yet."""
    sizes = _file_sizes(folder)
    problem = _why_not_writable(folder)
    if kind == "weights":
        names = [path.name for path in sizes if path.suffix in WEIGHTS_SUFFIXES]
    else:
        names = [name for name in _listing(folder) if not name.startswith(".")]
    return CacheResult(
        kind=kind,
        path=str(folder),
        exists=os.path.isdir(folder),  # noqa: PTH112 - an answer, where Path raises for a folder above it
        writable=not problem,
        problem=problem,
        files=len(sizes),
        mib=round(sum(sizes.values()) / MIB, 1),
        names=tuple(sorted(names)),
        free_mib=_free_mib(folder),
    )


def check_cache(result: CacheResult) -> Check:
    """Judge one folder: unusable is a fault, full of use but closed to new files a warning."""
    name = result.kind
    data = asdict(result)
    if result.exists:
        count = "empty" if not result.files else f"{result.files} {plural('file', result.files)}, {result.mib:,.1f} MiB"
        listed = f": {', '.join(result.names)}" if result.names and result.kind != "cache" else ""
    else:
        count, listed = "not there yet", ""
    detail = f"{result.path} ({count}{listed})"
    if result.writable:
        return Check(name, Status.OK, detail, data=data)
    variable = "TORCH_HOME" if result.kind == "weights" else "IMGCLS_CACHE"
    advice = f"make it writable, or name another place: set {variable} to a folder of yours"
    # A shared folder that others fill is of use without being writable.
    status = Status.WARNING if result.files else Status.FAULT
    return Check(name, status, f"{detail} can't be written: {result.problem}", advice, data)


def check_disk(caches: tuple[CacheResult, ...]) -> Check:
    """Judge the room that is left on the disks of the caches."""
    free = {result.kind: result.free_mib for result in caches if result.free_mib is not None}
    data = {"free_mib": free}
    if not free:
        return Check("disk", Status.WARNING, "the room at the caches can't be read", data=data)
    kinds_by_room: dict[str, list[str]] = {}
    for kind, mib in free.items():
        kinds_by_room.setdefault(f"{mib / 1024:,.1f} GiB free", []).append(kind)
    detail = "; ".join(f"{room} at {', '.join(kinds)}" for room, kinds in kinds_by_room.items())
    if min(free.values()) < LOW_DISK_MIB:
        advice = "AlexNet's weights take 233 MiB and CIFAR-10 some 340: free some, or set IMGCLS_CACHE and TORCH_HOME"
        return Check("disk", Status.WARNING, detail, advice, data)
    return Check("disk", Status.OK, detail, data=data)


def probe_offline(
    weights: CacheResult, datasets: CacheResult, *, bundled_folder: Path | None = None
) -> tuple[OfflineResult, Check]:
    """Say which models and data sets can be used without a network.

    Args:
        weights: the weights folder as `probe_folder` saw it.
        datasets: the data sets' folder, likewise.
        bundled_folder: where the package's own models lie, if not in the package.
    """
    bundled = _bundled_names(bundled_folder)
    alexnet, digest_differs = _alexnet_is_here(Path(weights.path) / ALEXNET_FILE)
    others = tuple(name for name in weights.names if name != ALEXNET_FILE)
    forced = cache_folders.is_offline()
    result = OfflineResult(bundled=bundled, alexnet=alexnet, weights=others, datasets=datasets.names, forced=forced)
    data = asdict(result)
    alexnet_words = "yes" if alexnet else "no, its file is damaged" if digest_differs else "no"
    detail = (
        f"works without a network: {', '.join(f'{name} yes (bundled)' for name in bundled) or 'no bundled model'}; "
        f"alexnet {alexnet_words}; other weights {', '.join(others) or 'none'}; "
        f"data sets {', '.join(datasets.names) or 'none'}"
        f"{'; IMGCLS_OFFLINE is set' if forced else ''}"
    )
    if not bundled:
        advice = "this installation is damaged: pip install --force-reinstall --no-deps imgcls"
        return result, Check("offline", Status.FAULT, detail, advice, data)
    if digest_differs:
        advice = f"delete {Path(weights.path) / ALEXNET_FILE}; it is fetched again when it is needed"
        return result, Check("offline", Status.WARNING, detail, advice, data)
    if alexnet:
        return result, Check("offline", Status.OK, detail, data=data)
    advice = (
        f"for alexnet here: put {ALEXNET_FILE} into {weights.path}; or use -m {bundled[0]}"
        if forced
        else "to have alexnet here too, classify one image while there is a network: imgcls predict IMAGE"
    )
    return result, Check("offline", Status.WARNING if forced else Status.OK, detail, advice, data)


def plural(noun: str, count: int) -> str:
    """`file` or `files`."""
    return noun if count == 1 else f"{noun}s"


def _alexnet_is_here(file: Path) -> tuple[bool, bool]:
    # The second value tells a damaged file from a missing one.
    if not os.path.isfile(file):  # noqa: PTH113 - likewise
        return False, False
    try:
        whole = file_sha256(file).startswith(ALEXNET_DIGITS)
    except OSError:
        return False, False
    return whole, not whole


def _bundled_names(folder: Path | None) -> tuple[str, ...]:
    place = folder or resources.files("imgcls.models").joinpath("bundled")
    try:
        return tuple(sorted(entry.name[: -len(".pt")] for entry in place.iterdir() if entry.name.endswith(".pt")))
    except OSError:
        return ()


def _listing(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError:
        return []


def _file_sizes(folder: Path) -> dict[Path, int]:
    sizes = {}
    for base, _, names in os.walk(folder):
        for path in (Path(base, name) for name in names):
            try:
                sizes[path] = path.stat().st_size
            except OSError:
                continue
    return sizes


def _nearest_existing(folder: Path) -> Path:
    for candidate in (folder, *folder.absolute().parents):
        if os.path.exists(candidate):  # noqa: PTH110 - likewise
            return candidate
    return Path(folder.absolute().anchor)


def _why_not_writable(folder: Path) -> str:
    place = _nearest_existing(folder)
    if not place.is_dir():
        return f"{place} is a file, not a folder"
    try:
        with tempfile.TemporaryDirectory(prefix=".imgcls-", dir=place) as trial:
            Path(trial, "trial").write_bytes(b"\0" * 4096)
    except OSError as exc:
        return f"{exc.strerror or exc} ({place})"
    return ""


def _free_mib(folder: Path) -> float | None:
    try:
        return round(shutil.disk_usage(_nearest_existing(folder)).free / MIB, 1)
    except OSError:
        return None
