"""All checks of a data set, and what they found."""

import importlib.util
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

from imgcls.datasets.checks.classes import similar_names, small_classes
from imgcls.datasets.checks.copies import copies, exact_pairs, near_pairs
from imgcls.datasets.checks.finding import KINDS, Finding
from imgcls.datasets.checks.labels import suspected_labels
from imgcls.datasets.checks.odd import odd_images, unreadable_images
from imgcls.datasets.checks.scan import Embed, Progress, Scan, scan_images
from imgcls.datasets.checks.shortcuts import shortcuts, turned_images
from imgcls.datasets.readers.tables import SEVERAL
from imgcls.datasets.resolved import Labels, ResolvedData
from imgcls.datasets.resolving import SPLITS, resolve
from imgcls.errors import DataError, UsageError
from imgcls.host.http.download import DownloadProgress
from imgcls.host.resources import available_cores
from imgcls.host.versions import versions

SCHEMA = 1
SEVERAL_LABELS = "images have several labels: copies and odd images are found, but labels and shortcuts are not judged"
PACKAGES = ("cleanlab", "imagehash", "sklearn")
INSTALL = "pip install 'imgcls[check]'"
NO_FEATURES = "copies are found by perceptual hashes alone and labels are not judged: pip install 'imgcls[imagenet]'"


@dataclass(frozen=True)
class CheckReport:
    """What `check` answers.

    Attributes:
        data: as the user named it.
        classes: names in the order of the class indices.
        counts: readable images of each split.
        findings: in the order of `KINDS`, within a kind as the check gave them.
        warnings: what couldn't be checked, and what opening the data had to say; a sentence each.
        backbone: whose features were used; None without one.
        seed: of folds.
        versions: of imgcls, torch, ...
    """

    data: str
    classes: tuple[str, ...]
    counts: dict[str, int]
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...] = ()
    backbone: str | None = None
    seed: int = 0
    versions: dict[str, str] = field(default_factory=lambda: versions((*PACKAGES, "torch")))

    @property
    def by_kind(self) -> dict[str, int]:
        """How many findings of each kind; kinds without any are missing."""
        counted = Counter(finding.kind for finding in self.findings)
        return {kind: counted[kind] for kind in KINDS if counted[kind]}

    def failing(self, kinds: Collection[str]) -> int:
        """How many findings are of these kinds."""
        return sum(finding.kind in kinds for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """The JSON answer."""
        return {
            "schema": SCHEMA,
            "data": {"name": self.data, "classes": list(self.classes), "images": self.counts},
            "summary": self.by_kind,
            "findings": [finding.to_dict() for finding in self.findings],
            "backbone": self.backbone,
            "seed": self.seed,
            "warnings": list(self.warnings),
            "versions": self.versions,
        }


def check_dataset(
    spec: str,
    *,
    embed: Embed | None = None,
    backbone: str | None = None,
    val_fraction: float | None = None,
    seed: int = 0,
    workers: int | None = None,
    allow_modified: bool = False,
    on_step: Callable[[str], None] = lambda _step: None,
    progress: Progress | None = None,
    download_progress: DownloadProgress | None = None,
) -> CheckReport:
    """Look at every image of a data set once, in the splits that training would have.

    Args:
        spec: as for `open_dataset`.
        embed: a frozen network; without one there are fewer checks, and the report says so.
        backbone: its name, for the report.
        val_fraction: of the training, where it carves its validation images.
        seed: of the carving and of the checks' own folds.
        workers: threads that decode; None for one per core.
        allow_modified: accept CIFAR-10 files with other checksums than the published ones.
        on_step: told what is being done.
        progress: called with images decoded so far and in all.
        download_progress: called with bytes so far and in all while CIFAR-10 is downloaded.
    Raises:
        UsageError: a package is missing.
        DataError: no such data set, it can't be used, or no image can be read.
    """
    require_packages()
    data = resolve(
        spec,
        splits=SPLITS,
        val_fraction=val_fraction,
        seed=seed,
        allow_modified=allow_modified,
        download_progress=download_progress,
    )
    is_multi_label, classes = data.is_multi_label, data.classes
    if is_multi_label:
        data = by_label_sets(data)
    on_step("looking at the images")
    scan = scan_images(data, embed=embed, workers=workers or available_cores(), progress=progress)
    if not scan.places:
        raise DataError(f"none of the {len(scan.unreadable):,} images of {spec} can be read", hint="check the files")
    warnings = list(data.warnings) + ([NO_FEATURES] if embed is None else [])
    if is_multi_label:
        warnings.append(SEVERAL_LABELS)
    return CheckReport(
        data=spec,
        classes=classes,
        counts=dict(Counter(place.split for place in scan.places)),
        findings=tuple(_findings(scan, seed, on_step, judges_labels=not is_multi_label)),
        warnings=tuple(warnings),
        backbone=backbone if embed is not None else None,
        seed=seed,
    )


def require_packages() -> None:
    """Say how to get what the checks need, where it is missing.

    Raises:
        UsageError: a package isn't installed.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"imgcls check needs {', '.join(missing)}, not installed here", hint=INSTALL)


def by_label_sets(data: ResolvedData) -> ResolvedData:
    """Multi-label images as if each set of labels were a class, so that copies with other labels are conflicts."""
    sets = sorted({several for split in data.splits.values() for several in split.labels if isinstance(several, tuple)})
    names = tuple(SEVERAL.join(data.classes[index] for index in several) for several in sets)
    place_of: dict[Labels, int] = {several: place for place, several in enumerate(sets)}
    splits = {
        name: replace(split, labels=[place_of[several] for several in split.labels])
        for name, split in data.splits.items()
    }
    return replace(data, classes=names, splits=splits, is_multi_label=False)


def _findings(scan: Scan, seed: int, on_step: Callable[[str], None], *, judges_labels: bool = True) -> list[Finding]:
    on_step("looking for copies")
    exact = exact_pairs(scan)
    near = near_pairs(scan, exact)
    repeated = frozenset(second for _first, second in exact)
    found = [*unreadable_images(scan), *odd_images(scan), *copies(scan, exact, near)]
    if not judges_labels:
        found += turned_images(scan)
        return sorted(found, key=lambda finding: KINDS.index(finding.kind))
    on_step("judging the labels")
    found += suspected_labels(scan, seed=seed, exclude=repeated)
    found += [*small_classes(scan), *similar_names(scan.classes), *turned_images(scan), *shortcuts(scan, seed=seed)]
    return sorted(found, key=lambda finding: KINDS.index(finding.kind))
