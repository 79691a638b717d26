"""Several models that answer together: what they must have in common, and how their answers become one.

Imports neither torch nor torchvision.

Shapes: M members, B batch, K classes.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from imgcls.errors import UsageError
from imgcls.images.transform import Floats, Transform
from imgcls.models.answers.multi_label import MultiLabel

# `mean` averages probabilities. `vote` gives each member one vote for its most probable class.
How = Literal["mean", "vote"]
NAME = "ensemble"
# What of a transform each member applies for itself.
ARITHMETIC = ("mean", "std", "channels", "scale")


def check_members(names: Sequence[str]) -> None:
    """Refuse what is no ensemble.

    Raises:
        UsageError: fewer than two models, or one that comes twice.
    """
    if len(names) < 2:
        raise UsageError("--ensemble is for several models", hint="name each with -m: -m one.pt -m other.pt")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"{twice} comes twice in the ensemble", hint="name each model once")


def class_orders(ids: Sequence[str], classes: Sequence[tuple[str, ...]]) -> list[list[int]]:
    """For each member, where each class of the first one stands among its own.

    Args:
        ids: of the members, for messages.
        classes: theirs.
    Raises:
        UsageError: two members don't know the same classes.
    """
    first = classes[0]
    orders = []
    for name, own in zip(ids, classes, strict=True):
        if set(own) != set(first) or len(own) != len(first):
            odd = sorted(set(own) ^ set(first))
            raise UsageError(
                f"{ids[0]} and {name} don't have the same classes: {odd[0]!r} is only of one of them",
                hint="models of an ensemble answer the same question; compare them: imgcls compare A B --data DIR",
            )
        place_of = {label: place for place, label in enumerate(own)}
        orders.append([place_of[label] for label in first])
    return orders


def common_geometry(ids: Sequence[str], transforms: Sequence[Transform]) -> Transform:
    """The first member's transform, whose crops all of them see.

    Args:
        ids: of the members, for messages.
        transforms: theirs; their arithmetic may differ.
    Raises:
        UsageError: one needs other crops.
    """
    first = transforms[0]
    for name, other in zip(ids, transforms, strict=True):
        alike = replace(other, **{field: getattr(first, field) for field in ARITHMETIC})
        if alike != first:
            told, others = first.to_dict(), alike.to_dict()
            key = next(key for key in {**told, **others} if told.get(key) != others.get(key))
            raise UsageError(
                f"{ids[0]} and {name} don't see the same crops: {key} is {told.get(key, 'another one')!r} and "
                f"{others.get(key, 'another one')!r}",
                hint="models of an ensemble need the same size and resize; train them with the same [data]",
            )
    return first


def common_labels(ids: Sequence[str], described: Sequence[dict[str, Any]], how: How) -> bool:
    """Whether the members answer several labels per image.

    Raises:
        UsageError: some do and some don't, or they would have to vote.
    """
    several = [bool(each.get("multi_label")) for each in described]
    if any(several) != all(several):
        raise UsageError(
            f"{ids[several.index(True)]} answers several labels per image, and {ids[several.index(False)]} one",
            hint="models of an ensemble answer the same question",
        )
    if any(several) and how == "vote":
        raise UsageError("models of several labels per image can't vote", hint="--ensemble mean")
    return any(several)


def common_thresholds(found: Sequence[MultiLabel | None], orders: Sequence[Sequence[int]]) -> MultiLabel | None:
    """The means of the members' thresholds; None where a member has none."""
    known = [each for each in found if each is not None]
    if len(known) < len(found):
        return None
    rows = [[each.thresholds[place] for place in order] for each, order in zip(known, orders, strict=True)]
    return MultiLabel(tuple(round(float(value), 6) for value in np.mean(rows, axis=0)))


def ensemble_sha256(digests: Sequence[str], how: How) -> str:
    """A digest that changes with each member's weights, their order and how they answer together."""
    return hashlib.sha256("/".join((how, *digests)).encode()).hexdigest()


def combined(answers_MBK: Sequence[Floats], how: How) -> Floats:
    """One answer from several.

    Args:
        answers_MBK: probabilities of each member, its classes in the order of the first one's.
        how: see `How`. A vote counts as much as all mean probabilities together, which only decide between classes of
            equally many votes.
    Returns:
        float32, shape (B, K); of one label per image they add up to 1.
    """
    mean_BK: np.ndarray[Any, np.dtype[np.float64]] = np.stack(answers_MBK).mean(axis=0, dtype=np.float64)
    if how == "vote":
        for each_BK in answers_MBK:
            mean_BK = mean_BK + np.eye(mean_BK.shape[1])[each_BK.argmax(1)]
        mean_BK = mean_BK / (len(answers_MBK) + 1)
    return mean_BK.astype(np.float32)


def describe_ensemble(
    described: Sequence[dict[str, Any]], how: How, transform: Transform, labels: MultiLabel | None, *, several: bool
) -> dict[str, Any]:
    """The `model` object of JSON answers.

    Args:
        described: those of the members.
        how: they answer together.
        transform: of the crops.
        labels: the thresholds of several labels per image.
        several: whether there are several, with thresholds or without.
    """
    sha256 = ensemble_sha256([each["weights_sha256"] for each in described], how)
    told: dict[str, Any] = {
        "id": f"{NAME}@{sha256[:12]}",
        "name": NAME,
        "weights_sha256": sha256,
        "num_classes": described[0]["num_classes"],
        "transform": transform.to_dict(),
        "ensemble": how,
        "members": list(described),
    }
    if labels is not None:
        return told | labels.describe()
    return told | ({"multi_label": True} if several else {})
