"""A record as an object, as text and as a notebook shows it."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_model import save_image

from imgcls import Classifier, load_classifier
from imgcls.errors import ImageError
from imgcls.images.thumbnails import THUMBNAIL_PX
from imgcls.outputs.record import ImageRecord, Prediction, failed_record, file_version


@pytest.fixture(scope="module")
def classifier(tiny_model: Path) -> Classifier:
    return load_classifier(tiny_model, device="cpu")


def image_in(html: str) -> Image.Image | None:
    found = re.search(r"<img alt='' src='data:image/jpeg;base64,([A-Za-z0-9+/=]+)'", html)
    return Image.open(io.BytesIO(base64.b64decode(found[1]))) if found else None


class Texts(HTMLParser):
    """Collects a page's texts, and checks that what is opened is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("kind", ["path", "bytes", "image", "array"])
def test_a_notebook_shows_the_image_and_a_bar_for_each_class(classifier, tmp_path, kind):
    path = tmp_path / "red.png"
    Image.new("RGB", (200, 100), (250, 5, 5)).save(path)
    given = {
        "path": path,
        "bytes": path.read_bytes(),
        "image": Image.open(io.BytesIO(path.read_bytes())),
        "array": np.asarray(Image.open(io.BytesIO(path.read_bytes()))),
    }[kind]
    record = classifier.predict(given)
    html = record._repr_html_()
    shown = image_in(html)
    assert shown is not None
    assert shown.size == (THUMBNAIL_PX, THUMBNAIL_PX // 2)
    red, green, blue = shown.convert("RGB").getpixel((40, 20))
    assert red > 230
    assert max(green, blue) < 40
    texts = Texts(html).texts
    for prediction in record.predictions:
        assert prediction.label in texts
        assert f"{prediction.probability:.2%}" in texts
        assert f"width:{prediction.probability:.2%}" in html


def test_records_of_many_files_show_their_images_too_while_the_files_are_the_same(classifier, tmp_path):
    path = save_image(tmp_path / "a.png")
    (record,) = classifier.predict_many([path])
    assert record.thumbnail is None
    assert image_in(record._repr_html_()) is not None
    path.write_bytes(b"another file")
    assert image_in(record._repr_html_()) is None
    path.unlink()
    assert image_in(record._repr_html_()) is None


def test_what_was_damaged_without_being_noticed_shows_no_image(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"no image")
    record = ImageRecord(str(path), "m@1", (Prediction(0, "a", 1.0),), version=file_version(path))
    assert image_in(record._repr_html_()) is None


def test_names_and_reasons_are_text_and_never_markup():
    evil = "<script>alert('&')</script>"
    good = ImageRecord(evil, evil, (Prediction(0, evil, 0.5),))
    bad = failed_record(evil, "m@1", ImageError("corrupt_image", evil))
    for record in (good, bad):
        html = record._repr_html_()
        assert "<script>" not in html
        assert evil in "".join(Texts(html).texts)


def test_a_record_reads_as_one_line_without_its_thumbnail(classifier, tmp_path):
    record = classifier.predict(save_image(tmp_path / "a.png"))
    assert record.thumbnail
    assert "thumbnail" not in repr(record)
    assert str(record).startswith(f"{tmp_path / 'a.png'}: {record.label} {record.probability:.2%}, ")
    assert str(failed_record("b", "m@1", ImageError("not_found", "no such file"))) == "b: not_found: no such file"
    # Two records of one answer are equal, whether a thumbnail was asked for or not.
    (many,) = classifier.predict_many([tmp_path / "a.png"])
    assert many.input == record.input
    assert many.width == record.width
