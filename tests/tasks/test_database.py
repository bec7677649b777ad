"""Frames in and out of the ledger's database, exactly; and errors that keep its rows to themselves."""

import traceback
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from sqlmodel import Session

from schemas.ledger import ControlNumber, Interchange
from tasks.claim_states import CLAIM, INTERCHANGE
from tasks.database import LedgerError, connect, insert, query, reading, staged, writing
from tasks.ledger import Ledger
from tests.tasks.made_claims import AT, OCTOBER, SOURCE, month

EXACT = ("0.00", "0.01", "0.10", "1.01", "99.99", "9999999999.99")


def interchange(number: int, **columns: Any) -> Interchange:
    values: dict[str, Any] = {
        "month": OCTOBER,
        "source": SOURCE,
        "sender_id": "CLINIC",
        "receiver_id": "MAC",
        "usage": "T",
        "control_number": number,
        "group_control_number": number,
        "batch_id": f"B{number}",
        "created_at": AT,
        "file_name": f"{number}.837",
        "claim_count": 1,
        "total_charge": Decimal("1.00"),
        "state": "reserved",
    }
    return Interchange(**(values | columns))


def test_a_frame_laid_beside_the_tables_comes_back_as_it_was(ledger: Ledger) -> None:
    frame = pl.DataFrame(
        {
            "text": ["", None, r"\N", 'a "quoted", word\n', "É"],
            "whole": [1, None, -3, 2**40, 0],
            "flag": [True, None, False, True, False],
            "day": [date(2026, 10, 31), None, date(1900, 1, 1), date(2026, 2, 28), date(2024, 2, 29)],
            "at": [AT, None, datetime(2026, 1, 1, 0, 0, 0, 1, UTC), AT, AT],
            "amount": ["-0.05", None, "12.34", "9999999999.99", "0.10"],
        },
    ).with_columns(pl.col("amount").cast(pl.Decimal(12, 2)), pl.col("at").cast(pl.Datetime("us", "UTC")))
    with writing(ledger.engine) as connection:
        with staged(connection, frame.with_row_index("n").cast({"n": pl.Int64})) as table:
            back = query(connection, sa.select(table)).sort("n").drop("n")
        with staged(connection, frame.select("whole")) as again:
            assert query(connection, sa.select(again)).height == 5
    assert back.equals(frame)
    assert back.schema == frame.schema


@pytest.mark.parametrize("count", [1, 2, 2_499, 2_500, 2_501, 20_000])
def test_rows_of_any_number_arrive_whole_whatever_they_share(ledger: Ledger, count: int) -> None:
    frame = pl.select(
        own=pl.int_range(count),
        shared=pl.lit("the same"),
        none=pl.lit(None, pl.String),
        last=pl.int_range(count) // 3,
        flag=pl.lit(value=True),
    ).with_columns(mixed=pl.when(pl.col("own") % 7 == 1).then(pl.lit("one")))
    with writing(ledger.engine) as connection, staged(connection, frame) as table:
        back = query(connection, sa.select(table)).sort("own")
    assert back.equals(frame)


@pytest.mark.parametrize("amount", EXACT)
def test_money_is_the_same_by_row_by_frame_and_in_sums(ledger: Ledger, amount: str) -> None:
    with Session(ledger.engine.execution_options(is_writer=True)) as session:
        session.add(interchange(1, total_charge=Decimal(amount)))
        session.commit()
        assert session.get_one(Interchange, 1).total_charge == Decimal(amount)
    with reading(ledger.engine) as connection:
        columns = (INTERCHANGE.c.total_charge, sa.func.sum(INTERCHANGE.c.total_charge).label("sum"))
        by_frame = query(connection, sa.select(*columns).group_by(INTERCHANGE.c.total_charge))
    assert [str(value) for value in by_frame.row(0)] == [amount, amount]


def test_a_hundred_thousand_dimes_are_ten_thousand_dollars(ledger: Ledger) -> None:
    dimes = pl.DataFrame({"amount": ["0.10"] * 100_000}).cast(pl.Decimal(12, 2))
    with writing(ledger.engine) as connection, staged(connection, dimes) as table:
        total = connection.execute(sa.select(sa.func.sum(table.c.amount))).scalar_one()
    assert total == Decimal("10000.00")


@pytest.mark.parametrize(
    "amount", [0.1, "1.00", Decimal("1.005"), Decimal("NaN"), Decimal("Infinity"), Decimal(10**10)]
)
def test_money_that_is_not_exact_cents_is_refused(ledger: Ledger, amount: Any) -> None:
    with Session(ledger.engine.execution_options(is_writer=True)) as session:
        session.add(interchange(1, total_charge=amount))
        with pytest.raises((sa.exc.StatementError, TypeError), match="money must be"):
            session.commit()


def test_an_instant_without_a_zone_is_refused_and_others_come_back_in_utc(ledger: Ledger) -> None:
    with Session(ledger.engine.execution_options(is_writer=True)) as session:
        session.add(interchange(1, created_at=datetime.fromisoformat("2026-11-01T01:30:00-05:00")))
        session.commit()
        assert session.get_one(Interchange, 1).created_at == datetime(2026, 11, 1, 6, 30, tzinfo=UTC)
        session.add(interchange(2, created_at=datetime(2026, 11, 1)))  # noqa: DTZ001
        with pytest.raises(sa.exc.StatementError, match="needs a time zone"):
            session.commit()


@pytest.mark.parametrize(
    ("column", "value"),
    [("state", "posted"), ("usage", "X"), ("control_number", 0), ("control_number", 10**9)],
)
def test_what_a_table_must_hold_the_database_checks(ledger: Ledger, column: str, value: object) -> None:
    with Session(ledger.engine.execution_options(is_writer=True)) as session:
        session.add(interchange(1, **{column: value}))
        with pytest.raises(sa.exc.IntegrityError, match=f"ck_interchange_{column}"):
            session.commit()


def test_the_last_control_number_is_the_last(ledger: Ledger) -> None:
    with Session(ledger.engine.execution_options(is_writer=True)) as session:
        session.add(ControlNumber(sender_id="CLINIC", receiver_id="MAC", next_value=999_999_999))
        session.commit()
    ledger.register_claims(*month(1), month=OCTOBER, source=SOURCE, at=AT)
    files = ledger.allocate_interchanges(month=OCTOBER, source=SOURCE, at=AT)
    assert files["control_number"].to_list() == [999_999_999]
    ledger.register_claims(*month(1, start=1), month=OCTOBER, source=SOURCE, at=AT)
    with pytest.raises(LedgerError, match="ck_control_number_next_value"):
        ledger.allocate_interchanges(month=OCTOBER, source=SOURCE, at=AT)


def test_two_live_claims_of_one_member_and_month_are_impossible(ledger: Ledger) -> None:
    ledger.register_claims(*month(1), month=OCTOBER, source=SOURCE, at=AT)
    with reading(ledger.engine) as connection:
        held = query(connection, sa.select(CLAIM)).drop("id")
    second = held.with_columns(claim_number=pl.lit("R2610OTHER0000002"), version=pl.lit(2, pl.Int64))
    same_version = held.with_columns(
        claim_number=pl.lit("R2610OTHER0000001"), is_live=pl.lit(value=False), state=pl.lit("void")
    )
    for rows, constraint in ((second, "claim_live|claim.code_family"), (same_version, "natural|version")):
        with pytest.raises(LedgerError, match=constraint), writing(ledger.engine) as connection:
            insert(connection, CLAIM, rows)


@pytest.mark.parametrize("verb", ["UPDATE claim_event SET actor = 'x'", "DELETE FROM claim_event"])
def test_events_are_neither_changed_nor_deleted(ledger: Ledger, verb: str) -> None:
    ledger.register_claims(*month(1), month=OCTOBER, source=SOURCE, at=AT)
    with pytest.raises(LedgerError), writing(ledger.engine) as connection:
        connection.execute(sa.text(verb))
    with reading(ledger.engine) as connection:
        actor = connection.execute(sa.text("SELECT actor FROM claim_event")).scalar_one()
    assert actor == "month_end"


def test_an_error_never_shows_the_row_that_caused_it(ledger: Ledger) -> None:
    secret = "1EG4SECRET7"
    claims, lines = month(1)
    frames = claims.with_columns(member_id=pl.lit(secret), usage=pl.lit("X")), lines
    with pytest.raises(LedgerError) as by_check:
        ledger.register_claims(*frames, month=OCTOBER, source=SOURCE, at=AT)
    row = claims.select("claim_number", "member_id").with_columns(pl.lit(secret).alias("member_id"))
    with pytest.raises(LedgerError) as by_null, writing(ledger.engine) as connection:
        insert(connection, CLAIM, row)
    with pytest.raises(LedgerError) as by_text, writing(ledger.engine) as connection:
        connection.execute(sa.text("SELECT nothing FROM claim WHERE member_id = :m"), {"m": secret})
    for error in (by_check, by_null, by_text):
        assert secret not in "".join(traceback.format_exception(error.value))


def test_a_ledger_in_memory_is_refused() -> None:
    with pytest.raises(LedgerError, match="forgets"):
        connect("sqlite://")
