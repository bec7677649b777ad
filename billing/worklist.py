"""The worklist: everything that waits for a person, with its money, deadline, owner and next step.

Made from the books and the reports on them (`billing.work_money`, `billing.work_answers`,
`billing.work_silence`); `tasks.worklist` keeps the items and closes what is gone, the console shows them.
What to do about an item is a row of a table (`billing.actions`). Equal faults of one week and contractor are
one incident.
"""

import json
from typing import Any, Final

import polars as pl

from billing import work_answers, work_money, work_silence
from billing.actions import decide
from billing.books import Books
from billing.deposits import Reassociation
from billing.reconciliation import Reconciliation
from billing.reference.tables import Reference
from billing.work_money import items_of
from schemas.columns import MONEY, SUM

WORK_ITEM: Final = (
    *("kind", "key", "incident_key", "claim_id", "claim_number", "reference", "money", "deadline", "owner"),
    *("action", "retry_class", "reason"),
)


def work_items(
    books: Books, reconciliation: Reconciliation, reassociation: Reassociation, reference: Reference
) -> pl.DataFrame:
    """List everything that waits for a person on the evening of the books' day.

    Args:
        reconciliation: Over all months of the books.

    Returns:
        WORK_ITEM columns, one row per item, most money first. `key` is the same every day for the same
        thing; `incident_key` is the same for equal faults of one contractor and ISO week.
    """
    items = pl.concat(
        [
            work_money.denials(books, reconciliation),
            work_money.misses(reconciliation),
            work_money.takebacks(reconciliation),
            work_money.imbalances(books),
            work_money.unmatched_remittances(books),
            work_money.provider_adjustments(books),
            work_money.deposits(books, reassociation),
            work_answers.rejections(books),
            work_answers.investigations(books),
            work_answers.unmatched_answers(books),
            work_answers.unusable_files(books),
            work_silence.missing_answers(books),
            work_silence.missing_secondaries(books),
            corrections(books),
            left_out(books),
        ]
    )
    facts = books.claims.select("claim_id", "claim_number", "payer_kind", "mac_contract", "date_of_service")
    decided = decide(items.join(facts, on="claim_id", how="left"), reference.filing)
    fault = pl.concat_str(
        [
            pl.col("kind"),
            pl.col("incident").fill_null(pl.col("key")).str.head(120),
            pl.when(~pl.col("code").is_in(work_answers.OF_FILES).fill_null(value=False))
            .then("mac_contract")
            .fill_null("-"),
            pl.col("since").dt.strftime("%G-W%V").fill_null("-"),
        ],
        separator="|",
    )
    return (
        decided.with_columns(incident_key=fault)
        .unique("key", keep="first", maintain_order=True)
        .sort(
            pl.col("money").fill_null(0), "deadline", "key", descending=[True, False, False], nulls_last=True
        )
        .select(WORK_ITEM)
    )


def corrections(books: Books) -> pl.DataFrame:
    """List sent claims that the input no longer supports; the money is what the charge would change by."""
    found = books.corrections.join(books.claims, on="claim_id").with_columns(
        was_charge=_amount(pl.col("was")), now_charge=_amount(pl.col("now"))
    )
    withdrawn = pl.col("kind") == "withdrawn"
    return items_of(
        found,
        "correction",
        code=pl.when(withdrawn).then(pl.lit("withdrawn")).otherwise("payer_kind"),
        key=pl.format("correction:{}", "correction_id"),
        incident=pl.format("correction {}", "kind"),
        claim_id="claim_id",
        money=(pl.col("was_charge") - pl.col("now_charge")).abs(),
        since=pl.col("found_at").dt.date(),
        reason=pl.when(withdrawn)
        .then(pl.format("Sent with a charge of {}, and the input supports no claim any more.", "was_charge"))
        .otherwise(
            pl.format("Sent with a charge of {}; the input now supports {}.", "was_charge", "now_charge")
        ),
    )


def _amount(told: pl.Expr) -> pl.Expr:
    """Read the charge out of what a claim tells its payer (JSON); nothing told charges nothing."""
    return told.str.json_path_match("$.total_charge").str.to_decimal(scale=2).fill_null(0).cast(MONEY)


def left_out(books: Books) -> pl.DataFrame:
    """List what the last run of each month held back or refused, an item for each reason or rule."""
    latest = books.runs.sort("finished_at").group_by("month", "source", maintain_order=True).last()
    rows: list[dict[str, Any]] = []
    # A handful of runs, a few dozen reasons each.
    for run in latest.to_dicts():
        funnel = json.loads(run["summary"]).get("funnel") or {}
        same = {"month": f"{run['month']:%Y-%m}", "since": run["finished_at"].date()}
        rows += [
            {
                **same,
                "kind": "held",
                "what": hold["reason"],
                "count": hold["patients"],
                "next": hold["next_step"],
            }
            for hold in funnel.get("holds") or ()
            if not hold["is_note"]
        ]
        rows += [
            {**same, "kind": "quarantine", "what": f"{rule['dataset']} {rule['rule']}", "count": rule["rows"]}
            for rule in funnel.get("quarantine") or ()
        ]
    schema = {"month": pl.String, "since": pl.Date, "kind": pl.String, "what": pl.String, "count": pl.Int64}
    found = (
        pl.DataFrame(rows, schema={**schema, "next": pl.String}, orient="row")
        .group_by("kind", "month", "what", maintain_order=True)
        .agg(pl.col("count").sum(), pl.col("since").max(), pl.col("next").first())
    )
    unit = (
        pl.when(pl.col("kind") == "held")
        .then(pl.lit("patients are held"))
        .otherwise(pl.lit("rows were refused"))
    )
    made = items_of(
        found,
        "left_out",
        key=pl.format("{}:{}:{}", "kind", "month", "what"),
        reference="month",
        since="since",
        reason=pl.concat_str(
            pl.format("{}: {} {}.", "what", "count", unit), pl.format(" {}", "next").fill_null("")
        ),
    )
    return made.with_columns(kind=found["kind"])


def incidents(items: pl.DataFrame) -> pl.DataFrame:
    """Fold items into incidents, most money first.

    Returns:
        incident, kind, items, money, deadline (the earliest), owner, class, action, reason, claims (up to
        ten claim numbers), references (up to ten).
    """
    folded = items.group_by(incident="incident_key", maintain_order=True).agg(
        pl.col("kind").first(),
        items=pl.len(),
        money=pl.col("money").sum().cast(SUM),
        deadline=pl.col("deadline").min(),
        **{"owner": pl.col("owner").first(), "class": pl.col("retry_class").first()},
        action=pl.col("action").first(),
        reason=pl.col("reason").first(),
        claims=pl.col("claim_number").drop_nulls().unique(maintain_order=True).head(10),
        references=pl.col("reference").drop_nulls().unique(maintain_order=True).head(10),
    )
    return folded.sort("money", "deadline", "incident", descending=[True, False, False], nulls_last=True)
