"""Remittance faults: the findings about the money of an 835, where it cannot be read or does not add up.

`edi.remittance` collects them; `edi.balance` has done the adding. A finding says what, where and what to do,
in amounts and never in names.
"""

import polars as pl

from edi.findings import NONE, findings, number
from edi.values import AMOUNT, in_money

_LOOP = pl.when(pl.col("line").is_null()).then(pl.lit("2100")).otherwise(pl.lit("2110"))


def payment_balance_faults(payments: pl.DataFrame) -> pl.DataFrame:
    """Report payments that are readable and do not add up."""
    return findings(
        payments.filter(pl.col("is_readable") & ~pl.col("is_balanced")),
        "payment_balance",
        pl.format(
            "The claims less the provider adjustments come to {}, but BPR02 says {}. Do not post it.",
            "computed_text",
            "amount",
        ),
        element="BPR02",
        found=pl.col("amount").cast(pl.String),
        expected=pl.col("computed_text").cast(pl.String),
    )


def payment_faults(payments: pl.DataFrame, provider_adjustments: pl.DataFrame) -> list[pl.DataFrame]:
    """Report what a payment lacks or what cannot be read in it."""
    if payments.is_empty() and provider_adjustments.is_empty():
        return []  # as in the middle of a large file
    return [
        *_amount_faults(payments, "amount", None, "BPR02"),
        *_amount_faults(provider_adjustments, "amount", None, "PLB{}"),
        findings(
            payments.filter(pl.col("trace_number").is_null()),
            "missing_trace_number",
            "The payment has no trace number, so it cannot be matched with a deposit.",
            element="TRN02",
        ),
        findings(
            payments.filter(pl.col("payment_date").is_null() & pl.col("payment_date_text").is_not_null()),
            "unreadable_date",
            "The payment date is not a date of the form CCYYMMDD.",
            element="BPR16",
        ),
    ]


def claim_faults(claims: pl.DataFrame, lines: pl.DataFrame, adjustments: pl.DataFrame) -> list[pl.DataFrame]:
    """Report claims and lines that lack something, cannot be read or do not add up."""
    return [
        *_amount_faults(claims, "charge", "2100", "CLP03"),
        *_amount_faults(claims, "paid", "2100", "CLP04"),
        *_amount_faults(lines, "charge", "2110", "SVC02"),
        *_amount_faults(lines, "paid", "2110", "SVC03"),
        *_amount_faults(adjustments, "amount", None, "CAS{}"),
        *(
            findings(
                _without(claims, column),
                f"missing_{column}",
                f"The claim has no {name}.",
                loop="2100",
                element=element,
            )
            for column, name, element in (
                ("claim_number", "claim number of ours, so a person must match it", "CLP01"),
                ("status_code", "status code", "CLP02"),
            )
        ),
        findings(
            _without(lines, "claim"),
            "line_without_claim",
            "The service line stands in no claim.",
            loop="2110",
            element="SVC",
        ),
        _balance_faults(lines, "line_balance", "2110", "SVC02", "SVC03"),
        _balance_faults(claims, "claim_balance", "2100", "CLP03", "CLP04"),
        *_lines_faults(claims),
    ]


def _lines_faults(claims: pl.DataFrame) -> list[pl.DataFrame]:
    """Report claims that are not paid what their lines are."""
    if not claims["is_unlike_lines"].any():
        return []
    together = in_money(pl.col("lines_paid_cents"))
    message = "The lines of the claim are paid {} together, CLP04 says {}."
    return [
        findings(
            claims.filter("is_unlike_lines"),
            "claim_lines_balance",
            pl.format(message, together, "paid"),
            loop="2100",
            element="CLP04",
            found=pl.col("paid").cast(pl.String),
            expected=together.cast(pl.String),
        )
    ]


def value_faults(dates: pl.DataFrame, amounts: pl.DataFrame) -> list[pl.DataFrame]:
    """Report dates and amounts beside the money that cannot be read."""
    return [
        findings(
            _unread(dates, "date"),
            "unreadable_date",
            "The date is not a date of the form CCYYMMDD.",
            loop=_LOOP,
            element="DTM02",
        ),
        findings(
            _unread(amounts, "amount"),
            "unreadable_amount",
            "AMT02 is not an amount of at most two decimals.",
            loop=_LOOP,
            element="AMT02",
        ),
    ]


def _balance_faults(frame: pl.DataFrame, rule: str, loop: str, charge: str, paid: str) -> pl.DataFrame:
    if frame["is_balanced"].all():
        return NONE
    charged, adjusted = _or_nothing("charge"), in_money(pl.col("adjusted_cents"))
    return findings(
        frame.filter(pl.col("is_readable") & ~pl.col("is_balanced")),
        rule,
        pl.format(
            f"{charge} {{}} less adjustments of {{}} is {{}}, but {paid} says {{}}. Do not post it.",
            charged,
            adjusted,
            charged - adjusted,
            _or_nothing("paid"),
        ),
        loop=loop,
        element=paid,
        found=pl.col("paid").cast(pl.String),
        expected=(charged - adjusted).cast(pl.String),
    )


def _or_nothing(column: str) -> pl.Expr:
    """Show an absent amount as nothing."""
    value = pl.when(pl.col(f"{column}_text").is_null()).then(pl.lit(0, AMOUNT)).otherwise(pl.col(column))
    return value.cast(pl.Decimal(38, 2))


def _amount_faults(frame: pl.DataFrame, column: str, loop: str | None, name: str) -> list[pl.DataFrame]:
    """Report amounts that are missing or unreadable; `name` is the element, {} that of its position."""
    if not frame[column].null_count():
        return []
    place = _LOOP if loop is None and "line" in frame.columns else pl.lit(loop)
    at_position = (pl.col("position") + 1).cast(pl.String).str.zfill(2)
    element = pl.format(name, at_position) if "{}" in name else pl.lit(name)
    text = f"{column}_text"
    return [
        findings(
            frame.filter(pl.col(text).is_null()),
            "missing_amount",
            pl.format("{} is empty; it is taken as 0.", element),
            loop=place,
            element=element,
        ),
        findings(
            frame.filter(pl.col(text).is_not_null() & pl.col(column).is_null()),
            "unreadable_amount",
            pl.format("{} is not an amount of at most two decimals; nothing balances with it.", element),
            loop=place,
            element=element,
            found=number(text),
        ),
    ]


def _unread(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """Keep the rows whose text is there and could not be read."""
    if not frame[column].null_count():
        return frame.head(0)
    return frame.filter(pl.col(column).is_null() & pl.col(f"{column}_text").is_not_null())


def _without(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """Keep the rows that lack a value; nearly always there is none."""
    return frame.filter(pl.col(column).is_null()) if frame[column].null_count() else frame.head(0)
