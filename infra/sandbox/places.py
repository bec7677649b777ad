"""Places: an S3 prefix or a folder, as far as the sandbox needs one.

The month generator and the payer read and write through it. The product has its own, careful storage in
`tasks.storage`; the payer stands outside the product and must not use it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol


class Place(Protocol):
    """Somewhere files lie, each under a key with slashes."""

    def put(self, key: str, data: bytes) -> None:
        """Write one file, whole or not at all."""

    def list_keys(self) -> list[str]:
        """List every key, sorted."""

    def get(self, key: str) -> bytes:
        """Read one file."""


class Folder:
    """A place on this machine's disk."""

    def __init__(self, root: Path) -> None:
        """Use `root`, which need not exist yet."""
        self._root = root

    def put(self, key: str, data: bytes) -> None:
        """Write beside the file and rename, so that nobody reads half of it."""
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.part")
        partial.write_bytes(data)
        partial.replace(path)

    def list_keys(self) -> list[str]:
        """List every key, sorted; hidden files are not there."""
        found = (path.relative_to(self._root) for path in self._root.rglob("*") if path.is_file())
        return sorted(str(path.as_posix()) for path in found if not path.name.startswith("."))

    def get(self, key: str) -> bytes:
        """Read one file."""
        return (self._root / key).read_bytes()


class Prefix:
    """A place in an S3 bucket; the standard AWS variables say where and who."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        """Use what lies under `prefix` of `bucket`."""
        self._client, self._bucket, self._prefix = client, bucket, prefix

    def put(self, key: str, data: bytes) -> None:
        """Write one object."""
        self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=data)

    def list_keys(self) -> list[str]:
        """List every key, sorted."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix
        )
        found = (item["Key"] for page in pages for item in page.get("Contents", ()))
        return sorted(key.removeprefix(self._prefix) for key in found)

    def get(self, key: str) -> bytes:
        """Read one object."""
        data: bytes = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"].read()
        return data


@contextmanager
def place(uri: str | os.PathLike[str]) -> Iterator[Place]:
    """Open `s3://bucket/prefix` or a folder until the block ends."""
    text = os.fspath(uri)
    if not text.startswith("s3://"):
        yield Folder(Path(text.removeprefix("file://")))
        return
    import boto3

    bucket, _, prefix = text.removeprefix("s3://").partition("/")
    client = boto3.client("s3")
    try:
        yield Prefix(client, bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else "")
    finally:
        client.close()
