"""Bank files: the deposits of a plain CSV, a BAI2 report or a NACHA file, as one frame.

`tasks.bank` reads them here and keeps what it finds. Only money that arrived is read, and money taken back,
which a debit with a TRN tells: other debits, balances and prenotes are passed over. Which payment a deposit
belongs to is not known here.
"""

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import polars as pl
from bai2 import bai2
from bai2.constants import TypeCode, TypeCodeLevel, TypeCodes, TypeCodeTransaction
from bai2.exceptions import IntegrityException, NotSupportedYetException, ParsingException

from schemas.columns import MONEY
from tasks.bank_entries import Entry, UnreadableBankFile, find_trn
from tasks.bank_nacha import LENGTH, read_nacha

DEPOSIT: Final[dict[str, Any]] = {
    "deposited_on": pl.Date,
    "amount": MONEY,
    "trace_number": pl.String,
    "company_id": pl.String,
    "description": pl.String,
}
# What banks call the columns of a CSV, in our words.
CSV_NAMES: Final = {
    "deposited_on": ("deposited_on", "date", "posting date", "posted", "value date"),
    "amount": ("amount", "credit", "credit amount", "deposit"),
    "debit": ("debit", "debit amount"),
    "trace_number": ("trace_number", "trace", "trn", "reassociation trace number"),
    "reference": ("reference",),
    "company_id": ("company_id", "company", "originator", "originator id", "company identification"),
    "description": ("description", "text", "details", "memo"),
}
DATE_FORMATS: Final = ("%Y-%m-%d", "%m/%d/%Y", "%m/%d/%y", "%Y%m%d")
TOO_MUCH: Final = Decimal(10**10)  # the ledger holds ten digits and cents
# The codes BAI2 leaves to each bank, of which the parser's table has few: who sends, who takes.
for _codes, _transaction in (
    (range(900, 920), None),
    (range(920, 960), TypeCodeTransaction.credit),
    (range(960, 1000), TypeCodeTransaction.debit),
):
    for _code in map(str, _codes):
        TypeCodes.setdefault(_code, TypeCode(_code, _transaction, TypeCodeLevel.detail, "Customised"))
_CUT: Final = "The BAI2 report is cut or damaged."
_AMOUNT: Final = re.compile(r"(?=\.?[0-9])([0-9]*|[0-9]{1,3}(,[0-9]{3})+)(\.[0-9]{0,2}0*)?")


@dataclass(frozen=True)
class BankFile:
    """What a bank file says: its kind (csv, bai2, nacha) and its deposits in their order."""

    kind: str
    deposits: pl.DataFrame


def read_bank_file(data: bytes) -> BankFile:
    """Read a bank file of any of the three kinds, told apart by how they begin.

    Raises:
        UnreadableBankFile: If it is none of them, or its control totals do not agree. Nothing of a file
            that does not add up is used.
    """
    text = data.decode("utf-8-sig", errors="replace").strip("\r\n \x1a\0")
    if not text:
        raise UnreadableBankFile("The file is empty.")
    if "\0" in text:
        raise UnreadableBankFile("The file holds bytes that are no text; save it as UTF-8.")
    if text.startswith("01,"):
        return BankFile("bai2", _frame(_bai2(text)))
    if text.startswith("101") and len(text.splitlines()[0].rstrip()) > LENGTH // 2:
        return BankFile("nacha", _frame(read_nacha(text)))
    return BankFile("csv", _frame(_csv(text)))


def _frame(entries: list[Entry]) -> pl.DataFrame:
    """Keep what arrived, and what was taken back of it.

    Raises:
        UnreadableBankFile: If a deposit has no day, or more money than the ledger holds.
    """
    kept = [entry for entry in entries if entry.is_deposit]
    for entry in kept:
        if entry.deposited_on is None:
            raise UnreadableBankFile(f"{entry.where}: the date cannot be read; write it like 2026-11-20.")
        if abs(entry.amount) >= TOO_MUCH:
            raise UnreadableBankFile(f"{entry.where}: the amount is more than the ledger holds.")
    rows = [
        (one.deposited_on, one.amount, one.trn or one.reference, one.company_id, one.description)
        for one in kept
    ]
    return pl.DataFrame(rows, schema=DEPOSIT, orient="row")


def _csv(text: str) -> list[Entry]:
    """Read a CSV with a header."""
    try:
        dialect: Any = csv.Sniffer().sniff(text.splitlines()[0], delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel
    table = csv.DictReader(io.StringIO(text), dialect=dialect)
    try:
        lines, names = list(table), table.fieldnames or ()
    except csv.Error as problem:
        raise UnreadableBankFile(f"Row {table.line_num + 1}: this is no CSV ({problem}).") from None
    columns = _columns(names)
    rows = ({ours: (line[theirs] or "").strip() for ours, theirs in columns.items()} for line in lines)
    filled = ((number, row) for number, row in enumerate(rows, 2) if any(row.values()))
    return [_csv_entry(row, columns, f"Row {number}") for number, row in filled]


def _csv_entry(row: dict[str, str], columns: dict[str, str], where: str) -> Entry:
    """Read one row; money that left has a sign, or a column of its own."""
    amount = _money(row["amount"], f"{where}: the amount in column {columns['amount']}")
    if not amount and row.get("debit"):
        amount = -abs(_money(row["debit"], f"{where}: the amount in column {columns['debit']}"))
    trace, company = find_trn(row.get("description", ""))
    return Entry(
        where=where,
        deposited_on=_day(row["deposited_on"]),
        amount=amount,
        trn=row.get("trace_number") or trace,
        reference=row.get("reference") or None,
        company_id=row.get("company_id") or company,
        description=row.get("description") or None,
    )


def _columns(headings: Iterable[str]) -> dict[str, str]:
    """Find the file's columns by what banks call them: our name to theirs."""
    found = {(name or "").strip().lower(): name for name in headings}
    columns = {
        ours: found[theirs]
        for ours, names in CSV_NAMES.items()
        for theirs in reversed(names)
        if theirs in found
    }
    missing = [name for name in ("deposited_on", "amount") if name not in columns]
    if missing:
        raise UnreadableBankFile(
            "The file is no BAI2 and no NACHA file, and as a CSV it lacks a column for "
            f"{' and '.join(missing)}: name the columns {', '.join(DEPOSIT)}."
        )
    return columns


def _money(text: str, what: str) -> Decimal:
    """Read dollars and cents; a comma parts thousands and nothing else, since others write cents after it."""
    if not text:
        return Decimal()
    plain = text.replace("$", "").replace(" ", "")
    sign = -1 if plain.startswith(("-", "(")) else 1
    plain = plain[1:-1] if plain.startswith("(") and plain.endswith(")") else plain.lstrip("+-")
    if not _AMOUNT.fullmatch(plain):
        raise UnreadableBankFile(f"{what} is not dollars and cents; write it like 1,234.56.")
    return sign * Decimal(plain.replace(",", ""))


def _day(text: str) -> date | None:
    for form in DATE_FORMATS:
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007  a banking day has no zone
        except ValueError:
            continue
    return None


def _bai2(text: str) -> list[Entry]:
    """Read the entries of the BAI2 reports in a text, one behind the other."""
    rows: list[Entry] = []
    report: list[str] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        report.append(line)
        if line.startswith("99,"):
            rows += _bai2_report(report)
            report = []
    if report:  # The parser never returns from a report that ends with a transaction.
        is_begun = report[0].startswith("01,")
        raise UnreadableBankFile(
            _CUT if is_begun else "Something else than a BAI2 report follows the end of one."
        )
    return rows


def _bai2_report(lines: list[str]) -> list[Entry]:
    """Read the credits and debits of a BAI2 report; its own control totals must agree."""
    try:
        report = bai2.parse_from_lines(lines)
    except (ParsingException, IntegrityException, NotSupportedYetException) as refusal:
        raise UnreadableBankFile(f"The BAI2 report cannot be used: {refusal}.") from None
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, StopIteration):
        raise UnreadableBankFile(_CUT) from None
    entries = [
        (group.header.as_of_date, entry)
        for group in report.children
        for account in group.children
        for entry in account.children
    ]
    return [_bai2_entry(entry, day) for day, entry in entries if entry.amount]


def _bai2_entry(entry: Any, day: date | None) -> Entry:
    """Read one transaction; what is neither credit nor debit moved nothing."""
    sign = {TypeCodeTransaction.credit: 1, TypeCodeTransaction.debit: -1}.get(entry.type_code.transaction, 0)
    trace, company = find_trn("\n".join(text.removesuffix("/") for _, text in entry.rows))
    if not trace and entry.bank_reference:
        company = entry.customer_reference
    return Entry(
        where=f"Record 16,{entry.rows[0][1]}",
        deposited_on=(entry.availability or {}).get("date") or day,
        amount=sign * Decimal(entry.amount).scaleb(-2),
        trn=trace,
        reference=entry.bank_reference or entry.customer_reference,
        company_id=company,
        description=" ".join((entry.text or "").split()) or None,
    )
