"""How `imgcls predict` turns files into pixels, where they leave it open."""

from typing import TYPE_CHECKING, NamedTuple

from imgcls.cli import options
from imgcls.errors import UsageError

if TYPE_CHECKING:
    from imgcls.images.transform_values import RGB


class DecodingOptions(NamedTuple):
    """What of the command line says how files become pixels; see each option's help."""

    truncated: options.TruncatedOption = None
    background: options.Background = None
    depth: options.Depth = None

    @property
    def accepts_truncated(self) -> bool | None:
        """Whether JPEGs that lack their last bytes are taken; None as the model was trained."""
        return None if self.truncated is None else self.truncated is options.Truncated.ACCEPT

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
