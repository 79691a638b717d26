"""One input, before anything of it is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imgcls.errors import ImageError
from imgcls.images.inputs.names import display_name

if TYPE_CHECKING:
    from imgcls.images.archives.members import Member


@dataclass(frozen=True, slots=True)
class Source:
    """One input.

    Attributes:
        name: how its record calls it: the text as given, but for passwords, and below a folder joined to the folder's;
            valid Unicode always.
        path: of a file, or None.
        url: `http://`, `https://` or one of object storage, or empty.
        content: an encoded image's bytes, or None.
        member: of an archive, or None.
        version: size in bytes and modification time in nanoseconds since 1970, where they are known without a file of
            its own: a member's size, and its archive's time.
        failure: why it can't even be tried, such as a folder that can't be listed, or None.
        is_old: whether it is wanted only where an earlier run has a record of it.
        first_frame: where each frame of a file is asked for, the first that is still wanted.
    """

    name: str
    path: Path | None = None
    url: str = ""
    content: bytes | None = None
    member: "Member | None" = None
    version: tuple[int, int] | None = None
    failure: ImageError | None = None
    is_old: bool = False
    first_frame: int = 0

    @property
    def plain_name(self) -> str:
        """The name without what makes no difference (`./a.jpg`, `shots//a.jpg`): shards go by it, as in version 0.1."""
        return self.name if self.path is None else display_name(self.path)
