"""The predictor: one record per input, the same answer whoever asks and whatever else is in the batch."""

import io
import os
import pickle
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from colour_backend import ColourBackend, draw_image
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx_files import write_own
from PIL import Image
from tiny_model import save_image

from imgcls import Classifier
from imgcls.errors import ImageError, UsageError
from imgcls.images.inputs.source import Source
from imgcls.images.transform import Floats, Pixels
from imgcls.inference.backends.backend import Backend, LoadOptions, load_backend
from imgcls.inference.decoder import Crop, Decoded, Decoder
from imgcls.inference.open_inputs import open_input
from imgcls.inference.pipeline import StreamSettings, classify_stream
from imgcls.inference.predictor import Predictor
from imgcls.inference.settings import PredictSettings
from imgcls.outputs.record import ImageRecord, RecordError

TOLERANCE = 1e-6
LONG_SEC = 60.0


def png_bytes(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "png")
    return content.getvalue()


def every_kind(folder: Path) -> list[tuple[Any, str]]:
    """Inputs of every kind, each with the error that it gives, or an empty word."""
    torn = folder / "torn.png"
    torn.write_bytes(save_image(folder / "whole.png", 9).read_bytes()[:-300])
    rng = np.random.default_rng(5)
    inputs: list[tuple[Any, str]] = [(save_image(folder / f"{n}.png", n), "") for n in range(8)]
    inputs += [(png_bytes(Image.open(save_image(folder / f"b{n}.png", 20 + n))), "") for n in range(4)]
    inputs += [(Image.fromarray(rng.integers(0, 256, (9, 14, 3), dtype=np.uint8)), "") for _ in range(3)]
    inputs += [(rng.integers(0, 256, shape, dtype=np.uint8), "") for shape in ((9, 14, 3), (20, 11), (8, 8, 3))]
    inputs += [
        (str(folder / "0.png"), ""),
        (Source("named", path=folder / "1.png"), ""),
        (torn, "corrupt_image"),
        (folder / "gone.png", "not_found"),
        (folder, "not_an_image"),
        (b"", "not_an_image"),
        (b"plain text", "not_an_image"),
        (np.zeros((0, 5, 3), np.uint8), "not_an_image"),
        (np.zeros((4, 4, 3), np.float32), "not_an_image"),
        (Image.new("RGB", (0, 7)), "not_an_image"),
        (Image.open(io.BytesIO(torn.read_bytes())), "corrupt_image"),
        (Source("locked", failure=ImageError("permission_denied", "locked")), "permission_denied"),
    ]
    return inputs


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, str]]:
    return every_kind(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module", params=["bundled", "tiny", "onnx"])
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Backend:
    """A convolutional network and a small one on PyTorch, and one on onnxruntime."""
    if request.param == "onnx":
        return load_backend(str(write_own(tmp_path_factory.mktemp("onnx") / "m.onnx", scale=0.02))).backend
    model = "cifar10-cnn" if request.param == "bundled" else str(tiny_model)
    return load_backend(model, LoadOptions(device="cpu")).backend


def as_words(record: ImageRecord, classes: tuple[str, ...]) -> tuple[Any, ...]:
    """All of a record but the last digits of its probabilities."""
    assert [p.label for p in record.predictions] == [classes[p.class_id] for p in record.predictions]
    return (record.input, record.model, record.status, record.error, record.width, record.height, record.version)


def check_same(found: ImageRecord, expected: ImageRecord, classes: tuple[str, ...]) -> None:
    assert as_words(found, classes) == as_words(expected, classes)
    # By class and not by rank: what is equal to the last digit may change places.
    answers = [{p.class_id: p.probability for p in record.predictions} for record in (found, expected)]
    assert answers[0] == pytest.approx(answers[1], abs=TOLERANCE)


@pytest.fixture(scope="module")
def alone(backend: Backend, inputs: list[tuple[Any, str]]) -> list[ImageRecord]:
    """Each input's record when nobody else asks and nothing else is in the batch."""
    with Predictor(backend, PredictSettings(top_k=99)) as predictor:
        return [predictor.predict_batch([item])[0] for item, _ in inputs]


def test_each_kind_of_input_has_its_record(inputs, alone, backend):
    assert [record.error.kind if record.error else "" for record in alone] == [kind for _, kind in inputs]
    for record in alone:
        if record.status == "ok":
            assert sum(p.probability for p in record.predictions) == pytest.approx(1, abs=1e-5)
            assert len(record.predictions) == len(backend.classes)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), batch_size=st.sampled_from([1, 2, 3, 7, 16, 64]), count=st.integers(1, 64))
def test_an_answer_depends_on_its_input_alone(seed, batch_size, count, inputs, alone, backend):
    order = random.Random(seed).choices(range(len(inputs)), k=count)
    with Predictor(backend, PredictSettings(top_k=99, batch_size=batch_size, num_threads=2)) as predictor:
        records = predictor.predict_batch([inputs[index][0] for index in order])
    assert len(records) == count
    for index, record in zip(order, records, strict=True):
        check_same(record, alone[index], backend.classes)


def test_threads_that_ask_at_once_get_their_own_answers(inputs, alone, backend):
    start = threading.Barrier(6)
    predictor = Predictor(backend, PredictSettings(top_k=99, batch_size=8, num_threads=2))

    def ask(seed: int) -> list[tuple[int, ImageRecord]]:
        rng, answered = random.Random(seed), []
        start.wait(LONG_SEC)
        for _ in range(5):
            order = rng.choices(range(len(inputs)), k=rng.randint(1, 12))
            answered += zip(order, predictor.predict_batch([inputs[index][0] for index in order]), strict=True)
        return answered

    with predictor, ThreadPoolExecutor(6) as threads:
        for answered in threads.map(ask, range(6)):
            for index, record in answered:
                check_same(record, alone[index], backend.classes)


def test_the_pipeline_and_the_classifier_answer_the_same(inputs, alone, backend):
    as_sources = [(item, record) for (item, _), record in zip(inputs, alone, strict=True) if isinstance(item, Path)]
    sources = [Source(str(path), path=path) for path, _ in as_sources]
    stream = classify_stream(sources, backend, StreamSettings(top_k=99, batch_size=4))
    classifier = Classifier(backend)
    batch = classifier.predict_batch([item for item, _ in inputs], top_k=99)
    for (_, expected), streamed in zip(as_sources, stream, strict=True):
        check_same(streamed, expected, backend.classes)
    for (item, kind), expected, batched in zip(inputs, alone, batch, strict=True):
        check_same(batched, expected, backend.classes)
        if kind:
            with pytest.raises(ImageError) as caught:
                classifier.predict(item, top_k=99)
            assert caught.value.kind == kind
        else:
            check_same(classifier.predict(item, top_k=99), expected, backend.classes)


def test_inputs_decoded_by_another_process_get_the_same_answers(inputs, alone, backend):
    decoder = pickle.loads(pickle.dumps(Decoder(backend.transform)))
    decoded = pickle.loads(pickle.dumps([decoder.decode(open_input(item)) for item, _ in inputs]))
    predictor = Predictor(backend, PredictSettings(top_k=99))
    for record, expected in zip(predictor.predict_decoded(decoded), alone, strict=True):
        check_same(record, expected, backend.classes)


def test_nothing_gives_nothing():
    assert Predictor(ColourBackend()).predict_batch([]) == []
    assert Predictor(ColourBackend()).predict_decoded([]) == []


@pytest.mark.parametrize("size", [1, 3, 4, 9])
def test_no_more_than_a_batch_is_given_to_the_model_at_once(size):
    sizes: list[int] = []

    class Sizes(ColourBackend):
        def probabilities(self, images_BHWC: Pixels) -> Floats:
            sizes.append(len(images_BHWC))
            return super().probabilities(images_BHWC)

    inputs = [draw_image(8 * n, 100, 100) for n in range(9)]
    records = Predictor(Sizes(), PredictSettings(batch_size=size, top_k=3)).predict_batch(inputs)
    reds = [next(p.probability for p in record.predictions if p.label == "red") for record in records]
    assert reds == pytest.approx([8 * n / (8 * n + 200) for n in range(9)], abs=TOLERANCE)
    assert (max(sizes), sum(sizes)) == (size, 9)


def test_the_callers_image_stays_as_it_was():
    image = Image.new("P", (6, 4))
    exif = image.getexif()
    exif[0x0112] = 6
    before = (image.mode, image.size, image.tobytes())
    record = Predictor(ColourBackend()).predict_batch([image])[0]
    assert (image.mode, image.size, image.tobytes()) == before
    # Upright, as the same image from a file would be.
    assert (record.width, record.height) == (4, 6)


def test_a_crop_of_another_model_is_refused():
    crop = Crop(np.zeros((9, 8, 3), np.uint8), 9, 9)
    with pytest.raises(ValueError, match=r"takes crops of uint8 \(8, 8, 3\), not uint8 \(9, 8, 3\)"):
        Predictor(ColourBackend()).predict_decoded([Decoded("a", crop)])
    with pytest.raises(ValueError, match="float32"):
        Predictor(ColourBackend()).predict_decoded([Decoded("a", Crop(np.zeros((8, 8, 3), np.float32), 9, 9))])


def test_a_reason_given_by_who_decodes_is_the_record():
    (record,) = Predictor(ColourBackend()).predict_decoded([Decoded("a", RecordError("too_large", "much\ntoo large"))])
    assert record.to_dict()["error"] == {"kind": "too_large", "message": "much too large"}


def test_the_settings_shape_the_answers(tmp_path):
    path = save_image(tmp_path / "a.png")
    shaped = PredictSettings(top_k=2, threshold=0.9, thumbnail_px=8, max_pixels=100)
    too_large, small = Predictor(ColourBackend(), shaped).predict_batch([path, draw_image(1, 2, 3, (5, 5))])
    assert too_large.error is not None
    assert too_large.error.kind == "too_large"
    assert (len(small.predictions), small.uncertain) == (2, True)
    assert small.thumbnail is not None
    assert small.thumbnail.startswith(b"\xff\xd8")
    assert Predictor(ColourBackend(), shaped).predict_batch([np.zeros((11, 10, 3), np.uint8)])[0].status == "error"


def decoding_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "decode"}


def have_ended(threads: set[threading.Thread]) -> bool:
    for thread in threads:
        thread.join(LONG_SEC)
    return not any(thread.is_alive() for thread in threads)


def test_its_threads_end_with_it():
    # Those of earlier tests come to their end in their own time.
    before = decoding_threads()
    predictor = Predictor(ColourBackend(), PredictSettings(num_threads=3))
    predictor.predict_batch([draw_image(1, 2, 3)])
    first = decoding_threads() - before
    assert len(first) == 3
    predictor.close()
    assert have_ended(first)
    # It can be asked again, and who forgets to close it leaves nothing behind.
    assert predictor.predict_batch([draw_image(1, 2, 3)])[0].status == "ok"
    second = decoding_threads() - before
    assert len(second) == 3
    del predictor
    assert have_ended(second)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_it_can_be_used_in_a_forked_process_as_a_web_server_starts_its_workers():
    predictor = Predictor(ColourBackend(), PredictSettings(num_threads=1, decode_limit_sec=LONG_SEC))
    assert predictor.predict_batch([draw_image(1, 2, 3)])[0].status == "ok"
    child = os.fork()
    if child == 0:
        # The threads of the parent are not here.
        answered = predictor.predict_batch([draw_image(1, 2, 3)])[0].status
        os._exit(0 if answered == "ok" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    predictor.close()


@pytest.mark.parametrize("name", ["top_k", "batch_size", "num_threads", "max_pixels"])
@pytest.mark.parametrize("value", [0, -3, 1.5, "2", True])
def test_numbers_that_mean_nothing_are_refused(name, value):
    with pytest.raises(UsageError, match=f"{name} must be a whole number of at least 1, not {value!r}"):
        PredictSettings(**{name: value})
    with pytest.raises(UsageError, match=name):
        StreamSettings(**{name: value})


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_a_threshold_is_a_probability(value):
    with pytest.raises(UsageError, match="threshold must be a probability"):
        PredictSettings(threshold=value)


def test_numpys_whole_numbers_count():
    assert PredictSettings(top_k=np.int64(3), batch_size=np.int32(2)).top_k == 3  # type: ignore[arg-type]
