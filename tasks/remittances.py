"""Remittances: the payments of an 835 into the ledger, each cent on its account.

`tasks.posting` calls `record_remittances` inside the transaction of a file. Only payments that balance are
posted; which account an amount belongs to is `billing.posting_rules`, whose claim it is `tasks.matching`.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

import polars as pl
import sqlalchemy as sa

from billing.posting_rules import denied_lines, postings_of, with_accounts
from billing.settlement import UNDECIDED_STATUSES
from schemas.answers import Answers
from schemas.errors import require_equal
from tasks.accounts import charge_claims, settle_claims
from tasks.arrivals import MONEY, ArrivedFile
from tasks.claim_states import TABLES, instant
from tasks.database import insert
from tasks.matching import claims_of_references, match_answered_lines, match_claims, suggest_claims

REMITTANCE: Final = TABLES["remittance"]
POSTING: Final = TABLES["posting"]
# CLP02: forwarded to another payer, with or without a decision of its own.
FORWARDED: Final = ("19", "20", "21", "23")
CROSSED_OVER: Final = ("MA18", "MA07")


@dataclass(frozen=True)
class Remitted:
    """What a file's payments did."""

    paid: Decimal = Decimal("0.00")
    claims: int = 0
    matched: int = 0
    denied_lines: int = 0
    adjudicated: int = 0
    refused: int = 0


@dataclass(frozen=True)
class _Tables:
    """The tables of a file's posted payments, with the ledger's keys, ready to be written."""

    claims: pl.DataFrame
    lines: pl.DataFrame
    adjustments: pl.DataFrame
    remarks: pl.DataFrame
    postings: pl.DataFrame


def record_remittances(
    connection: sa.Connection, file_id: int, file: ArrivedFile, answers: Answers, payments: pl.DataFrame
) -> Remitted:
    """Keep every payment of a file, and post those whose state is `posted`.

    Args:
        payments: What `tasks.arrivals.judged` returned, with state.
    """
    numbered = payments.with_columns(id=_numbered(connection, "remittance", payments.height))
    insert(connection, REMITTANCE, _remittance_rows(numbered, file_id))
    posted = numbered.filter(state="posted")
    if posted.is_empty():
        return Remitted()
    tables = _tables(connection, posted, answers)
    _require_balance(posted, tables.postings)
    insert(connection, TABLES["remittance_claim"], _claim_rows(tables, file.at))
    insert(connection, TABLES["remittance_line"], _line_rows(tables.lines))
    insert(connection, TABLES["remittance_adjustment"], _adjustment_rows(tables.adjustments))
    insert(connection, TABLES["remittance_remark"], _remark_rows(tables.remarks))
    matched = tables.claims.drop_nulls("claim_id")
    moved = settle_claims(
        connection,
        matched["claim_id"],
        matched.filter(~pl.col("status_code").is_in(UNDECIDED_STATUSES).fill_null(value=False))["claim_id"],
        sha256=file.sha256,
        at=file.at,
    )
    charge_claims(connection, matched["claim_id"], file.at)
    insert(connection, POSTING, _posting_rows(tables.postings, file.at))
    return Remitted(
        paid=sum(posted["amount"].to_list(), Decimal("0.00")),
        claims=tables.claims.height,
        matched=matched.height,
        denied_lines=int(tables.lines["is_denied"].sum()),
        adjudicated=moved.filter(outcome="moved").height,
        refused=moved.filter(pl.col("outcome") == "refused", pl.col("from_state") != "adjudicated").height,
    )


def _numbered(connection: sa.Connection, table: str, count: int) -> pl.Series:
    """Number rows on from the last; the writer's lock keeps the numbers ours."""
    last = connection.execute(sa.select(sa.func.max(TABLES[table].c.id))).scalar_one() or 0
    return pl.int_range(last + 1, last + 1 + count, eager=True)


def _tables(connection: sa.Connection, posted: pl.DataFrame, answers: Answers) -> _Tables:
    """Cut the posted payments out of the file, find whose they are, and turn them into postings."""
    owners = posted.select("payment", "posted_on", remittance_id="id")
    claims = answers.claims.join(owners, on="payment", maintain_order="left").with_columns(
        _money("charge", "paid"), _null_if_too_large("patient_responsibility")
    )
    claims = claims.with_columns(id=_numbered(connection, "remittance_claim", claims.height))
    original = answers.references.filter(pl.col("line").is_null() & (pl.col("qualifier") == "F8"))
    originals = original.select("claim", original_payer_claim_number="value").unique("claim", keep="first")
    claims = claims.join(originals, on="claim", how="left", maintain_order="left")
    claims = claims.join(match_claims(connection, claims), on="claim", how="left", maintain_order="left")
    keys = claims.select("claim", "claim_id", remittance_claim_id="id")

    lines = answers.lines.join(keys, on="claim", maintain_order="left").with_columns(
        _money("charge", "paid"), _null_if_too_large("allowed")
    )
    lines = lines.with_columns(id=_numbered(connection, "remittance_line", lines.height))
    lines = lines.join(_matched_lines(connection, lines), on="line", how="left", maintain_order="left")
    line_keys = lines.select("line", remittance_line_id="id")
    adjusted = with_accounts(
        answers.adjustments.join(keys.select("claim"), on="claim", maintain_order="left").with_columns(
            _money("amount"), number=_number_in_segment()
        ),
        lines,
        claims,
    )
    plbs = answers.provider_adjustments.join(
        owners.select("payment", "posted_on"), on="payment", maintain_order="left"
    ).with_columns(_money("amount"), number=_number_in_segment())
    unmatched = claims.filter(pl.col("claim_id").is_null())
    suggested = suggest_claims(connection, unmatched, lines.join(unmatched.select("claim"), on="claim"))
    denied = denied_lines(adjusted)
    forwarded = answers.remarks.filter(pl.col("code").is_in(CROSSED_OVER))["claim"].unique()
    lines = lines.with_columns(is_denied=pl.col("line").is_in(denied.implode()))
    postings = postings_of(claims, lines, adjusted, plbs)
    told = claims.select("claim_id", number="payer_claim_number").drop_nulls()
    return _Tables(
        claims.join(suggested, on="claim", how="left", maintain_order="left").with_columns(
            is_forwarded=pl.col("status_code").is_in(FORWARDED).fill_null(value=False)
            | pl.col("claim").is_in(forwarded.implode())
        ),
        lines,
        adjusted.join(keys, on="claim", maintain_order="left").join(
            line_keys, on="line", how="left", maintain_order="left"
        ),
        answers.remarks.join(keys, on="claim", maintain_order="left")
        .join(line_keys, on="line", how="left", maintain_order="left")
        .with_columns(number=_number_in_segment()),
        _placed(connection, postings, owners, keys, lines, told),
    )


def _matched_lines(connection: sa.Connection, lines: pl.DataFrame) -> pl.DataFrame:
    """Match lines as we submitted them: what the payer made of code and modifiers is set aside."""
    is_changed = pl.col("submitted_code").is_not_null()
    modifiers = pl.when(is_changed).then("submitted_modifiers").otherwise("modifiers").list.join(":")
    ours = lines.drop_nulls("claim_id").select(
        *("line", "claim_id", "line_control_number", "charge", "date_of_service"),
        code=pl.coalesce("submitted_code", "code"),
        modifiers=modifiers,
    )
    return match_answered_lines(connection, ours)


def _placed(
    connection: sa.Connection,
    postings: pl.DataFrame,
    owners: pl.DataFrame,
    keys: pl.DataFrame,
    lines: pl.DataFrame,
    told: pl.DataFrame,
) -> pl.DataFrame:
    """Say of each posting which payment, claim and line of ours it is about, in file order."""
    named = claims_of_references(connection, postings["reference"], told)
    return (
        postings.join(owners.drop("posted_on"), on="payment")
        .join(keys, on="claim", how="left")
        .join(lines.select("line", line_number="claim_line_number"), on="line", how="left")
        .join(named, on="reference", how="left")
        .with_columns(claim_id=pl.coalesce("claim_id", "named_claim_id"))
        .sort("segment", "number")
    )


def _require_balance(posted: pl.DataFrame, postings: pl.DataFrame) -> None:
    """Stop before a cent is written that the payment does not hold."""
    is_claim = pl.col("remittance_claim_id").is_not_null()
    signed = pl.when(pl.col("account") == "payment").then("amount").when(~is_claim).then(-pl.col("amount"))
    sums = postings.group_by("payment").agg(total=signed.sum())
    both = posted.select("payment", "amount").join(sums, on="payment", how="left")
    none = pl.lit(0, MONEY)
    wrong = both.filter(pl.col("total").fill_null(none) != pl.col("amount").cast(MONEY))
    require_equal("the number of payments whose postings are not BPR02", 0, wrong.height)


def _remittance_rows(payments: pl.DataFrame, file_id: int) -> pl.DataFrame:
    return payments.select(
        *("id", "segment", "payer_name", "payer_id", "payee_name", "payee_npi", "payee_tax_id"),
        *("trace_number", "method", "payment_date", "state", "content_sha256", "identity_key"),
        _null_if_too_large("amount"),
        _null_if_too_large("difference"),
        inbound_file_id=pl.lit(file_id),
        transaction_index="transaction",
        originator_id="trace_payer_id",
        is_balanced="is_whole",
    )


def _claim_rows(tables: _Tables, at: datetime) -> pl.DataFrame:
    return tables.claims.select(
        *("id", "remittance_id", "segment", "claim_number", "status_code", "charge", "paid"),
        *("patient_responsibility", "filing_code", "payer_claim_number", "original_payer_claim_number"),
        *("member_id", "claim_id", "matched_by", "suggested_claim_id", "is_reversal", "is_forwarded"),
        claim_index="claim",
        matched_at=pl.when(pl.col("claim_id").is_not_null()).then(instant(at)),
    )


def _line_rows(lines: pl.DataFrame) -> pl.DataFrame:
    return lines.select(
        *("id", "remittance_claim_id", "segment", "code", "submitted_code", "charge", "paid", "allowed"),
        *("line_control_number", "date_of_service", "claim_line_number", "is_denied"),
        line_index="line",
        modifiers=pl.col("modifiers").list.join(":"),
        units=_plain("units"),
        submitted_units=_plain("submitted_units"),
    )


def _adjustment_rows(adjusted: pl.DataFrame) -> pl.DataFrame:
    return adjusted.select(
        *("remittance_claim_id", "remittance_line_id", "segment", "number"),
        *("group_code", "reason_code", "amount"),
        quantity=_plain("quantity"),
    )


def _remark_rows(remarks: pl.DataFrame) -> pl.DataFrame:
    return remarks.select("remittance_claim_id", "remittance_line_id", "segment", "number", "code")


def _posting_rows(postings: pl.DataFrame, at: datetime) -> pl.DataFrame:
    return postings.select(
        *("posted_on", "account", "amount", "claim_id", "line_number", "remittance_id"),
        *("remittance_claim_id", "segment", "number", "group_code", "reason_code", "reference"),
        recorded_at=instant(at),
    )


def _money(*columns: str) -> pl.Expr:
    """Take an absent amount as nothing, as the balance does."""
    return pl.col(columns).fill_null(0).cast(MONEY)


def _null_if_too_large(column: str) -> pl.Expr:
    """Leave out what the ledger cannot hold; it decides nothing."""
    return pl.when(pl.col(column).abs() < 10**10).then(column).cast(MONEY).alias(column)


def _number_in_segment() -> pl.Expr:
    """Count from 1 what one segment says several times."""
    return pl.int_range(1, pl.len() + 1).over("segment")


def _plain(column: str) -> pl.Expr:
    """Write a quantity as people do, without trailing zeros."""
    return pl.col(column).cast(pl.String).str.strip_chars_end("0").str.strip_chars_end(".")
