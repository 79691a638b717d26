"""From what is typed to inputs: files, folders, patterns, URLs, stdin."""

import inspect
import io
import itertools
import os
import sys
from pathlib import Path

import pytest

from imgcls.images.inputs.names import display_name, path_of
from imgcls.images.inputs.selection import walk_rules
from imgcls.images.inputs.source import Source
from imgcls.images.inputs.sources import iterate_sources

pytestmark = pytest.mark.usefixtures("in_folder")


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def touch(*names: str) -> None:
    for name in names:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(*arguments: str, **options) -> list[str]:
    return [source.name for source in iterate_sources(arguments, **options)]


def failures(*arguments: str) -> list[tuple[str, str]]:
    return [(s.name, s.failure.kind) for s in iterate_sources(arguments) if s.failure]


def test_a_folder_gives_its_files_first_then_each_subfolder_sorted():
    touch("in/b.jpg", "in/a.PNG", "in/z/1.jpg", "in/m/2.webp", "in/m/deep/3.gif", "in/a0/4.tiff")
    assert names("in") == ["in/a.PNG", "in/b.jpg", "in/a0/4.tiff", "in/m/2.webp", "in/m/deep/3.gif", "in/z/1.jpg"]


def test_what_is_no_pattern_never_turns_into_another_name():
    touch("a1.jpg", "b.jpg")
    assert names("a[1].jpg", "*.jpg") == ["a1.jpg", "a1.jpg", "b.jpg"]
    assert names("a[1].jpg", "*.jpg", "b.jpg", has_patterns=False) == ["a[1].jpg", "*.jpg", "b.jpg"]


def test_a_folder_leaves_out_hidden_files_and_what_has_no_images_suffix():
    touch("in/a.jpg", "in/.hidden.jpg", "in/.git/b.jpg", "in/notes.txt", "in/jpg", "in/.jpg")
    assert names("in") == ["in/a.jpg"]


def test_a_file_that_is_named_is_taken_whatever_its_name():
    touch("notes.txt", ".hidden.jpg")
    assert names("notes.txt", ".hidden.jpg", "missing.bin") == ["notes.txt", ".hidden.jpg", "missing.bin"]


def test_a_folder_named_like_an_image_is_a_folder():
    touch("in/x.jpg/y.jpg", "in/a.jpg")
    assert names("in") == ["in/a.jpg", "in/x.jpg/y.jpg"]
    assert names("in/x.jpg") == ["in/x.jpg/y.jpg"]


def test_links_are_followed_but_not_back_to_a_folder_above():
    touch("in/a.jpg", "in/sub/b.jpg", "elsewhere/c.jpg")
    Path("in/sub/up").symlink_to("..")
    Path("in/sub/self").symlink_to(".")
    Path("in/to").symlink_to("../elsewhere")
    Path("in/file.jpg").symlink_to("../elsewhere/c.jpg")
    Path("in/round.jpg").symlink_to("round.jpg")
    Path("in/gone.jpg").symlink_to("nowhere")
    assert names("in") == [
        "in/a.jpg", "in/file.jpg", "in/gone.jpg", "in/round.jpg", "in/sub/b.jpg", "in/to/c.jpg",
    ]  # fmt: skip


def test_a_folder_deeper_than_pythons_stack_is_walked():
    # A lower limit in place of more folders, which would be too deep for whoever tidies up after the tests.
    limit = sys.getrecursionlimit()
    touch("d/a.jpg", f"{'/'.join('d' * 200)}/b.jpg")
    try:
        sys.setrecursionlimit(len(inspect.stack()) + 100)
        assert [Path(name).name for name in names("d")] == ["a.jpg", "b.jpg"]
    finally:
        sys.setrecursionlimit(limit)


def test_a_subfolder_that_cant_be_listed_has_a_record(monkeypatch):
    touch("in/a.jpg", "in/locked/b.jpg", "in/z/c.jpg")
    scandir = os.scandir

    def refuse(folder):
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    # root may list any folder, so that the refusal has to be played.
    monkeypatch.setattr(os, "scandir", refuse)
    assert names("in") == ["in/a.jpg", "in/locked", "in/z/c.jpg"]
    assert failures("in") == [("in/locked", "permission_denied")]
    assert failures("in/locked", "in/z") == [("in/locked", "permission_denied")]


def test_a_subfolder_that_vanishes_meanwhile_is_no_input():
    touch("in/a.jpg", "in/gone/b.jpg", "in/z/c.jpg")
    walk = iterate_sources(["in"])
    assert next(walk).name == "in/a.jpg"
    Path("in/gone/b.jpg").unlink()
    Path("in/gone").rmdir()
    assert [source.name for source in walk] == ["in/z/c.jpg"]


def test_a_folder_is_walked_while_it_is_read():
    touch("in/a.jpg", "in/sub/b.jpg")
    walk = iterate_sources(["in"])
    assert next(walk).name == "in/a.jpg"
    touch("in/sub/later.jpg")
    assert [source.name for source in walk] == ["in/sub/b.jpg", "in/sub/later.jpg"]


def test_patterns_match_sorted_and_walk_folders():
    touch("b1.jpg", "a1.jpg", "a2.txt", "a3/x.jpg", "a3/y/z.jpg", "c/a.jpg")
    assert names("a*") == ["a1.jpg", "a3/x.jpg", "a3/y/z.jpg"]
    assert names("?1.jpg", "[c]/*.jpg") == ["a1.jpg", "b1.jpg", "c/a.jpg"]


def test_a_recursive_pattern_names_each_file_once():
    touch("in/a.jpg", "in/sub/b.jpg", "in/sub/deep/c.jpg")
    everything = ["in/a.jpg", "in/sub/b.jpg", "in/sub/deep/c.jpg"]
    assert names("in/**") == names("in/**/*.jpg") == names("in/**/*") == everything
    assert names("in/**/c.*") == everything[-1:]


def test_a_pattern_without_a_match_has_a_record():
    assert failures("none*.jpg") == [("none*.jpg", "not_found")]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file():
    touch("photo[1].jpg", "photo1.jpg")
    assert names("photo[1].jpg") == ["photo[1].jpg"]


@pytest.mark.parametrize(
    "name", ["x" * 300, "x/" * 3000, "file:///%00", "file://[broken", "file://host/a.jpg", "nul\0"]
)
def test_an_impossible_name_is_an_input_like_any_other(name):
    touch("a.jpg")
    assert len(names(name, "a.jpg")) == 2


def test_an_empty_name_is_not_the_current_folder():
    touch("a.jpg")
    assert failures("") == [("", "not_found")]


def test_urls_and_stdin():
    sources = list(iterate_sources(["HTTP://host/a?b=c", "https://host/\udcff.jpg", "-"], stdin=io.BytesIO(b"bytes")))
    assert sources == [
        Source("HTTP://host/a?b=c", url="HTTP://host/a?b=c"),
        Source("https://host/%FF.jpg", url="https://host/%FF.jpg"),
        Source("-", content=b"bytes"),
    ]


def test_passwords_are_fetched_with_and_never_named():
    url = "https://me:secret@host/a.jpg?token=t&x=1"
    (source,) = iterate_sources([url])
    assert source == Source("https://***@host/a.jpg?token=***&x=1", url=url)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no names that aren't Unicode")
@pytest.mark.parametrize("raw", [b"\xff.jpg", b"caf\xe9 %41?#;&.png", b"line\nfeed\xfe.jpg", b"dir\xff/x.jpg"])
def test_names_that_arent_utf8_come_back(raw):
    path = Path(os.fsdecode(raw))
    touch(str(path))
    name = display_name(path)
    assert name.startswith("file:///")
    assert name.isascii()
    assert path_of(name) == path.absolute()
    # Fed back, as from a record, it leads to the same file and keeps its name.
    (again,) = iterate_sources([name])
    assert (again.name, again.path) == (name, path.absolute())
    assert names(".") == [name]


@pytest.mark.parametrize("name", ["a b.jpg", "100%.jpg", "ü.jpg", "a\nb.jpg", "file:/x.jpg", "#.jpg", "%FF.jpg"])
def test_names_in_utf8_are_themselves(name):
    touch(name)
    assert display_name(Path(name)) == name
    assert path_of(name) == Path(name)
    assert names(name) == [name]


def test_the_order_does_not_depend_on_the_disks():
    files = ["in/" + "".join(letters) + ".jpg" for letters in itertools.permutations("aB_é")]
    touch(*reversed(files))
    assert names("in") == sorted(files)


def test_filters_hold_for_folders_and_patterns_alone():
    touch("in/a.jpg", "in/b.png", "in/sub/c.png", "in/sub/no.png", "in/notes.txt")
    rules = walk_rules(["*.png", "*.txt"], ["no.*", "sub/x*"])
    assert names("in", rules=rules) == ["in/b.png", "in/notes.txt", "in/sub/c.png"]
    assert names("in/a.jpg", "in/sub/no.png", rules=rules) == ["in/a.jpg", "in/sub/no.png"]
    assert names("in/*", rules=rules) == ["in/b.png", "in/notes.txt", "in/sub/c.png"]
    assert names("in", rules=walk_rules([], ["sub/*"])) == ["in/a.jpg", "in/b.png"]


@pytest.mark.parametrize(
    "name",
    [
        "./a.jpg",
        ".//a.jpg",
        "shots//a.jpg",
        "shots/../a.jpg",
        "s3://bucket/a.jpg",
        "a.jpg/",
        "./missing.jpg",
        "~/a.jpg",
    ],
)
def test_a_name_is_the_text_as_given(name):
    touch("a.jpg", "shots/a.jpg")
    (source,) = iterate_sources([name])
    assert source.name == name
    (listed,) = iterate_sources([name], has_patterns=False)
    assert listed == source


def test_a_uri_is_the_text_as_given(tmp_path):
    touch("a b.jpg", "sub dir/c d.jpg", "e%20f.jpg")
    uri = f"file://localhost{tmp_path}/a%20b.jpg"
    assert names(uri) == [uri]
    assert names(f"file://{tmp_path}/sub%20dir") == [f"file://{tmp_path}/sub%20dir/c%20d.jpg"]
    # What is below a folder leads back to its file too.
    for source in iterate_sources([f"file://{tmp_path}"]):
        assert path_of(source.name) == source.path
    (source,) = iterate_sources(["file:///data/missing.jpg"])
    assert (source.name, source.path) == ("file:///data/missing.jpg", Path("/data/missing.jpg"))


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("in", ["in/a.jpg", "in/sub/b.jpg"]),
        ("in/", ["in/a.jpg", "in/sub/b.jpg"]),
        ("./in", ["./in/a.jpg", "./in/sub/b.jpg"]),
        ("in//", ["in//a.jpg", "in//sub/b.jpg"]),
        (".", ["./in/a.jpg", "./in/sub/b.jpg"]),
        ("./i*", ["./in/a.jpg", "./in/sub/b.jpg"]),
        ("./in/*.jpg", ["./in/a.jpg"]),
    ],
)
def test_below_a_folder_names_are_joined_to_its_text(folder, expected):
    touch("in/a.jpg", "in/sub/b.jpg")
    assert names(folder) == expected
    # Machines agree on who does what, however each of them spells it.
    assert [source.plain_name for source in iterate_sources([folder])] == [str(Path(name)) for name in expected]


SYSTEM = ["@eaDir", "#recycle", ".Trash-1000", ".Trashes", "__MACOSX", "$RECYCLE.BIN", "@Recycle"]


@pytest.mark.parametrize("folder", SYSTEM)
def test_what_systems_leave_in_folders_is_passed_over_and_counted(folder):
    touch("in/a.jpg", f"in/{folder}/a.jpg", f"in/sub/{folder}/deep/b.jpg", "in/._a.jpg", "in/Thumbs.db", "in/notes.txt")
    rules = walk_rules([], [])
    assert names("in", rules=rules) == ["in/a.jpg"]
    assert sum(rules.passed_over.system.values()) == 4
    assert rules.passed_over.suffixes == {".txt": 1}
    assert names("in", rules=walk_rules(["*"], [])) == ["in/a.jpg", "in/notes.txt"]
    # Who names one means it.
    assert names(f"in/{folder}") == [f"in/{folder}/a.jpg"]


def test_patterns_pass_over_the_same():
    touch("in/a.jpg", "in/@eaDir/a.jpg", "in/sub/@eaDir/b.jpg", "in/sub/c.jpg")
    rules = walk_rules([], [])
    assert names("in/*", "in/**/*.jpg", rules=rules) == ["in/a.jpg", "in/sub/c.jpg"] * 2
    assert rules.passed_over.system == {"@eaDir": 4}
    assert names("in/@eaDir/*") == ["in/@eaDir/a.jpg"]


@pytest.mark.parametrize("pattern", ["small", "small/", "in/small", "s*l", "in/small/"])
@pytest.mark.parametrize("argument", ["in", "in/**", "in/*", "in/**/*.jpg"])
def test_a_folder_that_is_excluded_is_not_entered(pattern, argument):
    touch("in/a.jpg", "in/small/b.jpg", "in/small/deep/c.jpg", "in/other/d.jpg")
    expected = ["in/a.jpg", "in/other/d.jpg"]
    assert names(argument, rules=walk_rules([], [pattern])) == expected


def test_folders_that_give_nothing_are_remembered():
    touch("in/a.jpg", "in/notes.txt", "text/notes.txt")
    Path("empty").mkdir()
    rules = walk_rules([], [])
    assert names("in", "./empty", "text", rules=rules) == ["in/a.jpg"]
    assert rules.passed_over.empty == ["./empty", "text"]


def test_folders_that_link_to_each_other_twice_are_walked_once():
    for number in range(26):
        touch(f"in/{number:02}/{number:02}.jpg")
        for name in ("x", "y"):
            Path(f"in/{number:02}/{name}").symlink_to(f"../{(number + 1) % 26:02}")
    found = names("in")
    assert sorted(Path(name).name for name in found) == [f"{number:02}.jpg" for number in range(26)]


class Trickle(io.RawIOBase):
    """A pipe that gives a few bytes at a time."""

    def __init__(self, count: int) -> None:
        self.left = count

    def readinto(self, buffer) -> int:
        count = min(len(buffer), 7, self.left)
        buffer[:count] = b"x" * count
        self.left -= count
        return count


def test_stdin_has_a_limit_and_is_not_read_beyond():
    (source,) = iterate_sources(["-"], stdin=Trickle(1000), max_stdin_bytes=1000)
    assert source.content == b"x" * 1000
    endless = Trickle(1 << 40)
    (source,) = iterate_sources(["-"], stdin=endless, max_stdin_bytes=1000)
    assert source.failure is not None
    assert (source.content, source.failure.kind) == (None, "too_large")
    assert endless.left == (1 << 40) - 1001
