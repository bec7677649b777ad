"""Storage on S3: the verbs of `tasks.storage` over boto3, for any endpoint that speaks the protocol.

The standard AWS environment decides endpoint, region and credentials. Only `tasks.storage` opens it.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import boto3
from botocore import exceptions as boto
from botocore.config import Config

from tasks.storage import (
    AccessDenied,
    NotFound,
    Storage,
    StorageError,
    StoredObject,
    Unreachable,
    changed,
)

_CHUNK: Final = 4 * 1024 * 1024
_PART: Final = 16 * 1024 * 1024  # every part but the last must have 5 MiB or more
_NO_UPLOAD: Final = "NoSuchUpload"
CONNECT_SECONDS: Final = 5
READ_SECONDS: Final = 60
_MISSING: Final = {"NoSuchKey", "NoSuchBucket", "NoSuchVersion", "404", "NotFound"}
_DENIED: Final = {
    *("AccessDenied", "AllAccessDisabled", "401", "403", "Forbidden"),
    *("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "ExpiredTokenException"),
}
_CLOCK_IS_OFF: Final = "RequestTimeTooSkewed"
_CHANGED: Final = {"PreconditionFailed", "412"}
# A server says 409 when two conditional writes meet; one of them may simply ask again.
_BUSY: Final = {
    *("SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "429"),
    *("RequestTimeout", "InternalError", "ServiceUnavailable", "OperationAborted"),
    *("ConditionalRequestConflict", "409", "500", "502", "503", "504"),
}
_BROKEN: Final = (
    boto.ConnectionError,
    boto.HTTPClientError,
    boto.IncompleteReadError,
    boto.FlexibleChecksumError,
    OSError,
)
_NO_CREDENTIALS: Final = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.SSOError,
)


class S3Prefix(Storage):
    """A prefix in a bucket."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self._bucket, _, prefix = self.uri.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._client = _client(tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith("AWS_"))))

    def list(self, prefix: str = "") -> list[StoredObject]:
        """List the objects whose keys start with a prefix, sorted by key; none is an empty list."""
        with self._told(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            found = [stored for page in pages for stored in page.get("Contents", [])]
        keyed = sorted((stored["Key"].removeprefix(self._prefix), stored) for stored in found)
        return [
            StoredObject(key, self.uri_of(key), stored["ETag"].strip('"'), stored["Size"])
            for key, stored in keyed
            # Some tools write an empty object named like a folder.
            if not key.endswith("/")
        ]

    def stream(self, key: str, version: str | None = None) -> Iterator[bytes]:
        """Read an object in chunks."""
        condition = {"IfMatch": f'"{version}"'} if version is not None else {}
        with self._told(key):
            yield from self._client.get_object(**self._at(key), **condition)["Body"].iter_chunks(_CHUNK)

    def write(self, key: str, data: bytes) -> None:
        """Write an object, replacing what is there."""
        with self._told(key):
            self._client.put_object(**self._at(key), Body=data)

    def create(self, key: str, data: bytes) -> bool:
        """Write an object only if there is none; of several writers at once exactly one succeeds."""
        try:
            self._client.put_object(**self._at(key), Body=data, IfNoneMatch="*")
        except boto.ClientError as error:
            if _code(error) in _CHANGED:
                return False
            if _code(error) == "NotImplemented":
                return self._create_unguarded(key, data)
            raise self._ours(key, error) from error
        except (boto.BotoCoreError, OSError) as error:
            raise self._ours(key, error) from error
        return True

    def start_upload(self, key: str, data: bytes) -> str:
        """Upload an object in parts and leave it incomplete, which shows nothing; return the upload's id."""
        with self._told(key):
            upload = self._client.create_multipart_upload(**self._at(key))["UploadId"]
            for number, start in enumerate(range(0, len(data), _PART), start=1):
                part = {"UploadId": upload, "PartNumber": number, "Body": data[start : start + _PART]}
                self._client.upload_part(**self._at(key), **part)
        return str(upload)

    def complete_upload(self, key: str, upload: str) -> bool:
        """Make an uploaded object appear; False where there is one already, or the upload is gone."""
        parts = self._parts(key, upload)
        if parts is None:
            return False
        asked = {**self._at(key), "UploadId": upload, "MultipartUpload": {"Parts": parts}}
        try:
            self._client.complete_multipart_upload(**asked, IfNoneMatch="*")
        except boto.ClientError as error:
            if _code(error) in _CHANGED or _code(error) == _NO_UPLOAD:
                return False
            if _code(error) != "NotImplemented":
                raise self._ours(key, error) from error
            # A server without conditional writes: look first; two at once may both succeed.
            if self.exists(key):
                return False
            with self._told(key):
                self._client.complete_multipart_upload(**asked)
        except (boto.BotoCoreError, OSError) as error:
            raise self._ours(key, error) from error
        return True

    def abort_upload(self, key: str, upload: str) -> bool:
        """End an upload that was not completed; False if there is none such."""
        if self._parts(key, upload) is None:
            return False
        with self._told(key):
            try:
                self._client.abort_multipart_upload(**self._at(key), UploadId=upload)
            except boto.ClientError as error:
                if _code(error) != _NO_UPLOAD:
                    raise
                return False
        return True

    def _parts(self, key: str, upload: str) -> Sequence[Mapping[str, Any]] | None:
        """List the parts of an upload as its completion must name them; None if there is no such upload."""
        with self._told(key):
            pages = self._client.get_paginator("list_parts").paginate(**self._at(key), UploadId=upload)
            try:
                found = [part for page in pages for part in page.get("Parts", [])]
            except boto.ClientError as error:
                if _code(error) != _NO_UPLOAD:
                    raise
                return None
        return [
            {
                name: value
                for name, value in part.items()
                if name.startswith(("PartNumber", "ETag", "Checksum"))
            }
            for part in found
        ]

    def write_file(self, key: str, path: Path) -> None:
        """Write an object from a file of any size, replacing what is there."""
        with self._told(key), path.open("rb") as file:
            self._client.upload_fileobj(file, self._bucket, self._prefix + key)

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        with self._told(key):
            self._client.delete_object(**self._at(key))

    def exists(self, key: str) -> bool:
        """Tell whether there is such an object."""
        try:
            with self._told(key):
                self._client.head_object(**self._at(key))
        except NotFound:
            return False
        return True

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + key}

    def _create_unguarded(self, key: str, data: bytes) -> bool:
        """Look before writing, on a server that has no conditional writes; two at once may both succeed."""
        if self.exists(key):
            return False
        self.write(key, data)
        return True

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        """Turn boto's errors into ours."""
        try:
            yield
        except (boto.ClientError, boto.BotoCoreError, OSError) as error:
            raise self._ours(key, error) from error

    def _ours(self, key: str, error: Exception) -> StorageError:
        uri = self.uri_of(key)
        code = _code(error)
        if code in _MISSING:
            return NotFound(f"There is nothing at {uri}; check the bucket and the path.")
        if code in _DENIED or isinstance(error, _NO_CREDENTIALS):
            why = code or type(error).__name__
            return AccessDenied(f"Storage does not let us in at {uri} ({why}); check the AWS credentials.")
        if code in _CHANGED:
            return changed(uri)
        if code == _CLOCK_IS_OFF:
            return StorageError(
                f"Storage refused {uri}: the clock of this machine is off. Set it, and run again."
            )
        if code in _BUSY or isinstance(error, _BROKEN):
            why = code or type(error).__name__
            return Unreachable(
                f"Storage did not answer for {uri} ({why}); try again, and check AWS_ENDPOINT_URL."
            )
        return StorageError(f"Storage refused {uri} ({code or type(error).__name__}).")


def _code(error: Exception) -> str:
    """Say the error code of an answer; none when there was no answer."""
    if not isinstance(error, boto.ClientError):
        return ""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    known = _MISSING | _DENIED | _CHANGED | _BUSY | {"NotImplemented", _NO_UPLOAD, _CLOCK_IS_OFF}
    return code if code in known or status not in known else status


@lru_cache(maxsize=8)
def _client(environment: tuple[tuple[str, str], ...]) -> Any:
    """Open one client per environment: they are safe to share between threads, and slow to make."""
    # Servers of one's own are seldom reachable as bucket.host.
    is_own_server = any(name.startswith("AWS_ENDPOINT_URL") for name, _ in environment)
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard"},
        max_pool_connections=32,
        s3={"addressing_style": "path" if is_own_server else "auto"},
    )
    return boto3.session.Session().client("s3", config=config)
