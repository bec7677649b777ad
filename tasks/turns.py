"""Turns: a block that only one process and thread at a time may be in, on whatever machine.

`tasks.submitting` holds one while a file leaves, `tasks.publishing` while the outputs are written. Unlike a
write to the ledger it may take minutes and keeps nobody from writing. The operating system or the server ends
the turn of a process that ends, however it ends.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from tasks.database import reading

# Any numbers, the same in every process.
TURNS: Final = {"sending": 837_002, "publishing": 837_003}


@contextmanager
def alone(engine: sa.Engine, turn: str) -> Iterator[None]:
    """Wait until nobody else on this ledger has this turn, and keep others from it for a block."""
    if engine.dialect.name == "sqlite":
        with Path(f"{engine.url.database}.{turn}").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        return
    with reading(engine.execution_options(isolation_level="AUTOCOMMIT")) as connection:
        connection.execute(sa.text("SET lock_timeout = 0"))
        connection.execute(sa.select(sa.func.pg_advisory_lock(TURNS[turn])))
        try:
            yield
        finally:
            connection.execute(sa.select(sa.func.pg_advisory_unlock(TURNS[turn])))
            connection.execute(sa.text("RESET lock_timeout"))
