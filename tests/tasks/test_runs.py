"""Runs: the order of the starts, who may write for a month, and whose frames nobody needs any more."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from tasks.database import query, reading, writing
from tasks.ledger import Ledger
from tasks.runs import KEPT_FOR_RETRY, MONTH_RUN, SILENT_FOR, Overtaken, spent
from tests.tasks.made_claims import AT, OCTOBER, SOURCE, month

PINS = pl.DataFrame(
    {"dataset": ["patients"], "key": ["patients/a.csv"], "version": ["1"], "size": [9], "sha256": ["f" * 64]}
)
OLD, NEW = "old-input", "new-input"


@pytest.fixture
def two(ledger: Ledger, ledger_url: str) -> Iterator[dict[str, Ledger]]:
    """Two runs of one month, `early` and then `late`, each with the ledger in its own hands."""
    for name in ("early", "late"):
        ledger.record_run(name, month=OCTOBER, source=SOURCE, output="out", at=AT)
    with Ledger(ledger_url, run_id="early") as early, Ledger(ledger_url, run_id="late") as late:
        yield {"early": early, "late": late}


def register(ledger: Ledger, charge: str = "55.25") -> None:
    claims, lines = month(2, charge=charge)
    ledger.register_claims(claims, lines, month=OCTOBER, source=SOURCE, at=AT)


def states(ledger: Ledger) -> dict[str, str]:
    with reading(ledger.engine) as connection:
        asked = sa.select(MONTH_RUN.c.run_id, MONTH_RUN.c.state)
        return dict(connection.execute(asked).tuples().all())


def set_run(ledger: Ledger, run_id: str, **values: Any) -> None:
    with writing(ledger.engine) as connection:
        connection.execute(sa.update(MONTH_RUN).where(MONTH_RUN.c.run_id == run_id).values(**values))


def test_runs_start_one_after_the_other_whatever_the_clock_says(ledger: Ledger) -> None:
    for number, at in enumerate((AT, AT, AT - timedelta(days=1), AT + timedelta(days=1))):
        ledger.record_run(str(number), month=OCTOBER, source=SOURCE, output="out", at=at)
    with reading(ledger.engine) as connection:
        started = query(connection, sa.select(MONTH_RUN.c.run_id, MONTH_RUN.c.started_at))
    assert started.sort("started_at")["run_id"].to_list() == ["0", "1", "2", "3"]
    assert started["started_at"].n_unique() == 4


def test_a_run_that_read_less_than_a_later_one_changes_nothing_any_more(
    ledger: Ledger, two: dict[str, Ledger]
) -> None:
    two["early"].record_pins("early", OLD, PINS)
    register(two["early"])
    two["late"].record_pins("late", NEW, PINS)
    register(two["late"], "60.00")
    before = ledger.month_claims(OCTOBER)
    nobody = pl.Series([], dtype=pl.String)
    where: dict[str, Any] = {"month": OCTOBER, "source": SOURCE, "at": AT}
    for write in (
        lambda: register(two["early"]),
        lambda: two["early"].withdraw_missing(nobody, **where),
        lambda: two["early"].allocate_interchanges(**where),
        lambda: two["early"].record_written(1, uri="u", sha256="f" * 64, size=1),
        two["early"].vouch,
        lambda: two["early"].record_pins("early", OLD, PINS),
        lambda: two["early"].finish_run("early", summary={}, at=AT),
    ):
        with pytest.raises(Overtaken, match="started after this one has taken its place"):
            write()
    assert ledger.month_claims(OCTOBER).equals(before)
    assert ledger.month_interchanges(OCTOBER).is_empty()
    assert two["late"].allocate_interchanges(**where)["claim_count"].to_list() == [2]
    assert ledger.is_overtaken("early")
    assert not ledger.is_overtaken("late")


def test_two_runs_of_the_same_input_both_come_to_their_end(ledger: Ledger, two: dict[str, Ledger]) -> None:
    two["late"].record_pins("late", OLD, PINS)
    register(two["late"])
    two["late"].finish_run("late", summary={}, at=AT)
    two["early"].record_pins("early", OLD, PINS)
    register(two["early"])
    two["early"].finish_run("early", summary={}, at=AT)
    assert states(ledger) == {"early": "done", "late": "done"}


def test_a_later_run_that_has_not_registered_yet_or_reads_another_source_stops_nobody(
    ledger: Ledger, two: dict[str, Ledger]
) -> None:
    ledger.record_run("other", month=OCTOBER, source="s3://other", output="out", at=AT)
    ledger.record_pins("other", NEW, PINS)
    two["early"].record_pins("early", OLD, PINS)
    register(two["early"])
    assert not ledger.is_overtaken("early")


def test_a_failed_run_is_not_retried_once_a_later_one_is_done(ledger: Ledger, two: dict[str, Ledger]) -> None:
    two["early"].record_pins("early", OLD, PINS)
    ledger.fail_run("early", at=AT)
    assert not ledger.is_overtaken("early")
    two["late"].record_pins("late", OLD, PINS)
    two["late"].finish_run("late", summary={}, at=AT)
    assert ledger.is_overtaken("early")


def test_a_run_that_is_done_closes_those_that_never_told_their_end(
    ledger: Ledger, two: dict[str, Ledger]
) -> None:
    two["late"].record_pins("late", OLD, PINS)
    two["late"].finish_run("late", summary={"claims": 3}, at=AT)
    assert states(ledger) == {"early": "failed", "late": "done"}
    assert ledger.summary_of("late") == {"claims": 3}
    assert ledger.summary_of("early") is None


def test_frames_are_kept_as_long_as_somebody_may_need_them(ledger: Ledger, two: dict[str, Ledger]) -> None:
    def over() -> set[str]:
        with reading(ledger.engine) as connection:
            return spent(connection)

    now = datetime.now(UTC)
    assert over() == set()
    ledger.fail_run("early", at=AT)
    assert over() == set(), "it may be retried"
    set_run(ledger, "early", seen_at=now - KEPT_FOR_RETRY - timedelta(hours=1))
    assert over() == {"early"}
    set_run(ledger, "early", state="running", finished_at=None, seen_at=now)
    two["late"].record_pins("late", OLD, PINS)
    two["late"].finish_run("late", summary={}, at=AT)
    assert over() == {"late"}, "the other one lives"
    set_run(ledger, "early", seen_at=now - SILENT_FOR - timedelta(minutes=1))
    assert over() == {"early", "late"}
