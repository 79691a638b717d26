"""What an export is asked for, whatever the target."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Precision = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """How to write a model.

    Attributes:
        precision: of its arithmetic.
        folder: images to compare on beside the drawn ones, and to calibrate on.
        with_transform: put resize, crop and normalisation into the graph, which then takes decoded RGB bytes.
        device: `auto`, `cpu` or `cuda`: what native code is compiled for.
        web_runtime: the npm package onnxruntime-web, for web sites: its file, its folder, or one with `node_modules`.
        overwrite: replace what is there.
        on_step: told what is being done.
    """

    precision: Precision = "fp32"
    folder: Path | None = None
    with_transform: bool = False
    device: str = "auto"
    web_runtime: Path | None = None
    overwrite: bool = False
    on_step: Callable[[str], None] = lambda _step: None
