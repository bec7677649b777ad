"""Answering: TA1, 999 and 277CA into the ledger: every word is kept, and the claims move by the strongest.

`tasks.posting` calls `record_answers` inside the transaction of a file, `tasks.late_answers` ties a kept file
once more with `answer_again`. A claim that is rejected once is not accepted by a later, weaker word, whatever
comes first. How words are tied to claims is `tasks.answer_rows`.
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

import polars as pl
import sqlalchemy as sa

from schemas.answers import Answers
from schemas.ledger import ACCEPTED, BUILT, ENDED, RECEIVED, REJECTED
from tasks.accounts import charge_claims
from tasks.answer_rows import of_batches, of_claims, of_files, of_groups, of_sets
from tasks.answer_totals import unreconciled
from tasks.arrivals import MONEY, ArrivedFile, is_too_large
from tasks.claim_states import CLAIM, INTERCHANGE, TABLES, transition
from tasks.database import insert, query, staged
from tasks.matching import claims_by_number, prove_sent
from tasks.registration import CLAIM_LINE

ANSWER: Final = TABLES["answer"]
ACTOR: Final = "collection"
# What an answer learns when it is tied later than it came.
TIED: Final = ("interchange_id", "claim_id", "line_number", "claim_number", "outcome", "is_matched")
# From the weakest word to the strongest, and where each leads a claim; `investigate` leads nowhere.
STRENGTH: Final = {"in_transit": 1, "received": 2, "accepted": 3, "rejected": 4}
STATE_OF: Final = {"in_transit": RECEIVED, "received": RECEIVED, "accepted": ACCEPTED, "rejected": REJECTED}


@dataclass
class Answered:
    """What a file's answers did: rows kept, claims moved (by their new state), claims that could not be."""

    answers: int = 0
    unmatched: int = 0
    moved: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    findings: pl.DataFrame = field(default_factory=pl.DataFrame)


def answered_files(connection: sa.Connection, answers: Answers) -> pl.DataFrame:
    """Find the files of ours that a 999 or a 277CA speaks of: interchange_id, uri."""
    if answers.acknowledgements.is_empty() and answers.statuses.is_empty():
        return pl.DataFrame(schema={"interchange_id": pl.Int64, "uri": pl.String})
    known = files_of_ours(connection)
    named = [of_groups(answers, known), of_batches(answers, known, answers.statuses)]
    ids = pl.concat([frame.select("interchange_id") for frame in named]).drop_nulls().unique()
    return known.join(ids, on="interchange_id").select("interchange_id", "uri").drop_nulls()


def record_answers(
    connection: sa.Connection, file_id: int, file: ArrivedFile, answers: Answers, sent: pl.DataFrame
) -> Answered:
    """Keep every answer of a file, and move the claims it speaks of.

    Args:
        sent: interchange_id and the columns of `tasks.translate.sent_claims`, of the files that are answered.
    """
    if answers.acknowledgements.is_empty() and answers.statuses.is_empty():
        return Answered()
    known = files_of_ours(connection)
    said, words = _read(connection, known, answers, sent, file.at.date())
    insert(connection, ANSWER, _stored(said, file_id))
    _remember_payer_numbers(connection, said)
    answered = move_claims(connection, words, sha256=file.sha256, at=file.at)
    answered.answers = said.height
    answered.unmatched = said.filter(~pl.col("is_matched")).height
    answered.findings = unreconciled(answers, known, sent)
    return answered


def answer_again(
    connection: sa.Connection,
    file_id: int,
    file: ArrivedFile,
    answers: Answers,
    sent: pl.DataFrame,
    at: datetime,
) -> int:
    """Tie a file that is in the ledger to what we have filed since; count the answers that found it."""
    said, words = _read(connection, files_of_ours(connection), answers, sent, file.at.date())
    tied = _stored(said, file_id).filter("is_matched").select("dedupe_key", *TIED)
    waiting = query(
        connection,
        sa.select(ANSWER.c.dedupe_key).where(ANSWER.c.inbound_file_id == file_id, ~ANSWER.c.is_matched),
    )
    found = tied.join(waiting, on="dedupe_key", how="semi")
    with staged(connection, found) as now:
        connection.execute(
            sa.update(ANSWER)
            .where(ANSWER.c.dedupe_key == now.c.dedupe_key)
            .values({name: now.c[name] for name in TIED})
        )
    if not found.is_empty():
        _remember_payer_numbers(connection, said)
        move_claims(connection, words, sha256=file.sha256, at=at)
    return found.height


def _read(
    connection: sa.Connection, known: pl.DataFrame, answers: Answers, sent: pl.DataFrame, on: date
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tie what a file says to what is ours: its rows, and what moves claims."""
    read = [
        of_files(answers, known, on),
        of_sets(answers, known, sent, on),
        of_claims(answers, known, sent, on),
    ]
    said = _matched(connection, pl.concat([rows for rows, _ in read], how="diagonal"))
    return said, pl.concat([words for _, words in read])


def move_claims(connection: sa.Connection, words: pl.DataFrame, *, sha256: str, at: datetime) -> Answered:
    """Move each claim by the strongest word said of it.

    Args:
        words: WORDS of `tasks.answer_rows`.
        sha256: Of the file that says so.
    """
    of_file = words.filter(pl.col("claim_number").is_null()).drop_nulls("interchange_id")
    members = _members(connection, of_file["interchange_id"])
    spread = of_file.drop("claim_number").join(members, on="interchange_id").select(words.columns)
    strongest = (
        pl.concat([words, spread])
        .drop_nulls("claim_number")
        .with_columns(strength=pl.col("outcome").replace_strict(STRENGTH, default=0, return_dtype=pl.Int8))
        .sort("strength", "word", descending=True)
        .unique("claim_number", keep="first", maintain_order=True)
        .filter(pl.col("strength") > 0)
    )
    ours = claims_by_number(connection, strongest["claim_number"])
    prove_sent(connection, ours["claim_id"], sha256=sha256, at=at)
    charge_claims(connection, ours["claim_id"], at)
    chosen = strongest.join(ours.select("claim_number"), on="claim_number", maintain_order="left")
    chosen = chosen.with_columns(state=pl.col("outcome").replace_strict(STATE_OF, return_dtype=pl.String))
    answered = Answered()
    for (state, word), group in chosen.group_by("state", "word", maintain_order=True):
        moved = transition(
            connection,
            group.select("claim_number"),
            str(state),
            actor=ACTOR,
            dedupe=f"{state}:{sha256}",
            at=at,
            data=pl.lit(word),
        )
        count = moved.filter(outcome="moved").height
        answered.moved[str(state)] = answered.moved.get(str(state), 0) + count
        # A word that is weaker, or said before, is nothing odd; one about a claim that cannot have it is.
        cannot = (pl.col("outcome") == "refused") & pl.col("from_state").is_in([BUILT, *ENDED])
        answered.refused += moved.filter(cannot).height
    return answered


def files_of_ours(connection: sa.Connection) -> pl.DataFrame:
    """Return every file of ours that can have been answered."""
    names = ("sender_id", "receiver_id", "control_number", "group_control_number", "batch_id", "uri")
    return query(
        connection,
        sa.select(INTERCHANGE.c.id.label("interchange_id"), *(INTERCHANGE.c[name] for name in names)).where(
            INTERCHANGE.c.state.in_(("written", "sending", "sent"))
        ),
    )


def _members(connection: sa.Connection, interchange_ids: pl.Series) -> pl.DataFrame:
    """Return the claims of files of ours."""
    with staged(connection, interchange_ids.unique().to_frame("interchange_id")) as asked:
        return query(
            connection,
            sa.select(CLAIM.c.claim_number, CLAIM.c.interchange_id).join_from(
                asked, CLAIM, CLAIM.c.interchange_id == asked.c.interchange_id
            ),
        )


def _matched(connection: sa.Connection, rows: pl.DataFrame) -> pl.DataFrame:
    """Find claim and line of each answer; one that names no claim is matched by its file."""
    ours = claims_by_number(connection, rows["claim_number"]).select("claim_number", "claim_id")
    found = rows.join(ours, on="claim_number", how="left", maintain_order="left")
    with staged(connection, found.select("line_control_number").drop_nulls().unique()) as asked:
        names = ("claim_id", "line_number", "line_control_number")
        lines = query(
            connection,
            sa.select(*(CLAIM_LINE.c[name] for name in names)).join_from(
                asked, CLAIM_LINE, CLAIM_LINE.c.line_control_number == asked.c.line_control_number
            ),
        )
    is_named = pl.col("claim_number").is_not_null()
    # The level of the information source names nothing of ours.
    is_tied = pl.col("interchange_id").is_not_null() | (pl.col("level") == "information_source")
    return found.join(
        lines, on=["claim_id", "line_control_number"], how="left", maintain_order="left"
    ).with_columns(is_matched=pl.when(is_named).then(pl.col("claim_id").is_not_null()).otherwise(is_tied))


def _stored(said: pl.DataFrame, file_id: int) -> pl.DataFrame:
    """Bring answers into the shape of their table."""
    number = pl.int_range(pl.len()).over("segment")
    return said.select(
        *("segment", "level", "source", "interchange_id", "claim_id", "line_number", "claim_number"),
        *("line_control_number", "codes", "outcome", "payer_claim_number", "is_matched"),
        kind=pl.col("kind").replace("997", "999"),
        transaction_index="transaction",
        charge=pl.when(~is_too_large("charge")).then("charge").cast(MONEY),
        inbound_file_id=pl.lit(file_id),
        dedupe_key=pl.format("{}:{}:{}", pl.lit(file_id), "segment", number),
    )


def _remember_payer_numbers(connection: sa.Connection, said: pl.DataFrame) -> None:
    """Keep the payer's number of a claim until a remittance gives a newer one."""
    given = said.drop_nulls(["claim_id", "payer_claim_number"]).select("claim_id", "payer_claim_number")
    only = given.sort("payer_claim_number").unique("claim_id", keep="last")
    with staged(connection, only) as numbers:
        connection.execute(
            sa.update(CLAIM)
            .where(CLAIM.c.id == numbers.c.claim_id, CLAIM.c.payer_claim_number.is_(None))
            .values(payer_claim_number=numbers.c.payer_claim_number)
        )
