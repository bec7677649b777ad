"""The command line from outside: what it prints, where, and the exit codes of the contract."""

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from console.cli import run

GOLDEN = Path(__file__).parents[1] / "golden" / "expected" / "claims"
DONE, FAILED, WRONG, LOOK = 0, 1, 2, 3


def test_rates_are_one_json_document_with_the_contracts_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rates", "--month", "2026-10", "--code", "99457", "--mac", "JH", "--json"]) == DONE
    rows = json.loads(capsys.readouterr().out)
    assert list(rows[0]) == [
        *("code", "mac_contract", "jurisdiction", "mac_name", "state", "locality", "locality_name"),
        *("setting", "factor", "allowed", "medicare", "patient"),
    ]
    assert {row["jurisdiction"] for row in rows} == {"JH"}
    dallas = next(
        row
        for row in rows
        if (row["mac_contract"], row["locality"], row["setting"], row["factor"])
        == ("04412", "11", "nonfacility", "standard")
    )
    # By hand from the 2026 files of CMS: (0.61 x 1.009 + 0.90 x 0.996 + 0.04 x 0.858) x 33.4009 = 51.6448.
    assert Decimal(dallas["allowed"]) == Decimal("51.64")
    assert Decimal(dallas["medicare"]) + Decimal(dallas["patient"]) < Decimal(dallas["allowed"])


def test_no_command_is_cut_short_in_the_list_of_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == DONE
    told = capsys.readouterr().out
    assert "month-end" in told
    assert "..." not in told.split("Commands:")[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rates", "--month", "2027-01"], "No physician fee schedule is loaded for 2027"),
        (["rates", "--month", "October"], "written like 2026-10"),
        (["rates", "--month", "2026-10", "--mac", "ZZ"], "ZZ"),
        (["rates", "--month", "2026-10", "--code", "12345"], "12345"),
        (["rates"], "--month"),
        (["nonsense"], "nonsense"),
        (["check-x12", "no/such/file"], "cannot be read"),
        (["reference", "load", "--rvu", "a.csv", "--gpci", "b.csv", "--year", "2027"], "a.csv"),
    ],
)
def test_a_wrong_call_is_refused_with_a_sentence_and_exit_code_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == WRONG
    told = capsys.readouterr()
    assert says in told.err
    assert "Traceback" not in told.err
    assert not told.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["rates", "--json"],
        ["rates", "--month", "2027-01", "--json"],
        ["check-x12", "--json", "no/such/file"],
        ["settings", "--json", "--nonsense"],
    ],
)
def test_whoever_asks_for_json_gets_a_refusal_as_json_too(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == WRONG
    told = capsys.readouterr()
    assert json.loads(told.out) == {"error": told.err.rstrip("\n"), "exit_code": WRONG}


def test_a_failure_nobody_foresaw_is_json_without_the_data_it_quotes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ValueError("1EG4-TE5-MK73")

    monkeypatch.setattr("console.cli.load_settings", broken)
    assert run(["settings", "--json"]) == FAILED
    told = capsys.readouterr()
    assert json.loads(told.out)["exit_code"] == FAILED
    assert "1EG4" not in told.out + told.err


def test_settings_never_show_a_password(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RPMCLAIMS_LEDGER_URL", "postgresql+psycopg://billing:hunter2@db/ledger")
    assert run(["settings"]) == DONE
    shown = capsys.readouterr().out
    assert "db/ledger" in shown
    assert "hunter2" not in shown


def test_a_wrong_setting_is_named_and_its_value_is_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RPMCLAIMS_WORKERS", "hunter2")
    assert run(["settings"]) == WRONG
    told = capsys.readouterr().err
    assert "RPMCLAIMS_WORKERS" in told
    assert "hunter2" not in told


def test_a_clean_claim_file_has_no_findings(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for file in GOLDEN.glob("*.837"):
        assert run(["check-x12", str(file), "--json"]) == DONE, capsys.readouterr().out
        assert json.loads(capsys.readouterr().out)["findings"] == []


def test_a_spoilt_claim_file_is_found_out(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = next(GOLDEN.glob("*MAC*.837"))
    spoilt = tmp_path / "spoilt.837"
    spoilt.write_text(file.read_text().replace("*60*UN*1*", "*61*UN*1*", 1))
    assert run(["check-x12", str(spoilt), "--json"]) == LOOK
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [finding["severity"] for finding in findings] == ["error"]
    assert "CLM" in findings[0]["element"]


def test_garbage_is_not_x12_and_no_traceback(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\x00\xffnothing here")
    assert run(["check-x12", str(garbage)]) == WRONG
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("server", "seconds"), [({}, None), ({"PREFECT_API_URL": "http://127.0.0.1:1/api"}, 180)]
)
def test_only_a_run_with_a_standing_server_waits_for_a_heartbeat(
    server: dict[str, str], seconds: int | None
) -> None:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    asked = """
from console.cli import prepare_prefect
prepare_prefect()
from prefect.settings import get_current_settings
print(get_current_settings().flows.heartbeat_frequency)
"""
    command = [sys.executable, "-c", asked]
    said = subprocess.run(command, env=ours | server, capture_output=True, text=True, check=True)
    assert said.stdout.split() == [str(seconds)]
