"""How `imgcls predict` turns files into pixels, where they leave it open."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from imgcls.cli import options
from imgcls.errors import UsageError

if TYPE_CHECKING:
    from imgcls.images.transform_values import RGB

PANEL = "Decoding"


class Truncated(StrEnum):
    """What `--truncated` takes."""

    ERROR = "error"
    ACCEPT = "accept"


class DecodingOptions(NamedTuple):
    """What of the command line says how files become pixels; see each option's help."""

    truncated: Annotated[
        Truncated,
        typer.Option(
            "--truncated",
            help="JPEGs that lack their last bytes: a failure, or classified with grey in their place, and marked.",
            rich_help_panel=PANEL,
        ),
    ] = Truncated.ERROR
    background: options.Background = None
    depth: options.Depth = None

    @property
    def background_rgb(self) -> "RGB | None":
        """The colour behind transparent images.

        Raises:
            UsageError: it is none.
        """
        if self.background is None:
            return None
        from imgcls.images.transform_values import parse_colour

        try:
            return parse_colour(self.background)
        except ValueError as exc:
            raise UsageError(f"--background {exc}", hint="--background white, or '#f0f0f0'") from exc
