"""`status` and `doctor` from outside: what they print, where, and their exit codes."""

import json
from pathlib import Path

import pytest

from console.cli import run
from schemas.settings import load_settings
from tasks.ledger import Ledger
from tests.tasks.made_claims import AT, OCTOBER, SOURCE

DONE, LOOK = 0, 3


@pytest.fixture(autouse=True)
def no_prefect_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


def test_before_the_first_run_nothing_waits(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    assert run(["status"]) == DONE
    assert "Nothing waits for anybody." in capsys.readouterr().out
    # Who looks leaves the figures for the alarms.
    assert "rpmclaims_open_dollars 0.0" in (home / "metrics.prom").read_text()


def test_a_month_nobody_billed_waits_for_the_operator(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RPMCLAIMS_NOW", "2026-12-10T12:00:00+00:00")
    with Ledger(load_settings().ledger_url) as ledger:
        ledger.upgrade()
        ledger.record_run("r", month=OCTOBER, source=SOURCE, output="s3://out", at=AT, by="ann")
        ledger.finish_run("r", summary={}, at=AT)
    assert run(["status", "--json"]) == LOOK
    told = json.loads(capsys.readouterr().out)
    assert [item["kind"] for item in told["waiting"]] == ["month_missing"]
    assert told["runs"][0]["month"] == "2026-10"
    assert told["open_money"] == "0.00"
    assert run(["status"]) == LOOK
    shown = capsys.readouterr().out
    assert "month-end of 2026-11" in shown
    assert "rpmclaims month-end --month 2026-11" in shown


def test_a_prefect_server_that_is_silent_is_said_and_not_taken_for_health(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks import schedules, watching

    def silent(_: object) -> None:
        raise schedules.ServerSilent("The Prefect server at http://x is silent.")

    monkeypatch.setattr(watching, "schedules", silent)
    assert run(["status", "--json"]) == LOOK
    told = json.loads(capsys.readouterr().out)
    assert told["schedules"] is None
    assert [item["kind"] for item in told["waiting"]] == ["server_silent"]


def test_the_doctor_is_content_with_a_fresh_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == DONE
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert {check["state"] for check in checks} == {"ok", "unset"}
    assert run(["doctor"]) == DONE


def test_the_doctor_says_what_to_do_and_shows_no_secret(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RPMCLAIMS_LEDGER_URL", "postgresql+psycopg://billing:hunter2@127.0.0.1:1/ledger")
    monkeypatch.setenv("RPMCLAIMS_ZONE", "Mars/Base")
    assert run(["doctor"]) == LOOK
    shown = capsys.readouterr().out
    assert "correct RPMCLAIMS_LEDGER_URL" in shown
    assert "America/New_York" in shown
    assert "hunter2" not in shown
