"""What makes a short process shorter."""

import contextlib
import gc
from collections.abc import Iterator

# Set by the entry point: only there may the collector be told what this process will never let go.
owns_process = False


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Import and load without garbage collection.

    Importing torch makes half a million objects that live as long as the process. The collector would walk through them
    again and again while they are made, and twice more at the end: a fifth of the time that one picture takes.
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
