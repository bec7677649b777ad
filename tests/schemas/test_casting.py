"""Text and Parquet types become a dataset's types, or a fault that says why not."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.casting import cast
from schemas.columns import MONEY
from schemas.columns import UTC as UTC_TIME

NINE = datetime(2026, 10, 1, 9, tzinfo=UTC)


def read(cells: list[Any] | pl.Series, dtype: pl.DataType) -> tuple[list[Any], list[tuple[int, str]]]:
    """Cast one column and say its values and (row, rule) of its faults."""
    made = cast(pl.DataFrame({"x": cells}, strict=False), {"x": dtype})
    assert made.typed.schema == {"x": dtype}
    return made.typed["x"].to_list(), made.faults.select("index", "rule").rows()


@pytest.mark.parametrize(
    "cell",
    [
        "2026-10-01T09:00:00Z",
        "2026-10-01t09:00:00z",
        "2026-10-01 09:00:00Z",
        "2026-10-01T09:00Z",
        "2026-10-01T09:00:00.0Z",
        "2026-10-01T09:00:00,000000000Z",
        "2026-10-01T09:00:00+00:00",
        "2026-10-01T09:00:00-00:00",
        "2026-10-01T04:00:00-05:00",
        "2026-10-01T04:00:00-0500",
        "2026-10-01T04:00:00-05",
        "2026-10-01T04:00-05",
        "2026-10-01 04:00:00 -0500",
        "2026-10-01T14:45:00+05:45",
        "2026-09-30T23:00:00-10",
        "20261001T090000Z",
        "20261001t0900z",
        "20261001T040000-0500",
        "20261001T040000.000-05",
        "2026-09-30T24:00:00-09:00",
        "2026-09-30T24:00-09",
        "20260930T240000-0900",
        "  2026-10-01T09:00:00Z ",
    ],
)
def test_a_time_with_a_zone_is_read_however_it_is_written(cell: str) -> None:
    assert read([cell], UTC_TIME) == ([NINE], [])
    # Beside a usual one it takes the same way as alone.
    assert read(["2026-10-01T09:00:00Z", cell, None], UTC_TIME) == ([NINE, NINE, None], [])


@pytest.mark.parametrize(
    "cell",
    [
        "2026-10-01T09:00:00",
        "2026-10-01 09:00",
        "2026-10-01T09:00:00.123",
        "2026-02-30T09:00:00",
        "20261001T090000",
    ],
)
def test_a_time_without_a_zone_says_so(cell: str) -> None:
    assert read([cell], UTC_TIME) == ([None], [(0, "no_time_zone")])


@pytest.mark.parametrize(
    "cell",
    [
        "2026-10-01",
        "2026-10-01T24:00:01Z",
        "2026-10-01T25:00:00Z",
        "20261001T24:00:00Z",
        "2026-10-01T090000Z",
        "2026100T090000Z",
        "2026-W40-4T09:00:00Z",
        "2026-12-31T23:59:60Z",
        "2026-13-01T09:00:00Z",
        "2026-02-30T09:00:00Z",
        "2026-10-01T09:60:00Z",
        "2026-10-01T9:00:00Z",
        "2026-10-01T09:00:00+25:00",
        "2026-10-01T09:00:00.1234567890Z",
        "2026-10-01T09:00:00[America/Chicago]",
        "01/10/2026 09:00Z",
        "1790845200",
        "now",
    ],
)
def test_a_time_that_cannot_be_read_says_so(cell: str) -> None:
    assert read([cell], UTC_TIME) == ([None], [(0, "unreadable_time")])


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001  the zone is drawn beside it
    st.integers(-14 * 60, 14 * 60),
    st.sampled_from(["T", " "]),
)
def test_any_time_that_python_writes_is_read_as_the_same_instant(
    clock: datetime, minutes: int, separator: str
) -> None:
    instant = clock.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert read([instant.isoformat(separator)], UTC_TIME) == ([instant.astimezone(UTC)], [])


def test_fractions_below_a_microsecond_are_cut_off() -> None:
    assert read(["2026-10-01T09:00:00.123456789Z"], UTC_TIME)[0] == [NINE.replace(microsecond=123456)]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "America/Chicago", "Asia/Kathmandu"])
def test_a_typed_time_in_any_zone_and_unit_is_kept(unit: Any, zone: str) -> None:
    typed = pl.Series("x", [NINE, None]).dt.convert_time_zone(zone).dt.cast_time_unit(unit)
    assert read(typed, UTC_TIME) == ([NINE, None], [])


def test_a_typed_time_without_a_zone_says_so() -> None:
    typed = pl.Series("x", [NINE.replace(tzinfo=None), None])
    assert read(typed, UTC_TIME) == ([None, None], [(0, "no_time_zone")])


def test_dates() -> None:
    cells = ["2026-10-01", " 2026-10-01 ", "", None, "2026-10-1", "20261001", "2026-02-29", "2024-02-29", "0"]
    first, leap = date(2026, 10, 1), date(2024, 2, 29)
    values = [first, first, None, None, None, None, None, leap, None]
    faults = [(index, "unreadable_date") for index in (4, 5, 6, 8)]
    assert read(cells, pl.Date()) == (values, faults)


def test_a_midnight_without_a_zone_is_a_date_and_any_other_time_is_not() -> None:
    typed = pl.Series("x", [datetime(2026, 10, 1), datetime(2026, 10, 1, 1), None])  # noqa: DTZ001
    assert read(typed, pl.Date()) == ([date(2026, 10, 1), None, None], [(1, "unreadable_date")])
    assert read(pl.Series("x", [date(2026, 10, 1)]), pl.Date()) == ([date(2026, 10, 1)], [])


def test_booleans() -> None:
    cells = ["true", "FALSE", "Yes", "no", "T", "f", "y", "N", "1", "0", "", "2", "truee"]
    values = [True, False] * 5 + [None, None, None]
    assert read(cells, pl.Boolean()) == (values, [(11, "unreadable_boolean"), (12, "unreadable_boolean")])
    assert read([1, 0, None], pl.Boolean()) == ([True, False, None], [])
    assert read([1.0, 0.0, None], pl.Boolean()) == ([True, False, None], [])
    assert read([True, None], pl.Boolean()) == ([True, None], [])


def test_numbers() -> None:
    cells = ["120", "-1.5", ".5", "5.", "1e-3", "", "1,000", "0x10", "nan", "inf", "1_0", "."]
    values = [120.0, -1.5, 0.5, 5.0, 0.001, None, None, None, None, None, None, None]
    assert read(cells, pl.Float64()) == (values, [(index, "unreadable_number") for index in range(6, 12)])
    typed = [1.5, float("nan"), float("inf"), None]
    faults = [(1, "unreadable_number"), (2, "unreadable_number")]
    assert read(typed, pl.Float64()) == ([1.5, None, None, None], faults)
    assert read([3, None], pl.Float64()) == ([3.0, None], [])


def test_whole_numbers() -> None:
    cells = ["5000", "5000.0", "-1", "1.5", "many", "9" * 19, None]
    values = [5000, 5000, -1, None, None, None, None]
    assert read(cells, pl.Int64()) == (values, [(index, "unreadable_number") for index in (3, 4, 5)])
    assert read([5000.0, None], pl.Int64()) == ([5000, None], [])


def test_money() -> None:
    cells = ["1", "1.5", "1.50", "1.500", "1.505", "-1", "1e2", "$1", "12345678901", "."]
    values = (
        [Decimal(text) for text in ("1.00", "1.50", "1.50", "1.50")] + [None, Decimal("-1.00")] + [None] * 4
    )
    faults = [(4, "too_many_decimals"), *((index, "unreadable_number") for index in (6, 7, 8, 9))]
    assert read(cells, MONEY) == (values, faults)
    assert read([75.1, 0.1 + 0.2], MONEY) == ([Decimal("75.10"), None], [(1, "too_many_decimals")])
    assert read([75, None], MONEY) == ([Decimal("75.00"), None], [])
    wide = pl.Series("x", [Decimal("75.1000"), Decimal("75.1001")], pl.Decimal(20, 4))
    assert read(wide, MONEY) == ([Decimal("75.10"), None], [(1, "too_many_decimals")])


def test_text_from_any_type() -> None:
    assert read([" a ", "", "  ", None], pl.String()) == (["a", None, None, None], [])
    assert read([1234567893, None], pl.String()) == (["1234567893", None], [])
    assert read([1234567893.0, None, 1.5], pl.String()) == (["1234567893", None, "1.5"], [])
    for kind in (pl.Categorical(), pl.Enum(["a", " "])):
        assert read(pl.Series("x", ["a", " ", None], kind), pl.String()) == (["a", None, None], [])
    assert read([None, None], pl.String()) == ([None, None], [])


def test_bytes_that_are_not_utf8_condemn_their_own_cell_only() -> None:
    cells = [b"Z\xc3\xbcrich", b"Z\xfcrich", b" ", b"", None]
    assert read(cells, pl.String()) == (["Zürich", None, None, None, None], [(1, "unreadable_text")])
    assert read([b"2026-10-01", b"\xff"], pl.Date()) == ([date(2026, 10, 1), None], [(1, "unreadable_date")])


def test_text_that_lost_letters_on_its_way_is_refused() -> None:
    assert read(["Z\ufffdrich", "Zürich", " "], pl.String()) == (
        [None, "Zürich", None],
        [(0, "unreadable_text")],
    )


def test_nested_cells_are_no_text() -> None:
    assert read([["I10"], None], pl.String()) == ([None, None], [(0, "unreadable_text")])
    assert read([{"at": 1}, None], UTC_TIME) == ([None, None], [(0, "unreadable_time")])


def test_an_absent_column_is_empty_in_every_row() -> None:
    made = cast(pl.DataFrame({"y": ["1", "2"]}), {"x": pl.Date(), "y": pl.Int64()})
    assert made.typed.rows() == [(None, 1), (None, 2)]
    assert made.faults.is_empty()
