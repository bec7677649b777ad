"""The worklist's writer: the new opens, the fixed closes by itself, what a person closed stays so."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import sqlalchemy as sa

from billing.reference.tables import load
from billing.worklist import WORK_ITEM
from console.queries import open_items
from schemas.columns import MONEY
from tasks import database
from tasks.ledger import Ledger
from tasks.worklist import WORK_ITEM as TABLE
from tasks.worklist import Refreshed, record, refresh
from tests.tasks.made_claims import AT, OCTOBER, SOURCE, month

MONDAY = datetime(2026, 11, 23, 9, tzinfo=UTC)
TUESDAY = MONDAY + timedelta(days=1)
TYPES: dict[str, Any] = {"money": MONEY, "deadline": pl.Date, "claim_id": pl.Int64}


def _items(*rows: dict[str, Any]) -> pl.DataFrame:
    usual = {
        "kind": "imbalance",
        "incident_key": "i",
        "owner": "finance",
        "action": "Look at it.",
        "reason": "Because.",
        "deadline": date(2026, 12, 1),
        "money": Decimal("5.00"),
    }
    schema = {name: TYPES.get(name, pl.String) for name in WORK_ITEM}
    return pl.DataFrame([{**usual, **row} for row in rows], schema=schema, orient="row")


def _rows(ledger: Ledger) -> dict[str, Any]:
    with database.reading(ledger.engine) as connection:
        return {row.key: row for row in connection.execute(sa.select(TABLE)).all()}


def test_what_is_new_opens_and_a_second_look_adds_nothing(ledger: Ledger) -> None:
    items = _items({"key": "a"}, {"key": "b"})
    assert record(ledger, items, MONDAY) == Refreshed(opened=2, closed=0, reopened=0, open=2)
    assert record(ledger, items, TUESDAY) == Refreshed(opened=0, closed=0, reopened=0, open=2)
    assert [event["what"] for event in _rows(ledger)["a"].events] == ["opened"]


def test_what_is_fixed_closes_by_itself_and_opens_again_when_it_comes_back(ledger: Ledger) -> None:
    both = _items({"key": "a"}, {"key": "b"})
    record(ledger, both, MONDAY)
    assert record(ledger, _items({"key": "a"}), TUESDAY) == Refreshed(0, 1, 0, 1)
    closed = _rows(ledger)["b"]
    assert (closed.state, closed.closed_at, closed.closed_by) == ("closed", TUESDAY, "worklist")
    assert record(ledger, _items({"key": "a"}, {"key": "b", "money": Decimal("7.00")}), TUESDAY) == Refreshed(
        0, 0, 1, 2
    )
    back = _rows(ledger)["b"]
    assert (back.state, back.closed_at, back.closed_by, back.money) == ("open", None, None, Decimal("7.00"))
    assert [event["what"] for event in back.events] == ["opened", "closed", "reopened"]


def test_what_a_person_closed_stays_closed(ledger: Ledger) -> None:
    record(ledger, _items({"key": "a"}, {"key": "b"}), MONDAY)
    with database.writing(ledger.engine) as connection:
        for key, state in (("a", "closed"), ("b", "released")):
            connection.execute(
                sa.update(TABLE)
                .where(TABLE.c.key == key)
                .values(state=state, closed_by="Dana", closed_at=MONDAY)
            )
    assert record(ledger, _items({"key": "a"}, {"key": "b"}), TUESDAY) == Refreshed(0, 0, 0, 0)
    assert {row.closed_by for row in _rows(ledger).values()} == {"Dana"}


def test_what_is_known_of_an_item_is_renewed(ledger: Ledger) -> None:
    record(ledger, _items({"key": "a"}, {"key": "b", "money": None, "deadline": None}), MONDAY)
    record(ledger, _items({"key": "a", "money": Decimal("9.50"), "reason": "More."}, {"key": "b"}), TUESDAY)
    rows = _rows(ledger)
    assert (rows["a"].money, rows["a"].reason, rows["a"].opened_at) == (Decimal("9.50"), "More.", MONDAY)
    assert (rows["b"].money, rows["b"].deadline) == (Decimal("5.00"), date(2026, 12, 1))


def test_the_list_of_open_items_has_most_money_first(ledger: Ledger) -> None:
    record(
        ledger,
        _items({"key": "a", "money": None}, {"key": "b"}, {"key": "c", "money": Decimal("500.00")}),
        MONDAY,
    )
    assert open_items(ledger.engine)["key"].to_list() == ["c", "b", "a"]


def test_a_ledger_without_answers_has_only_silence_on_its_list(ledger: Ledger) -> None:
    claims, lines = month(3)
    ledger.register_claims(claims, lines, month=OCTOBER, source=SOURCE, at=AT)
    files = ledger.allocate_interchanges(month=OCTOBER, source=SOURCE, at=AT)
    assert refresh(ledger, load(), MONDAY).open == 0
    number = files["interchange_id"][0]
    ledger.record_written(number, uri="s3://o/f.837", sha256="0" * 64, size=1)
    ledger.record_sending(number)
    ledger.record_sent(number, receipt={}, at=AT)
    assert refresh(ledger, load(), MONDAY).opened == 1
    item = open_items(ledger.engine).row(0, named=True)
    assert (item["kind"], item["money"]) == ("missing_acknowledgement", Decimal("165.72"))
