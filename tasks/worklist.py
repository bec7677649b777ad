"""The worklist's writer: keeps what waits for a person, and closes by itself what has been put right.

Run after answers were collected and whenever somebody looks. What is an item is `billing.worklist`'s
judgement; here it is only compared with what is on the list already. An item a person closed or released
stays so; one that the data closed opens again when the fault comes back.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import polars as pl
import sqlalchemy as sa

from billing.books import Books
from billing.deposits import reassociate
from billing.reconciliation import reconcile
from billing.reference.tables import Reference
from billing.worklist import work_items
from schemas import ledger_views
from schemas.columns import MONEY
from tasks.claim_states import TABLES, instant
from tasks.database import insert, query, reading, staged, writing
from tasks.ledger import Ledger

ACTOR: Final = "worklist"  # who closes what is fixed
WORK_ITEM: Final = TABLES["work_item"]
MOST: Final = Decimal("9999999999.99")  # that the ledger holds as one amount; a sum may be more
# What may change about an item while it waits.
TOLD: Final = ("money", "deadline", "owner", "action", "retry_class", "reason", "incident_key", "reference")


@dataclass(frozen=True)
class Refreshed:
    """What became of the list: counts of items."""

    opened: int
    closed: int
    reopened: int
    open: int


def read_books(connection: sa.Connection, at: datetime) -> Books:
    """Read the books as of an instant's day."""
    statements = ledger_views.books(at.date())
    return Books(as_of=at.date(), **{name: query(connection, asked) for name, asked in statements.items()})


def refresh(ledger: Ledger, reference: Reference, at: datetime) -> Refreshed:
    """Bring the worklist up to what the ledger says now."""
    with reading(ledger.engine) as connection:
        books = read_books(connection, at)
    items = work_items(books, reconcile(books, reference), reassociate(books), reference)
    return record(ledger, items, at)


def record(ledger: Ledger, items: pl.DataFrame, at: datetime) -> Refreshed:
    """Open the items that are new, close those that are gone, and renew what is known of the others.

    Args:
        items: Every item there is now, as `billing.worklist.work_items` lists them.
    """
    items = items.with_columns(pl.col("money").clip(upper_bound=MOST).cast(MONEY))
    with writing(ledger.engine) as connection:
        known = query(
            connection, sa.select(*(WORK_ITEM.c[name] for name in ("key", "state", "closed_by", *TOLD)))
        )
        fresh = items.join(known, on="key", how="anti")
        back = known.filter(pl.col("state") == "closed", pl.col("closed_by") == ACTOR).join(
            items, on="key", how="semi"
        )
        gone = known.filter(pl.col("state") == "open").join(items, on="key", how="anti")
        waiting = known.filter(pl.col("state") == "open").select("key", *TOLD)
        changed = items.join(waiting, on="key", suffix="_was").filter(
            ~pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_was")) for name in TOLD)
        )
        _open(connection, fresh, at)
        _renew(
            connection,
            pl.concat(
                [changed.select("key", *TOLD), items.join(back, on="key", how="semi").select("key", *TOLD)]
            ),
        )
        _move(connection, gone["key"], at, state="closed", closed_at=at, closed_by=ACTOR)
        _move(connection, back["key"], at, state="open", closed_at=None, closed_by=None)
    still_open = waiting.height - gone.height + fresh.height + back.height
    return Refreshed(opened=fresh.height, closed=gone.height, reopened=back.height, open=still_open)


def _open(connection: sa.Connection, fresh: pl.DataFrame, at: datetime) -> None:
    """Add items."""
    rows = fresh.select("kind", "key", "claim_id", *TOLD).with_columns(
        state=pl.lit("open"), opened_at=instant(at), events=pl.lit(json.dumps([_event(at, "opened")]))
    )
    insert(connection, WORK_ITEM, rows)


def _renew(connection: sa.Connection, told: pl.DataFrame) -> None:
    """Write what is now known of items that are there already."""
    if told.is_empty():
        return
    with staged(connection, told) as now:
        connection.execute(
            sa.update(WORK_ITEM)
            .where(WORK_ITEM.c.key == now.c.key)
            .values({name: now.c[name] for name in TOLD})
        )


def _move(connection: sa.Connection, keys: Iterable[str], at: datetime, **values: Any) -> None:
    """Close or reopen items, each with an event that says so."""
    moved = list(keys)
    if not moved:
        return
    what = "closed" if values["state"] == "closed" else "reopened"
    # A list only ever changes by a handful of items, each with a history of its own.
    with staged(connection, pl.DataFrame({"key": moved})) as wanted:
        found = connection.execute(
            sa.select(WORK_ITEM.c.id, WORK_ITEM.c.events).join(wanted, WORK_ITEM.c.key == wanted.c.key)
        ).all()
    connection.execute(
        sa.update(WORK_ITEM)
        .where(WORK_ITEM.c.id == sa.bindparam("item_id"))
        .values(**{name: sa.bindparam(f"new_{name}") for name in (*values, "events")}),
        [
            {"item_id": row.id, "new_events": [*row.events, _event(at, what)]}
            | {f"new_{name}": value for name, value in values.items()}
            for row in found
        ],
    )


def _event(at: datetime, what: str) -> dict[str, str]:
    return {"at": at.isoformat(), "actor": ACTOR, "what": what}
