"""Accounts: what a claim is owed is opened when it was sent, and a payer's decision moves it on.

`tasks.remittances`, `tasks.late_matching` and the collection's last step call it inside a write they hold.
"""

from datetime import datetime
from typing import Final

import polars as pl
import sqlalchemy as sa

import schemas.ledger_answers  # noqa: F401  its tables belong to the ledger
from schemas.ledger import ADJUDICATED, BUILT, ENDED, SENT
from tasks.claim_states import CLAIM, INTERCHANGE, TABLES, instant, transition
from tasks.database import insert, query, staged
from tasks.matching import prove_sent
from tasks.registration import CLAIM_LINE

POSTING: Final = TABLES["posting"]
REMITTANCE: Final = TABLES["remittance"]
REMITTANCE_CLAIM: Final = TABLES["remittance_claim"]
ACTOR: Final = "collection"


def charge_claims(connection: sa.Connection, claim_ids: pl.Series, at: datetime) -> None:
    """Open what the claims are owed: one charge for each line, once, dated the day the claim was sent."""
    with staged(connection, claim_ids.unique().to_frame("claim_id")) as asked:
        lines = query(
            connection,
            _uncharged().join_from(asked, CLAIM, CLAIM.c.id == asked.c.claim_id, isouter=False)
            if False
            else _uncharged().where(CLAIM.c.id.in_(sa.select(asked.c.claim_id))),
        )
    _charge(connection, lines, at)
