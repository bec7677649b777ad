"""Reconciliation: what was billed, expected, allowed, paid, denied, taken back, and what is still open.

Made from the ledger's `Books` for the reports, the workbook and the worklist. Why a payment differs from
the estimate is `billing.variance`, how well the practice does `billing.metrics`, whether the money reached
the bank `billing.deposits`. Everything is as of the books' day: what a payer takes back later changes later
reports, never this one.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

from billing.books import ENDED, Books, standing, states
from billing.reference.tables import Reference, in_effect
from billing.settlement import (
    IS_PROVIDER_LEVEL,
    LINE,
    SETTLING_ACCOUNTS,
    current_answers,
    settled_lines,
)
from billing.variance import explained
from schemas.columns import SUM

ZERO: Final = pl.lit("0.00").cast(SUM)
DIMENSIONS: Final = ("month", "mac_contract", "code", "payer_id")
FIGURES: Final = (
    *("billed", "expected", "allowed", "paid", "patient", "sequestration", "contractual", "denied"),
    *("taken_back", "open", "variance", "unsent"),
)
AGE_BUCKETS: Final = (
    *((0, "0-30"), (31, "31-60"), (61, "61-90"), (91, "91-120"), (121, "121-180"), (181, "181-365")),
    (366, "over 365"),
)


@dataclass(frozen=True)
class Reconciliation:
    """A report as of a day: frames that add up to one another.

    `lines` carries every figure of a line, and once more with no line number and no code what a payer
    answered for a claim as a whole; billed = contractual + sequestration + patient + paid + denied +
    prior_payer + other + open, on every row and so on every sum.
    """

    as_of: date
    month: date | None  # null: every month
    lines: pl.DataFrame
    bridge: pl.DataFrame  # claim_number, line_number, reason, amount, detail: expected less paid, in parts
    summary: pl.DataFrame  # month, mac_contract, mac_name, code, payer_id, claims, lines and FIGURES
    aging: pl.DataFrame  # clock, party, bucket, claims, amount
    provider_level: pl.DataFrame  # account, entries, amount (positive: withheld from us)


def reconcile(books: Books, reference: Reference, month: date | None = None) -> Reconciliation:
    """Reconcile the books, or those claims of them whose service month is given.

    Of the money outside any claim, a month's report has only what names one of its claims.
    """
    answered = _answered_lines(books)
    if month is not None:
        answered = answered.filter(pl.col("month") == month)
    lines, bridge = explained(answered, reference)
    lines = lines.sort("claim_number", "line_number", nulls_last=True)
    return Reconciliation(
        as_of=books.as_of,
        month=month,
        lines=lines,
        bridge=bridge,
        summary=_with_mac_names(totals_by(lines, *DIMENSIONS), reference, books.as_of),
        aging=_aging(books, lines),
        provider_level=_provider_level(books, None if month is None else lines),
    )


def totals_by(lines: pl.DataFrame, *dimensions: str) -> pl.DataFrame:
    """Add the lines up: claims, lines and FIGURES by month, mac_contract, code, payer_id or none of them."""
    figures = {name: pl.col(name).sum().cast(SUM) for name in FIGURES}
    counts = {"claims": pl.col("claim_id").n_unique(), "lines": pl.col("line_number").count()}
    if not dimensions:
        return lines.select(**counts, **figures)
    return lines.group_by(dimensions).agg(**counts, **figures).sort(dimensions, nulls_last=True)


def _answered_lines(books: Books) -> pl.DataFrame:
    """Return every line that was sent or answered, with what the payer said and what is left.

    Columns: the claim's and the line's own, allowed (null while there is no answer), the accounts, state,
    answer (waiting, paid, denied, taken_back, later_payer, claim_level, not_answered, replaced),
    last_payer_action_on.
    """
    settled = settled_lines(books)
    claims = books.claims.join(states(books), on="claim_id").with_columns(
        is_live=~pl.col("state").is_in(ENDED),
        is_answered=pl.col("claim_id").is_in(settled["claim_id"].unique().implode()),
    )
    claims = claims.with_columns(
        is_billed=((pl.col("state") != "built") & pl.col("is_live")) | pl.col("is_answered")
    ).filter(pl.col("is_live") | pl.col("is_answered"))
    claim_level = settled.filter(pl.col("line_number").is_null()).select(LINE)
    rows = pl.concat([books.lines, claim_level], how="diagonal")
    has_claim_level = pl.col("claim_id").is_in(claim_level["claim_id"].implode())
    whole = claims.rename({"date_of_service": "claim_date_of_service", "service_month": "month"})
    return (
        whole.join(rows, on="claim_id")
        .with_columns(pl.col("date_of_service").fill_null(pl.col("claim_date_of_service")))
        .join(settled, on=LINE, how="left", nulls_equal=True)
        .join(current_answers(books), on=LINE, how="left", nulls_equal=True)
        .join(_last_payer_actions(books), on="claim_id", how="left")
        .with_columns(is_denied_whole=_is_denied_whole())
        .with_columns(answer=_answer(has_claim_level))
        .with_columns(_of_the_claim("last_posted_on"), _of_the_claim("codes"))
        .pipe(_with_figures)
    )


def _last_payer_actions(books: Books) -> pl.DataFrame:
    """Return the day of the last answer or payment to every claim, else the day it was sent."""
    answered = books.answers.filter(pl.col("claim_id").is_not_null()).select(
        "claim_id", on=pl.col("received_at").dt.date()
    )
    paid = books.postings.filter(
        pl.col("claim_id").is_not_null(), pl.col("remittance_claim_id").is_not_null()
    ).select("claim_id", on="posted_on")
    sent = books.claims.select("claim_id", sent_on=pl.col("sent_at").dt.date())
    last = pl.concat([answered, paid]).group_by("claim_id").agg(pl.col("on").max())
    return sent.join(last, on="claim_id", how="left").select(
        "claim_id", "sent_on", last_payer_action_on=pl.coalesce("on", "sent_on")
    )


def _is_denied_whole() -> pl.Expr:
    """Tell the claims of which nothing was paid because of what the payer said of the claim as a whole."""
    refused = pl.col("line_number").is_null() & (
        (pl.col("denial") > 0) | pl.col("is_denied").fill_null(value=False)
    )
    paid = (pl.col("payment") - pl.col("later_paid")).sum()
    return (refused.fill_null(value=False).any() & (paid == 0)).over("claim_id")


def _of_the_claim(column: str) -> pl.Expr:
    """Take what a line has none of from the answer to the claim as a whole, where that denied it."""
    whole = pl.col(column).filter(pl.col("line_number").is_null()).first().over("claim_id")
    has_none = pl.col("codes").fill_null([]).list.len() == 0
    return pl.when(pl.col("is_denied_whole") & has_none).then(whole).otherwise(column).alias(column)


def _answer(has_claim_level: pl.Expr) -> pl.Expr:
    """Say in a word what the first payer answered to a line."""
    is_unpaid = pl.col("payment") == pl.col("later_paid")
    owes_patient = pl.col("patient_responsibility") != 0
    has_answer = pl.col("payment").is_not_null()
    return (
        pl.when(~pl.col("is_live"))
        .then(pl.lit("replaced"))
        .when(pl.col("line_number").is_null())
        .then(pl.lit("claim_level"))
        .when("is_denied_whole")
        .then(pl.lit("denied"))
        .when(has_answer & is_unpaid & ((pl.col("denial") > 0) | pl.col("is_denied").fill_null(value=False)))
        .then(pl.lit("denied"))
        .when(has_answer & is_unpaid & ~owes_patient & (pl.col("taken_back") > 0))
        .then(pl.lit("taken_back"))
        .when(has_answer & ~pl.col("has_first"))
        .then(pl.lit("later_payer"))
        .when(has_answer)
        .then(pl.lit("paid"))
        .when(pl.col("is_answered") & has_claim_level)
        .then(pl.lit("claim_level"))
        .when(pl.col("is_answered"))
        .then(pl.lit("not_answered"))
        .otherwise(pl.lit("waiting"))
    )


def _with_figures(lines: pl.DataFrame) -> pl.DataFrame:
    """Name the figures of the report; a charge is billed once it was sent, and as long as it lives."""
    amounts = (*SETTLING_ACCOUNTS, "deductible", "coinsurance", "incentive", "taken_back", "later_paid")
    lines = lines.with_columns(pl.col(name).fill_null(ZERO) for name in amounts)
    charge = pl.col("charge").fill_null(ZERO)
    is_asked_for = pl.col("is_live") & pl.col("is_billed")
    settled = sum((pl.col(name) for name in SETTLING_ACCOUNTS[1:]), pl.col(SETTLING_ACCOUNTS[0]))
    stated = pl.col("stated_allowed")
    # What a payer must have allowed, where it does not say so: whatever it shared out itself.
    shared_out = sum(
        (pl.col(name) for name in ("deductible", "coinsurance", "sequestration", "incentive")),
        pl.col("payment") - pl.col("later_paid"),
    )
    is_priced = pl.col("answer").is_in(["paid", "taken_back"])
    is_whole = pl.col("line_number").is_null() & pl.col("has_first") & ~pl.col("is_denied_whole")
    # What lines state they were allowed already counts what was taken from the claim as a whole.
    is_stated = stated.is_not_null().any().over("claim_id")
    return lines.with_columns(
        billed=pl.when(is_asked_for).then(charge).otherwise(ZERO),
        unsent=pl.when(pl.col("is_live") & ~pl.col("is_billed")).then(charge).otherwise(ZERO),
        expected=pl.when(is_asked_for).then(pl.col("medicare_estimate").fill_null(ZERO)).otherwise(ZERO),
        shared_out=shared_out.cast(SUM),
        allowed=pl.when(pl.col("answer") == "denied")
        .then(ZERO)
        .when(is_priced)
        .then(stated.fill_null(shared_out))
        .when(is_whole)
        .then(pl.when(is_stated).then(ZERO).otherwise(shared_out))
        .cast(SUM),
        paid="payment",
        patient="patient_responsibility",
        denied="denial",
        settled=settled.cast(SUM),
    ).with_columns(open=(pl.col("billed") - pl.col("settled")).cast(SUM))


def _aging(books: Books, lines: pl.DataFrame) -> pl.DataFrame:
    """Age what payers and patients owe, by the date of service and by the last payer action."""
    owed = (
        lines.filter("is_billed")
        .group_by("claim_id")
        .agg(
            pl.col("claim_date_of_service", "last_payer_action_on").first(),
            payer=pl.col("open").sum(),
            patient=pl.col("patient").sum(),
        )
        .unpivot(["payer", "patient"], index=["claim_id", "claim_date_of_service", "last_payer_action_on"],
                 variable_name="party", value_name="amount")
        .filter(pl.col("amount") != 0)
    )  # fmt: skip
    both = pl.concat(
        owed.select("claim_id", "party", "amount", clock=pl.lit(name), since=pl.coalesce(*columns))
        for name, columns in (
            ("date of service", ["claim_date_of_service"]),
            ("last payer action", ["last_payer_action_on", "claim_date_of_service"]),
        )
    )
    age = (pl.lit(books.as_of) - pl.col("since")).dt.total_days()
    labels = [label for _, label in AGE_BUCKETS]
    passed = pl.sum_horizontal((age >= start).cast(pl.Int64) for start, _ in AGE_BUCKETS[1:])
    counted = (
        both.with_columns(bucket=passed.replace_strict(range(len(labels)), labels))
        .group_by("clock", "party", "bucket")
        .agg(claims=pl.col("claim_id").n_unique(), amount=pl.col("amount").sum().cast(SUM))
    )
    # Every bucket is shown, the empty ones too: a report whose rows come and go is hard to compare.
    frame = (
        pl.DataFrame({"clock": ["date of service", "last payer action"]})
        .join(pl.DataFrame({"party": ["payer", "patient"]}), how="cross")
        .join(pl.DataFrame({"bucket": labels}), how="cross")
    )
    return frame.join(
        counted, on=["clock", "party", "bucket"], how="left", maintain_order="left"
    ).with_columns(pl.col("claims").fill_null(0), pl.col("amount").fill_null(ZERO))


def _provider_level(books: Books, lines: pl.DataFrame | None) -> pl.DataFrame:
    """Add up what payers withheld from or added to whole payments, by account."""
    outside = standing(books.postings.filter(IS_PROVIDER_LEVEL))
    if lines is not None:
        outside = outside.join(lines.select("claim_id").unique(), on="claim_id", how="semi")
    added = outside.group_by("account").agg(entries=pl.len(), amount=pl.col("amount").sum().cast(SUM))
    return added.sort("account")


def _with_mac_names(summary: pl.DataFrame, reference: Reference, on: date) -> pl.DataFrame:
    names = in_effect(reference.macs, on).select("mac_contract", "mac_name")
    named = summary.join(names, on="mac_contract", how="left", maintain_order="left")
    return named.select("month", "mac_contract", "mac_name", pl.exclude("month", "mac_contract", "mac_name"))
