"""Decisions: what a person is told after deciding about files, a claim or a hold.

Made by `tasks.operations` and `tasks.releases`, printed by the console. No names of patients belong here.
"""

from datetime import date
from decimal import Decimal
from typing import Any, Literal

from schemas.shards import Record


class Approved(Record):
    """The files that may leave on one person's word, each by the hash of its bytes."""

    month: str
    approved_by: str
    files: dict[str, str]  # name and sha256
    claim_count: int
    total_charge: Decimal


class Corrected(Record):
    """What a payer was told, what would be right now, and how the one becomes the other.

    `was` and `now` hold line_number, code, modifiers, units, date_of_service and charge of every line.
    """

    claim_number: str
    how: Literal["reopening", "replacement", "void"]
    payer_kind: str
    payer_id: str
    mac_contract: str
    payer_claim_number: str | None
    date_of_service: date
    was: list[dict[str, Any]]
    now: list[dict[str, Any]]
    was_charge: Decimal
    now_charge: Decimal
    was_evidence_sha256: str
    now_evidence_sha256: str | None
    new_claim_number: str | None
    next_step: str


class Resent(Record):
    """A claim that goes to its payer once more, under a new number."""

    claim_number: str
    new_claim_number: str
    attempt: int
    next_step: str


class Released(Record):
    """The holds or rows that a person lets through, and until when that can change something."""

    month: str
    subject: str
    released_by: str
    reasons: list[str]
    next_step: str
