"""Silence: answers that never came, to a file of ours or from the payer that a claim was passed on to.

`billing.worklist` gathers the items, `billing.actions` says what to do about them. Money is what a claim was
expected to bring.

Source: business days to wait, the payment floor and the days of the next payer as in the playbook of billing
operations (electronic claims are paid no earlier than the fourteenth day: Medicare claims processing manual
chapter 1 section 80).
"""

from typing import Final

import polars as pl

from billing.books import Books
from billing.settlement import LATER_PAYER_STATUSES
from billing.work_answers import live_claims
from billing.work_money import items_of
from schemas.columns import SUM

ACKNOWLEDGED_WITHIN_BUSINESS_DAYS: Final = 1
JUDGED_WITHIN_BUSINESS_DAYS: Final = 2
PAYMENT_FLOOR_DAYS: Final = 14
# A remittance is given three days more than the floor, so that it is not asked for on the day it is sent.
REMITTANCE_MARGIN_DAYS: Final = 3
# What a payer passes on to the next, the next answers within this.
SECONDARY_WITHIN_DAYS: Final = 45
UNDECIDED: Final = "23"  # CLP02: not this payer's claim, and forwarded


def missing_answers(books: Books) -> pl.DataFrame:
    """List the files of which the next answer is overdue, an item for each file and stage.

    A claim waits for one answer at a time: for the acknowledgement of its file, then for its 277CA, then for
    its remittance; a later answer makes up for an earlier one that never came.
    """
    waiting = _waiting(books)
    sent_on = pl.col("sent_at").dt.date()
    stage = (
        pl.when("is_judged")
        .then(pl.lit("missing_835"))
        .when("has_arrived")
        .then(pl.lit("missing_277CA"))
        .otherwise(pl.lit("missing_acknowledgement"))
    )
    due = (
        pl.when(stage == "missing_835")
        .then(sent_on + pl.duration(days=PAYMENT_FLOOR_DAYS + REMITTANCE_MARGIN_DAYS))
        .when(stage == "missing_277CA")
        .then(sent_on.dt.add_business_days(JUDGED_WITHIN_BUSINESS_DAYS, roll="forward"))
        .otherwise(sent_on.dt.add_business_days(ACKNOWLEDGED_WITHIN_BUSINESS_DAYS, roll="forward"))
    )
    overdue = (
        waiting.with_columns(stage=stage, due=due)
        .filter(pl.col("due") < pl.lit(books.as_of))
        .group_by("interchange_id", "stage")
        .agg(claims=pl.len(), money=pl.col("expected").sum().cast(SUM), due=pl.col("due").min())
        .join(books.interchanges.select("interchange_id", "file_name"), on="interchange_id", how="left")
    )
    made = items_of(
        overdue,
        "missing",
        key=pl.format("{}:{}", "stage", "interchange_id"),
        reference="file_name",
        money="money",
        since="due",
        reason=pl.format("{} claims of {} wait; the answer was due on {}.", "claims", "file_name", "due"),
    )
    return made.with_columns(kind=overdue["stage"])


def missing_secondaries(books: Books) -> pl.DataFrame:
    """List claims that a payer passed on to the next one, which has not answered in time.

    The money is what the patient owes, which the next payer is to pay; where the first payer decided nothing,
    it is all that the claim was expected to bring.
    """
    paid_on = pl.coalesce("payment_date", pl.col("received_at").dt.date())
    told = books.remittance_claims.filter(~pl.col("is_reversal")).join(
        books.remittances.select("remittance_id", "payer_id", paid_on=paid_on), on="remittance_id", how="left"
    )
    is_later = pl.col("status_code").is_in(LATER_PAYER_STATUSES).fill_null(value=False)
    passed_on = (
        told.filter("is_forwarded", ~is_later)
        .sort("paid_on", "remittance_claim_id")
        .group_by("claim_id", maintain_order=True)
        .agg(pl.col("paid_on", "payer_id", "status_code").last())
    )
    is_other = pl.col("payer_id") != pl.col("payer_id_of_next")
    of_next = told.select("claim_id", payer_id_of_next="payer_id", is_later=is_later)
    answered = passed_on.join(of_next, on="claim_id").filter(pl.col("is_later") | is_other)
    owed = (
        books.postings.filter(pl.col("account") == "patient_responsibility")
        .group_by("claim_id")
        .agg(patient=pl.col("amount").sum().cast(SUM))
    )
    due = pl.col("paid_on") + pl.duration(days=SECONDARY_WITHIN_DAYS)
    overdue = (
        passed_on.join(answered, on="claim_id", how="anti")
        .join(live_claims(books), on="claim_id")
        .join(owed, on="claim_id", how="left")
        .with_columns(
            due=due, money=pl.when(pl.col("status_code") == UNDECIDED).then("expected").otherwise("patient")
        )
        .filter(pl.col("due") < pl.lit(books.as_of), pl.col("money") > 0)
    )
    return items_of(
        overdue,
        "missing_secondary",
        key=pl.format("missing_secondary:{}", "claim_number"),
        incident=pl.lit("secondary"),
        claim_id="claim_id",
        money="money",
        since="due",
        reason=pl.format("Passed on to the next payer on {}; no answer of that payer came.", "paid_on"),
    )


def _waiting(books: Books) -> pl.DataFrame:
    """Return the claims that were sent and not paid, with what has come: has_arrived, is_judged."""
    adjudicated = books.remittance_claims["claim_id"].drop_nulls().unique()
    judged = books.answers.filter(pl.col("kind") == "277CA")["claim_id"].drop_nulls().unique()
    acknowledged = books.answers["interchange_id"].drop_nulls().unique()
    waiting = (
        live_claims(books)
        .filter(pl.col("state").is_in(["sent", "received", "accepted"]), pl.col("sent_at").is_not_null())
        .with_columns(
            is_acknowledged=pl.col("interchange_id").is_in(acknowledged.implode()),
            is_judged=pl.col("claim_id").is_in(judged.implode()) | (pl.col("state") == "accepted"),
            is_paid=pl.col("claim_id").is_in(adjudicated.implode()),
        )
        .filter(~pl.col("is_paid"))
    )
    # Another claim of the file with an answer of its own shows that the file arrived.
    arrived = waiting.filter("is_judged")["interchange_id"].unique()
    paid_of = books.claims.filter(pl.col("claim_id").is_in(adjudicated.implode()))["interchange_id"].unique()
    return waiting.with_columns(
        has_arrived=pl.col("is_acknowledged")
        | pl.col("interchange_id").is_in(pl.concat([arrived, paid_of]).drop_nulls().implode())
    )
