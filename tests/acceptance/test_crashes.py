"""The power fails, anywhere: the same command, given again, ends as if nothing had happened."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from tasks.database import connect, writing
from tasks.runs import MONTH_RUN
from tests.acceptance.afterwards import files_in, marks_in, rows
from tests.acceptance.conftest import Chapter, NewPractice, Story
from tests.acceptance.lone_runs import MONTH, Practice

ROOT = Path(__file__).parents[2]
WITH_STEPS = (
    *("screening", "settling", "judging", "filing", "publishing"),
    *("submitting", "collecting", "keeping"),
)

BEFORE_THE_LEDGER = (
    *(
        "after open-month",
        "after remember-run",
        "after pin",
        "after screen-snapshot",
        "after screen-entries",
        "after screen-readings",
    ),
    *("after settle-entries", "after untangle-staff", "after bill-bucket", "draft .parquet"),
)
IN_THE_LEDGER = (
    *(
        "pins recorded",
        "after register-input",
        "evidence kept",
        "claims not committed",
        "after register-claims",
    ),
    *("claims withdrawn", "numbers not committed", "after allocate-files"),
    *("file checked", "draft .837", "file written", "after file-interchange"),
    *("run remembered as done", "after publish"),
)
OUTPUTS = (
    *("draft .csv", "lines published", "holds published", "quarantine published"),
    *("draft .json", "funnel published", "draft .html", "report published"),
)
SUBMISSION = (
    *("after plan-submission", "draft .part", "bytes uploaded", "sending marked", "file delivered"),
    *("receipt not committed", "after deliver-file"),
)
COLLECTION = (
    *("after open-collection", "after list-inbox", "answer kept", "answer not committed", "answer posted"),
    *("after collect-files", "matches not committed", "after match-again"),
)
NIGHT = (
    *("after months-to-verify", "after verify-month", "after sweep-outputs", "after refresh-worklist"),
    "after report-night",
)


def every_point_in_the_code() -> set[str]:
    """Find the names of all crash points, those that every step of the flows has included."""
    code = "\n".join(path.read_text() for path in (ROOT / "tasks").glob("*.py"))
    steps = "\n".join((ROOT / "tasks" / f"{name}.py").read_text() for name in WITH_STEPS)
    own = re.findall(r'crashpoint\("([^"]+)"\)', code)
    return {*own, *(f"after {name}" for name in re.findall(r'^@step\("([^"]+)"\)', steps, re.MULTILINE))}


def test_every_crash_point_of_the_code_is_died_at() -> None:
    died_at = {*BEFORE_THE_LEDGER, *IN_THE_LEDGER, *OUTPUTS, *SUBMISSION, *COLLECTION, *NIGHT}
    assert {point for point in died_at if not point.startswith("draft ")} == every_point_in_the_code()
    assert len(died_at) >= 20


@pytest.mark.parametrize(
    "points", [BEFORE_THE_LEDGER, IN_THE_LEDGER, OUTPUTS], ids=["before", "in", "outputs"]
)
def test_a_month_that_dies_anywhere_and_runs_again_is_the_undisturbed_month(
    eve_of: NewPractice, story: Story, subtests: pytest.Subtests, points: tuple[str, ...]
) -> None:
    undisturbed = story.after("month_end", "sqlite")

    def die_and_run_again(point: str) -> Practice:
        practice = eve_of("month_end", name=point)
        assert practice.run("month_end", point).is_killed, point
        assert_whole_so_far(practice, undisturbed)
        assert practice.run("month_end").is_done, point
        return practice

    # Two at a time: each run is one process, most of whose time is its own.
    with ThreadPoolExecutor(2) as pool:
        risen = dict(zip(points, pool.map(die_and_run_again, points), strict=True))
    for point, practice in risen.items():
        with subtests.test(point=point):
            assert_undisturbed(practice, undisturbed)
            practice.assert_sound()


def test_a_month_that_dies_again_and_again_on_a_server_is_the_undisturbed_month(
    eve_of: NewPractice, story: Story
) -> None:
    undisturbed = story.after("month_end", "postgresql")
    practice = eve_of("month_end", "postgresql")
    for point in IN_THE_LEDGER:
        ending = practice.run("month_end", point)
        # A file that an earlier death left whole is not written again.
        assert ending.is_killed or (
            ending.is_done and point in ("file checked", "draft .837", "file written")
        ), point
        assert_whole_so_far(practice, undisturbed)
    assert practice.run("month_end").is_done
    assert_undisturbed(practice, undisturbed)
    practice.assert_sound()


def test_a_submission_that_dies_anywhere_and_runs_again_sends_each_file_once(
    eve_of: NewPractice, story: Story, subtests: pytest.Subtests
) -> None:
    undisturbed = story.after("submission", "sqlite")
    for point in SUBMISSION:
        with subtests.test(point=point):
            practice = eve_of("submission", name=point)
            assert practice.run("submission", point).is_killed
            assert_sends_the_rest(practice, undisturbed)


def test_a_submission_that_dies_again_and_again_on_a_server_sends_each_file_once(
    eve_of: NewPractice, story: Story
) -> None:
    practice = eve_of("submission", "postgresql")
    for point in SUBMISSION:
        assert practice.run("submission", point).is_killed, point
    assert_sends_the_rest(practice, story.after("submission", "postgresql"))


def test_a_collection_that_dies_anywhere_and_runs_again_posts_each_answer_once(
    eve_of: NewPractice, story: Story, subtests: pytest.Subtests
) -> None:
    undisturbed = story.after("collection", "sqlite")
    for point in COLLECTION:
        with subtests.test(point=point):
            practice = eve_of("collection", name=point)
            assert practice.run("collection", point).is_killed
            assert_posts_the_rest(practice, undisturbed)


def test_a_collection_that_dies_again_and_again_on_a_server_posts_each_answer_once(
    eve_of: NewPractice, story: Story
) -> None:
    practice = eve_of("collection", "postgresql")
    for point in COLLECTION:
        assert practice.run("collection", point).is_killed, point
    assert_posts_the_rest(practice, story.after("collection", "postgresql"))


def test_a_night_that_dies_anywhere_and_comes_again_finds_the_same(
    eve_of: NewPractice, story: Story, subtests: pytest.Subtests
) -> None:
    undisturbed = story.after("nightly", "sqlite")
    for point in NIGHT:
        with subtests.test(point=point):
            practice = eve_of("nightly", name=point)
            assert practice.run("nightly", point).is_killed
            assert practice.run("nightly").is_done
            assert_undisturbed(practice, undisturbed)


def test_a_file_the_clearinghouse_took_from_a_dead_sender_is_not_sent_again(
    eve_of: NewPractice, subtests: pytest.Subtests
) -> None:
    for point in SUBMISSION:
        with subtests.test(point=point):
            practice = eve_of("submission", name=point)
            assert practice.run("submission", point).is_killed
            taken = set(files_in(practice.delivered))
            for name in taken:
                (practice.delivered / name).unlink()
            assert practice.run("submission").is_done
            assert not taken & files_in(practice.delivered).keys(), "a file was sent twice"
            files = rows(practice.ledger_url, "interchange")
            doubtful = {file["file_name"] for file in files if "missing_since" in file["receipt"]}
            assert doubtful <= taken
            sent = {file["file_name"] for file in files if file["state"] == "sent"}
            assert sent | doubtful == {file["file_name"] for file in files}
            # Who remembers the delivery is in no doubt.
            assert bool(doubtful) == (point in ("file delivered", "receipt not committed"))


def test_frames_and_drafts_of_the_dead_are_swept_away_by_the_living(eve_of: NewPractice) -> None:
    practice = eve_of("month_end")
    stages = practice.folder / practice.output / ".stage" / MONTH
    assert practice.run("month_end", "draft .csv").is_killed
    (draft,) = (path for path in practice.month.iterdir() if path.name.startswith(".lines.csv."))
    (dead,) = stages.iterdir()
    assert practice.run("month_end").is_done
    assert (draft.exists(), dead.exists()) == (True, True), "whoever died just now may be alive"
    long_ago = datetime.now(UTC) - timedelta(hours=3)
    os.utime(draft, (long_ago.timestamp(), long_ago.timestamp()))
    with writing(connect(practice.ledger_url)) as connection:
        last_of_the_dead = sa.update(MONTH_RUN).where(MONTH_RUN.c.run_id == dead.name)
        assert connection.execute(last_of_the_dead.values(seen_at=long_ago)).rowcount == 1
    assert practice.run("nightly").is_done
    assert not draft.exists()
    assert not (practice.folder / practice.output / ".stage").exists()


def assert_whole_so_far(practice: Practice, undisturbed: Chapter) -> None:
    """What lies there already is whole: no reader, at any instant, sees half a file or another one."""
    assert practice.outputs().items() <= undisturbed.outputs.items()


def assert_sends_the_rest(practice: Practice, undisturbed: Chapter) -> None:
    """The next submission sends what was not sent, and nothing a second time."""
    left_by_the_dead = marks_in(practice.delivered)
    assert practice.run("submission").is_done
    assert left_by_the_dead.items() <= marks_in(practice.delivered).items(), "a file was sent twice"
    assert files_in(practice.delivered) == undisturbed.delivered
    assert_undisturbed(practice, undisturbed)
    practice.assert_sound()


def assert_posts_the_rest(practice: Practice, undisturbed: Chapter) -> None:
    """The next collection posts what was not posted, and nothing a second time."""
    assert undisturbed.ledger["posting"]
    assert practice.run("collection").is_done
    assert_undisturbed(practice, undisturbed)
    practice.assert_sound()


def assert_undisturbed(practice: Practice, undisturbed: Chapter) -> None:
    """The same files to the byte, and the same ledger but for its row numbers."""
    assert practice.outputs() == undisturbed.outputs
    assert practice.ledger() == undisturbed.ledger
