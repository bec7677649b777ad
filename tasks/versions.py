"""Versions: the successor of a claim that a person decided on: a replacement, a void, or the claim once more.

`tasks.operations` calls it inside one write. The successor starts with the figures of the claim it follows;
the next month-end brings it to what the input says, as it does with every claim that was not sent, and files
it. A void stays as it is. Whether a successor may be made at all is decided by the caller.
"""

import json
from datetime import datetime
from typing import Any, Final

import polars as pl
import sqlalchemy as sa

from schemas.errors import Refused
from schemas.ledger import BUILT, REPLACED
from tasks.claim_states import CLAIM, append_events, move
from tasks.registration import CLAIM_LINE, KEY, ORIGINAL, VERSION_CHARACTERS

STEM: Final = 16  # of the claim number; its last character is the version


def succeed(
    connection: sa.Connection,
    claim: sa.RowMapping,
    frequency: str,
    *,
    by: str,
    why: str,
    at: datetime,
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
    move(
        connection,
        ended,
        REPLACED,
        actor=by,
        at=at,
        dedupe=pl.format("{}:{}", pl.lit("succeeded"), "claim_number"),
        data=pl.lit(json.dumps({**told, "by_claim": number})),
    )
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
    lines = connection.execute(sa.select(CLAIM_LINE).where(CLAIM_LINE.c.claim_id == claim["id"])).mappings()
    connection.execute(
        sa.insert(CLAIM_LINE),
        [
            {
                **line,
                "claim_id": claim_id,
                "line_control_number": f"{number}{line['line_control_number'][STEM + 1 :]}",
            }
            for line in lines
        ],
    )
    built = pl.DataFrame(
        [
            {
                "id": claim_id,
                "dedupe_key": f"built:{number}",
                "from_state": None,
                "to_state": BUILT,
                "data": json.dumps(told),
            }
        ],
        schema_overrides={"from_state": pl.String},
    )
    append_events(connection, built, actor=by, at=at)
    return number
