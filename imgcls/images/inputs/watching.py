"""Files that arrive in a folder, as inputs: each once it is finished, until somebody says that it is enough."""

import importlib.util
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from imgcls.errors import DataError, UsageError
from imgcls.images.inputs.names import path_of
from imgcls.images.inputs.source import Source
from imgcls.images.inputs.sources import iterate_sources, joined_name
from imgcls.images.inputs.walking import Found, WalkRules, system_name

# A file that has not changed for so long is finished; whoever copies slower than that writes under another name first.
SETTLED_SEC = 1.0
# How often it is looked whether one has settled, and whether it is time to stop.
TICK_MS = 200

# How long a new folder is looked into.
FRESH_SEC = 3.0

State = tuple[int, int]


@dataclass
class Watch:
    """A watch on folders.

    Attributes:
        is_stopped: asked all the time; the stream of inputs ends once it is true and what has settled is given.
    """

    is_stopped: Callable[[], bool] = lambda: False
    _given: dict[Path, State] = field(default_factory=dict)

    def sources(self, folders: Sequence[str], rules: WalkRules) -> Iterator[Source]:
        """The images that are there, then those that come or change; a changed one is an input again.

        Args:
            folders: as typed.
            rules: what of them is taken; archives are not opened.
        Raises:
            UsageError: one is no folder, or watchfiles isn't installed.
            DataError: a folder can't be watched.
        """
        check_watchable(folders)
        rules = replace(rules, opens_archives=False)
        # Absolute, as what the system reports has to be told apart by folder.
        roots = [(os.path.abspath(path_of(folder)), folder) for folder in folders]  # noqa: PTH100 - keeps links
        waiting: dict[Path, tuple[Source, State, float]] = {}
        changes = _changes([root for root, _folder in roots], self.is_stopped)
        # From here on nothing is missed: what comes while the folders are walked is seen twice, and given once.
        next(changes, None)
        for source in iterate_sources(folders, rules=rules):
            if source.path is not None and source.failure is None:
                self._note(source, waiting, is_old=True)
            else:
                yield source
        yield from self._settled(waiting)
        fresh: dict[str, float] = {}
        for changed in changes:
            now = time.monotonic()
            # What came into a new folder before the system watched that too is reported by nobody.
            fresh |= {path: now for path, is_new in changed.items() if is_new and os.path.isdir(path)}  # noqa: PTH112
            # A folder that has gone again is walked through without an error.
            walks = (each for folder in fresh for each in os.walk(folder))
            inside = [f"{parent}{os.sep}{name}" for parent, _folders, names in walks for name in names]
            fresh = {folder: since for folder, since in fresh.items() if now - since < FRESH_SEC}
            for path in (*changed, *inside):
                found = _found(path, roots, rules)
                # What waits already is looked at again by `_settled`.
                if found is not None and found.path not in waiting:
                    self._note(found, waiting)
            yield from self._settled(waiting)

    def _note(self, source: Source, waiting: dict[Path, tuple[Source, State, float]], *, is_old: bool = False) -> None:
        assert source.path is not None
        state = _state(source.path)
        if state is None or self._given.get(source.path) == state:
            return
        # A time in the past says that nobody has written for that long, as far as the clocks agree.
        since = time.monotonic() - (max(time.time() - state[1] / 1e9, 0) if is_old else 0)
        waiting[source.path] = (source, state, since)

    def _settled(self, waiting: dict[Path, tuple[Source, State, float]]) -> Iterator[Source]:
        for path, (source, before, since) in list(waiting.items()):
            now = _state(path)
            if now is None:
                # It has gone again, as a temporary file does.
                del waiting[path]
            elif now != before:
                waiting[path] = (source, now, time.monotonic())
            elif time.monotonic() - since >= SETTLED_SEC:
                del waiting[path]
                self._given[path] = now
                yield source


def check_watchable(folders: Sequence[str]) -> None:
    """See that only folders are to be watched, and that it can be done.

    Raises:
        UsageError: it can't.
    """
    if not folders:
        raise UsageError("nothing to watch", hint="imgcls predict --watch incoming/ -o results.jsonl")
    for folder in folders:
        if not os.path.isdir(path_of(folder)):  # noqa: PTH112 - no error for a name that is too long
            raise UsageError(f"--watch is for folders, and {folder} is none", hint="name the folder that files come to")
    if importlib.util.find_spec("watchfiles") is None:
        raise UsageError("--watch needs watchfiles, not installed here", hint="pip install 'imgcls[watch]'")


def _changes(roots: Sequence[str], is_stopped: Callable[[], bool]) -> Iterator[dict[str, bool]]:
    """Paths that came or changed, and whether they are new, a few times a second; perhaps none."""
    import watchfiles

    class Stop:
        """What watchfiles asks."""

        def is_set(self) -> bool:
            return is_stopped()

    try:
        for found in watchfiles.watch(
            *roots,
            watch_filter=None,
            stop_event=Stop(),
            rust_timeout=TICK_MS,
            debounce=TICK_MS,
            step=50,
            yield_on_timeout=True,
            raise_interrupt=False,
        ):
            left = sorted((path, change) for change, path in found if change is not watchfiles.Change.deleted)
            yield {path: change is watchfiles.Change.added for path, change in left}
    except (OSError, RuntimeError) as exc:
        raise DataError(
            f"can't watch {', '.join(roots)}: {exc}", hint="WATCHFILES_FORCE_POLLING=1 looks instead"
        ) from exc


def _found(path: str, roots: Sequence[tuple[str, str]], rules: WalkRules) -> Source | None:
    """The input that a path is, where a walk through its folder would give it."""
    inside = [(root, folder) for root, folder in roots if Path(path).is_relative_to(root)]
    if not inside:
        return None
    root, folder = max(inside, key=lambda pair: len(pair[0]))
    names = Path(path).relative_to(root).parts
    if any(name.startswith(".") or system_name(name) for name in names):
        return None
    place = path_of(folder).joinpath(*names)
    parents = [path_of(folder).joinpath(*names[:depth]) for depth in range(1, len(names))]
    if not all(rules.enters(str(parent)) for parent in parents) or not rules.accept(str(place)):
        return None
    return Source(joined_name(folder, Found(place, names)), path=place)


def _state(path: Path) -> State | None:
    """Size and time of a regular file; None for anything else."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return (status.st_size, status.st_mtime_ns) if path.is_file() else None
