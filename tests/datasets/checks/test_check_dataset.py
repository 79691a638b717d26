import numpy as np
import pytest
from faulty_data import PixelFeatures, drawn, save
from labelled_data import damage
from PIL import Image

from imgcls.datasets.checks.classes import similar_names
from imgcls.datasets.checks.finding import KINDS
from imgcls.datasets.checks.run import check_dataset
from imgcls.errors import DataError


def found(root, kind, **options):
    report = check_dataset(str(root), embed=PixelFeatures(), workers=1, **options)
    return [finding for finding in report.findings if finding.kind == kind]


def names(findings):
    return [finding.input.rpartition("/")[2] for finding in findings]


@pytest.fixture
def photos(tmp_path):
    """Two classes of a dozen images in train, and three in val, without any fault."""
    root = tmp_path / "photos"
    for number in range(12):
        for offset, name in ((0, "cat"), (500, "dog")):
            save(drawn(number + offset), root / "train" / name / f"{number}.png")
            if number < 3:
                save(drawn(number + offset + 50), root / "val" / name / f"v{number}.png")
    return root


def test_good_data_has_no_findings(photos):
    report = check_dataset(str(photos), embed=PixelFeatures(), workers=2)
    assert report.findings == ()
    assert report.counts == {"train": 24, "val": 6}
    assert report.to_dict()["summary"] == {}


def test_the_same_pixels_in_another_file_leak(photos):
    drawn(3).save(photos / "val" / "cat" / "copy.bmp")
    (finding,) = found(photos, "leakage")
    assert finding.input == str(photos / "val/cat/copy.bmp")
    assert finding.other == str(photos / "train/cat/3.png")
    assert (finding.split, finding.other_split, finding.is_exact, finding.score) == ("val", "train", True, 1.0)


@pytest.mark.parametrize("change", ["flipped", "re-encoded", "rescaled"])
def test_a_changed_copy_leaks(photos, change):
    image, target = drawn(505), photos / "val" / "dog" / "copy"
    if change == "flipped":
        save(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), target.with_suffix(".png"))
    elif change == "re-encoded":
        save(image, target.with_suffix(".jpg"), quality=60)
    else:
        save(image.resize((70, 70), Image.Resampling.BICUBIC), target.with_suffix(".png"))
    (finding,) = found(photos, "leakage")
    assert finding.other == str(photos / "train/dog/5.png")
    assert finding.is_exact is False
    assert finding.score >= 0.8


def test_copies_within_a_class_and_between_classes(photos):
    save(drawn(2), photos / "train" / "cat" / "again.png")
    save(drawn(4), photos / "train" / "dog" / "really-a-cat.png")
    assert names(found(photos, "duplicate")) == ["again.png"]
    (conflict,) = found(photos, "conflict")
    assert (conflict.label, conflict.suggested_label) == ("dog", "cat")


def test_an_image_of_another_class_is_suspected(tmp_path):
    # Two kinds of image that their pixels tell apart: a bright left half, a bright right half.
    root = tmp_path / "sides"
    for number in range(30):
        for name, side in (("left", slice(0, 24)), ("right", slice(24, 48))):
            pixels = np.asarray(drawn(number + 1000 * (name == "right"))).astype(int) // 2
            pixels[:, side] += 110
            save(Image.fromarray(pixels.astype(np.uint8)), root / "train" / name / f"{name}{number}.png")
    (root / "train/left/left7.png").rename(root / "train/right/left7.png")
    findings = found(root, "label")
    assert names(findings)[:1] == ["left7.png"]
    assert (findings[0].label, findings[0].suggested_label) == ("right", "left")
    assert len(findings) <= 2


def test_damaged_blank_tiny_long_and_blurred_images(photos):
    for number in range(20):
        save(drawn(number + 2000, px=160), photos / "train" / "cat" / f"large{number}.png")
    damage(save(drawn(9000), photos / "train" / "cat" / "torn.png"))
    save(Image.new("RGB", (160, 160), (40, 90, 20)), photos / "train" / "dog" / "blank.png")
    save(drawn(9001, px=8), photos / "train" / "dog" / "tiny.png")
    save(drawn(9002, px=160).resize((900, 100)), photos / "train" / "dog" / "long.png")
    coarse = drawn(9003, px=160).resize((4, 4)).resize((160, 160), Image.Resampling.BICUBIC)
    save(coarse, photos / "train" / "dog" / "blurred.png")
    assert names(found(photos, "unreadable")) == ["torn.png"]
    odd = found(photos, "odd")
    words = [finding.reason.split(":")[0].split()[0] for finding in odd]
    said = dict(zip(names(odd), words, strict=True))
    assert said == {"blank.png": "blank", "tiny.png": "tiny", "long.png": "9.0", "blurred.png": "blurred"}


def test_a_dark_image_is_odd_only_among_bright_ones(tmp_path):
    for name in ("day", "night"):
        for number in range(10):
            image = drawn(number)
            dark = image.point(lambda value: value // 14) if name == "night" or number == 3 else image
            save(dark, tmp_path / name / "cat" / f"{number}.png")
            save(dark.transpose(Image.Transpose.ROTATE_90), tmp_path / name / "dog" / f"{number}.png")
    assert sorted(names(found(tmp_path / "day", "odd"))) == ["3.png", "3.png"]
    assert found(tmp_path / "night", "odd") == []


def test_a_brightness_that_gives_the_class_away_is_a_shortcut(tmp_path):
    for number in range(20):
        save(drawn(number).point(lambda value: value // 3), tmp_path / "cat" / f"{number}.png")
        save(drawn(number + 50).point(lambda value: 128 + value // 3), tmp_path / "dog" / f"{number}.png")
    (finding,) = found(tmp_path, "shortcut")
    assert finding.input == "brightness"
    assert finding.score == pytest.approx(1)


def test_a_file_type_for_each_class_is_a_shortcut(tmp_path):
    for number in range(15):
        save(drawn(number), tmp_path / "cat" / f"{number}.png")
        save(drawn(number + 50), tmp_path / "dog" / f"{number}.jpg", quality=90)
    assert names(found(tmp_path, "shortcut")) == ["file type"]


def test_some_images_turned_by_exif(photos):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(drawn(77), photos / "train" / "cat" / "turned.jpg", exif=exif)
    (finding,) = found(photos, "orientation")
    assert finding.label == "cat"
    assert finding.reason.startswith("1 of 31 images")


def test_small_classes(photos):
    save(drawn(300), photos / "train" / "owl" / "only.png")
    (finding,) = found(photos, "imbalance")
    assert (finding.input, finding.other) == ("owl", "cat")


@pytest.mark.parametrize(
    ("pair", "is_one"),
    [
        (("Golden Retriever", "golden_retriever"), True),
        (("cats", "cat"), True),
        (("sparow", "sparrow"), True),
        (("recieve", "receive"), True),
        (("class_01", "class_02"), False),
        (("cat", "bat"), False),
        (("lighter", "fighter"), False),
    ],
)
def test_names_that_look_alike(pair, is_one):
    assert bool(list(similar_names(pair))) is is_one


def test_without_features_copies_are_found_by_hash_and_it_is_said(photos):
    save(drawn(3), photos / "val" / "cat" / "copy.jpg", quality=60)
    report = check_dataset(str(photos), workers=1)
    assert [finding.kind for finding in report.findings] == ["leakage"]
    assert "imgcls[imagenet]" in report.warnings[-1]


def test_the_same_data_give_the_same_findings(photos):
    save(drawn(3), photos / "val" / "cat" / "copy.jpg", quality=60)
    first, second = (check_dataset(str(photos), embed=PixelFeatures(), workers=n).findings for n in (1, 3))
    assert first == second


def test_folders_alone_are_split_as_training_would(tmp_path):
    for number in range(10):
        for offset, name in ((0, "cat"), (500, "dog")):
            save(drawn(number + offset), tmp_path / name / f"{number}.png")
    report = check_dataset(str(tmp_path), embed=PixelFeatures(), workers=1, seed=3)
    assert report.counts == {"train": 16, "val": 4}


def test_nothing_readable_is_an_error(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match="none of the 2 images"):
        check_dataset(str(tmp_path), workers=1)


def test_the_command_knows_every_kind():
    from imgcls.cli.check.options import KINDS as OF_COMMAND

    assert OF_COMMAND == KINDS
