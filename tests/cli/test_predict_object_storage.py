"""`imgcls predict` from and to object storage, against a real server of the S3 protocol."""

import io
import json
import tarfile

import pytest
from s3_server import CREDENTIALS
from tiny_model import save_images


@pytest.fixture
def bucket(s3, tmp_path):
    """Ten images as objects and in a tar, one of them damaged."""
    images = save_images(tmp_path / "in", 10)
    images[5].write_bytes(images[5].read_bytes()[:60])
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for image in images:
            s3.put(f"in/{image.name}", image.read_bytes())
            archive.add(image, image.name)
    s3.put("s.tar", file.getvalue())
    s3.requests.clear()
    return s3


def records(content: bytes) -> list[dict]:
    return [json.loads(line) for line in content.splitlines()]


def test_objects_and_members_have_the_records_of_files(imgcls, tiny_model, bucket, tmp_path):
    loose = records(imgcls("predict", "in", "-m", tiny_model, "-f", "jsonl", cwd=tmp_path).stdout)
    for name, prefix in (("s3://data/in/", "s3://data/in/"), ("s3://data/s.tar", "s3://data/s.tar::")):
        run = imgcls("predict", name, "-m", tiny_model, "-f", "jsonl", cwd=tmp_path)
        expected = [each | {"input": each["input"].replace("in/", prefix)} for each in loose]
        assert (run.code, records(run.stdout)) == (4, expected)


def test_an_output_in_object_storage_is_whole_resumed_and_traced(imgcls, tiny_model, bucket, tmp_path):
    command = ("predict", "s3://data/in/", "-m", tiny_model, "-o", "s3://data/out/r.jsonl")
    assert imgcls(*command, cwd=tmp_path).code == 4
    first = bucket.get("out/r.jsonl")
    assert len(records(first)) == 10
    manifest = json.loads(bucket.get("out/r.jsonl.run.json"))
    assert (manifest["status"], manifest["counts"]["count"]) == ("finished", 10)
    refused = imgcls(*command, cwd=tmp_path)
    assert (refused.code, refused.stderr.splitlines()[0]) == (8, "error: s3://data/out/r.jsonl exists already")
    again = imgcls(*command, "--resume", cwd=tmp_path)
    assert "(9 kept from before)" in again.stderr
    assert bucket.get("out/r.jsonl") == first
    assert [key for key in bucket.keys() if key.startswith("out/")] == ["out/r.jsonl", "out/r.jsonl.run.json"]  # noqa: SIM118
    whole = b"".join([first, again.stderr.encode(), bucket.get("out/r.jsonl.run.json")])
    assert not any(secret.encode() in whole for secret in list(CREDENTIALS.values())[:2])


def test_a_run_that_is_cut_leaves_its_part_and_another_machine_continues(imgcls, tiny_model, bucket, tmp_path):
    command = ("predict", "s3://data/in/", "-m", tiny_model, "-o", "s3://data/r.jsonl")
    # The sixth of ten is damaged.
    assert imgcls(*command, "--fail-fast", "--batch-size", 1, cwd=tmp_path).code == 4
    assert "r.jsonl" not in bucket.keys()  # noqa: SIM118
    num_done = len(records(bucket.get("r.jsonl.part")))
    assert 5 < num_done <= 10
    again = imgcls(*command, "--resume", cwd=tmp_path)
    assert "kept from before" in again.stderr
    assert len(records(bucket.get("r.jsonl"))) == 10
    assert "r.jsonl.part" not in bucket.keys()  # noqa: SIM118


def test_a_store_that_refuses_is_an_error_that_keeps_what_is_done(imgcls, tiny_model, bucket, tmp_path):
    bucket.faults = lambda method, _path: 403 if method == "PUT" else None
    run = imgcls("predict", "s3://data/in/", "-m", tiny_model, "-o", "s3://data/r.jsonl", cwd=tmp_path)
    assert run.code == 8
    assert "can't write s3://data/r.jsonl: the store refuses" in run.stderr
    bucket.faults = lambda _method, _path: None
    again = imgcls("predict", "s3://data/in/", "-m", tiny_model, "-o", "s3://data/r.jsonl", "--resume", cwd=tmp_path)
    assert "(9 kept from before)" in again.stderr


def test_objects_that_vanish_are_records_and_the_rest_is_done(imgcls, tiny_model, bucket, tmp_path):
    bucket.faults = lambda _method, path: 404 if path == "/data/in/0003.png" else None
    run = imgcls("predict", "s3://data/in/", "-m", tiny_model, "-f", "jsonl", cwd=tmp_path)
    kinds = {each["input"]: each["error"]["kind"] for each in records(run.stdout) if each["status"] == "error"}
    assert kinds == {"s3://data/in/0003.png": "not_found", "s3://data/in/0005.png": "corrupt_image"}


def test_a_bucket_that_is_not_there_is_a_record(imgcls, tiny_model, bucket, tmp_path):
    run = imgcls("predict", "s3://nobucket/in/", "-m", tiny_model, "-f", "jsonl", cwd=tmp_path)
    (record,) = records(run.stdout)
    assert (run.code, record["input"], record["error"]["kind"]) == (4, "s3://nobucket/in/", "not_found")
