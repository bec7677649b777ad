"""Benchmark: posting a remittance into the ledger, beside SQLAlchemy's `add_all` of the same rows.

Run it as a script for a table; `make bench` collects `run()`. Both write to a database of their own, of each
kind; ours is the whole transaction, matching and moving the claims included.
"""

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.orm import Session

from infra.sandbox.servers import postgres_server
from schemas.answers import Answers
from schemas.ledger_answers import (
    Posting,
    Remittance,
    RemittanceAdjustment,
    RemittanceClaim,
    RemittanceLine,
)
from tasks.arrivals import ArrivedFile
from tasks.claim_states import CLAIM
from tasks.database import query, reading
from tasks.ledger import Ledger
from tasks.posting import post_file
from tasks.translate import read_answers
from tests.benchmarks.bench_remittance import remittance
from tests.tasks.made_claims import OCTOBER, SOURCE, month

CLAIMS = 200_000
SHARE = 10_000  # claims whose rows `add_all` writes
GOAL = 15
AT = datetime(2026, 11, 20, tzinfo=UTC)
TABLES = (Remittance, RemittanceClaim, RemittanceLine, RemittanceAdjustment, Posting)
NO_FILES = pl.DataFrame(
    schema={
        "interchange_id": pl.Int64,
        "transaction_control_number": pl.String,
        "batch_number": pl.String,
        "claim_number": pl.String,
        "billing_npi": pl.String,
        "position": pl.Int64,
    }
)


@contextmanager
def ledgers() -> Iterator[list[tuple[str, str, str]]]:
    """Give two empty databases of each kind: name, URL of ours, URL of theirs."""
    with tempfile.TemporaryDirectory() as folder, postgres_server() as server:
        files = [f"sqlite:///{Path(folder) / name}" for name in ("ours.sqlite", "theirs.sqlite")]
        yield [
            ("SQLite", files[0], files[1]),
            ("PostgreSQL", server.new_database(), server.new_database()),
        ]


def sent_claims(ledger: Ledger, numbers: pl.Series) -> None:
    """Register and send claims under the numbers that the remittance names."""
    claims, lines = month(len(numbers))
    renamed = pl.DataFrame({"claim_number": claims["claim_number"], "number": numbers})
    claims, lines = (
        frame.join(renamed, on="claim_number").drop("claim_number").rename({"number": "claim_number"})
        for frame in (claims, lines)
    )
    ledger.register_claims(claims, lines, month=OCTOBER, source=SOURCE, at=AT)
    for number in ledger.allocate_interchanges(month=OCTOBER, source=SOURCE, at=AT)["interchange_id"]:
        ledger.record_written(number, uri="claims/one.837", sha256="f" * 64, size=1)
        ledger.record_sending(number)
        ledger.record_sent(number, receipt={}, at=AT)


def rows_of(ledger: Ledger, table: Any) -> int:
    with reading(ledger.engine) as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def ours(url: str, answers: Answers, data: bytes) -> tuple[float, Ledger]:
    """Post the remittance and return rows per second."""
    ledger = Ledger(url)
    ledger.upgrade()
    sent_claims(ledger, answers.claims["claim_number"])
    file = ArrivedFile(hashlib.sha256(data).hexdigest(), "era.835", "era", "era", len(data), AT)
    start = time.perf_counter()
    posted = post_file(ledger.engine, file, answers, NO_FILES)
    seconds = time.perf_counter() - start
    assert posted.payments_posted == 1
    return sum(rows_of(ledger, table) for table in TABLES) / seconds, ledger


def theirs(url: str, source: Ledger) -> float:
    """Write the rows of some of the claims with `add_all` and return rows per second."""
    target = Ledger(url)
    target.upgrade()
    models = []
    with reading(source.engine) as connection:
        for table in TABLES:
            statement = sa.select(table.__table__)  # type: ignore[attr-defined]
            if table is not Remittance:
                column = table.__table__.c["id" if table is RemittanceClaim else "remittance_claim_id"]  # type: ignore[attr-defined]
                statement = statement.where(column <= SHARE)
            rows = query(connection, statement).to_dicts()
            models += [(table, row) for row in rows]
    with target.engine.execution_options(is_writer=True).connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        else:
            connection.exec_driver_sql("SET session_replication_role = replica")
        connection.commit()
        start = time.perf_counter()
        with Session(bind=connection) as session:
            session.add_all([table(**row) for table, row in models])
            session.commit()
        seconds = time.perf_counter() - start
    target.close()
    return len(models) / seconds


def run() -> list[dict[str, Any]]:
    """Measure both databases."""
    data = remittance(CLAIMS)
    answers = read_answers(data, "era.835")
    results = []
    with ledgers() as databases:
        for name, our_url, their_url in databases:
            rate, ledger = ours(our_url, answers, data)
            baseline = theirs(their_url, ledger)
            ledger.close()
            results.append(
                {
                    "name": f"posting {CLAIMS:,} claims of remittance into {name}, beside add_all",
                    "value": round(rate),
                    "unit": "rows/s",
                    "goal": f">= {GOAL}x",
                    "ratio": round(rate / baseline, 1),
                }
            )
    return results


if __name__ == "__main__":
    for result in run():
        print(result)
