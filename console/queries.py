"""Queries: what the pages and tables of the console show, read straight from the ledger.

Each frame is one SELECT of `schemas.ledger_views`, so reading grows with the rows and with nothing else.
`console.commands_money` and the web show what comes of it. Nothing is written here, and what the figures
mean is decided in `billing`.
"""

from datetime import date
from typing import Any, Final

import polars as pl
import sqlalchemy as sa

from billing.books import Books
from schemas import ledger_views
from schemas.columns import MONEY, UTC
from schemas.ledger import Money, UtcDateTime

ROWS_AT_ONCE: Final = 50_000


def read_books(engine: sa.Engine, as_of: date, today: date) -> Books:
    """Read everything that was known on the evening of a day, from one consistent state of the ledger.

    A day before today is closed: what is dated later does not count, even where it was known.
    """
    with _reading(engine) as connection:
        statements = ledger_views.books(as_of, as_of if as_of < today else date.max)
        return Books(as_of=as_of, **{name: _frame(connection, asked) for name, asked in statements.items()})


def open_items(engine: sa.Engine) -> pl.DataFrame:
    """Read the work items that wait, most money first."""
    with _reading(engine) as connection:
        items = _frame(connection, ledger_views.work_items("open"))
    return items.sort(
        pl.col("money").fill_null(0), "deadline", "key", descending=[True, False, False], nulls_last=True
    )


def _reading(engine: sa.Engine) -> sa.Connection:
    """Open a connection whose SELECTs all see the same state; SQLite's do within one transaction anyway."""
    connection = engine.connect()
    if connection.dialect.name == "postgresql":
        return connection.execution_options(isolation_level="REPEATABLE READ")
    return connection


def _frame(connection: sa.Connection, statement: sa.Select[Any]) -> pl.DataFrame:
    """Run a statement and return its rows with the types of its columns; JSON comes as text."""
    columns = {str(column.key): column for column in statement.selected_columns}
    plain = statement.with_only_columns(
        *(sa.cast(column, sa.Text).label(name) if isinstance(column.type, sa.JSON) else column.label(name)
          for name, column in columns.items()),
    )  # fmt: skip
    schema = {name: _type(column.type) for name, column in columns.items()}
    parts = connection.execute(plain).partitions(ROWS_AT_ONCE)
    frames = [pl.DataFrame([tuple(row) for row in part], schema=schema, orient="row") for part in parts]
    return pl.concat([pl.DataFrame(schema=schema), *frames])


def _type(kind: sa.types.TypeEngine[Any]) -> Any:
    """Return the frame's type for a column's type."""
    if isinstance(kind, Money):
        return MONEY
    if isinstance(kind, UtcDateTime):
        return UTC
    if isinstance(kind, sa.Boolean):
        return pl.Boolean
    if isinstance(kind, sa.Integer):
        return pl.Int64
    return pl.Date if isinstance(kind, sa.Date) else pl.String
