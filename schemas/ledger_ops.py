"""Ledger tables of operations: what people decided about a month, each decision with who, when and why.

`tasks.operations` writes them; `tasks.submitting` asks for approvals and the month-end for releases before
they act. What a decision may be about is the rules': `billing` for releases, the settings for approvals.
"""

from datetime import date, datetime
from typing import Final

import sqlalchemy as sa
from sqlmodel import Field

from schemas.ledger import ID, LedgerTable, UtcDateTime, one_of

RELEASE_KINDS: Final = ("hold", "row")
RELEASE_STATES: Final = ("open", "closed")


class Approval(LedgerTable, table=True):
    """One named person's word that one file, exactly these bytes, may leave."""

    __tablename__ = "approval"
    __table_args__ = (sa.UniqueConstraint("interchange_id", "sha256"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=ID)
    interchange_id: int = Field(foreign_key="interchange.id", sa_type=ID)
    sha256: str = Field(max_length=64)
    approved_by: str = Field(max_length=64)
    entered_by: str = Field(max_length=64)  # the operator at the keyboard
    at: datetime = Field(sa_type=UtcDateTime)


class Release(LedgerTable, table=True):
    """A person's word that a hold or a refused row of a month is to be let through.

    A month-end that no longer finds the reason closes it; what was decided stays.
    """

    __tablename__ = "release"
    __table_args__ = (
        one_of("kind", RELEASE_KINDS),
        one_of("state", RELEASE_STATES),
        sa.Index(
            "uq_release_open",
            *("month", "kind", "subject", "reason_code"),
            unique=True,
            sqlite_where=sa.text("state = 'open'"),
            postgresql_where=sa.text("state = 'open'"),
        ),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=ID)
    month: date
    kind: str = Field(max_length=8)
    subject: str  # a hold's patient_id, a row's key
    reason_code: str = Field(max_length=40)  # the hold reason, or the rule the row failed
    why: str
    released_by: str = Field(max_length=64)
    entered_by: str = Field(max_length=64)
    at: datetime = Field(sa_type=UtcDateTime)
    state: str = Field(max_length=8)
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    closed_by: str | None = Field(default=None, max_length=64)
