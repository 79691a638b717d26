"""The model that `imgcls predict` asks, and how it is asked."""

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from imgcls.cli import console, foreign_model, options
from imgcls.cli.help.completion import complete_model
from imgcls.cli.process import startup
from imgcls.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from imgcls.images.inputs.source import Source
    from imgcls.inference.backends.backend import LoadedBackend, LoadOptions

PANEL = "Speed against exactness"
DEFAULT_MODEL = "alexnet"


class Precision(StrEnum):
    """What `--precision` takes."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    INT8 = "int8"


class Views(StrEnum):
    """What `--tta` takes, as in eval."""

    FLIP = "flip"
    FLIP_SHIFT = "flip+shift"


class AcceptIf(StrEnum):
    """What `--accept-if` takes."""

    SINGLE = "single"


class ModelOptions(NamedTuple):
    """Which model, and how many of its classes; see each option's help."""

    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="A checkpoint, a run folder, an .onnx file, or a name that 'imgcls models' lists; by default "
            "IMGCLS_MODEL, else alexnet. Several with --ensemble.",
            metavar="MODEL",
            autocompletion=complete_model,
        ),
    ] = None
    ensemble: options.Ensemble = None
    weights: options.Weights = None
    ema: options.Ema = False
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, help="How many classes to name.")] = 5
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", min=0, max=1, help="Mark answers less probable than this as uncertain."),
    ] = None
    tta: Annotated[
        Views | None,
        typer.Option("--tta", help="Average the logits of the image and its horizontal flip, or of six views."),
    ] = None
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--classes",
            help="Choose among these only, such as cat,dog; their probabilities add up to 1. May be repeated.",
            metavar="NAMES",
        ),
    ] = None
    accept_if: Annotated[
        AcceptIf | None,
        typer.Option("--accept-if", help="single: mark answers whose set of labels holds one as accepted (calibrate)."),
    ] = None
    device: options.Device = "auto"
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images the network sees at once.")] = 32
    workers: options.Workers = None
    runtime: options.RuntimeOption = options.Runtime.AUTO
    allow_code: options.AllowCode = False

    @property
    def names(self) -> tuple[str, ...]:
        """The models: those that were named, or the default one."""
        return tuple(self.models or (os.environ.get("IMGCLS_MODEL") or DEFAULT_MODEL,))

    @property
    def model(self) -> str:
        """The only model, or the first of an ensemble."""
        return self.names[0]

    def check_ensemble(self, foreign: foreign_model.ForeignOptions) -> None:
        """See that one model is named, or that several answer together, each saying itself what it is.

        Raises:
            UsageError: neither is so.
        """
        if self.ensemble is None and len(self.names) > 1:
            raise UsageError(f"{len(self.names)} models", hint="--ensemble mean lets them answer together")
        if self.ensemble is not None:
            options.check_of_one_model(weights=self.weights, ema=self.ema, foreign=foreign != type(foreign)())


class SpeedOptions(NamedTuple):
    """What makes a run faster, and its answers slightly others."""

    fast_decode: Annotated[
        bool,
        typer.Option(
            "--fast-decode", help="Scale JPEGs while decoding: faster, answers shift a little.", rich_help_panel=PANEL
        ),
    ] = False
    precision: Annotated[
        Precision,
        typer.Option(
            "--precision",
            help="bf16, fp16: faster where the device has it. int8: an int8 twin, up to 3 times as fast on a CPU.",
            rich_help_panel=PANEL,
        ),
    ] = Precision.FP32
    calibrate: Annotated[
        Path | None,
        typer.Option(
            "--calibrate",
            help="Typical images, to make the int8 twin and to check it; later runs find it in the cache.",
            metavar="DIR",
            rich_help_panel=PANEL,
        ),
    ] = None


def with_network(asked: ModelOptions) -> ModelOptions:
    """The same model, run by PyTorch where nothing else was asked for and it can be: an ONNX twin has no gradients."""
    is_free = asked.runtime is options.Runtime.AUTO and not asked.model.lower().endswith((".onnx", ".pt2"))
    return asked._replace(runtime=options.Runtime.TORCH) if is_free else asked


def load_model(
    asked: ModelOptions,
    speed: SpeedOptions,
    foreign: foreign_model.ForeignOptions,
    *,
    upcoming: "Callable[[], Iterable[Source]] | None",
    verbose: bool,
) -> "LoadedBackend":
    """Load the model, and say what is to be said of it.

    Args:
        asked: the model.
        speed: its precision.
        foreign: what it doesn't say of itself.
        upcoming: gives the inputs, as often as it is asked; None where they come only once.
        verbose: whether to name it and its device.
    Raises:
        ImgclsError: it can't be loaded.
    """
    asked.check_ensemble(foreign)
    from imgcls.inference.backends.backend import load_backend

    with startup.loading(), console.download_progress(f"the weights of {', '.join(asked.names)}") as downloading:
        from dataclasses import replace

        asked_for = load_options(asked, speed, foreign)
        told = replace(asked_for, progress=downloading, upcoming=upcoming, on_step=console.message)
        if asked.ensemble is None:
            loaded = load_backend(asked.model, told)
        else:
            from imgcls.inference.backends.ensemble import load_ensemble

            loaded = load_ensemble(asked.names, asked.ensemble.value, lambda name: load_backend(name, told))
    for note in loaded.notes:
        console.message(note)
    if verbose:
        console.message(loaded.remark)
    if asked.tta is not None:
        from imgcls.inference.backends.averaged_views import AveragedViews

        loaded = loaded._replace(backend=AveragedViews(loaded.backend, asked.tta.value))
    return loaded


def load_options(asked: ModelOptions, speed: SpeedOptions, foreign: foreign_model.ForeignOptions) -> "LoadOptions":
    """How the model is to be loaded, in the library's words."""
    from imgcls.inference.backends.backend import LoadOptions

    return LoadOptions(
        weights=asked.weights,
        device=asked.device,
        precision=speed.precision.value,
        calibrate=speed.calibrate,
        labels=foreign_model.read_labels(foreign.labels),
        transform=foreign.transform(),
        activation=foreign.told_activation(),
        output_name=foreign.output_name,
        ema=asked.ema,
        runtime=asked.runtime.value,
        allow_code=asked.allow_code,
    )
