"""Workbooks, read back by another library: numbers are numbers, and nothing in them can run."""

import io
from datetime import UTC, date, datetime
from decimal import Decimal

import openpyxl
import polars as pl
import pytest

from schemas.columns import MONEY
from tasks import workbook as module
from tasks.workbook import workbook

AT = datetime(2026, 12, 31, 12, tzinfo=UTC)
FRAME = pl.DataFrame(
    {
        "claim_number": ["R2610A", "=1+1", "+x", "@y", "-z", "https://example.org", "000123", None],
        "amount": [Decimal("1234.50"), Decimal("-1.27"), *[None] * 6],
        "units": [3, *[None] * 7],
        "on": [date(2026, 10, 20), *[None] * 7],
        "is_live": [True, *[None] * 7],
        "codes": [["CO-45", "PR-2"], *[None] * 7],
    },
    schema_overrides={
        "amount": MONEY,
        "units": pl.Int64,
        "on": pl.Date,
        "is_live": pl.Boolean,
        "codes": pl.List(pl.String),
    },
)


def _open(data: bytes) -> openpyxl.Workbook:
    return openpyxl.load_workbook(io.BytesIO(data))


def test_figures_are_numbers_with_a_format_and_dates_are_dates() -> None:
    sheet = _open(workbook({"lines": FRAME}, AT))["lines"]
    assert [cell.value for cell in sheet[2]] == [
        "R2610A",
        1234.5,
        3,
        datetime(2026, 10, 20),  # noqa: DTZ001  a spreadsheet's date has no zone
        True,
        "CO-45 PR-2",
    ]
    assert sheet["B2"].number_format == "#,##0.00;[Red]-#,##0.00"
    assert sheet["B3"].value == -1.27
    assert sheet["D2"].number_format == "yyyy-mm-dd"
    assert sheet["B4"].value is None


def test_the_heading_stays_in_sight_and_filters() -> None:
    sheet = _open(workbook({"lines": FRAME}, AT))["lines"]
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == "A1:F9"
    assert sheet["A1"].font.bold


def test_no_cell_can_run_as_a_formula_or_opens_a_link() -> None:
    sheet = _open(workbook({"lines": FRAME}, AT))["lines"]
    column = [sheet.cell(row, 1) for row in range(3, 9)]
    assert {cell.data_type for cell in column} == {"s"}
    assert [cell.value for cell in column] == ["'=1+1", "'+x", "'@y", "'-z", "https://example.org", "000123"]
    assert all(cell.hyperlink is None for cell in column)


def test_a_frame_longer_than_a_sheet_goes_on_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_PER_SHEET", 5)
    book = _open(workbook({"lines": FRAME, "empty": FRAME.clear()}, AT))
    assert book.sheetnames == ["lines", "lines 2", "empty"]
    assert book["lines 2"].max_row == 3  # the last row is empty
    assert book["empty"]["A1"].value == "claim_number"


def test_the_same_report_makes_the_same_bytes() -> None:
    assert workbook({"lines": FRAME}, AT) == workbook({"lines": FRAME}, AT)
