"""Twins on disk: one file each, written whole, that says which model it answers for and carries its own SHA-256."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imgcls.errors import ImgclsError, ModelError
from imgcls.host import cache_folders
from imgcls.models.onnx.model import OnnxModel
from imgcls.twins.identity import Identity

# Beside the model's card in the file's metadata.
TWIN_KEY = "imgcls.twin"
# The oldest are deleted beyond this; a ViT-L takes 1.2 GiB, a ResNet-50 0.1.
MOST_BYTES = 8 * 2**30


def twins_folder() -> Path:
    """Where twins are kept."""
    return cache_folders.cache_folder() / "twins"


class Twin(OnnxModel):
    """A verified ONNX file that answers for a model: under its name, with its classes and its transform.

    Args:
        path: the file.
        identity: of the model.
        device: `auto`, `cpu`, `cuda`, ...
    Attributes:
        calibration: fingerprint of the images that shaped an int8 one; else empty.
    Raises:
        ModelError: damaged, or another model's.
        DeviceError: onnxruntime isn't installed, or has no such device.
    """

    def __init__(self, path: Path, identity: Identity, *, device: str = "cpu") -> None:
        super().__init__(path, device=device, prepacks=identity.is_int8)
        try:
            note = json.loads(self.metadata[TWIN_KEY])
            key, self._model = note["key"], dict(note["model"])
            self.calibration = str(note.get("calibration", ""))
        except (KeyError, TypeError, ValueError, RecursionError) as exc:
            raise ModelError(f"{path} is no twin: {exc!r}", hint=f"delete {path}") from exc
        # As JSON gives it back: tuples are lists.
        if key != json.loads(json.dumps(identity.key)):
            raise ModelError(f"{path} is another model's twin", hint=f"delete {path}")

    @property
    def id(self) -> str:
        """The model's: name and first digits of its weights' SHA-256."""
        return str(self._model["id"])

    def describe(self) -> dict[str, Any]:
        """What the model says of itself, so that records are the same whoever answers."""
        return dict(self._model)


def twin_path(identity: Identity) -> Path:
    """Where a model's twin is, or would be."""
    return twins_folder() / identity.file_name


def open_twin(identity: Identity, *, device: str = "cpu") -> Twin | None:
    """A model's twin from the cache; None where there is none.

    Raises:
        ModelError: there is one, but it is damaged or another model's.
        DeviceError: onnxruntime isn't installed, or has no such device.
    """
    path = twin_path(identity)
    return Twin(path, identity, device=device) if os.path.isfile(path) else None  # noqa: PTH113 - never an error


def has_former_twin(identity: Identity) -> bool:
    """Whether there is a twin of the same model, made with other versions."""
    return any(path.name != identity.file_name for path in _siblings(identity))


def remove_former_twins(identity: Identity) -> None:
    """Delete twins of the same model that other versions made, and the oldest of all where they take too much."""
    for path in _siblings(identity):
        if path.name != identity.file_name:
            with contextlib.suppress(OSError):
                path.unlink()
    with contextlib.suppress(OSError):
        files = [(path.stat().st_mtime, path.stat().st_size, path) for path in twins_folder().glob("*.onnx")]
        total = sum(size for _time, size, _path in files)
        for _time, size, path in sorted(files):
            if total <= MOST_BYTES or path.name == identity.file_name:
                break
            path.unlink()
            total -= size


def failure_of(identity: Identity) -> str:
    """Why a twin couldn't be made with these versions, remembered; empty where nobody tried."""
    try:
        return _failure_path(identity).read_text(encoding="utf-8")
    except (OSError, ValueError, ImgclsError):
        return ""


def remember_failure(identity: Identity, reason: str) -> None:
    """Note why a twin can't be made, so that not every run tries anew; an empty reason forgets it."""
    with contextlib.suppress(OSError, ImgclsError):
        path = _failure_path(identity)
        if reason:
            path.write_text(reason, encoding="utf-8")
        else:
            path.unlink(missing_ok=True)


def _failure_path(identity: Identity) -> Path:
    return twin_path(identity).with_suffix(".failed")


def _siblings(identity: Identity) -> Iterator[Path]:
    with contextlib.suppress(OSError, ImgclsError):
        for path in twins_folder().iterdir():
            if path.name.startswith(identity.prefix) and path.suffix == ".onnx":
                yield path
