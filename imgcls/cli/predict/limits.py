"""What `imgcls predict` may spend on an input, on all of them, and on exactness."""

import functools
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

if TYPE_CHECKING:
    from imgcls.images.object_storage.urls import StorageOptions
    from imgcls.inference.batch_run import ErrorLimits

PANEL = "Limits"


class LimitOptions(NamedTuple):
    """What of the command line bounds a run; see each option's help."""

    max_pixels: Annotated[
        int, typer.Option("--max-pixels", min=1, help="Refuse larger images.", rich_help_panel=PANEL)
    ] = 178_956_970
    image_timeout: Annotated[
        float,
        typer.Option(
            "--image-timeout", min=0.001, help="Seconds that one image may take to decode.", rich_help_panel=PANEL
        ),
    ] = 120.0
    url_timeout: Annotated[
        float, typer.Option("--url-timeout", min=0.001, help="Seconds that one URL may take.", rich_help_panel=PANEL)
    ] = 60.0
    url_max_mib: Annotated[
        float,
        typer.Option(
            "--url-max-mib",
            min=0.001,
            help="Refuse larger downloads and members of archives, and more on stdin.",
            rich_help_panel=PANEL,
        ),
    ] = 64.0
    allow_private_urls: Annotated[
        bool,
        typer.Option(
            "--allow-private-urls",
            help="Let a public server redirect to this machine or to a private network.",
            rich_help_panel=PANEL,
        ),
    ] = False
    max_errors: Annotated[
        int | None,
        typer.Option("--max-errors", min=0, help="Stop when more inputs than this have failed.", rich_help_panel=PANEL),
    ] = None
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first failure.", rich_help_panel=PANEL)
    ] = False

    @property
    def max_bytes(self) -> int:
        """That an image from a URL or on stdin may have."""
        return int(self.url_max_mib * 2**20)

    def bound_pillow(self) -> None:
        """Hold Pillow to the same limit, for the whole process, and silence what it says to programmers."""
        from PIL import Image

        # Its own check counts too, as it also sees images inside of images (.ico). It refuses twice its limit, and may
        # be a global one because the command has its own process.
        Image.MAX_IMAGE_PIXELS = -(-self.max_pixels // 2)
        # A record says all that matters here.
        warnings.filterwarnings("ignore", module=r"PIL\.")

    def fetch(self, storage: "StorageOptions") -> Callable[[str], bytes]:
        """What turns a URL into bytes, within the limits.

        Args:
            storage: how object storage is reached.
        """
        from imgcls.images.inputs.download import fetch_image

        return functools.partial(
            fetch_image,
            max_bytes=self.max_bytes,
            time_limit_sec=self.url_timeout,
            allow_private=self.allow_private_urls,
            storage=storage,
        )

    def error_limits(self) -> "ErrorLimits":
        """How many inputs may fail."""
        from imgcls.inference.batch_run import ErrorLimits

        return ErrorLimits(0 if self.fail_fast else self.max_errors)
