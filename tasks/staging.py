"""Staging: frames on their way between the steps of one run, as Parquet by address.

The steps exchange the addresses; the frames lie under the run's own folder and are removed when the run
is done. Files a person keeps are written by `tasks.outputs`, not here.
"""

import hashlib
import io
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress

import polars as pl

from schemas.addresses import Address
from tasks.storage import LocalFolder, storage_at


def save(frame: pl.DataFrame, folder: str, name: str) -> Address:
    """Write a frame as `<folder>/<name>.parquet` and return its address."""
    text = io.BytesIO()
    frame.write_parquet(text, compression="zstd", compression_level=1)
    data = text.getvalue()
    storage_at(folder).write(f"{name}.parquet", data)
    return Address(uri=f"{folder}/{name}.parquet", sha256=hashlib.sha256(data).hexdigest(), rows=frame.height)


def load(address: Address) -> pl.DataFrame:
    """Read one frame back."""
    folder, _, name = address.uri.rpartition("/")
    return pl.read_parquet(io.BytesIO(storage_at(folder).read(name)))


def load_all(addresses: Sequence[Address], schema: Mapping[str, pl.DataType] | None = None) -> pl.DataFrame:
    """Read several frames of one shape as one, in their order; of none, an empty one."""
    if not addresses:
        return pl.DataFrame(schema=schema)
    # In one chunk: Polars 2.1 panics when it formats filtered columns that have empty chunks.
    return pl.concat([load(address) for address in addresses], rechunk=True)


def split(frame: pl.DataFrame, key: str, shards: int, folder: str, name: str) -> dict[int, list[Address]]:
    """Write a frame shard by shard, by the hash of a text column."""
    numbered = frame.with_columns(_shard=(pl.col(key).hash() % shards).cast(pl.Int64))
    return split_by(numbered, folder, name)


def split_by(numbered: pl.DataFrame, folder: str, name: str) -> dict[int, list[Address]]:
    """Write a frame shard by shard, by the number in its column `_shard`."""
    return {
        int(shard): [save(part.drop("_shard"), f"{folder}/shard-{int(shard):03d}", name)]
        for (shard,), part in sorted(numbered.partition_by("_shard", as_dict=True).items())
    }


def remove_stage(folder: str) -> None:
    """Forget the frames of a finished run, and on a disk the empty folders they leave."""
    storage = storage_at(folder)
    if isinstance(storage, LocalFolder):
        shutil.rmtree(storage.root, ignore_errors=True)
        with suppress(OSError):  # another run still has its frames beside ours
            storage.root.parent.rmdir()
            storage.root.parent.parent.rmdir()
        return
    for stored in storage.list(""):
        storage.delete(stored.key)


def stages_in(folder: str) -> list[str]:
    """List the runs whose frames lie in a folder, as `<month>/<run>`."""
    storage = storage_at(folder)
    if isinstance(storage, LocalFolder):
        return sorted(f"{path.parent.name}/{path.name}" for path in storage.root.glob("*/*"))
    return sorted({"/".join(stored.key.split("/")[:2]) for stored in storage.list("")})
