"""Bank entries: one movement of money as a bank tells it, and the TRN that ties it to its 835.

`tasks.bank_files` and `tasks.bank_nacha` make them from the banks' files. How a kind of file is written is
not known here.
"""

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

# The 835's own TRN segment, as the addenda of a CCD+ entry and some banks' texts carry it.
_TRN: Final = re.compile(r"TRN\*\s*1\s*\*\s*([^*\\~]+?)\s*(?:\*\s*([0-9]-?[0-9]{9}|[^*\\~\s]*)|[\\~]|\s\s|$)")


class UnreadableBankFile(Exception):
    """The file is none of the three kinds, or damaged; the sentence says where and why."""


@dataclass(frozen=True)
class Entry:
    """One entry of a bank file, of whatever kind."""

    where: str  # in the file, for people: Row 2
    deposited_on: date | None
    amount: Decimal  # dollars; below zero where money left
    trn: str | None  # the trace number, where the bank hands the payer's TRN on
    reference: str | None  # the bank's own, which some payers' trace numbers stand in
    company_id: str | None
    description: str | None

    @property
    def is_deposit(self) -> bool:
        """Tell whether it is a deposit, or takes one back; fees and transfers name no payment."""
        return self.amount > 0 or (self.amount < 0 and self.trn is not None)


def find_trn(text: str) -> tuple[str | None, str | None]:
    """Find the trace number and the company id where a text carries the TRN segment, over line breaks too."""
    found = _TRN.search("".join(text.splitlines()))
    return (found[1] or None, found[2] or None) if found else (None, None)
