"""The images to measure a model on, and whether it was trained on some of them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from imgcls.datasets.evaluation_data import EvaluationData, open_for_evaluation
from imgcls.datasets.fingerprints import SeenImages
from imgcls.datasets.labelled_images import LabelledImages
from imgcls.datasets.opening import Opening
from imgcls.datasets.resolving import find_source
from imgcls.errors import DataError, UsageError
from imgcls.evaluation.class_matching import match_classes
from imgcls.images.archives.names import has_braces
from imgcls.models.loaded_model import LoadedModel

DownloadProgress = Callable[[int, int | None], None]


def open_data_for(
    model: LoadedModel,
    data: str | None,
    *,
    split: str | None,
    opening: Opening,
    allow_modified: bool = False,
    download_progress: DownloadProgress | None = None,
) -> EvaluationData:
    """Open the images to measure a model on.

    Args:
        model: its classes must be those of the data, and its recipe says what it was trained on.
        data: None takes the data set of the recipe.
        split: None chooses.
        opening: how images are decoded and held.
        allow_modified: accept CIFAR-10 files with other checksums than the published ones.
        download_progress: called with bytes so far and in all while CIFAR-10 is downloaded.
    Raises:
        UsageError: neither `data` nor the model names a data set.
        DataError: the data set can't be used, or doesn't fit the model.
    """
    trained_on: dict[str, Any] = model.recipe.get("data", {})
    source = data if data is not None else trained_on.get("source")
    if not source:
        raise UsageError(
            f"{model.name} doesn't say what data it was trained on",
            hint=f"imgcls eval {model.name} --data DIR, a folder of class folders",
        )
    if data is None:
        source = find_source(source, near=model.weights_path)
    if data is None and source != "cifar10" and not Path(source).exists() and not has_braces(source):
        raise DataError(
            f"the data that {model.name} was trained on is not here: {source}", hint="name a data set with --data"
        )
    seen = SeenImages.from_dict(model.images)
    found = open_for_evaluation(
        source,
        opening=opening,
        split=split,
        # The same carving as in training, so that no image of the answer was trained on.
        val_fraction=1 / trained_on["folds"] if trained_on.get("folds") else trained_on.get("val_fraction"),
        seed=trained_on.get("split_seed", model.recipe.get("train", {}).get("seed", 0)),
        # Another table may have other columns.
        group_column=trained_on.get("group_column", "") if data is None else "",
        # A table whose rows happen to have one label each is one of several all the same.
        multi_label=True if model.multi_label is not None else None,
        seen=seen,
        whole=data is not None,
        allow_modified=allow_modified,
        fixes=Path(trained_on["fixes"]) if data is None and trained_on.get("fixes") else None,
        check_classes=lambda classes: match_classes(classes, model.classes, wordnet_ids=model.wordnet_ids),
        download_progress=download_progress,
    )
    return replace(found, warnings=(*found.warnings, *_trained_on(model, seen, found.images, own=data is None)))


def _trained_on(model: LoadedModel, seen: SeenImages | None, images: LabelledImages, *, own: bool) -> list[str]:
    """A warning where an accuracy is measured on images that the model was trained on, or may have been."""
    if seen is None:
        known = model.metrics.get("data", {})
        same_split = own and known.get("split") == images.description.split
        if same_split and known.get("fingerprint") != images.description.fingerprint:
            return [
                f"the images of {images.description.name} have changed since {model.name} was trained, which doesn't "
                "say on which ones: some that are measured may be among them"
            ]
        return []
    count, total = seen.count_trained(images.fingerprints()), len(images)
    if count == 0:
        return []
    which = f"all {total:,}" if count == total else f"{count:,} of the {total:,}"
    return [
        f"{model.name} was trained on {which} images that are measured: the accuracy says "
        f"{'nothing' if count == total else 'little'} about new ones"
    ]
