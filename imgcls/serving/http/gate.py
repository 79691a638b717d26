"""The outermost layer of the application: who may ask, request ids, headers that every answer has, logs and counts."""

import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from imgcls.serving.http.authorization import Access
from imgcls.serving.http.bodies import ClientGoneError
from imgcls.serving.http.event_log import EventLog
from imgcls.serving.http.problems import Problem
from imgcls.serving.metrics import Metrics

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
Endpoint = Callable[[Request], Awaitable[Response]]

# What the probes of an orchestrator ask, and what a browser needs before anybody can type a token.
OPEN_PATHS = ("/healthz", "/readyz", "/", "/docs", "/favicon.ico", "/v2/health/live", "/v2/health/ready")
OPEN_PREFIX = "/page/"
# Asked every few seconds by machines; logged only where they fail.
QUIET_PATHS = ("/healthz", "/readyz", "/metrics")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
CLIENT_GONE = 499
SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
# Nothing but what this server itself sends; images as the page holds them.
PAGE_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    b"media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PLAIN_POLICY = b"default-src 'none'; frame-ancestors 'none'"


class Gate:
    """An ASGI application around another.

    Args:
        app: what answers whatever isn't in `direct`.
        direct: endpoints by path, for POST, which skip the routing of `app`.
        access: who may ask.
        metrics: where requests are counted.
        log: where they are told.
        root_path: prefix that a proxy may leave on.
    """

    def __init__(
        self,
        app: App,
        direct: dict[str, Endpoint],
        *,
        access: Access,
        metrics: Metrics,
        log: EventLog,
        root_path: str,
    ) -> None:
        self._app, self._direct = app, direct
        self._access, self._metrics, self._log = access, metrics, log
        self._root_path = root_path.rstrip("/")

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1000})
            return
        began = time.perf_counter()
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        told_id = headers.get(b"x-request-id", "")
        request_id = told_id if REQUEST_ID.fullmatch(told_id) else secrets.token_hex(8)
        origin = headers.get(b"origin", "")
        path = self._path(scope)
        status = CLIENT_GONE

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = self._headers(message["headers"], path, request_id, origin)
            await send(message)

        self._metrics.begin()
        try:
            await self._answer(scope, receive, send_with_headers, headers, path, request_id)
        except ClientGoneError:
            status = CLIENT_GONE
        finally:
            seconds = time.perf_counter() - began
            self._metrics.end(self._label(path, scope, status), scope["method"], status, seconds)
            if self._log.has_requests and (path not in QUIET_PATHS or status >= 400):
                self._tell(scope, path, status, seconds, request_id, headers)

    async def _answer(
        self,
        scope: MutableMapping[str, Any],
        receive: Receive,
        send: Send,
        headers: dict[bytes, str],
        path: str,
        request_id: str,
    ) -> None:
        scope["imgcls.request_id"] = request_id
        response: Response
        try:
            origin = headers.get(b"origin", "")
            is_open = path in OPEN_PATHS or path.startswith(OPEN_PREFIX)
            if not path.endswith(("/healthz", "/readyz")):
                # Probes ask by address, whatever that is.
                self._access.check_place(headers.get(b"host", ""), origin)
            if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
                response = _preflight()
            else:
                if not is_open:
                    self._access.check_token(headers.get(b"authorization", ""))
                endpoint = self._direct.get(path) if scope["method"] == "POST" else None
                if endpoint is None:
                    await self._app(scope, receive, send)
                    return
                response = await endpoint(Request(scope, receive))
        except Problem as exc:
            # Whoever waits for "100 Continue" never sends what wasn't asked for: nothing can follow on this connection.
            if b"expect" in headers:
                exc.headers.setdefault("connection", "close")
            response = problem_response(exc, request_id)
        except ClientGoneError:
            raise
        except Exception as exc:
            self._log.event("failure", level="error", request_id=request_id, reason=f"{type(exc).__name__}: {exc}")
            response = problem_response(Problem(500, "a defect of the server; its log says more"), request_id)
        await response(scope, receive, send)

    def _headers(
        self, given: list[tuple[bytes, bytes]], path: str, request_id: str, origin: str
    ) -> list[tuple[bytes, bytes]]:
        names = {name.lower() for name, _value in given}
        is_page = path in ("/", "/docs") or path.startswith(OPEN_PREFIX)
        added = [
            *SECURITY_HEADERS,
            (b"x-request-id", request_id.encode("ascii")),
            (b"content-security-policy", PAGE_POLICY if is_page else PLAIN_POLICY),
            (b"cache-control", b"no-cache" if is_page else b"no-store"),
        ]
        if is_page:
            added.append((b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"))
        return [
            *given,
            *((name, value) for name, value in added if name not in names),
            *self._access.cors_headers(origin),
        ]

    def _path(self, scope: MutableMapping[str, Any]) -> str:
        path: str = scope["path"]
        if self._root_path and path.startswith(self._root_path + "/"):
            return path[len(self._root_path) :]
        return path

    def _label(self, path: str, scope: MutableMapping[str, Any], status: int) -> str:
        """The endpoint, never a path that a client made up: each would be a new series for ever."""
        if path in self._direct or path in OPEN_PATHS:
            return path
        route = scope.get("route")
        return getattr(route, "path", None) or "other"

    def _tell(
        self,
        scope: MutableMapping[str, Any],
        path: str,
        status: int,
        seconds: float,
        request_id: str,
        headers: dict[bytes, str],
    ) -> None:
        client = scope.get("client")
        self._log.event(
            "request",
            level="error" if status >= 500 and status != 503 else "info",
            method=scope["method"],
            path=path[:200],
            status=status,
            ms=round(seconds * 1000, 1),
            bytes=int(length) if (length := headers.get(b"content-length", "")).isdecimal() else None,
            client=client[0] if client else None,
            request_id=request_id,
            **scope.get("imgcls.log", {}),
        )


def problem_response(problem: Problem, request_id: str) -> Response:
    """A problem as an answer."""
    return Response(problem.body(request_id), problem.status, headers=problem.headers, media_type="application/json")


def _preflight() -> Response:
    """What a browser asks before a page of an allowed origin may ask."""
    return Response(
        status_code=204,
        headers={
            "access-control-allow-methods": "GET, POST",
            "access-control-allow-headers": "authorization, content-type, x-request-id",
            "access-control-max-age": "600",
        },
    )
