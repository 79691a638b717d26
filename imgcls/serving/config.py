"""What `imgcls serve` was asked for, as plain values that a worker process can be given."""

from dataclasses import dataclass, field
from pathlib import Path

from imgcls.errors import UsageError
from imgcls.inference.backends.backend import LoadOptions
from imgcls.inference.settings import PredictSettings

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How images wait, and how they are gathered.

    Attributes:
        max_batch: images that the network sees at once, at most.
        max_wait_sec: how long an image may wait for others that are being decoded; alone it never waits.
        queue: images that are admitted and not yet answered, at most.
        timeout_sec: from the end of the request's body to its answer; later it is refused.
    """

    max_batch: int = 32
    max_wait_sec: float = 0.002
    queue: int = 256
    timeout_sec: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a client may take.

    Attributes:
        body_bytes: of a request.
        all_bodies_bytes: of all requests that are being received, together.
        files: images of one request.
        header_bytes: of a request's line and headers.
        header_sec: from a connection, or from the first byte of its next request, to the end of the headers.
        body_sec: from the end of the headers to the end of the body.
        keep_alive_sec: a connection may be silent between two requests.
        connections: at the same time.
        image_pixels: width times height of an image.
    """

    body_bytes: int = 32 * 2**20
    all_bodies_bytes: int = 512 * 2**20
    files: int = 64
    header_bytes: int = 32 * 2**10
    header_sec: float = 10.0
    body_sec: float = 30.0
    keep_alive_sec: float = 30.0
    connections: int = 1000
    image_pixels: int = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Safety:
    """Who may ask, and for what.

    Attributes:
        token_file: one token per line; None where no token is asked for.
        allowed_hosts: values of the header Host that are answered where no token is asked for; `*` for any.
        cors_origins: origins whose pages may read answers; `*` for any.
        url_hosts: patterns of hosts from which images are fetched for a client; none where it is empty.
    """

    token_file: Path | None = None
    allowed_hosts: tuple[str, ...] = LOOPBACK_NAMES
    cors_origins: tuple[str, ...] = ()
    url_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the server listens.

    Attributes:
        host, port: of TCP; port 0 takes a free one.
        uds: path of a Unix socket, in the place of these.
        root_path: prefix under which a proxy offers the server.
        certfile, keyfile: for TLS.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    uds: Path | None = None
    root_path: str = ""
    certfile: Path | None = None
    keyfile: Path | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.uds is not None or self.host in LOOPBACK_NAMES or self.host.startswith("127.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """All of it.

    Attributes:
        models: as `--model` names them; the first is the default.
        load: how they are loaded.
        settings: of their answers; a request may ask for another `top_k` and `threshold`.
        devices: of the worker processes, in turn.
        workers: processes.
        grace_sec: how long what is in hand may take after SIGTERM.
        has_page: whether `/` is a page for people.
    """

    models: tuple[str, ...]
    load: LoadOptions = field(default_factory=LoadOptions)
    settings: PredictSettings = field(default_factory=PredictSettings)
    devices: tuple[str, ...] = ("auto",)
    workers: int = 1
    address: Address = field(default_factory=Address)
    batching: Batching = field(default_factory=Batching)
    limits: Limits = field(default_factory=Limits)
    safety: Safety = field(default_factory=Safety)
    grace_sec: float = 20.0
    has_page: bool = True

    def check(self, *, no_auth: bool) -> "ServeConfig":
        """Refuse what would be unsafe, or can't be.

        Args:
            no_auth: whether it was said aloud that everyone may ask.
        Raises:
            UsageError: names the option.
        """
        address, safety = self.address, self.safety
        if len(self.devices) > self.workers:
            raise UsageError(
                f"{len(self.devices)} devices, and --workers {self.workers}: a process uses one device",
                hint=f"--workers {len(self.devices)}",
            )
        if not address.is_loopback and safety.token_file is None and not no_auth:
            raise UsageError(
                f"--host {address.host} can be reached from other machines, and nothing says who may ask",
                hint="add --token-file FILE (one token per line), or --no-auth to answer everyone",
            )
        if no_auth and safety.token_file is not None:
            raise UsageError("--no-auth and --token-file contradict each other", hint="leave out one of them")
        if address.keyfile is not None and address.certfile is None:
            raise UsageError("--keyfile needs --certfile", hint="--certfile cert.pem --keyfile key.pem")
        if address.root_path and not address.root_path.startswith("/"):
            raise UsageError(f"--root-path begins with a slash, not {address.root_path!r}", hint="--root-path /imgcls")
        return self
