"""Files that may run away are decoded in a process that is killed, and give the same pixels there."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hostile_images import blp_of_jpeg, encoded, progressive_jpeg, sequential_jpeg, slow_qoi, tiff_of_strips
from PIL import Image, TiffImagePlugin, features

from imgcls.errors import ImageError
from imgcls.images import cropping
from imgcls.images.cropping import cropped_image, decode_options, whole_image
from imgcls.images.decoding import DecodeOptions, decoded_image
from imgcls.images.frames import FrameCursor
from imgcls.images.transform import Transform
from imgcls.images.worker_process import cost, process
from imgcls.images.worker_process.messages import BrokenConversationError, receive, send
from imgcls.images.worker_process.pool import WORKERS, WorkerPool
from imgcls.images.worker_process.process import Request, UnavailableError, WorkerProcess

TRANSFORM = Transform(8, 8)
OPTIONS = DecodeOptions()


def goes_elsewhere(source: Path | bytes) -> bool:
    try:
        cropping._cropped_here(source, TRANSFORM, DecodeOptions(hands_over=True, counts_frames=True), 0, None)
    except cost.MayRunAwayError:
        return True
    return False


def test_what_is_surely_quick_stays_in_this_process(tmp_path: Path) -> None:
    quick = ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "TGA", "ICO", "SGI", "PCX"]
    assert [name for name in quick if goes_elsewhere(encoded(name))] == []
    assert not goes_elsewhere(encoded("JPEG", 4000, 3000, progressive=True))
    assert not goes_elsewhere(encoded("QOI"))
    assert not goes_elsewhere(encoded("TIFF", compression="tiff_lzw"))
    (tmp_path / "a.jpg").write_bytes(encoded("JPEG"))
    assert not goes_elsewhere(tmp_path / "a.jpg")


def test_what_may_run_away_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert goes_elsewhere(encoded("JPEG2000"))
    if features.check("avif"):
        assert goes_elsewhere(encoded("AVIF"))
    assert goes_elsewhere(encoded("TIFF", compression="jpeg"))
    assert goes_elsewhere(encoded("QOI", 700, 500))
    assert goes_elsewhere(blp_of_jpeg(progressive_jpeg(3)))
    assert goes_elsewhere(b"P3 600 600 255\n" + b"9 " * 3 * 600 * 600)
    # Passes count: 30 of them here, over what is one of the largest images then.
    monkeypatch.setattr(cost, "LARGE_WORK", 64 * 64 * 20)
    assert goes_elsewhere(progressive_jpeg(30))
    assert not goes_elsewhere(progressive_jpeg(3))
    assert goes_elsewhere(sequential_jpeg(30))
    assert not goes_elsewhere(sequential_jpeg(3))
    assert goes_elsewhere(tiff_of_strips(60, 64))
    assert not goes_elsewhere(tiff_of_strips(2, 64))
    # Large files are not even opened here.
    (tmp_path / "a.jpg").write_bytes(encoded("JPEG") + bytes(cost.LARGE_BYTES))
    assert goes_elsewhere(tmp_path / "a.jpg")


@pytest.mark.parametrize("format_", ["JPEG2000", "AVIF", "QOI", "large"])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_pixels_are_the_same_there(tmp_path: Path, format_: str, as_bytes: bool) -> None:
    if format_ == "AVIF" and not features.check("avif"):
        pytest.skip("Pillow without AVIF")
    content = encoded("PNG") + bytes(cost.LARGE_BYTES) if format_ == "large" else encoded(format_, 600, 500)
    path = tmp_path / "a"
    path.write_bytes(content)
    source = content if as_bytes else path
    for transform in (TRANSFORM, Transform(20, 16, crop_width_px=12, resize="pad", pad_rgb=(9, 8, 7))):
        here = cropping._cropped_here(source, transform, OPTIONS, 32, None)
        there = cropped_image(source, transform, OPTIONS, thumbnail_px=32)
        assert np.array_equal(here.pixels_HWC, there.pixels_HWC)
        assert (here.width, here.height, here.thumbnail) == (there.width, there.height, there.thumbnail)


def test_errors_and_limits_are_the_same_there(tmp_path: Path) -> None:
    (tmp_path / "torn.jp2").write_bytes(encoded("JPEG2000")[:400])
    (tmp_path / "large").write_bytes(b"<!DOCTYPE html>" + bytes(cost.LARGE_BYTES))
    for name, options in (("torn.jp2", OPTIONS), ("large", OPTIONS), ("torn.jp2", DecodeOptions(max_pixels=100))):
        told = []
        for decode in (
            lambda: cropping._cropped_here(tmp_path / name, TRANSFORM, options, 0, None),  # noqa: B023
            lambda: cropped_image(tmp_path / name, TRANSFORM, options),  # noqa: B023
        ):
            with pytest.raises(ImageError) as error:
                decode()
            told.append((error.value.kind, error.value.message))
        assert told[0] == told[1]


@pytest.mark.skipif(os.name == "nt", reason="the system doesn't end a process that has computed for so long")
def test_one_that_runs_away_is_killed_and_the_next_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    began = time.monotonic()
    with pytest.raises(ImageError, match=r"decoding took more than 0\.5 s") as error:
        cropped_image(slow_qoi(), TRANSFORM, DecodeOptions(max_pixels=10**9), limit_sec=0.5)
    # It would have taken a quarter of an hour.
    assert time.monotonic() - began < 60
    assert error.value.kind == "corrupt_image"
    assert cropped_image(encoded("JPEG2000"), TRANSFORM, OPTIONS).width == 40


def test_a_later_page_is_looked_at_too() -> None:
    pages = [Image.new("RGB", (30, 20)), Image.new("RGB", (30, 20), (200, 0, 0))]
    file = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(file) as written:
        for page, compression in zip(pages, ("raw", "jpeg"), strict=True):
            page.save(written, "TIFF", compression=compression)
            written.newFrame()
    cursor = FrameCursor()
    options = DecodeOptions(counts_frames=True)
    assert cropped_image(file.getvalue(), TRANSFORM, options, cursor=cursor).pixels_HWC[4, 4, 0] == 0
    assert (cursor.num_frames, cursor.elsewhere) == (2, None)
    cursor.frame = 1
    assert abs(int(cropped_image(file.getvalue(), TRANSFORM, options, cursor=cursor).pixels_HWC[4, 4, 0]) - 200) < 3
    assert cursor.elsewhere is not None
    cursor.close()


@pytest.mark.parametrize("format_", ["PNG", "JPEG2000", "TIFF"])
def test_whole_images_are_the_same_there(format_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(format_, exif=exif, **({"compression": "jpeg"} if format_ == "TIFF" else {}))
    asked = []
    monkeypatch.setattr(WORKERS, "ask", lambda request: asked.append(request) or WorkerPool.ask(WORKERS, request))
    with whole_image(content, OPTIONS) as whole:
        pass
    with decoded_image(content, OPTIONS) as here:
        assert np.array_equal(np.asarray(whole.image), np.asarray(here.image))
    assert len(asked) == (format_ != "PNG")
    expected = (40, 30, 1) if format_ == "JPEG2000" else (30, 40, 6)
    assert (whole.width, whole.height, whole.orientation) == expected
    assert (here.width, here.height, here.orientation) == expected
    with pytest.raises(ImageError) as error, whole_image(content[:300], OPTIONS):
        pass
    assert error.value.kind == "corrupt_image"


@pytest.mark.skipif(os.name == "nt", reason="the system doesn't end a process that has computed for so long")
def test_a_whole_image_that_runs_away_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cropping, "IMAGE_LIMIT_SEC", 0.3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with (
        pytest.raises(ImageError, match=r"decoding took more than 0\.3 s"),
        whole_image(slow_qoi(13_000), OPTIONS),
    ):
        pass


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(("number", "kind"), [(signal.SIGSEGV, "corrupt_image"), (signal.SIGKILL, "too_large")])
def test_a_decoder_that_crashes_takes_only_its_image_with_it(number: int, kind: str) -> None:
    worker = WorkerProcess()
    values = {**values_of(), "options": {"background_rgb": None, "max_pixels": 10**9}}
    killer = threading.Timer(0.3, os.kill, (worker._process.pid, number))
    killer.start()
    with pytest.raises(ImageError) as error:
        worker.ask(Request(slow_qoi(), values, 60.0))
    killer.join()
    assert error.value.kind == kind
    assert worker.has_ended


def test_frames_of_a_file_are_read_on_where_it_is_open() -> None:
    frames = [Image.new("RGB", (30, 20), (40 * index, 0, 0)) for index in range(4)]
    file = io.BytesIO()
    frames[0].save(file, "TIFF", save_all=True, append_images=frames[1:], compression="jpeg")
    cursor = FrameCursor()
    options = DecodeOptions(counts_frames=True)
    workers = set()
    for index in range(4):
        cursor.frame = index
        found = cropped_image(file.getvalue(), TRANSFORM, options, cursor=cursor)
        assert (cursor.num_frames, cursor.has_pages) == (4, True)
        assert abs(int(found.pixels_HWC[4, 4, 0]) - 40 * index) < 3
        assert cursor.elsewhere is not None
        workers.add(cursor.elsewhere.worker)
        assert cursor.elsewhere.worker.open_token == cursor.elsewhere.token
    assert len(workers) == 1
    # Killed in between, another one goes on.
    cursor.elsewhere.worker.end()
    cursor.frame = 2
    assert abs(int(cropped_image(file.getvalue(), TRANSFORM, options, cursor=cursor).pixels_HWC[4, 4, 0]) - 80) < 3


def test_where_no_process_can_be_started_threads_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cropping, "WORKERS", WorkerPool())
    monkeypatch.setattr(process, "BOOT", "raise SystemExit(3)")
    with pytest.raises(UnavailableError):
        WorkerProcess()
    assert cropped_image(encoded("JPEG2000"), TRANSFORM, OPTIONS).width == 40
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(UnavailableError):
        WorkerProcess()


def test_a_worker_that_went_home_is_replaced() -> None:
    pool = WorkerPool()
    request = Request(encoded("JPEG2000"), values_of(), 60.0)
    _answer, _content, first = pool.ask(request)
    first._process.stdin.close()
    first._process.wait(60)
    answer, _content, second = pool.ask(request)
    assert (answer["width"], second is first) == (40, False)
    pool.close()
    assert second.has_ended


def values_of() -> dict[str, object]:
    return {
        "transform": TRANSFORM.to_dict(),
        "options": {"background_rgb": None},
        "thumbnail_px": 0,
        "pillow_max_pixels": None,
        "frame": 0,
        "is_whole": False,
    }


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="reads /proc")
def test_workers_end_with_their_parent_however_it_ends(tmp_path: Path) -> None:
    (tmp_path / "a.jp2").write_bytes(encoded("JPEG2000"))
    code = f"""
import os, sys
from pathlib import Path
from imgcls.images import cropping
from imgcls.images.transform import Transform
cropping.cropped_image(Path({str(tmp_path / "a.jp2")!r}), Transform(8, 8), cropping.DecodeOptions())
print(cropping.WORKERS._idle[0]._process.pid, flush=True)
os.kill(os.getpid(), int(sys.argv[1])) if int(sys.argv[1]) else None
"""
    for number in (0, signal.SIGKILL, signal.SIGTERM):
        run = subprocess.run(
            [sys.executable, "-c", code, str(int(number))], capture_output=True, text=True, check=False
        )
        assert run.stderr == ""
        deadline = time.monotonic() + 60
        while is_alive(int(run.stdout)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not is_alive(int(run.stdout))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_working_folder_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIL", "numpy", "imgcls", "json"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    WORKERS.close()
    assert cropped_image(encoded("JPEG2000"), TRANSFORM, OPTIONS).width == 40
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 7, b"\xff" * 8, b"\0\0\0\x02\0\0\0\0[]", b"\0\0\0\x02\0\0\0\x05{}ab", b"\0\0\0\x01\0\0\0\0{"],
)
def test_nonsense_is_no_message(content: bytes) -> None:
    with pytest.raises(BrokenConversationError):
        receive(io.BytesIO(content), most_bytes=10)


def test_messages_come_as_they_were_sent() -> None:
    stream = io.BytesIO()
    send(stream, {"a": "\udcff"}, b"xyz")
    stream.seek(0)
    assert receive(stream, most_bytes=3) == ({"a": "\udcff"}, b"xyz")


def test_options_of_a_transform() -> None:
    transform = Transform(8, 8, background_rgb=(1, 2, 3), depth_bits=12, accepts_truncated=True)
    options = decode_options(transform)
    assert (options.background_rgb, options.depth_bits, options.accepts_truncated) == ((1, 2, 3), 12, True)
    content = encoded("TIFF", compression="jpeg")
    assert cropped_image(content, transform, options).width == 40
