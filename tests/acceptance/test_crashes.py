"""The power fails, anywhere: the same command, given again, ends as if nothing had happened."""

import re
from pathlib import Path

import pytest

from tests.acceptance.afterwards import files_in, marks_in
from tests.acceptance.conftest import NewPractice, Story

ROOT = Path(__file__).parents[2]

BEFORE_THE_LEDGER = (
    *("after open-month", "after pin", "after screen-snapshot", "after screen-entries", "after screen-readings"),
    *("after settle-entries", "after untangle-staff", "after bill-bucket", "draft .parquet"),
)
IN_THE_LEDGER = (
    *("after remember-run", "evidence kept", "claims not committed", "after register-claims"),
    *("claims withdrawn", "numbers not committed", "after allocate-files"),
    *("file checked", "draft .837", "file written", "after file-interchange"),
    *("pins recorded", "run remembered as done", "after publish"),
)
OUTPUTS = (
    *("draft .csv", "lines published", "holds published", "quarantine published"),
    *("draft .json", "funnel published", "draft .html", "report published"),
)
SUBMISSION = (
    *("after plan-submission", "sending marked", "draft .837", "file delivered", "receipt not committed"),
    "after deliver-file",
)

# Where no ledger is in play, one database is as good as the other.
MONTH_END_DEATHS = [
    *(("sqlite", point) for point in (*BEFORE_THE_LEDGER, *IN_THE_LEDGER, *OUTPUTS)),
    *(("postgresql", point) for point in IN_THE_LEDGER),
]
SUBMISSION_DEATHS = [(kind, point) for kind in ("sqlite", "postgresql") for point in SUBMISSION]


def every_point_in_the_code() -> set[str]:
    """Find the names of all crash points, those that every step has included."""
    code = "\n".join(path.read_text() for room in ("tasks", "flows") for path in (ROOT / room).rglob("*.py"))
    own = set(re.findall(r'crashpoint\("([^"]+)"\)', code))
    return own | {f"after {name}" for name in re.findall(r'^@step\("([^"]+)"\)', code, re.MULTILINE)}


def test_every_crash_point_of_the_code_is_died_at() -> None:
    died_at = {point for _, point in (*MONTH_END_DEATHS, *SUBMISSION_DEATHS)}
    assert {point for point in died_at if not point.startswith("draft ")} == every_point_in_the_code()
    assert len(died_at) >= 20


@pytest.mark.parametrize(("kind", "point"), MONTH_END_DEATHS)
def test_a_month_that_dies_anywhere_and_runs_again_is_the_undisturbed_month(
    eve_of: NewPractice, story: Story, kind: str, point: str
) -> None:
    undisturbed = story.after("month_end", kind)
    practice = eve_of("month_end", kind)
    assert practice.run("month_end", point).is_killed
    # What lies there already is whole: no reader, at any instant, sees half a file or another one.
    assert practice.outputs().items() <= undisturbed.outputs.items()
    assert practice.run("month_end").is_done
    assert practice.outputs() == undisturbed.outputs
    assert practice.ledger() == undisturbed.ledger
    practice.assert_sound()


@pytest.mark.parametrize(("kind", "point"), SUBMISSION_DEATHS)
def test_a_submission_that_dies_anywhere_and_runs_again_sends_each_file_once(
    eve_of: NewPractice, story: Story, kind: str, point: str
) -> None:
    undisturbed = story.after("submission", kind)
    practice = eve_of("submission", kind)
    assert practice.run("submission", point).is_killed
    left_by_the_dead = marks_in(practice.delivered)
    assert practice.run("submission").is_done
    assert left_by_the_dead.items() <= marks_in(practice.delivered).items(), "a file was sent twice"
    assert files_in(practice.delivered) == undisturbed.delivered
    assert practice.ledger() == undisturbed.ledger
    practice.assert_sound()
