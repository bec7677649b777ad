"""Variance: why a payment differs from its estimate, to the cent, and whether somebody should object.

`billing.reconciliation` hands over its lines; the worklist takes the flags, the reports the reasons. The
difference is walked from the estimate to the payment in steps (units, price, deductible, coinsurance,
sequestration, incentives, earlier payer, later payer), so that the parts always add up to it. What was
billed and paid belongs to `billing.reconciliation`.

Source: the underpayment rule of billing operations (allowed amounts first, above half a dollar and 2 %);
the fee formula as in `billing.pricing`.
"""

from typing import Final

import polars as pl

from billing.pricing import COINSURANCE_SHARE, NONPARTICIPATING_SHARE, SEQUESTRATION_SHARE, fee_book, share_of
from billing.reference.tables import RATIO, Reference, covers
from schemas.columns import SUM

# An underpayment is worth a person's time above half a dollar and above 2 % of what was expected.
LEAST_DIFFERENCE: Final = pl.lit("0.50").cast(SUM)
LEAST_SHARE: Final = "0.02"

_ZERO: Final = pl.lit("0.00").cast(SUM)
# What an earlier payer took over hides what this one allowed, unless it says so.
_IS_UNKNOWN: Final = (pl.col("prior_payer") != 0) & pl.col("stated_allowed").is_null()
_KIND: Final = (
    *("code", "mac_contract", "locality", "place_of_service", "date_of_service", "units", "paid_units"),
    *("charge", "allowed_estimate", "allowed"),
)
# The ways in which a payer's price can differ from ours, and how each is told; the explanation with the
# fewest wins, then the one whose ways come first here.
_WAYS: Final = {
    "site": (pl.col("setting") != pl.col("own_setting"), pl.format("{} side", "setting")),
    "locality": (pl.col("other_locality") != pl.col("locality"), pl.format("locality {}", "other_locality")),
    "apm": (pl.col("factor") != pl.col("own_factor"), pl.format("{} conversion factor", "factor")),
    "participation": (pl.col("share") != pl.col("own_share"), pl.format("{} of the fee", "share")),
    "fee": (~pl.col("is_in_force"), pl.format("schedule of {}", pl.col("effective_from").dt.year())),
}


BRIDGE: Final = {
    "claim_number": pl.String,
    "line_number": pl.Int64,
    "reason": pl.String,
    "amount": SUM,
    "detail": pl.String,
}


def explained(lines: pl.DataFrame, reference: Reference) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Add variance (expected less paid), its main reason and the underpayment flag, and give all its parts.

    Args:
        lines: The lines of `billing.reconciliation`, those the payer has not answered among them.
        reference: The fee schedules with which an allowed amount may be explained.

    Returns:
        The lines with variance, reason, explanation, underpaid (what is missing by the rule, negative if
        too much was paid) and flag (underpaid, overpaid or null); and the parts, one row per line and
        reason, which add up to the line's variance.
    """
    walked = _steps(lines)
    priced = _price_reasons(walked, reference)
    stepped = walked.join(priced, on=list(_KIND), how="left", nulls_equal=True, maintain_order="left")
    stepped = stepped.with_row_index("row").with_columns(**_flags())
    parts = _parts(stepped)
    main = (
        parts.sort(pl.col("amount").abs(), descending=True)
        .group_by("row", maintain_order=True)
        .agg(
            pl.col("reason").first(),
            explanation=pl.format("{} {}", pl.col("reason"), pl.col("amount")).str.join("; "),
        )
    )
    added = ("variance", "reason", "explanation", "underpaid", "flag")
    full = stepped.join(main, on="row", how="left", maintain_order="left")
    # A line that is as expected is flagged for what the payer took from the claim as a whole.
    is_told_apart = pl.col("flag").is_not_null() & pl.col("reason").is_null()
    whole = pl.when(is_told_apart).then(pl.lit("claim_level"))
    full = full.with_columns(
        reason=pl.coalesce("reason", whole),
        explanation=pl.coalesce("explanation", pl.format("{} {}", whole, "underpaid")),
    )
    bridge = parts.select(*BRIDGE).sort("claim_number", "line_number", "reason", nulls_last=True)
    return full.select(*lines.columns, *added), bridge


def _less_sequestration(share: pl.Expr) -> pl.Expr:
    """Take 2 % off a Medicare share, the 2 % rounded half up."""
    return share - share_of(share, SEQUESTRATION_SHARE)


def _steps(lines: pl.DataFrame) -> pl.DataFrame:
    """Walk from the estimate to the payment; each `step_…` is what one more fact of the answer changed."""
    ratio = pl.col("paid_units").cast(RATIO) / pl.col("units").cast(RATIO)
    for_paid_units = (pl.col("allowed_estimate").cast(RATIO) * ratio).round(2, mode="half_away_from_zero")
    walked = lines.with_columns(
        paid_units=pl.col("paid_units").fill_null(pl.col("units")),
    ).with_columns(
        allowed_at_units=pl.when(pl.col("paid_units") == pl.col("units"))
        .then("allowed_estimate")
        .otherwise(for_paid_units.cast(SUM))
    )

    def paid(allowed: pl.Expr, deductible: pl.Expr = _ZERO) -> pl.Expr:
        left = (allowed - deductible).cast(SUM)
        return _less_sequestration((left - share_of(left, COINSURANCE_SHARE)).cast(SUM))

    patient = pl.col("deductible") + pl.col("coinsurance")
    of_payer = (pl.col("allowed") - patient).cast(SUM)
    # Sequestration is Medicare's; whether a plan passes it on is a matter of its contract.
    is_medicare = pl.col("payer_kind") == "medicare_part_b"
    as_taken = of_payer - pl.col("sequestration")
    due = pl.when(is_medicare).then(_less_sequestration(of_payer)).otherwise(as_taken)
    # An allowed amount the payer states holds an earlier payer's part; one worked out from shares does not.
    from_prior = pl.when(_IS_UNKNOWN).then(_ZERO).otherwise("prior_payer")
    stages = (
        pl.col("expected"),
        paid(pl.col("allowed_at_units")),
        paid(pl.col("allowed")),
        paid(pl.col("allowed"), pl.col("deductible")),
        _less_sequestration(of_payer),
        as_taken,
    )
    names = ("units", "price", "deductible", "coinsurance", "sequestration")
    changes = {
        f"step_{name}": (before - after).cast(SUM)
        for name, before, after in zip(names, stages, stages[1:], strict=False)
    }
    return walked.with_columns(
        variance=pl.when(pl.col("answer") != "waiting")
        .then((pl.col("expected") - pl.col("paid")).cast(SUM))
        .otherwise(None),
        **changes,
        step_incentive=pl.col("incentive"),
        step_prior_payer=from_prior,
        step_later_payer=-pl.col("later_paid"),
        step_rest=(pl.col("allowed") - pl.col("shared_out") - from_prior).cast(SUM),
        paid_by_remit=(due - pl.col("incentive") - from_prior).cast(SUM),
    )


def _flags() -> dict[str, pl.Expr]:
    """Find what is missing: by the allowed amount first, then by what should have been paid of it.

    Judged is the first payer alone. Where it answered a claim partly as a whole, its lines are judged
    together with that, and the flag stands at the first of them.
    """
    is_paid = pl.col("answer") == "paid"
    is_whole = pl.col("line_number").is_null()
    is_together = (is_whole & pl.col("has_first")).any().over("claim_id")
    is_first = pl.col("line_number") == pl.col("line_number").filter(is_paid).min().over("claim_id")

    def judged(amount: pl.Expr) -> pl.Expr:
        whole = amount.filter(is_paid | is_whole).sum().over("claim_id")
        return pl.when(is_together).then(pl.when(is_first).then(whole)).otherwise(amount).cast(SUM)

    def beyond(gap: pl.Expr, expected: pl.Expr) -> pl.Expr:
        exact = expected.cast(RATIO) * pl.lit(LEAST_SHARE).cast(RATIO)
        return (gap.abs() > LEAST_DIFFERENCE) & (gap.abs().cast(RATIO) > exact)

    is_judged = is_paid & pl.col("is_live") & ~_IS_UNKNOWN
    estimate, due = judged(pl.col("allowed_estimate")), judged(pl.col("paid_by_remit"))
    by_allowed = (estimate - judged(pl.col("allowed"))).cast(SUM)
    by_paid = (due - judged(pl.col("paid") - pl.col("later_paid"))).cast(SUM)
    underpaid = (
        pl.when(is_judged & beyond(by_allowed, estimate))
        .then(by_allowed)
        .when(is_judged & beyond(by_paid, due))
        .then(by_paid)
        .otherwise(_ZERO)
    )
    flag = pl.when(underpaid > 0).then(pl.lit("underpaid")).when(underpaid < 0).then(pl.lit("overpaid"))
    return {"underpaid": underpaid, "flag": flag}


def _parts(stepped: pl.DataFrame) -> pl.DataFrame:
    """Lay the parts of every variance under one another; parts of nothing are left out."""
    whole = stepped.filter(~pl.col("answer").is_in(["paid", "waiting"])).select(
        "row",
        "claim_number",
        "line_number",
        reason=pl.col("answer").replace({"denied": "denial", "taken_back": "takeback"}),
        amount="variance",
        detail=pl.col("codes").list.join(" "),
    )
    walked = stepped.filter(pl.col("answer") == "paid")
    codes = pl.col("codes").list.join(" ")
    is_adjusted = (pl.col("denial") != 0) | (pl.col("other_adjustment") != 0)
    unexplained = pl.when(is_adjusted).then(pl.lit("adjustment")).otherwise(pl.lit("unknown"))
    # A plan has a schedule of its own; Medicare's is public, so a price nothing explains is a riddle.
    is_own_fee = pl.col("payer_kind") != "medicare_part_b"
    unpriced = (
        pl.when(_IS_UNKNOWN)
        .then(pl.lit("prior_payer"))
        .when(is_own_fee & ~is_adjusted)
        .then(pl.lit("fee"))
        .otherwise(unexplained)
    )
    reasons = {
        "units": (pl.lit("units"), pl.format("{} of {} units paid", "paid_units_text", "units")),
        "price": (pl.col("price_reason").fill_null(unpriced), pl.col("price_detail")),
        "deductible": (pl.lit("deductible"), pl.lit(None, pl.String)),
        "coinsurance": (pl.lit("coinsurance"), pl.lit(None, pl.String)),
        "sequestration": (pl.lit("sequestration"), pl.lit(None, pl.String)),
        "incentive": (pl.lit("MIPS"), codes),
        "prior_payer": (pl.lit("prior_payer"), codes),
        "later_payer": (pl.lit("later_payer"), pl.lit(None, pl.String)),
        "rest": (unexplained, codes),
    }
    walked = walked.with_columns(
        paid_units_text=pl.col("paid_units").cast(pl.String).str.replace(r"\.?0+$", "")
    )
    steps = [
        walked.select(
            "row", "claim_number", "line_number", reason=reason, amount=pl.col(f"step_{name}"), detail=detail
        )
        for name, (reason, detail) in reasons.items()
    ]
    return pl.concat([whole, *steps]).filter(pl.col("amount") != 0)


def _price_reasons(lines: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """Say for every distinct kind of line what else the allowed amount would be the right price for.

    Tried are the contractor's other localities, the other side of the schedule, the other conversion
    factor, 95 % for non-participation and its absence, other years' schedules, and their combinations.
    """
    priced = _prices(lines.filter(pl.col("answer") == "paid").select(_KIND).unique(), reference)
    right = priced.join(_own_terms(priced), on=list(_KIND), nulls_equal=True).filter(
        pl.col("price") == pl.col("allowed")
    )
    ways = list(enumerate(_WAYS.items()))
    found = (
        right.with_columns(
            differences=pl.sum_horizontal(differs.cast(pl.Int64) for _, (_, (differs, _)) in ways),
            weight=pl.sum_horizontal(differs.cast(pl.Int64) * 2**rank for rank, (_, (differs, _)) in ways),
            # The first way that differs gives the reason its name, all of them the detail.
            price_reason=pl.coalesce(pl.when(differs).then(pl.lit(name)) for _, (name, (differs, _)) in ways),
            price_detail=pl.concat_str(
                [pl.when(differs).then(words) for _, (_, (differs, words)) in ways],
                separator=", ",
                ignore_nulls=True,
            ),
        )
        .sort(
            *("differences", "weight", "other_locality", "effective_from"),
            descending=[False, False, False, True],
        )
        .group_by(_KIND, maintain_order=True)
        .first()
    )
    return found.select(*_KIND, "price_reason", "price_detail")


def _prices(kinds: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """Price every kind of line in all the ways its contractor's schedules allow."""
    settings = reference.places_of_service.select(
        "place_of_service", own_setting="setting", since="effective_from", until="effective_to"
    )
    on = pl.col("date_of_service")
    is_then = (pl.col("since") <= on) & (on <= pl.col("until")).fill_null(value=True)
    book = fee_book(reference).rename({"locality": "other_locality"})
    reduced = book.with_columns(fee=share_of(pl.col("fee"), NONPARTICIPATING_SHARE), share=pl.lit("95 %"))
    price = (pl.col("fee").cast(RATIO) * pl.col("paid_units").cast(RATIO)).cast(SUM, strict=False)
    return (
        kinds.join(settings, on="place_of_service", how="left")
        .filter(is_then.fill_null(value=True))
        .join(pl.concat([book.with_columns(share=pl.lit("full")), reduced]), on=["code", "mac_contract"])
        .with_columns(price=pl.min_horizontal(price, "charge").cast(SUM), is_in_force=covers(on))
    )


def _own_terms(priced: pl.DataFrame) -> pl.DataFrame:
    """Find on which factor and share our own estimate of a kind of line rests."""
    own = (
        priced.filter(
            "is_in_force",
            pl.col("setting") == pl.col("own_setting"),
            pl.col("other_locality") == pl.col("locality"),
        )
        .with_columns(
            full_price=pl.min_horizontal(
                (pl.col("fee").cast(RATIO) * pl.col("units").cast(RATIO)).cast(SUM), pl.col("charge")
            )
        )
        # The estimate itself first; where a low charge hides it, the usual terms.
        .sort(
            pl.col("full_price") != pl.col("allowed_estimate"),
            pl.col("factor") == "apm",
            pl.col("share") != "full",
        )
        .group_by(_KIND, maintain_order=True)
        .first()
    )
    return own.select(*_KIND, own_factor="factor", own_share="share")
