"""The payer's intake: our 837P files as the sandbox payer reads them.

`infra.sandbox.payer` reads with it; everything else of the payer works on the records below. A claim is
known here by what stands on it, never by what our ledger thinks of it.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from edi.claim_reader import read_claims
from edi.segments import Document

ADD_ON = "99458"


@dataclass(frozen=True)
class Line:
    """One service line as submitted."""

    number: int
    code: str
    modifiers: tuple[str, ...]
    charge: Decimal
    units: int
    date_of_service: date
    control_number: str


@dataclass(frozen=True)
class Claim:
    """One claim as submitted; `place` is where its CLM stands in the transaction set, counted from 1."""

    number: str
    transaction: str  # ST02
    batch_id: str  # BHT03
    place: int
    charge: Decimal
    lines: tuple[Line, ...]
    place_of_service: str
    frequency_code: str
    is_assigned: bool
    billing_npi: str
    billing_name: str
    billing_tax_id: str
    billing_zip: str
    rendering_npi: str | None
    rendering_name: tuple[str, str]
    patient_name: tuple[str, str, str]
    member_id: str
    payer_id: str
    payer_name: str
    filing_code: str


@dataclass(frozen=True)
class ClaimFile:
    """One interchange: its envelope and its claims in file order."""

    sender_id: str
    receiver_id: str
    submitter_name: str
    receiver_name: str
    control_number: int
    group_control_number: str
    created_at: datetime
    usage: str
    transactions: tuple[str, ...]
    claims: tuple[Claim, ...]


def read_claim_file(data: bytes) -> ClaimFile | None:
    """Read an 837P; None if the file holds anything else."""
    document = Document.read(data)
    frames = read_claims(document)
    if frames.transactions.is_empty():
        return None
    transactions = frames.transactions.to_dicts()
    interchange = document.interchanges.to_dicts()[0]
    lines: dict[int, list[Line]] = defaultdict(list)
    for row in frames.lines.to_dicts():
        lines[row["claim"]].append(_line(row))
    sets = {row["transaction"]: row for row in transactions}
    claims = tuple(
        _claim(row, sets[row["transaction"]], tuple(lines[row["claim"]])) for row in frames.claims.to_dicts()
    )
    # X12 clocks know no zone, and neither do the payer's answers.
    clock = datetime.strptime(interchange["interchange_time"][:4], "%H%M")  # noqa: DTZ007
    return ClaimFile(
        sender_id=interchange["sender_id"],
        receiver_id=interchange["receiver_id"],
        submitter_name=transactions[0]["submitter_name"],
        receiver_name=transactions[0]["receiver_name"],
        control_number=int(interchange["interchange_control_number"]),
        group_control_number=transactions[0]["group_control_number"],
        created_at=datetime.combine(interchange["interchange_date"], clock.time()),
        usage=interchange["usage"],
        transactions=tuple(row["control_number"] for row in transactions),
        claims=claims,
    )


def _line(row: dict[str, Any]) -> Line:
    return Line(
        number=row["line_number"],
        code=row["code"],
        modifiers=tuple(row["modifiers"]),
        charge=row["charge"],
        units=row["units"],
        date_of_service=row["date_of_service"],
        control_number=row["line_control_number"],
    )


def _claim(row: dict[str, Any], transaction: dict[str, Any], lines: tuple[Line, ...]) -> Claim:
    return Claim(
        number=row["claim_number"],
        transaction=transaction["control_number"],
        batch_id=transaction["batch_id"],
        place=row["segment"] - transaction["first_segment"] + 1,
        charge=row["total_charge"],
        lines=lines,
        place_of_service=row["place_of_service_code"],
        frequency_code=row["frequency_code"],
        is_assigned=row["assignment_code"] == "A",
        billing_npi=row["billing_npi"],
        billing_name=row["billing_name"],
        billing_tax_id=row["billing_tax_id"],
        billing_zip=row["billing_postal_code"],
        rendering_npi=row["rendering_npi"],
        rendering_name=(row["rendering_last_name"] or "", row["rendering_first_name"] or ""),
        patient_name=(
            row["subscriber_last_name"],
            row["subscriber_first_name"] or "",
            row["subscriber_middle_name"] or "",
        ),
        member_id=row["member_id"],
        payer_id=row["payer_id"],
        payer_name=row["payer_name"],
        filing_code=row["claim_filing_code"],
    )
