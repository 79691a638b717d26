"""Which of many inputs to take: by name, by age, by shard."""

import fnmatch
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from imgcls.errors import UsageError
from imgcls.images.inputs.input_lists import check_stdin_use, read_list
from imgcls.images.inputs.list_columns import is_table_list, read_column
from imgcls.images.inputs.source import Source
from imgcls.images.inputs.sources import iterate_sources
from imgcls.images.inputs.stdin import STDIN
from imgcls.images.inputs.subset import Shard, parse_newer_than, parse_shard
from imgcls.images.inputs.walking import PassedOver, WalkRules, has_image_suffix
from imgcls.images.object_storage.urls import DEFAULT_STORAGE, StorageOptions
from imgcls.images.signatures import begins_like_image, looks_like_image

if TYPE_CHECKING:
    from imgcls.images.inputs.watching import Watch


def walk_rules(include: Iterable[str], exclude: Iterable[str], *, any_suffix: bool = False) -> WalkRules:
    """What of folders is taken; a pattern with a slash is held against the whole path, one without against a name.

    Args:
        include: at least one must match a file; none at all means the suffixes of images.
        exclude: none may match a file or a folder.
        any_suffix: files of other suffixes are taken too where they begin like an image.
    """
    wanted, unwanted = tuple(include), tuple(pattern.rstrip("/") for pattern in exclude)

    def enters(path: str) -> bool:
        return not any(_matches(path, pattern) for pattern in unwanted)

    def accepts(path: str) -> bool:
        if wanted:
            return any(_matches(path, pattern) for pattern in wanted) and enters(path)
        return enters(path) and (has_image_suffix(path) or (any_suffix and looks_like_image(path)))

    def accepts_start(name: str, start: bytes) -> bool:
        return enters(name) and (has_image_suffix(name) or begins_like_image(start))

    # Patterns are about names alone, in an archive as in a folder.
    return WalkRules(accepts, enters, accept_start=accepts_start if any_suffix and not wanted else None)


class SelectedSources(Iterator[Source]):
    """The sources of one shard, and of these the files that are new enough; reads one after the other.

    Files whose time can't be read are taken, so that their record says why.

    Args:
        sources: all of them.
        shard: whose sources; None for all.
        newer_than_ns: nanoseconds since 1970, None for any age; says nothing of URLs and stdin.
        marks_old: whether older files come too, marked as such.
        passed_over: what the walks that give the sources don't take.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        *,
        passed_over: PassedOver | None = None,
        shard: Shard | None = None,
        newer_than_ns: int | None = None,
        marks_old: bool = False,
    ) -> None:
        self._sources = iter(sources)
        self._shard = shard
        self._newer_than_ns = newer_than_ns
        self._marks_old = marks_old
        self.passed_over = passed_over or PassedOver()
        self.num_left_out = 0
        """How many sources were there, but outside the shard or too old."""

    def __next__(self) -> Source:
        """The next source that is taken."""
        for source in self._sources:
            in_shard = self._shard is None or self._shard.has(source.plain_name)
            if in_shard and self._is_new(source):
                return source
            self.num_left_out += 1
            if in_shard and self._marks_old:
                return replace(source, is_old=True)
        raise StopIteration

    def _is_new(self, source: Source) -> bool:
        if self._newer_than_ns is None:
            return True
        if source.version is not None:
            return source.version[1] > self._newer_than_ns
        if source.path is None:
            return True
        try:
            return source.path.stat().st_mtime_ns > self._newer_than_ns
        except (OSError, ValueError):
            return True


class InputSelection(NamedTuple):
    """Which inputs, in the words of the command line.

    Attributes:
        arguments: files, folders, patterns, URLs, `-`.
        files_from: a list of more of them, `-` for stdin, or None.
        nul: whether the list's entries end with a NUL byte.
        include, exclude: patterns on the names that folders and patterns hold.
        shard: `I/N`, or None.
        newer_than: an age, a date or a file, or None.
        max_stdin_bytes: stdin and members of archives may give as an image; None for any number.
        any_suffix: folders and patterns give images of any name, found by their first bytes.
        storage: how object storage is reached.
        input_column: of the list, where that is a table; None where it is lines, or Parquet with a usual column.
        watch: on the arguments, which are folders then; None takes what is there.
    """

    arguments: tuple[str, ...]
    files_from: str | None = None
    nul: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    shard: str | None = None
    newer_than: str | None = None
    max_stdin_bytes: int | None = None
    any_suffix: bool = False
    storage: StorageOptions = DEFAULT_STORAGE
    watch: "Watch | None" = None
    input_column: str | None = None

    def rules(self, *, opens_archives: bool = True) -> WalkRules:
        """What of folders and archives is taken.

        Args:
            opens_archives: whether an archive stands for its members; else it is one input.
        """
        made = walk_rules(self.include, self.exclude, any_suffix=self.any_suffix)
        return made if opens_archives else replace(made, opens_archives=False)

    def open(self, *, marks_old: bool = False, opens_archives: bool = True) -> SelectedSources:
        """Check the options, then give the inputs, lazily and in order.

        Args:
            marks_old: whether files that aren't newer than asked for come too, marked as such.
            opens_archives: whether an archive stands for its members; else it is one input.
        Raises:
            UsageError: no input is named, stdin has two readers, or an option means nothing.
        """
        if not self.arguments and self.files_from is None:
            raise UsageError("nothing to classify", hint="imgcls predict photo.jpg, or --files-from LIST")
        check_stdin_use(self.arguments, self.files_from)
        if self.watch is not None:
            if self.files_from is not None:
                raise UsageError("--watch goes with no list", hint="name the folders that files come to")
            watched = self.rules(opens_archives=False)
            return self._selected(self.watch.sources(self.arguments, watched), watched, marks_old=marks_old)
        listed = self._listed()
        # A list's entries are names, be it "-", and never stdin, which may be the list itself; nor patterns, as a file
        # that has gone since it was listed must not turn into another one.
        names = (f"./{entry}" if entry == STDIN else entry for entry in listed)
        rules = self.rules(opens_archives=opens_archives)
        return self._selected(
            itertools.chain(
                iterate_sources(
                    self.arguments, rules=rules, max_stdin_bytes=self.max_stdin_bytes, storage=self.storage
                ),
                iterate_sources(
                    names, rules=rules, has_patterns=False, max_stdin_bytes=self.max_stdin_bytes, storage=self.storage
                ),
            ),
            rules,
            marks_old=marks_old,
        )

    def _listed(self) -> Iterable[str]:
        """The entries of the list, read as they are asked for.

        Raises:
            UsageError: a column without a table, or a table of entries that end with NUL bytes.
        """
        if self.files_from is None:
            if self.input_column is not None:
                raise UsageError("--input-column is of a list", hint="add --files-from LIST.parquet, or .csv")
            return ()
        if not is_table_list(self.files_from, self.input_column):
            return read_list(self.files_from, nul=self.nul)
        if self.nul:
            raise UsageError("the entries of a table don't end with NUL bytes", hint="leave out -0")
        return read_column(self.files_from, self.input_column)

    def _selected(self, sources: Iterable[Source], rules: WalkRules, *, marks_old: bool) -> SelectedSources:
        return SelectedSources(
            sources,
            shard=parse_shard(self.shard) if self.shard else None,
            newer_than_ns=parse_newer_than(self.newer_than) if self.newer_than else None,
            marks_old=marks_old,
            passed_over=rules.passed_over,
        )


def _matches(name: str, pattern: str) -> bool:
    if "/" in pattern:
        return fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(name, f"*/{pattern}")
    return fnmatch.fnmatch(name.replace("\\", "/").rsplit("/", 1)[-1], pattern)
