"""Approvals: whose word a month's files need before they leave, and whose word they have.

`tasks.submitting` asks before it sends; the console calls `approve` through `flows.decisions`. The thresholds
are settings; an approval is for exact bytes, so a file that changes needs a new one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

import polars as pl
import sqlalchemy as sa

import schemas.ledger_ops  # noqa: F401  its tables belong to the ledger
from schemas.decisions import Approved
from schemas.errors import Refused
from schemas.settings import Settings, load_settings
from tasks import database
from tasks.claim_states import INTERCHANGE, TABLES
from tasks.ledger import Ledger
from tasks.months import first_day
from tasks.runs import MONTH_RUN
from tasks.storage import storage_at

APPROVAL: Final = TABLES["approval"]


@dataclass(frozen=True)
class MonthOfFiles:
    """The files of one month and output, and what is known about the run that made them."""

    month: date
    output: str
    files: pl.DataFrame  # every column of the ledger's interchanges that are not void
    started_by: str | None
    rows_read: int
    rows_quarantined: int
    approved: frozenset[tuple[int, str]]  # file and sha256

    @property
    def claim_count(self) -> int:
        """Claims of the month, sent or not."""
        return int(self.files["claim_count"].sum())

    @property
    def money(self) -> Decimal:
        """Charges of the month, sent or not."""
        return Decimal(self.files["total_charge"].cast(pl.Decimal(38, 2)).sum() or 0)

    @property
    def quarantine_share(self) -> Decimal:
        """Refused rows of all rows read."""
        return Decimal(self.rows_quarantined) / max(1, self.rows_read)


def month_of_files(ledger: Ledger, month: date, output: str | None) -> MonthOfFiles:
    """Look up what the newest month-end of an output left; no output means the only one there is.

    Raises:
        Refused: If there is none, or it did not come to its end.
    """
    with database.reading(ledger.engine) as connection:
        found = connection.execute(
            sa.select(MONTH_RUN)
            # A run that broke off before it registered anything has changed nothing.
            .where(
                MONTH_RUN.c.month == month,
                MONTH_RUN.c.manifest_sha256.is_not(None) | (MONTH_RUN.c.state == "done"),
            )
            .order_by(MONTH_RUN.c.started_at)
        ).mappings()
        runs = [{**run, "place": storage_at(run["output"]).uri} for run in found]
        place = storage_at(output).uri if output is not None else _only_place(runs, month)
        runs = [run for run in runs if run["place"] == place]
        newest = _newest(runs, month, output or "any output")
        sources = sorted({run["source"] for run in runs})
        files = database.query(
            connection,
            sa.select(*INTERCHANGE.c).where(
                INTERCHANGE.c.month == month,
                INTERCHANGE.c.source.in_(sources),
                INTERCHANGE.c.state != "void",
            ),
        ).rename({"id": "interchange_id"})
        words = connection.execute(
            sa.select(APPROVAL.c.interchange_id, APPROVAL.c.sha256).where(
                APPROVAL.c.interchange_id.in_(files["interchange_id"].to_list())
            )
        )
        approved = frozenset((number, sha256) for number, sha256 in words)
    read, quarantined = _rows(newest["summary"])
    return MonthOfFiles(
        month=month,
        output=output or place,
        files=files.sort("sender_id", "receiver_id", "control_number"),
        started_by=newest["started_by"],
        rows_read=read,
        rows_quarantined=quarantined,
        approved=approved,
    )


def _only_place(runs: Sequence[Mapping[str, Any]], month: date) -> str:
    """Name the one output a month was written to."""
    places = sorted({str(run["place"]) for run in runs})
    if len(places) > 1:
        raise Refused(f"{month:%Y-%m} was written to {len(places)} outputs: say which with --output.")
    return places[0] if places else ""


def _newest(runs: Sequence[Mapping[str, Any]], month: date, output: str) -> Mapping[str, Any]:
    """Pick the newest run; one that did not end leaves files nobody has looked at."""
    if not runs:
        raise Refused(f"No month-end of {month:%Y-%m} has written to {output}: run it first.")
    newest = [run for run in runs if run["started_at"] == runs[-1]["started_at"]]
    done = [run for run in newest if run["state"] == "done"]
    if not done:
        raise Refused(
            f"The last month-end of {month:%Y-%m} did not come to its end: run it again, then submit."
        )
    return done[-1]


def _rows(summary: Mapping[str, Any]) -> tuple[int, int]:
    """Add up the rows read and refused that a run's funnel tells of."""
    sources = summary.get("funnel", {}).get("sources", [])
    return (
        sum(totals["rows_read"] - totals["rows_elsewhere"] for totals in sources),
        sum(totals["rows_quarantined"] for totals in sources),
    )


def why_approval_is_needed(found: MonthOfFiles, settings: Settings) -> str | None:
    """Say which threshold a month is above; None where it is above none."""
    for is_above, said in (
        (
            _above(found.money, settings.approval_over_money),
            f"{found.month:%Y-%m} charges ${found.money:,.2f}, which is more than "
            f"RPMCLAIMS_APPROVAL_OVER_MONEY (${settings.approval_over_money})",
        ),
        (
            _above(found.claim_count, settings.approval_over_claims),
            f"{found.month:%Y-%m} has {found.claim_count:,} claims, which is more than "
            f"RPMCLAIMS_APPROVAL_OVER_CLAIMS ({settings.approval_over_claims})",
        ),
        (
            _above(found.quarantine_share, settings.approval_over_quarantine_share),
            f"{found.quarantine_share:.1%} of the rows of {found.month:%Y-%m} are in quarantine, which is "
            f"more than RPMCLAIMS_APPROVAL_OVER_QUARANTINE_SHARE ({settings.approval_over_quarantine_share})",
        ),
    ):
        if is_above:
            return said
    return None


def _above(figure: Decimal | int, threshold: Decimal | int | None) -> bool:
    return threshold is not None and figure > threshold


def approve(month: str, output: str | None, by: str) -> Approved:
    """Let the unsent files of a month leave, exactly as they are now, on the word of a second person.

    Raises:
        Refused: If nothing waits, or the approver is the one who started the run.
    """
    settings = load_settings()
    approver = signature(by)
    with Ledger(settings.ledger_url) as ledger:
        ledger.upgrade()
        found = month_of_files(ledger, first_day(month), output)
        waiting = found.files.filter(pl.col("state").is_in(["written", "sending"]))
        if waiting.is_empty():
            raise Refused(f"No file of {month} waits to be sent, so there is nothing to approve.")
        if found.started_by and approver.casefold() == found.started_by.casefold():
            raise Refused(
                f"{found.started_by} started the month-end of {month}; somebody else must approve its files."
            )
        rows = waiting.select("interchange_id", "sha256").to_dicts()
        said = {"approved_by": approver, "entered_by": settings.operator, "at": settings.clock()}
        with database.writing(ledger.engine) as connection:
            words = database.upsert(connection, APPROVAL).values([{**row, **said} for row in rows])
            connection.execute(words.on_conflict_do_nothing(index_elements=["interchange_id", "sha256"]))
    return Approved(
        month=month,
        approved_by=approver,
        files=dict(waiting.select("file_name", "sha256").iter_rows()),
        claim_count=int(waiting["claim_count"].sum()),
        total_charge=Decimal(waiting["total_charge"].sum()),
    )


def signature(by: str) -> str:
    """Take a name as somebody signs with it."""
    name = " ".join(by.split())[:64]
    if not name:
        raise Refused("Say who decides: --by NAME.")
    return name
