"""Metrics: the figures finance judges a billing office by, each with its formula.

Made from the books and their reconciliation; `rpmclaims reconcile` shows them. A metric whose denominator
is zero has no value, and so has one whose data the ledger does not hold. What a line or a claim comes to
belongs to `billing.reconciliation`.

Source: HFMA's MAP keys and the figures billing offices report beside them.
"""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import polars as pl

from billing.books import Books
from billing.deposits import Reassociation
from billing.reconciliation import Reconciliation
from billing.reference.tables import PACKAGED, read_table

_COLUMNS: Final[dict[str, Any]] = {
    "metric": pl.String,
    "value": pl.Float64,
    "unit": pl.String,
    "numerator": pl.Float64,
    "denominator": pl.Float64,
    "target": pl.String,
    "formula": pl.String,
}
DAYS_OF_CHARGES: Final = 90  # average daily charges are those of the last ninety days
OLD_DAYS: Final = 90
# Who moves claims without a person: the flows themselves.
PRODUCT_ACTORS: Final = ("month_end", "submission", "collection", "submit", "collect", "file")


@dataclass(frozen=True)
class Metric:
    """One metric: what it is called, how it is worked out, and what is commonly aimed at."""

    name: str
    unit: str  # share, days, dollars, count
    formula: str
    target: str


@cache
def definitions() -> tuple[Metric, ...]:
    """List the metrics in the order of metrics.csv."""
    rows = read_table(PACKAGED / "metrics.csv").to_dicts()
    return tuple(Metric(row["metric"], row["unit"], row["formula"], row["target"] or "") for row in rows)


def metrics(books: Books, reconciliation: Reconciliation, reassociation: Reassociation) -> pl.DataFrame:
    """Work every metric out.

    Returns:
        One row per metric, in the order of metrics.csv: metric, value (null: cannot be known), unit,
        numerator, denominator, target, formula.
    """
    parts = {
        **_of_claims(books, reconciliation),
        **_of_money(books, reconciliation),
        **_of_remittances(books, reassociation),
        **_of_runs(books),
    }
    rows = [
        {
            "metric": metric.name,
            "value": _ratio(*parts[metric.name]),
            "unit": metric.unit,
            "numerator": _number(parts[metric.name][0]),
            "denominator": _number(parts[metric.name][1]),
            "target": metric.target,
            "formula": metric.formula,
        }
        for metric in definitions()
    ]
    return pl.DataFrame(rows, schema=_COLUMNS, orient="row")


def _of_claims(books: Books, reconciliation: Reconciliation) -> dict[str, tuple[Any, Any]]:
    """Count claims; a claim counts as sent once it left, whatever became of it."""
    lines = reconciliation.lines
    month = reconciliation.month
    of_month = pl.lit(value=True) if month is None else pl.col("service_month") == month
    moved = pl.col("to_state")
    facts = books.events.group_by("claim_id").agg(
        was_sent=(moved != "built").any(),
        was_rejected=(moved == "rejected").any(),
        was_accepted=moved.is_in(["accepted", "adjudicated"]).any(),
        was_touched=(~pl.col("actor").str.split(":").list.first().is_in(PRODUCT_ACTORS)).any(),
    )
    claims = (
        books.claims.filter(of_month)
        .join(facts, on="claim_id")
        .filter("was_sent")
        .with_columns(is_first=(pl.col("version") == 1) & ~pl.col("was_rejected"))
    )
    answers = lines.filter(pl.col("answer") != "waiting").group_by("claim_id").agg(
        is_settled=pl.col("answer").is_in(["paid", "later_payer", "claim_level"]).all()
        & (pl.col("taken_back") == 0).all(),
    )  # fmt: skip
    adjudicated = claims.join(answers, on="claim_id")
    sent = claims.height
    clean = claims.filter("is_first")
    reached = clean.filter("was_accepted", ~pl.col("was_touched"))
    to_bill = (pl.col("sent_at").dt.date() - pl.col("date_of_service")).dt.total_days()
    units = books.lines.join(claims, on="claim_id", how="semi")["units"].sum()
    return {
        "clean_claim_rate": (clean.height, sent),
        "touchless_claim_rate": (reached.height, sent),
        "front_end_acceptance": (claims.filter("was_accepted").height, sent),
        "first_pass_resolution": (
            adjudicated.filter("is_first", "is_settled").height,
            adjudicated.height,
        ),
        "days_to_bill": (claims.select(to_bill.median()).item(), 1),
        "units_per_claim": (units, sent),
    }


def _of_money(books: Books, reconciliation: Reconciliation) -> dict[str, tuple[Any, Any]]:
    """Add dollars up, of the lines of the report."""
    lines = reconciliation.lines
    answered = lines.filter(
        ~pl.col("answer").is_in(["waiting", "replaced"]), pl.col("line_number").is_not_null()
    )
    denied = answered.filter(pl.col("answer") == "denied")
    owed = lines.filter("is_billed")
    age = (pl.lit(books.as_of) - pl.col("date_of_service")).dt.total_days()
    # As old as the claim, which is how the aging counts it.
    claim_age = (pl.lit(books.as_of) - pl.col("claim_date_of_service")).dt.total_days()
    recent = owed.filter(age < DAYS_OF_CHARGES)["billed"].sum()
    adjudicated = lines.filter(pl.col("answer") != "waiting", "is_live")
    paid = lines.filter(pl.col("answer") == "paid", pl.col("paid") > 0).unique("claim_id")
    lag = (pl.col("last_posted_on") - pl.col("sent_on")).dt.total_days()
    return {
        "denial_rate_lines": (denied.height, answered.height),
        "denial_rate_dollars": (denied["billed"].sum(), answered["billed"].sum()),
        "days_in_ar": (owed["open"].sum(), float(recent) / DAYS_OF_CHARGES),
        "ar_over_90_days": (owed.filter(claim_age > OLD_DAYS)["open"].sum(), owed["open"].sum()),
        "net_collection_rate": (
            adjudicated["paid"].sum(),
            adjudicated.select((pl.col("billed") - pl.col("contractual")).sum()).item(),
        ),
        "remit_lag": (paid.select(lag.median()).item(), 1),
        "variance": (lines["variance"].sum(), 1),
    }


def _of_remittances(books: Books, reassociation: Reassociation) -> dict[str, tuple[Any, Any]]:
    """Count what nobody has matched; it belongs to no month, so it is the same in every report."""
    unmatched = books.remittance_claims.filter(pl.col("claim_id").is_null()).join(
        books.remittances, on="remittance_id"
    )
    age = (pl.lit(books.as_of) - pl.col("received_at").dt.date()).dt.total_days()
    oldest = unmatched.select(age.max()).item()
    return {
        "unmatched_remits": (unmatched.height, 1),
        "unmatched_remits_dollars": (unmatched["paid"].sum(), 1),
        "unmatched_remits_oldest": (oldest, 1),
        "unapplied_cash": (reassociation.unapplied, 1),
        "cost_to_collect": (None, 1),
    }


def _of_runs(books: Books) -> dict[str, tuple[Any, Any]]:
    """Take the funnel of the last run of each month and source."""
    latest = books.runs.sort("finished_at").group_by("month", "source").last()
    funnels = [json.loads(summary).get("funnel") or {} for summary in latest["summary"]]

    def total(name: str) -> Any:
        return sum(funnel.get(name) or 0 for funnel in funnels) if funnels else None

    silent = sum(
        hold["patients"]
        for funnel in funnels
        for hold in funnel.get("holds", ())
        if hold["reason"] == "NO_LIVE_INTERACTION"
    )
    enrolled = total("patients_enrolled")
    return {
        "enrolled_patients": (enrolled, 1),
        "eligible_share": (total("patients_eligible"), enrolled),
        "billed_share": (total("patients_billed"), enrolled),
        "minutes_billed_share": (total("minutes_billed"), total("minutes_logged")),
        "minutes_stranded": (total("minutes_stranded"), 1),
        "no_interaction_patients": (silent if funnels else None, 1),
    }


def _number(part: Any) -> float | None:
    return None if part is None else float(part)


def _ratio(numerator: Any, denominator: Any) -> float | None:
    """Divide, or know that there is nothing to divide by."""
    above, below = _number(numerator), _number(denominator)
    return None if above is None or not below else round(above / below, 4)
