"""The envelope: what surrounds the claims of one interchange, and the character set it allows.

`edi.claim_837p` writes with it and `edi.check` packs samples with it; the caller describes one file to
one receiver as an `Interchange`. Reading an envelope is `edi.segments`' work; no claim is known here.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

import polars as pl

ELEMENT: Final = "*"
COMPONENT: Final = ":"
REPETITION: Final = "^"
SEGMENT: Final = "~"
PROFESSIONAL_CLAIM: Final = "005010X222A1"

# The basic character set of X12 without our four delimiters.
OUTSIDE_BASIC_SET: Final = r"""[^A-Z0-9 !"&'()+,\-./;?=]"""
# Text that folding would change: a character outside the set, a double space, a space at either end.
UNFOLDED: Final = OUTSIDE_BASIC_SET + r"|  |^ | $"
_LONGEST_ID: Final = 15  # ISA06 and ISA08
_LONGEST_BATCH: Final = 30  # BHT03
_LONGEST_NAME: Final = 60  # NM103 and PER02
_DIGITS_OF_A_PHONE: Final = 10
_LAST_CONTROL_NUMBER: Final = 999_999_999


def fold(text: pl.Expr) -> pl.Expr:
    """Fold text to X12's basic character set: accents off, upper case, everything else one space.

    Runs of spaces collapse and the ends are stripped, so a text of symbols alone becomes empty. A null
    stays null. No delimiter, line break or control character survives.
    """
    plain = text.str.normalize("NFKD").str.replace_all(r"\p{M}+", "").str.to_uppercase()
    return plain.str.replace_all(OUTSIDE_BASIC_SET, " ").str.replace_all("  +", " ").str.strip_chars(" ")


@lru_cache(maxsize=64)
def folded(text: str, longest: int | None = None) -> str:
    """Fold one text of the envelope, cut to its longest length; every transaction set asks for the same."""
    plain = str(pl.select(fold(pl.lit(text))).item())
    return plain[:longest].rstrip(" ")


@dataclass(frozen=True)
class Interchange:
    """One 837P file to one receiver: who, when, under which control numbers.

    The control numbers come from the caller's durable sequence and are never reused; the same
    `Interchange` and the same claims give the same bytes. A name or phone that X12 cannot carry is left to
    the edits, which name what to correct.

    Raises:
        ValueError: If an id, number or code cannot stand in an envelope.
    """

    sender_id: str  # ISA06, GS02, and NM109 of loop 1000A
    receiver_id: str  # ISA08, GS03, and NM109 of loop 1000B
    receiver_name: str
    submitter_name: str
    contact_name: str
    contact_phone: str
    control_number: int  # ISA13
    group_control_number: int  # GS06
    batch_id: str  # BHT03 is this and the number of the transaction set
    created_at: datetime
    usage: str  # ISA15, T or P
    max_claims_per_transaction: int = 5000
    sender_qualifier: str = "ZZ"
    receiver_qualifier: str = "ZZ"
    acknowledgment_requested: bool = True
    line_break: bool = False  # a line feed after every segment, for partners that want one

    def __post_init__(self) -> None:
        for name in ("sender_id", "receiver_id"):
            value = getattr(self, name)
            if not 1 <= len(value) <= _LONGEST_ID or folded(value) != value.upper():
                raise ValueError(
                    f"{name} must have 1 to 15 characters of the basic set; correct the payer's row."
                )
        for name in ("control_number", "group_control_number"):
            if not 1 <= getattr(self, name) <= _LAST_CONTROL_NUMBER:
                raise ValueError(f"{name} must lie between 1 and 999999999; take it from the sequence.")
        for name in ("sender_qualifier", "receiver_qualifier"):
            if len(getattr(self, name)) != 2 or not getattr(self, name).isalnum():
                raise ValueError(f"{name} must have two characters; correct the payer's row.")
        if not 1 <= len(self.batch_id) <= _LONGEST_BATCH - 4 or folded(self.batch_id) != self.batch_id:
            raise ValueError("batch_id must have 1 to 26 upper-case characters, for BHT03 adds four digits.")
        if self.usage not in ("T", "P"):
            raise ValueError("usage must be T (test) or P (production).")
        if self.max_claims_per_transaction < 1:
            raise ValueError("max_claims_per_transaction must be at least 1.")


def interchange_header(interchange: Interchange) -> str:
    """Write ISA and GS; the ISA has its fixed 106 characters."""
    sender, receiver = interchange.sender_id.upper(), interchange.receiver_id.upper()
    at = interchange.created_at
    isa = (
        f"ISA*00*{'':10}*00*{'':10}*{interchange.sender_qualifier:2}*{sender:15}"
        f"*{interchange.receiver_qualifier:2}*{receiver:15}*{at:%y%m%d}*{at:%H%M}*^*00501"
        f"*{interchange.control_number:09}*{interchange.acknowledgment_requested:d}*{interchange.usage}*:~"
    )
    group = interchange.group_control_number
    return f"{isa}GS*HC*{sender}*{receiver}*{at:%Y%m%d}*{at:%H%M}*{group}*X*{PROFESSIONAL_CLAIM}~"


def transaction_header(interchange: Interchange, transaction: int) -> str:
    """Write ST, BHT and the submitter's and receiver's loops of the n-th transaction set."""
    at = interchange.created_at
    submitter, receiver, contact = (
        folded(name, _LONGEST_NAME)
        for name in (interchange.submitter_name, interchange.receiver_name, interchange.contact_name)
    )
    phone = "".join(digit for digit in interchange.contact_phone if digit in "0123456789")
    phone = phone.removeprefix("1") if len(phone) == _DIGITS_OF_A_PHONE + 1 else phone
    return (
        f"ST*837*{transaction:04}*{PROFESSIONAL_CLAIM}~"
        f"BHT*0019*00*{interchange.batch_id}{transaction:04}*{at:%Y%m%d}*{at:%H%M}*CH~"
        f"NM1*41*2*{submitter}*****46*{interchange.sender_id.upper()}~"
        f"PER*IC*{contact}*TE*{phone}~"
        f"NM1*40*2*{receiver}*****46*{interchange.receiver_id.upper()}~"
    )


def transaction_trailer(segments: int, transaction: int) -> str:
    """Write the SE of a transaction set whose segments from ST up to here are counted, itself left out."""
    return f"SE*{segments + 1}*{transaction:04}~"


def interchange_trailer(interchange: Interchange, transactions: int) -> str:
    """Write GE and IEA."""
    return f"GE*{transactions}*{interchange.group_control_number}~IEA*1*{interchange.control_number:09}~"
