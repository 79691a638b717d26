"""`imgcls predict --server`: a warm model elsewhere in the place of one that is loaded."""

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from imgcls.cli.foreign_model import ForeignOptions
from imgcls.cli.predict.decoding import DecodingOptions
from imgcls.cli.predict.model import DEFAULT_MODEL, ModelOptions, SpeedOptions
from imgcls.errors import UsageError

if TYPE_CHECKING:
    from imgcls.inference.backends.backend import LoadedBackend
    from imgcls.inference.batch_run import Classify
    from imgcls.inference.pipeline import StreamSettings

PANEL = "A server"


class ServerOptions(NamedTuple):
    """Which server answers, if any; see each option's help."""

    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            help="Ask a server that 'imgcls serve' runs, and load no model; IMGCLS_TOKEN holds its token.",
            metavar="URL",
            envvar="IMGCLS_SERVER",
            rich_help_panel=PANEL,
        ),
    ] = None
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, help="Requests at the same time.", rich_help_panel=PANEL)
    ] = 8

    def open(self, model: ModelOptions) -> "LoadedBackend":
        """The server's model, of those that it has the one that `--model` names.

        Raises:
            ImgclsError: there is no such server, or it has no such model.
        """
        from imgcls.inference.backends.backend import LoadedBackend
        from imgcls.serving.client.client import Client
        from imgcls.serving.client.remote_model import RemoteModel

        assert self.server is not None
        # The default of --model is that of a run without a server.
        name = None if model.model == DEFAULT_MODEL else model.model
        client = Client(self.server, model=name, concurrency=self.concurrency)
        remote = RemoteModel(client)
        remark = f"{remote.id} on {remote.device} of {client.shown_url}"
        return LoadedBackend(remote, remote.device, remark, runtime=remote.runtime)


def as_served(loaded: "LoadedBackend", settings: "StreamSettings") -> "StreamSettings":
    """Settings with those of the server in their place, where one answers."""
    served = getattr(loaded.backend, "as_served", None)
    return settings if served is None else served(settings)


def classify_with(loaded: "LoadedBackend") -> "Classify":
    """What turns inputs into records: this process, or a server."""
    from imgcls.inference.pipeline import classify_stream

    return getattr(loaded.backend, "classify", classify_stream)


def check_goes_with_server(
    model: ModelOptions, speed: SpeedOptions, decoding: DecodingOptions, foreign: ForeignOptions, *, all_frames: bool
) -> None:
    """Refuse options that the server has decided already.

    Raises:
        UsageError: names them.
    """
    its_own = (
        "ensemble",
        "weights",
        "ema",
        "accept_if",
        "classes",
        "tta",
        "device",
        "batch_size",
        "workers",
        "runtime",
    )
    told = [name for name in its_own if getattr(model, name) != getattr(ModelOptions(), name)]
    for group, plain in ((speed, SpeedOptions()), (decoding, DecodingOptions()), (foreign, ForeignOptions())):
        told += [name for name in plain._fields if getattr(group, name) != getattr(plain, name)]
    told += ["all_frames"] if all_frames else []
    if told:
        names = ", ".join("--" + name.replace("_", "-") for name in told)
        raise UsageError(f"{names}: a server decides that when it is started", hint="give them to imgcls serve")
