"""Benchmark: posting a remittance into the ledger, beside SQLAlchemy's `add_all` of the same rows.

Run it as a script for a table; `make bench` collects `run()`. Both write to a database of their own, of each
kind; ours is the whole transaction, matching and moving the claims included.
"""

import hashlib
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
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
from tasks.claim_states import TABLES
from tasks.database import insert, query, reading, writing
from tasks.ledger import Ledger
from tasks.posting import post_file
from tasks.translate import read_answers
from tests.benchmarks.bench_remittance import remittance
from tests.tasks.made_claims import OCTOBER, SOURCE, month

CLAIMS = 200_000
SHARE = 10_000  # claims whose rows `add_all` writes
GOAL = 15
AT = datetime(2026, 11, 20, tzinfo=UTC)
ROWS = (Remittance, RemittanceClaim, RemittanceLine, RemittanceAdjustment, Posting)
PARENTS = ("interchange", "claim", "inbound_file")  # what those rows point to
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
    return sum(rows_of(ledger, table) for table in ROWS) / seconds, ledger


def theirs(url: str, source: Ledger) -> float:
    """Write the rows of some of the claims with `add_all` and return rows per second."""
    target = Ledger(url)
    target.upgrade()
    with reading(source.engine) as connection:
        parents = [(name, query(connection, sa.select(TABLES[name]))) for name in PARENTS]
        models = [[table(**row) for row in query(connection, _share(table)).to_dicts()] for table in ROWS]
    with writing(target.engine) as connection:
        for name, frame in parents:
            insert(connection, TABLES[name], frame)
    start = time.perf_counter()
    with Session(target.engine) as session:
        for rows in models:
            session.add_all(rows)
            session.flush()
        session.commit()
    seconds = time.perf_counter() - start
    target.close()
    return sum(map(len, models)) / seconds


def _share(table: Any) -> sa.Select[Any]:
    """Select the rows of the first claims; what is ordered beneath a claim comes with it."""
    columns = table.__table__.c
    if table is Remittance:
        return sa.select(*columns)
    return sa.select(*columns).where(
        columns["id" if table is RemittanceClaim else "remittance_claim_id"] <= SHARE
    )


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
