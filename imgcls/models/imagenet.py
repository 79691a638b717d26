"""The 1,000 classes of ImageNet in the order of every pretrained network's outputs."""

from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class ImageNetClasses:
    """Both ways to name a class, in output order.

    Attributes:
        wordnet_ids: such as `n07920052`; unique.
        names: such as `espresso`; torchvision's, unique (`crane bird` beside `crane`, the machine).
    """

    wordnet_ids: tuple[str, ...]
    names: tuple[str, ...]


@cache
def imagenet_classes() -> ImageNetClasses:
    """Read the table that ships with the package.

    Source: ILSVRC 2012 synsets in sorted order; the names are torchvision's.
    """
    text = resources.files("imgcls.models").joinpath("imagenet_classes.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()]
    return ImageNetClasses(tuple(row[0] for row in rows), tuple(row[1] for row in rows))
