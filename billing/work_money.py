"""Work with money: denials, underpayments, takebacks, payments that do not balance, deposits that do not fit.

`billing.worklist` gathers the items, `billing.actions` says what to do about them. Each function takes the
reports already made and gives rows of `ITEM`; an item's key says which thing it is about, so that the same
thing is found again tomorrow.
"""

from typing import Any, Final

import polars as pl

from billing.books import Books, standing
from billing.deposits import DAYS_APART, Reassociation
from billing.reconciliation import Reconciliation
from billing.settlement import IS_PROVIDER_LEVEL, latest_answers
from schemas.columns import SUM

ITEM: Final[dict[str, Any]] = {
    "kind": pl.String,
    "code": pl.String,
    "key": pl.String,
    "incident": pl.String,
    "claim_id": pl.Int64,
    "reference": pl.String,
    "money": SUM,
    "since": pl.Date,
    "reason": pl.String,
    "adjustments": pl.List(pl.String),
    "remarks": pl.List(pl.String),
}
# Everyday codes that say nothing about why a line was denied.
EVERYDAY: Final = ("CO-45", "CO-253", "PR-1", "PR-2", "PR-3", "OA-23")
NO_CODE: Final = pl.lit(None, pl.String)
# An adjustment outside any claim is worth a look from here on.
LEAST_PROVIDER_ADJUSTMENT: Final = pl.lit("50.00").cast(SUM)


def items_of(frame: pl.DataFrame, kind: str, **columns: pl.Expr | str) -> pl.DataFrame:
    """Make items of a frame's rows: the given columns, and null for the others of ITEM."""
    given = {"kind": pl.lit(kind), **{name: _expr(column) for name, column in columns.items()}}
    return frame.select(given.get(name, pl.lit(None)).cast(dtype).alias(name) for name, dtype in ITEM.items())


def _expr(column: pl.Expr | str) -> pl.Expr:
    return pl.col(column) if isinstance(column, str) else column


def denials(books: Books, reconciliation: Reconciliation) -> pl.DataFrame:
    """List denied lines with the set of their codes; the money is what the line was expected to bring."""
    denied = reconciliation.lines.filter(pl.col("answer") == "denied")
    codes = _codes(books, denied)
    found = denied.join(codes, on=["claim_id", "line_number"], how="left", nulls_equal=True).with_columns(
        pl.col("adjustments", "remarks").fill_null([]),
    )
    telling = pl.col("adjustments").list.set_difference(pl.lit(list(EVERYDAY))).list.sort()
    fingerprint = pl.concat_list(telling, "remarks").list.join(" ")
    return items_of(
        found.with_columns(fingerprint=fingerprint),
        "denial",
        key=pl.format("denial:{}:{}:{}", "claim_number", "line_number", pl.col("fingerprint").str.head(120)),
        incident="fingerprint",
        claim_id="claim_id",
        reference=pl.format("line {} {}", "line_number", "code"),
        money="expected",
        since="last_posted_on",
        reason=pl.format("Denied with {}.", "fingerprint"),
        adjustments="adjustments",
        remarks="remarks",
    )


def _codes(books: Books, lines: pl.DataFrame) -> pl.DataFrame:
    """Gather the codes of the latest answer to each line, those of the claim as a whole among them."""
    latest = latest_answers(books).select("claim_id", "remittance_claim_id")
    numbers = books.remittance_lines.select("remittance_line_id", line_number="claim_line_number")

    def of_lines(codes: pl.DataFrame, name: str) -> pl.DataFrame:
        placed = codes.join(latest, on="remittance_claim_id").join(
            numbers, on="remittance_line_id", how="left"
        )
        whole = placed.filter(pl.col("remittance_line_id").is_null()).select("claim_id", name)
        of_line = placed.filter(pl.col("line_number").is_not_null()).select("claim_id", "line_number", name)
        spread = lines.select("claim_id", "line_number").join(whole, on="claim_id")
        together = pl.concat([of_line, spread.select("claim_id", "line_number", name)])
        return together.group_by("claim_id", "line_number").agg(pl.col(name).unique().sort())

    adjustments = books.adjustments.with_columns(
        adjustments=pl.concat_str("group_code", pl.lit("-"), "reason_code")
    ).filter(pl.col("adjustments").is_not_null(), pl.col("amount") != 0)
    remarks = books.remarks.rename({"code": "remarks"})
    return of_lines(adjustments, "adjustments").join(
        of_lines(remarks, "remarks"), on=["claim_id", "line_number"], how="full", coalesce=True
    )


def misses(reconciliation: Reconciliation) -> pl.DataFrame:
    """List lines paid too little or too much by the rule."""
    parts = [
        items_of(
            reconciliation.lines.filter(pl.col("flag") == flag),
            kind,
            key=pl.format(f"{kind}:{{}}:{{}}", "claim_number", "line_number"),
            incident="reason",
            claim_id="claim_id",
            reference=pl.format("line {} {}", "line_number", "code"),
            money=pl.col("underpaid").abs(),
            since="last_posted_on",
            reason=pl.format("Allowed {}, expected {}: {}.", "allowed", "allowed_estimate", "explanation"),
        )
        for flag, kind in (("underpaid", "underpayment"), ("overpaid", "overpayment"))
    ]  # fmt: skip
    return pl.concat(parts)


def takebacks(reconciliation: Reconciliation) -> pl.DataFrame:
    """List claims whose payment was reversed and not decided anew."""
    taken = reconciliation.lines.filter(pl.col("answer") == "taken_back")
    claims = taken.group_by("claim_id").agg(
        pl.col("claim_number", "last_posted_on").first(), pl.col("taken_back").sum().cast(SUM)
    )
    return items_of(
        claims,
        "takeback",
        key=pl.format("takeback:{}", "claim_number"),
        incident=pl.lit("takeback"),
        claim_id="claim_id",
        money="taken_back",
        since="last_posted_on",
        reason=pl.lit("The payment was reversed and no correction has come."),
    )


def imbalances(books: Books) -> pl.DataFrame:
    """List payments that were not posted because they do not add up."""
    held = books.remittances.filter(pl.col("state") == "quarantined").join(
        books.files.select("file_id", "name"), on="file_id", how="left"
    )
    off = pl.col("difference")
    return items_of(
        held,
        "imbalance",
        key=pl.format("imbalance:{}", "remittance_id"),
        reference=pl.format("trace {}", pl.col("trace_number").fill_null("?")),
        money="amount",
        since=pl.col("received_at").dt.date(),
        reason=pl.when(off != 0)
        .then(pl.format("The payment in {} does not balance: it is off by {}.", "name", off))
        .otherwise(
            pl.format(
                "A claim or a line of the payment in {} does not balance, or its end is missing.", "name"
            )
        ),
    )


def unmatched_remittances(books: Books) -> pl.DataFrame:
    """List what payers paid or denied for claims that are none of ours, with the claim it may be."""
    unmatched = books.remittance_claims.filter(pl.col("claim_id").is_null()).join(
        books.remittances.select("remittance_id", "received_at", "trace_number"), on="remittance_id"
    )
    suggestion = pl.format(" It may be {}.", "suggested_claim_number").fill_null("")
    return items_of(
        unmatched,
        "unmatched_remittance",
        key=pl.format("unmatched_remittance:{}", "remittance_claim_id"),
        incident=pl.format("remittance {}", "remittance_id"),
        reference=pl.format("trace {}", pl.col("trace_number").fill_null("?")),
        money=pl.when(pl.col("paid") != 0).then(pl.col("paid").abs()).otherwise("charge"),
        since=pl.col("received_at").dt.date(),
        reason=pl.concat_str(
            pl.format("A claim of {} charged, {} paid, matches none of ours.", "charge", "paid"), suggestion
        ),
    )


def provider_adjustments(books: Books) -> pl.DataFrame:
    """List money withheld or added outside any claim that nobody can place.

    These are rare codes, takebacks of no claim or of one that was not reversed, and balances that were
    forwarded and not applied. A takeback that a refund of ours offsets asks for nothing.
    """
    payers = books.remittances.select("remittance_id", "payer_id")
    outside = standing(books.postings.filter(IS_PROVIDER_LEVEL)).join(payers, on="remittance_id", how="left")
    reversed_claims = books.remittance_claims.filter("is_reversal")["claim_id"].drop_nulls()
    account = pl.col("account")
    is_takeback = account == "takeback"
    is_unplaced = pl.col("claim_id").is_null() | (
        is_takeback & ~pl.col("claim_id").is_in(reversed_claims.implode())
    )
    refunded = pl.col("amount").filter(account.is_in(["takeback", "refund"])).sum()
    is_settled = pl.col("reference").is_not_null() & (refunded.over("payer_id", "reference") == 0)
    singles = outside.filter(
        account.is_in(["takeback", "other_adjustment"]),
        is_unplaced,
        pl.col("amount").abs() >= LEAST_PROVIDER_ADJUSTMENT,
        ~(is_takeback & is_settled),
    )
    # What a payment says twice over is two adjustments.
    number = pl.int_range(1, pl.len() + 1).over("remittance_id", "account", "reference", "amount")
    reference = pl.col("reference").fill_null("-").str.head(80)
    where = (
        pl.when(pl.col("claim_id").is_null())
        .then(pl.lit("outside any claim"))
        .otherwise(pl.lit("for a claim that was not reversed"))
    )
    made = items_of(
        singles,
        "provider_adjustment",
        key=pl.format(
            "provider_adjustment:{}:{}:{}:{}:{}", "remittance_id", "account", reference, "amount", number
        ),
        incident=pl.format("{} remittance {}", "account", "remittance_id"),
        claim_id="claim_id",
        reference=pl.format("remittance {}", "remittance_id"),
        money=pl.col("amount").abs(),
        since="posted_on",
        reason=pl.format("{} of {} {}.", "account", "amount", where),
    )
    return pl.concat([made, _forwarded_balances(outside)])


def _forwarded_balances(outside: pl.DataFrame) -> pl.DataFrame:
    """List balances that later payments have not brought to zero, chained by their claim or reference.

    Args:
        outside: Standing postings of the provider level, with payer_id.
    """
    chain = pl.coalesce(pl.format("claim {}", "claim_id"), pl.col("reference").str.head(80), pl.lit("-"))
    forwarded = outside.filter(account="forwarding_balance").with_columns(chain=chain)
    chains = forwarded.group_by("payer_id", "chain", maintain_order=True).agg(
        pl.col("claim_id", "reference").first(),
        pl.col("amount").sum().cast(SUM),
        since=pl.col("posted_on").max(),
    )
    return items_of(
        chains.filter(pl.col("amount") != 0),
        "provider_adjustment",
        key=pl.format("forwarding_balance:{}:{}", pl.col("payer_id").fill_null("-"), "chain"),
        incident=pl.lit("forwarding_balance"),
        claim_id="claim_id",
        reference=pl.format("forwarded balance {}", pl.col("reference").fill_null("-").str.head(80)),
        money=pl.col("amount").abs(),
        since="since",
        reason=pl.format("The balance forwarded from one payment to others is at {}, not at zero.", "amount"),
    )


def deposits(books: Books, reassociation: Reassociation) -> pl.DataFrame:
    """List payments and deposits without each other, a payment only once the money had time to come."""
    since = pl.coalesce("paid_on", "deposited_on")
    is_due = (pl.col("status") != "era_without_deposit") | (
        since + pl.duration(days=DAYS_APART) < pl.lit(books.as_of)
    )
    # Without any deposit on the books nobody feeds us bank files, and every payment would be listed.
    has_bank = pl.lit(books.deposits.height > 0)
    open_sets = reassociation.groups.filter(pl.col("status") != "matched", is_due, has_bank)
    first = pl.coalesce(
        pl.format("payment {}", pl.col("remittance_ids").list.first()),
        pl.format("deposit {}", pl.col("deposit_ids").list.first()),
    )
    made = items_of(
        open_sets,
        "deposit",
        key=pl.format("{}:{}", "status", first),
        reference=pl.format("trace {}", pl.col("trace_number").fill_null("?")),
        money=pl.col("difference").abs(),
        since=since,
        reason=pl.format(
            "Paid {}, deposited {}.",
            pl.col("paid").cast(pl.String).fill_null("nothing"),
            pl.col("deposited").cast(pl.String).fill_null("nothing"),
        ),
    )
    return made.with_columns(kind=open_sets["status"])
