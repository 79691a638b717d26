"""Which model a text names, told without importing torch: enough to find its twin in the cache."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgcls.errors import ImgclsError
from imgcls.host.digests import file_sha256
from imgcls.host.versions import versions
from imgcls.models.families.bundled import BUNDLED
from imgcls.models.onnx.model import is_onnx
from imgcls.models.registry import EXPORTED, find_checkpoint, find_family

# Rises when a file in the cache is read or written in another way.
TWIN_FORMAT = 1
# Whose versions shape what is exported and how it is run; those of the network's own package come on top.
EXPORTERS = ("torch", "onnx", "onnxscript", "onnxruntime")
PACKAGE_OF_SOURCE = {"torchvision": ("torchvision",), "timm": ("timm",)}


@dataclass(frozen=True, slots=True)
class Identity:
    """A model, and what would run it.

    Attributes:
        name: for people and for the file's name.
        model: weights by their SHA-256, network, transform, labels, precision: plain values.
        versions: of the packages that make a twin and run it.
    """

    name: str
    model: dict[str, Any]
    versions: dict[str, str]

    @property
    def key(self) -> dict[str, Any]:
        """What a twin's file says of itself, and must say to be used."""
        return {"format": TWIN_FORMAT, "model": self.model, "versions": self.versions}

    @property
    def is_int8(self) -> bool:
        """Whether the twin computes in 8-bit integers."""
        return self.model.get("precision") == "int8"

    @property
    def prefix(self) -> str:
        """How the file's name begins, whatever the versions."""
        readable = "".join(char if char.isalnum() or char in "-_." else "-" for char in self.name)[-60:].lstrip(".")
        return f"{readable}-{_digest(self.model)[:16]}-"

    @property
    def file_name(self) -> str:
        """Of the twin."""
        return f"{self.prefix}{_digest({'format': TWIN_FORMAT, **self.versions})[:8]}.onnx"


def identify(
    spec: str,
    *,
    weights: Path | None = None,
    labels: Sequence[str] | None = None,
    ema: bool = False,
    precision: str = "fp32",
) -> Identity | None:
    """The model that `load_model` would load.

    Args:
        spec: see `load_model`.
        weights: see `load_model`.
        labels: see `load_model`.
        ema: see `load_model`.
        precision: of the twin, `fp32` or `int8`.
    Returns:
        None where it can't be told yet, as before a download; or where it is an exported file already.
    """
    try:
        found = _identify(spec, weights)
    except (ImgclsError, OSError):
        # Said better where the model is loaded.
        return None
    if found is None:
        return None
    model, packages = found
    told = {"labels": list(labels) if labels is not None else None, "ema": ema or None}
    model |= {key: value for key, value in told.items() if value is not None}
    name = model.get("name") or "checkpoint"
    return Identity(name, {**model, "precision": precision}, versions((*EXPORTERS, *packages)))


def _identify(spec: str, weights: Path | None) -> tuple[dict[str, Any], tuple[str, ...]] | None:
    path = find_checkpoint(spec)
    if path is not None:
        if is_onnx(path) or path.suffix.lower() in EXPORTED:
            return None
        model: dict[str, Any] = {"checkpoint": file_sha256(path), "name": spec if spec in BUNDLED else ""}
        if weights is not None:
            model["weights"] = file_sha256(weights)
        return model, tuple(package for packages in PACKAGE_OF_SOURCE.values() for package in packages)
    family = find_family(spec)
    if family is None:
        return None
    entry = family.entry(spec)
    if weights is None:
        if family.weights_state(entry) != "here":
            return None
        weights = family.weights_file(entry)
    model = {
        "network": entry.network or spec,
        "name": spec,
        "arguments": dict(entry.arguments),
        "transform": entry.transform.to_dict(),
        "classes": list(entry.classes),
        "weights": file_sha256(weights),
    }
    return model, PACKAGE_OF_SOURCE.get(family.source, ())


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()
