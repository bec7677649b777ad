"""Work with answers: rejections, answers that decide nothing or fit nothing, and answers that never came.

`billing.worklist` gathers the items, `billing.actions` says what to do about them. What an answer did to a
claim's state was decided when it was posted; here it is only found again. Money is what a claim was expected
to bring.

Source: business days to wait and the payment floor as in the playbook of billing operations (electronic
claims are paid no earlier than the fourteenth day: Medicare claims processing manual chapter 1 section 80).
"""

from typing import Final

import polars as pl

from billing.books import ENDED, Books, states
from billing.work_money import items_of
from schemas.columns import MONEY

ACKNOWLEDGED_WITHIN_BUSINESS_DAYS: Final = 1
JUDGED_WITHIN_BUSINESS_DAYS: Final = 2
PAYMENT_FLOOR_DAYS: Final = 14
# A remittance is given three days more than the floor, so that it is not asked for on the day it is sent.
REMITTANCE_MARGIN_DAYS: Final = 3
OF_FILES: Final = ("TA1", "999")  # answers to a whole file or set


def rejections(books: Books) -> pl.DataFrame:
    """List claims that were rejected and still wait, with the codes of the last rejection."""
    waiting = _claims(books).filter(pl.col("state") == "rejected")
    rejected = books.answers.filter(pl.col("outcome") == "rejected").with_columns(_code(), _words())
    of_claim = rejected.filter(pl.col("claim_id").is_not_null()).select("claim_id", *_SAID)
    # Where a whole file or set was refused, no answer names the claim.
    of_file = rejected.filter(pl.col("claim_id").is_null(), pl.col("interchange_id").is_not_null())
    spread = waiting.select("claim_id", "interchange_id").join(
        of_file.select("interchange_id", *_SAID), on="interchange_id"
    )
    said = pl.concat([of_claim, spread.join(of_claim, on="claim_id", how="anti").select("claim_id", *_SAID)])
    last = (
        said.sort("received_at", descending=True)
        .group_by("claim_id", maintain_order=True)
        .agg(pl.col("code", "received_at").first(), words=pl.col("words").unique(maintain_order=True).head(4))
    )
    found = waiting.join(last, on="claim_id", how="left").with_columns(
        words=pl.col("words").list.sort().list.join(" ").fill_null("no code that is left")
    )
    return items_of(
        found,
        "rejection",
        code="code",
        key=pl.format("rejection:{}:{}", "claim_number", pl.col("words").str.head(120)),
        # A refused file is one fault, whoever its claims belong to.
        incident=pl.when(pl.col("code").is_in(OF_FILES))
        .then(pl.format("file {} {}", "interchange_id", "words"))
        .otherwise("words"),
        claim_id="claim_id",
        money="expected",
        since=pl.coalesce(pl.col("received_at").dt.date(), pl.col("sent_at").dt.date(), "date_of_service"),
        reason=pl.format("Rejected with {}.", "words"),
    )


_SAID: Final = ("code", "words", "received_at")


def _code() -> pl.Expr:
    """Name what decides the action: the status of a 277CA, else the kind of the answer."""
    status = pl.col("codes").str.json_path_match("$.status")
    return pl.when(pl.col("kind") == "277CA").then(status).otherwise("kind").alias("code")


def _words() -> pl.Expr:
    """Write an answer's codes the way people quote them: A7:164:IL, 999 R, TA1 R:025."""
    codes = pl.col("codes")
    of_277 = pl.concat_str(
        [codes.str.json_path_match(f"$.{name}") for name in ("category", "status", "entity")],
        separator=":",
        ignore_nulls=True,
    )
    other = pl.concat_str(
        [
            codes.str.json_path_match(f"$.{name}")
            for name in ("code", "note", "syntax", "segment_id", "element")
        ],
        separator=":",
        ignore_nulls=True,
    )
    return (
        pl.when(pl.col("kind") == "277CA")
        .then(of_277)
        .otherwise(pl.format("{} {}", "kind", other))
        .alias("words")
    )


def investigations(books: Books) -> pl.DataFrame:
    """List answers that decide nothing about a claim or a file that has not moved on since."""
    claims = _claims(books).select("claim_id", "claim_number", "state", "expected")
    moved_on = books.answers.filter(pl.col("kind") == "999", pl.col("outcome") == "accepted")[
        "interchange_id"
    ]
    open_ones = (
        books.answers.filter(pl.col("outcome") == "investigate", "is_matched")
        .with_columns(_words())
        .join(claims.rename({"claim_number": "our_number"}), on="claim_id", how="left")
        .join(books.interchanges.select("interchange_id", "file_name"), on="interchange_id", how="left")
        .filter(
            pl.col("state").is_in(["built", "sent", "received"]) | pl.col("claim_id").is_null(),
            ~(pl.col("claim_id").is_null() & pl.col("interchange_id").is_in(moved_on.implode())),
        )
    )
    return items_of(
        open_ones,
        "investigate",
        code="kind",
        key=pl.format("investigate:{}", "answer_id"),
        incident="words",
        claim_id="claim_id",
        reference=pl.coalesce("our_number", "file_name"),
        money="expected",
        since=pl.col("received_at").dt.date(),
        reason=pl.format("Answered with {}.", "words"),
    )


def unmatched_answers(books: Books) -> pl.DataFrame:
    """List statements about claims that are none of ours, an item for each file and claim number."""
    unmatched = (
        books.answers.filter(~pl.col("is_matched"))
        .group_by("file_id", "kind", "claim_number")
        .agg(pl.col("charge").max(), pl.col("received_at").min())
        .join(books.files.select("file_id", "name"), on="file_id", how="left")
    )
    number = pl.col("claim_number").fill_null("-")
    return items_of(
        unmatched,
        "unmatched_answer",
        key=pl.format("unmatched_answer:{}:{}", "file_id", number.str.head(120)),
        incident=pl.format("file {}", "file_id"),
        reference="name",
        money="charge",
        since=pl.col("received_at").dt.date(),
        reason=pl.format("A {} in {} is about something that is none of ours.", "kind", "name"),
    )


def unusable_files(books: Books) -> pl.DataFrame:
    """List files that could not be read or used; those with held payments are listed by payment instead."""
    held = books.remittances.filter(pl.col("state") == "quarantined")["file_id"]
    lost = books.files.filter(
        pl.col("state").is_in(["unreadable", "quarantined"]), ~pl.col("file_id").is_in(held.implode())
    )
    return items_of(
        lost,
        "unreadable_file",
        key=pl.format("unreadable_file:{}", "file_id"),
        reference="name",
        since=pl.col("received_at").dt.date(),
        reason=pl.format("{} was kept and could not be used.", "name"),
    )


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
        .agg(claims=pl.len(), money=pl.col("expected").sum().cast(MONEY), due=pl.col("due").min())
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


def _waiting(books: Books) -> pl.DataFrame:
    """Return the claims that were sent and not paid, with what has come: has_arrived, is_judged."""
    adjudicated = books.remittance_claims["claim_id"].drop_nulls().unique()
    judged = books.answers.filter(pl.col("kind") == "277CA")["claim_id"].drop_nulls().unique()
    acknowledged = books.answers["interchange_id"].drop_nulls().unique()
    waiting = (
        _claims(books)
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


def _claims(books: Books) -> pl.DataFrame:
    """Return the live claims, their states and what they are expected to bring."""
    expected = books.lines.group_by("claim_id").agg(expected=pl.col("medicare_estimate").sum().cast(MONEY))
    claims = books.claims.join(states(books), on="claim_id").join(expected, on="claim_id", how="left")
    return claims.filter(~pl.col("state").is_in(ENDED))
