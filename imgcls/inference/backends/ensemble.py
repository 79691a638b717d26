"""Several backends that answer together; `Predictor` asks them as if they were one.

Shapes: B batch, H height, W width, C channels, K classes.
"""

from collections.abc import Callable, Sequence
from typing import Any

from imgcls.images.transform import Floats, Pixels, Transform
from imgcls.inference.backends.backend import Backend, LoadedBackend
from imgcls.models.answers.multi_label import multi_label_of
from imgcls.models.ensembles import (
    How,
    check_members,
    class_orders,
    combined,
    common_geometry,
    common_labels,
    common_thresholds,
    describe_ensemble,
)


class Ensemble:
    """A backend whose answer is that of several; see `Backend`.

    Args:
        members: of the same classes, in any order, and the same crops.
        how: they answer together.
    Raises:
        UsageError: they don't go together.
    """

    def __init__(self, members: Sequence[Backend], how: How) -> None:
        self.members = tuple(members)
        self.how = how
        ids = [member.id for member in members]
        described = [member.describe() for member in members]
        self._several = common_labels(ids, described, how)
        self._orders = class_orders(ids, [member.classes for member in members])
        self._transform = common_geometry(ids, [member.transform for member in members])
        self._labels = common_thresholds([multi_label_of(each) for each in described], self._orders)

    @property
    def id(self) -> str:
        """`ensemble`, and first digits of a digest over the members'."""
        return str(self.describe()["id"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the first member."""
        return self.members[0].classes

    @property
    def transform(self) -> Transform:
        """Whose geometry all share."""
        return self._transform

    @property
    def num_threads(self) -> int:
        """The most that a member has."""
        return max(member.num_threads for member in self.members)

    def use_threads(self, count: int) -> None:
        """See `Backend`; members take their turns."""
        for member in self.members:
            member.use_threads(count)

    def keep_in_memory(self) -> None:
        """See `Backend`."""
        for member in self.members:
            member.keep_in_memory()

    def describe(self) -> dict[str, Any]:
        """The `model` object of every JSON answer, with the members'."""
        described = [member.describe() for member in self.members]
        return describe_ensemble(described, self.how, self._transform, self._labels, several=self._several)

    def probabilities(self, images_BHWC: Pixels) -> Floats:
        """Float32, shape (batch, K); see `Backend`."""
        return combined(
            [
                member.probabilities(images_BHWC)[:, order]
                for member, order in zip(self.members, self._orders, strict=True)
            ],
            self.how,
        )


def load_ensemble(names: Sequence[str], how: How, load: Callable[[str], LoadedBackend]) -> LoadedBackend:
    """Load each model, and let them answer together.

    Args:
        names: of the models.
        how: they answer together.
        load: gives one of them.
    Raises:
        UsageError: they don't go together.
    """
    check_members(names)
    loaded = [load(name) for name in names]
    return LoadedBackend(
        Ensemble([each.backend for each in loaded], how),
        loaded[0].device,
        "; ".join(each.remark for each in loaded),
        tuple(note for each in loaded for note in each.notes),
        "+".join(sorted({each.runtime for each in loaded})),
    )
