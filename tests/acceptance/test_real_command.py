"""The real command, Prefect and all: killed and given again, given twice at once, and through a bad line.

`test_crashes` dies at every point without Prefect, in a hundredth of the machine's time; here is what Prefect
adds: its server keeps thinking that the dead run is running, and its steps are repeated by themselves.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness

from infra.sandbox.servers import S3Server
from tasks.storage import storage_at
from tests.acceptance.afterwards import files_in, rows
from tests.acceptance.conftest import NewPractice, Story
from tests.acceptance.fault_proxy import Fault, fault_proxy, http_error
from tests.acceptance.lone_runs import KILLED, MONTH, NOW, PATIENCE, Practice

pytestmark = pytest.mark.flow
FAILED, WRONG = 1, 2


@pytest.fixture(scope="module")
def prefect_api() -> Iterator[str]:
    """A Prefect server of these tests alone; every command talks to it."""
    with prefect_test_harness(server_startup_timeout=180):
        yield PREFECT_API_URL.value() or ""


def start(
    practice: Practice, prefect_api: str, crash_at: str = "", *arguments: str, **environment: str
) -> subprocess.Popen[str]:
    """Give a command in the practice's folder: a month-end unless another is said."""
    practice.folder.mkdir(parents=True, exist_ok=True)
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("RPMCLAIMS_", "PREFECT_"))
    }
    month_end = ("month-end", "--month", MONTH, "--source", practice.source, "--output", practice.output)
    return subprocess.Popen(
        [sys.executable, "-m", "console.cli", *(arguments or month_end)],
        cwd=practice.folder,
        env={
            **inherited,
            "PREFECT_API_URL": prefect_api,
            "RPMCLAIMS_HOME": "home",
            "RPMCLAIMS_NOW": NOW,
            "RPMCLAIMS_PATIENTS_PER_BUCKET": "7",
            "RPMCLAIMS_LEDGER_URL": practice.ledger_url,
            "RPMCLAIMS_CRASH_AT": crash_at,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> int:
    """Wait for its end; what it said is shown where a test fails."""
    said, _ = process.communicate(timeout=PATIENCE)
    print(said)
    return process.returncode


@pytest.mark.parametrize("point", ["after register-claims", "file written"])
def test_a_command_that_is_killed_and_given_again_leaves_the_undisturbed_month(
    eve_of: NewPractice, story: Story, prefect_api: str, point: str
) -> None:
    undisturbed = story.after("month_end", "sqlite")
    practice = eve_of("month_end")
    assert ended(start(practice, prefect_api, point)) == KILLED
    assert practice.outputs().items() <= undisturbed.outputs.items()
    assert ended(start(practice, prefect_api)) == 0
    assert practice.outputs() == undisturbed.outputs
    assert practice.ledger() == undisturbed.ledger
    practice.assert_sound()


def test_a_command_that_is_stopped_says_so_and_given_again_leaves_the_undisturbed_month(
    eve_of: NewPractice, story: Story, prefect_api: str
) -> None:
    undisturbed = story.after("month_end", "sqlite")
    practice = eve_of("month_end")
    process = start(practice, prefect_api)
    assert process.stdout is not None
    assert any("objects pinned" in line for line in process.stdout)
    process.terminate()
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == FAILED
    assert "Stopped. Nothing is lost: run the same command again." in said
    assert "Traceback" not in said
    assert ended(start(practice, prefect_api)) == 0
    assert practice.outputs() == undisturbed.outputs
    practice.assert_sound()


def test_a_retry_that_is_killed_is_retried_and_leaves_the_undisturbed_month(
    eve_of: NewPractice, story: Story, prefect_api: str
) -> None:
    undisturbed = story.after("month_end", "sqlite")
    practice = eve_of("month_end")
    assert ended(start(practice, prefect_api, "after bill-bucket")) == KILLED
    for point in ("numbers not committed", "report published", "after publish"):
        assert ended(start(practice, prefect_api, point, "retry")) == KILLED, point
        assert practice.outputs().items() <= undisturbed.outputs.items()
    assert ended(start(practice, prefect_api, "", "retry")) == 0
    assert practice.outputs() == undisturbed.outputs
    assert practice.ledger() == undisturbed.ledger
    assert [run["state"] for run in rows(practice.ledger_url, "month_run")] == ["done"]
    practice.assert_sound()
    assert ended(start(practice, prefect_api, "", "retry")) == WRONG


def test_a_command_given_twice_at_once_makes_one_month(
    eve_of: NewPractice, story: Story, prefect_api: str
) -> None:
    undisturbed = story.after("month_end", "postgresql")
    practice = eve_of("month_end", "postgresql")
    both = [start(practice, prefect_api), start(practice, prefect_api)]
    assert [ended(process) for process in both] == [0, 0]
    assert practice.outputs() == undisturbed.outputs
    assert practice.ledger() == undisturbed.ledger
    practice.assert_sound()


def test_steps_that_a_bad_line_broke_are_repeated_and_the_command_is_done(
    eve_of: NewPractice, story: Story, prefect_api: str, s3: S3Server, s3_bucket: str, tiny_month: Path
) -> None:
    source = storage_at(f"s3://{s3_bucket}/source")
    for name, data in files_in(tiny_month).items():
        source.write(name, data)
    with fault_proxy(int(s3.endpoint_url.rpartition(":")[2])) as line:
        # botocore does not ask again for a body that broke off, nor here for anything else: the step does.
        line.faults = [
            Fault(b"/source/patients/", is_heard=True, passes=600),
            Fault(b"/lines.csv", answer=http_error(503, "SlowDown")),
        ]
        practice = eve_of("month_end")
        far = Practice(practice.folder, source.uri, practice.ledger_url, output=f"s3://{s3_bucket}/output")
        environment = {**s3.env, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{line.port}", "AWS_MAX_ATTEMPTS": "1"}
        assert ended(start(far, prefect_api, **environment)) == 0
        assert [fault.happened for fault in line.faults] == [1, 1]
    kept = storage_at(f"{far.output}/{MONTH}")
    undisturbed = story.after("month_end", "sqlite").outputs
    assert {found.key for found in kept.list()} == undisturbed.keys()
    assert kept.read("lines.csv") == undisturbed["lines.csv"]
