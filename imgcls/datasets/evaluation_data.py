"""Opening one split to measure a model on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imgcls.datasets.checks.fixes import with_fixes
from imgcls.datasets.fingerprints import SeenImages
from imgcls.datasets.labelled_images import LabelledImages
from imgcls.datasets.opening import Opening, open_splits
from imgcls.datasets.resolving import resolve
from imgcls.errors import DataError
from imgcls.host.http.download import DownloadProgress


@dataclass(frozen=True)
class EvaluationData:
    """One split to evaluate.

    Attributes:
        images: the images.
        warnings: what the person should know about the data, a sentence each.
    """

    images: LabelledImages
    warnings: tuple[str, ...] = ()


def open_for_evaluation(
    spec: str,
    *,
    opening: Opening,
    split: str | None = None,
    val_fraction: float | None = None,
    seed: int = 0,
    seen: SeenImages | None = None,
    whole: bool = True,
    allow_modified: bool = False,
    fixes: Path | None = None,
    group_column: str = "",
    multi_label: bool | None = None,
    check_classes: Callable[[tuple[str, ...]], object] | None = None,
    download_progress: DownloadProgress | None = None,
) -> EvaluationData:
    """Open one split: the one named, or test, else val, else class folders alone as `whole` says.

    Args:
        spec: as for `open_dataset`.
        opening: how images are decoded and held.
        split: `train`, `val` or `test`; None chooses.
        val_fraction: of the training whose carved split is wanted again.
        seed: of the same training.
        seen: its images; those that validated are found again by what they hold, whatever they are called by now.
        whole: evaluate all of class folders alone, else only what training keeps for validation.
        allow_modified: as for `open_dataset`.
        fixes: a list of images to leave out or to relabel, of the same training.
        group_column: of a table of labels, of the same training.
        multi_label: see `resolve`.
        check_classes: called with the data's classes before any image is decoded; raises where they can't be used.
        download_progress: called with bytes so far and in all.
    Raises:
        DataError: no such data set or split, it can't be used, or (strict) an image is damaged.
    """
    data = resolve(
        spec,
        splits=None if split is None else (split,),
        val_fraction=val_fraction,
        seed=seed,
        seen=seen,
        whole=whole,
        allow_modified=allow_modified,
        group_column=group_column,
        multi_label=multi_label,
        download_progress=download_progress,
    )
    if not data.splits:
        if split is None:
            raise DataError(
                f"{spec} holds no image that training kept for validation",
                hint="--data DIR names images that it wasn't trained on; --split train measures those that it was",
            )
        raise DataError(f"{spec} has no {split} split", hint="leave out --split to evaluate what there is")
    if fixes is not None:
        data = with_fixes(data, fixes, is_whole=False)
    if check_classes is not None:
        check_classes(data.classes)
    (images,) = open_splits(data, opening).values()
    return EvaluationData(images, data.warnings)
