"""Answers among some of a model's classes only: what a person knows about the images that the model doesn't.

Shapes: K classes.
"""

import difflib
from collections.abc import Sequence

import numpy as np

from imgcls.errors import UsageError
from imgcls.images.transform import Floats


class Restriction:
    """Leaves out classes, and scales the probabilities of the others to add up to 1.

    Args:
        classes: the model's.
        wanted: names among them; one that isn't a class may be several, with commas between.
        is_multi_label: each class is answered for itself, so that nothing is scaled.
    Raises:
        UsageError: a name is no class of the model.
    """

    def __init__(self, classes: Sequence[str], wanted: Sequence[str], *, is_multi_label: bool = False) -> None:
        index_of = {name: index for index, name in enumerate(classes)}
        names = [name for each in wanted for name in ([each] if each in index_of else _parts(each))]
        unknown = next((name for name in names if name not in index_of), None)
        if unknown is not None or not names:
            near = difflib.get_close_matches(unknown or "", classes, n=1)
            raise UsageError(
                f"{unknown!r} is no class of the model",
                hint=f"did you mean {near[0]!r}?" if near else f"its classes are {', '.join(classes[:5])}, ...",
            )
        self.indices = sorted({index_of[name] for name in names})
        self._is_multi_label = is_multi_label

    def __len__(self) -> int:
        """How many classes are left."""
        return len(self.indices)

    def apply(self, probabilities_K: Floats) -> Floats:
        """The probabilities with those of other classes at 0, float32, shape (K,)."""
        kept_K = np.zeros_like(probabilities_K)
        kept_K[self.indices] = probabilities_K[self.indices]
        total = float(kept_K.sum(dtype=np.float64))
        if self._is_multi_label:
            return kept_K
        if total <= 0:
            # So improbable that float32 has no number for it: nothing is known.
            kept_K[self.indices] = 1 / len(self.indices)
            return kept_K
        scaled: Floats = (kept_K / total).astype(np.float32)
        return scaled


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
