"""Answer rows: the words of a TA1, 999 or 277CA tied to our file, set and claim, and what they say of claims.

`tasks.answering` keeps the rows and moves the claims. Frames in, frames out: `known` are the files of ours
that can have been answered, `sent` says where each claim stands in them. What a code means is data of
`billing.posting_rules`.
"""

from datetime import date
from typing import Final

import polars as pl

from billing.posting_rules import outcomes_of
from schemas.answers import Answers

DIGITS_OF_SET: Final = 4  # of BHT03, behind the batch of the interchange
# The levels of a 277CA above a claim: whoever rejects a batch or a provider need not name the claims.
BATCH, PROVIDER = "information_receiver", "billing_provider"
# What moves claims: one claim, or all of a file (claim_number null); `word` is what its event keeps.
WORDS: Final = {
    "claim_number": pl.String(),
    "interchange_id": pl.Int64(),
    "outcome": pl.String(),
    "word": pl.String(),
}
Rows = tuple[pl.DataFrame, pl.DataFrame]


def of_files(answers: Answers, known: pl.DataFrame, on: date) -> Rows:
    """Read the TA1s: what became of whole files of ours."""
    rows = answers.acknowledgements.filter(kind="TA1")
    senders = answers.interchanges.select("first_segment", answerer_id="sender_id", answered_id="receiver_id")
    placed = rows.sort("segment").join_asof(
        senders.sort("first_segment"), left_on="segment", right_on="first_segment", strategy="backward"
    )
    placed = placed.with_columns(outcome=outcomes_of(placed, "TA1", on))
    tied = _tied(placed, known, _number("interchange_control_number"), pl.col("control_number")).with_columns(
        codes=_json("interchange_control_number", "code", note="note_code")
    )
    never_reached = pl.when(pl.col("outcome") == "rejected").then(pl.lit(value=True))
    word = pl.struct(ta1="code", note="note_code", never_reached=never_reached).struct.json_encode()
    return tied, _words(tied.drop_nulls("interchange_id").with_columns(word=word))


def of_sets(answers: Answers, known: pl.DataFrame, sent: pl.DataFrame, on: date) -> Rows:
    """Read the 999s: what became of groups and transaction sets, and where their faults lie."""
    tied = of_groups(answers, known)
    tied = tied.with_columns(
        outcome=outcomes_of(tied, "999", on),
        codes=_json("group_control_number", "transaction_control_number", "code", syntax="note_code"),
    )
    ours = tied.drop_nulls("interchange_id")
    number = ["interchange_id", "transaction_control_number"]
    sets = ours.filter(level="transaction").select(*number, own="outcome", own_code="code")
    groups = ours.filter(level="group").select("interchange_id", whole="outcome", whole_code="code")
    sets, groups = sets.unique(number, keep="last"), groups.unique("interchange_id", keep="last")
    # A set that is not named shares the fate of its group; of one accepted in part nothing is known.
    shared = pl.when(pl.col("whole_code") != "P").then("whole")
    claims = (
        sent.join(sets, on=number, how="left")
        .join(groups, on="interchange_id", how="left")
        .filter(pl.col("own").is_not_null() | pl.col("whole").is_not_null())
        .with_columns(
            outcome=pl.coalesce("own", shared, pl.lit("investigate")),
            word=_word("999", pl.coalesce("own_code", "whole_code")),
        )
    )
    # Where our file cannot be read back, only a group with one fate says something of its claims.
    mixed = sets.filter(pl.col("own") != "received")
    unread = groups.filter((pl.col("whole_code") != "P") | (pl.col("whole") == "rejected"))
    unread = unread.join(sent, on="interchange_id", how="anti").join(mixed, on="interchange_id", how="anti")
    blind = unread.with_columns(outcome="whole", word=_word("999", pl.col("whole_code")))
    words = pl.concat([_words(claims), _words(blind)])
    return pl.concat([tied, _faults(answers, tied.filter(level="transaction"), sent)], how="diagonal"), words


def of_claims(answers: Answers, known: pl.DataFrame, sent: pl.DataFrame, on: date) -> Rows:
    """Read the 277CAs: what became of claims, or of a whole batch or provider."""
    statuses = answers.statuses.with_columns(
        code="category_code", note_code=pl.lit("*"), level=pl.col("level").fill_null("unknown")
    )
    payer = pl.when(pl.col("source_type") == "PR").then(pl.lit("payer")).otherwise(pl.lit("clearinghouse"))
    said = pl.concat_str("category_code", "status_code", "entity_code", separator=":", ignore_nulls=True)
    rows = of_batches(answers, known, statuses).with_columns(
        kind=pl.lit("277CA"),
        source=payer,
        outcome=outcomes_of(statuses, "277CA", on),
        word=_word("277ca", said),
        codes=_json(
            *("clearinghouse_number", "batch_number"),
            category="category_code",
            status="status_code",
            entity="entity_code",
            action="action_code",
        ),
    )
    # A clearinghouse that accepts has only received: the payer has not spoken yet.
    is_early = (pl.col("outcome") == "accepted") & (pl.col("source") == "clearinghouse")
    rows = rows.with_columns(outcome=pl.when(is_early).then(pl.lit("received")).otherwise("outcome"))
    named = rows.filter(pl.col("level").is_in(["claim", "line"]))
    above = rows.filter(pl.col("level").is_in([BATCH, PROVIDER]) & (pl.col("outcome") == "rejected"))
    members = (
        above.drop("claim_number")
        .join(sent, on=["interchange_id", "batch_number"])
        .filter((pl.col("level") == BATCH) | (pl.col("provider_id") == pl.col("billing_npi")))
    )
    return rows.drop("word"), pl.concat([_words(named), _words(members)])


def of_groups(answers: Answers, known: pl.DataFrame) -> pl.DataFrame:
    """Give the rows of the 999s, each with the file of ours that its AK1 names."""
    rows = answers.acknowledgements.filter(pl.col("kind") != "TA1")
    placed = rows.join(_senders(answers), on="transaction", how="left", maintain_order="left")
    return _tied(placed, known, _number("group_control_number"), pl.col("group_control_number"))


def of_batches(answers: Answers, known: pl.DataFrame, statuses: pl.DataFrame) -> pl.DataFrame:
    """Add to the rows of a 277CA the file of ours whose batch it names; the number of the set ends it."""
    placed = statuses.join(_senders(answers), on="transaction", how="left", maintain_order="left")
    return _tied(placed, known, batch_of(pl.col("batch_number")), pl.col("batch_id"))


def batch_of(batch_number: pl.Expr) -> pl.Expr:
    """Take the batch of the interchange out of a BHT03 of ours."""
    return batch_number.str.head(-DIGITS_OF_SET)


def _senders(answers: Answers) -> pl.DataFrame:
    """Say who answers whom in each transaction set."""
    return answers.transactions.select("transaction", answerer_id="sender_id", answered_id="receiver_id")


def _number(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Int64, strict=False)


def _tied(rows: pl.DataFrame, known: pl.DataFrame, number: pl.Expr, ours: pl.Expr) -> pl.DataFrame:
    """Tie rows to the file of ours whose number they give.

    Numbers run for each pair of sender and receiver, so both must fit, turned round; where a clearinghouse
    answers under a third name, the number decides if only one file has it.
    """
    asked = rows.with_columns(row=pl.int_range(pl.len()), asked=number)
    same = asked.select("row", "asked", "answerer_id", "answered_id").join(
        known.select("interchange_id", "sender_id", "receiver_id", asked=ours), on="asked"
    )
    is_pair = (pl.col("answerer_id").str.to_uppercase() == pl.col("receiver_id").str.to_uppercase()) & (
        pl.col("answered_id").str.to_uppercase() == pl.col("sender_id").str.to_uppercase()
    )
    pairs = same.filter(is_pair.fill_null(value=False))
    only = same.filter(pl.len().over("row") == 1).join(pairs, on="row", how="anti")
    tied = pl.concat([pairs, only]).select("row", "interchange_id").unique("row", keep="any")
    return asked.join(tied, on="row", how="left", maintain_order="left").drop("row", "asked")


def _faults(answers: Answers, sets: pl.DataFrame, sent: pl.DataFrame) -> pl.DataFrame:
    """Tie each fault that a 999 names to a claim: by CTX, else by the place of its segment in our file."""
    number = ["transaction", "group_control_number", "transaction_control_number"]
    fates = sets.select(*number, "interchange_id", "outcome").unique(number, keep="last")
    placed = (
        answers.errors.with_columns(at=pl.col("error_segment_position").fill_null(0))
        .join(fates, on=number, how="left", nulls_equal=True)
        .sort("at")
    )
    places = sent.select(
        "interchange_id", "transaction_control_number", "position", named="claim_number"
    ).sort("position")
    found = placed.join_asof(
        places,
        left_on="at",
        right_on="position",
        by=["interchange_id", "transaction_control_number"],
        strategy="backward",
        check_sortedness=False,
    )
    return found.sort("segment").select(
        *("kind", "transaction", "segment", "interchange_id"),
        claim_number=pl.coalesce("claim_number", "named"),
        outcome=pl.col("outcome").fill_null("investigate"),
        level=pl.lit("claim"),
        codes=_json(
            "transaction_control_number",
            segment_id="error_segment_id",
            position="error_segment_position",
            loop="error_loop",
            code="segment_code",
            element="element_position",
            component="component_position",
            element_code="element_code",
        ),
    )


def _words(rows: pl.DataFrame) -> pl.DataFrame:
    """Keep what moves claims."""
    return rows.select(
        pl.col(name).cast(kind) if name in rows.columns else pl.lit(None, kind).alias(name)
        for name, kind in WORDS.items()
    )


def _word(kind: str, said: pl.Expr) -> pl.Expr:
    """Write down what moves a claim, for its event."""
    return pl.struct(said.alias(kind)).struct.json_encode()


def _json(*names: str, **renamed: str) -> pl.Expr:
    """Write columns as a JSON object of texts."""
    columns = {**{name: name for name in names}, **renamed}
    texts = (pl.col(column).cast(pl.String).alias(name) for name, column in columns.items())
    return pl.struct(*texts).struct.json_encode()
