"""Reading a request's body within limits of size, time and memory, which hold while it comes in, not afterwards."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request

from imgcls.serving.config import Limits
from imgcls.serving.http.problems import Problem, overloaded


class ClientGoneError(Exception):
    """The client went away before its request was whole; nobody reads an answer."""


class BodyBudget:
    """The bytes of all bodies that are held, from their arrival to the answer.

    Args:
        limits: on each, and on all of them.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.held_bytes = 0


class BodyReader:
    """Reads the body of one request; what it read counts as held until the block ends.

    Args:
        budget: of all requests.
        request: whose body is read.
    """

    def __init__(self, budget: BodyBudget, request: Request) -> None:
        self._budget, self._limits, self._request = budget, budget.limits, request
        self.num_bytes = 0

    def __enter__(self) -> "BodyReader":
        """Itself."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Let go of what was read."""
        self._budget.held_bytes -= self.num_bytes

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes as they come.

        Raises:
            Problem: 400, 408, 413, 415 or 503.
            ClientGoneError: it stops in the middle.
        """
        limits, budget, request = self._limits, self._budget, self._request
        self._check_headers()
        try:
            async with asyncio.timeout(limits.body_sec):
                while True:
                    message = await request.receive()
                    if message["type"] != "http.request":
                        raise ClientGoneError
                    chunk = message.get("body", b"")
                    self.num_bytes += len(chunk)
                    budget.held_bytes += len(chunk)
                    if self.num_bytes > limits.body_bytes:
                        raise self._too_large()
                    if budget.held_bytes > limits.all_bodies_bytes:
                        raise overloaded("too many bytes are being received", 1)
                    if chunk:
                        yield chunk
                    if not message.get("more_body", False):
                        return
        except TimeoutError:
            raise Problem(408, f"the body took longer than {limits.body_sec:g} s", closes=True) from None

    async def read(self) -> bytes:
        """The whole body; see `chunks`."""
        parts = [chunk async for chunk in self.chunks()]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _check_headers(self) -> None:
        headers = self._request.headers
        # A client that waits for "100 Continue" never sends what it was not asked for: nothing can follow then.
        closes = "expect" in headers
        if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise Problem(415, "compressed bodies are not taken", closes=closes)
        length = headers.get("content-length")
        if length is None:
            return
        if not (length.isascii() and length.isdecimal() and len(length) < 20):
            raise Problem(400, "the header Content-Length is no number", closes=True)
        if int(length) > self._limits.body_bytes:
            raise self._too_large(closes=closes)

    def _too_large(self, *, closes: bool = False) -> Problem:
        return Problem(413, f"the body has more than {self._limits.body_bytes / 2**20:g} MiB", closes=closes)
