"""The differential test: predict against the script that a user would otherwise write."""

import io
import json
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imgcls.models.networks.alexnet import AlexNet

TOLERANCE = 1e-5


def photograph(seed: int, width: int = 320, height: int = 240) -> Image.Image:
    """A smooth coloured scene with some noise, as a JPEG decoder would give it."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    return Image.fromarray(np.clip(smooth + rng.integers(-9, 10, smooth.shape), 0, 255).astype(np.uint8))


def deep_grey(seed: int) -> tuple[Image.Image, Image.Image]:
    """A 16-bit image, and the 8-bit one that scaling by 255/65535 makes of it."""
    values = np.asarray(photograph(seed).convert("L"), dtype=np.uint16) * 257
    values += np.random.default_rng(seed).integers(0, 100, values.shape, dtype=np.uint16).clip(max=65535 - values)
    return Image.fromarray(values), Image.fromarray(np.round(values / 257).astype(np.uint8))


def rotated(orientation: int, transpose: Image.Transpose) -> Callable[[Path], Image.Image]:
    """Save an image lying on its side with an EXIF note, and return it upright."""

    def save(path: Path) -> Image.Image:
        lying = photograph(orientation)
        exif = Image.Exif()
        exif[0x0112] = orientation
        lying.save(path.with_suffix(".png"), exif=exif)
        return lying.transpose(transpose)

    return save


def saved(mode: str, suffix: str) -> Callable[[Path], Image.Image]:
    """Save an image in a mode, and return what `Image.open` makes of the file."""

    def save(path: Path) -> Image.Image:
        image = photograph(zlib.crc32(f"{mode}{suffix}".encode())).convert(mode)
        if "A" in mode:
            image.putalpha(photograph(99).convert("L"))
        image.save(path.with_suffix(suffix))
        with Image.open(path.with_suffix(suffix)) as opened:
            opened.load()
            return opened.copy()

    return save


def saved_16_bit(path: Path) -> Image.Image:
    deep, flat = deep_grey(7)
    deep.save(path.with_suffix(".png"))
    return flat


CASES: dict[str, Callable[[Path], Image.Image]] = {
    "rgb_jpeg": saved("RGB", ".jpg"),
    "rgb_png": saved("RGB", ".png"),
    "rgb_webp": saved("RGB", ".webp"),
    "grey": saved("L", ".jpg"),
    "bilevel": saved("1", ".png"),
    "palette": saved("P", ".png"),
    "palette_gif": saved("P", ".gif"),
    "rgba": saved("RGBA", ".png"),
    "grey_alpha": saved("LA", ".png"),
    "cmyk": saved("CMYK", ".jpg"),
    "deep_grey": saved_16_bit,
    "exif_3": rotated(3, Image.Transpose.ROTATE_180),
    "exif_6": rotated(6, Image.Transpose.ROTATE_270),
    "exif_7": rotated(7, Image.Transpose.TRANSVERSE),
    "exif_8": rotated(8, Image.Transpose.ROTATE_90),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random but fixed AlexNet whose answers differ from image to image."""
    torch.manual_seed(20)
    network = AlexNet()
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
                torch.nn.init.kaiming_normal_(layer.weight)
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save(network.state_dict(), path)
    return path


def plain_script(weights: Path, images: list[Image.Image]) -> np.ndarray:
    """What the tutorial does, image by image."""
    from torchvision.models import AlexNet_Weights, alexnet

    network = alexnet(weights=None)
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.eval()
    preset = AlexNet_Weights.IMAGENET1K_V1.transforms()
    with torch.no_grad():
        return np.stack([network(preset(image.convert("RGB"))[None]).softmax(1)[0].numpy() for image in images])


def test_predict_answers_as_the_plain_script(tmp_path: Path, weights: Path) -> None:
    images = [save(tmp_path / name) for name, save in CASES.items()]
    expected = plain_script(weights, images)
    files = [str(next(tmp_path.glob(f"{name}.*"))) for name in CASES]
    command = [sys.executable, "-m", "imgcls", "predict", "--weights", str(weights), "-k", "1000", "-f", "json", *files]
    answer = subprocess.run(command, capture_output=True, check=False, timeout=120)
    assert answer.returncode == 0, answer.stderr
    records = json.loads(answer.stdout)["results"]
    assert [record["input"] for record in records] == files
    # The images must tell the answers apart, else a shifted record would pass.
    assert np.abs(expected[:, None] - expected[None]).max(axis=2)[~np.eye(len(files), dtype=bool)].min() > TOLERANCE
    for record, probabilities_K in zip(records, expected, strict=True):
        answered = np.zeros(1000)
        for prediction in record["predictions"]:
            answered[prediction["class_id"]] = prediction["probability"]
        np.testing.assert_allclose(answered, probabilities_K, rtol=0, atol=TOLERANCE, err_msg=record["input"])


def test_predict_from_python_answers_as_the_plain_script(weights: Path) -> None:
    from imgcls import load_classifier

    image = photograph(3)
    encoded = io.BytesIO()
    image.save(encoded, "png")
    expected = plain_script(weights, [image])[0]
    classifier = load_classifier("alexnet", weights=weights, device="cpu")
    for given in (image, np.asarray(image), encoded.getvalue()):
        record = classifier.predict(given, top_k=3)
        assert [p.class_id for p in record.predictions] == list(np.argsort(-expected)[:3])
        assert record.probability == pytest.approx(expected.max(), abs=TOLERANCE)
