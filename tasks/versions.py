"""Versions: a claim's successor that a person decided on, and the way back where no payer took it in.

`tasks.operations` and `tasks.registration` call it inside one write. The successor starts with the figures of
the claim it follows; the next month-end brings it to what the input says, as it does with every claim that
was not sent, and files it. A void stays as it is. Whether a successor may be made is decided by the caller.
"""

import json
from datetime import datetime
from typing import Any, Final

import polars as pl
import sqlalchemy as sa

from schemas.errors import Refused
from schemas.ledger import ADJUDICATED, BUILT, REPLACED
from tasks.claim_states import (
    CLAIM,
    CLAIM_EVENT,
    KEY,
    ORIGINAL,
    TABLES,
    VERSION_CHARACTERS,
    append_events,
    move,
)
from tasks.database import query, staged

CLAIM_LINE: Final = TABLES["claim_line"]
STEM: Final = 16  # of the claim number; its last character is the version


def succeed(
    connection: sa.Connection, claim: sa.RowMapping, frequency: str, *, by: str, why: str, at: datetime
) -> str:
    """End a live claim in favour of its next version, and return the number of that.

    Args:
        claim: Every column of the live claim.
        frequency: Why it goes out again (CLM05-3); what corrects a decided claim names the payer's number.
    """
    same_key = (CLAIM.c[name] == claim[name] for name in KEY)
    version = connection.execute(sa.select(sa.func.max(CLAIM.c.version)).where(*same_key)).scalar_one() + 1
    if version >= len(VERSION_CHARACTERS):
        raise Refused(f"Claim {claim['claim_number']} has no version left; settle it with the payer by hand.")
    number = f"{claim['claim_number'][:STEM]}{VERSION_CHARACTERS[version]}"
    told = {"why": why, "by": by, "frequency": frequency}
    ended = pl.DataFrame([{name: claim[name] for name in ("id", "claim_number", "state", "state_version")}])
    key = pl.format("succeeded:{}:{}", "claim_number", "state_version")
    data = pl.lit(json.dumps({**told, "by_claim": number}))
    move(connection, ended, REPLACED, actor=by, at=at, dedupe=key, data=data)
    own: dict[str, Any] = {
        "claim_number": number,
        "version": version,
        "is_live": True,
        "frequency_code": frequency,
        "original_claim_number": claim["claim_number"],
        "payer_claim_number": None if frequency == ORIGINAL else claim["payer_claim_number"],
        "state": BUILT,
        "state_version": 1,
        "interchange_id": None,
        "created_at": at,
        "updated_at": at,
    }
    copied = {name: value for name, value in claim.items() if name != "id"}
    made = sa.insert(CLAIM).values({**copied, **own}).returning(CLAIM.c.id)
    claim_id = int(connection.execute(made).scalar_one())
    _copy_lines(connection, claim["id"], claim_id, number)
    built = {"id": claim_id, "dedupe_key": f"built:{number}", "from_state": None, "to_state": BUILT}
    event = pl.DataFrame([{**built, "data": json.dumps(told)}], schema_overrides={"from_state": pl.String})
    append_events(connection, event, actor=by, at=at)
    return number


def _copy_lines(connection: sa.Connection, from_id: int, to_id: int, number: str) -> None:
    """Give a claim the lines of another, their control numbers following its own."""
    theirs = connection.execute(sa.select(CLAIM_LINE).where(CLAIM_LINE.c.claim_id == from_id)).mappings()
    lines = [
        {
            **line,
            "claim_id": to_id,
            "line_control_number": f"{number}{line['line_control_number'][STEM + 1 :]}",
        }
        for line in theirs
    ]
    connection.execute(sa.insert(CLAIM_LINE), lines)


def reinstate(connection: sa.Connection, voided: pl.DataFrame, *, actor: str, at: datetime) -> pl.DataFrame:
    """Let the version live again that the payer decided, where no payer took its replacement in.

    Args:
        voided: The replacements that were given up, with the columns of the natural key.

    Returns:
        id and claim_number of the claims that live again.
    """
    columns = (CLAIM.c[name] for name in ("id", "claim_number", *KEY, "version", "state", "state_version"))
    with staged(connection, voided.select(KEY)) as keys:
        decided = query(
            connection,
            sa.select(*columns)
            .select_from(keys)
            .join(CLAIM, sa.and_(*(CLAIM.c[name] == keys.c[name] for name in KEY)))
            .join(CLAIM_EVENT, CLAIM_EVENT.c.claim_id == CLAIM.c.id)
            .where(CLAIM_EVENT.c.from_state == ADJUDICATED, CLAIM_EVENT.c.to_state == REPLACED),
        )
    latest = decided.sort("version").unique(KEY, keep="last", maintain_order=True)
    key = pl.format("reinstated:{}:{}", "claim_number", "state_version")
    move(connection, latest, ADJUDICATED, actor=actor, at=at, dedupe=key)
    return latest.select("id", "claim_number")
