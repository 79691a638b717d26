"""What `imgcls serve` takes, in groups."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgcls.cli import options
from imgcls.cli.help.completion import complete_device, complete_model
from imgcls.errors import UsageError

if TYPE_CHECKING:
    from imgcls.serving.config import Address, Batching, Limits, Safety

ADDRESS = "Address"
BATCHES = "Batches"
LIMITS = "Limits"
SAFETY = "Who may ask"
LIFE = "Life"
MIB = 2**20


class LogFormat(StrEnum):
    """What `--log-format` takes."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which models, and how they answer where a request doesn't say."""

    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="A checkpoint, a run folder, an .onnx file, or a name; may be repeated, the first is the default.",
            metavar="MODEL",
            envvar="IMGCLS_MODEL",
            autocompletion=complete_model,
        ),
    ] = None
    weights: options.Weights = None
    ema: options.Ema = False
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, help="How many classes a record names.")] = 5
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", min=0, max=1, help="Mark answers less probable than this as uncertain."),
    ] = None
    device: Annotated[
        str,
        typer.Option(
            "--device",
            help="auto, cpu, cuda, mps or xpu; cuda:0,cuda:1 gives each of --workers its own.",
            metavar="DEVICE",
            show_default=True,
            autocompletion=complete_device,
        ),
    ] = "auto"
    runtime: options.RuntimeOption = options.Runtime.AUTO

    @property
    def models(self) -> tuple[str, ...]:
        """As given, or the default of `predict`."""
        return tuple(self.model or ("alexnet",))

    @property
    def devices(self) -> tuple[str, ...]:
        """One per worker process, in turn."""
        return tuple(each.strip() for each in self.device.split(",") if each.strip()) or ("auto",)


@dataclass(frozen=True, slots=True)
class AddressOptions:
    """Where the server listens; see each option's help."""

    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; another than this machine's needs --token-file.")
    ] = "127.0.0.1"
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8000
    uds: Annotated[
        Path | None,
        typer.Option("--uds", help="A Unix socket in their place.", metavar="PATH", rich_help_panel=ADDRESS),
    ] = None
    root_path: Annotated[
        str,
        typer.Option("--root-path", help="Prefix under which a proxy offers the server.", rich_help_panel=ADDRESS),
    ] = ""
    certfile: Annotated[
        Path | None,
        typer.Option("--certfile", help="TLS: certificate chain, PEM.", metavar="FILE", rich_help_panel=ADDRESS),
    ] = None
    keyfile: Annotated[
        Path | None,
        typer.Option("--keyfile", help="TLS: private key, PEM.", metavar="FILE", rich_help_panel=ADDRESS),
    ] = None

    def address(self) -> "Address":
        """In the library's words."""
        from imgcls.serving.config import Address

        return Address(
            host=self.host,
            port=self.port,
            uds=self.uds,
            root_path=self.root_path.rstrip("/"),
            certfile=self.certfile,
            keyfile=self.keyfile,
        )


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How images wait; see each option's help."""

    max_batch: Annotated[
        int,
        typer.Option("--max-batch", min=1, help="Images the network sees at once, at most.", rich_help_panel=BATCHES),
    ] = 32
    max_wait_ms: Annotated[
        float,
        typer.Option(
            "--max-wait-ms",
            min=0,
            help="How long an image waits for others that are being decoded; a lone one never waits.",
            rich_help_panel=BATCHES,
        ),
    ] = 2.0
    queue: Annotated[
        int,
        typer.Option(
            "--queue", min=1, help="Images that may wait at once; more are refused with 503.", rich_help_panel=BATCHES
        ),
    ] = 256
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            min=0.01,
            help="Seconds from a whole request to its answer; what would take longer is refused with 503.",
            rich_help_panel=BATCHES,
        ),
    ] = 10.0
    decode_threads: Annotated[
        int | None,
        typer.Option("--decode-threads", min=1, help="By default one per core.", rich_help_panel=BATCHES),
    ] = None

    def batching(self) -> "Batching":
        """In the library's words."""
        from imgcls.serving.config import Batching

        return Batching(
            max_batch=self.max_batch,
            max_wait_sec=self.max_wait_ms / 1000,
            queue=self.queue,
            timeout_sec=self.timeout,
        )


@dataclass(frozen=True, slots=True)
class LimitOptions:
    """What a client may take; see each option's help."""

    max_body_mib: Annotated[
        float, typer.Option("--max-body-mib", min=0.001, help="Of one request (413).", rich_help_panel=LIMITS)
    ] = 32.0
    max_memory_mib: Annotated[
        float,
        typer.Option(
            "--max-memory-mib", min=0.001, help="Of all requests that are held at once (503).", rich_help_panel=LIMITS
        ),
    ] = 512.0
    max_files: Annotated[
        int, typer.Option("--max-files", min=1, help="Images of one request (413).", rich_help_panel=LIMITS)
    ] = 64
    max_pixels: Annotated[
        int, typer.Option("--max-pixels", min=1, help="Refuse larger images.", rich_help_panel=LIMITS)
    ] = 100_000_000
    max_connections: Annotated[
        int,
        typer.Option(
            "--max-connections", min=1, help="More take the place of idle ones, or get 503.", rich_help_panel=LIMITS
        ),
    ] = 1000
    header_timeout: Annotated[
        float, typer.Option("--header-timeout", min=0.01, help="Seconds for headers (408).", rich_help_panel=LIMITS)
    ] = 10.0
    body_timeout: Annotated[
        float,
        typer.Option(
            "--body-timeout", min=0.01, help="Seconds for the body of a request (408).", rich_help_panel=LIMITS
        ),
    ] = 30.0
    keep_alive: Annotated[
        float,
        typer.Option("--keep-alive", min=1, help="Seconds a connection may be silent.", rich_help_panel=LIMITS),
    ] = 30.0
    image_timeout: Annotated[
        float,
        typer.Option(
            "--image-timeout", min=0.001, help="Seconds that one image may take to decode.", rich_help_panel=LIMITS
        ),
    ] = 10.0

    def limits(self) -> "Limits":
        """In the library's words."""
        from imgcls.serving.config import Limits

        return Limits(
            body_bytes=int(self.max_body_mib * MIB),
            all_bodies_bytes=int(self.max_memory_mib * MIB),
            files=self.max_files,
            header_sec=self.header_timeout,
            body_sec=self.body_timeout,
            keep_alive_sec=self.keep_alive,
            connections=self.max_connections,
            image_pixels=self.max_pixels,
        )


@dataclass(frozen=True, slots=True)
class SafetyOptions:
    """Who may ask, and for what; see each option's help."""

    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            help="Answer only who sends one of its lines as a bearer token; read again when it changes.",
            metavar="FILE",
            rich_help_panel=SAFETY,
        ),
    ] = None
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Answer everyone, also on another --host.", rich_help_panel=SAFETY)
    ] = False
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allowed-host",
            help="A name by which a proxy or a browser may ask, where there are no tokens; may be repeated.",
            metavar="NAME",
            rich_help_panel=SAFETY,
        ),
    ] = None
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--cors-origin",
            help="Let pages of this origin ask; may be repeated.",
            metavar="ORIGIN",
            rich_help_panel=SAFETY,
        ),
    ] = None
    allow_urls: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-urls",
            help="Fetch images from hosts like this, such as '*.example.org', for clients; may be repeated.",
            metavar="HOSTGLOB",
            rich_help_panel=SAFETY,
        ),
    ] = None
    url_timeout: Annotated[
        float,
        typer.Option("--url-timeout", min=0.001, help="Seconds that one URL may take.", rich_help_panel=SAFETY),
    ] = 5.0

    def safety(self, address: "Address") -> "Safety":
        """In the library's words."""
        from imgcls.serving.config import LOOPBACK_NAMES, Safety

        hosts = (*LOOPBACK_NAMES, *(self.allowed_host or ()))
        if not address.is_loopback or address.uds is not None:
            # Whoever serves a network without tokens has said so; a proxy in front of a Unix socket chooses the name.
            hosts = (*hosts, "*")
        return Safety(
            token_file=self.token_file,
            allowed_hosts=hosts,
            cors_origins=tuple(self.cors_origin or ()),
            url_hosts=tuple(self.allow_urls or ()),
        )


@dataclass(frozen=True, slots=True)
class LifeOptions:
    """How the process lives and what it tells; see each option's help."""

    workers: Annotated[
        int,
        typer.Option(
            "--workers", min=1, help="Processes; one per GPU. More on a CPU rarely pay.", rich_help_panel=LIFE
        ),
    ] = 1
    grace: Annotated[
        float,
        typer.Option(
            "--grace", min=0, help="Seconds that what is in hand may take after SIGTERM.", rich_help_panel=LIFE
        ),
    ] = 20.0
    log_format: Annotated[
        LogFormat, typer.Option("--log-format", help="Of the messages on stderr.", rich_help_panel=LIFE)
    ] = LogFormat.TEXT
    log_requests: Annotated[
        bool,
        typer.Option("--log-requests/--no-log-requests", help="A message per request.", rich_help_panel=LIFE),
    ] = True
    page: Annotated[
        bool, typer.Option("--page/--no-page", help="A web page for people at /.", rich_help_panel=LIFE)
    ] = True


def check_serve_extra() -> None:
    """Say what to install, where the server's packages are missing.

    Raises:
        DeviceError: they can't be imported.
    """
    from importlib.util import find_spec

    from imgcls.errors import DeviceError

    packages = ("fastapi", "uvicorn", "httptools", "prometheus_client", "python_multipart")
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise DeviceError(
            f"imgcls serve needs {', '.join(missing)}, which {'are' if len(missing) > 1 else 'is'} not installed",
            hint="pip install 'imgcls[serve]'",
        )


def check_one_model(models: tuple[str, ...], *told: object) -> None:
    """Refuse options that describe one model, where there are several.

    Raises:
        UsageError: says so.
    """
    if len(models) > 1 and any(each is not None for each in told):
        raise UsageError(
            "--weights, --labels, --preset and the others that describe a model go with a single --model",
            hint="write each as one file first: imgcls export",
        )
