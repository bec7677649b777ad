"""Reasons: what the quarantine says to the person who must mend a row.

One sentence or two per rule: what is wrong, what is expected, what to do. `schemas.quarantine` finds the
faults; no rule is decided here, and no sentence repeats a name, an address or a member id.
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

# {column} is the column's name, {value} the cell where it may be quoted, {expected} the codes it may hold.
REASONS: Final[Mapping[str, str]] = {
    "missing": "{column} is empty; fill it in and send the row again.",
    "unreadable_time": (
        "{column} is not a time that can be read{value}; "
        "write date, time and zone like 2026-10-05T14:30:00-05:00."
    ),
    "no_time_zone": (
        "{column} does not say its zone{value}, so it could be any of several instants; "
        "add Z or the offset from UTC, like 2026-10-05T14:30:00-05:00."
    ),
    "unreadable_date": "{column} is not a calendar date; write it year first, like 2026-10-05.",
    "unreadable_number": (
        "{column} is not a number that can be read{value}; write plain digits, like 120 or 98.6."
    ),
    "unreadable_boolean": "{column} is neither true nor false{value}; write one of the two words.",
    "unreadable_text": "{column} holds characters that are not UTF-8 text; export the file again as UTF-8.",
    "unreadable_row": (
        "The row could not be split into the columns of its file: a separator or a quotation mark is missing "
        "or too many. An open quotation mark swallows the rows after it; mend it and send the file again."
    ),
    "unreadable_file": (
        "The file could not be read: it is damaged, cut short or not what its name says. "
        "Rows before the damage, if any, were used. Export it again."
    ),
    "missing_column": (
        "The file lacks {column}, so none of its rows was used; complete it and send it again."
    ),
    "unknown_code": "{column} holds an unknown code{value}; expected {expected}.",
    "unknown_patient": (
        "No patient with this patient_id is in the patient snapshot; correct the id or add the patient."
    ),
    "end_not_after_start": "{column} is not after started_at; correct the two times.",
    "longer_than_four_hours": (
        "The entry is longer than four hours, which a forgotten timer does; "
        "correct its end, or split it into the pieces that were worked."
    ),
    "in_the_future": "{column} lies in the future{value}; correct it, or bill the month when it is over.",
    "end_before_start": "{column} lies before starts_on; correct the two dates.",
    "not_positive": "{column} must be more than zero{value}; correct it.",
    "too_many_decimals": "{column} has more than two decimals{value}; write dollars and cents.",
    "unwritable_text": "{column} has no letter or digit that a claim can carry; write it in Latin letters.",
    "malformed_postal_code": (
        "{column} has not the digits of a postal code (five or nine; a billing provider's nine); correct it."
    ),
    "malformed_tax_id": "{column} has not nine digits; correct it.",
    "duplicate_id": (
        "{column} stands for rows with different contents, and nobody can tell which is right; "
        "keep the right one. They are {value}."
    ),
}

# What may be quoted: short, and nothing a spreadsheet or a web page would take for more than text.
_QUOTABLE: Final = r"^[A-Za-z0-9_][A-Za-z0-9 _:/.,+-]{0,39}$"
_CODES_AT_MOST: Final = 12


def quoted(value: pl.Expr) -> pl.Expr:
    """Quote a cell for use in a reason, or say nothing where that might harm."""
    return pl.when(value.str.contains(_QUOTABLE)).then(pl.concat_str(pl.lit(": '"), value, pl.lit("'")))


def with_messages(faults: pl.DataFrame, codes: Mapping[str, tuple[str, ...]]) -> pl.DataFrame:
    """Add the message to faults that have column, rule and value (text or null)."""
    kinds = faults.select("column", "rule").unique()
    templates = [
        REASONS[rule]
        .replace("{column}", column or "")
        .replace("{expected}", _expected(codes.get(column, ())))
        for column, rule in kinds.iter_rows()
    ]
    kinds = kinds.with_columns(message=pl.Series(templates, dtype=pl.String))
    value = pl.col("value").fill_null("")
    return faults.join(
        kinds, on=["column", "rule"], how="left", nulls_equal=True, maintain_order="left"
    ).with_columns(pl.col("message").str.replace("{value}", value, literal=True))


def _expected(codes: tuple[str, ...]) -> str:
    if len(codes) > _CODES_AT_MOST:
        return f"a name such as {next((code for code in codes if '/' in code), codes[0])}"
    return ", ".join(codes[:-1]) + f" or {codes[-1]}" if len(codes) > 1 else "".join(codes)
