"""`imgcls predict --explain`: which part of each image speaks for its class, as images in a folder."""

import json
import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from imgcls.errors import UsageError

if TYPE_CHECKING:
    from imgcls.evaluation.explanations.explainer import Explainer
    from imgcls.inference.backends.backend import Backend, LoadedBackend
    from imgcls.outputs.record import ImageRecord, KeptRecord
    from imgcls.outputs.summary import Summary

    OnRecord = Callable[[ImageRecord | KeptRecord, Summary], None]

PANEL = "Explanations"
# Beside the images: which one belongs to which input.
INDEX = "explanations.jsonl"
MAX_STEM = 80


class ExplainMethod(StrEnum):
    """`Method`, without what that imports."""

    AUTO = "auto"
    GRAD_CAM = "grad-cam"
    OCCLUSION = "occlusion"


class ExplainOptions(NamedTuple):
    """What of the command line asks for explanations; see each option's help."""

    explain: Annotated[
        Path | None,
        typer.Option(
            "--explain",
            help="Also write a PNG per image into this folder: the image beside its heat map for the first class.",
            metavar="DIR",
            readable=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    explain_class: Annotated[
        str | None,
        typer.Option("--explain-class", help="Explain this class instead.", metavar="NAME", rich_help_panel=PANEL),
    ] = None
    explain_method: Annotated[
        ExplainMethod,
        typer.Option(
            "--explain-method",
            help="grad-cam needs a PyTorch network; occlusion takes some 80 times as long as an answer.",
            rich_help_panel=PANEL,
        ),
    ] = ExplainMethod.AUTO

    def check(self, *, is_elsewhere: bool) -> None:
        """See that the options go together.

        Args:
            is_elsewhere: whether a server or a cluster answers.
        Raises:
            UsageError: a class without a folder, or a model that is elsewhere.
        """
        if self.explain is None and self.explain_class is not None:
            raise UsageError("--explain-class says what --explain shows", hint="--explain DIR")
        if self.explain is not None and is_elsewhere:
            raise UsageError(
                "--explain needs the model here, not at a server or on a cluster", hint="leave out --server and --ray"
            )

    def writer(self, loaded: "LoadedBackend") -> "ExplanationWriter | None":
        """What writes the images; None where none are asked for.

        Args:
            loaded: the model.
        Raises:
            UsageError: the model has no such class, or no gradients for grad-cam.
            OutputError: the folder can't be made.
        """
        if self.explain is None:
            return None
        from imgcls.host.files import output_error

        class_id = None if self.explain_class is None else _class_named(self.explain_class, loaded.backend.classes)
        explainer = _explainer(loaded.backend, self.explain_method)
        try:
            self.explain.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise output_error(self.explain, exc, option="--explain") from exc
        return ExplanationWriter(self.explain, explainer, loaded.backend.classes, class_id)


class ExplanationWriter:
    """Writes an image per record, and a line in the folder's index.

    Args:
        folder: for both; what it holds under the same names is replaced.
        explainer: of the model.
        classes: the model's.
        class_id: what to explain; None for each image's first guess.
    """

    def __init__(self, folder: Path, explainer: "Explainer", classes: tuple[str, ...], class_id: int | None) -> None:
        self._folder, self._explainer, self._classes, self._class_id = folder, explainer, classes, class_id
        self._names: set[str] = set()
        self._lines: list[str] = []

    def add(self, record: "ImageRecord | KeptRecord") -> None:
        """Explain one record; one that failed, or was kept from an earlier run, has nothing to explain.

        Raises:
            OutputError: the image can't be written.
        """
        crop = getattr(record, "crop", None)
        if crop is None:
            return
        from imgcls.evaluation.explanations.drawing import draw_explanation
        from imgcls.host.files import replacing

        first = record.predictions[0]  # type: ignore[union-attr]
        class_id = first.class_id if self._class_id is None else self._class_id
        (found,) = self._explainer.explain([crop], [class_id])
        label = self._classes[class_id]
        caption = f"{label} {first.probability:.1%}" if class_id == first.class_id else f"{label} ({first.label} first)"
        name = self._name_for(record.input, getattr(record, "frame", None), label)
        with replacing(self._folder / name, option="--explain") as part:
            draw_explanation(crop, found, caption=caption).save(part, "png")
        line = {"input": record.input, "file": name, "class_id": class_id, "label": label, "method": found.method}
        self._lines.append(json.dumps(line, ensure_ascii=True) + "\n")

    def added_too(self, on_record: "OnRecord") -> "OnRecord":
        """What explains each record, and then does what was to be done with it."""

        def add(record: "ImageRecord | KeptRecord", summary: "Summary") -> None:
            self.add(record)
            on_record(record, summary)

        return add

    def finish(self) -> str:
        """Write the index, and say what there is.

        Raises:
            OutputError: it can't be written.
        """
        from imgcls.host.files import replacing
        from imgcls.host.terminal_text import counted

        with replacing(self._folder / INDEX, option="--explain") as part:
            part.write_text("".join(self._lines), encoding="utf-8")
        return f"wrote {counted(len(self._lines), 'explanation')} to {self._folder}"

    def _name_for(self, given: str, frame: int | None, label: str) -> str:
        last = re.split(r"[/\\]", given.partition("?")[0].rstrip("/\\"))[-1]
        stem = _plain(last.rsplit(".", 1)[0] or "image") + ("" if frame is None else f"-frame{frame}")
        base = f"{stem}-{_plain(label)}"
        name, number = base, 1
        while name.lower() in self._names:
            number += 1
            name = f"{base}-{number}"
        self._names.add(name.lower())
        return f"{name}.png"


def _plain(text: str) -> str:
    """Letters, digits and a few signs that every file system takes."""
    return re.sub(r"[^\w.+-]+", "_", text).strip("._")[:MAX_STEM] or "image"


def _class_named(name: str, classes: tuple[str, ...]) -> int:
    import difflib

    if name in classes:
        return classes.index(name)
    near = difflib.get_close_matches(name, classes, n=1, cutoff=0)
    raise UsageError(
        f"the model has no class {name!r}", hint=f"--explain-class {json.dumps(near[0], ensure_ascii=False)}"
    )


def _explainer(backend: "Backend", method: ExplainMethod) -> "Explainer":
    from imgcls.evaluation.explanations.explainer import Explainer, Method
    from imgcls.inference.backends.torch_backend import DTYPES, TorchBackend

    if not isinstance(backend, TorchBackend):
        return Explainer(backend.transform, backend.probabilities, method=Method(method.value))
    return Explainer(
        backend.transform,
        backend.probabilities,
        network=backend.model.network,
        device=backend.device,
        autocast_dtype=DTYPES.get(backend.precision),
        method=Method(method.value),
    )
