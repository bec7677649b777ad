"""Reader: any X12 file as one set of tables, or as the JSON document of `read-x12`.

The command line, the conformance check and the posting of responses use it. It reads each type of
transaction set with its own reader, part by part, so that a remittance of any size fits in memory. It never
raises on what stands in a file: faults are findings. What the values mean for a claim does not belong here.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from edi.acknowledgement import read_acknowledgements
from edi.claim_status import read_claim_statuses
from edi.findings import collect
from edi.nesting import nest
from edi.parts import parts
from edi.remittance import TABLES, RemittanceParts

DONE, LOOK, NOT_X12 = 0, 3, 2  # exit codes

# The tables of the JSON document and their columns, in order.
DOCUMENT = {
    "transactions": ("transaction", "type", "implementation", "interchange_control_number", "control_number"),
    "payments": (
        "payment",
        "transaction",
        "payer_name",
        "payer_id",
        "payee_name",
        "payee_npi",
        "trace_number",
        "amount",
        "method",
        "payment_date",
        "is_balanced",
    ),
    "claims": (
        "claim",
        "payment",
        "claim_number",
        "status_code",
        "charge",
        "paid",
        "patient_responsibility",
        "payer_claim_number",
        "is_balanced",
    ),
    "lines": (
        "line",
        "claim",
        "code",
        "modifiers",
        "charge",
        "paid",
        "units",
        "line_control_number",
        "date_of_service",
        "is_balanced",
    ),
    "adjustments": ("claim", "line", "group_code", "reason_code", "amount", "quantity"),
    "remarks": ("claim", "line", "code"),
    "provider_adjustments": ("payment", "provider_id", "reason_code", "reference", "amount"),
    "statuses": (
        "transaction",
        "level",
        "claim_number",
        "line_control_number",
        "category_code",
        "status_code",
        "entity_code",
        "action_code",
        "charge",
        "payer_claim_number",
    ),
    "acknowledgements": (
        "kind",
        "interchange_control_number",
        "group_control_number",
        "transaction_control_number",
        "code",
        "note_code",
    ),
    "findings": (
        "severity",
        "rule",
        "transaction",
        "segment",
        "loop",
        "element",
        "found",
        "expected",
        "message",
    ),
}


@dataclass(frozen=True)
class Reading:
    """One file, read. `tables` has more columns than the JSON document, and tables it leaves out."""

    name: str
    sha256: str
    tables: dict[str, pl.DataFrame]

    @property
    def findings(self) -> pl.DataFrame:
        """What is wrong with the file."""
        return self.tables["findings"]

    @property
    def exit_code(self) -> int:
        """0 read without errors, 3 read with errors, 2 not X12 at all."""
        return exit_code(self.findings)

    def to_json(self) -> dict[str, Any]:
        """Make the JSON document: decimals as strings, dates ISO 8601, absent values null."""
        tables = {
            name: self.tables[name].select(columns).select(_as_json(self.tables[name].schema, columns))
            for name, columns in DOCUMENT.items()
        }
        return {"file": self.name, "sha256": self.sha256} | {
            name: table.to_dicts() for name, table in tables.items()
        }


def read_x12(data: bytes, name: str) -> Reading:
    """Read any X12 file: 835, 999, 997, 277CA, 277, TA1, several of them in one; an 837 as its envelope."""
    frames: dict[str, list[pl.DataFrame]] = {}
    for part in _read_parts(data):
        for table, frame in part.items():
            frames.setdefault(table, []).append(frame)
    tables = {table: pl.concat(found) for table, found in frames.items()}
    tables["findings"] = collect(tables["findings"])
    return Reading(name, hashlib.sha256(data).hexdigest(), tables)


def write_tables(source: Path, folder: Path) -> pl.DataFrame:
    """Read a file of any size into one Parquet file per table, in bounded memory.

    Returns:
        The findings, which are also written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    with ExitStack() as stack:
        writers: dict[str, pq.ParquetWriter] = {}
        data: bytes | mmap = b""
        if source.stat().st_size:
            file = stack.enter_context(source.open("rb"))
            data = stack.enter_context(mmap(file.fileno(), 0, access=ACCESS_READ))
        for part in _read_parts(data):
            found.append(part.pop("findings"))
            while part:
                table, frame = part.popitem()
                arrow = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
                if table not in writers:
                    writers[table] = stack.enter_context(
                        pq.ParquetWriter(folder / f"{table}.parquet", arrow.schema, compression="zstd")
                    )
                writers[table].write_table(arrow)
                del frame, arrow  # before the next one is made
    findings = collect(*found)
    findings.write_parquet(folder / "findings.parquet")
    return findings


def exit_code(findings: pl.DataFrame) -> int:
    """Say what findings mean for whoever called the command."""
    if "not_x12" in findings["rule"]:
        return NOT_X12
    return LOOK if "error" in findings["severity"] else DONE


def _read_parts(data: bytes | mmap) -> Iterator[dict[str, pl.DataFrame]]:
    """Read a file part by part; the tables of every part have the same columns."""
    remittance = RemittanceParts()
    envelopes, segments = [], 0
    empty: dict[str, pl.DataFrame] = {}
    for document in parts(data):
        money = remittance.read(document)
        acknowledged, status = read_acknowledgements(document), read_claim_statuses(document)
        envelopes.append(document.envelope)
        segments = document.after.segments
        tables = {name: getattr(money, name) for name in TABLES} | {
            "statuses": status.statuses,
            "totals": status.totals,
            "acknowledgements": acknowledged.acknowledgements,
            "errors": acknowledged.errors,
            "findings": collect(money.findings, acknowledged.findings, status.findings),
            "transactions": document.transactions.clear(),
        }
        empty = {name: frame.clear() for name, frame in tables.items()}
        del document, money, acknowledged, status  # before the next part is cut
        yield tables
    last = remittance.finish()
    yield empty | {
        "payments": last.payments,
        "findings": last.findings,
        "transactions": nest(pl.concat(envelopes), segments).transactions,
    }


def _as_json(schema: pl.Schema, columns: tuple[str, ...]) -> list[pl.Expr]:
    """Write decimals plainly: money with its cents, quantities without trailing zeros."""
    expressions = []
    for name in columns:
        column, kind = pl.col(name), schema[name]
        if isinstance(kind, pl.Decimal):
            column = column.cast(pl.String)
            if kind.scale != 2:
                column = column.str.replace(r"\.?0+$", "")
        elif kind == pl.Date:
            column = column.dt.to_string("iso")
        expressions.append(column)
    return expressions
