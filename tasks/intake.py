"""Intake: which objects a month reads, and their rows, screened.

`pin_sources` freezes the list; `read_object` and `screened_parts` give one object's rows in slices; the
tables that are small enough come whole from `screen_whole`. `tasks.screening` makes Prefect tasks of them.
How a file is taken apart is in `tasks.readers`, what a row must look like in `schemas`.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Final

import polars as pl

from schemas.addresses import Ignored, Manifest, Pin
from schemas.datasets import DATASETS, Dataset
from schemas.errors import Refused
from schemas.quarantine import RawPart, Screened, screen
from schemas.settling import settle
from schemas.shards import RowTotals
from tasks.readers import READERS, ROWS_PER_PART, UnreadableFileError, unzipped
from tasks.storage import Storage, StoredObject, storage_at

_ENDINGS: Final = tuple(READERS)


class MissingInput(Refused):
    """The source lacks a dataset without which no month can be billed."""


def pin_sources(source_uri: str, month: date) -> Manifest:
    """Freeze the list of objects that a month's run reads; nothing is read yet.

    Raises:
        MissingInput: If a dataset that is needed has no object.
        StorageError: If the source cannot be listed.
    """
    source = storage_at(source_uri)
    pins: list[Pin] = []
    ignored: list[Ignored] = []
    missing: list[str] = []
    for dataset in DATASETS.values():
        for folder, is_needed in _folders(dataset, month):
            found = source.list(folder)
            reasons = {stored.key: _why_ignored(stored, folder) for stored in found}
            used = [stored for stored in found if reasons[stored.key] is None]
            ignored += [Ignored(key=key, reason=reason) for key, reason in reasons.items() if reason]
            pins += [
                Pin(
                    dataset=dataset.name,
                    key=stored.key,
                    uri=stored.uri,
                    version=stored.version,
                    size=stored.size,
                )
                for stored in used
            ]
            if is_needed and not used:
                missing.append(folder)
    if missing:
        raise MissingInput(
            f"{source.uri} has nothing to read in {', '.join(missing)}; "
            f"put a file there that ends in {', '.join(_ENDINGS[:-1])} or {_ENDINGS[-1]}."
        )
    return Manifest(source=source.uri, month=month, pins=tuple(pins), ignored=tuple(ignored))


def _folders(dataset: Dataset, month: date) -> Iterator[tuple[str, bool]]:
    """Name the folders of a dataset that a month reads, and whether each must hold something."""
    if not dataset.months:
        yield f"{dataset.name}/", dataset.is_required
    for distance in dataset.months:
        place = month.year * 12 + month.month - 1 + distance
        yield f"{dataset.name}/{place // 12:04d}-{place % 12 + 1:02d}/", dataset.is_required and distance == 0


def _why_ignored(stored: StoredObject, folder: str) -> str | None:
    """Say why an object is not read; None if it is."""
    name = stored.key.removeprefix(folder)
    if "/" in name:
        return "it lies in a folder below"
    if name.startswith((".", "_")):
        return "its name marks it as no data"
    if not name.lower().endswith(_ENDINGS):
        return "its name has none of the endings that are read"
    if stored.size == 0:
        return "it is empty"
    return None


def read_object(pin: Pin, storage: Storage, rows: int = ROWS_PER_PART) -> Iterator[RawPart]:
    """Read one object's rows in slices; at least one slice, which may be empty.

    A file that cannot be read ends in a slice with a fault.

    Raises:
        StorageError: ChangedSincePinned if the object is not the one that was listed; see `tasks.storage`.
    """
    ending = next(ending for ending in reversed(_ENDINGS) if pin.key.lower().endswith(ending))
    columns = tuple(DATASETS[pin.dataset].types)
    with tempfile.TemporaryDirectory(prefix="rpmclaims-") as folder:
        path = Path(folder, f"object{ending}")
        sha256 = storage.fetch(pin.key, path, pin.version)
        try:
            plain = unzipped(path) if ending.endswith(".gz") else path
            for part in READERS[ending](plain, columns, rows):
                yield replace(part, sha256=sha256)
        except UnreadableFileError:
            empty = pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
            numbers = pl.Series("row_number", [], pl.Int64)
            yield RawPart(empty, numbers, sha256=sha256, fault="unreadable_file")


def screened_parts(
    pin: Pin,
    storage: Storage,
    now: datetime,
    patient_ids: pl.Series | None = None,
    released: pl.DataFrame | None = None,
) -> Iterator[tuple[Pin, Screened]]:
    """Read and screen one object in slices; each comes with the pin that says the object's sha256."""
    for part in read_object(pin, storage):
        screened = screen(
            part,
            DATASETS[pin.dataset],
            object_key=pin.key,
            now=now,
            patient_ids=patient_ids,
            released=released,
        )
        yield pin.model_copy(update={"sha256": part.sha256}), screened


@dataclass(frozen=True)
class WholeDataset:
    """A dataset that is small enough to be held whole, screened and settled.

    Attributes:
        accepted: Typed rows, one per key.
        keys: Every value found in the key's first column, refused rows included.
        quarantined: What was refused, and why.
        pins: What was read, with its sha256.
    """

    accepted: pl.DataFrame
    keys: pl.Series
    quarantined: pl.DataFrame
    totals: RowTotals
    pins: tuple[Pin, ...]
    extra_columns: list[str]


def screen_whole(manifest: Manifest, name: str, now: datetime) -> WholeDataset:
    """Read, screen and settle all objects of one dataset.

    Raises:
        StorageError: If an object cannot be read or is not the one that was listed.
    """
    dataset = DATASETS[name]
    storage = storage_at(manifest.source)
    read = [found for pin in manifest.of(name) for found in screened_parts(pin, storage, now)]
    parts = [screened for _, screened in read]
    # Without any object there are still the columns.
    accepted = pl.concat([pl.DataFrame(schema=dataset.accepted_schema), *(part.accepted for part in parts)])
    rejected = pl.concat([pl.DataFrame(schema=dataset.rejected_schema), *(part.rejected for part in parts)])
    settled = settle(accepted, rejected, dataset)
    keys = [frame[name] for frame in (accepted, rejected) for name in dataset.key[:1]]
    return WholeDataset(
        accepted=settled.accepted,
        keys=pl.concat([pl.Series(dtype=pl.String), *keys]).drop_nulls().unique(),
        quarantined=pl.concat([*(part.quarantined for part in parts), settled.quarantined]),
        totals=RowTotals(
            dataset=name,
            read=accepted.height + rejected.height,
            accepted=settled.accepted.height,
            quarantined=rejected.height + settled.rejected.height,
            repeats=settled.repeat_count,
        ),
        pins=tuple({pin.key: pin for pin, _ in read}.values()),
        extra_columns=sorted({column for part in parts for column in part.extra_columns}),
    )
