"""An ONNX file as bytes: laid out so that its weights can be mapped into memory, and read that way.

An ONNX model is one protocol-buffers message, weights included, and the usual reader copies all of it: for AlexNet's
233 MiB that takes longer than everything else that `predict` does to one image. But onnxruntime can map weights that
lie in a second file. So the reader here hands it a copy of the message, a few kilobytes, whose large weights are said
to lie in "a second file" that is the model itself. Any ONNX file can be read so, and what is written is plain ONNX.

Source: protobuf.dev/programming-guides/encoding and onnx/onnx.proto, whose field numbers stand below.
"""

import hashlib
import mmap
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

# Numbers of fields, by message.
MODEL_GRAPH, MODEL_METADATA = 7, 14
GRAPH_INITIALIZER, GRAPH_DOC = 5, 10
TENSOR_RAW_DATA, TENSOR_EXTERNAL_DATA, TENSOR_DATA_LOCATION = 9, 13, 14
PAIR_KEY, PAIR_VALUE = 1, 2
EXTERNAL = 1

VARINT, FIXED_64, LENGTH, FIXED_32 = 0, 1, 2, 5
FIXED_SIZES = {FIXED_64: 8, FIXED_32: 4}

# Where weights start in files written here: a cache line, which is also the widest vector register.
WRITTEN_ALIGNMENT = 64
# Where they must start to be used in place: the largest element's size.
USED_ALIGNMENT = 8
# Smaller weights are copied; onnxruntime wants those that shapes are computed from in the message itself.
SMALLEST_MAPPED = 4096

DIGEST_KEY = "imgcls.content_sha256"
Buffer = bytes | memoryview | mmap.mmap


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: which field.
        start, value, end: where it starts, where its value does, and where both end.
    """

    number: int
    start: int
    value: int
    end: int


def fields(buffer: Buffer, start: int, end: int) -> Iterator[Field]:
    """Walk through a message's fields, without entering them.

    Args:
        buffer: holds the message.
        start: where in the buffer it starts.
        end: where it ends.
    Raises:
        ValueError: not a message.
    """
    position = start
    while position < end:
        key, value = _read_varint(buffer, position)
        kind, stop = key & 7, value
        if kind == VARINT:
            _, stop = _read_varint(buffer, value)
        elif kind == LENGTH:
            length, value = _read_varint(buffer, value)
            stop = value + length
        elif kind in FIXED_SIZES:
            stop = value + FIXED_SIZES[kind]
        else:
            raise ValueError(f"no field has type {kind}")
        if stop > end or not key >> 3:
            raise ValueError("a field that ends beyond its message")
        yield Field(key >> 3, position, value, stop)
        position = stop


def without_weights(model: Buffer, location: str) -> bytes:
    """The same model, whose large weights are said to lie in the file that the model came from.

    Args:
        model: a whole ONNX file.
        location: the file's name.
    Raises:
        ValueError: not a protocol-buffers message.
    """
    out = bytearray()
    for field in fields(model, 0, len(model)):
        if field.number != MODEL_GRAPH:
            out += model[field.start : field.end]
            continue
        graph = bytearray()
        for part in fields(model, field.value, field.end):
            if part.number == GRAPH_INITIALIZER and part.end - part.start >= SMALLEST_MAPPED:
                graph += _block(GRAPH_INITIALIZER, _detached(model, part, location))
            else:
                graph += model[part.start : part.end]
        out += _block(MODEL_GRAPH, graph)
    return bytes(out)


def laid_out(model: bytes, metadata: Mapping[str, str]) -> list[Buffer]:
    """The parts of an ONNX file whose large weights are aligned, with metadata and, last, a SHA-256 of all before it.

    Between weights stand descriptions of the graph made of blanks: of a field that comes more than once, readers take
    the last.

    Args:
        model: a whole ONNX file's bytes.
        metadata: in place of the model's own.
    Raises:
        ValueError: not a protocol-buffers message.
    """
    view = memoryview(model)
    head, graphs = bytearray(), []
    for field in fields(view, 0, len(view)):
        if field.number == MODEL_GRAPH:
            graphs.append(field)
        elif field.number != MODEL_METADATA:
            head += view[field.start : field.end]
    if len(graphs) != 1:
        raise ValueError(f"{len(graphs)} graphs")
    graph: list[Buffer] = []
    # The length of the graph stands before it, and the weights' places depend on how many digits it has.
    for num_digits in range(1, 10):
        graph = list(_aligned_graph(view, graphs[0], len(head) + 1 + num_digits))
        length = sum(map(len, graph))
        if len(_varint(length)) == num_digits:
            break
    opening = bytes(head) + _tag(MODEL_GRAPH) + _varint(sum(map(len, graph)))
    parts = [opening, *graph, *(_block(MODEL_METADATA, _pair(key, value)) for key, value in metadata.items())]
    return [*parts, _digest_entry(sha256_of(parts))]


def sha256_of(parts: Iterable[Buffer]) -> str:
    """The SHA-256 of parts, one after the other, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def stored_digest(model: Buffer) -> tuple[str, int] | None:
    """The SHA-256 at the end of a file that `laid_out` made, and of how many bytes it is; None where there is none."""
    length = len(_digest_entry("0" * 64))
    tail = bytes(model[-length:])
    digest = tail[-64:].decode("ascii", errors="replace")
    if len(model) <= length or tail != _digest_entry(digest):
        return None
    return digest, len(model) - length


def _aligned_graph(model: memoryview, graph: Field, start: int) -> Iterator[Buffer]:
    large, position, description = [], start, b""
    for part in fields(model, graph.value, graph.end):
        if part.number == GRAPH_DOC:
            description = bytes(model[part.value : part.end])
        elif part.number == GRAPH_INITIALIZER and part.end - part.start >= SMALLEST_MAPPED:
            large.append(part)
        else:
            yield model[part.start : part.end]
            position += part.end - part.start
    for part in large:
        data = next((f.value for f in fields(model, part.value, part.end) if f.number == TENSOR_RAW_DATA), part.value)
        # Tag and length of the blanks take two bytes.
        blanks = -(position + 2 + data - part.start) % WRITTEN_ALIGNMENT
        yield _block(GRAPH_DOC, b" " * blanks)
        yield model[part.start : part.end]
        position += 2 + blanks + part.end - part.start
    yield _block(GRAPH_DOC, description)


def _detached(model: Buffer, tensor: Field, location: str) -> bytearray:
    out = bytearray()
    for field in fields(model, tensor.value, tensor.end):
        if field.number != TENSOR_RAW_DATA or field.value % USED_ALIGNMENT:
            out += model[field.start : field.end]
            continue
        place = {"location": location, "offset": str(field.value), "length": str(field.end - field.value)}
        for key, value in place.items():
            out += _block(TENSOR_EXTERNAL_DATA, _pair(key, value))
        out += _varint(TENSOR_DATA_LOCATION << 3 | VARINT) + _varint(EXTERNAL)
    return out


def _digest_entry(digest: str) -> bytes:
    return _block(MODEL_METADATA, _pair(DIGEST_KEY, digest))


def _pair(key: str, value: str) -> bytes:
    return _block(PAIR_KEY, key.encode()) + _block(PAIR_VALUE, value.encode())


def _block(number: int, content: bytes | bytearray) -> bytes:
    return _tag(number) + _varint(len(content)) + bytes(content)


def _tag(number: int) -> bytes:
    return _varint(number << 3 | LENGTH)


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def _read_varint(buffer: Buffer, position: int) -> tuple[int, int]:
    """The number, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        try:
            digit = buffer[position]
        except IndexError:
            break
        position += 1
        value |= (digit & 0x7F) << shift
        if digit < 0x80:
            return value, position
    raise ValueError("a number without end")
