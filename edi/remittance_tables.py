"""Remittance tables: the loops of an 835 as frames, one row per loop or segment, text made dates and amounts.

`edi.remittance` reads them from each part of a file and balances them. Every row says which payment, claim and
line it belongs to and which segment of the file it is. What the money adds up to does not belong here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl

from edi.nesting import Rows
from edi.segments import Document, code
from edi.values import AMOUNT, as_amount, as_date, as_quantity

_CLAIM_ENDS = ("CLP", "LX", "TS3", "TS2", "PLB", "ST", "SE", "GS", "GE", "ISA", "IEA")
_CAS_TRIPLES = range(2, 20, 3)
_PLB_PAIRS = range(3, 15, 2)
_MOST_ELEMENTS = 64
_MOA_REMARKS = range(3, 8)
_MIA_REMARKS = (5, 20, 21, 22, 23)
_NAME_ELEMENTS = {
    "entity_type": 2,
    "last_name": 3,
    "first_name": 4,
    "middle_name": 5,
    "suffix": 7,
    "identifier_qualifier": 8,
    "identifier": 9,
}


@dataclass(frozen=True)
class Counts:
    """How many of each loop the earlier parts of a file held."""

    payments: int = 0
    claims: int = 0
    lines: int = 0


class Loops:
    """Which payment, claim and line each row of a document belongs to."""

    def __init__(self, document: Document, before: Counts) -> None:
        """Find the CLP and SVC loops of the document's 835 transaction sets."""
        self.document = document
        self._before = before
        sets = document.transactions.filter(type="835")
        self.sets = sets.with_columns(
            is_new=pl.col("first_segment") > document.number([-1])[0]
        )  # one set may go on from the part before
        self.first_payment = before.payments + 1 - int((~self.sets["is_new"]).sum())
        self.clp, clp_set = document.rows_in("835", "CLP")
        self.svc, _ = document.rows_in("835", "SVC")
        self.claim_payment = self.payment(clp_set)
        self._claim_of = self._owner(self.clp, "CLP", before.claims)
        self._line_of = self._owner(self.svc, "SVC", before.lines)

    @property
    def after(self) -> Counts:
        """What the next part must count from."""
        return Counts(
            self.first_payment + len(self.sets) - 1,
            self._before.claims + len(self.clp),
            self._before.lines + len(self.svc),
        )

    def payment(self, transactions: Rows) -> Rows:
        """Number the payments of these transaction sets."""
        return np.searchsorted(self.sets["transaction"].to_numpy(), transactions) + self.first_payment

    def _owner(self, starts: Rows, tag: str, before: int) -> Rows:
        """Give every row the number of the loop it lies in; 0 for none."""
        numbers = np.zeros(len(self.document) + 1, np.int64)
        numbers[starts] = np.arange(len(starts)) + before + 1
        return numbers[self.document.last_of(tag, *_CLAIM_ENDS)]

    def claims(self, rows: Rows) -> Rows:
        """Give the claim of each row; 0 for none."""
        return self._claim_of[rows]

    def lines(self, rows: Rows) -> Rows:
        """Give the line of each row; 0 for none."""
        return self._line_of[rows]

    @cache  # noqa: B019 - loops live as long as one part of a file
    def in_claims(self, tag: str) -> Rows:
        """Find the rows of one id inside claims or lines."""
        rows = self.document.rows(tag)
        return rows[(self._claim_of[rows] > 0) | (self._line_of[rows] > 0)]

    def places(self, rows: Rows) -> dict[str, pl.Series]:
        """Say for each row its claim, line (null at claim level) and segment."""
        return {
            "claim": _null_if_zero(self._claim_of[rows]),
            "line": _null_if_zero(self._line_of[rows]),
            "segment": pl.Series(self.document.number(rows)),
        }

    def first(self, owners: Rows, count: int, before: int, rows: Rows) -> Rows:
        """Find the first of `rows` for each of `count` owners; -1 for none."""
        found = np.full(count, -1, np.int64)
        owned = owners > 0
        found[(owners[owned] - before - 1)[::-1]] = rows[owned][::-1]
        return found

    def first_of_lines(self, tag: str, qualifier: str) -> Rows:
        """Find the first segment of an id and qualifier in each line; -1 for none."""
        rows = self._qualified(self.in_claims(tag), qualifier)
        return self.first(self._line_of[rows], len(self.svc), self._before.lines, rows)

    def first_of_claims(self, tag: str, qualifier: str) -> Rows:
        """Find the first segment of an id and qualifier in each claim, outside its lines; -1 for none."""
        rows = self._qualified(self.in_claims(tag), qualifier)
        rows = rows[self._line_of[rows] == 0]
        return self.first(self._claim_of[rows], len(self.clp), self._before.claims, rows)

    def first_of_payments(self, tag: str, qualifier: str | None = None) -> Rows:
        """Find the first segment of an id in the header of each payment; -1 for none."""
        rows = self.document.rows(tag)
        rows = rows[self._claim_of[rows] == 0]
        if qualifier is not None:
            rows = self._qualified(rows, qualifier)
        rows, transactions = self.document.within("835", rows)
        return self.first(self.payment(transactions), len(self.sets), self.first_payment - 1, rows)

    def _qualified(self, rows: Rows, qualifier: str) -> Rows:
        return rows[self.document.codes(rows, 1) == code(qualifier)]


def read_payments(loops: Loops) -> pl.DataFrame:
    """Read the header of each 835: who pays whom how much, how and when."""
    document = loops.document
    bpr, trn = loops.first_of_payments("BPR"), loops.first_of_payments("TRN")
    payer, payee = loops.first_of_payments("N1", "PR"), loops.first_of_payments("N1", "PE")
    payer_reference = loops.first_of_payments("REF", "2U")
    payee_reference = loops.first_of_payments("REF", "TJ")
    produced = loops.first_of_payments("DTM", "405")
    return (
        pl.DataFrame(
            {
                "payment": np.arange(len(loops.sets)) + loops.first_payment,
                "transaction": loops.sets["transaction"],
                "segment": np.where(bpr >= 0, document.number(bpr), loops.sets["first_segment"].to_numpy()),
                "payer_name": document.element(payer, 2),
                "payer_id": document.element(payer, 4),
                "payer_reference": document.element(payer_reference, 2),
                "payee_name": document.element(payee, 2),
                "payee_id_qualifier": document.element(payee, 3),
                "payee_id": document.element(payee, 4),
                "payee_reference": document.element(payee_reference, 2),
                "trace_number": document.element(trn, 2),
                "trace_payer_id": document.element(trn, 3),
                "handling_code": document.element(bpr, 1),
                "amount_text": document.element(bpr, 2),
                "credit_debit": document.element(bpr, 3),
                "method": document.element(bpr, 4),
                "payment_format": document.element(bpr, 5),
                "payment_date_text": document.element(bpr, 16),
                "production_date": document.element(produced, 2),
                "is_new": loops.sets["is_new"],
            },
            schema_overrides={"payment": pl.Int64, "segment": pl.Int64},
        )
        .filter("is_new")
        .with_columns(
            amount=as_amount(pl.col("amount_text")),
            payment_date=as_date(pl.col("payment_date_text")),
            production_date=as_date(pl.col("production_date")),
            payer_id=pl.coalesce("payer_id", "payer_reference"),
            payee_npi=pl.when(pl.col("payee_id_qualifier") == "XX").then("payee_id"),
            payee_tax_id=pl.when(pl.col("payee_id_qualifier") == "FI")
            .then("payee_id")
            .otherwise("payee_reference"),
        )
        .drop("payer_reference", "payee_id_qualifier", "payee_id", "payee_reference", "is_new")
    )


def read_claims(loops: Loops) -> pl.DataFrame:
    """Read the CLP of each claim."""
    document, clp = loops.document, loops.clp
    elements = {
        "claim_number": 1,
        "status_code": 2,
        "charge_text": 3,
        "paid_text": 4,
        "patient_responsibility_text": 5,
        "filing_code": 6,
        "payer_claim_number": 7,
        "facility_code": 8,
        "frequency_code": 9,
    }
    dates = {"statement_from": "232", "statement_to": "233", "received_on": "050"}
    return pl.DataFrame(
        {
            "claim": loops.claims(clp),
            "payment": loops.claim_payment,
            "segment": document.number(clp),
            **{name: document.element(clp, position) for name, position in elements.items()},
            **{
                name: document.element(loops.first_of_claims("DTM", qualifier), 2)
                for name, qualifier in dates.items()
            },
            "member_id": document.element(loops.first_of_claims("NM1", "QC"), 9),
        }
    ).with_columns(
        as_amount(pl.col("charge_text")).alias("charge"),
        as_amount(pl.col("paid_text")).alias("paid"),
        as_amount(pl.col("patient_responsibility_text")).alias("patient_responsibility"),
        (pl.col("status_code") == "22").fill_null(value=False).alias("is_reversal"),
        *[as_date(pl.col(name)) for name in dates],
    )


def read_lines(loops: Loops) -> pl.DataFrame:
    """Read the SVC of each line, with its date, its control number and the allowed amount."""
    document, svc = loops.document, loops.svc
    lines = pl.DataFrame(
        {
            "line": loops.lines(svc),
            **{name: place for name, place in loops.places(svc).items() if name != "line"},
            "procedure": document.element(svc, 1),
            "separator": document.separators(svc),
            "charge_text": document.element(svc, 2),
            "paid_text": document.element(svc, 3),
            "revenue_code": document.element(svc, 4),
            "units": document.element(svc, 5),
            "submitted": document.element(svc, 6),
            "submitted_units": document.element(svc, 7),
            "line_control_number": document.element(loops.first_of_lines("REF", "6R"), 2),
            "service_on": document.element(loops.first_of_lines("DTM", "472"), 2),
            "service_from": document.element(loops.first_of_lines("DTM", "150"), 2),
            "allowed": document.element(loops.first_of_lines("AMT", "B6"), 2),
        }
    )
    lines = _with_procedure(_with_procedure(lines, "procedure", ""), "submitted", "submitted_")
    return lines.with_columns(
        charge=as_amount(pl.col("charge_text")),
        paid=as_amount(pl.col("paid_text")),
        allowed=as_amount(pl.col("allowed")),
        units=as_quantity(pl.col("units")),
        submitted_units=as_quantity(pl.col("submitted_units")),
        date_of_service=pl.coalesce(as_date(pl.col("service_on")), as_date(pl.col("service_from"))),
    ).drop("procedure", "submitted", "separator", "service_on", "service_from")


def _with_procedure(lines: pl.DataFrame, column: str, prefix: str) -> pl.DataFrame:
    """Part a composite procedure into code and modifiers; a bare code is taken as it is."""
    # A file of any size bills a few procedures: each is taken apart once.
    keys = [column] if lines["separator"].n_unique() == 1 else [column, "separator"]
    parts = pl.col(column).str.split(pl.col("separator"))
    procedure = pl.coalesce(parts.list.get(1, null_on_oob=True), parts.list.get(0, null_on_oob=True))
    procedures = lines.select(column, "separator").unique(keys).select(
        *keys,
        pl.when(procedure != "").then(procedure).alias(f"{prefix}code"),
        parts.list.slice(2, 4).list.eval(pl.element().filter(pl.element() != "")).fill_null([]).alias(f"{prefix}modifiers"),
    )
    return lines.join(procedures, on=keys, how="left", nulls_equal=True, maintain_order="left")


def read_adjustments(loops: Loops) -> pl.DataFrame:
    """Read each (reason, amount, quantity) of every CAS, up to six in a segment."""
    document = loops.document
    rows, position = _repeated(loops, loops.in_claims("CAS"), _CAS_TRIPLES)
    return (
        pl.DataFrame(
            {
                **loops.places(rows),
                "position": position,
                "group_code": document.element(rows, 1),
                "reason_code": document.element(rows, position),
                "amount_text": document.element(rows, position + 1),
                "quantity": document.element(rows, position + 2),
            }
        )
        .filter(pl.any_horizontal(pl.col("reason_code", "amount_text", "quantity").is_not_null()))
        .with_columns(amount=as_amount(pl.col("amount_text")), quantity=as_quantity(pl.col("quantity")))
    )


def _repeated(loops: Loops, rows: Rows, starts: Iterable[int]) -> tuple[Rows, Rows]:
    """Find every group of elements that a segment repeats: its row and where it starts, in file order."""
    counts = loops.document.counts(rows)
    found = [rows[counts > start] for start in starts]
    all_rows = np.concatenate(found)
    position = np.repeat(np.array(list(starts), np.int64), [len(group) for group in found])
    # Few segments repeat, so the groups are sorted runs that merge in one pass.
    order = np.argsort(all_rows * _MOST_ELEMENTS + position, kind="stable")
    return all_rows[order], position[order]


def read_remarks(loops: Loops) -> pl.DataFrame:
    """Read the remark codes of lines (LQ*HE) and of claims (MOA, MIA)."""
    document = loops.document
    lq = loops.in_claims("LQ")
    taken = [
        (lq[document.codes(lq, 1) == code("HE")], np.int64(2)),
        _repeated(loops, loops.in_claims("MOA"), _MOA_REMARKS),
        _repeated(loops, loops.in_claims("MIA"), _MIA_REMARKS),
    ]
    rows = np.concatenate([rows for rows, _ in taken])
    position = np.concatenate([np.broadcast_to(position, rows.shape) for rows, position in taken])
    order = np.argsort(rows, kind="stable")
    rows, position = rows[order], position[order]
    return pl.DataFrame({**loops.places(rows), "code": document.element(rows, position)}).drop_nulls("code")


def read_provider_adjustments(loops: Loops) -> pl.DataFrame:
    """Read each (reason, amount) of every PLB, up to six in a segment."""
    document = loops.document
    plb, transactions = document.rows_in("835", "PLB")
    rows, position = _repeated(loops, plb, _PLB_PAIRS)
    reference = pl.col("reason").list.slice(1).list.join(":")
    return (
        pl.DataFrame(
            {
                "payment": loops.payment(transactions[np.searchsorted(plb, rows)]),
                "segment": document.number(rows),
                "position": position,
                "provider_id": document.element(rows, 1),
                "fiscal_date": document.element(rows, 2),
                "reason": document.element(rows, position),
                "separator": document.separators(rows),
                "amount_text": document.element(rows, position + 1),
            }
        )
        .filter(pl.col("reason").is_not_null() | pl.col("amount_text").is_not_null())
        .with_columns(
            fiscal_date=as_date(pl.col("fiscal_date")),
            reason=pl.col("reason").str.split(pl.col("separator")),
            amount=as_amount(pl.col("amount_text")),
        )
        .with_columns(
            reason_code=pl.col("reason").list.get(0, null_on_oob=True),
            reference=pl.when(reference != "").then(reference),
        )
        .drop("reason", "separator")
    )


def read_references(loops: Loops) -> pl.DataFrame:
    """Read the REF of claims and lines: qualifier (1K, 6R, EA, F8, 0K…) and value."""
    return _qualified_values(loops, "REF")


def read_dates(loops: Loops) -> pl.DataFrame:
    """Read the DTM of claims and lines."""
    return _qualified_values(loops, "DTM").with_columns(
        as_date(pl.col("value")).alias("date"), pl.col("value").alias("date_text")
    ).drop("value")


def read_amounts(loops: Loops) -> pl.DataFrame:
    """Read the AMT of claims and lines."""
    return _qualified_values(loops, "AMT").with_columns(
        as_amount(pl.col("value")).cast(AMOUNT).alias("amount"), pl.col("value").alias("amount_text")
    ).drop("value")


def _qualified_values(loops: Loops, tag: str) -> pl.DataFrame:
    rows = loops.in_claims(tag)
    return pl.DataFrame(
        {
            **loops.places(rows),
            "qualifier": loops.document.element(rows, 1),
            "value": loops.document.element(rows, 2),
        }
    )


def read_names(loops: Loops) -> pl.DataFrame:
    """Read the NM1 of claims: QC patient, IL subscriber, 74 corrected, 82 rendering, TT crossover, PR payer."""
    rows = loops.in_claims("NM1")
    return pl.DataFrame(
        {
            **loops.places(rows),
            "entity_code": loops.document.element(rows, 1),
            **{name: loops.document.element(rows, position) for name, position in _NAME_ELEMENTS.items()},
        }
    )


def _null_if_zero(numbers: Rows) -> pl.Series:
    series = pl.Series(numbers, dtype=pl.Int64)
    return series.set(series == 0, None)
