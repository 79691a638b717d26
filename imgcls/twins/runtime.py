"""Which runtime answers for a model: PyTorch, or ONNX Runtime with the model's twin. The one place that decides.

The command, `eval`, the Python API and a server ask here. Importing this imports no torch, and where a twin is in the
cache, neither does asking.
"""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from imgcls.errors import DeviceError, ImgclsError, ModelError, UsageError
from imgcls.host.accelerator_signs import may_have_accelerator
from imgcls.models.onnx.graph import INSTALL_HINT
from imgcls.twins.cache import Twin, failure_of, has_former_twin, open_twin, remember_failure
from imgcls.twins.calibration import Calibration
from imgcls.twins.identity import Identity, identify
from imgcls.twins.upcoming import NothingKnown, Upcoming

if TYPE_CHECKING:
    from imgcls.models.loaded_model import LoadedModel

Runtime = Literal["auto", "torch", "onnx"]
# Making a twin takes 3 to 12 s, and it saves 3 to 17 ms per image of 224 x 224 (ResNet-18 to efficientnet-lite0, two
# cores); smaller images are cheaper by their area.
PAYING_IMAGES = 600
PAYING_SIDE_PX = 224
NEEDED_TO_RUN = ("onnxruntime",)
NEEDED_TO_MAKE = ("onnxruntime", "onnx", "onnxscript")


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinRequest:
    """A model, where it shall run, and what there is to do.

    Attributes:
        spec: as `--model` takes it.
        weights, labels, ema: as `load_model` takes them.
        runtime: what was asked for.
        device: what was asked for, such as `auto`.
        precision: `fp32`, or `int8`, which only `onnx` has.
        calibration: what shapes an int8 twin; None for one that is there.
        upcoming: the images that are to come: they decide whether a twin pays, and the first few check it.
        on_step: told, in a sentence, when something is done that takes seconds.
    """

    spec: str
    weights: Path | None = None
    labels: Sequence[str] | None = None
    ema: bool = False
    runtime: Runtime = "auto"
    device: str = "auto"
    precision: Literal["fp32", "int8"] = "fp32"
    calibration: Calibration | None = None
    upcoming: Upcoming = field(default_factory=NothingKnown)
    on_step: Callable[[str], None] = lambda _step: None

    def identity(self) -> Identity | None:
        """Of the model; None as long as it can't be told."""
        return identify(self.spec, weights=self.weights, labels=self.labels, ema=self.ema, precision=self.precision)


class FoundTwin(NamedTuple):
    """What the cache had.

    Attributes:
        twin: ready to answer, or None.
        is_wanted: whether one shall be made as soon as the model is loaded.
        notes: what a person should know, one sentence each.
    """

    twin: Twin | None
    is_wanted: bool = False
    notes: tuple[str, ...] = ()


def find_twin(request: TwinRequest) -> FoundTwin:
    """A model's twin from the cache, where the request is one for ONNX Runtime.

    Raises:
        DeviceError: `onnx` was asked for, and onnxruntime isn't installed or has no such device.
    """
    if not _is_for_twin(request):
        return FoundTwin(None)
    identity = request.identity()
    if identity is None:
        return FoundTwin(None, is_wanted=True)
    try:
        twin = open_twin(identity, device=_device(request))
    except ImgclsError as exc:
        if isinstance(exc, DeviceError) and request.runtime == "onnx":
            raise
        return FoundTwin(None, is_wanted=True, notes=(f"{exc.message}: it is made anew",))
    told = request.calibration
    if twin is not None and told is not None and twin.calibration != told.fingerprint:
        twin = None
    if twin is None and told is None and request.precision == "int8":
        raise UsageError(
            f"{request.spec} has no int8 twin yet, and making one takes images to calibrate on",
            hint="add --calibrate DIR, a folder of typical images",
        )
    return FoundTwin(twin, is_wanted=twin is None)


def make_wanted_twin(request: TwinRequest, model: "LoadedModel", found: FoundTwin) -> FoundTwin:
    """Make the twin of a model that had none, where there is enough to do for it.

    Args:
        request: as `find_twin` got it.
        model: loaded for the same request.
        found: by `find_twin`.
    Returns:
        The twin; or none, with the reason where a person may have expected one.
    Raises:
        ImgclsError: `onnx` was asked for, and there is no way.
    """
    identity = request.identity()
    if not found.is_wanted or identity is None:
        if request.runtime == "onnx":
            raise ModelError(f"{request.spec} has no ONNX twin", hint="leave out --runtime onnx")
        return FoundTwin(None, notes=found.notes)
    was_there = bool(found.notes) or has_former_twin(identity)
    is_asked_for = request.runtime == "onnx"
    if not (is_asked_for or was_there or _pays(request, model)):
        return FoundTwin(None)
    missing = _missing(NEEDED_TO_MAKE)
    if not is_asked_for and (missing or failure_of(identity)):
        return FoundTwin(None)
    if missing:
        raise DeviceError(f"an ONNX twin needs {' and '.join(missing)}", hint=INSTALL_HINT)
    for note in found.notes:
        request.on_step(note)
    kind, way_out = ("int8", "") if identity.is_int8 else ("ONNX", " (--runtime torch goes without)")
    request.on_step(f"making the {kind} twin of {model.name}, once, for faster runs{way_out}")
    try:
        from imgcls.twins.making import make_twin

        make_twin(model, identity, upcoming=request.upcoming, calibration=request.calibration, on_step=request.on_step)
        return FoundTwin(open_twin(identity, device=_device(request)))
    except ImgclsError as exc:
        if is_asked_for:
            raise
        if isinstance(exc, ModelError):
            remember_failure(identity, exc.message)
        return FoundTwin(None, notes=(f"no ONNX twin, so PyTorch is used: {exc.message}",))


def can_make_twins() -> bool:
    """Whether the `onnx` extra is installed."""
    return not _missing(NEEDED_TO_MAKE)


def _is_for_twin(request: TwinRequest) -> bool:
    if request.runtime == "onnx":
        return True
    if request.runtime == "torch" or _missing(NEEDED_TO_RUN):
        return False
    return request.device == "cpu" or (request.device == "auto" and not may_have_accelerator())


def _device(request: TwinRequest) -> str:
    return "cpu" if request.runtime == "auto" else request.device


def _pays(request: TwinRequest, model: "LoadedModel") -> bool:
    height, width = model.transform.size_px
    return request.upcoming.are_at_least(max(PAYING_IMAGES * PAYING_SIDE_PX**2 // (height * width), 1))


def _missing(packages: Sequence[str]) -> list[str]:
    return [name for name in packages if importlib.util.find_spec(name) is None]
