"""Data sets in archives: the same images, classes and splits as unpacked, and what becomes of damaged ones."""

import io
import json
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from labelled_data import damage, write_classes, write_image
from tiny_runs import assert_same_metrics, assert_same_weights, recipe_for, stop_after

from imgcls.datasets.evaluation_data import open_for_evaluation
from imgcls.datasets.opening import Opening, open_dataset
from imgcls.datasets.readers.archive_images import ArchiveImages, shards_of
from imgcls.datasets.resolving import resolve
from imgcls.errors import DataError
from imgcls.evaluation.run import evaluate
from imgcls.images.transform import Transform
from imgcls.training.rng import epoch_order, sharded_order
from imgcls.training.run import train

TRANSFORM = Transform(8, 8)
CPU = torch.device("cpu")


def pack(folder: Path, archive: Path, *, top: str = "") -> str:
    """Pack what a folder holds, perhaps below a folder of another name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in files:
                packed.write(path, top + path.relative_to(folder).as_posix())
    else:
        with tarfile.open(archive, "w") as packed:
            for path in files:
                packed.add(path, top + path.relative_to(folder).as_posix())
    return str(archive)


def write_shard(archive: Path, samples: dict[str, bytes]) -> Path:
    """A tar of the given members, in their order."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w") as packed:
        for name, content in samples.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return archive


def png(folder: Path, *, seed: int = 0, colour: tuple[int, int, int] = (90, 120, 30)) -> bytes:
    return write_image(folder / "made.png", seed=seed, colour=colour).read_bytes()


def shards(folder: Path, *, count: int = 3, each: int = 4, split: str = "train") -> str:
    """WebDataset shards of two classes, told by `.cls`."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(count):
        samples = {}
        for number in range(each):
            key = f"{shard * each + number:06d}"
            label = number % 2
            samples[f"{key}.png"] = png(folder, seed=shard * each + number, colour=(200 * label, 40, 40))
            samples[f"{key}.cls"] = str(label).encode()
        write_shard(folder / f"{split}-{shard:03d}.tar", samples)
    (folder / "made.png").unlink()
    return str(folder / f"{split}-{{000..{count - 1:03d}}}.tar")


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
@pytest.mark.parametrize("top", ["", "pets/"])
def test_an_archive_of_class_folders_is_the_folder(tmp_path, suffix, top):
    folder = write_classes(tmp_path / "pets", {"cat": 6, "dog": 4})
    plain = open_dataset(str(folder), transform=TRANSFORM)
    packed = open_dataset(pack(folder, tmp_path / f"pets{suffix}", top=top), transform=TRANSFORM)
    assert packed.classes == plain.classes == ("cat", "dog")
    assert (len(packed.train), len(packed.val)) == (len(plain.train), len(plain.val))
    # What each image holds is told by the same eight bytes, wherever it lies.
    everything = [torch.cat([data.train.fingerprints(), data.val.fingerprints()]) for data in (plain, packed)]
    assert sorted(everything[0].tolist()) == sorted(everything[1].tolist())
    pixels = {}
    for name, data in (("plain", plain), ("packed", packed)):
        (batch,) = data.train.batches(torch.arange(len(data.train)), batch_size=99, device=CPU)
        rows = zip(data.train.fingerprints().tolist(), batch.images_BCHW, batch.labels_B.tolist(), strict=True)
        pixels[name] = {key: (image, label) for key, image, label in rows}
    for key in pixels["plain"].keys() & pixels["packed"].keys():
        torch.testing.assert_close(pixels["plain"][key][0], pixels["packed"][key][0], rtol=0, atol=0)
        assert pixels["plain"][key][1] == pixels["packed"][key][1]


def test_split_folders_inside(tmp_path):
    for split in ("train", "Validation", "test"):
        write_classes(tmp_path / "pets" / split, {"cat": 2, "dog": 2})
    data = open_dataset(pack(tmp_path / "pets", tmp_path / "pets.zip", top="data/"), transform=TRANSFORM)
    assert {name: len(images) for name, images in data.splits.items()} == {"train": 4, "val": 4, "test": 4}
    found = open_for_evaluation(str(tmp_path / "pets.zip"), opening=Opening(transform=TRANSFORM))
    assert found.images.description.split == "test"


def test_a_class_called_train_is_a_class(tmp_path):
    folder = write_classes(tmp_path / "vehicles", {"car": 2, "train": 2, "ship": 2})
    data = resolve(pack(folder, tmp_path / "v.tar"), splits=None)
    assert data.classes == ("car", "ship", "train")
    assert len(data.splits["all"].rows) == 6


def test_shards_with_cls_in_braces_and_as_a_folder(tmp_path):
    pattern = shards(tmp_path / "s", count=3)
    shards(tmp_path / "s", count=1, split="val")
    data = open_dataset(pattern, transform=TRANSFORM, val_fraction=0)
    assert (data.classes, len(data.train), data.val) == (("0", "1"), 12, None)
    folder = open_dataset(str(tmp_path / "s"), transform=TRANSFORM)
    assert (len(folder.train), len(folder.val)) == (12, 4)


def test_numbers_are_classes_in_their_order(tmp_path):
    samples = {}
    for label in (10, 2, 1):
        samples |= {f"{label}.png": png(tmp_path, seed=label), f"{label}.cls": str(label).encode()}
    assert resolve(str(write_shard(tmp_path / "a.tar", samples)), splits=None).classes == ("1", "2", "10")


@pytest.mark.parametrize("key", ["label", "class", "cls"])
def test_json_tells_the_label(tmp_path, key):
    samples = {
        "a.seg.png": png(tmp_path, seed=1),
        "a.json": json.dumps({key: "cat", "width": 3}).encode(),
        "b.png": png(tmp_path, seed=2),
        "b.json": json.dumps({key: 7}).encode(),
        "c.png": png(tmp_path, seed=3),
        "c.json": b"[]",
    }
    data = resolve(str(write_shard(tmp_path / "a.tar", samples)), splits=None)
    assert data.classes == ("7", "cat")
    assert data.warnings == ("1 image with neither a folder nor a label beside it is left out",)


def test_json_with_lists_of_labels(tmp_path):
    samples = {}
    for number, labels in enumerate((["cat", "dog"], [], ["dog"])):
        samples |= {
            f"{number}.png": png(tmp_path, seed=number),
            f"{number}.json": json.dumps({"labels": labels}).encode(),
        }
    data = resolve(str(write_shard(tmp_path / "a.tar", samples)), splits=None)
    assert data.is_multi_label
    assert data.splits["all"].labels == [(0, 1), (), (1,)]
    with pytest.raises(DataError, match="several labels"):
        resolve(str(tmp_path / "a.tar"), splits=None, multi_label=False)


def test_images_can_be_read_in_any_order_and_by_other_processes(tmp_path):
    folder = write_classes(tmp_path / "pets", {"cat": 3, "dog": 3})
    for archive in (tmp_path / "pets.zip", tmp_path / "pets.tar"):
        split = resolve(pack(folder, archive), splits=None).splits["all"]
        images = split.images
        assert isinstance(images, ArchiveImages)
        images.read(5)
        again = pickle.loads(pickle.dumps(images))
        for index in (4, 0, 5, 2):
            label = ("cat", "dog")[split.labels[index]]
            assert again.read(index) == (folder / label / Path(again.places[index].name).name).read_bytes()
        assert images.name(0) == f"{archive}::cat/000.png"


def test_streamed_by_worker_processes_it_gives_the_same_pixels(tmp_path):
    pattern = shards(tmp_path / "s")
    held = open_dataset(pattern, transform=TRANSFORM, val_fraction=0).train
    streamed = open_dataset(pattern, transform=TRANSFORM, val_fraction=0, max_memory_mib=0, workers=2).train
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    for one, other in zip(
        held.batches(order, batch_size=5, device=CPU), streamed.batches(order, batch_size=5, device=CPU), strict=True
    ):
        assert torch.equal(one.images_BCHW, other.images_BCHW)
        assert torch.equal(one.labels_B, other.labels_B)


def test_damaged_and_hostile_members_are_skipped_and_told(tmp_path):
    folder = write_classes(tmp_path / "pets", {"cat": 3, "dog": 3})
    damage(folder / "cat" / "001.png")
    with tarfile.open(pack(folder, tmp_path / "pets.tar"), "a") as packed:
        link = tarfile.TarInfo("dog/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        packed.addfile(link)
        upward = tarfile.TarInfo("../outside/up.png")
        upward.size = 3
        packed.addfile(upward, io.BytesIO(b"abc"))
    data = open_dataset(str(tmp_path / "pets.tar"), transform=TRANSFORM, val_fraction=0)
    kinds = {bad.path.name: bad.kind for bad in data.train.skipped}
    assert kinds == {"001.png": "corrupt_image", "link.png": "not_an_image", "up.png": "not_an_image"}
    assert not (tmp_path.parent / "outside").exists()


@pytest.mark.parametrize(
    ("suffix", "mode"), [(".tar.gz", "w:gz"), (".tgz", "w:gz"), (".tar.xz", "w:xz"), (".tar.bz2", "w:bz2")]
)
def test_a_compressed_tar_is_decompressed_once(tmp_path, suffix, mode, private_home):
    folder = write_classes(tmp_path / "pets", {"cat": 3, "dog": 3})
    path = tmp_path / f"pets{suffix}"
    with tarfile.open(path, mode) as packed:
        packed.add(folder, "pets")
    split = resolve(str(path), splits=None).splits["all"]
    assert split.images.read(4) == (folder / "dog" / "001.png").read_bytes()
    # Named as predict names it, wherever it is read.
    assert split.images.name(4) == f"{path}::pets/dog/001.png"
    (made,) = (private_home / "imgcls" / "decompressed").iterdir()
    before = made.stat().st_ino
    assert resolve(str(path), splits=None).splits["all"].description == split.description
    assert made.stat().st_ino == before
    content = path.read_bytes()
    (tmp_path / f"torn{suffix}").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="torn or damaged"):
        resolve(str(tmp_path / f"torn{suffix}"), splits=None)
    assert len(list((private_home / "imgcls" / "decompressed").iterdir())) == 1


def test_a_torn_archive_is_told(tmp_path):
    folder = write_classes(tmp_path / "pets", {"cat": 3, "dog": 3})
    whole = Path(pack(folder, tmp_path / "pets.tar")).read_bytes()
    (tmp_path / "torn.tar").write_bytes(whole[: whole.index(b"dog/001.png") + 600])
    data = resolve(str(tmp_path / "torn.tar"), splits=None)
    assert "what comes after that is missing" in data.warnings[0]
    assert len(data.splits["all"].rows) == 5


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("data.tar.gz", b"x", "torn or damaged"),
        ("data.tar", b"x" * 2000, "holds no images"),
        ("data.zip", b"x" * 2000, "holds no images"),
    ],
)
def test_what_can_not_be_used(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        resolve(str(tmp_path / name), splits=None)


def test_images_without_labels_and_missing_shards(tmp_path):
    with pytest.raises(DataError, match="images, but no labels"):
        resolve(str(write_shard(tmp_path / "a.tar", {"a.png": png(tmp_path)})), splits=None)
    with pytest.raises(DataError, match=r"1 archive of 2 not there, such as .*b\.tar"):
        resolve(str(tmp_path / "{a,b}.tar"), splits=None)


def test_an_archive_that_has_changed_is_noticed_by_whoever_reads_it(tmp_path):
    folder = write_classes(tmp_path / "pets", {"cat": 2, "dog": 2})
    images = resolve(pack(folder, tmp_path / "pets.zip"), splits=None).splits["all"].images
    shutil.rmtree(folder / "cat")
    pack(folder, tmp_path / "pets.zip")
    again = pickle.loads(pickle.dumps(images))
    with pytest.raises(Exception, match="has changed since it was listed"):
        again.read(0)


def test_the_order_reads_few_shards_at_a_time_and_every_image_once():
    shards_N = torch.arange(12).repeat_interleave(50)
    order = sharded_order(0, 3, shards_N, buffer=100)
    assert sorted(order.tolist()) == list(range(600))
    for start in range(0, 600, 100):
        assert len(set(shards_N[order[start : start + 100]].tolist())) == 2
    assert sharded_order(0, 3, shards_N, buffer=100).equal(order)
    assert not sharded_order(0, 4, shards_N, buffer=100).equal(order)
    # Neighbours are shuffled, and the groups are others in each epoch.
    assert (order[:100].diff() == 1).sum() < 20
    assert sharded_order(0, 3, shards_N, buffer=600).equal(epoch_order(0, 3, 600))


@pytest.mark.parametrize("memory", ["held", "streamed"])
def test_a_run_on_shards_that_was_cut_ends_with_the_same_weights(tmp_path, memory, monkeypatch):
    monkeypatch.setattr("imgcls.training.loop.SHUFFLE_BUFFER", 8)
    if memory == "streamed":
        monkeypatch.setattr("imgcls.datasets.opening.available_bytes", lambda: 0)
    shards(tmp_path / "s", count=6)
    shards(tmp_path / "s", count=1, split="val")
    recipe = recipe_for(tmp_path / "s", "train.batch_size=4")
    assert shards_of(open_dataset(str(tmp_path / "s"), transform=TRANSFORM).train).unique().tolist() == list(range(6))
    whole = train(recipe, output=tmp_path / "whole", workers=1)
    train(recipe, output=tmp_path / "cut", workers=1, should_stop=stop_after(4))
    train(resume=tmp_path / "cut", workers=1)
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")
    assert_same_metrics(tmp_path / "whole", tmp_path / "cut")
    report = evaluate(tmp_path / "whole", device="cpu")
    assert report.result.count == 4
    assert report.result.top1 == pytest.approx(whole.best.top1)


def test_a_run_on_shards_in_braces_is_evaluated_without_naming_them_again(tmp_path):
    train(recipe_for(Path(shards(tmp_path / "s"))), output=tmp_path / "run")
    report = evaluate(tmp_path / "run", device="cpu")
    assert (report.data.split, report.trained_on) == ("val", 0)
