"""Matching the classes of a data set to those of a model: by name or by WordNet ID, never by order."""

import difflib
import unicodedata
from dataclasses import dataclass

from imgcls.errors import DataError

# WordNet's first word for two classes of ImageNet each. torchvision gives one class of each pair another name
# (`crane bird`), most other lists don't: a folder of this name may hold either.
AMBIGUOUS = {"crane": ("n02012849", "n03126707"), "maillot": ("n03710637", "n03710721")}


@dataclass(frozen=True)
class ClassMap:
    """Which output of a model belongs to each class of a data set.

    Attributes:
        classes: the model's, in the order of its outputs.
        to_model: for each class of the data, its index in `classes`.
        missing: classes of the model of which the data has none.
    """

    classes: tuple[str, ...]
    to_model: tuple[int, ...]
    missing: tuple[str, ...]


def match_classes(
    data_classes: tuple[str, ...], model_classes: tuple[str, ...], *, wordnet_ids: tuple[str, ...] = ()
) -> ClassMap:
    """Find every class of the data among those of the model.

    Args:
        data_classes: labels of the data, such as the names of class folders.
        model_classes: labels of the model, in the order of its outputs.
        wordnet_ids: of the same classes in the same order, or empty.
    Raises:
        DataError: the model doesn't know a class, or its name stands for two of the model's classes.
    """
    indices_of: dict[str, set[int]] = {}
    for names in (model_classes, wordnet_ids):
        for index, name in enumerate(names):
            indices_of.setdefault(_composed(name), set()).add(index)
    for name, ids in AMBIGUOUS.items():
        if name in indices_of and set(ids) <= set(wordnet_ids):
            indices_of[name].update(wordnet_ids.index(each) for each in ids)
    unknown = [name for name in data_classes if _composed(name) not in indices_of]
    if unknown:
        near = difflib.get_close_matches(_composed(unknown[0]), list(indices_of), n=1, cutoff=0)
        count = f" ({len(unknown)} of {len(data_classes)} classes are unknown)" if len(data_classes) > 1 else ""
        raise DataError(
            f"the model has no class {unknown[0]!r}{count}; the nearest that it knows is {near[0]!r}",
            hint="rename the class folder to the model's name for it, or take it out of the data",
        )
    to_model = []
    for name in data_classes:
        indices = sorted(indices_of[_composed(name)])
        if len(indices) > 1:
            choice = " or ".join(f"{wordnet_ids[index]} ({model_classes[index]})" for index in indices if wordnet_ids)
            raise DataError(
                f"{name!r} stands for {len(indices)} classes of the model",
                hint=f"name the class folder by its WordNet ID: {choice}" if choice else "train with unique names",
            )
        to_model.append(indices[0])
    present = set(to_model)
    missing = tuple(name for index, name in enumerate(model_classes) if index not in present)
    return ClassMap(model_classes, tuple(to_model), missing)


def _composed(name: str) -> str:
    # Some file systems store an accented letter as two characters; it is the same name.
    return unicodedata.normalize("NFC", name)
