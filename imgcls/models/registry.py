"""From the text of `--model` to whatever it names: a checkpoint's file, or a network of one of the families.

A new family of networks is one file in `families/` and one line here. Nothing here imports torch.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from imgcls.errors import ModelError
from imgcls.models.families.bundled import BUNDLED, OwnNetworks, bundled_checkpoint
from imgcls.models.families.efficientnet_lite import INSTALL, EfficientNetLite
from imgcls.models.families.family import DownloadProgress, Family, ListedModel, PretrainedEntry
from imgcls.models.families.timm import Timm
from imgcls.models.families.torchvision import Torchvision

DEFAULT_MODEL = "alexnet"
# Knows the same classes as the default, and its weights come from a package.
WITHOUT_DOWNLOAD = "efficientnet-lite0"
# The version of `imgcls models -f json`.
SCHEMA = 1
# Asked in this order.
FAMILIES: tuple[Family, ...] = (OwnNetworks(), EfficientNetLite(), Timm(), Torchvision())
# Files that a runtime runs as they are, beside ONNX, and the module that opens each; see `models/exported.py`.
EXPORTED = {".pt2": "imgcls.models.programs.opening", ".pte": "imgcls.models.programs.executorch"}
SUFFIXES = (".pt", ".pth", ".onnx", *EXPORTED)
# What a run's folder is loaded from, in this order.
STORED_IN_RUN = ("best.pt", "last.pt")


def find_family(name: str) -> Family | None:
    """The family that builds networks of that name; None where none does."""
    return next((family for family in FAMILIES if family.knows(name)), None)


def family_of(name: str) -> Family:
    """The same.

    Raises:
        ModelError: no family knows the name; names the nearest that one does.
    """
    family = find_family(name)
    if family is None:
        raise ModelError(unknown_model_message(name), hint="imgcls models lists the names; a path must exist")
    return family


def pretrained_entry(name: str, weights_name: str = "") -> PretrainedEntry:
    """What is published about a network's trained weights.

    Args:
        name: of a network.
        weights_name: which of its weights, such as `IMAGENET1K_V1`; empty for the default ones.
    Raises:
        ModelError: no such network, or no such weights of it.
    """
    return family_of(name).entry(name, weights_name)


def weights_are_here(name: str) -> bool:
    """Whether a network's published weights are on this machine and whole, so that no download is needed."""
    family = find_family(name)
    if family is None:
        return False
    try:
        return family.weights_state(family.entry(name)) == "here"
    except ModelError:
        return False


def published_weights(name: str, weights_name: str = "", *, progress: DownloadProgress | None = None) -> Path:
    """The file of a network's published weights, fetched if need be.

    Raises:
        ModelError: it can't be had; the hint ends with what works here and now.
    """
    family = family_of(name)
    entry = family.entry(name, weights_name)
    try:
        return family.weights_file(entry, progress=progress)
    except ModelError as exc:
        if name == WITHOUT_DOWNLOAD or family.weights_state(entry) != "absent":
            raise
        here = weights_are_here(WITHOUT_DOWNLOAD)
        instead = f"-m {WITHOUT_DOWNLOAD} needs no download" + ("" if here else f" after {INSTALL}")
        raise ModelError(exc.message, hint=f"{exc.hint}; {instead}") from exc


def is_architecture(name: str) -> bool:
    """Whether a name is that of a network, which wins over a folder of that name; `./name` is always a path."""
    return find_family(name) is not None


def find_checkpoint(spec: str) -> Path | None:
    """The checkpoint that a text names: the file itself, a run folder's best (else last) one, or a bundled one.

    Returns:
        None where it may name a network instead.
    Raises:
        ModelError: it looks like a path but nothing usable is there.
    """
    path = Path(spec)
    if path.is_file():
        return path
    for name in STORED_IN_RUN:
        if (path / name).is_file():
            return path / name
    if spec in BUNDLED:
        return bundled_checkpoint(spec)
    looks_like_path = len(path.parts) > 1 or path.suffix in SUFFIXES
    if looks_like_path and find_family(spec) is not None:
        return None
    if path.is_dir() and (looks_like_path or find_family(spec) is None):
        raise ModelError(f"{spec} holds neither best.pt nor last.pt", hint="name a run folder or a checkpoint file")
    if looks_like_path:
        raise ModelError(f"no such checkpoint: {spec}", hint="check the path; imgcls models lists the names")
    return None


def whole_spec(spec: str) -> str:
    """The same checkpoint or file, named so that it is found from any folder."""
    path = None if spec in BUNDLED and not Path(spec).exists() else find_checkpoint(spec)
    return str(path.absolute()) if path is not None else spec


def unknown_model_message(spec: str) -> str:
    """Say that a name means nothing, with the nearest one that does."""
    meant = nearest_name(spec)
    return f"unknown model {spec!r}" + (f"; did you mean {meant}?" if meant else "")


def nearest_name(spec: str, names: Iterable[str] = ()) -> str:
    """The names that somebody may have meant, in quotes: those that begin so, else the most alike; may be empty.

    Args:
        spec: what was typed.
        names: to choose from; all that `--model` knows by default.
    """
    import difflib

    known = list(names) or model_names()
    longer = [name for name in known if name.startswith(spec)] if len(spec) > 2 else []
    found = longer[:NAMES_SHOWN] or difflib.get_close_matches(spec, known, n=1)
    return " or ".join(f"{name!r}" for name in found)


NAMES_SHOWN = 3


def model_names() -> list[str]:
    """Every name that `--model` knows, family by family."""
    return [name for family in FAMILIES for name in family.names()]


def list_models(pattern: str = "*", *, source: str = "") -> Iterator[ListedModel]:
    """The models whose names fit a pattern, with figures and whether their weights are here.

    Args:
        pattern: as a shell reads it.
        source: only those of one family; empty for all but the ones that are asked for by name (`timm`).
    """
    if source == "timm" and not pattern.startswith("timm/"):
        pattern = f"timm/{pattern}"
    for family in FAMILIES:
        if source in ("", family.source):
            yield from family.listed(pattern)
