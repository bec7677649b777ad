"""`rpmclaims retry`: a failed run goes on, and only what failed is done again."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prefect.client.orchestration import get_client
from prefect.client.schemas.sorting import FlowRunSort

from billing.month import MonthSources
from console.cli import run
from schemas.settings import load_settings
from tasks import intake, judging, submitting, translate
from tasks import outputs as outputs_room
from tasks.database import reading
from tasks.exchange import mailbox_at
from tasks.ledger import Ledger
from tasks.runs import MONTH_RUN
from tasks.storage import Unreachable
from tests.flows.months import Outputs, RunMonth, SampleMonth

pytestmark = pytest.mark.flow
DONE, FAILED, WRONG, LOOK = 0, 1, 2, 3
SECRET = "1EG4-TE5-MK73"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often the work behind some steps is done."""
    counts: Counter[str] = Counter()

    def count(owner: Any, name: str) -> None:
        work = getattr(owner, name)

        def counting(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return work(*args, **kwargs)

        monkeypatch.setattr(owner, name, counting)

    count(intake, "pin_sources")
    count(judging, "bill_month")
    count(translate, "write_checked")
    return counts


def counted_work(owner: Any, name: str) -> Callable[..., Any]:
    """Return what stands there now, counted."""
    work: Callable[..., Any] = getattr(owner, name)
    return work


def last_run() -> str:
    """Return the id of the run that started last."""
    with get_client(sync_client=True) as client:
        (latest,) = client.read_flow_runs(limit=1, sort=FlowRunSort.START_TIME_DESC)
    return str(latest.id)


def test_only_the_bucket_that_failed_is_billed_again(
    outputs: Outputs,
    run_month: RunMonth,
    sample_month: SampleMonth,
    counted: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RPMCLAIMS_PATIENTS_PER_BUCKET", "17")
    counting = counted_work(judging, "bill_month")
    calls = iter(range(1000))

    def failing_once(sources: MonthSources, *args: Any, **kwargs: Any) -> Any:
        if next(calls) == 2:
            raise ValueError(f"patient {SECRET} is odd")
        return counting(sources, *args, **kwargs)

    monkeypatch.setattr(judging, "bill_month", failing_once)
    assert run_month(sample_month.source).code == FAILED
    said = capsys.readouterr().err
    assert "The step bill-bucket of " in said
    assert "rpmclaims retry" in said
    assert SECRET not in said
    buckets = counted["bill_month"] + 1
    assert buckets > 4

    assert run(["retry"]) == LOOK
    assert counted["bill_month"] == buckets
    assert counted["pin_sources"] == 1
    assert Path(outputs.folder).exists()


def test_a_retried_month_leaves_what_an_undisturbed_one_leaves(
    outputs: Outputs,
    run_month: RunMonth,
    sample_month: SampleMonth,
    counted: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def full_disk(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as while_full:
        while_full.setattr(outputs_room, "write_funnel", full_disk)
        assert run_month(sample_month.source).code == FAILED
    files = counted["write_checked"]
    assert run(["retry", last_run()]) == LOOK
    assert counted["write_checked"] == files
    assert counted["bill_month"] == 1
    left = Outputs(tmp_path / "output" / "2026-10", LOOK).files()
    assert {name for name in left if name != "report.html"} == {
        name for name in outputs.files() if name != "report.html"
    }
    for name in ("lines.csv", "holds.csv", "quarantine.csv", "funnel.json"):
        assert left[name] == outputs.files()[name], name


def test_a_submission_that_broke_off_goes_on(
    run_month: RunMonth,
    sample_month: SampleMonth,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_month(sample_month.source)
    outbox = tmp_path / "outbox"
    refused: list[str] = []

    class Broken:
        """A mailbox that is down for the first file it is given."""

        def __init__(self, uri: str) -> None:
            self._whole = mailbox_at(uri)
            self.uri = self._whole.uri

        def deliver(self, name: str, data: bytes, announce: Any) -> Any:
            if not refused or refused[0] == name:
                refused[:] = [name]
                raise Unreachable(f"The server of {name} did not answer; try again.")
            return self._whole.deliver(name, data, announce)

    monkeypatch.setattr(submitting, "mailbox_at", Broken)
    monkeypatch.setattr(submitting.deliver_file, "retries", 0)
    submit = ["submit", "--month", "2026-10", "--output", str(tmp_path / "output"), "--outbox", str(outbox)]
    capsys.readouterr()
    assert run(submit) == FAILED
    assert f"The server of {refused[0]} did not answer" in capsys.readouterr().err
    (first,) = outbox.iterdir()
    sent_at = first.stat().st_mtime_ns

    monkeypatch.setattr(submitting, "mailbox_at", mailbox_at)
    assert run(["retry"]) == DONE
    assert sorted(path.name for path in outbox.iterdir()) == sorted([first.name, refused[0]])
    assert first.stat().st_mtime_ns == sent_at


def test_a_run_is_not_retried_once_a_later_one_took_its_place(
    run_month: RunMonth,
    sample_month: SampleMonth,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full_disk(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as while_full:
        while_full.setattr(outputs_room, "write_funnel", full_disk)
        assert run_month(sample_month.source).code == FAILED
    broken_off = last_run()
    with Ledger(load_settings().ledger_url) as ledger, reading(ledger.engine) as connection:
        runs = connection.execute(sa.select(MONTH_RUN.c.run_id, MONTH_RUN.c.state)).tuples()
        assert dict(runs.all()) == {broken_off: "failed"}
    left = run_month(sample_month.source).files()
    capsys.readouterr()
    for command in (["retry", broken_off], ["retry"]):
        assert run(command) == WRONG
    said = capsys.readouterr().err
    assert "A later run has taken the place of month-end 2026-10" in said
    assert Outputs(tmp_path / "output" / "2026-10", WRONG).files() == left


def test_what_is_complete_or_unknown_is_not_retried(
    run_month: RunMonth, sample_month: SampleMonth, capsys: pytest.CaptureFixture[str]
) -> None:
    run_month(sample_month.source)
    assert run(["retry", last_run()]) == WRONG
    assert "is complete: there is nothing to retry" in capsys.readouterr().err
    assert run(["retry", "no-such-run"]) == WRONG
    assert "There is no run no-such-run" in capsys.readouterr().err
