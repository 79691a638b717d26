"""Decoding threads: outcomes, and images that hold a thread up."""

import threading
import time
from pathlib import Path

import pytest
from PIL import Image
from tiny_model import save_image

from imgcls.errors import ImageError
from imgcls.images import cropping
from imgcls.images.inputs.source import Source
from imgcls.images.transform import Transform
from imgcls.inference import decode_pool
from imgcls.inference.decode_pool import DecodePool
from imgcls.inference.decoder import Crop, Decoder
from imgcls.inference.download_pool import MAX_DOWNLOADS
from imgcls.outputs.record import RecordError, file_version

LONG_SEC = 60.0


def build_pool(*, thumbnail_px: int = 0, **options) -> DecodePool:
    defaults = {
        "num_threads": 1, "time_limit_sec": LONG_SEC, "fetch_limit_sec": LONG_SEC,
        "fetch": lambda url: pytest.fail(url),
    }  # fmt: skip
    decoder = Decoder(Transform(8, 8), max_pixels=10**6, thumbnail_px=thumbnail_px)
    return DecodePool(decoder, **{**defaults, **options})


def outcome(pool: DecodePool, source: Source) -> Crop | RecordError:
    task = pool.submit(source)
    assert pool.wait(task, LONG_SEC)
    assert task.decoded is not None
    return task.decoded.outcome


def test_an_image_becomes_a_crop_with_its_version(tmp_path):
    pool = build_pool()
    path = save_image(tmp_path / "a.png")
    task = pool.submit(Source("a", path))
    assert pool.wait(task, LONG_SEC)
    crop = task.decoded.outcome
    assert isinstance(crop, Crop)
    assert (crop.width, crop.height, crop.pixels_HWC.shape) == (16, 12, (8, 8, 3))
    assert task.decoded.version == file_version(path) == (path.stat().st_size, path.stat().st_mtime_ns)
    pool.close()


def test_every_failure_is_an_outcome(tmp_path, monkeypatch):
    def fetch(url: str) -> bytes:
        raise ImageError("download_failed", "no answer")

    pool = build_pool(fetch=fetch)
    kinds = [
        outcome(pool, Source("f", failure=ImageError("permission_denied", "locked"))),
        outcome(pool, Source("u", url="http://u")),
        outcome(pool, Source("gone", tmp_path / "gone")),
        outcome(pool, Source("b", content=b"")),
    ]
    assert [o.kind for o in kinds] == ["permission_denied", "download_failed", "not_found", "not_an_image"]
    for failure, kind in ((MemoryError(), "too_large"), (RecursionError("deep"), "corrupt_image")):

        def fail(*_args, failure=failure):
            raise failure

        monkeypatch.setattr(cropping, "decoded_image", fail)
        assert outcome(pool, Source("b", content=b"x")).kind == kind
    pool.close()


def decoding_threads() -> set[threading.Thread]:
    """Those alive now; others, of an earlier test perhaps, come and go."""
    return {thread for thread in threading.enumerate() if thread.name == "decode"}


def test_an_image_that_runs_away_is_given_up_and_the_others_go_on(tmp_path, monkeypatch):
    stuck, let_go = threading.Event(), threading.Event()
    decode = cropping.decoded_image

    def decode_or_hang(source: Path, *options):
        if source.name == "hang":
            stuck.set()
            assert let_go.wait(LONG_SEC)
        return decode(source, *options)

    monkeypatch.setattr(cropping, "decoded_image", decode_or_hang)
    threads = decoding_threads()
    # One thread: unless it is replaced, nothing comes after the stuck image.
    pool = build_pool(time_limit_sec=0.05)
    tasks = [pool.submit(Source(name, tmp_path / name)) for name in ("hang", "hang", "gone")]
    assert stuck.wait(LONG_SEC)
    while not all(pool.wait(task, 0.01) for task in tasks):
        pass
    assert [task.decoded.outcome.kind for task in tasks] == ["corrupt_image", "corrupt_image", "not_found"]
    assert tasks[0].decoded.outcome.message == "decoding took more than 0.05 s"
    # A thread that comes to its end late changes nothing, and none is left.
    given_up = tasks[0].decoded
    let_go.set()
    pool.close()
    deadline = time.monotonic() + LONG_SEC
    while decoding_threads() - threads and time.monotonic() < deadline:
        time.sleep(0.001)
    assert not decoding_threads() - threads
    assert tasks[0].decoded is given_up


def test_each_frame_of_a_url_is_there(tmp_path):
    frames = [Image.new("RGB", (30, 20), (100 * index, 0, 0)) for index in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:], compression="jpeg")
    pool = build_pool(fetch=lambda url: (tmp_path / url[-5:]).read_bytes())
    # One of them is decoded here, the other in a process of its own.
    for name in ("a.gif", "a.tif"):
        task, reds = pool.submit(Source("u", url=f"http://{name}"), all_frames=True), []
        while task is not None:
            assert pool.wait(task, LONG_SEC)
            reds.append(int(task.decoded.outcome.pixels_HWC[4, 4, 0]))
            task = pool.submit_next(task)
        assert reds == pytest.approx([0, 100, 200], abs=4)
    pool.close()


def test_waiting_ends_in_time_for_a_task_that_is_not_late(tmp_path, monkeypatch):
    let_go = threading.Event()
    monkeypatch.setattr(cropping, "decoded_image", lambda *_a, **_o: let_go.wait(LONG_SEC))
    pool = build_pool()
    tasks = [pool.submit(Source("a", tmp_path)), pool.submit(Source("b", tmp_path))]
    # Neither the one in hand nor the one that nobody has taken up yet.
    assert [pool.wait(task, 0.001) for task in tasks] == [False, False]
    let_go.set()
    pool.close()


def test_what_still_waits_is_not_decoded_after_the_end(tmp_path, monkeypatch):
    begun, let_go, seen = threading.Event(), threading.Event(), []

    def decode(source: Path, *_options):
        seen.append(source.name)
        begun.set()
        assert let_go.wait(LONG_SEC)
        raise ImageError("corrupt_image", "no")

    monkeypatch.setattr(cropping, "decoded_image", decode)
    threads = decoding_threads()
    pool = build_pool()
    for name in "abc":
        pool.submit(Source(name, tmp_path / name))
    assert begun.wait(LONG_SEC)
    pool.close()
    let_go.set()
    deadline = time.monotonic() + LONG_SEC
    while decoding_threads() - threads and time.monotonic() < deadline:
        time.sleep(0.001)
    assert seen == ["a"]


def test_a_thumbnail_fits_and_keeps_its_proportions(tmp_path):
    path = tmp_path / "wide.png"
    Image.new("RGB", (400, 2), "red").save(path)
    pool = build_pool(thumbnail_px=96)
    crop = outcome(pool, Source("wide", path))
    assert isinstance(crop, Crop)
    assert crop.thumbnail is not None
    assert crop.thumbnail.startswith(b"\xff\xd8")
    pool.close()


def test_urls_are_fetched_beside_each_other_and_never_hold_up_files(tmp_path):
    content = save_image(tmp_path / "a.png").read_bytes()
    # Whoever fetches waits until all the others fetch too; one decoding thread could do only one after the other.
    together = threading.Barrier(MAX_DOWNLOADS + 1)

    def fetch(_url: str) -> bytes:
        together.wait(LONG_SEC)
        return content

    pool = build_pool(fetch=fetch)
    urls = [pool.submit(Source(str(index), url=f"http://{index}")) for index in range(MAX_DOWNLOADS)]
    assert isinstance(outcome(pool, Source("a", tmp_path / "a.png")), Crop)
    assert not any(task.done.is_set() for task in urls)
    together.wait(LONG_SEC)
    for task in urls:
        assert pool.wait(task, LONG_SEC)
        assert isinstance(task.decoded.outcome, Crop)
        assert task.content is None
    pool.close()


def test_no_more_encoded_images_are_held_than_are_fetched_at_once(tmp_path, monkeypatch):
    content, let_go, fetched = save_image(tmp_path / "a.png").read_bytes(), threading.Event(), []
    all_held = threading.Event()

    def fetch(url: str) -> bytes:
        fetched.append(url)
        if len(fetched) == MAX_DOWNLOADS:
            all_held.set()
        return content

    decode = cropping.decoded_image

    def decode_later(source: bytes, *options):
        assert let_go.wait(LONG_SEC)
        return decode(source, *options)

    monkeypatch.setattr(cropping, "decoded_image", decode_later)
    pool = build_pool(fetch=fetch)
    urls = [pool.submit(Source(str(index), url=f"http://{index}")) for index in range(3 * MAX_DOWNLOADS)]
    assert all_held.wait(LONG_SEC)
    assert not urls[-1].done.wait(0.3)
    assert len(fetched) == MAX_DOWNLOADS
    let_go.set()
    assert all(pool.wait(task, LONG_SEC) for task in urls)
    assert len(fetched) == len(urls)
    pool.close()


def test_a_download_that_does_not_end_is_given_up(monkeypatch):
    monkeypatch.setattr(decode_pool, "FETCH_GRACE_SEC", 0.0)
    let_go = threading.Event()
    pool = build_pool(fetch=lambda _url: str(let_go.wait(LONG_SEC)).encode(), fetch_limit_sec=0.05)
    task = pool.submit(Source("u", url="http://u"))
    while not pool.wait(task, 0.01):
        pass
    assert (task.decoded.outcome.kind, task.decoded.outcome.message) == ("download_failed", "not done after 0.05 s")
    let_go.set()
    pool.close()


@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="the system doesn't count a thread's computing")
def test_an_image_whose_neighbours_take_all_cores_is_not_late(tmp_path, monkeypatch):
    # It waits three times its limit, as it would for a core, and computes next to nothing.
    decode, waited = cropping.decoded_image, threading.Event()

    def decode_late(source: Path, *options):
        waited.wait(0.6)
        return decode(source, *options)

    monkeypatch.setattr(cropping, "decoded_image", decode_late)
    save_image(tmp_path / "a.png")
    pool = build_pool(time_limit_sec=0.2)
    task = pool.submit(Source("a.png", tmp_path / "a.png"))
    assert pool.wait(task, LONG_SEC)
    assert isinstance(task.decoded.outcome, Crop)
    pool.close()


def test_an_image_that_computes_beyond_its_limit_is_given_up(tmp_path, monkeypatch):
    let_go = threading.Event()

    def compute(*_arguments):
        while not let_go.is_set():
            sum(range(1000))
        raise ImageError("corrupt_image", "let go")

    monkeypatch.setattr(cropping, "decoded_image", compute)
    pool = build_pool(time_limit_sec=0.05)
    task = pool.submit(Source("a.png", tmp_path / "a.png"))
    assert pool.wait(task, LONG_SEC)
    assert task.decoded.outcome.message == "decoding took more than 0.05 s"
    let_go.set()
    pool.close()
