"""Posting rules: which account each cent of a remittance belongs to.

`tasks.posting` calls `postings_of` on the payments that balance and keeps what it returns. Accounts are data:
posting_accounts.csv, by group and reason code and the date of the payment. Whose claim it is, and what is
written where, does not belong here.

Signs: an amount that settles a claim is positive, so a reversal, whose amounts are all turned round, opens it
again. Amounts of the provider level keep the sign of the PLB: a positive one lowers the payment.
"""

from datetime import date
from functools import cache
from typing import Final

import polars as pl

from billing.reference.tables import PACKAGED, covers, read_table

MONEY: Final = pl.Decimal(12, 2)
POSTINGS: Final = {
    **dict.fromkeys(("payment", "claim", "line", "segment", "number"), pl.Int64()),
    "posted_on": pl.Date(),
    "account": pl.String(),
    "amount": MONEY,
    **dict.fromkeys(("group_code", "reason_code", "reference"), pl.String()),
}
DENIAL, PARTIAL = "denial", "other_adjustment"


def postings_of(
    claims: pl.DataFrame,
    lines: pl.DataFrame,
    adjusted: pl.DataFrame,
    provider_adjustments: pl.DataFrame,
) -> pl.DataFrame:
    """Turn balanced payments into postings; an amount of nothing is no posting.

    Args:
        claims: claim, payment, segment, paid, posted_on: one row per CLP.
        lines: line, claim, segment, paid: one row per SVC.
        adjusted: What `with_accounts` returned for their adjustments.
        provider_adjustments: payment, segment, number, posted_on, reason_code, reference, amount.

    Returns:
        POSTINGS. What is paid on a claim beyond its lines stands at the claim (line null), so that
        the payments of a claim add up to CLP04.
    """
    of_claim = claims.select("claim", "payment", "posted_on")
    by_line = lines.group_by("claim").agg(on_lines=pl.col("paid").sum())
    rest = pl.col("paid") - pl.col("on_lines").fill_null(pl.lit(0, MONEY))
    on_claims = claims.join(by_line, on="claim", how="left", maintain_order="left").with_columns(paid=rest)
    on_lines = lines.select("claim", "line", "segment", "paid").join(of_claim, on="claim")
    paid = pl.concat(
        [on_lines, on_claims.select(pl.exclude("on_lines"))], how="diagonal_relaxed"
    ).with_columns(account=pl.lit("payment"), number=pl.lit(0, pl.Int64), amount="paid")
    provider = _with_account(
        provider_adjustments.with_columns(group_code=pl.lit(None, pl.String)), "provider"
    )
    parts = [paid, adjusted.join(of_claim, on="claim"), provider]
    return pl.concat([_posting_columns(part) for part in parts]).filter(pl.col("amount") != 0)


def _posting_columns(part: pl.DataFrame) -> pl.DataFrame:
    """Give one kind of postings every column, null where it has none."""
    return part.select(
        pl.col(name).cast(kind) if name in part.columns else pl.lit(None, kind).alias(name)
        for name, kind in POSTINGS.items()
    )


def with_accounts(adjustments: pl.DataFrame, lines: pl.DataFrame, claims: pl.DataFrame) -> pl.DataFrame:
    """Add `account` and `is_denial` to adjustments.

    An adjustment denies only where nothing was paid; one that merely lowers what is paid, such as cut units,
    is an other adjustment.
    """
    paid_line = lines.select("line", line_paid="paid")
    paid_claim = claims.select("claim", "posted_on", claim_paid="paid")
    placed = adjustments.join(paid_claim, on="claim", maintain_order="left").join(
        paid_line, on="line", how="left", maintain_order="left"
    )
    is_unpaid = pl.coalesce("line_paid", "claim_paid") == 0
    account = pl.when((pl.col("account") == DENIAL) & ~is_unpaid).then(pl.lit(PARTIAL)).otherwise("account")
    return (
        _with_account(placed, "claim")
        .with_columns(account=account, is_denial=pl.col("is_denial") & is_unpaid & (pl.col("amount") != 0))
        .drop("claim_paid", "line_paid", "posted_on")
    )


def _with_account(adjustments: pl.DataFrame, level: str) -> pl.DataFrame:
    """Look each (group, reason, date) up: the exact row before the rows for any reason or any group."""
    keys = ["group_code", "reason_code", "posted_on"]
    # A remittance of any size has a few dozen reasons: each is looked up once.
    asked = adjustments.select(keys).unique().with_row_index("asked")
    is_group = (pl.col("table_group") == "*") | (pl.col("table_group") == pl.col("group_code"))
    is_reason = (pl.col("table_reason") == "*") | (pl.col("table_reason") == pl.col("reason_code"))
    rank = (pl.col("table_reason") == "*").cast(pl.Int8) * 2 + (pl.col("table_group") == "*").cast(pl.Int8)
    answered = (
        asked.join(_accounts(level), how="cross")
        .filter(
            is_group.fill_null(value=False) & is_reason.fill_null(value=False) & covers(pl.col("posted_on"))
        )
        .sort("asked", rank)
        .unique("asked", keep="first")
        .select(*keys, "account", "is_denial")
    )
    return adjustments.join(answered, on=keys, how="left", nulls_equal=True, maintain_order="left")


@cache
def _accounts(level: str) -> pl.DataFrame:
    """Read the dated table of one level."""
    return (
        read_table(PACKAGED / "posting_accounts.csv")
        .filter(pl.col("level") == level)
        .select(
            "account",
            "effective_from",
            "effective_to",
            is_denial=pl.col("is_denial") == "true",
            table_group=pl.col("group_code"),
            table_reason="reason_code",
        )
    )


def denied_lines(adjusted: pl.DataFrame) -> pl.Series:
    """Give the lines that a denial leaves unpaid; a deductible that takes everything is no denial.

    Args:
        adjusted: What `with_accounts` returned.
    """
    denied: pl.Series = adjusted.filter("is_denial")["line"].drop_nulls().unique()
    return denied


def outcomes_of(statements: pl.DataFrame, kind: str, on: date) -> pl.Series:
    """Say what each acknowledgement means: answer_outcomes.csv; a code nobody knows is to be investigated.

    Args:
        statements: code, note_code.
        kind: TA1, 999 or 277CA.
        on: The day the answer was received; the table is dated.
    """
    table = _outcomes().filter((pl.col("kind") == kind) & covers(pl.lit(on)))
    exact = table.select("code", "note_code", exact="outcome")
    general = table.filter(pl.col("note_code") == "*").select("code", general="outcome")
    outcome: pl.Series = (
        statements.select("code", "note_code")
        .join(exact, on=["code", "note_code"], how="left", maintain_order="left")
        .join(general, on="code", how="left", maintain_order="left")
        .select(outcome=pl.coalesce("exact", "general", pl.lit("investigate")))["outcome"]
    )
    return outcome


@cache
def _outcomes() -> pl.DataFrame:
    return read_table(PACKAGED / "answer_outcomes.csv")
