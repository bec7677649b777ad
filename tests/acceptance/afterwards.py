"""Afterwards: what a run left behind, and what must hold of it however often it was disturbed.

The tests of crashes, races and faults compare what lies there with an undisturbed run, and ask
`assert_sound` where the bytes may differ.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

import schemas.ledger_answers
import schemas.ledger_ops  # noqa: F401  their tables belong to the same metadata
from schemas.ledger import LedgerTable
from tasks.database import connect

# Every start of a month has a row of its own there.
OF_RUNS = ("month_run",)
# Whether the outbox held the file already is another matter after a crash.
OF_ONE_TRY = ("receipt",)
KEY = ("billing_npi", "member_id", "service_month", "code_family")


@dataclass(frozen=True)
class ClaimFile:
    """What a claim file says of itself, read without the product."""

    name: str
    data: bytes

    @property
    def segments(self) -> list[list[str]]:
        """Its segments as elements."""
        return [segment.split("*") for segment in self.data.decode().split("~")]

    @property
    def control_number(self) -> tuple[str, str, int]:
        """Sender, receiver and ISA13."""
        isa = self.segments[0]
        return isa[6].strip(), isa[8].strip(), int(isa[13])

    @property
    def charges(self) -> dict[str, Decimal]:
        """Each claim's number and charge; a claim that comes twice stops the test."""
        claims = [(found[1], Decimal(found[2])) for found in self.segments if found[0] == "CLM"]
        assert len(dict(claims)) == len(claims)
        return dict(claims)


def files_in(folder: Path) -> dict[str, bytes]:
    """Read every file a person may see in a folder; drafts begin with a dot."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = {path.relative_to(folder): path for path in paths}
    return {
        name.as_posix(): path.read_bytes()
        for name, path in names.items()
        if not any(part.startswith(".") for part in name.parts)
    }


def marks_in(folder: Path) -> dict[str, tuple[int, int]]:
    """Tell apart the files of a folder, so that one that was written twice shows."""
    stats = {name: (folder / name).stat() for name in files_in(folder)}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def claim_files(folder: Path) -> list[ClaimFile]:
    """Read the claim files of a folder."""
    return [ClaimFile(name, data) for name, data in files_in(folder).items() if name.endswith(".837")]


def rows(url: str, table: str) -> list[dict[str, Any]]:
    """Read one table of the ledger."""
    engine = connect(url)
    try:
        with engine.connect() as connection:
            return [
                dict(row)
                for row in connection.execute(sa.select(LedgerTable.metadata.tables[table])).mappings()
            ]
    finally:
        engine.dispose()


def ledger_of(url: str, folder: Path) -> dict[str, Counter[str]]:
    """Read the ledger so that two compare: by names, not by row numbers, which a rollback uses up."""
    names = {
        "claim.id": {row["id"]: row["claim_number"] for row in rows(url, "claim")},
        "interchange.id": {row["id"]: row["file_name"] for row in rows(url, "interchange")},
    }

    def told(column: sa.Column[Any], value: object) -> object:
        for key in column.foreign_keys:
            return names.get(key.target_fullname, {}).get(value)
        return None if column.name == "id" or column.name in OF_ONE_TRY else value

    return {
        table.name: Counter(
            str([str(told(column, row[column.name])) for column in table.columns]).replace(str(folder), "")
            for row in rows(url, table.name)
        )
        for table in LedgerTable.metadata.sorted_tables
        if table.name not in OF_RUNS
    }


def assert_sound(url: str, month: Path, *outboxes: Path) -> None:
    """Hold the ledger, the month's files and what was delivered against each other."""
    claims, interchanges = rows(url, "claim"), rows(url, "interchange")
    live = [claim for claim in claims if claim["is_live"]]
    assert live
    assert _most_often(tuple(claim[name] for name in KEY) for claim in live) == 1
    _assert_numbers_are_used_once(interchanges, rows(url, "control_number"))
    _assert_files_are_as_registered(interchanges, live, claim_files(month / "claims"))
    lines = pl.read_csv(month / "lines.csv", infer_schema=False)
    by_claim = dict(
        lines.group_by("claim_number").agg(pl.col("charge").cast(pl.Decimal(12, 2)).sum()).iter_rows()
    )
    assert by_claim == {claim["claim_number"]: claim["total_charge"] for claim in live}
    _assert_events_chain(claims, rows(url, "claim_event"))
    sent = {file["file_name"]: file["sha256"] for file in interchanges if file["state"] == "sent"}
    for outbox in outboxes:
        delivered = {name: hashlib.sha256(data).hexdigest() for name, data in files_in(outbox).items()}
        assert delivered == sent


def _most_often(values: Any) -> int:
    return max(Counter(values).values())


def _assert_numbers_are_used_once(interchanges: list[dict[str, Any]], counters: list[dict[str, Any]]) -> None:
    """No ISA13 serves twice, not even that of a file that was given up, and the next one is free."""
    used = [(file["sender_id"], file["receiver_id"], file["control_number"]) for file in interchanges]
    assert _most_often(used) == 1
    following = {(row["sender_id"], row["receiver_id"]): row["next_value"] for row in counters}
    assert all(following[sender, receiver] > number for sender, receiver, number in used)


def _assert_files_are_as_registered(
    interchanges: list[dict[str, Any]], live: list[dict[str, Any]], files: list[ClaimFile]
) -> None:
    """Every file of the ledger lies there, whole; its cents are its claims'; no claim is in two files."""
    standing = {file["file_name"]: file for file in interchanges if file["state"] != "void"}
    assert sorted(standing) == sorted(file.name for file in files)
    charges = {claim["claim_number"]: claim["total_charge"] for claim in live}
    told: dict[str, Decimal] = {}
    for file in files:
        known = standing[file.name]
        assert known["state"] in ("written", "sending", "sent")
        assert (known["size"], known["sha256"]) == (len(file.data), hashlib.sha256(file.data).hexdigest())
        assert file.control_number == (known["sender_id"], known["receiver_id"], known["control_number"])
        assert (known["claim_count"], known["total_charge"]) == (
            len(file.charges),
            sum(file.charges.values()),
        )
        assert not told.keys() & file.charges.keys()
        told |= file.charges
    assert told == charges


def _assert_events_chain(claims: list[dict[str, Any]], events: list[dict[str, Any]]) -> None:
    """Each claim's events lead from one state to the next, and end where the claim stands."""
    for claim in claims:
        own = sorted(
            (event for event in events if event["claim_id"] == claim["id"]), key=lambda event: event["id"]
        )
        states = [None, *(event["to_state"] for event in own)]
        assert [event["from_state"] for event in own] == states[:-1]
        assert states[-1] == claim["state"]
