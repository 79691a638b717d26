"""Archives as inputs: members in their order, nothing unpacked, hostile and torn ones harmless."""

import gzip
import io
import os
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path
from random import Random

import pytest

from imgcls.errors import ImageError
from imgcls.images.archives.names import archive_suffix, expand_braces, member_name, split_member
from imgcls.images.archives.tar_headers import parse_pax
from imgcls.images.inputs.selection import walk_rules
from imgcls.images.inputs.source import Source
from imgcls.images.inputs.sources import iterate_sources

CONTENT = {f"{number:02}.jpg": bytes([number]) * (600 + number) for number in range(5)}


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def add(archive: tarfile.TarFile, name: str, content: bytes = b"x", **header: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in header.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(content))


def make_tar(name: str, members: dict[str, bytes] = CONTENT, *, mode: str = "w", **options) -> Path:
    with tarfile.open(name, mode, **options) as archive:
        for member, content in members.items():
            add(archive, member, content)
    return Path(name)


def make_zip(name: str, members: dict[str, bytes] = CONTENT, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(name, "w", compression) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return Path(name)


def read(*arguments: str, **options) -> list[tuple[str, bytes | str]]:
    """Name and content, or the kind of failure, of each source."""
    return [(source.name, outcome(source)) for source in iterate_sources(arguments, **options)]


def outcome(source: Source) -> bytes | str:
    if source.failure:
        return source.failure.kind
    assert source.member is not None
    try:
        return source.member.read()
    except ImageError as exc:
        return exc.kind


def compress_zst(name: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    content = make_tar("plain.tar").read_bytes()
    with pyarrow.CompressedOutputStream(name, "zstd") as file:
        file.write(content)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"])
@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_gives_its_members_in_order(suffix, format_):
    name = f"s{suffix}"
    if suffix == ".tar.zst":
        compress_zst(name)
    else:
        compression = {".tar.gz": "gz", ".tgz": "gz", ".tar.bz2": "bz2", ".tar.xz": "xz"}.get(suffix, "")
        make_tar(name, mode=f"w:{compression}", format=format_)
    assert read(name) == [(f"{name}::{member}", content) for member, content in CONTENT.items()]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_gives_its_members_in_order(compression):
    make_zip("s.zip", compression=compression)
    assert read("s.zip") == [(f"s.zip::{member}", content) for member, content in CONTENT.items()]


@pytest.mark.parametrize("format_", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ["d/" * 150 + "a.jpg", "größe/ä.jpg", "x" * 300 + ".jpg"])
def test_long_and_foreign_names_are_read_as_tarfile_writes_them(format_, name):
    make_tar("s.tar", {name: b"1", "b.jpg": b"2"}, format=format_)
    assert read("s.tar") == [(f"s.tar::{name}", b"1"), ("s.tar::b.jpg", b"2")]


def test_names_outside_utf8_are_percent_escaped():
    with tarfile.open("s.tar", "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        add(archive, "caf\xe9.jpg", b"1")
    assert read("s.tar") == [("s.tar::caf%E9.jpg", b"1")]
    assert read("s.tar::caf%E9.jpg") == [("s.tar::caf%E9.jpg", b"1")]


def test_what_a_folder_would_leave_out_is_left_out_and_counted():
    names = ("a.jpg", "notes.txt", ".hidden.jpg", "__MACOSX/a.jpg", "x/._a.jpg", "x/b.PNG", "./c.gif", "dir.jpg/d.webp")
    make_tar("s.tar", dict.fromkeys(names, b"1"))
    rules = walk_rules((), ())
    expected = ["a.jpg", "x/b.PNG", "./c.gif", "dir.jpg/d.webp"]
    assert [name for name, _ in read("s.tar", rules=rules)] == [f"s.tar::{name}" for name in expected]
    assert rules.passed_over.suffixes == {".txt": 1}
    assert rules.passed_over.system == {"__MACOSX": 1, "._*": 1}


def test_include_exclude_and_any_suffix_hold_for_members():
    make_tar("s.tar", {"x/a.jpg": b"1", "y/b.jpg": b"2", "y/c.png": b"3", "y/d.1": b"\x89PNG\r\n\x1a\n4"})

    def names(*args, **options):
        return [name.partition("::")[2] for name, _ in read("s.tar", rules=walk_rules(*args, **options))]

    assert names(["*.jpg"], []) == ["x/a.jpg", "y/b.jpg"]
    assert names([], ["y"]) == ["x/a.jpg"]
    assert names([], [], any_suffix=True) == ["x/a.jpg", "y/b.jpg", "y/c.png", "y/d.1"]


def test_members_that_lead_elsewhere_are_records_and_nothing_is_opened_or_written():
    with tarfile.open("s.tar", "w") as archive:
        add(archive, "link.jpg", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(archive, "hard.jpg", b"", type=tarfile.LNKTYPE, linkname="../secret.jpg")
        add(archive, "pipe.jpg", b"", type=tarfile.FIFOTYPE)
        add(archive, "../../up.jpg", b"1")
        add(archive, "/root.jpg", b"2")
    before = sorted(Path().rglob("*"))
    kinds = dict(read("s.tar"))
    assert kinds == {
        "s.tar::link.jpg": "not_an_image",
        "s.tar::hard.jpg": "not_an_image",
        "s.tar::pipe.jpg": "not_an_image",
        "s.tar::../../up.jpg": b"1",
        "s.tar::/root.jpg": b"2",
    }
    assert sorted(Path().rglob("*")) == before


def test_a_link_in_a_zip_is_not_followed():
    with zipfile.ZipFile("s.zip", "w") as archive:
        info = zipfile.ZipInfo("a.jpg")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    assert read("s.zip") == [("s.zip::a.jpg", "not_an_image")]


@pytest.mark.skipif(not Path("/bin/tar").exists(), reason="no GNU tar")
@pytest.mark.parametrize("format_", ["gnu", "posix"])
def test_sparse_members_are_refused_and_those_behind_them_read(format_):
    with Path("hole.jpg").open("wb") as file:
        for position in range(60):
            # More stretches than fit into the header of the old format.
            file.seek(position * 100_000)
            file.write(b"x" * 600)
    Path("z.jpg").write_bytes(b"last")
    assert os.system(f"tar --sparse --format={format_} -cf s.tar hole.jpg z.jpg") == 0
    assert read("s.tar") == [("s.tar::hole.jpg", "not_an_image"), ("s.tar::z.jpg", b"last")]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_a_torn_tar_gives_the_records_up_to_the_tear_and_one_for_it(suffix):
    whole = make_tar("whole.tar").read_bytes()
    # Inside of the fourth member: its header begins at 3 x (512 + 1024).
    torn = whole[: 3 * 1536 + 512 + 100]
    Path(f"t{suffix}").write_bytes(gzip.compress(torn) if suffix == ".tar.gz" else torn)
    *records, last = read(f"t{suffix}")
    assert records[:3] == [(f"t{suffix}::{name}", CONTENT[name]) for name in list(CONTENT)[:3]]
    assert last == (f"t{suffix}", "corrupt_image")
    # An uncompressed one knows of the fourth, which can't be read whole.
    assert records[3:] == ([("t.tar::03.jpg", "corrupt_image")] if suffix == ".tar" else [])


@pytest.mark.parametrize("cut", range(0, 10240, 512))
def test_a_tear_at_any_block_is_told(cut):
    whole = make_tar("whole.tar").read_bytes()
    Path("t.tar").write_bytes(whole[:cut])
    found = read("t.tar")
    end_of_last_member = 5 * 1536
    assert (("t.tar", "corrupt_image") in found) == (cut <= end_of_last_member)
    good = [content for _, content in found if isinstance(content, bytes)]
    assert good == list(CONTENT.values())[: min(cut // 1536, 5)]


def test_a_torn_gzip_stream_gives_what_came_before_the_tear():
    content = {f"{number}.jpg": os.urandom(50_000) for number in range(10)}
    packed = make_tar("whole.tar.gz", content, mode="w:gz").read_bytes()
    Path("t.tar.gz").write_bytes(packed[: len(packed) // 2])
    *records, last = read("t.tar.gz")
    assert len(records) in (4, 5)
    assert records == [(f"t.tar.gz::{name}", content[name]) for name in list(content)[: len(records)]]
    assert last == ("t.tar.gz", "corrupt_image")


def test_a_damaged_header_in_the_middle_is_told():
    whole = bytearray(make_tar("t.tar").read_bytes())
    whole[2 * 1536 + 10] ^= 0xFF
    Path("t.tar").write_bytes(whole)
    assert [what if isinstance(what, str) else "ok" for _, what in read("t.tar")] == ["ok", "ok", "corrupt_image"]


def test_archives_that_cat_joined_are_read_to_their_end():
    first, second = make_tar("a.tar", {"a.jpg": b"1"}), make_tar("b.tar", {"b.jpg": b"2"})
    Path("ab.tar").write_bytes(first.read_bytes() + second.read_bytes())
    assert read("ab.tar") == [("ab.tar::a.jpg", b"1"), ("ab.tar::b.jpg", b"2")]


def test_what_is_no_archive_is_one_record_that_says_so():
    for name in ("a.tar", "b.tar.gz", "c.zip", "d.tar"):
        Path(name).write_bytes(b"" if name == "d.tar" else b"no archive" * 100)
    found = list(iterate_sources(["a.tar", "b.tar.gz", "c.zip", "d.tar", "gone.tar"]))
    assert [(each.name, each.failure and each.failure.kind) for each in found] == [
        ("a.tar", "corrupt_image"),
        ("b.tar.gz", "corrupt_image"),
        ("c.zip", "corrupt_image"),
        ("d.tar", "corrupt_image"),
        ("gone.tar", None),
    ]
    assert "no tar file" in str(found[0].failure)


def test_a_torn_zip_gives_the_records_up_to_the_tear_and_one_for_it():
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        whole = make_zip("s.zip", compression=compression).read_bytes()
        with zipfile.ZipFile("s.zip") as archive:
            fourth = archive.infolist()[3].header_offset
        Path("s.zip").write_bytes(whole[: fourth + 40])
        expected = [(f"s.zip::{name}", CONTENT[name]) for name in list(CONTENT)[:3]]
        assert read("s.zip") == [*expected, ("s.zip", "corrupt_image")]


def test_one_damaged_member_of_a_zip_leaves_the_others_as_they_are():
    whole = bytearray(make_zip("s.zip", compression=zipfile.ZIP_STORED).read_bytes())
    with zipfile.ZipFile("s.zip") as archive:
        whole[archive.infolist()[1].header_offset + 40] ^= 0xFF
    Path("s.zip").write_bytes(whole)
    assert [what if isinstance(what, str) else "ok" for _, what in read("s.zip")] == [
        "ok", "corrupt_image", "ok", "ok", "ok"
    ]  # fmt: skip


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_members_that_are_too_large_are_refused(make):
    name = f"s.{'zip' if make is make_zip else 'tar'}"
    make(name, {"a.jpg": b"1" * 3000, "b.jpg": b"2"})
    assert read(name, max_stdin_bytes=2000) == [(f"{name}::a.jpg", "too_large"), (f"{name}::b.jpg", b"2")]


def test_bombs_take_no_memory():
    with tarfile.open("bomb.tar.gz", "w:gz", compresslevel=9) as archive:
        info = tarfile.TarInfo("bomb.jpg")
        info.size = 200 * 2**20
        with Path("/dev/zero").open("rb") as zeros:
            archive.addfile(info, zeros)
        add(archive, "b.jpg", b"2")
    with zipfile.ZipFile("bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("bomb.jpg", "w") as file:
            for _ in range(200):
                file.write(bytes(2**20))
        archive.writestr("b.jpg", b"2")
    tracemalloc.start()
    try:
        for name in ("bomb.tar.gz", "bomb.zip"):
            assert read(name, max_stdin_bytes=2**20) == [(f"{name}::bomb.jpg", "too_large"), (f"{name}::b.jpg", b"2")]
        assert tracemalloc.get_traced_memory()[1] < 30 * 2**20
    finally:
        tracemalloc.stop()


def test_a_zip_entry_that_claims_to_be_small_is_cut_where_it_claims_to_end():
    whole = bytearray(make_zip("s.zip", {"a.jpg": bytes(10 * 2**20)}).read_bytes())
    with zipfile.ZipFile("s.zip") as archive:
        start = archive.start_dir
    whole[start + 24 : start + 28] = struct.pack("<L", 1000)
    Path("s.zip").write_bytes(whole)
    assert read("s.zip") == [("s.zip::a.jpg", "corrupt_image")]


@pytest.mark.parametrize("type_", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_header_that_claims_gigabytes_is_not_read(type_):
    info = tarfile.TarInfo("x")
    info.type, info.size = type_, 2**33
    Path("s.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
    assert read("s.tar") == [("s.tar", "corrupt_image")]


def test_a_compressed_member_that_claims_terabytes_ends_the_archive():
    info = tarfile.TarInfo("a.jpg")
    info.size = 2**42
    with gzip.open("s.tar.gz", "wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert read("s.tar.gz") == [("s.tar.gz::a.jpg", "too_large"), ("s.tar.gz", "corrupt_image")]


def test_a_member_can_be_named():
    make_tar("s.tar")
    make_zip("s.zip")
    assert read("s.tar::03.jpg", "s.zip::01.jpg") == [
        ("s.tar::03.jpg", CONTENT["03.jpg"]),
        ("s.zip::01.jpg", CONTENT["01.jpg"]),
    ]
    assert read("s.tar::none.jpg") == [("s.tar::none.jpg", "not_found")]
    # A file of that name comes first.
    Path("s.tar::03.jpg").write_bytes(b"")
    assert [source.path for source in iterate_sources(["s.tar::03.jpg"])] == [Path("s.tar::03.jpg")]


def test_shards_are_written_as_a_range_or_a_pattern():
    for number in (8, 9, 11):
        make_tar(f"s{number:04}.tar", {"a.jpg": bytes([number])})
    # A shard that is missing is a record of its own.
    assert read_names("s{0008..0011}.tar") == [
        "s0008.tar::a.jpg", "s0009.tar::a.jpg", "s0010.tar", "s0011.tar::a.jpg"
    ]  # fmt: skip
    assert [name for name, _ in read("s*.tar")] == ["s0008.tar::a.jpg", "s0009.tar::a.jpg", "s0011.tar::a.jpg"]


def read_names(*arguments: str) -> list[str]:
    return [source.name for source in iterate_sources(arguments)]


def test_archives_in_a_folder_are_read_where_they_are_asked_for():
    Path("in").mkdir()
    make_tar("in/s.tar", {"a.jpg": b"1"})
    Path("in/b.jpg").write_bytes(b"2")
    assert read_names("in") == ["in/b.jpg"]
    rules = walk_rules(["*.tar", "*.jpg"], [])
    assert [source.name for source in iterate_sources(["in"], rules=rules)] == ["in/b.jpg", "in/s.tar::a.jpg"]


def test_a_members_version_is_its_size_and_its_archives_time():
    make_tar("s.tar")
    os.utime("s.tar", ns=(5, 7))
    assert [source.version for source in iterate_sources(["s.tar"])] == [(600 + number, 7) for number in range(5)]


def test_texts():
    assert [archive_suffix(name) for name in ("a.TAR", "a.tar.gz", "a.tgz", ".tar", "a.jpg", "a.gz")] == [
        ".tar", ".tar.gz", ".tgz", "", "", ""
    ]  # fmt: skip
    assert split_member("x::y/s.tar::a::b.jpg") == ("x::y/s.tar", "a::b.jpg")
    assert split_member("s.tar::") is None
    assert member_name("s.tar", "a\udce9") == "s.tar::a%E9"
    assert list(expand_braces("s{08..11}")) == ["s08", "s09", "s10", "s11"]
    assert list(expand_braces("s{2..0}/{a,b}")) == ["s2/a", "s2/b", "s1/a", "s1/b", "s0/a", "s0/b"]
    assert parse_pax(b"10 path=a\n") == {"path": "a"}


@pytest.mark.parametrize("name", ["s.tar", "s.tar.gz", "s.zip"])
def test_a_thousand_changed_archives_give_records_and_no_other_error(name):
    make = make_zip if name == "s.zip" else make_tar
    whole = make(name, CONTENT | {"d/" * 60 + "e.jpg": b"5"}, **({"mode": "w:gz"} if name == "s.tar.gz" else {}))
    original = whole.read_bytes()
    random = Random(7)
    for _ in range(1000):
        changed = bytearray(original)
        for _ in range(random.choice((1, 3, 40))):
            changed[random.randrange(len(changed))] = random.choice((0, 0xFF, random.randrange(256)))
        Path(name).write_bytes(changed[: random.choice((len(changed), random.randrange(len(changed))))])
        for found, content in read(name, max_stdin_bytes=10_000):
            assert found == name or found.startswith(f"{name}::")
            assert isinstance(content, bytes) or content in (
                "corrupt_image",
                "not_an_image",
                "too_large",
                "permission_denied",
            )
