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
    from imgcls.serving.config import Address, Safety

ADDRESS = "Address"
SAFETY = "Who may ask"
LIFE = "Life"


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
            help="A checkpoint, a run folder, an .onnx or .pt2 file, or a name; repeatable, the first is the default.",
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
    allow_code: options.AllowCode = False

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
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000
    uds: Annotated[
        Path | None,
        typer.Option(
            "--uds", help="A Unix socket in the place of host and port.", metavar="PATH", rich_help_panel=ADDRESS
        ),
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
class SafetyOptions:
    """Who may ask, and for what; see each option's help."""

    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            help="Answer only clients that send one of its lines as a bearer token; read again when it changes.",
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
            "--grace", min=0, help="Seconds that requests in progress may take after SIGTERM.", rich_help_panel=LIFE
        ),
    ] = 20.0
    log_format: Annotated[
        LogFormat, typer.Option("--log-format", help="Format of the messages on stderr.", rich_help_panel=LIFE)
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
