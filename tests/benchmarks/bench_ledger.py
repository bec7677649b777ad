"""How fast claim lines reach the ledger: in bulk as the product does it, against the ORM's `add_all`.

`python -m tests.benchmarks.bench_ledger`; on SQLite and on a real PostgreSQL.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
import sqlalchemy as sa
from sqlmodel import Session

from infra.sandbox.servers import postgres_server
from schemas.ledger import ClaimLine
from tasks.claim_states import CLAIM
from tasks.corrections import CLAIM_LINE
from tasks.database import insert, query, reading, writing
from tasks.ledger import Ledger
from tests.tasks.made_claims import AT, OCTOBER, SOURCE, month

CLAIMS = 50_000
LINES_PER_CLAIM = 4
ORM_CLAIMS = 5_000  # the ORM is measured on fewer lines: its rate does not change, its memory does
GOAL = 5.0


def run() -> list[dict[str, object]]:
    """Measure both databases; `ratio` is how many times faster than `add_all`."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        found += _measure("sqlite", f"sqlite:///{folder}/ledger.sqlite")
    with postgres_server() as server:
        found += _measure("postgresql", server.new_database())
    return found


def _measure(name: str, url: str) -> list[dict[str, object]]:
    """Time 200,000 lines in bulk, 20,000 through the ORM, and a whole registration."""
    with Ledger(url) as ledger:
        ledger.upgrade()
        claims, lines = month(CLAIMS)
        with _timed() as registering:
            ledger.register_claims(claims, lines, month=OCTOBER, source=SOURCE, at=AT)
        with reading(ledger.engine) as connection:
            ids = query(connection, sa.select(CLAIM.c.id, CLAIM.c.claim_number))
        many = _lines_of(ids, lines, first=3)
        with _timed() as bulk, writing(ledger.engine) as connection:
            insert(connection, CLAIM_LINE, many)
        few = [ClaimLine(**row) for row in _lines_of(ids.head(ORM_CLAIMS), lines, first=7).to_dicts()]
        writer = ledger.engine.execution_options(is_writer=True)
        with _timed() as orm, Session(writer) as session:
            session.add_all(few)
            session.commit()
    bulk_rate, orm_rate = many.height / bulk[0], len(few) / orm[0]
    ratio = round(bulk_rate / orm_rate, 1)
    rates = {"bulk": bulk_rate, "add_all": orm_rate, "registration": lines.height / registering[0]}
    return [
        {
            "name": f"ledger {name}: lines, {way}",
            "value": round(rate),
            "unit": "lines/s",
            "goal": round(GOAL * orm_rate) if way == "bulk" else None,
            "ratio": ratio if way == "bulk" else None,
        }
        for way, rate in rates.items()
    ]


def _lines_of(ids: pl.DataFrame, lines: pl.DataFrame, *, first: int) -> pl.DataFrame:
    """Make further lines of registered claims, numbered from `first`."""
    one = lines.filter(pl.col("line_number") == 1).drop("line_number").join(ids, on="claim_number")
    numbers = pl.DataFrame({"line_number": range(first, first + LINES_PER_CLAIM)})
    number = pl.col("line_number").cast(pl.String).str.zfill(2)
    return one.join(numbers, how="cross").select(
        pl.exclude("id", "claim_number"),
        claim_id="id",
        line_control_number=pl.format("{}-{}", "claim_number", number),
    )


@contextmanager
def _timed() -> Iterator[list[float]]:
    """Yield a list that holds the seconds of the block once it is done."""
    seconds: list[float] = []
    start = time.perf_counter()
    yield seconds
    seconds.append(time.perf_counter() - start)


if __name__ == "__main__":
    for each in run():
        print(each)
