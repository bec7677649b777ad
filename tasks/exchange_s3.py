"""Exchange over S3: a mailbox under a prefix of a bucket. Only `tasks.exchange` opens it.

A draft is a multipart upload, which nobody sees; to complete it, where its key is free, is the delivery. An
upload that can still be aborted was never completed, and never will be. The clearinghouse must let us put
objects there, and list and abort our own uploads (`s3:PutObject`, `s3:ListMultipartUploadParts`,
`s3:AbortMultipartUpload`).
"""

from tasks.exchange import Mailbox, is_finished
from tasks.storage import StoredObject
from tasks.storage_s3 import S3Prefix


class S3Mailbox(Mailbox):
    """A prefix in a bucket."""

    def __init__(self, uri: str) -> None:
        self._prefix = S3Prefix(uri)
        self.uri = self._prefix.uri

    def fetch(self, name: str) -> bytes:
        """Read a file whole."""
        return self._prefix.read(name)

    def withdraw(self, draft: str, name: str) -> bool:
        """Take a draft away for good."""
        return self._prefix.abort_upload(name, draft)

    def _upload(self, name: str, data: bytes) -> str:
        return self._prefix.start_upload(name, data)

    def _give_name(self, draft: str, name: str) -> bool:
        return self._prefix.complete_upload(name, draft)

    def _look(self) -> list[StoredObject]:
        return [found for found in self._prefix.list() if is_finished(found.key)]

    def _is_atomic(self) -> bool:
        return True
