"""Object storage as inputs, against a real server of the S3 protocol: listing, ranges, retries, what failures mean."""

import io
import tarfile
import zipfile

import pytest

from imgcls.errors import ImageError
from imgcls.images.inputs.download import fetch_image
from imgcls.images.inputs.selection import walk_rules
from imgcls.images.inputs.sources import iterate_sources
from imgcls.images.object_storage import retries, store
from imgcls.images.object_storage.ranged_file import RangedFile
from imgcls.images.object_storage.retries import StorageError, with_retries
from imgcls.images.object_storage.store import object_store
from imgcls.images.object_storage.urls import StorageOptions, is_object_url, restored_url, shown_url


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE_SEC", 0.001)


def names(*arguments: str, **options) -> list[str]:
    return [source.name for source in iterate_sources(arguments, **options)]


def tar_of(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def test_a_prefix_is_listed_in_pages_and_in_order(s3, monkeypatch):
    monkeypatch.setattr(store, "PAGE_NAMES", 10)
    for number in range(25):
        s3.put(f"in/{number:03}.jpg", b"x" * number)
    s3.put("in/notes.txt", b"")
    s3.put("in/.hidden.jpg", b"")
    s3.put("in/@eaDir/a.jpg", b"")
    s3.put("other/a.jpg", b"")
    s3.requests.clear()
    rules = walk_rules((), ())
    sources = list(iterate_sources(["s3://data/in/"], rules=rules))
    assert [source.name for source in sources] == [f"s3://data/in/{number:03}.jpg" for number in range(25)]
    assert [source.version[0] for source in sources] == list(range(25))
    assert all(source.version[1] > 10**18 for source in sources)
    assert s3.requests == [("GET", "/data")] * 3
    assert (dict(rules.passed_over.suffixes), dict(rules.passed_over.system)) == ({".txt": 1}, {"@eaDir": 1})


def test_patterns_ranges_and_names(s3):
    for key in ("a/1.jpg", "a/2.png", "a/b/3.jpg", "c/1.jpg"):
        s3.put(key, b"x")
    assert names("s3://data/a/*.jpg") == ["s3://data/a/1.jpg"]
    assert names("s3://data/**/*.jpg") == ["s3://data/a/1.jpg", "s3://data/a/b/3.jpg", "s3://data/c/1.jpg"]
    assert names("s3://data/?/1.jpg") == ["s3://data/a/1.jpg", "s3://data/c/1.jpg"]
    assert names("s3://data/{a,c}/1.jpg") == ["s3://data/a/1.jpg", "s3://data/c/1.jpg"]
    # A list's entries are taken as they are, and nothing is asked for before they are fetched.
    s3.requests.clear()
    assert names("s3://data/*.jpg", has_patterns=False) == ["s3://data/*.jpg"]
    assert s3.requests == []
    (none,) = iterate_sources(["s3://data/none*.jpg"])
    assert getattr(none.failure, "kind", None) == "not_found"
    (gone,) = iterate_sources(["s3://nobucket/in/"])
    assert getattr(gone.failure, "kind", None) == "not_found"


def test_an_object_is_fetched_with_one_request(s3):
    s3.put("a.jpg", b"content")
    s3.put("empty.jpg", b"")
    s3.requests.clear()
    assert fetch_image("s3://data/a.jpg") == b"content"
    assert s3.requests == [("GET", "/data/a.jpg")]
    assert fetch_image("s3://data/empty.jpg") == b""
    with pytest.raises(ImageError) as caught:
        fetch_image("s3://data/a.jpg", max_bytes=3)
    assert caught.value.kind == "too_large"


def test_an_object_that_has_gone_since_it_was_listed_is_not_found(s3):
    s3.put("in/a.jpg", b"x")
    (source,) = iterate_sources(["s3://data/in/"])
    s3.client.delete_object(Bucket="data", Key="in/a.jpg")
    with pytest.raises(ImageError) as caught:
        fetch_image(source.url)
    assert (caught.value.kind, caught.value.message) == ("not_found", "no such object")


@pytest.mark.parametrize("status", [503, 500])
def test_throttling_and_a_burst_of_server_errors_pass(s3, status):
    s3.put("in/a.jpg", b"content")
    left = [5] * 2

    def fail_five_times(method: str, path: str) -> int | None:
        index = path == "/data"
        left[index] -= 1
        return status if left[index] >= 0 else None

    s3.faults = fail_five_times
    (source,) = iterate_sources(["s3://data/in/"])
    assert fetch_image(source.url) == b"content"


def test_what_never_gets_better_is_a_failure_in_bounded_tries(s3):
    s3.put("a.jpg", b"content")
    s3.faults = lambda _method, _path: 503
    s3.requests.clear()
    with pytest.raises(ImageError) as caught:
        fetch_image("s3://data/a.jpg")
    assert caught.value.kind == "download_failed"
    assert f"tried {retries.MAX_TRIES} times" in caught.value.message
    assert len(s3.requests) == retries.MAX_TRIES
    s3.faults = lambda _method, _path: 403
    s3.requests.clear()
    with pytest.raises(ImageError) as caught:
        fetch_image("s3://data/a.jpg")
    assert (caught.value.kind, len(s3.requests)) == ("permission_denied", 1)


def test_a_time_limit_ends_the_tries(s3, monkeypatch):
    monkeypatch.setattr(retries, "FIRST_PAUSE_SEC", 10)
    monkeypatch.setattr(retries.random, "uniform", lambda _low, high: high)
    s3.faults = lambda _method, _path: 503
    with pytest.raises(ImageError, match="reduce your request rate"):
        fetch_image("s3://data/a.jpg", time_limit_sec=5)


def test_without_credentials_the_failure_says_so(s3, monkeypatch):
    s3.put("a.jpg", b"content")
    s3.client.put_object_acl(Bucket="data", Key="a.jpg", ACL="public-read")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ImageError) as caught:
        fetch_image("s3://data/a.jpg")
    assert (caught.value.kind, "--anonymous" in caught.value.message) == ("permission_denied", True)
    assert fetch_image("s3://data/a.jpg", storage=StorageOptions(is_anonymous=True)) == b"content"


def test_an_endpoint_can_be_named(s3, monkeypatch):
    s3.put("a.jpg", b"content")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert fetch_image("s3://data/a.jpg", storage=StorageOptions(endpoint_url=s3.url)) == b"content"


def test_archives_are_streamed_in_ranges_and_survive_faults(s3):
    members = {f"{number}.jpg": bytes([number]) * 100_000 for number in range(10)}
    whole = tar_of(members)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    s3.put("s.tar", whole)
    s3.put("s.zip", file.getvalue())
    count = [0]

    def every_second(_method: str, _path: str) -> int | None:
        count[0] += 1
        return 500 if count[0] % 2 else None

    s3.faults = every_second
    for key in ("s.tar", "s.zip"):
        found = [(source.name, source.member.read()) for source in iterate_sources([f"s3://data/{key}"])]
        assert found == [(f"s3://data/{key}::{name}", content) for name, content in members.items()]


def test_torn_missing_and_unreachable_archives(s3):
    whole = tar_of({f"{number}.jpg": bytes([number]) * 1000 for number in range(3)})
    s3.put("s/a.tar", whole[:3000])
    *records, last = iterate_sources(["s3://data/s/a.tar"])
    assert [source.name for source in records] == ["s3://data/s/a.tar::0.jpg"]
    assert (last.name, last.failure and last.failure.kind) == ("s3://data/s/a.tar", "corrupt_image")
    (none,) = iterate_sources(["s3://data/s/none.tar"])
    assert getattr(none.failure, "kind", None) == "not_found"
    s3.faults = lambda method, _path: 500 if method == "GET" else None
    (unreachable,) = iterate_sources(["s3://data/s/a.tar"])
    assert getattr(unreachable.failure, "kind", None) == "download_failed"


def test_a_ranged_file_reads_what_the_object_holds(s3):
    content = bytes(range(256)) * 1000
    s3.put("a.bin", content)
    where = object_store("s3://data/a.bin", StorageOptions())
    with RangedFile(where, "s3://data/a.bin", len(content), range_bytes=10_001) as file:
        assert file.read(5) == content[:5]
        assert file.seek(-7, io.SEEK_END) == len(content) - 7
        assert file.read() == content[-7:]
        file.seek(100_000)
        assert b"".join(iter(lambda: file.read(3001), b"")) == content[100_000:]


def test_an_error_that_is_a_defect_is_not_tried_again():
    tries = []

    def request() -> None:
        tries.append(1)
        raise TypeError("ours")

    with pytest.raises(StorageError):
        with_retries(request)
    assert len(tries) == 1


def test_texts():
    assert [is_object_url(text) for text in ("s3://b/a", "S3://b", "gs://b", "http://b", "s3:/b", "a.jpg")] == [
        True, True, True, False, False, False
    ]  # fmt: skip
    assert shown_url("s3://key:secret@bucket/a.jpg") == "s3://***@bucket/a.jpg"
    assert shown_url("abfs://box@account.dfs.core.windows.net/a") == "abfs://box@account.dfs.core.windows.net/a"
    assert shown_url("az://user:pw@box/a") == "az://***@box/a"
    assert restored_url("s3:/bucket/out.jsonl") == "s3://bucket/out.jsonl"
    assert restored_url("a/s3:/x") == "a/s3:/x"
