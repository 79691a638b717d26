"""The npm package onnxruntime-web: a real one where there is one, and a small one of our own making."""

import io
import json
import os
import tarfile
from pathlib import Path

from imgcls.errors import DeviceError
from imgcls.export.web.runtime_files import PACKAGE, RUNTIMES, find_runtime_files

ROOT = Path(__file__).parents[1]


def real_package() -> Path | None:
    """Where IMGCLS_ORT_WEB says, or the project's own node_modules."""
    for place in (os.environ.get("IMGCLS_ORT_WEB"), ROOT):
        if place:
            try:
                find_runtime_files(Path(place))
            except DeviceError:
                continue
            return Path(place)
    return None


REAL_PACKAGE = real_package()


def contents(*runtimes: str, name: str = PACKAGE) -> dict[str, bytes]:
    """Files of a package by their paths in it."""
    about = json.dumps({"name": name, "version": "9.8.7", "license": "MIT"}).encode()
    files = {f"dist/{file}": f"// {file}".encode() for each in runtimes for file in RUNTIMES[each]}
    return {"package.json": about, **files, "dist/ort.all.js": b"// too much"}


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    """As npm unpacks it."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def write_archive(path: Path, files: dict[str, bytes]) -> Path:
    """As `npm pack` leaves it."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path
