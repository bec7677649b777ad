"""NACHA files: the CCD+ entries of a bank, with the TRN of their addenda.

`tasks.bank_files` reads them here, one or several in a text, by the places of their records. Batch and file
totals must agree, or nothing of the text is used.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from tasks.bank_entries import Entry, UnreadableBankFile, find_trn

LENGTH: Final = 94
# Entries that bring or take money: live ones of a checking, savings, ledger or loan account.
CREDITS: Final = ("22", "32", "42", "52")
DEBITS: Final = ("27", "37", "47", "55")
IS_CREDIT: Final = "1234"  # the second digit of every code that brings money, returns and prenotes too


def read_nacha(text: str) -> list[Entry]:
    """Read the entries of the NACHA files in a text, one behind the other.

    Raises:
        UnreadableBankFile: If one is damaged or cut short, or something else stands behind or between them.
    """
    entries: list[Entry] = []
    file: list[tuple[int, str]] = []
    for number, line in _records(text):
        is_filler = not line.strip("9 ")
        if file or not is_filler:
            file.append((number, line))
        if line[0] == "9" and not is_filler:
            entries += _file(file)
            file = []
    return entries + _file(file) if file else entries


def _records(text: str) -> Iterator[tuple[int, str]]:
    """Part a text into records, by line breaks or, where there are none, by their length."""
    for number, line in enumerate(text.splitlines(), 1):
        for start in range(0, len(line.rstrip()), LENGTH):
            yield number + start // LENGTH, line[start : start + LENGTH].ljust(LENGTH)


def _file(records: list[tuple[int, str]]) -> list[Entry]:
    """Read the entries of a NACHA file with their addenda; its batch and file totals must agree."""
    rows: list[dict[str, Any]] = []
    batch: dict[str, Any] = {}
    of_batch, of_file = Counter[bool](), Counter[bool]()  # cents: of credits, of debits
    if records[0][1][0] != "1":
        raise UnreadableBankFile(
            f"Line {records[0][0]}: this follows the end of a NACHA file and begins none."
        )
    for number, line in records[1:]:
        kind = line[0]
        if kind == "5":
            batch, of_batch = _batch(line, number), Counter()
        elif kind == "6":
            cents = _digits(line[29:39], number)
            of_batch[line[2] in IS_CREDIT] += cents
            rows.append({**batch, "code": line[1:3], "cents": cents, "text": "", "where": f"Line {number}"})
        elif kind == "7" and rows:
            rows[-1]["text"] += line[3:83]
        elif kind == "8":
            _require("batch", line[20:44], of_batch, number)
            of_file += of_batch
        elif kind == "9":
            _require("file", line[31:55], of_file, number)
            return [_entry(row) for row in rows]
        else:
            raise UnreadableBankFile(f"Line {number}: no such record can stand here in a NACHA file.")
    raise UnreadableBankFile("The NACHA file ends before its control record: it is cut short.")


def _batch(line: str, number: int) -> dict[str, Any]:
    return {
        "deposited_on": _day(line, number),
        "company_id": line[40:50].strip(),
        "description": line[4:20].strip() or None,
    }


def _entry(entry: dict[str, Any]) -> Entry:
    """Read an entry whose addenda are complete; prenotes and returns moved nothing of ours."""
    sign = 1 if entry["code"] in CREDITS else -1 if entry["code"] in DEBITS else 0
    trace, company = find_trn(entry["text"])
    return Entry(
        where=entry["where"],
        deposited_on=entry.get("deposited_on"),
        amount=sign * Decimal(entry["cents"]).scaleb(-2),
        trn=trace,
        reference=None,
        company_id=company or entry.get("company_id"),
        description=entry.get("description"),
    )


def _day(line: str, number: int) -> date:
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


def _require(what: str, stated: str, held: Counter[bool], number: int) -> None:
    """Refuse a file whose control record, debits before credits, says something else than its entries."""
    for name, text, found in (("debits", stated[:12], held[False]), ("credits", stated[12:], held[True])):
        if (said := _digits(text, number)) != found:
            raise UnreadableBankFile(
                f"Line {number}: the {what} control says {Decimal(said).scaleb(-2)} of {name} and the "
                f"entries hold {Decimal(found).scaleb(-2)}."
            )
