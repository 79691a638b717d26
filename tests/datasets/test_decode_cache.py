"""Decoded images are kept, found again, and forgotten as soon as a file, the geometry or the decoder changes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from labelled_data import damage, write_classes, write_image

from imgcls.datasets import decode_cache, opening
from imgcls.datasets.evaluation_data import open_for_evaluation
from imgcls.datasets.in_memory import PixelStore, Unreadable
from imgcls.datasets.labelled_images import LabelledImages
from imgcls.datasets.opening import Opening
from imgcls.host.files import replacing
from imgcls.images.transform import Transform


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_classes(tmp_path / "pets", {"cat": 3, "dog": 2})


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images of each set that was decoded and not found."""
    counts: list[int] = []
    real = opening.decode_all

    def counting(images: opening.StoredImages, *args: object, **settings: object) -> PixelStore:
        counts.append(len(images))
        return real(images, *args, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(opening, "decode_all", counting)
    return counts


def open_all(root: Path, transform: Transform = Transform(8, 8)) -> LabelledImages:  # noqa: B008
    return open_for_evaluation(str(root), opening=Opening(transform=transform)).images


def all_pixels(images: LabelledImages) -> torch.Tensor:
    batches = images.batches(torch.arange(len(images)), batch_size=100, device=torch.device("cpu"))
    return torch.cat([batch.images_BCHW for batch in batches])


def test_the_second_start_decodes_nothing(root: Path, decoded: list[int]) -> None:
    torn = damage(root / "cat" / "001.png")
    first, second = open_all(root), open_all(root)
    assert decoded == [5]
    assert torch.equal(all_pixels(first), all_pixels(second))
    assert torch.equal(first.labels_N, second.labels_N)
    assert [bad.path for bad in second.skipped] == [torn]
    assert first.skipped == second.skipped
    assert len(list(decode_cache.cache_folder().iterdir())) == 1
    assert sorted(path.name for path in root.iterdir()) == ["cat", "dog"]


def test_changes_are_noticed(root: Path, decoded: list[int]) -> None:
    open_all(root)
    os.utime(root / "cat" / "000.png", ns=(0, 0))
    open_all(root)
    write_image(root / "dog" / "new.png")
    open_all(root)
    (root / "dog" / "new.png").rename(root / "cat" / "new.png")
    open_all(root)
    assert decoded == [5, 5, 6, 6]


def test_same_size_and_date_but_other_bytes(root: Path, decoded: list[int]) -> None:
    path = write_image(root / "cat" / "plain.bmp", seed=1)
    os.utime(path, ns=(0, 0))
    before = all_pixels(open_all(root))
    write_image(path, seed=2)
    os.utime(path, ns=(0, 0))
    assert decoded == [6]
    assert not torch.equal(all_pixels(open_all(root)), before)


def test_geometry_counts_and_arithmetic_does_not(root: Path, decoded: list[int]) -> None:
    open_all(root)
    open_all(root, Transform(8, 8, mean=(0, 0, 0), std=(1, 1, 1)))
    assert decoded == [5]
    for transform in (Transform(9, 8), Transform(8, 7), Transform(8, 8, interpolation="nearest")):
        open_all(root, transform)
    assert decoded == [5] * 4


@pytest.mark.parametrize("content", [b"", b"rubbish", None])
def test_a_damaged_cache_is_made_again(root: Path, decoded: list[int], content: bytes | None) -> None:
    expected = all_pixels(open_all(root))
    (path,) = decode_cache.cache_folder().iterdir()
    path.unlink()
    if content is None:
        torch.save({"pixels": torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "unreadable": []}, path)
    else:
        path.write_bytes(content)
    assert torch.equal(all_pixels(open_all(root)), expected)
    open_all(root)
    assert decoded == [5, 5]


def test_an_unwritable_cache_is_no_error(root: Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = root.parent / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("IMGCLS_CACHE", str(blocked))
    assert len(open_all(root)) == len(open_all(root)) == 5
    assert decoded == [5, 5]


def test_faults_that_may_pass_are_not_remembered() -> None:
    pixels = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    assert not decode_cache.store_decoded("a", PixelStore(pixels, (Unreadable(0, "permission_denied", ""),)))
    assert decode_cache.store_decoded("a", PixelStore(pixels, (Unreadable(0, "corrupt_image", ""),)))


def test_the_least_recently_used_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = torch.zeros(1, 3, 100, 100, dtype=torch.uint8)
    for age, key in enumerate(("a", "b", "c")):
        assert decode_cache.store_decoded(key, PixelStore(pixels))
        os.utime(decode_cache.cache_folder() / f"{key}.pt", (age, age))
    # Reading is use.
    assert decode_cache.load_decoded("a", 1, (100, 100)) is not None
    monkeypatch.setattr(decode_cache, "MAX_CACHE_BYTES", 70_000)
    assert decode_cache.store_decoded("d", PixelStore(pixels))
    assert sorted(path.stem for path in decode_cache.cache_folder().iterdir()) == ["a", "d"]
    monkeypatch.setattr(decode_cache, "MAX_CACHE_BYTES", 20_000)
    assert not decode_cache.store_decoded("e", PixelStore(pixels))


def test_remains_of_a_cut_write_are_removed_once_nobody_can_own_them() -> None:
    folder = decode_cache.cache_folder()
    folder.mkdir(parents=True)
    (folder / ".x.pt.1.part").write_bytes(b"x")
    with replacing(folder / "x.pt") as held:
        held.write_bytes(b"x")
        script = "from imgcls.datasets.decode_cache import prune; prune(10)"
        subprocess.run([sys.executable, "-c", script], check=True)
        assert list(folder.iterdir()) == [held]


def of(pixels: object = torch.zeros(5, 3, 8, 8, dtype=torch.uint8), unreadable: object = ()) -> dict[str, object]:
    return {"pixels": pixels, "unreadable": unreadable}


TAMPERED = {
    "other numbers": of(torch.zeros(5, 3, 8, 8)),
    "another size": of(torch.zeros(5, 3, 9, 8, dtype=torch.uint8)),
    "another count of channels": of(torch.zeros(5, 1, 8, 8, dtype=torch.uint8)),
    "fewer images": of(torch.zeros(4, 3, 8, 8, dtype=torch.uint8)),
    "more dimensions": of(torch.zeros(5, 3, 8, 8, 1, dtype=torch.uint8)),
    "one image for all": of(torch.zeros(1, 3, 8, 8, dtype=torch.uint8).expand(5, -1, -1, -1)),
    "sparse": of(torch.zeros(5, 3, 8, 8, dtype=torch.uint8).to_sparse()),
    "on no device": of(torch.zeros(5, 3, 8, 8, dtype=torch.uint8, device="meta")),
    "no tensor": of([0]),
    "unreadable images that aren't there": of(unreadable=[[5, "corrupt_image", ""]]),
    "unreadable for no known reason": of(unreadable=[[0, "boring", ""]]),
    "unreadable, of another form": of(unreadable=[[0]]),
    "unreadable, as a number": of(unreadable=7),
    "a list": [1],
}


@pytest.mark.parametrize("content", TAMPERED.values(), ids=TAMPERED)
def test_what_was_tampered_with_is_removed_and_made_anew(root: Path, decoded: list[int], content: object) -> None:
    expected = all_pixels(open_all(root))
    (path,) = decode_cache.cache_folder().iterdir()
    torch.save(content, path)
    assert torch.equal(all_pixels(open_all(root)), expected)
    assert torch.equal(all_pixels(open_all(root)), expected)
    assert decoded == [5, 5]
