"""Accounts: what a claim is owed is opened when it was sent, and a payer's decision moves it on.

`tasks.remittances`, `tasks.late_matching` and the collection's last step call it inside a write they hold.
"""

from datetime import datetime
from typing import Final

import polars as pl
import sqlalchemy as sa

import schemas.ledger_answers  # noqa: F401  its tables belong to the ledger
from schemas.ledger import ADJUDICATED, BUILT, ENDED, SENT, VOID, UtcDateTime
from tasks.claim_states import CLAIM, INTERCHANGE, TABLES, VOIDING, instant, transition
from tasks.database import insert, query, staged
from tasks.matching import prove_sent
from tasks.registration import CLAIM_LINE

POSTING: Final = TABLES["posting"]
REMITTANCE: Final = TABLES["remittance"]
REMITTANCE_CLAIM: Final = TABLES["remittance_claim"]
ACTOR: Final = "collection"
# Written out, not bound: only so does a database see that the index of the charges will do.
IS_CHARGE: Final = POSTING.c.account == sa.literal_column("'charge'")
# What the charges of a line add up to, and how often one was taken back.
PLACE: Final = (POSTING.c.claim_id, POSTING.c.line_number)
TOTAL: Final = sa.func.sum(POSTING.c.amount)
TAKEN_BACK: Final = sa.func.sum(sa.case((POSTING.c.amount < 0, 1), else_=0), type_=sa.BigInteger())


def charge_claims(connection: sa.Connection, claim_ids: pl.Series, at: datetime) -> None:
    """Open what these claims are owed: one charge for each line, once."""
    with staged(connection, claim_ids.unique().to_frame("claim_id")) as asked:
        _charge(connection, CLAIM.c.id.in_(sa.select(asked.c.claim_id)), at)


def charge_sent_claims(connection: sa.Connection, at: datetime) -> None:
    """Open what every claim is owed that was sent and not answered yet, or whose successor was given up."""
    successor = CLAIM.alias("successor")
    given_up = sa.select(successor.c.original_claim_number).where(successor.c.state == VOID)
    _charge(connection, (CLAIM.c.state == SENT) | CLAIM.c.claim_number.in_(given_up), at)


def _charge(connection: sa.Connection, where: sa.ColumnElement[bool], at: datetime) -> None:
    """Post the charges of claims that have none, dated the day they were sent; a void is owed nothing.

    A claim whose charge was taken back and that lives again is charged once more.
    """
    charged = (
        sa.select(*PLACE, TOTAL.label("amount"), TAKEN_BACK.label("taken_back"))
        .where(IS_CHARGE, POSTING.c.claim_id.in_(sa.select(CLAIM.c.id).where(where)))
        .group_by(*PLACE)
        .subquery()
    )
    of_line = (charged.c[name] == CLAIM_LINE.c[name] for name in ("claim_id", "line_number"))
    lines = query(
        connection,
        sa.select(
            *(CLAIM_LINE.c[name] for name in ("claim_id", "line_number", "charge")),
            sa.func.coalesce(INTERCHANGE.c.sent_at, CLAIM.c.updated_at, type_=UtcDateTime()).label("sent_at"),
            charged.c.taken_back,
        )
        .join_from(CLAIM, CLAIM_LINE, CLAIM_LINE.c.claim_id == CLAIM.c.id)
        .outerjoin(INTERCHANGE, INTERCHANGE.c.id == CLAIM.c.interchange_id)
        .outerjoin(charged, sa.and_(*of_line))
        .where(
            where,
            CLAIM.c.state.not_in((BUILT, *ENDED)),
            CLAIM.c.frequency_code != VOIDING,
            sa.func.coalesce(charged.c.amount, 0) == 0,
        ),
    )
    charges = lines.select(
        "claim_id",
        "line_number",
        amount="charge",
        posted_on=pl.col("sent_at").dt.date(),
        key=_time("taken_back"),
    )
    _post_charges(connection, charges, at)


def close_ended_claims(connection: sa.Connection, at: datetime) -> None:
    """Take back the charges of claims that are void or replaced: nobody owes them any more."""
    open_charges = query(
        connection,
        sa.select(*PLACE, TOTAL.label("amount"), CLAIM.c.updated_at, TAKEN_BACK.label("taken_back"))
        .join_from(POSTING, CLAIM, CLAIM.c.id == POSTING.c.claim_id)
        .where(IS_CHARGE, CLAIM.c.state.in_(ENDED))
        .group_by(*PLACE, CLAIM.c.updated_at)
        .having(TOTAL != 0),
    )
    ended = open_charges.select(
        "claim_id",
        "line_number",
        amount=-pl.col("amount"),
        posted_on=pl.col("updated_at").dt.date(),
        key=pl.lit(":ended") + _time("taken_back"),
    )
    _post_charges(connection, ended, at)


def _time(taken_back: str) -> pl.Expr:
    """Tell one charge of a line from the next: each comes after another taking back."""
    return pl.when(pl.col(taken_back) > 0).then(pl.format(":{}", taken_back)).otherwise(pl.lit(""))


def _post_charges(connection: sa.Connection, charges: pl.DataFrame, at: datetime) -> None:
    rows = charges.filter(pl.col("amount") != 0).select(
        *("claim_id", "line_number", "amount", "posted_on"),
        account=pl.lit("charge"),
        recorded_at=instant(at),
        dedupe_key=pl.format("charge:{}:{}{}", "claim_id", "line_number", "key"),
    )
    insert(connection, POSTING, rows)


def settle_claims(
    connection: sa.Connection,
    claim_ids: pl.Series,
    decided: pl.Series,
    *,
    sha256: str,
    at: datetime,
    actor: str | None = None,
) -> pl.DataFrame:
    """Move the claims that a remittance decided, and remember the payer's newest number of each.

    Args:
        claim_ids: Every claim the remittance speaks of.
        decided: Those among them that it decides.
        sha256: Of the file that says so.
        actor: Who matched the claim, where it was a person.

    Returns:
        What `tasks.claim_states.transition` returns.
    """
    prove_sent(connection, claim_ids, sha256=sha256, at=at)
    newest = _newest_payer_numbers(connection, claim_ids)
    moved = transition(
        connection,
        decided.unique().to_frame("id").join(newest, on="id", how="left"),
        ADJUDICATED,
        actor=actor or ACTOR,
        dedupe=f"{ADJUDICATED}:{sha256}",
        at=at,
    )
    with staged(connection, newest) as numbers:  # Those that have not learned theirs by moving.
        connection.execute(
            sa.update(CLAIM)
            .where(
                CLAIM.c.id == numbers.c.id,
                CLAIM.c.payer_claim_number.is_distinct_from(numbers.c.payer_claim_number),
            )
            .values(payer_claim_number=numbers.c.payer_claim_number)
        )
    return moved


def _newest_payer_numbers(connection: sa.Connection, claim_ids: pl.Series) -> pl.DataFrame:
    """Find the number of the latest remittance, whichever arrived first: a correction must name it.

    Returns:
        id (of the claim), payer_claim_number: of the claims that have any.
    """
    with staged(connection, claim_ids.unique().to_frame("id")) as asked:
        given = query(
            connection,
            sa.select(
                asked.c.id,
                *(REMITTANCE_CLAIM.c[name] for name in ("payer_claim_number", "is_reversal")),
                REMITTANCE.c.payment_date,
            )
            .join_from(asked, REMITTANCE_CLAIM, REMITTANCE_CLAIM.c.claim_id == asked.c.id)
            .join(REMITTANCE, REMITTANCE.c.id == REMITTANCE_CLAIM.c.remittance_id)
            .where(REMITTANCE_CLAIM.c.payer_claim_number.is_not(None)),
        )
    return (
        given.sort("payment_date", ~pl.col("is_reversal"), "payer_claim_number", nulls_last=False)
        .unique("id", keep="last", maintain_order=True)
        .select("id", "payer_claim_number")
    )
