"""Storage: an S3 prefix or a local folder behind the same few verbs.

`storage_at` opens either by its URI; every task that touches a file goes through it. Keys are relative to
the opened prefix and written with slashes. What the bytes mean belongs to the callers.

Nothing is half written: an object appears whole or not at all. Errors say what, where and what to do, and
`is_transient` tells a retry whether another try may help.
"""

import hashlib
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from schemas.crashpoints import crashpoint
from schemas.errors import OutsideFailed

_CHUNK = 4 * 1024 * 1024


class StorageError(OutsideFailed):
    """Storage could not do what was asked, for a reason that another try does not change."""


class NotFound(StorageError):
    """There is no such object, bucket or folder."""


class AccessDenied(StorageError):
    """The credentials are missing, wrong or not enough."""


class ChangedSincePinned(StorageError):
    """The object is not the one that the run listed."""


class Unreachable(StorageError):
    """The other side did not answer, was busy or failed; another try may help."""


def is_transient(failure: BaseException) -> bool:
    """Tell whether another try may help: no answer, a busy or failing server, a broken connection."""
    return isinstance(failure, Unreachable)


@dataclass(frozen=True)
class StoredObject:
    """An object as it was listed; `version` is its ETag, or its time of change and size in a folder."""

    key: str
    uri: str
    version: str
    size: int


class Storage(ABC):
    """The verbs. A `version` from a listing makes a read refuse what has changed since.

    Every verb raises a StorageError: NotFound, AccessDenied, ChangedSincePinned, Unreachable, or a plain one.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")

    def uri_of(self, key: str) -> str:
        """Say where an object is."""
        return f"{self.uri}/{key}"

    @abstractmethod
    def list(self, prefix: str = "") -> list[StoredObject]:
        """List the objects whose keys start with a prefix, sorted by key; none is an empty list."""

    @abstractmethod
    def stream(self, key: str, version: str | None = None) -> Iterator[bytes]:
        """Read an object in chunks."""

    @abstractmethod
    def write(self, key: str, data: bytes) -> None:
        """Write an object, replacing what is there."""

    @abstractmethod
    def create(self, key: str, data: bytes) -> bool:
        """Write an object only if there is none; of several writers at once exactly one succeeds.

        Returns:
            False if there is one already. After a broken connection that may be our own: compare the bytes.
        """

    @abstractmethod
    def write_file(self, key: str, path: Path) -> None:
        """Write an object from a file of any size, replacing what is there."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Tell whether there is such an object."""

    def read(self, key: str, version: str | None = None) -> bytes:
        """Read an object whole."""
        return b"".join(self.stream(key, version))

    def fetch(self, key: str, path: Path, version: str | None = None) -> str:
        """Copy an object to a local file and return its sha256."""
        digest = hashlib.sha256()
        with _told(str(path.parent)), path.open("wb") as file:
            for chunk in self.stream(key, version):
                digest.update(chunk)
                file.write(chunk)
        return digest.hexdigest()


def storage_at(uri: str) -> Storage:
    """Open `s3://bucket/prefix`, a `file://` URI or a local folder; nothing is read yet.

    Raises:
        StorageError: If the URI names neither.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return LocalFolder(uri)
    if scheme == "file" and rest.startswith("/"):
        return LocalFolder(rest)
    if scheme == "s3" and rest.strip("/"):
        # A run on folders need not wait for boto3.
        from tasks.storage_s3 import S3Prefix

        return S3Prefix(uri)
    raise StorageError(f"{uri} is neither a folder nor of the form s3://bucket/prefix.")


class LocalFolder(Storage):
    """A folder on this machine; files whose names start with a dot are not objects."""

    def __init__(self, uri: str) -> None:
        self.root = Path(uri).expanduser().absolute()
        super().__init__(str(self.root))

    def list(self, prefix: str = "") -> list[StoredObject]:
        """List the objects whose keys start with a prefix, sorted by key; none is an empty list."""
        with _told(self.uri_of(prefix)):
            top = self._path(prefix.rpartition("/")[0])
            found = [path for path in top.rglob("*") if path.is_file()] if top.is_dir() else []
            keyed = [(path.relative_to(self.root).as_posix(), path) for path in found]
            return [
                StoredObject(key, self.uri_of(key), _version(path.stat()), path.stat().st_size)
                for key, path in sorted(keyed)
                if key.startswith(prefix) and not path.name.startswith(".")
            ]

    def stream(self, key: str, version: str | None = None) -> Iterator[bytes]:
        """Read an object in chunks."""
        with _told(self.uri_of(key)), self._path(key).open("rb") as file:
            self._require(key, version, os.fstat(file.fileno()))
            while chunk := file.read(_CHUNK):
                yield chunk
            # A file may be written to while it is read.
            self._require(key, version, os.fstat(file.fileno()))

    def write(self, key: str, data: bytes) -> None:
        """Write an object, replacing what is there."""
        self._write(key, iter([data]), is_new=False)

    def create(self, key: str, data: bytes) -> bool:
        """Write an object only if there is none; of several writers at once exactly one succeeds."""
        return self._write(key, iter([data]), is_new=True)

    def write_file(self, key: str, path: Path) -> None:
        """Write an object from a file of any size, replacing what is there."""
        with path.open("rb") as file:
            self._write(key, iter(lambda: file.read(_CHUNK), b""), is_new=False)

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        with _told(self.uri_of(key)):
            self._path(key).unlink(missing_ok=True)

    def exists(self, key: str) -> bool:
        """Tell whether there is such an object."""
        with _told(self.uri_of(key)):
            return self._path(key).is_file()

    def rename_new(self, key: str, new: str) -> bool:
        """Give an object another name; False where that is taken, or where there is no such object."""
        with _told(self.uri_of(new)):
            old = self._path(key)
            # For a moment the file has two names; should we die then, the old one must not look untouched.
            going = old.with_name(f"{old.name}.going")
            try:
                old.rename(going)
            except FileNotFoundError:
                return False
            try:
                os.link(going, self._path(new))
            except FileExistsError:
                going.unlink()
                return False
            except OSError:
                going.rename(old)
                raise
            going.unlink()
            _sync_folder(old.parent)
            return True

    def take_away(self, pattern: str, older_than: float = 0) -> bool:
        """Remove the files of this folder that a pattern names, drafts too; False if there is none.

        Args:
            older_than: Seconds for which a file must have been left as it is.
        """
        with _told(self.uri_of(pattern)):
            found = [path for path in self.root.glob(pattern) if not older_than or _age(path) > older_than]
            for path in found:
                path.unlink(missing_ok=True)
            return bool(found)

    def _path(self, key: str) -> Path:
        path = self.root / key
        if ".." in Path(key).parts or Path(key).is_absolute():
            raise StorageError(f"{key!r} is no key: it leads out of {self.uri}.")
        return path

    def _require(self, key: str, version: str | None, found: os.stat_result) -> None:
        if version is not None and version != _version(found):
            raise changed(self.uri_of(key))

    def _write(self, key: str, chunks: Iterator[bytes], *, is_new: bool) -> bool:
        """Write beside the target and put the whole file in place, so that no reader sees half of it."""
        with _told(self.uri_of(key)):
            target = self._path(key)
            target.parent.mkdir(parents=True, exist_ok=True)
            draft = target.with_name(f".{target.name}.{os.urandom(6).hex()}")
            try:
                with draft.open("xb") as file:
                    for chunk in chunks:
                        file.write(chunk)
                    file.flush()
                    os.fsync(file.fileno())
                crashpoint(f"draft {target.suffix}")
                if is_new:
                    os.link(draft, target)
                else:
                    draft.replace(target)
                _sync_folder(target.parent)
            except FileExistsError:
                return False
            finally:
                draft.unlink(missing_ok=True)
            return True


def changed(uri: str) -> ChangedSincePinned:
    """Say that an object is not the one the run listed."""
    return ChangedSincePinned(
        f"{uri} was replaced after the run listed it; nothing of it was used. Run again to read the new one."
    )


def _version(stat: os.stat_result) -> str:
    return f"{stat.st_mtime_ns}-{stat.st_size}"


def _age(path: Path) -> float:
    """Tell for how many seconds a file was left as it is; one that is gone meanwhile is new."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0


def _sync_folder(folder: Path) -> None:
    """Make a new name survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """Turn the operating system's errors into ours."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"There is nothing at {uri}; check the path.") from error
    except PermissionError as error:
        raise AccessDenied(
            f"This user may not use {uri}; ask for access or choose another folder."
        ) from error
    except OSError as error:
        raise StorageError(f"{uri} could not be used: {os.strerror(error.errno or 0)}.") from error
