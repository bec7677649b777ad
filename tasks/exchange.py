"""Exchange: the outbox and the inbox, where files change hands with a clearinghouse.

A mailbox is a folder, an `s3://bucket/prefix` or an `sftp://user@host/path`, behind the same three verbs:
`tasks.submitting` delivers to one, the collection lists and fetches from one. What was sent is the ledger's
to know, what a file means its reader's.

A delivery appears whole or not at all, never replaces what lies there, and has two halves: the bytes are
uploaded as a draft, which nobody takes; then the draft gets its name, which is the delivery. Whoever breaks
off in between leaves a draft that can still be withdrawn, and that proves that nothing was delivered.
"""

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from secrets import token_hex
from typing import Final

from schemas.crashpoints import crashpoint
from schemas.deliveries import Receipt
from schemas.errors import Refused
from tasks.storage import LocalFolder, NotFound, StoredObject, storage_at

# A file is taken from an inbox when it stayed as it was for this long; a sender may still be writing it.
QUIET_SECONDS: Final = 2.0
ABANDONED_SECONDS: Final = 3600.0
UNFINISHED: Final = (".part", ".partial", ".filepart", ".tmp", ".temp", ".writing")


class Mailbox(ABC):
    """The verbs. Every one raises a StorageError where the other side fails, as `tasks.storage` says."""

    uri: str

    def deliver(self, name: str, data: bytes, announce: Callable[[str], object]) -> Receipt | None:
        """Put a file there unless it lies there already.

        Args:
            announce: Told the draft when all of it is there and before it gets its name. Where this is not
                heard of, nothing was delivered; where it is, `withdraw` and `find` say what became of it.

        Returns:
            None where the draft is gone and no file is to be seen: somebody withdrew it, or took the file.

        Raises:
            Refused: If another file lies there under this name; nothing of it is changed.
        """
        draft = self._upload(name, data)
        crashpoint("bytes uploaded")
        announce(draft)
        if self._give_name(draft, name):
            return self._receipt(name, data, was_there=False)
        self.withdraw(draft, name)
        return self.find(name, data)

    def find(self, name: str, data: bytes) -> Receipt | None:
        """Look for a file that was delivered before.

        Raises:
            Refused: If another file lies there under this name.
        """
        try:
            there = self.fetch(name)
        except NotFound:
            return None
        if there != data:
            raise Refused(
                f"{self.uri}/{name} is there with other content, so nothing was sent. "
                "Find out who put it there, move it away, and submit again."
            )
        return self._receipt(name, data, was_there=True)

    def _receipt(self, name: str, data: bytes, *, was_there: bool) -> Receipt:
        sha256 = hashlib.sha256(data).hexdigest()
        return Receipt(uri=f"{self.uri}/{name}", sha256=sha256, size=len(data), was_there=was_there)

    @abstractmethod
    def _upload(self, name: str, data: bytes) -> str:
        """Put the bytes there as a draft for a name, and return what tells it from other drafts."""

    @abstractmethod
    def _give_name(self, draft: str, name: str) -> bool:
        """Make the file of a draft appear, or say False where its name is taken or the draft is gone."""

    @abstractmethod
    def withdraw(self, draft: str, name: str) -> bool:
        """Take a draft away for good; True proves that it had not been delivered and never will be."""

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
    def _is_atomic(self) -> bool:
        """Tell whether files appear whole here, whoever writes them."""


class FolderMailbox(Mailbox):
    """A folder of this machine, or one that is mounted here."""

    def __init__(self, folder: LocalFolder) -> None:
        self._folder = folder
        self.uri = folder.uri

    def fetch(self, name: str) -> bytes:
        """Read a file whole."""
        return self._folder.read(name)

    def withdraw(self, draft: str, name: str) -> bool:
        """Take a draft away for good."""
        return self._folder.take_away(draft)

    def _upload(self, name: str, data: bytes) -> str:
        draft = f".{name}.{token_hex(4)}.part"
        self._folder.write(draft, data)
        return draft

    def _give_name(self, draft: str, name: str) -> bool:
        is_new = self._folder.rename_new(draft, name)
        # What a sender who was killed left behind is of no use any more; one who is in the middle of a write
        # or of a rename is left alone.
        self._folder.take_away(f".{name}.*.part")
        self._folder.take_away(f".*{name}.*.part.*", older_than=ABANDONED_SECONDS)
        return is_new

    def _look(self) -> list[StoredObject]:
        return [found for found in self._folder.list() if is_finished(found.key)]

    def _is_atomic(self) -> bool:
        return False


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
    storage = storage_at(uri)
    if isinstance(storage, LocalFolder):
        return FolderMailbox(storage)
    from tasks.exchange_s3 import S3Mailbox

    return S3Mailbox(uri)
