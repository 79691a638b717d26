"""What every output format states: its name, its suffixes, its encoder and, where a run can be resumed, its reader."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple, Protocol

from imgcls.outputs.record import ImageRecord
from imgcls.outputs.summary import Summary


@dataclass(frozen=True, slots=True)
class InlineImages:
    """How a table shows each image beside its answer; see `inline_images.py`.

    Attributes:
        way: `kitty`, `iterm`, `sixel` or `blocks`.
        true_colour: whether the terminal has 24-bit colours.
        cell_px: width and height of a character.
    """

    way: str
    true_colour: bool
    cell_px: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Layout:
    """What the bytes of an output depend on, beside its records.

    Attributes:
        model: the `model` object of every JSON answer.
        top_k: how many classes a record names.
        settings: digest of what shapes an answer; a resumed run keeps records with the same one.
        classes: labels in the order of the network's outputs.
        is_resumable: whether the output is one that a later run may continue.
        colour: whether a table has colours.
        csv_safe: whether CSV cells that a spreadsheet would run as a formula are escaped.
        facts: about the whole run, for formats with room for them.
        inline: how a table shows images; None for text alone.
    """

    model: dict[str, Any]
    top_k: int
    settings: str = ""
    classes: tuple[str, ...] = ()
    is_resumable: bool = False
    colour: bool = False
    csv_safe: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    inline: InlineImages | None = None


class Encoder(Protocol):
    """Turns the records of one output into bytes, in their order."""

    def head(self) -> bytes:
        """What stands before the first record."""

    def encode(self, record: ImageRecord) -> bytes:
        """The next record; nothing where it is written later, together with others."""

    def tail(self, summary: Summary) -> bytes:
        """What stands after the last record."""


class Span(NamedTuple):
    """Where one record stands in a file, in bytes."""

    start: int
    length: int


class Reader(Protocol):
    """Reads the records of one file back, be it torn off in the middle of a record.

    Attributes:
        num_whole_bytes: once `scan` has ended, the bytes before a record that is torn off.
    """

    num_whole_bytes: int

    @property
    def head(self) -> bytes:
        """The last head that `scan` met; empty where the format has none, or the file hasn't."""

    def scan(self) -> Iterator[tuple[Span, dict[str, Any] | None]]:
        """Walk through the whole records: where each stands, and its values, None where it isn't one of ours."""

    def read(self, span: Span) -> dict[str, Any] | None:
        """The values of one record that `scan` has found."""

    def is_current(self, span: Span, head: bytes) -> bool:
        """Whether a record that `scan` has found stands under this head, so that its bytes can be copied."""


class OutputFormat(NamedTuple):
    """One way to write records.

    Attributes:
        name: what `--format` calls it.
        suffixes: of files that are written in it when nothing else is said.
        encoder: writes it.
        reader: reads it back, for `--resume`; None where a run in this format can't be resumed.
        is_text: whether it can go to a terminal or a pipe, and be compressed.
        require: raises a `UsageError` where a package is missing.
    """

    name: str
    suffixes: tuple[str, ...]
    encoder: Callable[[Layout], Encoder]
    reader: Callable[[BinaryIO, Layout], Reader] | None = None
    is_text: bool = True
    require: Callable[[], None] = lambda: None

    @property
    def is_resumable(self) -> bool:
        """Whether a later run can continue a file in this format."""
        return self.reader is not None
