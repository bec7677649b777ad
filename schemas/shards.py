"""Shards: what the steps of a month hand to each other: addresses of frames and totals, never data.

Prefect stores these as JSON, so nothing here may hold a patient's data. Made and read by
the steps in `tasks`, passed on by the flows.
"""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from schemas.addresses import Address

# Which addresses belong to which shard: entry part, staff part or patient bucket.
Shards = dict[int, list[Address]]


class Record(BaseModel):
    """A small frozen record."""

    model_config = ConfigDict(frozen=True)


class MonthRun(Record):
    """One run of one month: what every step needs to know."""

    run_id: str
    month: date
    source: str
    output: str
    started_at: datetime
    # Where the frames of a preview lie: it leaves nothing in the output.
    aside: str | None = None

    @property
    def label(self) -> str:
        """The month as people and folders write it, `2026-10`."""
        return f"{self.month:%Y-%m}"

    @property
    def stage(self) -> str:
        """Where this run's frames lie between its steps; removed when the run is done."""
        return f"{self.aside or f'{self.output}/.stage'}/{self.label}/{self.run_id}"

    @property
    def folder(self) -> str:
        """Where the month's files are written."""
        return f"{self.output.rstrip('/')}/{self.label}"


class RowTotals(Record):
    """What became of the rows of one dataset: read = accepted + quarantined + repeats + elsewhere."""

    dataset: str
    read: int = 0
    accepted: int = 0
    quarantined: int = 0
    repeats: int = 0
    # Rejected rows in a neighbouring month's folder and of that month: its own run lists them.
    elsewhere: int = 0

    def __add__(self, other: "RowTotals") -> "RowTotals":
        """Add the totals of two steps over the same dataset."""
        return RowTotals(
            dataset=self.dataset,
            read=self.read + other.read,
            accepted=self.accepted + other.accepted,
            quarantined=self.quarantined + other.quarantined,
            repeats=self.repeats + other.repeats,
            elsewhere=self.elsewhere + other.elsewhere,
        )


class Snapshot(Record):
    """The screened snapshot tables: who, where, for whom and at what charge."""

    tables: dict[str, Address]
    patients: Shards
    # patient_id and bucket of everybody in the snapshot, also of those whose row was refused.
    index: Address
    buckets: int
    # The month in whichever zone of the providers it begins first and ends last.
    opens_at: datetime
    closes_at: datetime
    quarantine: Address
    totals: list[RowTotals]
    extra_columns: dict[str, list[str]]
    # What each source object hashed to when it was read, by its key.
    hashes: dict[str, str]


class ScreenedBatch(Record):
    """Some objects of one dataset after screening, accepted and refused rows split into shards."""

    shards: Shards
    rejected: Shards
    quarantine: Address
    totals: RowTotals
    extra_columns: list[str]
    hashes: dict[str, str]


class SettledPart(Record):
    """One part of the entries with every entry_id settled, split by staff member."""

    shards: Shards
    quarantine: Address
    totals: RowTotals


class UntangledPart(Record):
    """One part of the staff: their entries by patient bucket, and the seconds they logged twice."""

    entries: Shards
    clashes: Shards


class Bucket(Record):
    """Everything one patient bucket is billed from, by address."""

    number: int
    patients: list[Address]
    entries: list[Address]
    clashes: list[Address]
    readings: list[Address]
    tables: dict[str, Address]


class BilledBucket(Record):
    """What one bucket earned: frames by address, the counts of its funnel, and its control totals."""

    number: int
    claims: Address
    lines: Address
    holds: Address
    # The hold reasons that a person let through, as they would be needed again.
    released: Address
    supply_left_out: Address
    evidence: Address
    x12_claims: Address
    x12_lines: Address
    partial: dict[str, list[dict[str, Any]]]
    totals: dict[str, int]


class Arrivals(Record):
    """Everything that arrived and what became of it, over all steps that refuse rows."""

    snapshot: Snapshot
    entries: list[ScreenedBatch]
    readings: list[ScreenedBatch]
    settled: list[SettledPart]

    def row_totals(self) -> list[RowTotals]:
        """Add the totals of each dataset up over its batches and parts."""
        added: dict[str, RowTotals] = {}
        for totals in (*self.snapshot.totals, *(step.totals for step in self._steps())):
            so_far = added.get(totals.dataset, RowTotals(dataset=totals.dataset))
            added[totals.dataset] = so_far + totals
        return list(added.values())

    def quarantine(self) -> list[Address]:
        """List where the refused rows are."""
        return [self.snapshot.quarantine, *(step.quarantine for step in self._steps())]

    def _steps(self) -> "list[ScreenedBatch | SettledPart]":
        return [*self.entries, *self.readings, *self.settled]

    def hashes(self) -> dict[str, str]:
        """Give what every source object hashed to when it was read, by its key."""
        hashes = dict(self.snapshot.hashes)
        for batch in (*self.entries, *self.readings):
            hashes |= batch.hashes
        return hashes

    def extra_columns(self) -> dict[str, list[str]]:
        """Name the columns the contract does not know, by dataset."""
        found = {name: set(columns) for name, columns in self.snapshot.extra_columns.items()}
        for batch in (*self.entries, *self.readings):
            found.setdefault(batch.totals.dataset, set()).update(batch.extra_columns)
        return {name: sorted(columns) for name, columns in found.items()}


class Registered(Record):
    """What became of one bucket's claims in the ledger."""

    outcomes: Address
    counts: dict[str, int]


class Interchange(Record):
    """One interchange as the ledger reserved it."""

    interchange_id: int
    sender_id: str
    receiver_id: str
    usage: str
    control_number: int
    group_control_number: int
    batch_id: str
    created_at: datetime
    file_name: str
    state: str
    uri: str | None
    sha256: str | None
    size: int | None
    claim_count: int
    total_cents: int


class FiledInterchange(Record):
    """An interchange written, read back and checked; or stopped, with what was found."""

    interchange_id: int
    file_name: str
    receiver_id: str
    control_number: int
    claim_count: int
    total_cents: int
    sha256: str | None
    size: int | None
    errors: int = 0
    findings_uri: str | None = None


class MonthSummary(Record):
    """What a person wants to know when the month is done."""

    month: str
    source: str
    output: str
    is_preview: bool
    funnel: dict[str, object]
    files: list[FiledInterchange]
    corrections: int = 0
    needs_people: bool


def gather(parts: Iterable[Shards]) -> Shards:
    """Bring the addresses of many steps together, shard by shard, in their order."""
    together: Shards = {}
    for part in parts:
        for shard, addresses in part.items():
            together.setdefault(shard, []).extend(addresses)
    return together
