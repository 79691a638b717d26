"""The answer of `imgcls export`."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

from imgcls.export.parity import Parity
from imgcls.export.request import Precision
from imgcls.host.versions import versions

SCHEMA = 1
# Fewer images to calibrate on, or to compare on, are few.
ENOUGH = 100
PACKAGES = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "executorch", "pillow", "numpy")


@dataclass(frozen=True)
class Variant:
    """One form of the model, measured on the same images as the others.

    Attributes:
        name: `torch` for the model itself, `fp32`, `fp16`, `int8`, or the format where it has no others.
        size_bytes: of its file.
        ms_per_image: median time for one image at a time, on the CPU.
        parity: with the model's own answers; None for the model itself.
    """

    name: str
    size_bytes: int
    ms_per_image: float
    parity: Parity | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        values: dict[str, Any] = {
            "name": self.name,
            "size_bytes": self.size_bytes,
            "ms_per_picture": round(self.ms_per_image, 3),
        }
        if self.parity is not None:
            compared = asdict(self.parity)
            # The key stays what version 0.1 wrote.
            compared["num_pictures"] = compared.pop("num_images")
            values["top1_agreement"] = compared.pop("top1")
            values |= compared
        return values


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how it compares.

    Attributes:
        output: the file.
        format: the target's name, such as `onnx`.
        sha256: of the file.
        model: `LoadedModel.describe()` of what was exported.
        variants: the model itself first, the written file last.
        num_drawn: how many of the compared images are imgcls's own drawings; the rest are the folder's.
        folder: where the other images came from, or None.
        num_calibrated: how many of the folder's images set the ranges of int8, none of which was compared; 0 elsewhere.
        total_bytes: of a folder, with all its files; 0 where the output is a file.
        transform_parity: how whole images through the graph's own transform compare with Pillow's; None where the
            graph holds none.
    """

    output: Path
    format: str
    sha256: str
    model: dict[str, Any]
    variants: tuple[Variant, ...]
    num_drawn: int
    folder: Path | None = None
    num_calibrated: int = 0
    total_bytes: int = 0
    transform_parity: Parity | None = None
    versions: dict[str, str] = field(default_factory=lambda: versions(PACKAGES))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the figures don't show by themselves: how few images they rest on."""
        compared = self.written.parity.num_images if self.written.parity else 0
        if not self.num_calibrated or min(self.num_calibrated, compared) >= ENOUGH:
            return ()
        calibrated = f"{self.num_calibrated} {'image' if self.num_calibrated == 1 else 'images'}"
        others = f"{compared} drawn here" if self.num_drawn else f"{compared} {'other' if compared == 1 else 'others'}"
        return (
            f"calibrated on {calibrated} and compared on {others}, which is few to judge int8 by: "
            f"name a folder of {2 * ENOUGH} different images or more",
        )

    @property
    def written(self) -> Variant:
        """The file's own figures."""
        return self.variants[-1]

    def to_dict(self) -> dict[str, Any]:
        """The JSON answer."""
        return {
            "schema": SCHEMA,
            "output": str(self.output),
            "format": self.format,
            "precision": self.written.name if self.written.name in get_args(Precision) else "fp32",
            "sha256": self.sha256,
            "model": self.model,
            **{key: value for key, value in self.written.to_dict().items() if key != "name"},
            **({"total_bytes": self.total_bytes} if self.total_bytes else {}),
            "drawn_pictures": self.num_drawn,
            "folder": None if self.folder is None else str(self.folder),
            "calibrated_on": self.num_calibrated,
            "with_transform": None if self.transform_parity is None else asdict(self.transform_parity),
            "variants": [variant.to_dict() for variant in self.variants],
            "warnings": list(self.warnings),
            "versions": self.versions,
        }


def first_reason(exc: BaseException) -> str:
    """The first line of what went wrong first: what exporters themselves say of it is advice to their developers."""
    while exc.__cause__ is not None:
        exc = exc.__cause__
    return str(exc).strip().partition("\n")[0] or type(exc).__name__
