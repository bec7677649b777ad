"""The payer's bank: what arrives on our account, as the bank tells it in three ways.

`infra.sandbox.payer` writes a CSV of deposits, the same as a BAI2 balance report, and as the NACHA file
of the CCD+ entries whose addenda carry the TRN that ties a deposit to its 835.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import groupby
from typing import Final

from infra.sandbox.payer_book import cents
from infra.sandbox.payer_judgement import NOTHING
from infra.sandbox.payer_remittances import Remittance, company_id

_ORIGINATING_BANK: Final = "02100002"
_OUR_BANK: Final = "09100001"
_OUR_ACCOUNT: Final = "3000200010"
_NACHA_BLOCK: Final = 10
_NACHA_LENGTH: Final = 94
_FIRST_SHARE: Final = Decimal("0.6")


@dataclass(frozen=True)
class Deposit:
    """One amount that arrives: a transfer, or part of one."""

    paid_on: date
    amount: Decimal
    trace_number: str
    company_id: str
    description: str


def deposits(remittances: Iterable[Remittance]) -> list[Deposit]:
    """Say what arrives: those of one transfer together, those of nothing not at all."""
    by_trace = sorted(remittances, key=lambda one: (one.paid_on, one.trace_number))
    found = []
    for (paid_on, trace), group in groupby(by_trace, key=lambda one: (one.paid_on, one.trace_number)):
        together = list(group)
        first = together[0].claims[0].claim
        total = sum((one.amount for one in together), NOTHING)
        part = cents(total * _FIRST_SHARE) if together[0].deposits > 1 else total
        for share in (part, total - part):
            if share > 0:
                payer = company_id(first.payer_id)
                found.append(Deposit(paid_on, share, trace, payer, f"{first.payer_name} HCCLAIMPMT"))
    return found


def write_csv(found: Iterable[Deposit]) -> bytes:
    """Write date, amount, trace number, company id, description."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("date", "amount", "trace_number", "company_id", "description"))
    for one in found:
        writer.writerow(
            (one.paid_on.isoformat(), one.amount, one.trace_number, one.company_id, one.description)
        )
    return file.getvalue().encode()


def write_bai2(found: list[Deposit], number: int) -> bytes:
    """Write a BAI2 report: one group for each day, code 165 (ACH credit) for each deposit."""
    lines = [f"01,SANDBOXBANK,RPMCLAIMS,{_first_day(found):%y%m%d},0600,{number},,,2/"]
    file_total, groups = 0, 0
    for day, of_day in groupby(found, key=lambda one: one.paid_on):
        group = list(of_day)
        total = sum(_cents(one) for one in group)
        received = [
            f"16,165,{_cents(one)},Z,{one.trace_number},{one.company_id},{_plain(one.description)}"
            for one in group
        ]
        account = [f"03,{_OUR_ACCOUNT},USD,010,{total},,/", *received]
        account_total = 2 * total
        account.append(f"49,{account_total},{len(account) + 1}/")
        lines += [f"02,RPMCLAIMS,SANDBOXBANK,1,{day:%y%m%d},,USD,2/", *account]
        lines.append(f"98,{account_total},1,{len(account) + 2}/")
        file_total += account_total
        groups += 1
    lines.append(f"99,{file_total},{groups},{len(lines) + 1}/")
    return ("\n".join(lines) + "\n").encode()


def write_nacha(found: list[Deposit], number: int) -> bytes:
    """Write the CCD+ entries: a batch for each payer and day; each entry's addenda carry its TRN."""
    first = _first_day(found)
    lines = [
        f"101 {_OUR_BANK}9 {_ORIGINATING_BANK}1{first:%y%m%d}0600{chr(65 + number % 26)}094101"
        f"{'SANDBOX BANK':23}{'SANDBOX PAYERS':23}{'':8}"
    ]
    entry_hash = total = entries = 0
    for batch, (key, group) in enumerate(groupby(found, key=lambda one: (one.paid_on, one.company_id)), 1):
        day, payer = key
        members = list(group)
        name = _plain(members[0].description.removesuffix(" HCCLAIMPMT"))[:16]
        end = f"{_ORIGINATING_BANK}{batch:07}"
        lines.append(f"5220{name:16}{'':20}{payer:10}CCD{'HCCLAIMPMT':10}{'':6}{day:%y%m%d}   1{end}")
        for place, one in enumerate(members, 1):
            trace = f"{_ORIGINATING_BANK}{place:07}"
            lines.append(
                f"622{_OUR_BANK}9{_OUR_ACCOUNT:17}{_cents(one):010}{'':15}{'RPM PRACTICES':22}  1{trace}"
            )
            addenda = f"TRN*1*{one.trace_number}*{one.company_id}\\"
            lines.append(f"705{addenda:80}0001{place:07}")
        batch_total = sum(_cents(one) for one in members)
        batch_hash = len(members) * int(_OUR_BANK)
        counts = f"{2 * len(members):06}{batch_hash % 10**10:010}{0:012}{batch_total:012}"
        lines.append(f"8220{counts}{payer:10}{'':25}{end}")
        entry_hash, total, entries = entry_hash + batch_hash, total + batch_total, entries + 2 * len(members)
    batches = sum(line.startswith("5") for line in lines)
    blocks = -(-(len(lines) + 1) // _NACHA_BLOCK)
    lines.append(f"9{batches:06}{blocks:06}{entries:08}{entry_hash % 10**10:010}{0:012}{total:012}{'':39}")
    lines += ["9" * _NACHA_LENGTH] * (blocks * _NACHA_BLOCK - len(lines))
    return ("\n".join(lines) + "\n").encode()


def _first_day(found: list[Deposit]) -> date:
    return min((one.paid_on for one in found), default=date(2000, 1, 1))


def _cents(one: Deposit) -> int:
    return int(one.amount * 100)


def _plain(text: str) -> str:
    return "".join(letter if letter.isalnum() else " " for letter in text)
