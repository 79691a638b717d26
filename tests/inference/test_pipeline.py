"""The stream: order, laziness, slow images, failing inputs, early ends."""

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from colour_backend import ColourBackend, draw_image

from imgcls.errors import DataError
from imgcls.images import cropping
from imgcls.images.inputs.source import Source
from imgcls.inference.pipeline import StreamSettings, classify_stream
from imgcls.outputs.record import KeptRecord

LONG_SEC = 60.0


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    """Thirty images, each another shade."""
    paths = [tmp_path / f"{number:02}.png" for number in range(30)]
    for number, path in enumerate(paths):
        draw_image(8 * number, 100, 100).save(path)
    return [Source(path.name, path) for path in paths]


def names(stream: Any) -> list[str]:
    return [record.input for record in stream]


@pytest.mark.parametrize("batch_size", [1, 3, 32])
@pytest.mark.parametrize("num_threads", [1, 4])
def test_a_record_an_input_in_order(sources, batch_size, num_threads):
    bad = Source("bad", content=b"text")
    mixed = [sources[0], bad, *sources[1:5], bad, bad]
    settings = StreamSettings(batch_size=batch_size, num_threads=num_threads, top_k=3)
    records = list(classify_stream(mixed, ColourBackend(), settings))
    assert names(records) == [source.name for source in mixed]
    assert [record.status for record in records] == ["ok", "error", "ok", "ok", "ok", "ok", "error", "error"]
    # Each has its own answer, and not its neighbour's.
    for record, shade in zip((r for r in records if r.status == "ok"), range(0, 40, 8), strict=True):
        red = next(p.probability for p in record.predictions if p.label == "red")
        assert red == pytest.approx(shade / (shade + 200), abs=1e-6)


def test_inputs_are_read_only_a_little_ahead(sources):
    taken = 0

    def endless() -> Iterator[Source]:
        nonlocal taken
        for source in itertools.cycle(sources):
            taken += 1
            yield source

    stream = classify_stream(endless(), ColourBackend(), StreamSettings(batch_size=4, num_threads=2))
    for number in range(200):
        next(stream)
        # Two batches in the queue, a batch in each thread and one before them, one in hand, and what the reader holds.
        assert taken <= number + (2 + ColourBackend.num_threads + 1 + 1) * 4 + 2
    stream.close()


def test_a_slow_image_holds_back_nothing_before_it(sources, monkeypatch):
    let_go, decode = threading.Event(), cropping.decoded_image

    def decode_or_wait(source: Path, *options: Any) -> Any:
        assert source.name != "05.png" or let_go.wait(LONG_SEC)
        return decode(source, *options)

    monkeypatch.setattr(cropping, "decoded_image", decode_or_wait)
    monkeypatch.setattr("imgcls.inference.pipeline.BATCH_PATIENCE_SEC", 0.05)
    stream = classify_stream(sources, ColourBackend(), StreamSettings(batch_size=32, num_threads=2))
    # These arrive although the sixth will not be through before they do.
    first = [next(stream).input for _ in range(5)]
    let_go.set()
    assert first + names(stream) == [source.name for source in sources]


def test_a_slow_image_does_not_hold_up_the_end(sources, monkeypatch):
    let_go, decode = threading.Event(), cropping.decoded_image
    stop = False

    def decode_or_wait(source: Path, *options: Any) -> Any:
        assert source.name != "05.png" or let_go.wait(LONG_SEC)
        return decode(source, *options)

    monkeypatch.setattr(cropping, "decoded_image", decode_or_wait)
    monkeypatch.setattr("imgcls.inference.pipeline.BATCH_PATIENCE_SEC", 0.05)
    settings = StreamSettings(batch_size=4, num_threads=2, should_stop=lambda: stop)
    found = []
    for record in classify_stream(sources, ColourBackend(), settings):
        found.append(record.input)
        stop = len(found) >= 4
    # Nobody has let the sixth go: the stream ended without it, and without what came after it.
    assert found in ([f"{n:02}.png" for n in range(4)], [f"{n:02}.png" for n in range(5)])
    let_go.set()


def test_what_the_inputs_raise_comes_after_what_was_before_it(sources):
    def failing() -> Iterator[Source]:
        yield from sources[:5]
        raise DataError("the list has gone")

    stream = classify_stream(failing(), ColourBackend(), StreamSettings(batch_size=4))
    assert [next(stream).input for _ in range(5)] == [source.name for source in sources[:5]]
    with pytest.raises(DataError, match="the list has gone"):
        next(stream)


def test_what_the_model_raises_ends_the_stream(sources):
    class Broken(ColourBackend):
        def probabilities(self, images_BHWC: Any) -> Any:
            raise RuntimeError("broken")

    threads = threading.active_count()
    with pytest.raises(RuntimeError, match="broken"):
        list(classify_stream(sources, Broken(), StreamSettings(batch_size=4)))
    for thread in threading.enumerate():
        if thread.daemon and thread.name in ("decode", "read inputs"):
            thread.join(LONG_SEC)
    assert threading.active_count() <= threads


def test_kept_records_take_no_place_in_a_batch(sources):
    sizes = []

    class Sizes(ColourBackend):
        def probabilities(self, images_BHWC: Any) -> Any:
            sizes.append(len(images_BHWC))
            return super().probabilities(images_BHWC)

    kept = [KeptRecord(f"kept {n}", 0, 0, False, "red", 0.5) for n in range(3000)]
    mixed = [*kept[:1000], *sources[:2], *kept[1000:2000], *sources[2:8], *kept[2000:]]
    found = names(classify_stream(mixed, Sizes(), StreamSettings(batch_size=4)))
    assert found == [item.input if isinstance(item, KeptRecord) else item.name for item in mixed]
    assert max(sizes) <= 4
    assert sum(sizes) == 8


def test_answers_under_the_threshold_are_marked(sources):
    marked = [
        record.uncertain
        for record in classify_stream(sources, ColourBackend(), StreamSettings(threshold=0.45, top_k=1))
    ]
    shares = [max(s, 100) / (s + 200) for s in range(0, 240, 8)]
    assert marked == [bool(np.float32(share) < 0.45) for share in shares]
    assert {r.uncertain for r in classify_stream(sources, ColourBackend(), StreamSettings())} == {None}
