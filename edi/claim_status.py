"""Claim status: the 277CA (and the plain 277) as frames.

`edi.reader` and the posting of responses use it. One row per status composite: a claim is accepted or
rejected only by all of them together. Whether the word is the clearinghouse's (AY) or the payer's (PR) is
kept apart in `source_type`. What a code means does not belong here.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl

from edi.elements import code, latest
from edi.findings import collect, findings
from edi.nesting import Rows
from edi.segments import Document
from edi.values import as_amount, as_date

_LEVELS = {
    "20": "information_source",
    "21": "information_receiver",
    "19": "billing_provider",
    "22": "claim",
    "23": "claim",
    "PT": "claim",
}
_COMPOSITES = (1, 10, 11)


@dataclass(frozen=True)
class ClaimStatuses:
    """What a 277CA says.

    Attributes:
        statuses: One row per STC composite, in file order. `trace_number` is TRN02 of its own level (at claim
            level our CLM01, also in `claim_number`), `batch_number` the information receiver's: our BHT03.
        totals: One row per QTY and AMT: what the sender counted at each level.
        findings: What cannot be read.
    """

    statuses: pl.DataFrame
    totals: pl.DataFrame
    findings: pl.DataFrame


class _Levels:
    """Which HL, TRN and SVC each row of the 277 transaction sets lies in; -1 for none."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.hl, _ = document.rows_in("277", "HL")
        self._hl_of = self._inside("HL")
        self.trn_of = self._inside("TRN", "HL")
        self.svc_of = self._inside("SVC", "TRN", "HL")

    def _inside(self, tag: str, *others: str) -> Rows:
        opened = self.document.last_of(tag, *others, "ST", "SE", "GS", "GE", "ISA", "IEA")
        starts, _ = self.document.rows_in("277", tag)
        is_start = np.zeros(len(self.document) + 1, np.bool_)
        is_start[starts] = True
        return np.where(is_start[opened], opened, -1)

    def level(self, rows: Rows) -> pl.Series:
        """Name the level of each row, `line` behind an SVC; null where the HL is unknown or missing."""
        names = self.document.element(self._hl_of[rows], 3).replace_strict(_LEVELS, default=None)
        is_line = pl.Series(self.svc_of[rows] >= 0) & (names == "claim")
        return names.set(is_line.fill_null(value=False), "line")

    def above(self, rows: Rows, level: str) -> Rows:
        """Find the nearest HL of a level at or before each row, in the same transaction set; -1 for none."""
        of_level = self.hl[self.document.codes(self.hl, 3) == code(level)]
        at = latest(of_level, rows)
        found = np.append(of_level, -1)[at]
        same = self._transaction(found) == self._transaction(rows)
        return np.where((at >= 0) & same, found, -1)

    def _transaction(self, rows: Rows) -> Rows:
        return self.document.transaction_of(self.document.number(rows)).fill_null(0).to_numpy()

    def first(self, owner_of: Rows, owners: Rows, tag: str, qualifier: str | None = None) -> Rows:
        """Find the first segment of an id (and qualifier) in the loop each owner begins; -1 for none."""
        rows = self.document.rows(tag)
        if qualifier is not None:
            rows = rows[self.document.codes(rows, 1) == code(qualifier)]
        rows = rows[owner_of[rows] >= 0]
        found = np.full(len(self.document) + 1, -1, np.int64)
        found[owner_of[rows][::-1]] = rows[::-1]
        return np.where(owners >= 0, found[owners], -1)

    def trace(self, hl: Rows) -> pl.Series:
        """Take TRN02 of each HL."""
        return self.document.element(self.first(self._hl_of, hl, "TRN"), 2)

    def name_of(self, hl: Rows) -> Rows:
        """Find the first NM1 of each HL."""
        return self.first(self._hl_of, hl, "NM1")


def read_claim_statuses(document: Document) -> ClaimStatuses:
    """Read every 277CA and 277 of a document."""
    return _read(document) if "277" in document.transactions["type"] else _nothing()


@cache
def _nothing() -> ClaimStatuses:
    """Give the tables of a file without any segment; most files tell no status."""
    return _read(Document.read(b""))


def _read(document: Document) -> ClaimStatuses:
    levels = _Levels(document)
    stc, transaction = document.rows_in("277", "STC")
    statuses = _statuses(levels, stc, transaction)
    return ClaimStatuses(statuses.drop("charge_text"), _totals(levels), _findings(document, levels, statuses))


def _statuses(levels: _Levels, stc: Rows, transaction: Rows) -> pl.DataFrame:
    document = levels.document
    trn, svc = levels.trn_of[stc], levels.svc_of[stc]
    source, provider = levels.above(stc, "20"), levels.above(stc, "19")
    source_name, provider_name = levels.name_of(source), levels.name_of(provider)
    own = pl.DataFrame(
        {
            "transaction": transaction,
            "segment": document.number(stc),
            "level": levels.level(stc),
            "trace_number": document.element(trn, 2),
            "line_control_number": document.element(levels.first(levels.svc_of, svc, "REF", "FJ"), 2),
            "action_code": document.element(stc, 3),
            "charge_text": document.element(stc, 4),
            "line_charge": document.element(svc, 2),
            "status_date": document.element(stc, 2),
            "payer_claim_number": document.element(levels.first(levels.trn_of, trn, "REF", "1K"), 2),
            "clearinghouse_number": document.element(levels.first(levels.trn_of, trn, "REF", "D9"), 2),
            "free_text": document.element(stc, 12),
            "source_type": document.element(source_name, 1),
            "source_id": document.element(source_name, 9),
            "batch_number": levels.trace(levels.above(stc, "21")),
            "provider_id": document.element(provider_name, 9),
            **{f"composite_{position}": document.components(stc, position) for position in _COMPOSITES},
        }
    ).with_columns(
        charge=as_amount(pl.coalesce("charge_text", "line_charge")),
        status_date=as_date(pl.col("status_date")),
        claim_number=pl.when(pl.col("level").is_in(["claim", "line"])).then("trace_number"),
    )
    composites = [f"composite_{position}" for position in _COMPOSITES]
    parts = ("category_code", "status_code", "entity_code")
    return (
        own.unpivot(
            composites,
            index=[name for name in own.columns if name not in (*composites, "line_charge")],
            variable_name="composite",
            value_name="parts",
        )
        .with_columns(
            pl.col("composite").str.strip_prefix("composite_").cast(pl.Int64),
            *[_part(index).alias(name) for index, name in enumerate(parts)],
        )
        .filter((pl.col("composite") == 1) | pl.any_horizontal(pl.col(*parts).is_not_null()))
        .drop("parts")
        .sort("segment", "composite")
    )


def _part(index: int) -> pl.Expr:
    part = pl.col("parts").list.get(index, null_on_oob=True)
    return pl.when(part != "").then(part)


def _totals(levels: _Levels) -> pl.DataFrame:
    document = levels.document
    rows, transaction = document.rows_in("277", "QTY", "AMT")
    return pl.DataFrame(
        {
            "transaction": transaction,
            "segment": document.number(rows),
            "level": levels.level(rows),
            "kind": document.element(rows, 0),
            "qualifier": document.element(rows, 1),
            "value": document.element(rows, 2),
        }
    ).with_columns(as_amount(pl.col("value")))


def _findings(document: Document, levels: _Levels, statuses: pl.DataFrame) -> pl.DataFrame:
    hl = pl.DataFrame(
        {
            "segment": document.number(levels.hl),
            "transaction": document.transaction_of(document.number(levels.hl)),
            "number": document.element(levels.hl, 1),
            "parent": document.element(levels.hl, 2),
        }
    )
    parents = hl.select("transaction", parent="number", parent_segment="segment").unique(
        ["transaction", "parent"], keep="first", maintain_order=True
    )
    orphans = hl.join(parents, on=["transaction", "parent"], how="left", maintain_order="left").filter(
        pl.col("parent").is_not_null()
        & ~(pl.col("parent_segment") < pl.col("segment")).fill_null(value=False)
    )
    first = statuses.filter(composite=1)
    is_claim = pl.col("level").is_in(["claim", "line"]).fill_null(value=False)
    return collect(
        findings(
            orphans,
            "hl_parent",
            "HL02 names no earlier level of this transaction set; the level is read in file order.",
            element="HL02",
        ),
        findings(
            first.filter(pl.col("level").is_null()),
            "status_without_level",
            "The status stands in no level that is known (HL03), so it is nobody's.",
            element="STC",
        ),
        findings(
            first.filter(is_claim & pl.col("claim_number").is_null()),
            "missing_claim_number",
            "The status names no claim of ours; a person must match it.",
            loop="2200D",
            element="TRN02",
        ),
        findings(
            first.filter(pl.col("category_code").is_null()),
            "missing_status_code",
            "The status has no category code.",
            element="STC01",
        ),
        findings(
            first.filter(pl.col("charge_text").is_not_null() & pl.col("charge").is_null()),
            "unreadable_amount",
            "STC04 is not an amount of at most two decimals.",
            element="STC04",
        ),
    )
