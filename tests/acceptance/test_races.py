"""Two at once: whoever comes second finds the work done, and nothing is made, numbered or sent twice."""

import os
import shutil
import signal
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from tests.acceptance.afterwards import files_in, rows
from tests.acceptance.conftest import NewPractice, Story
from tests.acceptance.lone_runs import MONTH, Ending, Practice

BOTH = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
LATE = f"time-entries/{MONTH}/part-2.csv"


def together(practice: Practice, *runs: tuple[str, str]) -> list[Ending]:
    """Run several flows of one practice at the same time: each a flow and the clock it goes by."""
    with ExitStack() as stack:
        running = [
            stack.enter_context(practice.started(flow, RPMCLAIMS_NOW=now) if now else practice.started(flow))
            for flow, now in runs
        ]
        return [run.ending() for run in running]


def without_the_late_file(practice: Practice, source: Path) -> Practice:
    """Let a practice read a source of its own, to which one object has yet to come."""
    shutil.copytree(practice.source, source)
    (source / LATE).unlink()
    return replace(practice, source=str(source))


def arrives(practice: Practice, story: Story) -> None:
    """Let the late object come, whole at once."""
    target = Path(practice.source, LATE)
    draft = target.with_suffix(".part")
    shutil.copyfile(story.source / LATE, draft)
    draft.replace(target)


def without_versions(lines: bytes) -> pl.DataFrame:
    """Read lines.csv, each claim under its number but for the version at the end of it."""
    return pl.read_csv(lines, infer_schema=False).with_columns(pl.col("claim_number").str.head(16))


def wait_until(path: Path) -> None:
    """Wait until something lies there."""
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} never came"
        time.sleep(0.01)


@BOTH
def test_two_month_ends_at_once_are_one_month(eve_of: NewPractice, story: Story, kind: str) -> None:
    undisturbed = story.after("month_end", kind)
    practice = eve_of("month_end", kind)
    endings = together(practice, ("month_end", ""), ("month_end", ""))
    assert all(ending.is_done for ending in endings), endings
    assert practice.outputs() == undisturbed.outputs
    assert practice.ledger() == undisturbed.ledger
    practice.assert_sound()


@BOTH
def test_two_month_ends_by_two_clocks_make_each_claim_and_number_once(
    eve_of: NewPractice, story: Story, kind: str
) -> None:
    practice = eve_of("month_end", kind)
    endings = together(practice, ("month_end", "2026-11-20T08:00:00Z"), ("month_end", "2026-11-24T08:00:00Z"))
    assert all(ending.is_done for ending in endings), endings
    practice.assert_sound()
    assert practice.outputs()["lines.csv"] == story.after("month_end", kind).outputs["lines.csv"]


@BOTH
def test_two_submissions_at_once_send_each_file_once(eve_of: NewPractice, story: Story, kind: str) -> None:
    practice = eve_of("submission", kind)
    endings = together(practice, ("submission", ""), ("submission", ""), ("submission", ""))
    assert all(ending.is_done for ending in endings), endings
    assert files_in(practice.delivered) == story.after("submission", kind).delivered
    practice.assert_sound()
    receipts = [file["receipt"] for file in rows(practice.ledger_url, "interchange")]
    assert [receipt["was_there"] for receipt in receipts] == [False] * len(receipts)


@BOTH
def test_a_month_that_changes_while_it_is_sent_sends_what_the_ledger_says(
    eve_of: NewPractice, story: Story, tmp_path: Path, kind: str
) -> None:
    practice = without_the_late_file(eve_of("month_end", kind), tmp_path / "source")
    assert practice.run("month_end").is_done
    arrives(practice, story)
    endings = together(practice, ("submission", ""), ("month_end", ""))
    # Either may have come too late for the other, and says so.
    assert all(ending.is_done or ending.kind in ("Refused", "LedgerError") for ending in endings), endings
    assert practice.run("month_end").is_done
    assert practice.run("submission").is_done
    practice.assert_sound()


@BOTH
def test_a_run_that_slept_through_a_later_one_wakes_and_changes_nothing(
    eve_of: NewPractice, story: Story, tmp_path: Path, kind: str
) -> None:
    practice = without_the_late_file(eve_of("month_end", kind), tmp_path / "source")
    with practice.started("month_end") as early:
        # Its first frames lie there: it has pinned what it reads.
        wait_until(practice.folder / practice.output / ".stage")
        os.kill(early.process.pid or 0, signal.SIGSTOP)
        arrives(practice, story)
        assert practice.run("month_end").is_done
        outputs, ledger = practice.outputs(), practice.ledger()
        os.kill(early.process.pid or 0, signal.SIGCONT)
        ending = early.ending()
    assert (ending.exit_code, ending.kind) == (1, "Overtaken")
    assert "run the month-end again" in ending.sentence
    assert practice.outputs() == outputs
    assert practice.ledger() == ledger
    practice.assert_sound()
    whole = story.after("month_end", kind).outputs["lines.csv"]
    assert outputs["lines.csv"] == whole


@BOTH
def test_two_month_ends_of_which_one_saw_a_late_file_end_as_the_whole_month(
    eve_of: NewPractice, story: Story, tmp_path: Path, kind: str
) -> None:
    practice = without_the_late_file(eve_of("month_end", kind), tmp_path / "source")
    with practice.started("month_end") as early:
        # Its first frames lie there: it has pinned what it reads.
        wait_until(practice.folder / practice.output / ".stage")
        arrives(practice, story)
        with practice.started("month_end") as late:
            endings = [early.ending(), late.ending()]
    allowed = ("Overtaken", "LedgerError", "ChangedSincePinned")
    assert all(ending.is_done or ending.kind in allowed for ending in endings), endings
    assert practice.run("month_end").is_done
    practice.assert_sound()
    # A claim that the blind run took back lives on as its next version.
    whole = story.after("month_end", kind).outputs["lines.csv"]
    assert without_versions(practice.outputs()["lines.csv"]).equals(without_versions(whole))
