"""Why a request is not answered: a status, a word for programs and a sentence for people; nothing of our insides."""

import json
import math
from typing import Any

# The word for programs, by status, where none is said.
KINDS = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid",
    431: "headers_too_large",
    500: "internal",
    503: "overloaded",
}


class Problem(Exception):  # noqa: N818 - it is an answer, of which most are no error of ours
    """An answer other than the one that was asked for.

    Args:
        status: HTTP's.
        message: one sentence.
        headers: beside those that every answer has.
        closes: whether the connection ends with it.
    """

    def __init__(
        self, status: int, message: str, *, headers: dict[str, str] | None = None, closes: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})
        if closes:
            self.headers["connection"] = "close"

    @property
    def kind(self) -> str:
        """The word for programs."""
        return KINDS.get(self.status, "error")

    def body(self, request_id: str = "") -> bytes:
        """The JSON object that says it."""
        told: dict[str, Any] = {"error": {"kind": self.kind, "message": self.message}}
        if request_id:
            told["request_id"] = request_id
        return json.dumps(told, ensure_ascii=False).encode("utf-8", "backslashreplace")


def overloaded(reason: str, retry_after_sec: float) -> Problem:
    """503, and when to come again."""
    return Problem(503, reason, headers={"retry-after": str(max(math.ceil(retry_after_sec), 1))})
