"""Answers: what comes back, as it passes from the reader to the ledger, and what a collection tells people.

`tasks.translate` makes `Answers` of a file's bytes; `tasks.arrivals`, `tasks.answering` and `tasks.posting`
bring them into the ledger. The records below are what the steps of the collection flow hand to each other:
addresses, counts and sums. No frame and no patient's data is in them.
"""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from schemas.shards import Record


@dataclass(frozen=True)
class Answers:
    """The tables of one file, with the reader's columns; payments, claims and lines are numbered from 1.

    Attributes:
        transactions: One row per ST, with what its GS and ISA say.
        payments, claims, lines, adjustments, remarks, provider_adjustments, references: The 835s.
        statuses, totals: The 277CAs: one row per status composite; QTY and AMT.
        acknowledgements, errors: The TA1s, 999s and 997s.
        interchanges: One row per ISA; only where the file holds a TA1.
        findings: What cannot be read or does not add up; never data.
    """

    transactions: pl.DataFrame
    interchanges: pl.DataFrame
    payments: pl.DataFrame
    claims: pl.DataFrame
    lines: pl.DataFrame
    adjustments: pl.DataFrame
    remarks: pl.DataFrame
    provider_adjustments: pl.DataFrame
    references: pl.DataFrame
    statuses: pl.DataFrame
    totals: pl.DataFrame
    acknowledgements: pl.DataFrame
    errors: pl.DataFrame
    findings: pl.DataFrame


class Arrival(Record):
    """One file of the inbox that has stopped growing."""

    key: str
    uri: str
    version: str
    size: int

    @property
    def origin(self) -> str:
        """Where it lay and which version of it."""
        return f"{self.uri}#{self.version}"


class CollectionRun(Record):
    """One run of the collection: what every step needs to know."""

    output: str
    inbox: str
    at: datetime

    @property
    def folder(self) -> str:
        """Where the raw bytes are kept, each under its sha256."""
        return f"{self.output}/answers"


class CollectedFile(Record):
    """What became of one file; every count is of rows that it brought into the ledger."""

    name: str
    sha256: str
    kind: str
    state: str  # of inbound_file; `repeat` also for bytes that were taken before
    payments: int = 0
    payments_posted: int = 0
    payments_quarantined: int = 0
    paid: str = "0.00"  # the sum of the posted payments
    claims: int = 0
    claims_matched: int = 0
    lines_denied: int = 0
    answers: int = 0
    answers_unmatched: int = 0
    accepted: int = 0  # claims moved
    rejected: int = 0
    adjudicated: int = 0
    refused: int = 0  # claims that cannot be where an answer says they are
    errors: int = 0  # findings of severity error
    is_unreconciled: bool = False  # a count or sum in it is not what was sent

    @property
    def needs_people(self) -> bool:
        """Say whether somebody must look at it."""
        waits = self.payments_quarantined + self.answers_unmatched + self.rejected + self.lines_denied
        is_odd = self.state in ("partly", "quarantined", "unreadable") or self.is_unreconciled
        return is_odd or bool(waits + self.refused) or self.claims > self.claims_matched


class CollectionSummary(Record):
    """What one collection found and did."""

    inbox: str
    output: str
    files: list[CollectedFile]
    matched_later: int = 0  # remittance claims and answers of earlier files that found their claim now
    unmatched_claims: int = 0  # in the whole ledger
    unmatched_paid: str = "0.00"
    unmatched_answers: int = 0

    @property
    def needs_people(self) -> bool:
        """Say whether somebody must look: at a file, or at what nobody has matched yet."""
        waits = self.unmatched_claims + self.unmatched_answers
        return bool(waits) or any(file.needs_people for file in self.files)
