"""Settings from the environment: defaults, plain refusals, and nothing secret on a screen."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas.settings import SettingsError, load_settings


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_without_any_variable_everything_lies_under_one_folder_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RPMCLAIMS_HOME")
    settings = load_settings()
    assert settings.home == Path(".rpmclaims")
    assert settings.ledger_url == f"sqlite:///{Path.cwd() / '.rpmclaims' / 'ledger.sqlite'}"
    assert (settings.runner, settings.patients_per_bucket) == ("threads", 50_000)
    assert settings.outbox is None


def test_the_ledger_moves_with_the_home_folder(home: Path) -> None:
    assert load_settings().ledger_url == f"sqlite:///{home / 'ledger.sqlite'}"


def test_the_environment_wins_over_the_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("RPMCLAIMS_OUTBOX=s3://from-file/out\nRPMCLAIMS_RUNNER=dask\nOTHER=1\n")
    monkeypatch.setenv("RPMCLAIMS_OUTBOX", "s3://from-environment/out")
    settings = load_settings()
    assert (settings.outbox, settings.runner) == ("s3://from-environment/out", "dask")


def test_a_variable_that_is_set_but_empty_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RPMCLAIMS_LEDGER_URL", "")
    monkeypatch.setenv("RPMCLAIMS_INBOX", "")
    settings = load_settings()
    assert settings.ledger_url.startswith("sqlite:///")
    assert settings.inbox is None


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("RUNNER", "hunter2", "RPMCLAIMS_RUNNER is wrong: input should be 'threads' or 'dask'."),
        ("WORKERS", "0", "RPMCLAIMS_WORKERS is wrong: input should be greater than or equal to 1."),
        ("NOW", "2026-11-23T10:00:00", "RPMCLAIMS_NOW is wrong: input should have timezone info."),
        (
            "LEDGER_URL",
            "mysql://me:hunter2@host/db",
            "RPMCLAIMS_LEDGER_URL is wrong: only sqlite and postgresql can hold the ledger.",
        ),
        (
            "LEDGER_URL",
            "hunter2",
            "RPMCLAIMS_LEDGER_URL is wrong: a database URL looks like postgresql+psycopg://user@host/name.",
        ),
    ],
)
def test_a_wrong_setting_is_one_plain_sentence_without_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(f"RPMCLAIMS_{name}", value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert str(refused.value) == sentence


def test_passwords_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RPMCLAIMS_LEDGER_URL", "postgresql+psycopg://biller:hunter2@db/ledger")
    monkeypatch.setenv("RPMCLAIMS_OUTBOX", "sftp://clinic:hunter2@clearinghouse:22/in")
    shown = load_settings().shown()
    assert shown["RPMCLAIMS_LEDGER_URL"] == "postgresql+psycopg://biller:***@db/ledger"
    assert shown["RPMCLAIMS_OUTBOX"] == "sftp://clinic:***@clearinghouse:22/in"
    assert "hunter2" not in repr(shown)


def test_a_password_does_not_show_in_the_settings_own_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RPMCLAIMS_LEDGER_URL", "postgresql+psycopg://biller:hunter2@db/ledger")
    assert "hunter2" not in repr(load_settings())


def test_the_clock_stops_where_it_is_told_and_runs_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    before = datetime.now(UTC)
    assert load_settings().clock() >= before
    monkeypatch.setenv("RPMCLAIMS_NOW", "2026-11-23T10:00:00+01:00")
    assert load_settings().clock() == datetime(2026, 11, 23, 9, tzinfo=UTC)
