"""What shaped the answers of a run, as its outputs tell it."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from imgcls.host.versions import PACKAGES, versions
from imgcls.images.transform import Transform


@dataclass(frozen=True, slots=True)
class Origin:
    """A model and the options that it was asked with.

    Attributes:
        model: the `model` object of every JSON answer: name, weights, transform.
        classes: labels in the order of the network's outputs.
        transform: the preprocessing.
        device: where the network ran.
        top_k: how many classes a record names.
        threshold: below which answers are marked uncertain; None marks none.
        fast_decode: whether JPEGs were scaled while they were decoded.
        max_pixels: larger images were refused.
        decoding: further options of decoding that were asked for, by name; those that shape answers.
        runtime: what ran the network, `torch` or `onnxruntime`; no part of the digest, as both give the same answers.
    """

    model: dict[str, Any]
    classes: tuple[str, ...]
    transform: Transform
    device: str
    top_k: int
    threshold: float | None
    fast_decode: bool
    max_pixels: int
    decoding: dict[str, Any] = field(default_factory=dict)
    runtime: str = "torch"

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that change with whatever shapes an answer."""
        shape = {
            "model": self.model,
            "top_k": self.top_k,
            "threshold": self.threshold,
            "fast_decode": self.fast_decode,
            **self.decoding,
        }
        return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def versions(self) -> dict[str, str]:
        """Of whatever may have run the network."""
        return versions((*PACKAGES, "onnxruntime"))

    @property
    def options(self) -> dict[str, Any]:
        """What was asked for, for people."""
        return {
            "top_k": self.top_k,
            "threshold": self.threshold,
            "fast_decode": self.fast_decode,
            "max_pixels": self.max_pixels,
            **self.decoding,
        }
