"""What `imgcls serve` allows: how images wait, and what a client may take."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from imgcls.serving.config import Batching, Limits

BATCHES = "Batches"
LIMITS = "Limits"
MIB = 2**20


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
        typer.Option(
            "--decode-threads", min=1, help="Threads that decode; by default one per core.", rich_help_panel=BATCHES
        ),
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
        float, typer.Option("--max-body-mib", min=0.001, help="Refuse larger requests (413).", rich_help_panel=LIMITS)
    ] = 32.0
    max_memory_mib: Annotated[
        float,
        typer.Option(
            "--max-memory-mib",
            min=0.001,
            help="Memory for all requests together; beyond it they get 503.",
            rich_help_panel=LIMITS,
        ),
    ] = 512.0
    max_files: Annotated[
        int, typer.Option("--max-files", min=1, help="Refuse requests with more images (413).", rich_help_panel=LIMITS)
    ] = 64
    max_pixels: Annotated[
        int, typer.Option("--max-pixels", min=1, help="Refuse larger images.", rich_help_panel=LIMITS)
    ] = 100_000_000
    max_connections: Annotated[
        int,
        typer.Option(
            "--max-connections", min=1, help="Further ones replace idle ones, or get 503.", rich_help_panel=LIMITS
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
