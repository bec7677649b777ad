"""Arrivals: what kind of file came back, whether it came before, and which of its payments may be posted.

`tasks.posting` asks before it writes. Two files, or two payments, are the same when they say the same under
the same numbers, whatever their line breaks; a sender who uses numbers twice for different things is heard.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import polars as pl

from billing.digests import digests
from schemas.answers import Answers
from schemas.columns import SUM

MONEY: Final = pl.Decimal(12, 2)
PLACE: Final = ("payment", "segment", "element")
LARGEST: Final = 10**10  # the ledger's money ends here
LATEST: Final = timedelta(days=366)  # after its arrival no payment is announced further ahead than this
KINDS: Final = {"TA1": "TA1", "999": "999", "997": "999", "277": "277CA", "835": "835"}
ANSWERS: Final = frozenset(KINDS.values())
SET_TYPE: Final = re.compile("[0-9]{3}")  # ST01
# What a payment is posted from: table, column and where it stands.
AMOUNTS: Final = (
    *(("payments", "amount", "BPR02"), ("provider_adjustments", "amount", "PLB")),
    *(("claims", "charge", "CLP03"), ("claims", "paid", "CLP04")),
    *(("lines", "charge", "SVC02"), ("lines", "paid", "SVC03"), ("adjustments", "amount", "CAS")),
)
PAYMENT_NUMBERS: Final = ("payer_id", "trace_number", "trace_payer_id", "payment_date", "amount")


@dataclass(frozen=True)
class ArrivedFile:
    """One file as it was taken from the inbox; its bytes lie at `uri`."""

    sha256: str
    name: str
    origin: str
    uri: str
    size: int
    at: datetime


@dataclass(frozen=True)
class Identity:
    """What a file is and under which numbers it came."""

    kind: str
    sender_id: str | None
    interchange_control_number: str | None
    group_control_number: str | None
    content_sha256: str


def identify(answers: Answers, payments: pl.DataFrame) -> Identity:
    """Say what a file is.

    Args:
        payments: What `judged` returned.
    """
    types = answers.transactions["type"].to_list() + answers.acknowledgements["kind"].to_list()
    # What answers nothing is called by its own type, so that people can be told what it is.
    kinds = {KINDS.get(kind) or (kind if SET_TYPE.fullmatch(kind or "") else "other") for kind in types}
    said = pl.concat(
        [
            payments.select(text="content_sha256"),
            *(
                _texts(frame)
                for frame in (answers.statuses, answers.totals, answers.acknowledgements, answers.errors)
            ),
        ]
    )["text"]
    ids = ("sender_id", "interchange_control_number", "group_control_number")
    envelopes = pl.concat(
        [answers.transactions.select(ids), answers.interchanges.select(pl.col(ids[:2]))], how="diagonal"
    )
    sender, interchange, group = envelopes.row(0) if envelopes.height else (None, None, None)
    digest = digests(pl.Series(["\n".join(said)]))[0]
    several = "mixed" if kinds & ANSWERS else "other" if kinds else "unknown"
    kind = kinds.pop() if len(kinds) == 1 else several
    return Identity(kind, sender, interchange, group, digest)


def judged(answers: Answers, received_at: datetime) -> pl.DataFrame:
    """Add to the payments whether they may be posted, on which day, and what tells them apart.

    Returns:
        payments with difference (claims less PLBs less BPR02), is_whole (every claim and line of it balances,
        its end has come, and the ledger can hold every amount), posted_on, identity_key and content_sha256.
    """
    of_claim = answers.claims.select("claim", "payment")
    # Lines that are paid something else than their claim, without a reason at claim level.
    unlike_lines = answers.findings.filter(rule="claim_lines_balance")["segment"]
    broken = pl.concat(
        [
            answers.claims.filter(
                ~pl.col("is_balanced") | pl.col("segment").is_in(unlike_lines.implode())
            ).select("payment"),
            answers.lines.filter(~pl.col("is_balanced")).join(of_claim, on="claim").select("payment"),
            too_large(answers).select("payment"),
        ]
    )["payment"].unique()
    # What was lost with the end may have added up to nothing, as denials do.
    endless = answers.findings.filter(rule="missing_se")["transaction"]
    none = pl.lit(0, SUM)
    sums = [
        frame.group_by("payment").agg(pl.col(column).cast(SUM).sum().alias(name))
        for frame, column, name in (
            (answers.claims, "paid", "paid"),
            (answers.provider_adjustments, "amount", "withheld"),
        )
    ]
    produced = answers.transactions.select(
        "transaction", sent_on=pl.coalesce("group_date", "interchange_date")
    )
    payments = answers.payments.join(produced, on="transaction", how="left", maintain_order="left")
    for total in sums:
        payments = payments.join(total, on="payment", how="left", maintain_order="left")
    difference = pl.col("paid").fill_null(none) - pl.col("withheld").fill_null(none) - pl.col("amount")
    numbers = pl.concat_str(
        (pl.col(name).cast(pl.String).fill_null("") for name in PAYMENT_NUMBERS), separator="|"
    )
    return (
        payments.join(_contents(answers), on="payment", how="left", maintain_order="left")
        .with_columns(
            difference=difference,
            is_whole=pl.col("is_balanced")
            & ~pl.col("payment").is_in(broken.implode())
            & ~pl.col("transaction").is_in(endless.implode()),
            posted_on=pl.coalesce("payment_date", "production_date", "sent_on", pl.lit(received_at.date())),
            content=pl.col("content").fill_null(""),
            numbers=numbers,
        )
        .with_columns(pl.col("numbers").map_batches(digests).alias("identity_key"))
        .with_columns(pl.col("content").map_batches(digests).alias("content_sha256"))
        .drop("content", "numbers", "sent_on", "paid", "withheld")
    )


def too_large(answers: Answers) -> pl.DataFrame:
    """Find the amounts that keep a payment out of the ledger: payment, segment, element, found."""
    of_claim = answers.claims.select("claim", "payment")
    found = []
    for name, column, element in AMOUNTS:
        rows: pl.DataFrame = getattr(answers, name).filter(is_too_large(column))
        owned = rows if "payment" in rows.columns else rows.join(of_claim, on="claim")
        placed = owned.with_columns(element=pl.lit(element))
        found.append(placed.select(*PLACE, found=pl.col(column).cast(pl.String)))
    # What stands at claim level is posted as one sum: CLP04 less what its lines were paid.
    of_lines = answers.lines.group_by("claim").agg(of_lines=pl.col("paid").cast(SUM).sum())
    at_claim_level = answers.claims.join(of_lines, on="claim").select(
        *("payment", "segment"),
        rest=pl.col("paid").cast(SUM) - pl.col("of_lines"),
        element=pl.lit("CLP04"),
    )
    beyond = at_claim_level.filter(is_too_large("rest"))
    return pl.concat([*found, beyond.select(*PLACE, found=pl.col("rest").cast(pl.String))])


def too_late(payments: pl.DataFrame, received_on: date) -> pl.DataFrame:
    """Find the payments dated so far ahead that the date cannot be meant: transaction, segment, found."""
    return payments.filter(pl.col("payment_date") > received_on + LATEST).select(
        "transaction", "segment", found=pl.col("payment_date").dt.strftime("%Y%m%d")
    )


def is_too_large(column: str) -> pl.Expr:
    """Tell whether an amount is more than the ledger can hold."""
    return (pl.col(column).abs() >= LARGEST).fill_null(value=False)


def _contents(answers: Answers) -> pl.DataFrame:
    """Write down what each payment says about money, so that two can be compared."""
    of_claim = answers.claims.select("claim", "payment")
    claims = ("claim_number", "status_code", "charge", "paid", "payer_claim_number")
    lines = ("code", "charge", "paid", "line_control_number", "date_of_service")
    adjustments = ("group_code", "reason_code", "amount")
    plbs = ("provider_id", "reason_code", "reference", "amount")
    parts = [
        frame.select("payment", "segment", text=_text(*columns))
        for frame, columns in (
            (answers.claims, claims),
            (answers.lines.join(of_claim, on="claim"), lines),
            (answers.adjustments.join(of_claim, on="claim"), adjustments),
            (answers.provider_adjustments, plbs),
        )
    ]
    said = pl.concat(parts).sort("payment", "segment", maintain_order=True)
    return said.group_by("payment", maintain_order=True).agg(content=pl.col("text").str.join("\n"))


def _text(*columns: str) -> pl.Expr:
    return pl.concat_str((pl.col(name).cast(pl.String).fill_null("") for name in columns), separator="|")


def _texts(frame: pl.DataFrame) -> pl.DataFrame:
    columns = [name for name in frame.columns if name != "segment"]
    return frame.select(text=_text(*columns))
