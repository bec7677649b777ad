"""Alembic's environment: which tables, which database, and how to compare them.

Run by Alembic only: in the product through `tasks.database.upgrade`, which hands over a connection
that already holds the writer's place, or from the command line of a person who writes a migration.
"""

from typing import Any, Literal

import sqlalchemy as sa
from alembic import context
from alembic.autogenerate.api import AutogenContext

import schemas.ledger_answers
import schemas.ledger_ops  # noqa: F401  and so do these
from schemas.ledger import LedgerTable, Money, UtcDateTime
from schemas.settings import load_settings
from tasks.database import connect, writing


def render_item(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Write our own column types into a migration by name."""
    if kind == "type" and isinstance(item, Money | UtcDateTime):
        return f"schemas.ledger.{type(item).__name__}()"
    return False


def migrate(connection: sa.Connection) -> None:
    """Run the migrations on one connection, in one transaction."""
    context.configure(
        connection=connection,
        target_metadata=LedgerTable.metadata,
        render_as_batch=True,
        render_item=render_item,
        # SQLite can roll a CREATE TABLE back as well, once its driver is told to leave BEGIN to us.
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    raise SystemExit("The ledger is migrated on a live database only; leave out --sql.")
handed_over: sa.Connection | None = context.config.attributes.get("connection")
if handed_over is not None:
    migrate(handed_over)
else:
    engine = connect(load_settings().ledger_url)
    with writing(engine) as own:
        migrate(own)
    engine.dispose()
