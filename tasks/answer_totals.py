"""Answer totals: what a 999 or 277CA counts and sums, held against what was sent and what it lists itself.

`tasks.answering` keeps each difference as a finding of the file. Nothing is moved or refused here: a wrong
total is a matter for people.
"""

from typing import Final

import polars as pl

from schemas.answers import Answers
from tasks.answer_rows import of_batches, of_groups

# Of each level of a 277CA: the qualifiers of what was accepted and of what was not.
TOTALS: Final = {
    "information_receiver": (("QTY", "90", "AA"), ("AMT", "YU", "YY")),
    "billing_provider": (("QTY", "QA", "QC"), ("AMT", "YU", "YY")),
}


def unreconciled(answers: Answers, known: pl.DataFrame, sent: pl.DataFrame) -> pl.DataFrame:
    """Find the counts and sums that are not what was sent, or not what the file lists itself.

    Args:
        sent: interchange_id and the columns of `tasks.translate.sent_claims`, of the files that are answered.

    Returns:
        Findings: severity, rule, transaction, segment, element, found, expected, message.
    """
    frames = [_group_counts(answers, known, sent), *_batch_totals(answers, known, sent)]
    return pl.concat([frame.select(_finding(frame)) for frame in frames])


def _finding(differences: pl.DataFrame) -> list[pl.Expr]:
    """Turn differences (rule, element, transaction, segment, found, expected, what) into findings."""
    texts = [pl.col(name).cast(pl.String) for name in ("found", "expected")]
    message = pl.format("{} says {}, but {} were {}.", "element", *texts, "what")
    severity = pl.lit("warning").alias("severity")
    return [severity, *_COLUMNS, *texts, message.alias("message")]


_COLUMNS: Final = [pl.col(name) for name in ("rule", "transaction", "segment", "element")]


def _group_counts(answers: Answers, known: pl.DataFrame, sent: pl.DataFrame) -> pl.DataFrame:
    """AK902, AK903 and AK904 of each 999, against the sets of our file and those it accepts."""
    ours = sent.group_by("interchange_id").agg(
        sets=pl.col("transaction_control_number").n_unique().cast(pl.Int64)
    )
    tied = of_groups(answers, known).drop_nulls("interchange_id").join(ours, on="interchange_id")
    refused = (
        tied.filter((pl.col("level") == "transaction") & ~pl.col("code").is_in(["A", "E"]))
        .group_by("transaction")
        .agg(refused=pl.len().cast(pl.Int64))
    )
    groups = tied.filter(level="group").join(refused, on="transaction", how="left")
    all_refused = ~pl.col("code").is_in(["A", "E", "P"]).fill_null(value=False)
    accepted = pl.when(all_refused).then(0).otherwise(pl.col("sets") - pl.col("refused").fill_null(0))
    checks = (
        ("AK902", "included_count", pl.col("sets"), "sent"),
        ("AK903", "received_count", pl.col("sets"), "sent"),
        ("AK904", "accepted_count", accepted, "accepted set by set"),
    )
    return pl.concat(
        groups.select(
            "transaction",
            "segment",
            rule=pl.lit("group_count"),
            element=pl.lit(element),
            found=pl.col(column).cast(pl.String),
            expected=expected.cast(pl.String),
            what=pl.lit(what),
        ).filter(pl.col("found") != pl.col("expected"))
        for element, column, expected, what in checks
    )


def _batch_totals(answers: Answers, known: pl.DataFrame, sent: pl.DataFrame) -> list[pl.DataFrame]:
    """QTY and AMT of each 277CA: against its own claims, and the clearinghouse's against our file too."""
    claims = (
        answers.statuses.filter(level="claim", composite=1)
        .with_columns(is_refused=pl.col("category_code").is_in(["A3", "A4", "A6", "A7", "A8"]))
        .group_by("transaction", "is_refused")
        .agg(QTY=pl.len().cast(pl.Decimal(18, 2)), AMT=pl.col("charge").sum())
    )
    found = []
    for level, pairs in TOTALS.items():
        for kind, good, bad in pairs:
            said = (
                answers.totals.filter((pl.col("level") == level) & (pl.col("kind") == kind))
                .filter(pl.col("qualifier").is_in([good, bad]))
                .with_columns(is_refused=pl.col("qualifier") == bad)
                .group_by("transaction", "is_refused")
                .agg(pl.col("value").sum(), pl.col("segment").min(), pl.col("qualifier").first())
            )
            listed = said.join(claims, on=["transaction", "is_refused"], how="left")
            expected = pl.col(kind).fill_null(pl.lit(0, pl.Decimal(18, 2)))
            found.append(_unlike(listed, kind, expected, "listed"))
    batch, (count, *_) = "information_receiver", TOTALS["information_receiver"]
    named = (
        of_batches(answers, known, answers.statuses.filter(level=batch, composite=1))
        .filter(pl.col("source_type") != "PR")
        .select("transaction", "interchange_id", "batch_number")
        .unique()
    )
    ours = sent.group_by("interchange_id", "batch_number").agg(ours=pl.len().cast(pl.Decimal(18, 2)))
    said = (
        answers.totals.filter((pl.col("level") == batch) & pl.col("qualifier").is_in(count[1:]))
        .group_by("transaction")
        .agg(pl.col("value").sum(), pl.col("segment").min(), pl.col("qualifier").sort().str.join("+"))
        .join(named.join(ours, on=["interchange_id", "batch_number"]), on="transaction")
    )
    return [*found, _unlike(said, "QTY", pl.col("ours"), "sent")]


def _unlike(said: pl.DataFrame, kind: str, expected: pl.Expr, what: str) -> pl.DataFrame:
    """Keep the totals that differ from what is expected."""
    return said.filter(pl.col("value") != expected).select(
        "transaction",
        "segment",
        rule=pl.lit("batch_total"),
        element=pl.format(f"{kind}*{{}}", "qualifier"),
        found=pl.col("value").cast(pl.String),
        expected=expected.cast(pl.String),
        what=pl.lit(what),
    )
