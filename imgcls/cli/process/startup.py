"""What makes a short process shorter.

Worth its lines: `imgcls predict` of one image with cifar10-cnn, ten pairs in turn on two busy cores, takes 2.3 s of
processor time with both parts and 3.2 s without (all ten pairs agree); the median of the differences is 0.9 s.
"""

import atexit
import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator

# Set by the entry point: only there may the collector be told what this process will never let go.
owns_process = False


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Import and load without garbage collection.

    Importing torch makes half a million objects that live as long as the process. The collector would walk through them
    again and again while they are made, and twice more at the end: a fifth of the time that one image takes.
    """
    if not owns_process:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def leave(code: int, *, waits: bool = True) -> None:
    """End the process at once, after all that must happen at an end: threads, exit functions, what is still buffered.

    Args:
        code: of the process; a signal that comes now doesn't change it any more.
        waits: for threads that are at work.

    With torch loaded the interpreter would then take half a million objects apart, for a sixth of a second, and the
    system takes their memory back whole anyway. Returns where there is nothing to gain.

    Whoever doesn't wait gains everything where a thread never ends, such as one that runs an ONNX file's endless loop.
    """
    if waits and "torch" not in sys.modules:
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        # Only the main thread may listen to signals.
        with contextlib.suppress(ValueError):
            signal.signal(number, lambda _number, _frame: os._exit(code))
    # What the interpreter itself does first, in this order.
    if waits:
        threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        # Closed, or its reader gone: the command has dealt with that where it matters.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit(code)
