"""Heat maps for the images of an evaluation's page that a person looks at first.

Shapes: B batch, C channels, H height, W width.
"""

from collections.abc import Callable, Iterator
from itertools import zip_longest

import numpy as np
import torch

from imgcls.datasets.labelled_images import LabelledImages
from imgcls.errors import ImageError
from imgcls.evaluation.explanations.explainer import Explainer
from imgcls.evaluation.explanations.explanation import Explanation, frame_of
from imgcls.evaluation.figures.scores import ImageScores
from imgcls.evaluation.page.page import ExplainedImage, HeatMap
from imgcls.evaluation.page.previews import Previews, by_interest
from imgcls.images.transform import Floats, Pixels
from imgcls.models.exported import ExportedNetwork
from imgcls.models.loaded_model import LoadedModel

# Grad-CAM takes about three times as long as an answer, occlusion some eighty times.
USUAL_COUNT, USUAL_COUNT_OCCLUSION = 100, 12
BATCH = 8


def explainer_of(model: LoadedModel, device: torch.device) -> Explainer:
    """What explains the answers of a model that has been measured.

    Args:
        model: in eval mode, on the device.
        device: where it is.
    """

    def probabilities(images_BHWC: Pixels) -> Floats:
        with torch.inference_mode():
            images_BCHW = torch.from_numpy(images_BHWC).to(device).permute(0, 3, 1, 2)
            found: Floats = model.network(model.transform.normalise(images_BCHW)).float().softmax(1).cpu().numpy()
            return found

    has_gradients = not isinstance(model.network, ExportedNetwork) and not model.members
    network = model.network.to(device) if has_gradients else None
    return Explainer(model.transform, probabilities, network=network, device=device)


def usual_count(model: LoadedModel) -> int:
    """How many images get heat maps where nothing else is said."""
    has_gradients = not isinstance(model.network, ExportedNetwork) and not model.members
    return USUAL_COUNT if has_gradients else USUAL_COUNT_OCCLUSION


def explain_images(
    images: LabelledImages,
    scores: ImageScores,
    previews: Previews,
    model: LoadedModel,
    explainer: Explainer,
    *,
    count: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[int, ExplainedImage], str]:
    """Explain the first guess, and for mistakes also the true class, of the images that matter most.

    Args:
        images: the set.
        scores: of its images.
        previews: only these images can show a heat map.
        model: for its transform.
        explainer: see `explainer_of`.
        count: of images, at most.
        progress: called with images done and in all.
    Returns:
        Heat maps by the images' indices in the scores, and the method in words.
    """
    size_of = dict(zip(previews.rows, previews.sizes, strict=True))
    rows = [row for row in _most_telling(scores) if size_of.get(row, (0, 0)) != (0, 0)][:count]
    explained: dict[int, ExplainedImage] = {}
    method = ""
    for start in range(0, len(rows), BATCH):
        batch: list[tuple[int, int, Pixels]] = []
        for row in rows[start : start + BATCH]:
            stored, index = images.stored(int(scores.indices_N[row]))
            try:
                crop = stored.crop(index, model.transform)
            except ImageError:
                continue
            guess, label = int(scores.guesses_N[row]), int(scores.labels_N[row])
            batch += [(row, class_id, crop) for class_id in dict.fromkeys((guess, label))]
        found = explainer.explain(
            [crop for _row, _class_id, crop in batch], [class_id for _row, class_id, _crop in batch]
        )
        for (row, _class_id, _crop), each in zip(batch, found, strict=True):
            method = each.method
            frame = frame_of(model.transform, *size_of[row])
            earlier = explained[row].maps if row in explained else ()
            explained[row] = ExplainedImage(frame, (*earlier, _as_bytes(each)))
        if progress is not None:
            progress(min(start + BATCH, len(rows)), len(rows))
    return explained, method


def _most_telling(scores: ImageScores) -> Iterator[int]:
    """Confident mistakes, doubtful hits, and each class's own most confident mistake, in turns."""
    order_N = by_interest(scores)
    mistakes = order_N[~scores.correct_N[order_N]]
    hits = order_N[scores.correct_N[order_N]]
    _labels, firsts = np.unique(scores.labels_N[mistakes], return_index=True)
    own = mistakes[np.sort(firsts)]
    seen: set[int] = set()
    for turn in zip_longest(mistakes.tolist(), mistakes[1::2].tolist(), own.tolist(), hits.tolist()):
        for row in turn:
            if row is not None and row not in seen:
                seen.add(row)
                yield row


def _as_bytes(explanation: Explanation) -> HeatMap:
    height, width = explanation.values_hw.shape
    values = (explanation.values_hw * 255).round().astype(np.uint8).tobytes()
    return HeatMap(explanation.class_id, height, width, values)
