"""Keeping: whether the files we must be able to show are still there, byte for byte as the ledger knows them.

The nightly check calls these steps month by month: claim files, the evidence that funds their claims, and the
answers as they came. A file is read whole and never changed; mending is a person's decision. What killed runs
left behind where they worked goes the same night (`tasks.sweeping`).
"""

import hashlib
from datetime import UTC, date, datetime, timedelta
from typing import Final

import sqlalchemy as sa

from schemas.errors import OutsideFailed
from schemas.operations import BrokenFile, NightlySummary, VerifiedMonth
from schemas.settings import load_settings
from tasks import database, worklist
from tasks.claim_states import CLAIM, INTERCHANGE, TABLES
from tasks.filing import open_ledger
from tasks.ledger import Ledger
from tasks.reference import reference
from tasks.runs import MONTH_RUN
from tasks.step import LOG, step
from tasks.storage import NotFound, storage_at
from tasks.sweeping import sweep, sweep_previews
from tasks.watching import look

INBOUND_FILE: Final = TABLES["inbound_file"]
# A claim may be filed for a year after its month, and an appeal take some months more.
KEPT_UNDER_WATCH: Final = timedelta(days=500)
# What waits because somebody must run, start or mend something, and not because a payer is slow.
ALARMING: Final = (
    *("month_missing", "run_without_end", "server_silent"),
    *("schedule_late", "schedule_failed", "schedule_stuck", "schedule_empty"),
)


@step("months-to-verify")
def months_to_verify() -> list[str]:
    """List the months whose files are still of use, oldest first."""
    since = (load_settings().clock() - KEPT_UNDER_WATCH).date()
    with open_ledger() as ledger:
        ledger.upgrade()
        with database.reading(ledger.engine) as connection:
            sent = connection.execute(sa.select(INTERCHANGE.c.month).distinct()).scalars()
            received = connection.execute(sa.select(INBOUND_FILE.c.received_at)).scalars()
            days = [*sent, *(instant.date() for instant in received)]
    return sorted({f"{day:%Y-%m}" for day in days if day >= since})


@step("verify-month")
def verify_month(month: str) -> VerifiedMonth:
    """Read the files of a month back: its claims' files and evidence, and what came back in it."""
    wanted = _wanted(date.fromisoformat(f"{month}-01"))
    broken = [BrokenFile(uri=uri, what=what) for uri, sha256 in wanted if (what := _fault(uri, sha256))]
    LOG.info("%s: %d files read back, %d of them broken", month, len(wanted), len(broken))
    return VerifiedMonth(month=month, files=len(wanted), broken=broken)


def _wanted(first: date) -> list[tuple[str, str]]:
    """Name the files that the ledger knows of a month, with their sha256."""
    start = datetime.combine(first, datetime.min.time(), UTC)
    end = datetime.combine((first + timedelta(days=32)).replace(day=1), datetime.min.time(), UTC)
    received = INBOUND_FILE.c.received_at
    with open_ledger() as ledger, database.reading(ledger.engine) as connection:
        files = connection.execute(
            sa.select(INTERCHANGE.c.uri, INTERCHANGE.c.sha256).where(
                INTERCHANGE.c.month == first,
                INTERCHANGE.c.state.in_(("written", "sending", "sent")),
                INTERCHANGE.c.uri.is_not(None),
            )
        ).all()
        answers = connection.execute(
            sa.select(INBOUND_FILE.c.uri, INBOUND_FILE.c.sha256).where(received >= start, received < end)
        ).all()
        evidence = connection.execute(
            sa.select(CLAIM.c.evidence_uri).where(CLAIM.c.service_month == first, CLAIM.c.is_live).distinct()
        ).scalars()
        # A file of evidence bears its hash as its name.
        named = [(uri, uri.rpartition("/")[2].removesuffix(".parquet")) for uri in evidence]
    return sorted({(uri, sha256) for uri, sha256 in (*files, *answers)} | set(named))


def _fault(uri: str, sha256: str) -> str | None:
    """Say what is wrong with a file, if anything is."""
    folder, _, name = uri.rpartition("/")
    digest = hashlib.sha256()
    try:
        for chunk in storage_at(folder).stream(name):
            digest.update(chunk)
    except NotFound:
        return "it is missing"
    except OutsideFailed as failure:
        return f"it cannot be read: {failure}"
    return None if digest.hexdigest() == sha256 else "its content is not what the ledger knows"


@step("sweep-outputs")
def sweep_outputs() -> int:
    """Remove what killed runs left behind in every output, and count it."""
    sweep_previews()
    with open_ledger() as ledger:
        with database.reading(ledger.engine) as connection:
            outputs = connection.execute(sa.select(MONTH_RUN.c.output).distinct()).scalars().all()
        swept = sum(_swept(ledger, output) for output in outputs)
    LOG.info("%d leftovers of killed runs removed", swept)
    return swept


def _swept(ledger: Ledger, output: str) -> int:
    """Sweep one output; one that cannot be reached any more is no reason to stop."""
    try:
        return sweep(ledger, output)
    except OutsideFailed as failure:
        LOG.warning("%s was not swept: %s", output, failure)
        return 0


@step("refresh-worklist")
def refresh_worklist() -> list[int]:
    """Bring the worklist up to date, overdue answers included, and count the new and the open items."""
    with open_ledger() as ledger:
        refreshed = worklist.refresh(ledger, reference(), load_settings().clock())
    LOG.info("worklist: %d new, %d closed, %d open", refreshed.opened, refreshed.closed, refreshed.open)
    return [refreshed.opened + refreshed.reopened, refreshed.open]


@step("report-night")
def report_night(verified: list[VerifiedMonth], items: list[int]) -> NightlySummary:
    """Put together what the night found."""
    with open_ledger() as ledger:
        status = look(ledger, load_settings())
    opened, still_open = items
    return NightlySummary(
        files=sum(month.files for month in verified),
        broken=[file for month in verified for file in month.broken],
        opened_items=opened,
        open_items=still_open,
        waiting=[item for item in status.waiting if item.kind in ALARMING],
    )
