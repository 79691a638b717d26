"""ONNX Runtime's files for browsers, from its npm package: unpacked, in `node_modules`, or as `npm pack` leaves it."""

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

from imgcls.errors import DeviceError

PACKAGE = "onnxruntime-web"
HINT = (
    f"npm pack {PACKAGE}, then name its file: --ort {PACKAGE}-VERSION.tgz "
    f"(or a folder in which npm install {PACKAGE} has run)"
)
# Of each runtime: what a page imports, what that loads, and the compiled code.
RUNTIMES = {
    "wasm": ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"),
    "webgpu": ("ort.jspi.min.mjs", "ort-wasm-simd-threaded.jspi.mjs", "ort-wasm-simd-threaded.jspi.wasm"),
}
NEEDED = "wasm"
# Beside them, so that whoever passes the files on passes on what they are.
ABOUT = ("package.json", "README.md", "LICENSE", "ThirdPartyNotices.txt")
# Far more than any of them has; a package that holds more is none.
MOST_BYTES = 1 << 28


@dataclass(frozen=True)
class RuntimeFiles:
    """The files of one version.

    Attributes:
        version: of the package.
        runtimes: by name (`wasm`, `webgpu`), the names of its three files, in the order of `RUNTIMES`.
        contents: of all files, by name.
    """

    version: str
    runtimes: dict[str, tuple[str, str, str]]
    contents: dict[str, bytes]


def find_runtime_files(told: Path | None) -> RuntimeFiles:
    """Read the files that a site needs.

    Args:
        told: the package's file, its folder, or a folder with `node_modules`; None looks into the working folder's
            `node_modules` and those above it.
    Raises:
        DeviceError: there are none, or not those that are needed.
    """
    if told is None:
        here = Path.cwd()
        places = [folder / "node_modules" / PACKAGE for folder in (here, *here.parents)]
    elif told.is_file():
        return _chosen(_from_archive(told), str(told))
    else:
        places = [told, told / "node_modules" / PACKAGE, told / PACKAGE, told / "package"]
    for place in places:
        if (place / "package.json").is_file() and (place / "dist").is_dir():
            return _chosen(_from_folder(place), str(place))
    where = "in node_modules, here or above" if told is None else f"in {told}"
    raise DeviceError(f"a web site needs the npm package {PACKAGE}, which isn't {where}", hint=HINT)


def _names() -> dict[str, str]:
    """Path in the package, and name in a site."""
    dist = {f"dist/{name}": name for names in RUNTIMES.values() for name in names}
    return dist | {name: name for name in ABOUT}


def _from_folder(folder: Path) -> dict[str, bytes]:
    try:
        return {name: (folder / path).read_bytes() for path, name in _names().items() if (folder / path).is_file()}
    except OSError as exc:
        raise DeviceError(f"{folder} can't be read: {exc.strerror or exc}", hint=HINT) from exc


def _from_archive(path: Path) -> dict[str, bytes]:
    names = {f"package/{inner}": name for inner, name in _names().items()}
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = names.get(member.name)
                if name is None or not member.isfile():
                    continue
                file = archive.extractfile(member) if member.size <= MOST_BYTES else None
                if file is None:
                    raise DeviceError(f"{member.name} in {path} is too large to be part of {PACKAGE}", hint=HINT)
                found[name] = file.read()
    except (OSError, EOFError, tarfile.TarError) as exc:
        raise DeviceError(f"{path} can't be read: {exc}", hint=HINT) from exc
    return found


def _chosen(contents: dict[str, bytes], where: str) -> RuntimeFiles:
    try:
        about = json.loads(contents["package.json"])
        name, version = about["name"], str(about["version"])
    except (KeyError, TypeError, ValueError) as exc:
        raise DeviceError(f"{where} is no npm package", hint=HINT) from exc
    if name != PACKAGE:
        raise DeviceError(f"{where} is {name!r}, not {PACKAGE}", hint=HINT)
    runtimes = {name: files for name, files in RUNTIMES.items() if set(files) <= set(contents)}
    if NEEDED not in runtimes:
        missing = ", ".join(file for file in RUNTIMES[NEEDED] if file not in contents)
        raise DeviceError(f"{where} ({PACKAGE} {version}) lacks {missing}", hint=HINT)
    wanted = {*ABOUT, *(file for files in runtimes.values() for file in files)}
    return RuntimeFiles(version, runtimes, {name: content for name, content in contents.items() if name in wanted})
