"""Claim states: the one way a claim moves, many claims at a time, each move an event.

`tasks.ledger`, `tasks.registration` and `tasks.interchanges` use it inside a write they already hold.
Which moves exist is data in `schemas.ledger.TRANSITIONS`; who asks for one and why is not known here.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import polars as pl
import sqlalchemy as sa

from schemas.ledger import BUILT, ENDED, TRANSITIONS, LedgerTable
from tasks.database import LedgerError, insert, query, staged

TABLES: Final = LedgerTable.metadata.tables
CLAIM: Final = TABLES["claim"]
CLAIM_EVENT: Final = TABLES["claim_event"]
INTERCHANGE: Final = TABLES["interchange"]

# The natural key of a claim; versions of one claim share it, and their numbers up to the last character.
KEY: Final = ("billing_npi", "member_id", "service_month", "code_family")
VERSION_CHARACTERS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ORIGINAL, REPLACEMENT, VOIDING = "1", "7", "8"  # CLM05-3

NO_DATA: Final = pl.lit("{}")


def move(
    connection: sa.Connection,
    claims: pl.DataFrame,
    to: str,
    *,
    actor: str,
    at: datetime,
    dedupe: pl.Expr,
    data: pl.Expr = NO_DATA,
    learned: Iterable[str] = (),
) -> None:
    """Move claims to a state and append the events that say so.

    Args:
        claims: id, claim_number, state, state_version as just read, and whatever the expressions use.
        dedupe: The event's key over `claims`; a key used before refuses the whole move.
        data: JSON text over `claims`, kept with the event.
        learned: Columns of `claims` that each claim takes on with the move, where they are not null.

    Raises:
        LedgerError: If the move does not exist, or a claim is no longer as it was read.
    """
    if claims.is_empty():
        return
    refused = claims.filter(~may_move(pl.col("state"), to))
    if not refused.is_empty():
        number, state = refused.select("claim_number", "state").row(0)
        raise LedgerError(f"claim {number} is {state} and cannot become {to} ({refused.height} like it).")
    events = claims.select("id", dedupe_key=dedupe, from_state="state", to_state=pl.lit(to), data=data)
    append_events(connection, events, actor=actor, at=at)
    with staged(connection, claims.select("id", "state_version", *learned)) as before:
        news = {name: sa.func.coalesce(before.c[name], CLAIM.c[name]) for name in learned}
        moved = connection.execute(
            sa.update(CLAIM)
            .where(CLAIM.c.id == before.c.id, CLAIM.c.state_version == before.c.state_version)
            .values(state=to, is_live=to not in ENDED, state_version=CLAIM.c.state_version + 1, updated_at=at)
            .values(news)
        )
    if moved.rowcount != claims.height:
        raise LedgerError(f"{claims.height - moved.rowcount} claims changed while they were moved to {to}.")


def may_move(state: pl.Expr, to: str) -> pl.Expr:
    """Tell whether a claim in a state may move to another."""
    return state.is_in([before for before, after in TRANSITIONS.items() if to in after])


def append_events(connection: sa.Connection, events: pl.DataFrame, *, actor: str, at: datetime) -> None:
    """Append events: id (of the claim), dedupe_key, from_state, to_state, data (JSON text)."""
    stamped = events.rename({"id": "claim_id"}).with_columns(actor=pl.lit(actor), at=instant(at))
    insert(connection, CLAIM_EVENT, stamped)


def transition(
    connection: sa.Connection,
    asked: pl.DataFrame,
    to: str,
    *,
    actor: str,
    dedupe: str,
    at: datetime,
    data: pl.Expr = NO_DATA,
) -> pl.DataFrame:
    """Move the claims that may move, once; see `tasks.ledger.Ledger.transition`.

    Args:
        asked: The claims by claim_number or by id, once each; a claim that moves takes on every other column.
    """
    key = "claim_number" if "claim_number" in asked.columns else "id"
    learned = [name for name in asked.columns if name != key]
    with staged(connection, asked) as wanted:
        named = wanted if key == "claim_number" else CLAIM
        found = query(
            connection,
            sa.select(
                named.c.claim_number,
                *(CLAIM.c[name] for name in ("id", "state", "state_version")),
                *(wanted.c[name] for name in learned),
                CLAIM_EVENT.c.id.label("event_id"),
            )
            .select_from(wanted)
            .outerjoin(CLAIM, CLAIM.c[key] == wanted.c[key])
            .outerjoin(
                CLAIM_EVENT, CLAIM_EVENT.c.dedupe_key == sa.literal(f"{dedupe}:") + CLAIM.c.claim_number
            ),
        )
    found = found.with_columns(
        outcome=pl.when(pl.col("id").is_null())
        .then(pl.lit("unknown"))
        .when(pl.col("event_id").is_not_null())
        .then(pl.lit("repeated"))
        .when(may_move(pl.col("state"), to))
        .then(pl.lit("moved"))
        .otherwise(pl.lit("refused"))
    )
    moved = found.filter(pl.col("outcome") == "moved")
    event_key = pl.format("{}:{}", pl.lit(dedupe), "claim_number")
    move(connection, moved, to, actor=actor, at=at, dedupe=event_key, data=data, learned=learned)
    return found.select("claim_number", "outcome", from_state="state").sort("claim_number")


def void_interchanges(connection: sa.Connection, interchange_ids: Iterable[int]) -> None:
    """Give up files not yet sent; their claims are free to be filed again, under new numbers."""
    ids = sorted(set(interchange_ids))
    if not ids:
        return
    connection.execute(sa.update(INTERCHANGE).where(INTERCHANGE.c.id.in_(ids)).values(state="void"))
    connection.execute(
        sa.update(CLAIM)
        .where(CLAIM.c.interchange_id.in_(ids), CLAIM.c.state == BUILT)
        .values(interchange_id=None)
    )


def instant(at: datetime) -> pl.Expr:
    """Return an instant as a column of the ledger's precision."""
    return pl.lit(at).cast(pl.Datetime("us", "UTC"))
