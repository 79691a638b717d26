"""Options of decoding through the real command: transparency, depth, torn files, suffixes, frames and pages."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Run = Callable[..., Any]


def records(run: Any, code: int = 0) -> list[dict[str, Any]]:
    assert run.code == code, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def drawn(seed: int, px: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (px, px, 3), dtype=np.uint8))


def animation(path: Path, num_frames: int, **options: Any) -> Path:
    frames = [drawn(seed, 32) for seed in range(num_frames)]
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    return path


def predict(imgcls: Run, *arguments: object) -> Any:
    return imgcls("predict", "-m", "cifar10-cnn", "-k", 2, *arguments)


def answers(record: dict[str, Any]) -> list[tuple[str, float]]:
    return [(each["label"], each["probability"]) for each in record["predictions"]]


def test_a_background_lies_behind_transparent_images_only(imgcls: Run, tmp_path: Path) -> None:
    image = drawn(0)
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(tmp_path / "a.png")
    drawn(1).save(tmp_path / "b.png")
    for colour, rgb in (("white", (255, 255, 255)), ("black", (0, 0, 0)), ("#ff8000", (255, 128, 0))):
        whole = Image.new("RGBA", image.size, (*rgb, 255))
        whole.alpha_composite(image)
        whole.convert("RGB").save(tmp_path / "c.png")
        found = records(predict(imgcls, tmp_path, "-f", "jsonl", "--background", colour))
        assert answers(found[0]) == answers(found[2])
        plain = records(predict(imgcls, tmp_path, "-f", "jsonl"))
        assert answers(plain[0]) != answers(found[0])
        assert plain[1] == found[1]


@pytest.mark.parametrize("colour", ["grey", "#12345", "ff8000"])
def test_a_colour_that_is_none_is_wrong_usage(imgcls: Run, tmp_path: Path, colour: str) -> None:
    run = predict(imgcls, tmp_path, "--background", colour)
    assert (run.code, run.stdout) == (2, b"")
    assert colour in str(run.stderr)


def test_twelve_bits_in_files_of_sixteen(imgcls: Run, tmp_path: Path) -> None:
    eight = np.asarray(drawn(3).convert("L"))
    Image.fromarray(eight).save(tmp_path / "a.png")
    # 4095 / 255 is not whole, so the values are those that come back as the same bytes.
    Image.fromarray(np.rint(eight * (4095 / 255)).astype(np.uint16)).save(tmp_path / "b.png")
    first, second = records(predict(imgcls, tmp_path, "-f", "jsonl", "--depth", 12))
    assert answers(first) == answers(second)
    dark = records(predict(imgcls, tmp_path / "b.png", "-f", "jsonl"))
    assert answers(dark[0]) != answers(first)


def test_torn_jpegs_are_failures_or_accepted_and_marked(imgcls: Run, tmp_path: Path) -> None:
    content = io.BytesIO()
    drawn(4).save(content, "JPEG", quality=95)
    (tmp_path / "torn.jpg").write_bytes(content.getvalue()[:-40])
    (tmp_path / "whole.jpg").write_bytes(content.getvalue())
    torn, whole = records(predict(imgcls, tmp_path, "-f", "jsonl"), code=4)
    assert torn["error"]["kind"] == "corrupt_image"
    torn, again = records(predict(imgcls, tmp_path, "-f", "jsonl", "--truncated", "accept"))
    assert (torn["status"], torn["truncated"]) == ("ok", True)
    assert [label for label, _ in answers(again)] == [label for label, _ in answers(whole)]
    assert not {"truncated"} & (set(whole) | set(again))


def test_images_of_any_name_are_found_and_the_others_counted(imgcls: Run, tmp_path: Path) -> None:
    for name, kind in {"A.JPG": "JPEG", "photo.jpg.1": "JPEG", "IMG_0001": "PNG", "page.dat": "WEBP"}.items():
        drawn(5).save(tmp_path / name, kind)
    for name in ("a.txt", "b.txt", "notes", "c.xmp"):
        (tmp_path / name).write_text("no image")
    run = predict(imgcls, tmp_path, "-f", "jsonl")
    assert [Path(record["input"]).name for record in records(run)] == ["A.JPG"]
    for word in ("2 .txt", "2 without a suffix", "1 .xmp", "1 .1", "1 .dat", "--any-suffix"):
        assert word in run.stderr
    run = predict(imgcls, tmp_path, "-f", "jsonl", "--any-suffix")
    assert [Path(record["input"]).name for record in records(run)] == ["A.JPG", "IMG_0001", "page.dat", "photo.jpg.1"]
    for word in ("2 .txt", "1 without a suffix", "1 .xmp", "by their first bytes"):
        assert word in run.stderr


SUFFIXES = {
    "jpeg": "JPEG", "jpg": "JPEG", "jpe": "JPEG", "jfif": "JPEG", "mpo": "MPO", "jp2": "JPEG2000", "jpf": "JPEG2000",
    "jpx": "JPEG2000", "j2c": "JPEG2000", "j2k": "JPEG2000", "avif": "AVIF", "webp": "WEBP", "tif": "TIFF",
    "gif": "GIF",
    "HEIC": "HEIF", "heif": "HEIF", "JXL": "JXL",
}  # fmt: skip


def test_these_suffixes_are_images_in_a_folder(imgcls: Run, tmp_path: Path) -> None:
    for package in ("pillow_heif", "pillow_jxl"):
        plugin = pytest.importorskip(package)
        getattr(plugin, "register_heif_opener", lambda: None)()
    for number, (suffix, kind) in enumerate(SUFFIXES.items()):
        drawn(number).save(tmp_path / f"{number:02}.{suffix}", kind)
    found = records(predict(imgcls, tmp_path, "-f", "jsonl"))
    assert [Path(record["input"]).suffix for record in found] == [f".{suffix}" for suffix in SUFFIXES]


def test_the_first_of_several_frames_is_said(imgcls: Run, tmp_path: Path) -> None:
    animation(tmp_path / "a.gif", 3)
    drawn(0).save(tmp_path / "b.gif")
    moving, still = records(predict(imgcls, tmp_path, "-f", "jsonl"))
    assert (moving["frame"], moving["frames"]) == (0, 3)
    assert not {"frame", "frames"} & set(still)


@pytest.mark.parametrize(("suffix", "options"), [("tif", {}), ("png", {}), ("webp", {"lossless": True}), ("gif", {})])
def test_each_frame_has_a_record_with_the_answer_of_its_own_file(
    imgcls: Run, tmp_path: Path, suffix: str, options: dict[str, Any]
) -> None:
    path = animation(tmp_path / f"b.{suffix}", 7, **options)
    drawn(1).save(tmp_path / "a.png")
    drawn(2).save(tmp_path / "c.png")
    found = records(predict(imgcls, tmp_path, "-f", "jsonl", "--all-frames", "--batch-size", 4))
    names = [Path(record["input"]).name for record in found]
    assert names == ["a.png", *[path.name] * 7, "c.png"]
    assert [(record["frame"], record["frames"]) for record in found[1:8]] == [(frame, 7) for frame in range(7)]
    with Image.open(path) as opened:
        for frame in range(7):
            opened.seek(frame)
            opened.convert("RGB").save(tmp_path / f"frame{frame}.bmp")
    alone = records(predict(imgcls, *(tmp_path / f"frame{frame}.bmp" for frame in range(7)), "-f", "jsonl"))
    for one, other in zip(found[1:8], alone, strict=True):
        assert [label for label, _ in answers(one)] == [label for label, _ in answers(other)]
        np.testing.assert_allclose([p for _, p in answers(one)], [p for _, p in answers(other)], atol=1e-5)


@pytest.mark.parametrize("output", ["r.jsonl", "r.csv"])
def test_frames_are_resumed_where_they_were_cut(imgcls: Run, tmp_path: Path, output: str) -> None:
    animation(tmp_path / "a.gif", 5)
    drawn(1).save(tmp_path / "b.png")
    arguments = (tmp_path / "a.gif", tmp_path / "b.png", "--all-frames", "-o", tmp_path / output)
    assert predict(imgcls, *arguments).code == 0
    whole = (tmp_path / output).read_bytes()
    lines = whole.splitlines(keepends=True)
    head = 1 if output == "r.csv" else 0
    (tmp_path / f"{output}.part").write_bytes(b"".join(lines[: head + 3]) + lines[head + 3][:20])
    (tmp_path / output).unlink()
    run = predict(imgcls, *arguments, "--resume")
    assert run.code == 0, run.stderr
    assert "6 ok (3 kept from before)" in run.stderr
    assert (tmp_path / output).read_bytes() == whole
    # Records of first frames alone don't stand for all frames.
    first = predict(imgcls, tmp_path / "a.gif", "-o", tmp_path / f"first-{output}")
    assert first.code == 0
    again = predict(imgcls, tmp_path / "a.gif", "-o", tmp_path / f"first-{output}", "--all-frames", "--resume")
    assert "5 images: 5 ok" in again.stderr
    assert "kept" not in again.stderr


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg"])
def test_a_damaged_first_page_leaves_the_others(imgcls: Run, tmp_path: Path, compression: str) -> None:
    pages = animation(tmp_path / "a.tif", 3, compression=compression)
    content = bytearray(pages.read_bytes())
    with Image.open(pages) as opened:
        start, length = opened.tag_v2[273][0], opened.tag_v2[279][0]
    content[start : start + length] = bytes(length)
    pages.write_bytes(content)
    found = records(predict(imgcls, pages, "-f", "jsonl", "--all-frames"), code=4)
    assert [record["status"] for record in found] == ["error", "ok", "ok"]
    assert [(record["frame"], record["frames"]) for record in found] == [(0, 3), (1, 3), (2, 3)]


def test_a_damaged_page_leaves_the_others_and_a_damaged_frame_ends_its_file(imgcls: Run, tmp_path: Path) -> None:
    pages = animation(tmp_path / "a.tif", 4, compression="tiff_lzw")
    content = bytearray(pages.read_bytes())
    with Image.open(pages) as opened:
        opened.seek(1)
        (start,) = opened.tag_v2[273][:1]
    content[start : start + 400] = bytes(range(200)) * 2
    pages.write_bytes(content)
    found = records(predict(imgcls, pages, "-f", "jsonl", "--all-frames"), code=4)
    assert [record["status"] for record in found] == ["ok", "error", "ok", "ok"]
    assert [record["frame"] for record in found] == [0, 1, 2, 3]
    film = animation(tmp_path / "b.gif", 4)
    film.write_bytes(film.read_bytes()[: film.stat().st_size * 2 // 3])
    run = predict(imgcls, film, "-f", "jsonl", "--all-frames")
    found = [json.loads(line) for line in run.stdout.splitlines()]
    assert found[0]["status"] == "ok"
    assert "error" not in [record["status"] for record in found[:-1]]
