"""The method itself: heat maps lie on what they explain, and a network that has learnt nothing explains nothing.

With efficientnet-lite0's weights on photographs of ImageNet's classes, which are not part of the project.
"""

import copy
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from imgcls.errors import ImgclsError
from imgcls.evaluation.explanations.explainer import Explainer, Method
from imgcls.images.transform import Transform
from imgcls.models.loading import load_model

ARCHIVE = Path(os.environ.get("IMAGENET_SAMPLE", "/work/shared/data/imagenet-sample-250.tar"))
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not ARCHIVE.is_file(), reason=f"no photographs at {ARCHIVE}")]
# Photographs that the network is surest of, pasted in pairs.
NUM_PHOTOGRAPHS = 24


class Photographs(NamedTuple):
    """What the tests share: a network, and photographs that it knows well."""

    network: nn.Module
    transform: Transform
    crops: list[np.ndarray[Any, Any]]
    class_ids: list[int]


def probabilities_of(network: nn.Module, transform: Transform) -> Any:
    def ask(images_BHWC: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        with torch.inference_mode():
            images_BCHW = torch.from_numpy(images_BHWC.copy()).permute(0, 3, 1, 2).contiguous()
            return network(transform.normalise(images_BCHW)).softmax(1).numpy()

    return ask


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Photographs:
    try:
        model = load_model("efficientnet-lite0")
    except ImgclsError as exc:
        pytest.skip(f"no weights of efficientnet-lite0: {exc.message}")
    folder = tmp_path_factory.mktemp("photographs")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    paths = sorted(path for path in folder.rglob("*") if path.is_file())[::2]
    crops = [model.transform.crop(Image.open(path).convert("RGB")) for path in paths]
    class_ids = [model.wordnet_ids.index(path.parent.name) for path in paths]
    ask = probabilities_of(model.network, model.transform)
    sure = np.array([ask(crop[None])[0, label] for crop, label in zip(crops, class_ids, strict=True)])
    best = np.argsort(-sure, kind="stable")[:NUM_PHOTOGRAPHS]
    return Photographs(
        model.network, model.transform, [crops[index] for index in best], [class_ids[index] for index in best]
    )


def side_by_side(left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Both photographs at half their size, on grey."""
    side = len(left)
    half = side // 2
    pasted = np.full_like(left, 124)
    for image, start in ((left, 0), (right, half)):
        small = np.asarray(Image.fromarray(image).resize((half, half)))
        pasted[side // 4 : side // 4 + half, start : start + half] = small
    return pasted


def left_share(values_hw: np.ndarray[Any, Any]) -> float:
    """How much of a map's mass lies on its left half."""
    width = values_hw.shape[1]
    weights_w = np.clip(width / 2 - np.arange(width), 0, 1)
    return float((values_hw * weights_w).sum() / max(values_hw.sum(), 1e-9))


def shares(photographs: Photographs, explainer: Explainer, pairs: Sequence[tuple[int, int]]) -> np.ndarray[Any, Any]:
    """Of each pair and each of its two classes, how much of the map's mass lies on the class's own half."""
    found = []
    for one, other in pairs:
        image = side_by_side(photographs.crops[one], photographs.crops[other])
        maps = explainer.explain([image, image], [photographs.class_ids[one], photographs.class_ids[other]])
        found += [left_share(maps[0].values_hw), 1 - left_share(maps[1].values_hw)]
    return np.array(found)


@pytest.mark.parametrize(
    ("method", "num_pairs", "least_right"), [(Method.GRAD_CAM, 12, 0.9), (Method.OCCLUSION, 4, 7 / 8)]
)
def test_the_map_lies_on_the_half_that_shows_the_class(
    photographs: Photographs, method: Method, num_pairs: int, least_right: float
) -> None:
    ask = probabilities_of(photographs.network, photographs.transform)
    explainer = Explainer(photographs.transform, ask, network=photographs.network, method=method)
    found = shares(photographs, explainer, [(pair, pair + 12) for pair in range(num_pairs)])
    # Measured on 20 other pairs: 40 of 40 maps on the right half, 88 % of their mass (occlusion: 12 of 12, 92 %).
    # Of these four pairs, which take a minute, seven maps of occlusion, of 84 % of the mass in the mean.
    assert (found > 0.5).mean() >= least_right
    assert found.mean() > 0.75


def test_randomised_weights_destroy_the_map(photographs: Photographs) -> None:
    """As in Adebayo et al. 2018, "Sanity checks for saliency maps": from the head down, all layers at once."""
    network = copy.deepcopy(photographs.network)
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.reset_parameters()
    ask = probabilities_of(network, photographs.transform)
    pairs = [(pair, pair + 12) for pair in range(12)]
    random = shares(photographs, Explainer(photographs.transform, ask, network=network), pairs)
    # Nothing speaks for either side any more: of both classes together as much mass lies right as wrong.
    assert abs(random.mean() - 0.5) < 0.1
    trained = Explainer(photographs.transform, probabilities_of(photographs.network, photographs.transform),
                        network=photographs.network)  # fmt: skip
    maps = [each.explain([photographs.crops[0]], [photographs.class_ids[0]])[0].values_hw.ravel()
            for each in (trained, Explainer(photographs.transform, ask, network=network))]  # fmt: skip
    assert np.corrcoef(*maps)[0, 1] < 0.5
