"""Operations: what somebody who runs the system sees of it: runs, files, what waits for whom, and how it is.

Made by `tasks.watching`, `tasks.schedules` and `tasks.examination`; shown by the console, written as
metrics by `tasks.telemetry`. Counts, money, places and names of files only: no patient's data and no secret.
"""

from datetime import datetime
from decimal import Decimal
from typing import Literal

from schemas.shards import Record


class RunSeen(Record):
    """The newest start of the month-end for one month and output, and how it ended."""

    month: str
    output: str
    state: str  # running, done or failed; running also where the power failed, and then soon silent
    started_at: datetime
    started_by: str | None
    finished_at: datetime | None
    seen_at: datetime | None = None  # its last sign of life, by the real clock
    # Whether it gives no sign of life any more, and is not said to have ended.
    is_silent: bool = False
    # Whether a later run of the month, to whatever output, came to its end.
    is_overtaken: bool = False
    # Whether this or an earlier run of it came to its end.
    is_billed: bool


class FilesSeen(Record):
    """The files of one month, or of one kind that came back, in one state."""

    direction: Literal["out", "in"]
    month: str
    kind: str  # 837P, or what came back: TA1, 999, 277CA, 835, …
    state: str
    files: int
    claims: int | None = None
    charged: Decimal | None = None
    newest_at: datetime | None = None


class ClaimsSeen(Record):
    """The live claims in one state."""

    state: str
    claims: int
    charged: Decimal


class Waiting(Record):
    """Something that goes no further by itself: what, for whom, since when, and the next step."""

    kind: str  # a work item's kind, or one of `tasks.watching`; few and stable, for alarms
    what: str
    waits_for: str
    count: int
    money: Decimal | None = None
    since: datetime | None = None
    next_step: str


class ScheduleSeen(Record):
    """One deployment as Prefect knows it."""

    deployment: str
    is_paused: bool
    last_run: str | None
    last_state: str | None
    last_at: datetime | None
    next_at: datetime | None
    late_runs: int
    late_since: datetime | None


class Status(Record):
    """Everything at one instant."""

    at: datetime
    runs: list[RunSeen]
    files: list[FilesSeen]
    claims: list[ClaimsSeen]
    # None where no Prefect server is set, so that nobody takes silence for health.
    schedules: list[ScheduleSeen] | None
    waiting: list[Waiting]
    open_money: Decimal
    oldest_unanswered_at: datetime | None


class Check(Record):
    """One thing the doctor looked at, what was found, and what to do where it is not well."""

    name: str
    state: Literal["ok", "warning", "failed", "unset"]
    found: str
    fix: str | None = None

    @property
    def needs_people(self) -> bool:
        """Tell whether somebody must do something about it."""
        return self.state in ("warning", "failed")


class BrokenFile(Record):
    """A kept file that is missing or does not hold what the ledger says."""

    uri: str
    what: str


class VerifiedMonth(Record):
    """The files kept for one month, read back and held against the ledger."""

    month: str
    files: int
    broken: list[BrokenFile]


class NightlySummary(Record):
    """What the nightly check found."""

    files: int
    broken: list[BrokenFile]
    opened_items: int
    open_items: int
    waiting: list[Waiting]
