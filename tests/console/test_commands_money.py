"""The commands about money, through the real command line and a real ledger."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pytest
import sqlalchemy as sa

from billing.metrics import definitions
from console.cli import run
from console.queries import read_books
from infra.sandbox.payer_bank import Deposit, write_csv
from schemas.settings import load_settings
from tasks import database
from tasks.late_matching import REMITTANCE_CLAIM, confirm_match
from tasks.ledger import Ledger
from tasks.worklist import WORK_ITEM
from tasks.worklist import read_books as read_books_of_tasks
from tests.console.made_ledger import PAID_ON, PAYER, answered

COLLECTED = datetime(2026, 11, 21, 8, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """The ledger of this home, once on each database, with a payer's answers in it."""
    monkeypatch.setenv("RPMCLAIMS_NOW", "2026-12-01T12:00:00Z")
    if request.param == "postgresql":
        monkeypatch.setenv("RPMCLAIMS_LEDGER_URL", request.getfixturevalue("postgres_url"))
    with Ledger(load_settings().ledger_url) as opened:
        opened.upgrade()
        yield opened


@pytest.fixture
def numbers(ledger: Ledger) -> list[str]:
    """The numbers of the four claims in the ledger."""
    return answered(ledger, COLLECTED)


def _json(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert run([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_both_readers_of_the_ledger_see_the_same_books(ledger: Ledger, numbers: list[str]) -> None:
    evening = datetime(2026, 12, 1, tzinfo=UTC)
    by_console = read_books(ledger.engine, evening.date(), evening.date())
    with database.reading(ledger.engine) as connection:
        by_tasks = read_books_of_tasks(connection, evening)
    for name, frame in vars(by_console).items():
        other = getattr(by_tasks, name)
        if name == "as_of":
            assert frame == other
        else:
            assert frame.schema == other.schema, name
            assert frame.sort(frame.columns[0]).equals(other.sort(frame.columns[0])), name
    assert by_console.claims["claim_number"].sort().to_list() == numbers


def test_reconcile_says_what_became_of_the_money(
    numbers: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    report = _json(capsys, "reconcile", "--month", "2026-10")
    assert (report["as_of"], report["month"]) == ("2026-12-01", "2026-10")
    total = report["totals"]
    assert {name: total[name] for name in ("billed", "expected", "allowed", "paid", "denied", "open")} == {
        "billed": "380.00",
        "expected": "204.68",
        "allowed": "94.73",
        "paid": "74.28",
        "denied": "95.00",
        "open": "95.00",
    }
    assert {row["reason"]: row["amount"] for row in report["variance"]} == {
        "denial": "51.17",
        "site": "28.06",
    }
    assert total["variance"] == "79.23"
    (row,) = report["summary"]
    assert (row["month"], row["mac_contract"], row["code"], row["payer_id"]) == (
        "2026-10",
        "01112",
        "99457",
        "PARTB",
    )
    flagged = [line for line in report["lines"] if line["flag"] == "underpaid"]
    assert [(line["claim_number"], line["underpaid"]) for line in flagged] == [(numbers[1], "35.79")]


def test_a_report_as_of_an_earlier_day_knows_nothing_of_what_came_later(
    numbers: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = _json(capsys, "reconcile", "--as-of", "2026-11-20")
    assert (before["totals"]["paid"], before["totals"]["billed"]) == ("0.00", "380.00")
    assert before["totals"]["open"] == "380.00"
    assert before["remittances"] == []


def test_a_payment_announced_for_tomorrow_counts_today_and_not_in_a_closed_period(
    ledger: Ledger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answered(ledger, datetime(2026, 11, 18, 8, tzinfo=UTC))
    monkeypatch.setenv("RPMCLAIMS_NOW", "2026-11-19T12:00:00Z")
    assert _json(capsys, "reconcile")["totals"]["paid"] == "74.28"
    assert _json(capsys, "reconcile", "--as-of", "2026-11-18")["totals"]["paid"] == "0.00"


def test_what_is_said_of_a_payment_dated_later_is_not_in_a_closed_period(
    ledger: Ledger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answered(ledger, datetime(2026, 11, 18, 8, tzinfo=UTC))
    closed = _json(capsys, "reconcile", "--as-of", "2026-11-18")
    assert closed["remittances"] == closed["deposits"] == []
    assert closed["totals"]["allowed"] == "0.00"
    books = read_books(ledger.engine, date(2026, 11, 18), date(2026, 11, 19))
    for name in ("remittances", "remittance_claims", "remittance_lines", "adjustments", "remarks"):
        assert getattr(books, name).is_empty(), name


def test_a_closed_period_does_not_change_with_what_is_learned_later(
    ledger: Ledger,
    numbers: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with database.writing(ledger.engine) as connection:
        whose = {"claim_id": None, "matched_by": None, "matched_at": None}
        connection.execute(sa.update(REMITTANCE_CLAIM).where(REMITTANCE_CLAIM.c.id == 3).values(whose))
    closed = _json(capsys, "reconcile", "--as-of", "2026-11-30")
    assert [row["status"] for row in closed["deposits"]] == ["era_without_deposit"]
    file = tmp_path / "november.csv"
    file.write_bytes(write_csv([Deposit(PAID_ON, Decimal("74.28"), "93001", PAYER, "PARTB HCCLAIMPMT")]))
    _json(capsys, "bank", str(file))
    at = datetime(2026, 12, 1, 12, tzinfo=UTC)
    confirm_match(ledger.engine, 3, numbers[2], by="Dana", at=at)
    assert _json(capsys, "reconcile", "--as-of", "2026-11-30") == closed
    monkeypatch.setenv("RPMCLAIMS_NOW", "2026-12-02T12:00:00Z")
    reopened = _json(capsys, "reconcile", "--as-of", "2026-12-01")
    assert [row["status"] for row in reopened["deposits"]] == ["matched"]
    assert read_books(ledger.engine, date(2026, 12, 1), date(2026, 12, 2)).remittance_claims[
        "claim_id"
    ].to_list() == [1, 2, 3]


def test_reconcile_shows_tables_to_people(numbers: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["reconcile"]) == 0
    shown = capsys.readouterr().out
    assert "By MAC" in shown
    assert "Why payments differ" in shown
    assert "28.06" in shown
    assert run(["reconcile", "--metrics"]) == 0
    assert "denial_rate_lines" in capsys.readouterr().out


def test_the_help_gives_the_formula_of_every_metric(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["reconcile", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for metric in definitions():
        assert f"{metric.name} {metric.formula}"[:60] in shown


def test_the_workbook_holds_every_sheet_with_numbers(
    numbers: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "october.xlsx"
    _json(capsys, "reconcile", "--workbook", str(file))
    book = openpyxl.load_workbook(file)
    assert book.sheetnames == [
        *("summary", "lines", "variance", "aging", "metrics", "denials", "remittances", "deposits"),
    ]
    lines = {cell.value: cell.column for cell in book["lines"][1]}
    assert book["lines"].cell(2, lines["billed"]).value == 95
    assert book["lines"].cell(2, lines["claim_number"]).value == numbers[0]
    assert book["lines"].freeze_panes == "A2"


def test_the_worklist_has_most_money_first_and_closes_what_is_fixed(
    ledger: Ledger, numbers: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = _json(capsys, "worklist")
    assert [(item["kind"], item["claim_number"], item["money"]) for item in found["items"]] == [
        ("missing_835", None, "51.17"),
        ("denial", numbers[2], "51.17"),
        ("underpayment", numbers[1], "35.79"),
    ]
    denial = found["items"][1]
    assert (denial["owner"], denial["class"], denial["deadline"]) == ("billing", "F, X", "2027-10-20")
    assert (found["count"], found["money"]) == (3, "138.13")
    ledger.transition(pl.Series(numbers[3:]), "rejected", actor="collection", dedupe="277ca:2", at=COLLECTED)
    kinds = [item["kind"] for item in _json(capsys, "worklist")["items"]]
    assert sorted(kinds) == ["denial", "rejection", "underpayment"]
    assert run(["worklist"]) == 0
    assert "underpayment" in capsys.readouterr().out


def test_an_item_that_a_person_releases_says_who_when_and_why_and_stays_off_the_list(
    ledger: Ledger,
    numbers: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = f"underpayment:{numbers[1]}:1"
    assert key in [item["key"] for item in _json(capsys, "worklist")["items"]]
    why = ("--by", "Dana Reyes", "--reason", "The practice accepts the lower price.")
    released = _json(capsys, "release", key, *why)
    assert (released["subject"], released["released_by"]) == (key, "Dana Reyes")
    monkeypatch.setenv("RPMCLAIMS_NOW", "2026-12-02T12:00:00Z")
    assert key not in [item["key"] for item in _json(capsys, "worklist")["items"]]
    with database.reading(ledger.engine) as connection:
        item = connection.execute(sa.select(WORK_ITEM).where(WORK_ITEM.c.key == key)).one()
    assert (item.state, item.closed_by) == ("released", "Dana Reyes")
    assert item.events[-1] == {
        "at": "2026-12-01T12:00:00+00:00",
        "actor": "Dana Reyes",
        "what": "released",
        "reason": "The practice accepts the lower price.",
    }
    assert run(["release", key, *why]) == 2
    assert "No open item of the worklist has that key" in capsys.readouterr().err


@pytest.mark.parametrize("why", [("--by", " ", "--reason", "x"), ("--by", "Dana", "--reason", " ")])
def test_a_release_without_a_name_or_a_reason_is_refused(
    numbers: list[str], capsys: pytest.CaptureFixture[str], why: tuple[str, ...]
) -> None:
    key = _json(capsys, "worklist")["items"][0]["key"]
    assert run(["release", key, *why]) == 2
    assert key in [item["key"] for item in _json(capsys, "worklist")["items"]]


def test_nothing_shown_is_a_member_id_or_a_patient(
    ledger: Ledger, numbers: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with ledger.engine.connect() as connection:
        secrets = connection.exec_driver_sql("SELECT member_id FROM claim").scalars().all()
        secrets = [*secrets, *connection.exec_driver_sql("SELECT patient_id FROM claim").scalars()]
    assert len(secrets) == 8
    for command in ("reconcile", "worklist"):
        shown = json.dumps(_json(capsys, command))
        assert not [secret for secret in secrets if f'"{secret}"' in shown or f" {secret} " in shown]


def test_the_bank_confirms_a_payment(
    numbers: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "november.csv"
    file.write_bytes(write_csv([Deposit(PAID_ON, Decimal("74.28"), "93001", PAYER, "PARTB HCCLAIMPMT")]))
    done = _json(capsys, "bank", str(file))
    assert done["files"] == [
        {"name": "november.csv", "kind": "csv", "deposits": 1, "new": 1, "problem": None}
    ]
    assert [(row["status"], row["how"], row["difference"]) for row in done["deposits"]] == [
        ("matched", "trace", "0.00")
    ]
    assert _json(capsys, "reconcile")["deposits"][0]["status"] == "matched"


def test_money_without_a_remittance_sends_people_to_look(
    numbers: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "1.csv").write_bytes(
        write_csv([Deposit(date(2026, 11, 23), Decimal("9.00"), "93009", PAYER, "PARTB")])
    )
    assert run(["bank", "--inbox", str(tmp_path)]) == 3
    assert "deposit_without_era" in capsys.readouterr().out
    kinds = [item["kind"] for item in _json(capsys, "worklist")["items"]]
    assert "deposit_without_era" in kinds
    assert "era_without_deposit" in kinds


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["reconcile", "--month", "October"], "A month is written like 2026-10"),
        (["reconcile", "--as-of", "soon"], "A day is written like 2026-12-31"),
        (["bank"], "Name a bank file"),
        (["bank", "/nowhere.csv"], "cannot be read"),
    ],
)
def test_a_wrong_call_is_one_sentence(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
