"""Bank files: the deposits of a plain CSV, a BAI2 report or a NACHA file, as one frame.

`tasks.bank` reads them here and keeps what it finds. Only money that arrived is read: debits, balances and
prenotes are passed over. Which payment a deposit belongs to is not known here.
"""

import csv
import io
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import polars as pl
from bai2 import bai2
from bai2.constants import TypeCodeTransaction
from bai2.exceptions import IntegrityException, NotSupportedYetException, ParsingException

from schemas.columns import MONEY

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
    "trace_number": ("trace_number", "trace", "trn", "reference", "reassociation trace number"),
    "company_id": ("company_id", "company", "originator", "originator id", "company identification"),
    "description": ("description", "text", "details", "memo"),
}
DATE_FORMATS: Final = ("%Y-%m-%d", "%m/%d/%Y", "%m/%d/%y", "%Y%m%d")
NACHA_LENGTH: Final = 94
# Entries that bring money: live credits to a checking, savings, ledger or loan account.
NACHA_CREDITS: Final = ("22", "32", "42", "52")
# The 835's own TRN segment, as the addenda of a CCD+ entry and some banks' texts carry it.
_TRN: Final = re.compile(r"TRN\*\s*1\s*\*\s*([^*\\~]+?)\s*(?:\*\s*([^*\\~]*?)\s*)?(?:\*[^\\~]*)?(?:[\\~]|$)")


class UnreadableBankFile(Exception):
    """The file is none of the three kinds, or damaged; the sentence says where and why."""


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
    text = data.decode("utf-8-sig", errors="replace").strip("\r\n ")
    if not text:
        raise UnreadableBankFile("The file is empty.")
    if text.startswith("01,"):
        return BankFile("bai2", _frame(_bai2(text)))
    if text.startswith("101") and len(text.splitlines()[0].rstrip()) > NACHA_LENGTH // 2:
        return BankFile("nacha", _frame(_nacha(text)))
    return BankFile("csv", _frame(_csv(text)))


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=DEPOSIT, orient="row")


def _csv(text: str) -> list[dict[str, Any]]:
    """Read a CSV with a header; rows without a positive amount are no deposits."""
    try:
        dialect: Any = csv.Sniffer().sniff(text.splitlines()[0], delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel
    table = csv.DictReader(io.StringIO(text), dialect=dialect)
    headings = {(name or "").strip().lower(): name for name in table.fieldnames or ()}
    columns = {
        ours: headings[theirs]
        for ours, names in CSV_NAMES.items()
        for theirs in reversed(names)
        if theirs in headings
    }
    missing = [name for name in ("deposited_on", "amount") if name not in columns]
    if missing:
        raise UnreadableBankFile(
            "The file is no BAI2 and no NACHA file, and as a CSV it lacks a column for "
            f"{' and '.join(missing)}: name the columns {', '.join(DEPOSIT)}."
        )
    rows = []
    for number, row in enumerate(table, 2):
        values = {ours: (row[theirs] or "").strip() for ours, theirs in columns.items()}
        if not any(values.values()):
            continue
        amount = _money(values["amount"], number)
        if amount <= 0:
            continue
        trace, company = _trn(values.get("description", ""))
        rows.append(
            {
                "deposited_on": _day(values["deposited_on"], number),
                "amount": amount,
                "trace_number": values.get("trace_number") or trace,
                "company_id": values.get("company_id") or company,
                "description": values.get("description") or None,
            }
        )
    return rows


def _money(text: str, row: int) -> Decimal:
    plain = text.replace("$", "").replace(",", "").strip()
    if plain.startswith("(") and plain.endswith(")"):
        plain = f"-{plain[1:-1]}"
    try:
        amount = Decimal(plain or "0")
        if not amount.is_finite() or amount != amount.quantize(Decimal("0.01")):
            raise InvalidOperation
    except InvalidOperation:
        raise UnreadableBankFile(f"Row {row}: the amount is not dollars and cents.") from None
    return amount


def _day(text: str, row: int) -> date:
    for form in DATE_FORMATS:
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007  a banking day has no zone
        except ValueError:
            continue
    raise UnreadableBankFile(f"Row {row}: the date cannot be read; write it like 2026-11-20.")


def _trn(text: str) -> tuple[str | None, str | None]:
    """Find the trace number and the company id where a text carries the TRN segment."""
    found = _TRN.search(text)
    return (found[1] or None, found[2] or None) if found else (None, None)


def _bai2(text: str) -> list[dict[str, Any]]:
    """Read the credits of a BAI2 report; its own control totals must agree."""
    try:
        report = bai2.parse_from_string(text)
    except (ParsingException, IntegrityException, NotSupportedYetException) as refusal:
        raise UnreadableBankFile(f"The BAI2 report cannot be used: {refusal}.") from None
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, StopIteration):
        raise UnreadableBankFile("The BAI2 report is cut or damaged.") from None
    rows = []
    for group in report.children:
        for account in group.children:
            for entry in account.children:
                if entry.type_code.transaction is not TypeCodeTransaction.credit or not entry.amount:
                    continue
                said = " ".join((entry.text or "").split())
                trace, company = _trn(said)
                value_date = (entry.availability or {}).get("date")
                rows.append(
                    {
                        "deposited_on": value_date or group.header.as_of_date,
                        "amount": Decimal(entry.amount).scaleb(-2),
                        "trace_number": trace or entry.bank_reference or entry.customer_reference,
                        "company_id": company or (entry.customer_reference if entry.bank_reference else None),
                        "description": said or None,
                    }
                )
    return rows


def _nacha(text: str) -> list[dict[str, Any]]:
    """Read the credits of a NACHA file with their addenda; its batch and file totals must agree."""
    lines = [line.ljust(NACHA_LENGTH) for line in text.splitlines() if line.strip()]
    rows: list[dict[str, Any]] = []
    batch: dict[str, Any] = {}
    batch_credits = file_credits = 0
    for number, line in enumerate(lines, 1):
        kind = line[0]
        if kind == "5":
            batch = {
                "company": line[40:50].strip(),
                "name": line[4:20].strip(),
                "on": _nacha_day(line, number),
            }
            batch_credits = 0
        elif kind == "6":
            cents = _digits(line[29:39], number)
            if line[1:3] in NACHA_CREDITS:
                batch_credits += cents
                rows.append(
                    {
                        "deposited_on": batch.get("on"),
                        "amount": Decimal(cents).scaleb(-2),
                        "trace_number": None,
                        "company_id": batch.get("company"),
                        "description": batch.get("name") or None,
                        "line": number,
                    }
                )
        elif kind == "7" and rows and rows[-1]["line"] == number - 1:
            # The addenda of an entry we keep follow it at once.
            trace, company = _trn(line[3:83].strip())
            rows[-1]["trace_number"] = trace
            rows[-1]["company_id"] = company or rows[-1]["company_id"]
        elif kind == "8":
            _require("batch", _digits(line[32:44], number), batch_credits, number)
            file_credits += batch_credits
        elif kind == "9" and line.strip("9 "):
            _require("file", _digits(line[43:55], number), file_credits, number)
            return [{name: row[name] for name in DEPOSIT} for row in rows if row["amount"] > 0]
    raise UnreadableBankFile("The NACHA file ends before its control record: it is cut short.")


def _nacha_day(line: str, number: int) -> date:
    """Read the settlement day: the effective entry date, or where that is blank the Julian settlement day."""
    effective, julian, described = line[69:75].strip(), line[75:78].strip(), line[63:69].strip()
    try:
        return datetime.strptime(effective, "%y%m%d").date()  # noqa: DTZ007  a banking day has no zone
    except ValueError:
        pass
    try:
        year = datetime.strptime(described, "%y%m%d").year  # noqa: DTZ007
        return date(year, 1, 1) + timedelta(days=int(julian) - 1)
    except ValueError:
        raise UnreadableBankFile(f"Line {number}: the batch has no readable date.") from None


def _digits(text: str, number: int) -> int:
    if not text.strip().isdigit():
        raise UnreadableBankFile(f"Line {number}: an amount holds something else than digits.")
    return int(text)


def _require(what: str, stated: int, found: int, number: int) -> None:
    """Refuse a file whose control record says something else than its entries."""
    if stated != found:
        raise UnreadableBankFile(
            f"Line {number}: the {what} control says {Decimal(stated).scaleb(-2)} of credits and the entries "
            f"hold {Decimal(found).scaleb(-2)}."
        )
