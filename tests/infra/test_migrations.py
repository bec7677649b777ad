"""The ledger's migrations: up, down, and no different from the tables the code believes in."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

import infra.migrations as migrations_package
from schemas.ledger import LedgerTable
from tasks.database import LedgerError, connect, migrations, upgrade, writing

AT = datetime(2026, 11, 20, tzinfo=UTC)
TABLES = LedgerTable.metadata.tables
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


def test_postings_keep_what_they_say_when_their_keys_change(url: str) -> None:
    keys = ["1:1:1:1:20:0", "1:1:1:1:22:2", "1:1:1:1:22:3:off", "charge:1:1"]
    engine = connect(url)
    upgrade(engine, "0004")
    add(engine, "inbound_file", size=1, received_at=AT, kind="835", state="posted", summary={}, findings=[])
    add(
        engine,
        "remittance",
        inbound_file_id=1,
        transaction_index=1,
        segment=4,
        is_balanced=True,
        state="posted",
    )
    for number, key in enumerate(keys, 1):
        of_file = {"remittance_id": 1, "inbound_file_id": 1, "transaction_index": 1, "account": "payment"}
        said = of_file | {"segment": int(key.split(":")[4])} if key[0] == "1" else {"account": "charge"}
        add(engine, "posting", number, posted_on=AT.date(), recorded_at=AT, amount=1, dedupe_key=key, **said)
    upgrade(engine)
    now = read(engine, "posting", "remittance_id", "segment", "number", "dedupe_key")
    assert now[:2] == [(1, 20, 0, None), (1, 22, 2, None)]
    assert now[2:] == [(1, 22, None, keys[2]), (None, None, None, keys[3])]
    for refused in ("UPDATE posting SET amount = 0", "DELETE FROM posting"):
        with pytest.raises(LedgerError), writing(engine) as connection:
            connection.execute(sa.text(refused))
    with pytest.raises(LedgerError, match="ck_posting_account"):
        add(
            engine,
            "posting",
            9,
            posted_on=AT.date(),
            recorded_at=AT,
            amount=1,
            dedupe_key="x",
            account="tips",
        )
    with writing(engine) as connection:
        command.downgrade(migrations(connection), "0004")
    before = read(engine, "posting", "inbound_file_id", "transaction_index", "dedupe_key")
    assert before[:2] == [(1, 1, "1:1:0:0:20:0"), (1, 1, "1:1:0:0:22:2")]
    assert [row[2] for row in before[2:]] == keys[2:]
    engine.dispose()


def test_what_is_known_already_stays_known_when_matches_and_deposits_get_their_days(url: str) -> None:
    engine = connect(url)
    upgrade(engine, "0005")
    file = {"size": 1, "received_at": AT, "kind": "835", "state": "posted", "summary": {}, "findings": []}
    add(engine, "inbound_file", 1, **file)
    place = {"transaction_index": 1, "segment": 4}
    add(engine, "remittance", 1, inbound_file_id=1, is_balanced=True, state="posted", **place)
    days = dict.fromkeys(("service_month", "date_of_service"), AT.date())
    numbers = dict.fromkeys(("version", "line_count", "state_version", "total_charge"), 1)
    estimates = dict.fromkeys(("allowed_estimate", "medicare_estimate", "patient_estimate"), 1)
    written = {"created_at": AT, "updated_at": AT, "is_live": True, "usage": "T", "state": "sent"}
    add(engine, "claim", 1, **days, **numbers, **estimates, **written)
    said = {"remittance_id": 1, "segment": 5, "charge": 1, "paid": 1, "is_reversal": False}
    for number, claim_id in enumerate((1, 1, None), 1):
        more = {"claim_index": number, "claim_id": claim_id, "is_forwarded": False}
        add(engine, "remittance_claim", number, **said, **more)
    later = AT + timedelta(days=20)
    moved = {"account": "payment", "posted_on": AT.date(), "recorded_at": later, "remittance_claim_id": 2}
    add(engine, "posting", 1, amount=-1, dedupe_key="1:5:0:off", **moved)
    add(engine, "posting", 2, amount=1, claim_id=1, dedupe_key="1:5:0:on", **moved)
    add(engine, "deposit", deposited_on=AT.date(), amount=1)
    with writing(engine) as connection:
        connection.execute(sa.text("INSERT INTO deposit_match VALUES (1, 1, 'trace')"))
    upgrade(engine)
    matched, known = TABLES["remittance_claim"], TABLES["deposit"]
    with writing(engine) as connection:
        found = connection.execute(sa.select(matched.c.matched_at).order_by(matched.c.id)).scalars().all()
        assert found == [AT, later, None]
        assert connection.execute(sa.select(known.c.recorded_at)).scalar_one() == AT
        assert connection.execute(sa.select(TABLES["deposit_match"])).one() == (1, 1, "trace")
        command.downgrade(migrations(connection), "0005")
    assert read(engine, "deposit", "deposited_on", "dedupe_key")[0][1] == "x"
    engine.dispose()


def add(engine: sa.Engine, name: str, id_: int = 1, **values: object) -> None:
    """Add a row to a table as it is now; what is not given and must be there is a word."""
    with writing(engine) as connection:
        table = sa.Table(name, sa.MetaData(), autoload_with=connection)
        words = {column.name: "x" for column in table.c if not column.nullable}
        connection.execute(sa.insert(table).values({**words, **values, "id": id_}))


def read(engine: sa.Engine, name: str, *columns: str) -> list[tuple[object, ...]]:
    """Return columns of a table as it is now."""
    with writing(engine) as connection:
        rows = connection.execute(sa.text(f"SELECT {', '.join(columns)} FROM {name} ORDER BY id"))
        return [tuple(row) for row in rows]


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
