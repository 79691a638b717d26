"""Watching the head of a cluster: without it, nothing is answered and nothing fails."""

import contextlib
import threading
import time
from typing import Any

from imgcls.inference.cluster.session import HeadLostError

# How often free resources are looked for, such as those of a node that was added.
GROW_SEC = 2.0
# How long the cluster's head may not answer.
HEAD_LIMIT_SEC = 20.0


class HeadWatch:
    """Asks the head from time to time, and keeps what it answered last.

    Args:
        ray: the module, after `ray_session`.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._asked = 0.0
        self._answered = time.monotonic()
        self._free_resources: dict[str, float] = {}
        self._asking: threading.Thread | None = None
        self.is_lost = False

    def check(self) -> None:
        """Notice that the head is gone.

        Raises:
            HeadLostError: it has not answered for a while.
        """
        now = time.monotonic()
        if (self._asking is None or not self._asking.is_alive()) and now - self._asked >= GROW_SEC:
            self._asked = now
            # In a thread, as the question waits for its answer longer than this run should.
            self._asking = threading.Thread(target=self._ask, name="ask", daemon=True)
            self._asking.start()
        if self._asking is not None and now - self._answered > HEAD_LIMIT_SEC:
            self.is_lost = True
            raise HeadLostError(
                "the head of the Ray cluster is gone", hint="start it again; --resume keeps the parts that are done"
            )

    def take_free_resources(self) -> dict[str, float]:
        """What was free when the head was asked last; empty until it has answered again."""
        free, self._free_resources = self._free_resources, {}
        return free

    def _ask(self) -> None:
        # An error is no answer.
        with contextlib.suppress(Exception):
            self._free_resources = self._ray.available_resources()
            self._answered = time.monotonic()
