"""Database: the ledger's connection, and frames in and out of its tables in bulk.

`tasks.ledger` and its parts use it; no table of the ledger is named here and nothing is decided.
One writer at a time, on both databases: SQLite takes its write lock at BEGIN, PostgreSQL one advisory
lock. A write therefore reads what it decides on and nothing can change underneath it; constraints
stand behind that. Readers never wait.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from itertools import chain, compress
from pathlib import Path
from typing import Any, Final

import polars as pl
import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.dialects import postgresql, sqlite

from schemas.errors import OutsideFailed
from schemas.ledger import Money, UtcDateTime

WRITER_LOCK: Final = 837_001  # any number, the same in every process
WAIT_SECONDS: Final = 120  # a writer's turn is seconds; past this something is stuck
ROWS_AT_ONCE: Final = 50_000  # that a bulk channel holds in memory
# Values in one INSERT on SQLite, whose limit is 32,766: a statement of many rows costs half of one for each.
PLACES: Final = 10_000
_UPGRADING: Final = threading.Lock()  # Alembic keeps its context in a global of the process


class LedgerError(OutsideFailed):
    """The database refused; the text names the object, never a value of the row."""


def connect(url: str) -> sa.Engine:
    """Open the ledger's database; creates the folder of a SQLite file."""
    address = sa.make_url(url)
    if address.get_backend_name() == "sqlite":
        if address.database in (None, "", ":memory:"):
            raise LedgerError("the ledger needs a file or a server; a database in memory forgets.")
        Path(str(address.database)).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        engine = sa.create_engine(address, hide_parameters=True, connect_args={"timeout": WAIT_SECONDS})
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine
    options = f"-c lock_timeout={WAIT_SECONDS}s -c idle_in_transaction_session_timeout={WAIT_SECONDS}s"
    options += " -c datestyle=ISO"  # in which `query` reads days and instants
    return sa.create_engine(
        address, hide_parameters=True, pool_pre_ping=True, connect_args={"options": options}
    )


def exists(url: str) -> bool:
    """Tell whether a ledger can be there: a SQLite file is made by the first run."""
    address = sa.make_url(url)
    return address.get_backend_name() != "sqlite" or Path(str(address.database)).exists()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Leave BEGIN to us, keep foreign keys, let a commit outlast a power cut, and work in memory."""
    connection.isolation_level = None
    for pragma in ("foreign_keys=ON", "synchronous=FULL", "cache_size=-65536", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    """Take the write lock at once where we mean to write, so that no one is refused half way."""
    is_writer = connection.get_execution_options().get("is_writer", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writer else "BEGIN")


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Hold the writer's place for one transaction: all of it or none.

    Raises:
        LedgerError: If the database refused, with the constraint it named and nothing else, because
            a database's own message repeats the row it refused.
    """
    with _plain_errors(), engine.execution_options(is_writer=True).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(WRITER_LOCK)))
        yield connection


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Look at one consistent state of the ledger."""
    with _plain_errors(), engine.connect() as connection:
        yield connection


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Replace the database's error by one that carries no row."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise LedgerError(_without_values(error.orig)) from None
    except (psycopg.Error, sqlite3.Error) as error:
        raise LedgerError(_without_values(error)) from None


def _without_values(error: BaseException | None) -> str:
    """Say what the database refused in words that hold no data."""
    if not isinstance(error, psycopg.Error):
        return f"the ledger's database refused: {error}."  # SQLite names columns and constraints, not values
    if isinstance(error, psycopg.OperationalError) and error.diag.sqlstate is None:
        return f"the ledger's database cannot be reached: {error}."  # No row has been sent yet.
    place = error.diag.constraint_name or error.diag.column_name or error.diag.table_name
    return f"the ledger's database refused: {type(error).__name__} ({place or 'no object named'})."


def upgrade(engine: sa.Engine, revision: str = "head") -> None:
    """Bring the tables up to date; whoever comes second waits and finds nothing to do."""
    if engine.dialect.name == "sqlite":
        _keep_a_write_ahead_log(engine)
    with _UPGRADING, writing(engine) as connection:
        command.upgrade(migrations(connection), revision)


def migrations(connection: sa.Connection) -> Config:
    """Return Alembic's configuration, bound to a connection."""
    config = Config()
    config.set_main_option("script_location", "infra:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _keep_a_write_ahead_log(engine: sa.Engine) -> None:
    """Switch a SQLite file to WAL, which it remembers.

    The switch wants no transaction around it and, unlike any write, is refused at once where another
    process is writing; so it is asked for again until that one is done.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        with _plain_errors():
            raw = engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise LedgerError(_without_values(error)) from None
            time.sleep(0.02)
        finally:
            raw.close()


def query(connection: sa.Connection, statement: sa.Select[Any]) -> pl.DataFrame:
    """Run a query and return its rows as a frame with the types of its columns; JSON comes as text."""
    columns = {str(column.key): column for column in statement.selected_columns}
    types = {name: _polars_type(column.type) for name, column in columns.items()}
    dialect = connection.dialect.name
    plain = statement.with_only_columns(
        *(_plain(column, dialect).label(name) for name, column in columns.items())
    )
    raw = {name: pl.Int64() if _is_number(dtype) else pl.String() for name, dtype in types.items()}
    read = _copy_out if dialect == "postgresql" else _fetch
    return read(connection, plain, raw).select(_typed(name, dtype) for name, dtype in types.items())


def _plain(column: sa.ColumnElement[Any], dialect: str) -> sa.ColumnElement[Any]:
    """Ask for a column as whole numbers or text, which a frame takes in bulk, the same from any database."""
    is_postgresql = dialect == "postgresql"
    if isinstance(column.type, Money):
        cents = sa.type_coerce(column, sa.Numeric) * 100 if is_postgresql else column
        return sa.cast(cents, sa.BigInteger) if is_postgresql else sa.type_coerce(cents, sa.BigInteger)
    if isinstance(column.type, sa.Boolean):
        return sa.cast(column, sa.Integer)
    if isinstance(column.type, UtcDateTime):
        return sa.func.timezone("UTC", column) if is_postgresql else sa.type_coerce(column, sa.Text)
    if isinstance(column.type, sa.Date):
        return sa.type_coerce(column, sa.Text)
    return sa.cast(column, sa.Text) if isinstance(column.type, sa.JSON) else column


def _fetch(connection: sa.Connection, statement: sa.Select[Any], raw: dict[str, Any]) -> pl.DataFrame:
    """Read rows of whole numbers and text, a part at a time so that few are ever Python objects."""
    cursor: Any = connection.execute(statement).cursor
    parts = iter(lambda: cursor.fetchmany(ROWS_AT_ONCE), [])
    frames = [pl.DataFrame(part, schema=raw, orient="row") for part in parts]
    return pl.concat([pl.DataFrame(schema=raw), *frames])


def _copy_out(connection: sa.Connection, statement: sa.Select[Any], raw: dict[str, Any]) -> pl.DataFrame:
    """Read the same through PostgreSQL's bulk channel, several times faster than row by row."""
    compiled = statement.compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
    copy_out = f"COPY ({compiled}) TO STDOUT (FORMAT csv, HEADER)"
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(copy_out, compiled.params) as copy:
        # Both sides write nothing for a null and a pair of quotes for an empty text.
        return pl.read_csv(b"".join(copy), schema=raw)


def insert(connection: sa.Connection, table: sa.Table, frame: pl.DataFrame) -> None:
    """Add a frame's rows to a table whose columns it names; every other column takes its default."""
    if frame.is_empty():
        return
    stored = frame.select(_stored(name, table.c[name].type, connection) for name in frame.columns)
    write = _copy_in if connection.dialect.name == "postgresql" else _insert
    write(connection, table.name, stored)


def _target(table: str, columns: list[str]) -> str:
    """Name a table and those of its columns that rows bring."""
    names = ", ".join(f'"{name}"' for name in columns)
    return f'"{table}" ({names})'


def _insert(connection: sa.Connection, table: str, stored: pl.DataFrame) -> None:
    """Add rows many at a time; a value that all of them share is handed over once for each statement."""
    differs = stored.select(pl.all().ne_missing(pl.all().first()).any()).row(0)
    own = list(compress(stored.columns, differs)) or stored.columns[:1]
    shared = stored.drop(own)
    taken = [*("?" for _ in shared.columns), *(f"column{n}" for n in range(1, len(own) + 1))]
    insert_rows = f"INSERT INTO {_target(table, [*shared.columns, *own])} SELECT {', '.join(taken)} FROM"
    row = f"({', '.join('?' for _ in own)})"
    first = shared.row(0) if shared.width else ()
    for part in stored.select(own).iter_slices(PLACES // len(own)):
        values = (*first, *chain.from_iterable(part.rows()))
        connection.exec_driver_sql(f"{insert_rows} (VALUES {', '.join([row] * part.height)})", values)


def _copy_in(connection: sa.Connection, table: str, stored: pl.DataFrame) -> None:
    """Add rows through PostgreSQL's bulk channel."""
    driver: Any = connection.connection.driver_connection
    copy_in = f"COPY {_target(table, stored.columns)} FROM STDIN (FORMAT csv)"
    with driver.cursor() as cursor, cursor.copy(copy_in) as copy:
        for part in stored.iter_slices(ROWS_AT_ONCE):
            text = BytesIO()
            part.write_csv(text, include_header=False, quote_style="non_numeric")
            copy.write(text.getbuffer())


def upsert(connection: sa.Connection, table: sa.Table) -> Any:
    """Start an INSERT that may say ON CONFLICT, which each database's dialect has of its own."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


@contextmanager
def staged(connection: sa.Connection, frame: pl.DataFrame) -> Iterator[sa.Table]:
    """Lay a frame beside the tables for the length of a block, to join with or update from."""
    table = _staging(tuple(frame.schema.items()))
    table.create(connection)
    insert(connection, table, frame)
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("ANALYZE staged")
    yield table
    table.drop(connection)


@lru_cache(maxsize=256)
def _staging(schema: tuple[tuple[str, pl.DataType], ...]) -> sa.Table:
    """Name the columns of a staged frame; the same table for the same columns, so that SQL is made once."""
    columns = [sa.Column(name, _sql_type(dtype)) for name, dtype in schema]
    return sa.Table("staged", sa.MetaData(), *columns, prefixes=["TEMPORARY"])


def _polars_type(kind: sa.types.TypeEngine[Any]) -> pl.DataType:
    """Return the frame's type for a column's type."""
    if isinstance(kind, Money):
        return pl.Decimal(12, 2)
    if isinstance(kind, UtcDateTime):
        return pl.Datetime("us", "UTC")
    if isinstance(kind, sa.Boolean):
        return pl.Boolean()
    if isinstance(kind, sa.Integer):
        return pl.Int64()
    if isinstance(kind, sa.Date):
        return pl.Date()
    return pl.String()


def _sql_type(dtype: pl.DataType) -> sa.types.TypeEngine[Any]:
    """Return the column type in which a frame's column is laid beside the tables."""
    if isinstance(dtype, pl.Decimal):
        return Money()
    if isinstance(dtype, pl.Datetime):
        return UtcDateTime()
    if dtype == pl.Boolean:
        return sa.Boolean()
    if dtype.is_integer():
        return sa.BigInteger()
    return sa.Date() if dtype == pl.Date else sa.Text()


def _stored(name: str, kind: sa.types.TypeEngine[Any], connection: sa.Connection) -> pl.Expr:
    """Write a column the way the database keeps it."""
    column = pl.col(name)
    if connection.dialect.name == "postgresql":
        return column
    if isinstance(kind, Money):
        return (column.cast(pl.Decimal(38, 2)) * 100).cast(pl.Int64)
    if isinstance(kind, UtcDateTime):
        return column.dt.strftime("%Y-%m-%d %H:%M:%S.%6f")
    return column.cast(pl.String) if isinstance(kind, sa.Date) else column


def _is_number(dtype: pl.DataType) -> bool:
    """Tell whether a type travels as a whole number: cents and flags do."""
    return dtype.is_integer() or isinstance(dtype, pl.Decimal | pl.Boolean)


def _typed(name: str, dtype: pl.DataType) -> pl.Expr:
    """Turn a column of whole numbers or text into its type; cents become dollars exactly."""
    column = pl.col(name)
    if isinstance(dtype, pl.Decimal):
        return (column.cast(pl.Decimal(38, 2)) * pl.lit("0.01").cast(pl.Decimal(38, 2))).cast(dtype)
    if isinstance(dtype, pl.Datetime):
        return column.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", time_zone="UTC")
    return column.str.to_date("%Y-%m-%d") if dtype == pl.Date else column.cast(dtype)
