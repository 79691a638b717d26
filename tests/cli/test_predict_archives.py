"""`imgcls predict` on archives: the records of the loose files, resumed, in memory that doesn't grow."""

import json
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from tiny_model import save_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve images, one of them damaged, and the same in archives of each kind."""
    images = save_images(tmp_path / "in", 12)
    images[5].write_bytes(images[5].read_bytes()[:60])
    for name, mode in (("s.tar", "w"), ("s.tar.gz", "w:gz")):
        with tarfile.open(tmp_path / name, mode) as archive:
            for image in images:
                archive.add(image, image.name)
    with zipfile.ZipFile(tmp_path / "s.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        for image in images:
            zipped.write(image, image.name)
    return tmp_path


def records(text: bytes | str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_members_have_the_records_of_loose_files(imgcls, tiny_model, folder):
    loose = records(imgcls("predict", "in", "-m", tiny_model, "-f", "jsonl", cwd=folder).stdout)
    assert [each["status"] for each in loose].count("error") == 1
    for name in ("s.tar", "s.tar.gz", "s.zip"):
        run = imgcls("predict", name, "-m", tiny_model, "-f", "jsonl", cwd=folder)
        expected = [each | {"input": each["input"].replace("in/", f"{name}::")} for each in loose]
        assert (run.code, records(run.stdout)) == (4, expected)


def test_a_run_over_archives_resumes(imgcls, tiny_model, folder):
    command = ("predict", "s.tar", "s.tar.gz", "s.zip", "-m", tiny_model, "-o", "r.jsonl", "--resume")
    first = imgcls(*command, cwd=folder)
    whole = (folder / "r.jsonl").read_bytes()
    assert first.code == 4
    # Cut in the middle, and one archive is another one now.
    (folder / "r.jsonl.part").write_bytes(b"".join(whole.splitlines(keepends=True)[:20]))
    (folder / "r.jsonl").unlink()
    second = imgcls(*command, cwd=folder)
    assert "(18 kept from before)" in second.stderr
    assert (folder / "r.jsonl").read_bytes() == whole
    os.utime(folder / "s.zip", ns=(1, 1))
    third = imgcls(*command, cwd=folder)
    assert "(22 kept from before)" in third.stderr


def test_a_torn_archive_among_others_stops_nothing(imgcls, tiny_model, folder):
    whole = (folder / "s.tar").read_bytes()
    (folder / "torn.tar").write_bytes(whole[:3000])
    run = imgcls("predict", "torn.tar", "s.zip", "-m", tiny_model, "-f", "jsonl", cwd=folder)
    found = records(run.stdout)
    torn = [each for each in found if each["input"].startswith("torn.tar")]
    assert run.code == 4
    assert torn[0]["status"] == "ok"
    assert torn[-1]["input"] == "torn.tar"
    assert torn[-1]["error"]["kind"] == "corrupt_image"
    assert "the archive can't be read on" in torn[-1]["error"]["message"]
    assert len([each for each in found if each["input"].startswith("s.zip")]) == 12


def test_failed_members_can_be_tried_again_by_a_list(imgcls, tiny_model, folder):
    run = imgcls("predict", "s.tar", "-m", tiny_model, "-f", "jsonl", cwd=folder)
    failed = [each["input"] for each in records(run.stdout) if each["status"] == "error"]
    (folder / "list").write_text("\n".join(failed))
    again = imgcls("predict", "--files-from", "list", "-m", tiny_model, "-f", "jsonl", cwd=folder)
    assert [each["input"] for each in records(again.stdout)] == failed == ["s.tar::0005.png"]


def test_an_archive_without_images_is_told(imgcls, tiny_model, folder):
    with tarfile.open(folder / "none.tar", "w") as archive:
        archive.add(folder / "s.zip", "notes.txt")
    run = imgcls("predict", "none.tar", "s.zip", "-m", tiny_model, "-f", "jsonl", cwd=folder)
    assert "warning: no images in none.tar\n" in run.stderr


def test_compressed_members_wait_within_a_bound(monkeypatch, tiny_model, tmp_path):
    from imgcls.images.inputs.sources import iterate_sources
    from imgcls.inference import pipeline
    from imgcls.inference.backends.backend import load_backend

    images = save_images(tmp_path / "in", 60)
    with tarfile.open(tmp_path / "s.tar.gz", "w:gz") as archive:
        for image in images:
            archive.add(image, image.name)
    # Less than two images.
    monkeypatch.setattr(pipeline, "MAX_HELD_BYTES", 1000)
    backend = load_backend(str(tiny_model)).backend
    sources = iterate_sources([str(tmp_path / "s.tar.gz")])
    found = list(pipeline.classify_stream(sources, backend, pipeline.StreamSettings(batch_size=8)))
    assert [record.input.partition("::")[2] for record in found] == [image.name for image in images]
    assert all(record.status == "ok" for record in found)
