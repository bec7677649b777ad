"""Exchange: the outbox and the inbox, where files change hands with a clearinghouse.

A mailbox is a folder, an `s3://bucket/prefix` or an `sftp://user@host/path`, behind the same three verbs:
`tasks.submitting` delivers to one, the collection lists and fetches from one. What was sent is the ledger's
to know, what a file means its reader's.

A delivery appears whole or not at all, never replaces what lies there, and may be repeated: what is found
there with the same bytes is the delivery.
"""

import hashlib
import time
from abc import ABC, abstractmethod
from typing import Final

from schemas.deliveries import Receipt
from schemas.errors import Refused
from tasks.storage import Storage, StoredObject, storage_at

# A file is taken from an inbox when it stayed as it was for this long; a sender may still be writing it.
QUIET_SECONDS: Final = 2.0
UNFINISHED: Final = (".part", ".partial", ".filepart", ".tmp", ".temp", ".writing")


class Mailbox(ABC):
    """The verbs. Every one raises a StorageError where the other side fails, as `tasks.storage` says."""

    uri: str

    def deliver(self, name: str, data: bytes) -> Receipt:
        """Put a file there unless it lies there already.

        Raises:
            Refused: If another file lies there under this name; nothing of it is changed.
        """
        is_new = self._create(name, data)
        sha256 = hashlib.sha256(data).hexdigest()
        if not is_new and hashlib.sha256(self.fetch(name)).hexdigest() != sha256:
            raise Refused(
                f"{self.uri}/{name} is there with other content, so nothing was sent. "
                "Find out who put it there, move it away, and submit again."
            )
        return Receipt(uri=f"{self.uri}/{name}", sha256=sha256, size=len(data), was_there=not is_new)

    @abstractmethod
    def _look(self) -> list[StoredObject]:
        """List what lies there under a finished name, sorted by name."""

    def list(self, quiet_seconds: float = QUIET_SECONDS) -> list[StoredObject]:
        """List whole files by name: none in a folder below, none that still grows or is named a part."""
        first = self._look()
        if not first or self._is_atomic():
            return first
        time.sleep(quiet_seconds)
        unchanged = {(found.key, found.version) for found in self._look()}
        return [found for found in first if (found.key, found.version) in unchanged]

    @abstractmethod
    def fetch(self, name: str) -> bytes:
        """Read a file whole."""

    @abstractmethod
    def _create(self, name: str, data: bytes) -> bool:
        """Put a file there whole, or say False and change nothing if there is one of its name."""

    @abstractmethod
    def _is_atomic(self) -> bool:
        """Tell whether files appear whole here, whoever writes them."""


class StorageMailbox(Mailbox):
    """A folder, or a prefix in a bucket."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.uri = storage.uri

    def fetch(self, name: str) -> bytes:
        """Read a file whole."""
        return self._storage.read(name)

    def _create(self, name: str, data: bytes) -> bool:
        return self._storage.create(name, data)

    def _look(self) -> list[StoredObject]:
        return [found for found in self._storage.list() if is_finished(found.key)]

    def _is_atomic(self) -> bool:
        return self.uri.startswith("s3://")


def is_finished(name: str) -> bool:
    """Tell by its name whether a file is meant to be taken."""
    return "/" not in name and not name.startswith(".") and not name.lower().endswith(UNFINISHED)


def mailbox_at(uri: str) -> Mailbox:
    """Open a mailbox by its address; nothing is read yet.

    Raises:
        StorageError: If the address names none.
        Refused: If what SFTP needs is not set.
    """
    if uri.startswith("sftp://"):
        # Who uses folders need not wait for asyncssh.
        from tasks.exchange_sftp import SftpMailbox

        return SftpMailbox(uri)
    return StorageMailbox(storage_at(uri))
