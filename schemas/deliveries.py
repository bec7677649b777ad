"""Deliveries: what the submission's steps hand to each other, and what a person is told at the end.

Made by `tasks.submitting`, passed on by `flows.submission`, shown by the console. Prefect stores these as
JSON, so nothing here may hold a patient's data.
"""

from datetime import date
from typing import Literal

from schemas.shards import Record


class Receipt(Record):
    """What the outbox holds after a delivery: proof of what left, kept by the ledger."""

    uri: str
    sha256: str
    size: int
    # True where the file lay there already: an earlier try had come that far.
    was_there: bool


class OutgoingFile(Record):
    """One claim file that was checked and has not been delivered yet, as the ledger knows it."""

    interchange_id: int
    file_name: str
    receiver_id: str
    usage: str
    claim_count: int
    total_cents: int
    sha256: str


class Delivery(Record):
    """What became of one file: delivered now, found delivered, kept back, or nobody can tell any more."""

    file_name: str
    receiver_id: str
    claim_count: int
    total_cents: int
    outcome: Literal["delivered", "was_there", "kept_back", "unknown"]
    uri: str | None = None
    reason: str | None = None


class SubmissionPlan(Record):
    """What one submission sends, what it keeps back, and where to."""

    month: date
    output: str
    outbox: str
    to_send: list[OutgoingFile]
    kept_back: list[Delivery]
    sent_before: int
    # The sentence that says why nothing is sent before somebody approves; None where nobody must.
    waits_for: str | None = None

    @property
    def folder(self) -> str:
        """Where the month's claim files lie."""
        return f"{self.output}/{self.month:%Y-%m}/claims"


class SubmissionSummary(Record):
    """What a person wants to know when the files are delivered, or why they are not."""

    month: str
    outbox: str
    deliveries: list[Delivery]
    sent_before: int
    waits_for: str | None
    needs_people: bool
