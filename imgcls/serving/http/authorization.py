"""Who may ask: tokens, and where a browser must not lead a page of somebody else's."""

import hashlib
import hmac
import time
from pathlib import Path
from urllib.parse import urlsplit

from imgcls.errors import ConfigError
from imgcls.serving.config import Safety
from imgcls.serving.http.problems import Problem

# How often the file of tokens is looked at.
CHECK_SEC = 1.0
SCHEME = "bearer "
LEAST_CHARACTERS = 16


class Tokens:
    """The tokens of a file, one per line; a file that has changed is read again, so that tokens can be rotated.

    Args:
        path: of the file; blank lines and those that begin with `#` count for nothing.
    Raises:
        ConfigError: it can't be read, holds no token, or one that can be guessed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at = time.monotonic()
        self._digests, self._version = self._read()

    def accept(self, authorization: str) -> bool:
        """Whether a header Authorization holds one of them; takes as long whichever it is, and if none."""
        self._read_again()
        is_bearer = authorization[: len(SCHEME)].lower() == SCHEME
        digest = _digest(authorization[len(SCHEME) :].strip()) if is_bearer else b""
        found = False
        for known in self._digests:
            found |= hmac.compare_digest(known, digest)
        return found

    def _read_again(self) -> None:
        now = time.monotonic()
        if now - self._read_at < CHECK_SEC:
            return
        self._read_at = now
        try:
            if self._version != _version(self._path):
                self._digests, self._version = self._read()
        except (ConfigError, OSError):
            # Being replaced, or damaged: those that were read stay until there are others.
            return

    def _read(self) -> tuple[tuple[bytes, ...], tuple[int, int, int]]:
        try:
            version = _version(self._path)
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(f"the tokens in {self._path} can't be read: {exc}", hint="one token per line") from exc
        tokens = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
        hint = "python -c 'import secrets; print(secrets.token_urlsafe(32))' > tokens.txt"
        if not tokens:
            raise ConfigError(f"{self._path} holds no token", hint=hint)
        if any(len(token) < LEAST_CHARACTERS for token in tokens):
            raise ConfigError(f"a token in {self._path} has fewer than {LEAST_CHARACTERS} characters", hint=hint)
        return tuple(map(_digest, tokens)), version


class Access:
    """Decides whether a request may be answered.

    Args:
        safety: who may ask.
    Raises:
        ConfigError: the tokens can't be read.
    """

    def __init__(self, safety: Safety) -> None:
        self._safety = safety
        self.tokens = Tokens(safety.token_file) if safety.token_file else None
        self._hosts = {host.lower() for host in safety.allowed_hosts}
        self._origins = {origin.lower().rstrip("/") for origin in safety.cors_origins}

    def check_place(self, host: str, origin: str) -> None:
        """Refuse what another site's page in somebody's browser asks.

        Args:
            host: the header Host.
            origin: the header Origin; empty where no browser sends one.
        Raises:
            Problem: 403.
        """
        # With a token no page can ask that hasn't been given it; without, a name that leads here would be enough.
        if self.tokens is None and "*" not in self._hosts and _host_name(host) not in self._hosts:
            raise Problem(403, "this name is not served; --allowed-host NAME lets it be")
        if not origin or origin.lower() in self._origins or "*" in self._origins:
            return
        if origin != "null" and urlsplit(origin).netloc.lower() == host.lower():
            return
        raise Problem(403, "pages of this origin may not ask; --cors-origin ORIGIN lets them")

    def check_token(self, authorization: str) -> None:
        """Refuse who has no token, where one is asked for.

        Raises:
            Problem: 401.
        """
        if self.tokens is not None and not self.tokens.accept(authorization):
            raise Problem(401, "a valid token is needed", headers={"www-authenticate": 'Bearer realm="imgcls"'})

    def cors_headers(self, origin: str) -> list[tuple[bytes, bytes]]:
        """What lets a page of an allowed origin read the answer; nothing for others."""
        if not origin or not (origin.lower() in self._origins or "*" in self._origins):
            return []
        return [
            (b"access-control-allow-origin", origin.encode("latin-1", "replace")),
            (b"access-control-expose-headers", b"x-request-id, retry-after"),
            (b"vary", b"Origin"),
        ]


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _digest(token: str) -> bytes:
    # Of one length, so that a comparison tells nothing about that of the token.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _version(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns
