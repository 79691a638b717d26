"""Explanations: against Captum, on networks whose evidence is known, of every family of network, and drawn."""

import io

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from PIL import Image
from torch import Tensor, nn

from imgcls.errors import UsageError
from imgcls.evaluation.explanations.drawing import draw_explanation
from imgcls.evaluation.explanations.explainer import Explainer, Method
from imgcls.evaluation.explanations.explanation import Explanation, frame_of
from imgcls.evaluation.explanations.grad_cam import grad_cam
from imgcls.evaluation.explanations.occlusion import neutral_colour, occlusion
from imgcls.images.transform import Transform

PX = 40
TRANSFORM = Transform(PX, PX)


class Corners(nn.Module):
    """Class 0 is brightness in the upper left quarter, class 1 in the lower right one."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        half = images_BCHW.shape[2] // 2
        return torch.stack(
            [images_BCHW[:, :, :half, :half].mean((1, 2, 3)), images_BCHW[:, :, half:, half:].mean((1, 2, 3))], 1
        )


def small_cnn() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(4),
        nn.Conv2d(8, 12, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5),
    ).eval()  # fmt: skip


def test_grad_cam_equals_captums() -> None:
    network = small_cnn()
    input_BCHW = torch.randn(4, 3, PX, PX, generator=torch.Generator().manual_seed(1))
    class_ids = [0, 3, 4, 1]
    found = grad_cam(network, input_BCHW, class_ids)
    assert found is not None
    expected = LayerGradCam(network, network[3]).attribute(input_BCHW, target=class_ids, relu_attributions=True)
    for own, map_1hw in zip(found, expected.detach().numpy(), strict=True):
        assert own.method == "Grad-CAM (3)"
        assert own.values_hw.shape == (10, 10)
        np.testing.assert_allclose(own.values_hw, map_1hw[0] / max(map_1hw.max(), 1e-12), atol=1e-5)


def probabilities_of(network: nn.Module):
    def ask(images_BHWC: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            images_BCHW = torch.from_numpy(images_BHWC).permute(0, 3, 1, 2)
            return network(TRANSFORM.normalise(images_BCHW)).softmax(1).numpy()

    return ask


@pytest.mark.parametrize("class_id", [0, 1])
def test_occlusion_finds_the_corner_that_counts(class_id: int) -> None:
    image = np.full((PX, PX, 3), 250, np.uint8)
    found = occlusion(probabilities_of(Corners()), image, class_id, TRANSFORM)
    assert found.values_hw.shape == (10, 10)
    # Covers there take the class's probability; elsewhere they change nothing, or raise it.
    corner = (slice(0, 5), slice(0, 5)) if class_id == 0 else (slice(5, 10), slice(5, 10))
    inside = found.values_hw[corner].sum()
    assert inside / found.values_hw.sum() > 0.9
    assert found.values_hw.max() == 1


def test_covers_have_the_colour_of_zero() -> None:
    for channels in ("rgb", "bgr"):
        transform = Transform(4, 4, channels=channels)  # type: ignore[arg-type]
        pixels_1CHW = torch.from_numpy(neutral_colour(transform).copy())[None, :, None, None]
        assert transform.normalise(pixels_1CHW).abs().max() < 0.01


@pytest.mark.parametrize(
    ("name", "size", "method", "places"),
    [
        ("alexnet", 64, "Grad-CAM", None),
        ("resnet18", 128, "Grad-CAM", (4, 4)),
        ("mobilenet_v3_small", 128, "Grad-CAM", (4, 4)),
        ("squeezenet1_1", 96, "Grad-CAM", None),
        ("swin_t", 128, "Grad-CAM", (4, 4)),
    ],
)
def test_families_of_torchvision(name: str, size: int, method: str, places: tuple[int, int] | None) -> None:
    import torchvision

    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None).eval()
    found = grad_cam(network, torch.randn(1, 3, size, size), [7])
    assert found is not None
    assert found[0].method.startswith(f"{method} (")
    if places is not None:
        assert found[0].values_hw.shape == places


def test_a_vision_transformer_is_explained_by_its_tokens() -> None:
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    network = VisionTransformer(32, 4, 2, 2, 16, 32, num_classes=4).eval()
    nn.init.normal_(network.heads.head.weight)
    input_BCHW = torch.randn(2, 3, 32, 32)
    found = grad_cam(network, input_BCHW, [0, 3])
    assert found is not None
    assert found[0].values_hw.shape == (8, 8)
    # The head reads the class token, so that only layers before the last attention say where.
    assert found[0].method.startswith("HiResCAM (encoder.layers.encoder_layer_1.ln_1")
    again = grad_cam(network, input_BCHW, [0, 3])
    assert again is not None
    np.testing.assert_array_equal(found[1].values_hw, again[1].values_hw)


def test_a_network_without_places_is_explained_by_occlusion() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * PX * PX, 4)).eval()
    ask = probabilities_of(network)
    image = np.random.default_rng(0).integers(0, 256, (PX, PX, 3), dtype=np.uint8)
    (found,) = Explainer(TRANSFORM, ask, network=network).explain([image], [2])
    assert found.method == "occlusion (81 covers)"
    with pytest.raises(UsageError, match="no layer of this network keeps positions"):
        Explainer(TRANSFORM, ask, network=network, method=Method.GRAD_CAM).explain([image], [2])
    with pytest.raises(UsageError, match="no gradients"):
        Explainer(TRANSFORM, ask, method=Method.GRAD_CAM)


def test_the_frame_is_what_the_crop_shows() -> None:
    # 300 x 200 becomes 120 x 80, of which the middle 64 x 64 are seen.
    assert frame_of(Transform(80, 64), 300, 200) == pytest.approx((28 / 120, 8 / 80, 64 / 120, 64 / 80))
    assert frame_of(Transform(64, 64, resize="squash"), 300, 200) == (0, 0, 1, 1)
    # The whole image in the middle of borders: the map reaches beyond it above and below.
    assert frame_of(Transform(60, 60, resize="pad"), 300, 200) == pytest.approx((0, -0.25, 1, 1.5))


def test_drawn_side_by_side_and_the_same_each_time() -> None:
    image = np.full((32, 32, 3), 200, np.uint8)
    values_hw = np.zeros((4, 4), np.float32)
    values_hw[0, 0] = 1

    def png() -> bytes:
        buffer = io.BytesIO()
        draw_explanation(image, Explanation(1, values_hw, "Grad-CAM (x)"), caption="cat 90.0%").save(buffer, "png")
        return buffer.getvalue()

    assert png() == png()
    sheet = np.asarray(Image.open(io.BytesIO(png())))
    left, right = sheet[12:236, 12:236], sheet[12:236, 248:472]
    assert (left == 200).all()
    # Bright where the map is strong, dark where it is weak; the bar beside it goes from one to the other.
    assert right[10, 10].sum() > right[200, 200].sum() + 100
    bar = sheet[12:236, 490].astype(int).sum(1)
    assert bar[0] > bar[-1] + 300
