"""Deposits: which payment reached the bank, and which did not.

A remittance says what was paid, the bank what arrived; they belong together by trace number, company id
and amount. `tasks.bank` reads the bank's files and keeps what is found here; the worklist takes what does
not agree. What a payment is for is not looked at.

Source: CAQH CORE 370 and the NACHA rules: the CCD+ addenda carry the 835's TRN segment, and transfer and
remittance come within three business days of each other.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import polars as pl

from billing.books import Books
from schemas.columns import SUM

# A transfer of nothing reaches no bank; the others do, a cheque when somebody takes it there.
DEPOSITED_METHODS: Final = ("ACH", "FWT", "BOP", "CHK")
# Without a trace number, a deposit belongs to the payments of its payer this many days around.
DAYS_APART: Final = 5

_COMPANY_LENGTH: Final = 10  # of an id with the digit that tells its kind
_ZERO: Final = pl.lit("0.00").cast(SUM)
GROUPS: Final = (
    *("status", "how", "trace_number", "company_id", "remittances", "deposits", "paid", "deposited"),
    *("difference", "paid_on", "deposited_on", "remittance_ids", "deposit_ids"),
)
STATUSES: Final = ("matched", "amount_differs", "era_without_deposit", "deposit_without_era")


@dataclass(frozen=True)
class Reassociation:
    """Payments and deposits, side by side.

    Attributes:
        groups: One row per set that belongs together: status, how, trace_number, company_id,
            remittances, deposits (counts), remittance_ids, deposit_ids, paid, deposited, difference
            (deposited less paid), paid_on, deposited_on.
        matches: deposit_id, remittance_id, how: each deposit with each payment of its set.
        unapplied: Money deposited that no posted payment accounts for; a payment in quarantine is matched,
            but not posted.
    """

    groups: pl.DataFrame
    matches: pl.DataFrame
    unapplied: Decimal


def reassociate(books: Books) -> Reassociation:
    """Match every deposit with the payments it holds, whole sets at a time.

    By trace number first (one payment in two deposits, two payments in one deposit: what counts is that
    the sums agree, and what the bank took back is off its sum). A deposit without a trace number is tried
    by payer, date and amount, and taken only where there is one answer.
    """
    paid = books.remittances.filter(
        pl.col("method").is_in(DEPOSITED_METHODS), pl.col("amount") > 0, pl.col("state") != "repeat"
    ).select(
        id="remittance_id",
        trace=trace_key("trace_number"),
        company=company_key("originator_id"),
        amount="amount",
        posted=pl.when(pl.col("state") == "posted").then("amount").otherwise(_ZERO),
        on="payment_date",
    )
    banked = books.deposits.select(
        id="deposit_id",
        trace=trace_key("trace_number"),
        company=company_key("company_id"),
        amount="amount",
        on="deposited_on",
    )
    # Money that leaves is no deposit; it counts where it takes back what is known to have arrived.
    known = pl.concat([paid["trace"], banked.filter(pl.col("amount") > 0)["trace"]]).drop_nulls()
    banked = banked.filter((pl.col("amount") > 0) | pl.col("trace").is_in(known.implode()))
    paid, banked = _by_trace(paid, banked), _by_trace(banked, paid)
    found = _by_payer_and_day(paid, banked)
    of_payment = found.select("set_found", id="remittance_ids").explode("id")
    of_deposit = found.select("set_found", id="deposit_id")
    left = _side(
        paid.join(of_payment, on="id", how="left"), "E", "remittance_ids", paid="amount", posted="posted"
    )
    right = _side(banked.join(of_deposit, on="id", how="left"), "D", "deposit_ids", deposited="amount")
    groups = left.join(right, on="set", how="full", coalesce=True).with_columns(
        remittances=pl.col("remittance_ids").list.len().fill_null(0),
        deposits=pl.col("deposit_ids").list.len().fill_null(0),
        difference=(pl.col("deposited").fill_null(_ZERO) - pl.col("paid").fill_null(_ZERO)).cast(SUM),
        trace_number=pl.coalesce("trace", "trace_right"),
        company_id=pl.coalesce("company", "company_right"),
        paid_on="on",
        deposited_on="on_right",
    )
    unapplied = groups.select((pl.col("deposited") - pl.col("posted").fill_null(_ZERO)).clip(0).sum()).item()
    groups = groups.with_columns(status=_status(), how=_how()).select(GROUPS)
    groups = groups.sort(
        "status", pl.max_horizontal("paid", "deposited"), "trace_number", descending=[False, True, False]
    )
    return Reassociation(groups, _matches(groups), Decimal(unapplied))


def trace_key(column: str) -> pl.Expr:
    """Write a trace number the way both sides agree on: banks pad it with zeros and blanks."""
    plain = pl.col(column).str.strip_chars().str.to_uppercase().str.strip_chars_start("0")
    return pl.when(plain != "").then(plain)


def company_key(column: str) -> pl.Expr:
    """Write a company id as both sides do: some banks add a hyphen or drop the digit that tells its kind."""
    plain = pl.col(column).str.replace_all(r"[^0-9A-Za-z]", "").str.to_uppercase()
    return (
        pl.when(plain.str.len_chars() == _COMPANY_LENGTH)
        .then(plain.str.slice(1))
        .when(plain != "")
        .then(plain)
    )


def _by_trace(side: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Name the set of every row whose trace number, and payer where both tell, is on the other side too."""
    companies = pl.col("company").drop_nulls()
    others = other.filter(pl.col("trace").is_not_null()).group_by("trace").agg(companies=companies)
    is_same = (
        pl.col("company").is_null()
        | (pl.col("companies").list.len() == 0)
        | pl.col("companies").list.contains(pl.col("company"))
    )
    # Two payers may use one number: then the company is part of what names the set, if every row tells it.
    both = pl.concat([side.select("trace", "company"), other.select("trace", "company")])
    is_shared = (companies.n_unique() > 1) & pl.col("company").is_not_null().all()
    shared = both.group_by("trace").agg(is_shared=is_shared)
    company = pl.when("is_shared").then("company").otherwise(pl.lit(""))
    return (
        side.join(others, on="trace", how="left")
        .join(shared, on="trace", how="left")
        .with_columns(
            set=pl.when(pl.col("companies").is_not_null() & is_same).then(
                pl.format("{}|{}", "trace", company)
            )
        )
    )


def _by_payer_and_day(paid: pl.DataFrame, banked: pl.DataFrame) -> pl.DataFrame:
    """Find for deposits without a trace number the payment, or all of a payer's payments of a day.

    Returns:
        deposit_id, remittance_ids, set_found: only where it is the one answer from both sides.
    """
    waiting = paid.filter(pl.col("set").is_null(), pl.col("on").is_not_null())
    single = waiting.select("company", "on", "amount", remittance_ids=pl.concat_list("id"))
    of_day = (
        waiting.group_by("company", "on")
        .agg(pl.col("amount").sum().cast(SUM), remittance_ids=pl.col("id").sort())
        .filter(pl.col("remittance_ids").list.len() > 1)
    )
    untraced = banked.filter(pl.col("trace").is_null(), pl.col("set").is_null())
    days = (pl.col("on_right") - pl.col("on")).dt.total_days().abs()
    is_same = pl.col("company") == pl.col("company_right")
    pairs = (
        untraced.select("company", "on", "amount", deposit_id="id")
        .join(pl.concat([single, of_day]), on="amount")
        .filter(is_same.fill_null(value=True), days <= DAYS_APART)
    )
    times = pairs.explode("remittance_ids").group_by("remittance_ids").agg(times=pl.len())
    often = times.filter(pl.col("times") > 1)["remittance_ids"]
    return pairs.filter(
        pl.col("deposit_id").is_unique(),
        ~pl.col("remittance_ids").list.eval(pl.element().is_in(often.implode())).list.any(),
    ).select("deposit_id", "remittance_ids", set_found=pl.format("day|{}", "deposit_id"))


def _side(rows: pl.DataFrame, letter: str, ids: str, **totals: str) -> pl.DataFrame:
    """Add one side up by set; a row without one is a set of its own."""
    named = rows.with_columns(set=pl.coalesce("set", "set_found", pl.format(f"{letter}{{}}", "id")))
    return named.group_by("set").agg(
        pl.col("id").sort().alias(ids),
        pl.col("trace", "company").drop_nulls().first(),
        pl.col("on").min(),
        **{total: pl.col(column).sum().cast(SUM) for total, column in totals.items()},
    )


def _status() -> pl.Expr:
    return (
        pl.when(pl.col("deposits") == 0)
        .then(pl.lit("era_without_deposit"))
        .when(pl.col("remittances") == 0)
        .then(pl.lit("deposit_without_era"))
        .when(pl.col("difference") == 0)
        .then(pl.lit("matched"))
        .otherwise(pl.lit("amount_differs"))
    )


def _how() -> pl.Expr:
    one_paid, one_banked = pl.col("remittances") == 1, pl.col("deposits") == 1
    return (
        pl.when((pl.col("remittances") == 0) | (pl.col("deposits") == 0))
        .then(None)
        .when(pl.col("set").str.starts_with("day|"))
        .then(pl.lit("payer_and_day"))
        .when(one_paid & one_banked)
        .then(pl.lit("trace"))
        .when(one_banked)
        .then(pl.lit("several_payments"))
        .when(one_paid)
        .then(pl.lit("split_payment"))
        .otherwise(pl.lit("several_of_both"))
    )


def _matches(groups: pl.DataFrame) -> pl.DataFrame:
    together = groups.filter(pl.col("status").is_in(["matched", "amount_differs"]))
    pairs = together.select("how", deposit_id="deposit_ids", remittance_id="remittance_ids")
    return pairs.explode("deposit_id").explode("remittance_id").select("deposit_id", "remittance_id", "how")
