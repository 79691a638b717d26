"""Inputs in blocks whose borders depend on the names alone.

A border stands behind a name whose hash says so. A file that is added or removed changes the block that it is in, and
no other, so that a resumed run finds all other parts under their names.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from imgcls.images.archives.names import archive_suffix
from imgcls.images.inputs.source import Source

# Of the size that is asked for: a block ends at the latest at that many times it, and not before that part of it.
LONGEST, SHORTEST = 4, 4


@dataclass(frozen=True, slots=True)
class Block:
    """Inputs that one worker classifies into one part.

    Attributes:
        id: 16 hexadecimal digits that its inputs' names fix; a second block of the same names has another.
        sources: an archive is one of them, and alone.
    """

    id: str
    sources: tuple[Source, ...]


def is_archive(source: Source) -> bool:
    """Whether an input is an archive that its worker opens."""
    place = source.url or (source.path.name if source.path is not None else "")
    return source.failure is None and source.member is None and bool(archive_suffix(place))


def cut_blocks(sources: Iterable[Source], *, size: int) -> Iterator[Block]:
    """Cut a stream of inputs into blocks, without holding more than one.

    Args:
        sources: in order.
        size: inputs of a block, on average; an archive is a block of its own.
    """
    seen: dict[str, int] = {}
    waiting: list[Source] = []

    def block() -> Block:
        digest = hashlib.blake2b(digest_size=8)
        for source in waiting:
            encoded = source.name.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        name = digest.hexdigest()
        seen[name] = seen.get(name, 0) + 1
        made = Block(name if seen[name] == 1 else f"{name}-{seen[name]}", tuple(waiting))
        waiting.clear()
        return made

    for source in sources:
        if is_archive(source):
            if waiting:
                yield block()
            waiting.append(source)
            yield block()
            continue
        waiting.append(source)
        is_border = len(waiting) * SHORTEST >= size and _hash(source.name) % size == 0
        if is_border or len(waiting) >= LONGEST * size:
            yield block()
    if waiting:
        yield block()


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
