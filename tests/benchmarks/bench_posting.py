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
from schemas.ledger import ADJUDICATED, ClaimEvent
from schemas.ledger_answers import (
    Posting,
    Remittance,
    RemittanceAdjustment,
    RemittanceClaim,
    RemittanceLine,
    RemittanceRemark,
)
from tasks.arrivals import ArrivedFile
from tasks.claim_states import TABLES
from tasks.database import insert, query, reading, writing
from tasks.ledger import Ledger
from tasks.posting import post_file
from tasks.translate import read_answers
from tests.benchmarks.bench_remittance import remittance
from tests.tasks.made_claims import MONEY, OCTOBER, SOURCE, month

CLAIMS = 200_000
SHARE = 10_000  # claims whose rows `add_all` writes
GOAL = 15
_ADD_ALL = "add_all"
AT = datetime(2026, 11, 20, tzinfo=UTC)
ROWS = (
    *(Remittance, RemittanceClaim, RemittanceLine, RemittanceAdjustment, RemittanceRemark, Posting),
    ClaimEvent,
)
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


def made_claims() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give the claims that the remittance answers: three lines of sixty dollars each."""
    claims, lines = month(CLAIMS, charge="60")
    third = lines.filter(line_number=2).with_columns(line_number=pl.lit(3, pl.Int64))
    whole = {"line_count": pl.lit(3, pl.Int64), "total_charge": pl.lit(180, MONEY)}
    return claims.with_columns(**whole), pl.concat([lines, third])


def sent(ledger: Ledger, claims: pl.DataFrame, lines: pl.DataFrame) -> None:
    """Register the claims and send them."""
    ledger.upgrade()
    ledger.register_claims(claims, lines, month=OCTOBER, source=SOURCE, at=AT)
    for number in ledger.allocate_interchanges(month=OCTOBER, source=SOURCE, at=AT)["interchange_id"]:
        ledger.record_written(number, uri="claims/one.837", sha256="f" * 64, size=1)
        ledger.record_sending(number)
        ledger.record_sent(number, receipt={}, at=AT)


def written(table: Any) -> sa.Select[Any]:
    """Select the rows that posting adds to a table; the claims' earlier events are not among them."""
    columns = table.__table__.c
    rows = sa.select(*columns)
    return rows.where(columns.to_state == ADJUDICATED) if table is ClaimEvent else rows


def ours(ledger: Ledger, answers: Answers, data: bytes) -> float:
    """Post the remittance and return rows per second."""
    file = ArrivedFile(hashlib.sha256(data).hexdigest(), "era.835", "era", "era", len(data), AT)
    start = time.perf_counter()
    posted = post_file(ledger.engine, file, answers, NO_FILES)
    seconds = time.perf_counter() - start
    assert posted.payments_posted == 1
    assert posted.claims_matched == posted.adjudicated == CLAIMS
    with reading(ledger.engine) as connection:
        counts = [sa.select(sa.func.count()).select_from(written(table).subquery()) for table in ROWS]
        return sum(connection.execute(count).scalar_one() for count in counts) / seconds


def theirs(target: Ledger, source: Ledger) -> dict[str, float]:
    """Write the rows of some of the claims with `add_all`; rows per second.

    The goal is about rows, and `add_all` takes a row only as an object, so making it belongs to the way; what
    the call alone takes is shown beside it.
    """
    target.upgrade()
    with reading(source.engine) as connection:
        parents = [(name, query(connection, sa.select(TABLES[name]))) for name in PARENTS]
        rows = [(table, query(connection, _share(table)).to_dicts()) for table in ROWS]
    with writing(target.engine) as connection:
        for name, frame in parents:
            insert(connection, TABLES[name], frame)
    start = time.perf_counter()
    models = [[table(**row) for row in of_table] for table, of_table in rows]
    made = time.perf_counter()
    with Session(target.engine) as session:
        for objects in models:
            session.add_all(objects)
            session.flush()
        session.commit()
    done, count = time.perf_counter(), sum(map(len, models))
    return {_ADD_ALL: count / (done - start), "add_all of objects that are ready": count / (done - made)}


def _share(table: Any) -> sa.Select[Any]:
    """Select the rows of the first claims; what is ordered beneath a claim comes with it."""
    if table is Remittance:
        return written(table)
    owner = {RemittanceClaim: "id", Posting: "claim_id", ClaimEvent: "claim_id"}
    return written(table).where(table.__table__.c[owner.get(table, "remittance_claim_id")] <= SHARE)


def run() -> list[dict[str, Any]]:
    """Measure both databases."""
    claims, lines = made_claims()
    data = remittance(CLAIMS, claims["claim_number"])
    answers = read_answers(data, "era.835")
    results = []
    with ledgers() as databases:
        for name, our_url, their_url in databases:
            with Ledger(our_url) as ledger, Ledger(their_url) as target:
                sent(ledger, claims, lines)
                rate = ours(ledger, answers, data)
                baselines = theirs(target, ledger)
            results += [
                {
                    "name": f"posting {CLAIMS:,} claims of remittance into {name}, beside {baseline}",
                    "value": round(rate),
                    "unit": "rows/s",
                    "goal": f">= {GOAL}x" if baseline == _ADD_ALL else None,
                    "ratio": round(rate / slower, 1),
                }
                for baseline, slower in baselines.items()
            ]
    return results


if __name__ == "__main__":
    for result in run():
        print(result)
