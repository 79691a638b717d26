"""Running a graph so that Ctrl-C ends it: Python sees no signal while onnxruntime computes, be it for ever.

The command has handlers of its own, and leaves for good at the second signal; this is for notebooks and scripts.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnxruntime

_local = threading.local()


class RunGroup:
    """Runs in several threads that are ended together, once nobody waits for their outputs any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[Any] = set()
        self._is_over = False

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """Within the block this thread's runs belong to the group."""
        _local.group = self
        try:
            yield
        finally:
            _local.group = None

    @contextlib.contextmanager
    def counting(self, options: Any) -> Iterator[None]:
        """A run with these `RunOptions`."""
        with self._lock:
            self._running.add(options)
            options.terminate = self._is_over
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(options)

    def end(self) -> None:
        """End what runs, and what would."""
        with self._lock:
            self._is_over = True
            for options in self._running:
                options.terminate = True


def run_graph(
    session: "onnxruntime.InferenceSession", names: list[str], feeds: dict[str, Any], make_options: Any
) -> list[Any]:
    """The graph's outputs.

    Args:
        session: onnxruntime's.
        names: of the outputs.
        feeds: inputs by name.
        make_options: onnxruntime's `RunOptions`, through which the run is ended.
    Raises:
        KeyboardInterrupt: Ctrl-C came where Python's own handler is in place.
        Exception: what onnxruntime raises.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        group: RunGroup | None = getattr(_local, "group", None)
        if group is None:
            return list(session.run(names, feeds))
        options = make_options()
        with group.counting(options):
            return list(session.run(names, feeds, options))
    options = make_options()
    found: list[Any] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            found.extend(session.run(names, feeds, options))
        except BaseException as exc:
            failure.append(exc)

    thread = threading.Thread(target=run, name="onnxruntime", daemon=True)
    thread.start()
    try:
        thread.join()
    except BaseException:
        options.terminate = True
        # An operation that is at work comes to its end first.
        thread.join(1.0)
        raise
    if failure:
        raise failure[0]
    return found
