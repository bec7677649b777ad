"""Settlement: what the payers' money and answers come to on every line.

`billing.reconciliation` makes its report of them. A claim is settled once: what its first payer decided
stands, and a later payer (secondary, tertiary) takes over what the patient was left with, whichever file
came first. What was billed, and what is open, does not belong here.

Source: 835 OA-23, the effect of the prior payer: it balances the later payer's answer, and settles nothing
that the prior payer has settled.
"""

from typing import Final

import polars as pl

from billing.books import Books
from billing.posting_rules import with_accounts
from schemas.columns import SUM

# A provider-level adjustment stands in a payment outside its claims; it settles none, even if it names one.
IS_PROVIDER_LEVEL: Final = pl.col("remittance_claim_id").is_null() & pl.col("remittance_id").is_not_null()
SETTLING_ACCOUNTS: Final = (
    *("contractual", "sequestration", "patient_responsibility", "payment", "denial", "prior_payer"),
    *("other_adjustment", "write_off"),
)
DEDUCTIBLE_REASONS: Final = ("1", "66")  # deductible, blood deductible
# A penalty is subtracted, a bonus is a negative amount; both change what is paid, not what is allowed.
INCENTIVE_REASONS: Final = ("237", "144")
# A later payer's answer (processed as secondary or tertiary) says nothing about the first one's prices.
LATER_PAYER_STATUSES: Final = ("2", "3", "20", "21")
# Not this payer's claim, and a predetermination: neither decides what we are owed.
UNDECIDED_STATUSES: Final = ("23", "25")
LINE: Final = ["claim_id", "line_number"]

_ZERO: Final = pl.lit("0.00").cast(SUM)


def settled_lines(books: Books) -> pl.DataFrame:
    """Add up the postings of every claim line; line_number is null for those of the claim as a whole.

    Returns:
        A column for each of SETTLING_ACCOUNTS, of all payers together; of the first payer alone deductible,
        coinsurance, incentive, codes and has_first (whether it answered this line); later_paid, what later
        payers added to `payment`; taken_back and last_posted_on. Where only a later payer answered the
        claim, its answer is all there is and stands as it is.
    """
    account, amount = pl.col("account"), pl.col("amount")
    reason = pl.col("reason_code")
    stands = ~(pl.col("is_later") & pl.col("is_decided"))
    is_share = stands & (account == "patient_responsibility")
    is_deductible = is_share & reason.is_in(DEDUCTIBLE_REASONS).fill_null(value=False)
    # What a later payer leaves to the patient or refuses, the patient still owes as the first payer said.
    is_later_adjustment = ~stands & ~account.is_in(["payment", "patient_responsibility", "denial"])
    codes = pl.concat_str("group_code", pl.lit("-"), "reason_code")
    added = _claim_postings(books).group_by(LINE).agg(
        **{name: amount.filter(stands, account == name).sum().cast(SUM) for name in SETTLING_ACCOUNTS},
        deductible=amount.filter(is_deductible).sum().cast(SUM),
        coinsurance=amount.filter(is_share, ~is_deductible).sum().cast(SUM),
        incentive=amount.filter(stands, reason.is_in(INCENTIVE_REASONS)).sum().cast(SUM),
        taken_back=(-amount.filter("is_reversal", account == "payment").sum()).cast(SUM),
        codes=codes.filter(stands).drop_nulls().unique().sort(),
        last_posted_on=pl.coalesce(pl.col("posted_on").filter(stands).max(), pl.col("posted_on").max()),
        has_first=(~pl.col("is_later")).any(),
        later_paid=amount.filter(~stands, account == "payment").sum().cast(SUM),
        later_adjusted=amount.filter(is_later_adjustment).sum().cast(SUM),
    )  # fmt: skip
    return _with_later_payers(added)


def _with_later_payers(added: pl.DataFrame) -> pl.DataFrame:
    """Take what later payers paid and wrote off from the patient's share, what they paid then from denials.

    A later payer's write-offs repeat the first one's; only what goes beyond them is new.
    """
    # Where the first payer did not answer the same line, its answer to the claim is what there is.
    is_apart = pl.col("line_number").is_null() | ~pl.col("has_first")

    def first_said(amount: pl.Expr) -> pl.Expr:
        said = pl.when(is_apart).then(amount.sum().over("claim_id")).otherwise(amount)
        return pl.max_horizontal(said, _ZERO)

    adjustments = [name for name in SETTLING_ACCOUNTS if name != "patient_responsibility"]
    paid, adjusted = pl.col("later_paid"), pl.col("later_adjusted")
    return (
        added.with_columns(
            owed=first_said(pl.col("patient_responsibility")),
            refused=first_said(pl.col("denial")),
            accounted=first_said(sum(map(pl.col, adjustments[1:]), pl.col(adjustments[0]))),
        )
        .with_columns(
            written_off=pl.max_horizontal(
                pl.min_horizontal(adjusted - pl.col("accounted"), pl.col("owed") - paid), _ZERO
            )
        )
        .with_columns(
            (pl.col("payment") + paid).cast(SUM),
            (pl.col("contractual") + pl.col("written_off")).cast(SUM),
            patient_responsibility=(
                pl.col("patient_responsibility") - pl.min_horizontal(paid + pl.col("written_off"), "owed")
            ).cast(SUM),
            denial=(
                pl.col("denial")
                - pl.min_horizontal(pl.max_horizontal(paid - pl.col("owed"), _ZERO), "refused")
            ).cast(SUM),
        )
        .drop("owed", "refused", "accounted", "written_off", "later_adjusted")
    )


def _claim_postings(books: Books) -> pl.DataFrame:
    """Return the postings that settle claims; is_decided tells those of claims a first payer answered."""
    statements = _statements(books).select("remittance_claim_id", "is_later", "is_reversal", "is_undecided")
    is_first = ~pl.col("is_later") & pl.col("remittance_claim_id").is_not_null()
    return (
        books.postings.filter(
            pl.col("claim_id").is_not_null(), pl.col("account").is_in(SETTLING_ACCOUNTS), ~IS_PROVIDER_LEVEL
        )
        .join(statements, on="remittance_claim_id", how="left")
        .with_columns(pl.col("is_later", "is_reversal", "is_undecided").fill_null(value=False))
        .filter(~pl.col("is_undecided"))
        .with_columns(is_decided=is_first.any().over("claim_id"))
    )


def _statements(books: Books) -> pl.DataFrame:
    """Say of every answer to a claim of ours whether a later payer gave it, and whether it decides anything.

    A reversal does not say whose answer it takes back: it is a later payer's where all its sender's other
    answers to the claim are.
    """
    paid_on = pl.coalesce("payment_date", pl.col("received_at").dt.date())
    payments = books.remittances.select(
        "remittance_id", paid_on=paid_on, sender=pl.coalesce("payer_id", "payer_name")
    )
    status = pl.col("status_code")
    said_later = status.is_in(LATER_PAYER_STATUSES).fill_null(value=False)
    whose = ["claim_id", "sender"]
    is_of_later = said_later.any().over(whose) & ~(~said_later & ~pl.col("is_reversal")).any().over(whose)
    return (
        books.remittance_claims.filter(pl.col("claim_id").is_not_null())
        .join(payments, on="remittance_id", how="left")
        .with_columns(
            is_later=said_later | (pl.col("is_reversal") & is_of_later),
            is_undecided=status.is_in(UNDECIDED_STATUSES).fill_null(value=False),
        )
    )


def latest_answers(books: Books) -> pl.DataFrame:
    """Return the first payer's latest answer to every claim: claim_id, remittance_claim_id, paid, paid_on.

    The payments' dates say which is the latest: files arrive in any order. A claim whose latest answer is a
    reversal has none: that answer was taken back.
    """
    return (
        _statements(books)
        .filter(~pl.col("is_later"), ~pl.col("is_undecided"))
        .sort("paid_on", "remittance_claim_id")
        .group_by("claim_id")
        .last()
        .filter(~pl.col("is_reversal"))
        .select("claim_id", "remittance_claim_id", "paid", "paid_on")
    )


def current_answers(books: Books) -> pl.DataFrame:
    """Return the allowed amount and the units of the first payer's latest answer to every line.

    What denies the claim as a whole has no line_number.
    """
    current = latest_answers(books)
    allowed = pl.col("allowed")
    units = pl.col("units").str.to_decimal(scale=3).fill_null(1).sum()
    billed = books.lines.select(*LINE, billed_units=pl.col("units"))
    # The parts of a split line may each repeat the units of the whole.
    is_repeated = (pl.col("parts") > 1) & (pl.col("paid_units") > pl.col("billed_units"))
    of_lines = (
        books.remittance_lines.join(
            current.select("claim_id", "remittance_claim_id"), on="remittance_claim_id"
        )
        .group_by("claim_id", line_number="claim_line_number")
        .agg(
            stated_allowed=pl.when(allowed.is_not_null().all()).then(allowed.sum()).cast(SUM),
            paid_units=units,
            parts=pl.len(),
            is_denied=pl.col("is_denied").all(),
        )
        .filter(pl.col("line_number").is_not_null())
        .join(billed, on=LINE, how="left")
        .with_columns(
            paid_units=pl.when(is_repeated)
            .then(pl.col("billed_units").cast(pl.Decimal(38, 3)))
            .otherwise("paid_units")
        )
        .drop("parts", "billed_units")
    )
    return pl.concat([of_lines, _denied_as_a_whole(books, current)], how="diagonal_relaxed")


def _denied_as_a_whole(books: Books, current: pl.DataFrame) -> pl.DataFrame:
    """Return the claims that an adjustment of the claim as a whole leaves unpaid."""
    claims = current.select("claim_id", "paid", claim="remittance_claim_id", posted_on="paid_on")
    adjustments = books.adjustments.filter(pl.col("remittance_line_id").is_null()).select(
        *("group_code", "reason_code", "amount"), claim="remittance_claim_id", line="remittance_line_id"
    )
    adjusted = with_accounts(
        adjustments.join(claims.select("claim"), on="claim"),
        pl.DataFrame(schema={"line": pl.Int64, "paid": SUM}),
        claims,
    )
    denied = claims.join(adjusted.filter("is_denial"), on="claim", how="semi")
    return denied.select("claim_id", line_number=pl.lit(None, pl.Int64), is_denied=pl.lit(value=True))
