"""Casting: from the text, or the Parquet types, of a source file to the types of its dataset's model.

`schemas.quarantine` uses it before anything is validated. A cell that cannot be read becomes null and a
fault that says why; nothing here raises for what a cell holds, and nothing here knows a rule of a dataset.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

# What stands for bytes that were no text; whoever wrote it has lost the letter.
_GARBLED: Final = "\ufffd"

# Row of the frame, column, and the rule the cell broke.
FAULT: Final = {"index": pl.UInt32(), "column": pl.String(), "rule": pl.String()}

_DATE: Final = r"^\d{4}-\d{2}-\d{2}$"
_SECONDS: Final = r"[0-5]\d([.,]\d{1,9})?"
# ISO 8601 in its extended format, and in its basic one.
_CLOCK: Final = (
    rf"^(\d{{4}}-\d{{2}}-\d{{2}}[Tt ]\d{{2}}:\d{{2}}(:{_SECONDS})?|\d{{8}}[Tt]\d{{4}}({_SECONDS})?)"
)
_TIME_WITH_ZONE: Final = _CLOCK + r"\s?([Zz]|[+-]\d{2}(:?\d{2})?)$"
_TIME_WITHOUT_ZONE: Final = _CLOCK + "$"
_USUAL_TIME: Final = r"^\d{4}-\d{2}-\d{2}T([01]\d|2[0-3]):\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$"
# Every other way of writing a time with a zone, brought to the usual one, in this order.
_TO_USUAL_TIME: Final = (
    (r"^(\d{4})(\d{2})(\d{2})[Tt](\d{2})", "${1}-${2}-${3}T${4}:"),
    (r"^(.{10})[t ]", "${1}T"),
    (r"\s?z$", "Z"),
    (r"\s([+-])", "${1}"),
    (r"^(.{16})(\d)", "${1}:${2}"),
    (r"^(.{16})([Z+-])", "${1}:00${2}"),
    (r",", "."),
    (r"([+-]\d{2})(\d{2})$", "${1}:${2}"),
    (r"([+-]\d{2})$", "${1}:00"),
)
# ISO 8601's other name for the midnight at which the next day begins.
_END_OF_DAY: Final = r"T24(:00:00(\.0+)?[Z+-])"
_NUMBER: Final = r"^[+-]?(\d+\.?\d*|\.\d+)([Ee][+-]?\d{1,3})?$"
_CENTS: Final = r"^[+-]?\d{0,10}(\.\d{0,2}0*)?$"
_WHOLE: Final = r"^[+-]?\d{1,18}(\.0*)?$"
_TRUE: Final = ("true", "t", "yes", "y", "1")
_FALSE: Final = ("false", "f", "no", "n", "0")

_UNREADABLE: Final[Mapping[type[pl.DataType], str]] = {
    pl.Datetime: "unreadable_time",
    pl.Date: "unreadable_date",
    pl.Boolean: "unreadable_boolean",
    pl.Float64: "unreadable_number",
    pl.Int64: "unreadable_number",
    pl.Decimal: "unreadable_number",
    pl.String: "unreadable_text",
}


@dataclass(frozen=True)
class Cast:
    """A frame in its dataset's types, and the cells that could not be read.

    `given` holds what each cell was read from: stripped text, or the file's own type where that was kept.
    """

    typed: pl.DataFrame
    given: pl.DataFrame
    faults: pl.DataFrame


def cast(raw: pl.DataFrame, types: Mapping[str, pl.DataType]) -> Cast:
    """Cast the named columns, those that are absent to nulls; empty and blank cells are null.

    Times become UTC and lose what is below a microsecond. A column that has the type already is kept.
    """
    given: list[pl.Series] = []
    typed: list[pl.Series] = []
    faults = [pl.DataFrame(schema=FAULT)]
    for name, dtype in types.items():
        found = raw[name] if name in raw.columns else pl.Series(name, [None] * raw.height, pl.String)
        made = _kept(found, dtype)
        if made is None:
            text, not_text = _text(found)
            made = _parsed(text, dtype)
            given.append(text)
            is_fault = not_text | (text.is_not_null() & made.is_null())
        else:
            given.append(found)
            is_fault = found.is_not_null() & made.is_null()
        typed.append(made)
        if is_fault.any():
            faults.append(_faults(given[-1], is_fault, dtype))
    return Cast(pl.DataFrame(typed), pl.DataFrame(given), pl.concat(faults))


def _text(given: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Say a column as stripped text (blank is null), and which cells are no text at all."""
    not_text = pl.repeat(value=False, n=len(given), eager=True)
    if given.dtype.is_nested() or given.dtype == pl.Object:
        return pl.Series(given.name, [None] * len(given), pl.String), given.is_not_null()
    if given.dtype.is_float():
        # Spreadsheet tools turn whole numbers into floats as soon as one cell is empty.
        is_whole = (given.is_finite() & (given.round(0) == given) & (given.abs() < 1e15)).fill_null(
            value=False
        )
        whole = given.set(~is_whole, None).cast(pl.Int64).cast(pl.String)
        return (whole.fill_null(given.cast(pl.String)) if whole.null_count() else whole), not_text
    text = _decoded(given) if given.dtype == pl.Binary else given.cast(pl.String)
    is_garbled = text.str.contains(_GARBLED, literal=True)
    if is_garbled.any() or text.null_count() > given.null_count():
        not_text = given.is_not_null() & (text.is_null() | is_garbled)
        text = text.set(not_text, None)
    text = text.str.strip_chars()
    return (text.set(text == "", None) if (text == "").any() else text), not_text


def _decoded(given: pl.Series) -> pl.Series:
    """Read bytes as UTF-8; cells that are not become null."""
    try:
        return given.cast(pl.String)
    except pl.exceptions.ComputeError:
        # Only a file in another encoding comes here, and Polars cannot skip its bad cells.
        return pl.Series(given.name, [_utf8(cell) for cell in given], pl.String)


def _utf8(cell: bytes | None) -> str | None:
    try:
        return None if cell is None else cell.decode()
    except UnicodeDecodeError:
        return None


def _kept(given: pl.Series, dtype: pl.DataType) -> pl.Series | None:
    """Take a column as it is when its own type already says the same; None when it must be read as text."""
    own = given.dtype
    if isinstance(dtype, pl.Datetime) and isinstance(own, pl.Datetime) and own.time_zone is not None:
        return given.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    if isinstance(dtype, pl.Date) and isinstance(own, pl.Datetime) and own.time_zone is None:
        # Data-frame libraries without a date type write a date as its midnight.
        midnight = given.dt.truncate("1d")
        return given.set(given != midnight, None).dt.date()
    if isinstance(dtype, pl.Float64) and own.is_numeric():
        number = given.cast(pl.Float64)
        return number.set(~number.is_finite(), None)
    if own == dtype and not isinstance(dtype, pl.String):
        return given
    return None


def _parsed(text: pl.Series, dtype: pl.DataType) -> pl.Series:
    if isinstance(dtype, pl.String):
        return text
    if isinstance(dtype, pl.Datetime):
        return _times(text)
    if isinstance(dtype, pl.Date):
        return _matching(text, _DATE).str.to_date("%Y-%m-%d", strict=False)
    if isinstance(dtype, pl.Boolean):
        lower = text.str.to_lowercase()
        return lower.is_in(_TRUE).set(~lower.is_in(_TRUE + _FALSE), None)
    pattern = (
        _NUMBER if isinstance(dtype, pl.Float64) else _CENTS if isinstance(dtype, pl.Decimal) else _WHOLE
    )
    number = _matching(text, pattern)
    if isinstance(dtype, pl.Int64):
        number = number.str.replace(r"\..*$", "")
    return number.cast(dtype, strict=False)


def _times(text: pl.Series) -> pl.Series:
    """Read ISO 8601 times that say their zone."""
    times = _matching(text, _TIME_WITH_ZONE)
    is_usual = times.str.contains(_USUAL_TIME)
    if is_usual.all():
        return _instants(times)
    for pattern, replacement in _TO_USUAL_TIME:
        times = times.str.replace(pattern, replacement)
    is_end_of_day = times.str.contains(_END_OF_DAY)
    read = _instants(times.str.replace(_END_OF_DAY, "T00${1}"))
    return read.zip_with(~is_end_of_day, read.dt.offset_by("1d"))


def _instants(times: pl.Series) -> pl.Series:
    return times.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)


def _matching(text: pl.Series, pattern: str) -> pl.Series:
    matches = text.str.contains(pattern)
    return text if matches.all() else text.set(~matches, None)


def _faults(given: pl.Series, is_fault: pl.Series, dtype: pl.DataType) -> pl.DataFrame:
    """Say which cells could not be read, and the rule each broke."""
    rule = pl.lit(_UNREADABLE[type(dtype)])
    text = pl.col("given").cast(pl.String)
    if isinstance(dtype, pl.Datetime):
        rule = pl.when(text.str.contains(_TIME_WITHOUT_ZONE)).then(pl.lit("no_time_zone")).otherwise(rule)
    if isinstance(dtype, pl.Decimal):
        is_too_fine = text.str.contains(r"^[+-]?\d{0,10}\.\d{3,}$")
        rule = pl.when(is_too_fine).then(pl.lit("too_many_decimals")).otherwise(rule)
    cells = pl.DataFrame([given.alias("given"), is_fault.alias("is_fault")]).with_row_index("index")
    return cells.filter("is_fault").select("index", column=pl.lit(given.name), rule=rule)
