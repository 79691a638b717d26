"""`imgcls serve`: a trained model behind HTTP."""

import dataclasses
import functools
import signal
from typing import TYPE_CHECKING

import typer

from imgcls.cli import console, options
from imgcls.cli.foreign_model import ForeignOptions
from imgcls.cli.help.option_groups import grouped
from imgcls.cli.predict.decoding import DecodingOptions
from imgcls.cli.predict.model import SpeedOptions
from imgcls.cli.process import startup
from imgcls.cli.serve.config import bound_pillow, serve_config
from imgcls.cli.serve.limits import BatchOptions, LimitOptions
from imgcls.cli.serve.options import (
    AddressOptions,
    LifeOptions,
    ModelOptions,
    SafetyOptions,
    check_serve_extra,
)
from imgcls.errors import ExitCode

if TYPE_CHECKING:
    import socket

    from imgcls.inference.backends.backend import LoadedBackend
    from imgcls.serving.config import ServeConfig
    from imgcls.serving.engine.served_model import ServedModels

EXAMPLE = "Example: imgcls serve -m runs/pets   then: curl --data-binary @photo.jpg http://127.0.0.1:8000/v1/predict"
CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}


@grouped
def serve(
    model: ModelOptions,
    where: AddressOptions,
    batches: BatchOptions,
    limits: LimitOptions,
    who: SafetyOptions,
    life: LifeOptions,
    speed: SpeedOptions,
    decoding: DecodingOptions,
    foreign: ForeignOptions,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Answer images over HTTP with one model or several, in batches that form by themselves; with a page for people."""
    console.quiet = quiet
    check_serve_extra()
    config = serve_config(model, where, batches, limits, who, life, speed, decoding, foreign)
    from imgcls.serving.server import check_files, listen

    check_files(config)
    bound_pillow(config)
    listening = listen(config.address)
    log_format = life.log_format.value
    has_requests = life.log_requests and not quiet
    try:
        if config.workers > 1:
            from imgcls.cli.serve.supervisor import supervise

            code = supervise(config, listening, log_format, has_requests=has_requests, say=_say_ready)
        else:
            stopped_by = run_one(config, listening, log_format, has_requests=has_requests, verbose=verbose)
            code = CODES[stopped_by] if stopped_by else ExitCode.OK
    finally:
        if config.address.uds is not None:
            config.address.uds.unlink(missing_ok=True)
    raise typer.Exit(code)


def run_one(
    config: "ServeConfig", listening: "socket.socket", log_format: str, *, has_requests: bool, verbose: bool
) -> signal.Signals | None:
    """Serve in this process."""
    from imgcls.serving.engine.served_model import ServedModels
    from imgcls.serving.http.event_log import EventLog
    from imgcls.serving.server import serve as serve_until_stopped

    with startup.loading():
        models = ServedModels(config, functools.partial(_load, config, verbose))
    log = EventLog(console.log_line, log_format, has_requests=has_requests)  # type: ignore[arg-type]
    try:
        return serve_until_stopped(
            config, models, listening, log, on_ready=functools.partial(_say_all, config, models, listening)
        )
    finally:
        log.close()


def _load(config: "ServeConfig", verbose: bool, spec: str) -> "LoadedBackend":
    from imgcls.inference.backends.backend import load_backend

    with console.download_progress(f"the weights of {spec}") as downloading:
        loaded = load_backend(spec, dataclasses.replace(config.load, progress=downloading))
    for note in loaded.notes:
        console.message(note)
    if verbose:
        console.message(loaded.remark)
    return loaded


def _say_all(config: "ServeConfig", models: "ServedModels", listening: "socket.socket") -> None:
    _say_ready(config, [f"{model.id} on {model.loaded.device}" for model in models], listening)


def _say_ready(config: "ServeConfig", models: list[str], listening: "socket.socket") -> None:
    """Where it is, what it serves, and how to try it."""
    from imgcls.serving.server import url_of

    address, url = config.address, url_of(listening, config.address)
    where = f"{address.uds}" if address.uds is not None else url
    console.message(f"serving {', '.join(models)} at {where}")
    curl = ["curl"]
    if address.uds is not None:
        curl += ["--unix-socket", str(address.uds)]
    if address.certfile is not None:
        curl += ["--cacert", str(address.certfile)]
    if config.safety.token_file is not None:
        curl += ["-H", f'"Authorization: Bearer $(head -n 1 {config.safety.token_file})"']
    console.message(f"  try: {' '.join(curl)} --data-binary @photo.jpg {url}/v1/predict")
    if config.has_page and address.uds is None:
        console.message(f"  or open {url}/ in a browser; {url}/docs describes the API")
    if not address.is_loopback and config.safety.token_file is None:
        console.warn(f"everyone who can reach {address.host}:{address.port} may ask (--no-auth)")
