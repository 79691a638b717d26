"""Bars for what a run fetches before it begins."""

import contextlib
from collections.abc import Callable

from imgcls.cli import console


class DownloadBars:
    """One bar at a time: two at once would draw over each other.

    Args:
        make_room: takes away what else is drawn, before a bar begins.
        weights: what published weights are called.
    """

    def __init__(self, make_room: Callable[[], None], *, weights: str = "weights") -> None:
        self._make_room, self._weights = make_room, weights
        self._stack = contextlib.ExitStack()
        self._shown: dict[str, Callable[[int, int | None], None]] = {}

    def data(self, done: int, total: int | None) -> None:
        """Bytes of the data set downloaded so far."""
        self._show("CIFAR-10", done, total)

    def weights(self, done: int, total: int | None) -> None:
        """Bytes of published weights downloaded so far."""
        self._show(self._weights, done, total)

    def close(self) -> None:
        """Take the bar away, if there is one."""
        self._stack.close()

    def _show(self, what: str, done: int, total: int | None) -> None:
        if what not in self._shown:
            self.close()
            self._make_room()
            self._shown = {what: self._stack.enter_context(console.download_progress(what))}
        self._shown[what](done, total)
