"""Counting: what the ledger holds, counted by state for those who run the system.

`tasks.watching` asks within one reading. Nothing is judged here and nothing written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa

from schemas.ledger import ACCEPTED, ADJUDICATED, RECEIVED, REJECTED
from schemas.ledger_answers import CLAIM_ACCOUNTS
from schemas.operations import ClaimsSeen, FilesSeen, RunSeen, Waiting
from tasks.claim_states import CLAIM, INTERCHANGE, TABLES
from tasks.ledger import CORRECTION
from tasks.runs import MONTH_RUN, is_silent

INBOUND_FILE: Final = TABLES["inbound_file"]
ANSWER: Final = TABLES["answer"]
POSTING: Final = TABLES["posting"]
WORK_ITEM: Final = TABLES["work_item"]

# States of a claim that show that its file arrived.
ANSWERED: Final = (RECEIVED, ACCEPTED, REJECTED, ADJUDICATED)


@dataclass(frozen=True)
class Facts:
    """The questions to the ledger, within one consistent reading."""

    connection: sa.Connection

    def _ask(self, statement: Any) -> Sequence[sa.RowMapping]:
        return self.connection.execute(statement).mappings().all()

    def runs(self) -> list[RunSeen]:
        """Give the newest run of every month and output, newest month first."""
        names = ("month", "output", "state", "started_at", "started_by", "seen_at", "finished_at")
        of_one = (MONTH_RUN.c.month, MONTH_RUN.c.output)
        newest_first = (MONTH_RUN.c.started_at.desc(), MONTH_RUN.c.run_id)
        ended = sa.case((MONTH_RUN.c.state == "done", 1), else_=0)
        later = MONTH_RUN.alias("later")
        is_overtaken = sa.exists().where(
            *(later.c[name] == MONTH_RUN.c[name] for name in ("month", "source")),
            later.c.started_at > MONTH_RUN.c.started_at,
            later.c.state == "done",
        )
        numbered = sa.select(
            *(MONTH_RUN.c[name] for name in names),
            sa.func.row_number().over(partition_by=of_one, order_by=newest_first).label("place"),
            sa.func.max(ended).over(partition_by=of_one).label("is_billed"),
            is_overtaken.label("is_overtaken"),
        ).subquery()
        told = (numbered.c[name] for name in (*names, "is_billed", "is_overtaken"))
        asked = sa.select(*told).where(numbered.c.place == 1)
        found = self._ask(asked.order_by(numbered.c.month.desc(), numbered.c.started_at.desc()))
        return [_run_seen(row) for row in found]

    def files_out(self) -> list[FilesSeen]:
        """Count the claim files by month and state; those taken back are of no interest."""
        group = (INTERCHANGE.c.month, INTERCHANGE.c.state)
        asked = sa.select(
            *group,
            sa.func.count().label("files"),
            sa.func.sum(INTERCHANGE.c.claim_count).label("claims"),
            _sum(INTERCHANGE.c.total_charge).label("charged"),
            sa.func.max(INTERCHANGE.c.sent_at, type_=INTERCHANGE.c.sent_at.type).label("newest_at"),
        ).where(INTERCHANGE.c.state != "void")
        found = self._ask(asked.group_by(*group).order_by(INTERCHANGE.c.month.desc(), INTERCHANGE.c.state))
        return [
            FilesSeen(**{**row, "direction": "out", "kind": "837P", "month": f"{row['month']:%Y-%m}"})
            for row in found
        ]

    def files_in(self) -> list[FilesSeen]:
        """Count the files that came back by the month of their arrival, kind and state."""
        received = INBOUND_FILE.c.received_at
        month = (
            sa.func.to_char(sa.func.timezone("UTC", received), "YYYY-MM")
            if self.connection.dialect.name == "postgresql"
            else sa.func.substr(sa.type_coerce(received, sa.Text), 1, 7)
        ).label("month")
        kind, state = INBOUND_FILE.c.kind, INBOUND_FILE.c.state
        newest = sa.func.max(received, type_=received.type).label("newest_at")
        asked = sa.select(month, kind, state, sa.func.count().label("files"), newest)
        found = self._ask(asked.group_by(month, kind, state).order_by(month.desc(), kind, state))
        return [FilesSeen(direction="in", **row) for row in found]

    def claims(self) -> list[ClaimsSeen]:
        """Count the live claims by state."""
        state = CLAIM.c.state
        asked = sa.select(
            state, sa.func.count().label("claims"), _sum(CLAIM.c.total_charge).label("charged")
        ).where(CLAIM.c.is_live)
        return [ClaimsSeen(**row) for row in self._ask(asked.group_by(state).order_by(state))]

    def corrections(self) -> list[Waiting]:
        """Count the sent claims that the input no longer supports."""
        since = sa.func.min(CORRECTION.c.found_at, type_=CORRECTION.c.found_at.type)
        asked = sa.select(sa.func.count().label("count"), since.label("since"))
        (found,) = self._ask(asked.where(CORRECTION.c.state == "open"))
        if not found["count"]:
            return []
        step = "`rpmclaims worklist` lists them; `rpmclaims correct CLAIM` says what the payer takes."
        return (
            [Waiting(kind="correction", what="corrections", waits_for="billing", next_step=step, **found)]
            if found["count"]
            else []
        )

    def work_items(self) -> list[Waiting]:
        """Count the open items of the worklist by kind."""
        kind, owner = WORK_ITEM.c.kind, sa.func.coalesce(WORK_ITEM.c.owner, "billing")
        asked = sa.select(
            kind.label("kind"),
            kind.label("what"),
            owner.label("waits_for"),
            sa.func.count().label("count"),
            _sum(WORK_ITEM.c.money).label("money"),
            sa.func.min(WORK_ITEM.c.opened_at, type_=WORK_ITEM.c.opened_at.type).label("since"),
        ).where(WORK_ITEM.c.state == "open", kind != "correction")
        found = self._ask(asked.group_by(kind, owner).order_by(kind, owner))
        return [Waiting(next_step="`rpmclaims worklist` says what to do about each.", **row) for row in found]

    def open_money(self) -> Decimal:
        """Add up what the claims that left are still owed: charges less everything that settles them."""
        signed = sa.case((POSTING.c.account == "charge", POSTING.c.amount), else_=-POSTING.c.amount)
        asked = sa.select(_sum(signed)).where(
            POSTING.c.claim_id.is_not(None), POSTING.c.account.in_(CLAIM_ACCOUNTS)
        )
        return self.connection.execute(asked).scalar_one() or Decimal("0.00")

    def oldest_unanswered(self) -> datetime | None:
        """Say when the oldest file was sent of which nothing has been heard."""
        heard = sa.union(
            sa.select(ANSWER.c.interchange_id).where(ANSWER.c.interchange_id.is_not(None)),
            sa.select(CLAIM.c.interchange_id).where(
                CLAIM.c.interchange_id.is_not(None), CLAIM.c.state.in_(ANSWERED)
            ),
        )
        asked = sa.select(sa.func.min(INTERCHANGE.c.sent_at, type_=INTERCHANGE.c.sent_at.type)).where(
            INTERCHANGE.c.state == "sent", INTERCHANGE.c.id.not_in(heard)
        )
        found: datetime | None = self.connection.execute(asked).scalar_one()
        return found


def _run_seen(row: sa.RowMapping) -> RunSeen:
    """Tell of one run, and whether it still gives signs of life."""
    silent = row["state"] == "running" and is_silent(row["seen_at"] or row["started_at"])
    return RunSeen(**{**row, "month": f"{row['month']:%Y-%m}", "is_silent": silent})


def _sum(amount: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Add money up as money: a sum of cents is no number of dollars."""
    return sa.func.sum(amount, type_=INTERCHANGE.c.total_charge.type)
