"""Outputs that are compressed on their way to the disk."""

import importlib.util
import sys
from typing import BinaryIO, cast

from imgcls.errors import UsageError

SUFFIXES = (".gz", ".zst")


def check_compression(suffix: str) -> None:
    """Refuse what can't be compressed here.

    Args:
        suffix: one of `SUFFIXES`, or empty for none.
    Raises:
        UsageError: a package is missing.
    """
    if suffix == ".zst" and sys.version_info < (3, 14) and importlib.util.find_spec("pyarrow") is None:
        raise UsageError(
            "writing .zst needs pyarrow (or Python 3.14), which is not installed",
            hint="pip install 'imgcls[parquet]', or use .gz",
        )


def compressing(file: BinaryIO, suffix: str) -> BinaryIO:
    """A file that compresses into another one; to be closed before that one.

    Args:
        file: where the compressed bytes go.
        suffix: one of `SUFFIXES`; empty gives the file itself.
    """
    if not suffix:
        return file
    if suffix == ".gz":
        import gzip

        # Without a time of its own, so that the same records give the same bytes.
        return cast(BinaryIO, gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0))
    if sys.version_info >= (3, 14):
        from compression import zstd

        return cast(BinaryIO, zstd.ZstdFile(file, "wb"))
    import pyarrow as pa

    return cast(BinaryIO, pa.CompressedOutputStream(pa.PythonFile(file, "w"), "zstd"))
