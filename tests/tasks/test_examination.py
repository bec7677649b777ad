"""The doctor: what it finds on a well machine, and what it says to do on others."""

import os
from pathlib import Path

import pytest
import sqlalchemy as sa

from infra.sandbox.servers import SftpServer
from schemas.operations import Check
from tasks import examination
from tasks.database import writing
from tasks.examination import examine
from tasks.ledger import Ledger


@pytest.fixture(autouse=True)
def no_prefect_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


def checked() -> dict[str, Check]:
    return {check.name: check for check in examine()}


def test_a_fresh_machine_is_well_and_says_what_is_not_set() -> None:
    found = checked()
    assert {name for name, check in found.items() if check.needs_people} == set()
    assert {name for name, check in found.items() if check.state == "unset"} == {
        *("ledger", "clock", "source", "output", "outbox", "inbox", "prefect"),
    }


def test_it_leaves_nothing_behind(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "output").mkdir()
    monkeypatch.setenv("RPMCLAIMS_OUTPUT", str(tmp_path / "output"))
    assert checked()["output"].state == "ok"
    assert list((tmp_path / "output").iterdir()) == []
    assert not home.exists()


def test_the_ledger_of_either_database_is_named_with_its_schema_and_without_its_password(
    ledger: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RPMCLAIMS_LEDGER_URL", ledger_url)
    found = checked()
    assert (found["ledger"].state, "answers, schema" in found["ledger"].found) == ("ok", True)
    password = sa.make_url(ledger_url).password
    assert password is None or str(password) not in str(found)
    assert found["clock"].state == ("ok" if "postgresql" in ledger_url else "unset")


def test_a_ledger_from_a_newer_program_is_not_to_be_written_to(
    ledger: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RPMCLAIMS_LEDGER_URL", ledger_url)
    for revision, state in (("9999", "failed"), ("0001", "warning")):
        with writing(ledger.engine) as connection:
            connection.execute(sa.text(f"UPDATE alembic_version SET version_num = '{revision}'"))
        assert checked()["ledger"].state == state


def test_a_database_that_is_down_fails_its_own_look_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RPMCLAIMS_LEDGER_URL", "postgresql+psycopg://billing:hunter2@127.0.0.1:1/ledger")
    found = checked()
    assert found["ledger"].state == "failed"
    assert found["reference tables"].state == "ok"
    assert "hunter2" not in str(found)


def test_an_unreachable_store_is_told_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("RPMCLAIMS_SOURCE", "s3://practice/in")
    found = checked()
    assert found["source"].state == "failed"
    assert "RPMCLAIMS_SOURCE" in str(found["source"].fix)
    assert "hunter2" not in str(found)


def test_a_bucket_answers_and_its_servers_clock_is_compared(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RPMCLAIMS_SOURCE", f"s3://{s3_bucket}/in")
    monkeypatch.setenv("RPMCLAIMS_OUTPUT", f"s3://{s3_bucket}/out")
    found = checked()
    assert found["output"].state == "ok"
    assert (found["source"].state, "has no patients/" in found["source"].found) == ("warning", True)
    assert (found["clock"].state, "from the S3 server" in found["clock"].found) == ("ok", True)


def test_an_sftp_outbox_is_logged_in_to_and_a_secret_others_can_read_is_told(
    sftp: SftpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "password"
    secret.write_text(sftp.password)
    secret.chmod(0o644)
    monkeypatch.setenv("RPMCLAIMS_OUTBOX", f"sftp://{sftp.username}@{sftp.host}:{sftp.port}/")
    monkeypatch.setenv("RPMCLAIMS_SFTP_HOST_KEY", sftp.host_key)
    monkeypatch.setenv("RPMCLAIMS_SFTP_PASSWORD_FILE", str(secret))
    found = checked()
    assert found["outbox"].state == "ok", found["outbox"]
    assert found["RPMCLAIMS_SFTP_PASSWORD_FILE"].state == "warning"
    assert sftp.password not in str(found)
    secret.chmod(0o600)
    assert checked()["RPMCLAIMS_SFTP_PASSWORD_FILE"].state == "ok"


@pytest.mark.parametrize(
    ("setting", "value", "name", "state"),
    [
        ("RPMCLAIMS_WORKERS", "many", "settings", "failed"),
        ("RPMCLAIMS_ZONE", "Mars/Base", "settings", "failed"),
        ("RPMCLAIMS_NOW", "2026-11-23T12:00:00+00:00", "clock", "warning"),
        ("RPMCLAIMS_NOW", "2031-03-03T12:00:00+00:00", "reference tables", "failed"),
        ("RPMCLAIMS_NOW", "2026-12-03T12:00:00+00:00", "reference tables", "warning"),
        ("RPMCLAIMS_OUTBOX", "sftp://nobody", "outbox", "failed"),
        ("PREFECT_API_URL", "http://127.0.0.1:1/api", "prefect", "failed"),
    ],
)
def test_a_wrong_setting_is_found_and_comes_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: str, name: str, state: str
) -> None:
    monkeypatch.setenv(setting, value)
    found = [check for check in examine() if check.name == name and check.needs_people]
    assert [check.state for check in found] == [state]
    assert found[0].fix


def test_a_full_disk_and_wrong_libraries_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "FREE_BYTES_AT_LEAST", 2**80)
    monkeypatch.setattr(examination, "version", lambda library: "0.1")
    found = checked()
    assert found["disk"].state == "warning"
    assert found["programs"].state == "failed"
    assert "fastapi 0.1 instead of" in found["programs"].found


def test_a_home_that_cannot_be_written_to_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert checked()["disk"].state == "failed"


def test_a_ledger_file_that_is_none_fails_without_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ledger.sqlite"
    file.write_text("Jane Doe " * 200)
    monkeypatch.setenv("RPMCLAIMS_LEDGER_URL", f"sqlite:///{file}")
    found = checked()["ledger"]
    assert found.state == "failed"
    assert "Jane" not in str(found)
