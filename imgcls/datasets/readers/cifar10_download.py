"""Downloading CIFAR-10 into the cache."""

import tarfile
from pathlib import Path

from imgcls.datasets.readers import cifar10
from imgcls.errors import DataError
from imgcls.host import cache_folders
from imgcls.host.files import output_error
from imgcls.host.http.download import Digest, DownloadProgress, download_file
from imgcls.host.http.faults import DownloadError
from imgcls.host.working_folders import working_folder


def fetch_cifar10(*, progress: DownloadProgress | None = None) -> Path:
    """Download, check and unpack the published archive; the folder appears whole or not at all.

    Args:
        progress: called with bytes so far and in all.
    Returns:
        The folder `cifar-10-batches-py` in the cache.
    Raises:
        DataError: offline, or the download failed; says what to put where instead.
        OutputError: the cache can't be written.
    """
    folder = cache_folders.datasets_folder()
    destination = folder / cifar10.FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with working_folder(folder, prefix=".cifar10.") as work:
            archive = work / cifar10.URL.rsplit("/", 1)[1]
            download_file(cifar10.URL, archive, check=Digest("md5", cifar10.ARCHIVE_MD5), progress=progress)
            with tarfile.open(archive) as tar:
                tar.extractall(work, filter="data")
            (work / cifar10.FOLDER).rename(destination)
    except DownloadError as exc:
        raise DataError(
            f"CIFAR-10 is not in {folder}, and fetching it failed: {exc.message}",
            hint=f"unpack {cifar10.URL} there by hand, or name the folder that holds {cifar10.FOLDER} with --data",
        ) from exc
    except tarfile.TarError as exc:
        raise DataError(f"the archive of CIFAR-10 can't be unpacked: {exc}", hint="try again") from exc
    except OSError as exc:
        if not destination.is_dir():
            raise output_error(destination, exc) from exc
        # Another process fetched it meanwhile.
    return destination
