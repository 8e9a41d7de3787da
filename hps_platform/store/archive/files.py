"""Files of the archive, in a directory or behind any URL that fsspec knows: laid down for good, fetched, checked.

A file's name holds the beginning of its SHA-256: a file never changes, another version of a day is another file.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import fsspec

from hps_platform.errors import ArchiveDamaged, ArchiveUnavailable

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file where it lies, and what it must be."""

    url: str
    bytes: int
    sha256: str


@contextmanager
def _explained(url: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ArchiveDamaged(f"{url} is gone") from error
    except (ImportError, ValueError) as error:  # s3:// and others need a package of their own
        raise ArchiveUnavailable(f"{url}: {error}") from error
    except OSError as error:
        raise ArchiveUnavailable(f"{url}: {error}") from error


def _located(url: str) -> tuple[Any, str, bool]:
    """The file system, the path on it, and whether that is this machine's own."""
    system, path = fsspec.core.url_to_fs(url)
    return system, path, "file" in (system.protocol if isinstance(system.protocol, tuple) else (system.protocol,))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def lay_down(local: Path, directory: str, stem: str) -> StoredFile:
    """Copies a finished file to `<directory>/<stem>-<digest>.parquet`; when it returns, the copy outlives a crash."""
    sha256 = _digest(local)
    url = f"{directory.rstrip('/')}/{stem}-{sha256[:12]}.parquet"
    with _explained(url):
        system, path, own = _located(url)
        system.makedirs(path.rpartition("/")[0], exist_ok=True)
        system.put_file(str(local), path)
        if own:
            _sync(Path(path))
            _sync(Path(path).parent)
    return StoredFile(url, local.stat().st_size, sha256)


@contextmanager
def fetched(file: StoredFile) -> Iterator[Path]:
    """The file on this machine, after its checksum was found right; `ArchiveDamaged` when it isn't."""
    with tempfile.TemporaryDirectory(prefix="hps-archive-") as room:
        with _explained(file.url):
            system, path, own = _located(file.url)
            local = Path(path) if own else Path(room) / "file.parquet"
            if not own:
                system.get_file(path, str(local))
            found = _digest(local)
        if found != file.sha256:
            raise ArchiveDamaged(f"{file.url} is damaged: its SHA-256 is {found[:12]}…, not {file.sha256[:12]}…")
        yield local


def source(url: str) -> Path | IO[bytes]:
    """What polars can scan: the path of a file of this machine, else the opened file."""
    with _explained(url):
        system, path, own = _located(url)
        if not own:
            opened: IO[bytes] = system.open(path, "rb")
            return opened
        if not Path(path).exists():
            raise FileNotFoundError(path)
        return Path(path)


def remove(url: str) -> None:
    """Removes a file that another one has replaced; one that is gone already is no error."""
    with _explained(url):
        system, path, _ = _located(url)
        if system.exists(path):
            system.rm_file(path)
