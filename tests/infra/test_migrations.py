"""The ledger's migrations: up, down, and no different from the tables the code believes in."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

import infra.migrations as migrations_package
from schemas.ledger import LedgerTable
from tasks.database import connect, migrations, upgrade, writing

FOLDER = Path(next(iter(migrations_package.__path__)))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    return str(request.getfixturevalue("postgres_url"))


def upgrade_alone(url: str) -> None:
    """Upgrade from a process of its own."""
    engine = connect(url)
    upgrade(engine)
    engine.dispose()


def tables(url: str) -> set[str]:
    engine = connect(url)
    found = set(sa.inspect(engine).get_table_names())
    engine.dispose()
    return found


def test_the_migrations_make_exactly_the_tables_of_the_code(url: str) -> None:
    upgrade_alone(url)
    assert tables(url) == {*LedgerTable.metadata.tables, "alembic_version"}
    engine = connect(url)
    with writing(engine) as connection:
        command.check(migrations(connection))
    engine.dispose()


def test_a_migration_can_be_taken_back_and_applied_again(url: str) -> None:
    upgrade_alone(url)
    engine = connect(url)
    with writing(engine) as connection:
        command.downgrade(migrations(connection), "base")
    engine.dispose()
    assert tables(url) == {"alembic_version"}
    upgrade_alone(url)
    assert "claim_event" in tables(url)


def test_an_upgrade_that_fails_half_way_leaves_the_database_as_it_was(url: str) -> None:
    engine = connect(url)
    with writing(engine) as connection:
        connection.execute(sa.text("CREATE TABLE correction (id INTEGER)"))
    with pytest.raises(Exception, match="refused"):
        upgrade(engine)
    engine.dispose()
    assert tables(url) == {"correction"}


def test_processes_that_start_at_once_upgrade_once(url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, mp_context=spawn) as pool:
        list(pool.map(upgrade_alone, [url] * 6))
    assert "claim" in tables(url)


def test_a_person_can_run_alembic_on_the_configured_ledger(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade_alone(url)
    monkeypatch.setenv("RPMCLAIMS_LEDGER_URL", url)
    command.check(Config(FOLDER / "alembic.ini"))
