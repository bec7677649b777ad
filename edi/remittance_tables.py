"""Remittance tables: the loops of an 835 as frames, one row per loop or segment, text made dates and amounts.

`edi.remittance` reads them from each part of a file and balances them. Every row says which payment, claim
and line it belongs to and which segment of the file it is. What the money adds up to does not belong here.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import polars as pl

from edi.elements import code
from edi.nesting import Rows
from edi.remittance_loops import Counts, Loops
from edi.segments import Document
from edi.values import as_amount, as_date, to_amounts, to_quantities

_CAS_TRIPLES = range(2, 20, 3)
_PLB_PAIRS = range(3, 15, 2)
_MOA_REMARKS = range(3, 8)
_MIA_REMARKS = (5, 20, 21, 22, 23)
_BPR_ELEMENTS = {
    "handling_code": 1,
    "amount_text": 2,
    "credit_debit": 3,
    "method": 4,
    "payment_format": 5,
    "payment_date_text": 16,
}
_SVC_ELEMENTS = {
    "procedure_text": 1,
    "charge_text": 2,
    "paid_text": 3,
    "revenue_code": 4,
    "units": 5,
    "submitted_text": 6,
    "submitted_units": 7,
}
_QUALIFIED = ("claim", "line", "segment", "qualifier")
_TEXTS = pl.List(pl.String)
_NAME_ELEMENTS = {
    "entity_code": 1,
    "entity_type": 2,
    "last_name": 3,
    "first_name": 4,
    "middle_name": 5,
    "suffix": 7,
    "identifier_qualifier": 8,
    "identifier": 9,
}


def read_payments(loops: Loops) -> pl.DataFrame:
    """Read the header of each 835: who pays whom how much, how and when."""
    return _payments(loops) if loops.is_new.any() else _no_payments()


@cache
def _no_payments() -> pl.DataFrame:
    return _payments(_no_loops())


def _no_loops() -> Loops:
    """Give the loops of nothing: most parts of a large file hold no header and no trailer."""
    return Loops(Document.read(b""), Counts())


def _payments(loops: Loops) -> pl.DataFrame:
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
                **document.columns(payer, {"payer_name": 2, "payer_id": 4}),
                "payer_reference": document.element(payer_reference, 2),
                **document.columns(payee, {"payee_name": 2, "payee_id_qualifier": 3, "payee_id": 4}),
                "payee_reference": document.element(payee_reference, 2),
                **document.columns(trn, {"trace_number": 2, "trace_payer_id": 3}),
                **document.columns(bpr, _BPR_ELEMENTS),
                "production_date": document.element(produced, 2),
                "is_new": loops.is_new,
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


def read_claims(loops: Loops, dates: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """Read the CLP of each claim, with its dates and the member id of its patient."""
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
    qualifiers = {"statement_from": "232", "statement_to": "233", "received_on": "050"}
    columns = document.columns(clp, elements)
    return pl.DataFrame(
        {
            "claim": loops.claims(clp),
            "payment": loops.claim_payment,
            "segment": document.number(clp),
            **columns,
            **{
                name: loops.first_of_claims("DTM", dates["qualifier"] == qualifier, dates["date"])
                for name, qualifier in qualifiers.items()
            },
            "member_id": loops.first_of_claims("NM1", names["entity_code"] == "QC", names["identifier"]),
            **{
                name: to_amounts(columns[f"{name}_text"])
                for name in ("charge", "paid", "patient_responsibility")
            },
            "is_reversal": (columns["status_code"] == "22").fill_null(value=False),
        }
    )


def read_lines(
    loops: Loops, references: pl.DataFrame, dates: pl.DataFrame, amounts: pl.DataFrame
) -> pl.DataFrame:
    """Read the SVC of each line, with its date, its control number and the allowed amount."""
    document, svc = loops.document, loops.svc
    places = loops.places(svc)
    columns = document.columns(svc, _SVC_ELEMENTS)
    service_on = loops.first_of_lines("DTM", dates["qualifier"] == "472", dates["date"])
    if service_on.null_count():
        service_from = loops.first_of_lines("DTM", dates["qualifier"] == "150", dates["date"])
        service_on = service_on.zip_with(service_on.is_not_null(), service_from)
    separators = document.separators(svc)
    columns |= {name: to_quantities(columns[name]) for name in ("units", "submitted_units")}
    return pl.DataFrame(
        {
            "line": loops.lines(svc),
            "claim": places["claim"],
            "segment": places["segment"],
            **columns,
            "line_control_number": loops.first_of_lines(
                "REF", references["qualifier"] == "6R", references["value"]
            ),
            "allowed": loops.first_of_lines("AMT", amounts["qualifier"] == "B6", amounts["amount"]),
            **_procedures(columns["procedure_text"], separators, ""),
            **_procedures(columns["submitted_text"], separators, "submitted_"),
            **{name: to_amounts(columns[f"{name}_text"]) for name in ("charge", "paid")},
            "date_of_service": service_on,
        }
    )


def _procedures(texts: pl.Series, separators: pl.Series, prefix: str) -> dict[str, pl.Series]:
    """Part composite procedures into codes and modifiers; a bare code is taken as it is."""
    if texts.null_count() == len(texts):
        no_modifiers = pl.Series([[]], dtype=_TEXTS).new_from_index(0, len(texts))
        return {f"{prefix}code": texts, f"{prefix}modifiers": no_modifiers}
    if not (separators == separators.first()).all():
        parts = pl.col("text").str.split(pl.col("separator"))
        frame = pl.DataFrame({"text": texts, "separator": separators})
        return _procedures(frame.select(parts.list.join("\0"))["text"], pl.Series(["\0"]), prefix)
    # A file of any size bills a few procedures: each is taken apart once.
    known = texts.drop_nulls().unique()
    parts = pl.col("text").str.split(separators.first())
    code = pl.coalesce(parts.list.get(1, null_on_oob=True), parts.list.get(0, null_on_oob=True))
    modifiers = parts.list.slice(2, 4).list.eval(pl.element().filter(pl.element() != ""))
    every = known.extend_constant(None, 1).rechunk().to_frame("text")
    procedures = every.select(code=pl.when(code != "").then(code), modifiers=modifiers.fill_null([]))
    nth = texts.cast(pl.Enum(known)).to_physical().cast(pl.UInt32)
    nth = nth.fill_null(len(known)) if nth.null_count() else nth
    return {f"{prefix}{name}": procedures[name][nth] for name in procedures.columns}


def read_adjustments(loops: Loops) -> pl.DataFrame:
    """Read each (reason, amount, quantity) of every CAS, up to six in a segment."""
    rows, position = _repeated(loops, loops.in_claims("CAS"), _CAS_TRIPLES)
    elements: dict[str, int | Rows] = {
        "group_code": 1,
        "reason_code": position,
        "amount_text": position + 1,
        "quantity": position + 2,
    }
    adjustments = pl.DataFrame(
        {**loops.places(rows), "position": position, **loops.document.columns(rows, elements)}
    )
    if adjustments["reason_code"].null_count():
        # A triple may be left out.
        says_something = pl.any_horizontal(pl.col("reason_code", "amount_text", "quantity").is_not_null())
        adjustments = adjustments.filter(says_something)
    amount, quantity = to_amounts(adjustments["amount_text"]), to_quantities(adjustments["quantity"])
    return adjustments.with_columns(quantity, amount.alias("amount"))


def _repeated(loops: Loops, rows: Rows, starts: Sequence[int]) -> tuple[Rows, Rows]:
    """Find every group of elements that a segment repeats: its row and where it starts, in file order."""
    counts = np.searchsorted(starts, loops.document.counts(rows))
    nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(rows, counts), np.array(starts, np.uint32)[nth]


def read_remarks(loops: Loops) -> pl.DataFrame:
    """Read the remark codes of lines (LQ*HE) and of claims (MOA, MIA)."""
    document = loops.document
    lq = loops.in_claims("LQ")
    taken = [
        _repeated(loops, lq[document.codes(lq, 1) == code("HE")], (2,)),
        _repeated(loops, loops.in_claims("MOA"), _MOA_REMARKS),
        _repeated(loops, loops.in_claims("MIA"), _MIA_REMARKS),
    ]
    rows, position = (np.concatenate(pair) for pair in zip(*taken, strict=True))
    order = np.argsort(rows, kind="stable")
    rows, position = rows[order], position[order]
    remarks = pl.DataFrame({**loops.places(rows), "code": document.element(rows, position)})
    return remarks.drop_nulls("code") if remarks["code"].null_count() else remarks


def read_provider_adjustments(loops: Loops) -> pl.DataFrame:
    """Read each (reason, amount) of every PLB, up to six in a segment."""
    return _provider_adjustments(loops) if len(loops.document.rows("PLB")) else _no_provider_adjustments()


@cache
def _no_provider_adjustments() -> pl.DataFrame:
    return _provider_adjustments(_no_loops())


def _provider_adjustments(loops: Loops) -> pl.DataFrame:
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
    return _qualified_values(loops, "DTM").select(
        *_QUALIFIED, date=as_date(pl.col("value")), date_text="value"
    )


def read_amounts(loops: Loops) -> pl.DataFrame:
    """Read the AMT of claims and lines."""
    values = _qualified_values(loops, "AMT")
    return values.select(*_QUALIFIED, amount=to_amounts(values["value"]), amount_text="value")


def _qualified_values(loops: Loops, tag: str) -> pl.DataFrame:
    rows = loops.in_claims(tag)
    return pl.DataFrame(
        {
            **loops.places(rows),
            **loops.document.columns(rows, {"qualifier": 1, "value": 2}),
        }
    )


def read_names(loops: Loops) -> pl.DataFrame:
    """Read the NM1 of claims: QC patient, IL subscriber, 74 corrected, 82 rendering, TT crossover carrier."""
    rows = loops.in_claims("NM1")
    return pl.DataFrame(
        {
            **loops.places(rows),
            **loops.document.columns(rows, _NAME_ELEMENTS),
        }
    )
