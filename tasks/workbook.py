"""Workbooks: frames as sheets that finance can sort and sum, numbers as numbers and text never as formulas.

`rpmclaims reconcile --workbook` writes one. What stands on a sheet is decided by the caller; how a cell is
written is decided here.
"""

import io
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import polars as pl
import xlsxwriter

ROWS_PER_SHEET: Final = 1_000_000  # Excel ends at 1,048,576
MONEY_FORMAT: Final = "#,##0.00;[Red]-#,##0.00"
_WIDEST: Final = 48
_NARROWEST: Final = 8
_SAMPLE: Final = 200
# What begins like this runs in some spreadsheets even from a text cell that was saved again as CSV.
_RISKY: Final = r"^[=+\-@\t\r]"


def workbook(sheets: Mapping[str, pl.DataFrame], made_on: datetime) -> bytes:
    """Write one sheet per frame: frozen bold heading, autofilter, real numbers and dates.

    A frame longer than a sheet goes on in another: `lines`, `lines 2`. The same frames and instant give
    the same bytes.
    """
    file = io.BytesIO()
    options = {
        "in_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "nan_inf_to_errors": True,
    }
    with xlsxwriter.Workbook(file, options) as book:
        book.set_properties({"title": "rpm-claims reconciliation", "created": made_on.astimezone(UTC)})
        formats = {
            "heading": book.add_format({"bold": True, "bottom": 1}),
            "money": book.add_format({"num_format": MONEY_FORMAT}),
            "date": book.add_format({"num_format": "yyyy-mm-dd"}),
            "share": book.add_format({"num_format": "0.0000"}),
            "count": book.add_format({"num_format": "#,##0"}),
        }
        for name, frame in sheets.items():
            for part in range(max(1, -(-frame.height // ROWS_PER_SHEET))):
                title = name if part == 0 else f"{name} {part + 1}"
                _write_sheet(
                    book.add_worksheet(title), frame.slice(part * ROWS_PER_SHEET, ROWS_PER_SHEET), formats
                )
    return file.getvalue()


def _write_sheet(sheet: Any, frame: pl.DataFrame, formats: Mapping[str, Any]) -> None:
    """Write a frame column by column, each in the format of its type."""
    sheet.freeze_panes(1, 0)
    if frame.width:
        sheet.autofilter(0, 0, max(frame.height, 1), frame.width - 1)
    for place, (name, dtype) in enumerate(frame.schema.items()):
        column = frame[name]
        sheet.write_string(0, place, name, formats["heading"])
        sheet.set_column(place, place, _width(name, column))
        if isinstance(dtype, pl.Decimal):
            _write_each(sheet.write_number, place, column.cast(pl.Float64), formats["money"])
        elif dtype.is_integer():
            _write_each(sheet.write_number, place, column, formats["count"])
        elif dtype.is_float():
            _write_each(sheet.write_number, place, column, formats["share"])
        elif dtype == pl.Date or isinstance(dtype, pl.Datetime):
            _write_each(sheet.write_datetime, place, column.cast(pl.Date), formats["date"])
        elif dtype == pl.Boolean:
            _write_each(sheet.write_boolean, place, column, None)
        else:
            _write_each(sheet.write_string, place, _safe(column), None)


def _write_each(write: Any, place: int, column: pl.Series, form: Any) -> None:
    """Write the cells of a column that are not empty; a workbook is written cell by cell."""
    for row, value in enumerate(column, 1):
        if value is not None:
            write(row, place, value, form)


def _safe(column: pl.Series) -> pl.Series:
    """Write text so that no spreadsheet runs it, lists joined, control characters blanked."""
    if isinstance(column.dtype, pl.List):
        column = column.cast(pl.List(pl.String)).list.join(" ")
    text = column.cast(pl.String)
    name = text.name
    plain = pl.col(name).str.replace_all(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", " ")
    risky = plain.str.contains(_RISKY)
    return text.to_frame().select(pl.when(risky).then(pl.format("'{}", plain)).otherwise(plain).alias(name))[
        name
    ]


def _width(name: str, column: pl.Series) -> int:
    """Make a column as wide as its first cells, within reason."""
    shown = _safe(column.head(_SAMPLE))
    longest = max((len(text) for text in shown if text), default=0)
    return max(_NARROWEST, min(_WIDEST, max(longest, len(name)) + 2))
