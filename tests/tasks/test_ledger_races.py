"""The ledger under contention: many threads, many processes, and one that dies in the middle."""

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import sqlalchemy as sa

from tasks.claim_states import CLAIM, CLAIM_EVENT
from tasks.database import query, reading, writing
from tasks.ledger import Ledger
from tests.tasks.made_claims import AT, OCTOBER, SOURCE, month

ROUNDS, CLAIMS = 5, 40


def race(url: str) -> tuple[dict[str, int], list[str]]:
    """Open the ledger and run a small month several times; what was new, and the files at the end."""
    found: dict[str, int] = {}
    with Ledger(url) as ledger:
        ledger.upgrade()
        for number in range(ROUNDS):
            claims, lines = month(CLAIMS, start=number * CLAIMS)
            registered = ledger.register_claims(claims, lines, month=OCTOBER, source=SOURCE, at=AT)
            for outcome, count in registered.counts.items():
                found[outcome] = found.get(outcome, 0) + count
            files = ledger.allocate_interchanges(month=OCTOBER, source=SOURCE, at=AT)
        return found, files["file_name"].to_list()


def die_while_writing(url: str) -> None:
    """End the process with a row inserted and not committed."""
    with Ledger(url) as ledger, writing(ledger.engine) as connection:
        connection.execute(sa.text("INSERT INTO control_number VALUES ('A', 'B', 7)"))
        os._exit(9)


def together(work: Callable[[], Any], count: int) -> list[Any]:
    """Do the same in several threads that start at the same moment."""
    start = threading.Barrier(count)

    def run(_: int) -> Any:
        start.wait()
        return work()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def assert_one_live_claim_per_key(url: str, claims: int) -> None:
    with Ledger(url) as ledger, reading(ledger.engine) as connection:
        held = query(connection, sa.select(CLAIM))
        events = query(connection, sa.select(CLAIM_EVENT))
    assert held.height == claims
    assert held["is_live"].all()
    assert held.select("billing_npi", "member_id", "service_month").n_unique() == claims
    assert held["interchange_id"].null_count() == 0
    assert events.height == claims


def test_threads_that_run_one_month_at_once_make_each_claim_once(ledger_url: str) -> None:
    results = together(lambda: race(ledger_url), 4)
    assert sum(found.get("new", 0) for found, _ in results) == ROUNDS * CLAIMS
    assert sum(found.get("unchanged", 0) for found, _ in results) == 3 * ROUNDS * CLAIMS
    assert_one_live_claim_per_key(ledger_url, ROUNDS * CLAIMS)


def test_processes_that_start_at_once_on_an_empty_database_make_each_claim_once(ledger_url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, mp_context=spawn) as pool:
        results = list(pool.map(race, [ledger_url] * 3))
    assert sum(found.get("new", 0) for found, _ in results) == ROUNDS * CLAIMS
    assert_one_live_claim_per_key(ledger_url, ROUNDS * CLAIMS)


def test_a_process_that_dies_in_the_middle_leaves_nothing_and_blocks_no_one(
    ledger: Ledger, ledger_url: str
) -> None:
    process = multiprocessing.get_context("spawn").Process(target=die_while_writing, args=(ledger_url,))
    process.start()
    process.join()
    assert process.exitcode == 9
    with reading(ledger.engine) as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM control_number")).scalar_one() == 0
    assert race(ledger_url)[0] == {"new": ROUNDS * CLAIMS}


def test_control_numbers_are_never_used_twice_whoever_asks(ledger: Ledger) -> None:
    def file_each_alone() -> list[int]:
        source = f"s3://{threading.get_ident()}"
        numbers = []
        for _ in range(5):
            claims, lines = month(1, start=next(patient))
            ledger.register_claims(claims, lines, month=OCTOBER, source=source, at=AT)
            files = ledger.allocate_interchanges(month=OCTOBER, source=source, at=AT)
            numbers.append(files["control_number"].to_list()[-1])
        return numbers

    patient = iter(range(1_000))
    taken = [number for numbers in together(file_each_alone, 6) for number in numbers]
    assert sorted(taken) == list(range(1, 31))


def test_one_of_many_senders_gets_the_file(ledger: Ledger) -> None:
    ledger.register_claims(*month(3), month=OCTOBER, source=SOURCE, at=AT)
    (file,) = ledger.allocate_interchanges(month=OCTOBER, source=SOURCE, at=AT)["interchange_id"]
    ledger.record_written(file, uri="claims/one.837", sha256="f" * 64, size=1)
    assert sorted(together(lambda: ledger.record_sending(file), 6)) == [False] * 5 + [True]
    sent = together(lambda: ledger.record_sent(file, receipt={}, at=AT), 6)
    assert sorted(sent) == [False] * 5 + [True]


def test_a_transition_asked_for_many_times_at_once_happens_once(ledger: Ledger) -> None:
    numbers = ledger.register_claims(*month(5), month=OCTOBER, source=SOURCE, at=AT).claim_numbers
    answers = together(lambda: ledger.transition(numbers, "sent", actor="test", dedupe="once", at=AT), 6)
    outcomes = sorted(answer["outcome"].to_list() for answer in answers)
    assert outcomes == [["moved"] * 5] + [["repeated"] * 5] * 5


def test_a_reader_does_not_wait_for_a_writer(ledger: Ledger) -> None:
    ledger.register_claims(*month(2), month=OCTOBER, source=SOURCE, at=AT)
    with writing(ledger.engine) as connection:
        connection.execute(sa.delete(sa.table("claim_line")))
        with ThreadPoolExecutor(1) as pool:
            lines = pool.submit(ledger.month_lines, OCTOBER).result(timeout=10)
    assert lines.height == 4
