"""Interchanges: which claims share a file, under which control numbers, and how far the file has come.

`tasks.ledger` calls it inside a read or a write. The bytes are written and sent elsewhere; here is
only what must be remembered so that a number is never used twice and a file never sent twice.
"""

import json
from datetime import date, datetime
from typing import Any, Final

import polars as pl
import sqlalchemy as sa

from schemas.ledger import BUILT, SENT
from tasks.claim_states import CLAIM, INTERCHANGE, TABLES, append_events, instant, move
from tasks.database import LedgerError, insert, query, staged, upsert

CONTROL_NUMBER: Final = TABLES["control_number"]
MISSING: Final = "missing_since"  # in a receipt: the delivery broke off, and the file is not to be seen
GROUP: Final = ("submitter_id", "receiver_id", "usage")


def allocate(connection: sa.Connection, *, month: date, source: str, max_claims: int, at: datetime) -> None:
    """Put every claim that waits for a file into a new one, under numbers never used before."""
    waiting = query(
        connection,
        sa.select(*(CLAIM.c[name] for name in ("id", "claim_number", *GROUP, "total_charge"))).where(
            CLAIM.c.service_month == month,
            CLAIM.c.source == source,
            CLAIM.c.is_live,
            CLAIM.c.state == BUILT,
            CLAIM.c.interchange_id.is_(None),
        ),
    ).sort("claim_number")
    if waiting.is_empty():
        return
    shared = waiting.with_columns(part=pl.int_range(pl.len()).over(GROUP) // max_claims)
    files = (
        shared.group_by(*GROUP, "part")
        .agg(claim_count=pl.len().cast(pl.Int64), total_charge=pl.col("total_charge").sum())
        .sort(*GROUP, "part")
    )
    numbered = _with_control_numbers(connection, files)
    rows = numbered.select(
        "receiver_id",
        "usage",
        "control_number",
        "file_name",
        "claim_count",
        "total_charge",
        sender_id="submitter_id",
        group_control_number="control_number",
        batch_id=pl.format("RPM{}-{}", pl.lit(f"{month:%Y%m}"), _nine_digits()),
        month=pl.lit(month),
        source=pl.lit(source),
        created_at=instant(at),
        state=pl.lit("reserved"),
        receipt=pl.lit("{}"),
    )
    insert(connection, INTERCHANGE, rows)
    names = rows["file_name"].to_list()
    ids = query(
        connection,
        sa.select(INTERCHANGE.c.id.label("interchange_id"), INTERCHANGE.c.file_name).where(
            INTERCHANGE.c.file_name.in_(names)
        ),
    )
    members = shared.join(numbered, on=[*GROUP, "part"]).join(ids, on="file_name")
    with staged(connection, members.select("id", "interchange_id")) as chosen:
        connection.execute(
            sa.update(CLAIM).where(CLAIM.c.id == chosen.c.id).values(interchange_id=chosen.c.interchange_id)
        )


def _with_control_numbers(connection: sa.Connection, files: pl.DataFrame) -> pl.DataFrame:
    """Number the files, consecutively for each pair of sender and receiver, and name them."""
    pairs = files.group_by("submitter_id", "receiver_id", maintain_order=True).agg(count=pl.len())
    first = [_take_numbers(connection, *pair) for pair in pairs.rows()]
    pair = ["submitter_id", "receiver_id"]
    name = pl.format("{}_{}_{}_{}.837", _safe("submitter_id"), _safe("receiver_id"), "usage", _nine_digits())
    return (
        files.join(pairs.with_columns(first=pl.Series(first, dtype=pl.Int64)), on=pair)
        .with_columns(control_number=pl.col("first") + pl.int_range(pl.len()).over(pair))
        .with_columns(file_name=name)
    )


def _take_numbers(connection: sa.Connection, sender_id: str, receiver_id: str, count: int) -> int:
    """Take consecutive control numbers for good and return the first of them."""
    taken = (
        upsert(connection, CONTROL_NUMBER)
        .values(sender_id=sender_id, receiver_id=receiver_id, next_value=1 + count)
        .on_conflict_do_update(
            index_elements=["sender_id", "receiver_id"],
            set_={"next_value": CONTROL_NUMBER.c.next_value + count},
        )
        .returning(CONTROL_NUMBER.c.next_value)
    )
    return int(connection.execute(taken).scalar_one()) - count


def _nine_digits() -> pl.Expr:
    """Write a control number as ISA13 shows it."""
    return pl.col("control_number").cast(pl.String).str.zfill(9)


def _safe(column: str) -> pl.Expr:
    """Keep of an identifier what any file system and any clearinghouse takes."""
    return pl.col(column).str.replace_all(r"[^A-Za-z0-9.-]", "-")


def listed(connection: sa.Connection, *, month: date, source: str | None) -> pl.DataFrame:
    """Return the month's files that are not void, oldest number first."""
    statement = sa.select(*INTERCHANGE.c).where(INTERCHANGE.c.month == month, INTERCHANGE.c.state != "void")
    if source is not None:
        statement = statement.where(INTERCHANGE.c.source == source)
    return (
        query(connection, statement)
        .rename({"id": "interchange_id"})
        .sort("sender_id", "receiver_id", "control_number")
    )


def record_written(
    connection: sa.Connection, interchange_id: int, *, uri: str, sha256: str, size: int
) -> bool:
    """Remember where a file's bytes lie; False if it has been sent, when its bytes are settled."""
    state = _state(connection, interchange_id)
    if state in ("sending", "sent"):
        settled = connection.execute(
            sa.select(INTERCHANGE.c.sha256).where(INTERCHANGE.c.id == interchange_id)
        ).scalar_one()
        if settled != sha256:
            raise LedgerError(f"interchange {interchange_id} was sent with other bytes; leave it as it is.")
        return False
    if state == "void":
        raise LedgerError(f"interchange {interchange_id} is void; allocate again.")
    _set(connection, interchange_id, state="written", uri=uri, sha256=sha256, size=size)
    return True


def record_sending(
    connection: sa.Connection, interchange_id: int, *, outbox: str = "", draft: str = ""
) -> bool:
    """Note, before a file gets its name in an outbox, as which draft it lies there; False if noted before."""
    state = _state(connection, interchange_id)
    if state not in ("written", "sending"):
        raise LedgerError(f"interchange {interchange_id} is {state}; only a written one can be sent.")
    _set(connection, interchange_id, state="sending", receipt={"outbox": outbox, "draft": draft})
    return state == "written"


def record_missing(connection: sa.Connection, interchange_id: int, *, at: datetime) -> None:
    """Note since when nobody can tell whether a file was delivered."""
    state, known = delivery(connection, interchange_id)
    if state == "sending":
        _set(connection, interchange_id, receipt={MISSING: at.isoformat(), **known})


def delivery(connection: sa.Connection, interchange_id: int) -> tuple[str, dict[str, Any]]:
    """Return how far a file has come, and what is known of its delivery."""
    asked = sa.select(INTERCHANGE.c.state, INTERCHANGE.c.receipt).where(INTERCHANGE.c.id == interchange_id)
    state, known = connection.execute(asked).one()
    # What a frame wrote is text in a JSON column.
    return str(state), dict(json.loads(known) if isinstance(known, str) else known)


def deliver_anew(connection: sa.Connection, file_name: str, *, by: str, why: str, at: datetime) -> bool:
    """Let a file that is missing be delivered once more; False if it is not, and nothing is changed."""
    asked = sa.select(INTERCHANGE.c.id).where(INTERCHANGE.c.file_name == file_name)
    interchange_id = connection.execute(asked).scalar()
    if interchange_id is None or MISSING not in delivery(connection, interchange_id)[1]:
        return False
    members = query(
        connection,
        sa.select(CLAIM.c.id, CLAIM.c.claim_number, CLAIM.c.state.label("from_state")).where(
            CLAIM.c.interchange_id == interchange_id
        ),
    )
    events = members.select(
        "id",
        "from_state",
        dedupe_key=pl.format("deliver-anew:{}:{}", "claim_number", pl.lit(at.isoformat())),
        to_state="from_state",
        data=pl.lit(json.dumps({"why": why, "file": file_name})),
    )
    append_events(connection, events, actor=by, at=at)
    _set(connection, interchange_id, state="written", receipt={})
    return True


def record_sent(
    connection: sa.Connection, interchange_id: int, *, receipt: dict[str, Any], at: datetime
) -> bool:
    """Remember the receipt and move the file's claims; False if that was done before."""
    state = _state(connection, interchange_id)
    if state == "sent":
        return False
    if state != "sending":
        raise LedgerError(f"interchange {interchange_id} is {state}; `sent` follows `sending`.")
    members = query(
        connection,
        sa.select(*(CLAIM.c[name] for name in ("id", "claim_number", "state", "state_version"))).where(
            CLAIM.c.interchange_id == interchange_id
        ),
    )
    key = pl.format("{}:{}", pl.lit(f"sent:{interchange_id}"), "claim_number")
    move(connection, members, SENT, actor="submission", at=at, dedupe=key)
    _set(connection, interchange_id, state="sent", sent_at=at, receipt=receipt)
    return True


def _state(connection: sa.Connection, interchange_id: int) -> str:
    """Return how far a file has come."""
    state = connection.execute(
        sa.select(INTERCHANGE.c.state).where(INTERCHANGE.c.id == interchange_id)
    ).scalar_one_or_none()
    if state is None:
        raise LedgerError(f"there is no interchange {interchange_id}.")
    return str(state)


def _set(connection: sa.Connection, interchange_id: int, **values: Any) -> None:
    """Write an interchange's columns."""
    connection.execute(sa.update(INTERCHANGE).where(INTERCHANGE.c.id == interchange_id).values(**values))
