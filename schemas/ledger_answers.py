"""Ledger tables of the answers: files that came back, what they say, the money they bring, what people owe.

`tasks.posting` writes the files, answers, remittances and postings, `tasks.bank` the deposits and
`tasks.worklist` the work items; the console reads them all. Raw bytes are kept beside the ledger, under the
sha256 of the file. Nothing here decides what an answer means: that is `billing.posting_rules`.

Postings are added, never changed. `charge` opens what a claim is owed; every other account of a claim settles
it with the sign of the remittance, so a reversal opens it again and

    open = charge - (all other accounts of CLAIM_ACCOUNTS that name the claim).

That holds as long as one payer answers a claim. A later payer repeats in prior_payer and in write-offs what
the first one settled, which must not count twice, and an answer that decides nothing (not this payer's claim,
a predetermination) settles nothing: `billing.settlement` says what then counts.

A posting without a claim belongs to the provider (a PLB) or to a claim nobody has matched yet. Those of a PLB
have no `remittance_claim_id` and keep the sign of the PLB, where a positive amount lowers the payment; where
the reference names a claim so does the posting, and what the claim is owed stays. So for every remittance

    amount of the payment = payment - (all postings of its PLBs).

When a claim is matched later its postings are taken off nobody and put on the claim, by a pair that adds up
to nothing. `posted_on` is the accounting date, `recorded_at` when we learned of it; a report as of a day that
must not change later looks at both, and so it does with deposits, and with `matched_at` of what was matched.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import Field

from schemas.ledger import ID, LedgerTable, Money, UtcDateTime, one_of, partial_index

FILE_STATES: Final = ("posted", "partly", "quarantined", "unreadable", "repeat")
REMITTANCE_STATES: Final = ("posted", "quarantined", "repeat")
ANSWER_KINDS: Final = ("TA1", "999", "277CA")
OUTCOMES: Final = ("accepted", "rejected", "received", "in_transit", "investigate")
MATCHES: Final = ("number", "payer_number", "person")
CLAIM_ACCOUNTS: Final = (
    *("charge", "contractual", "sequestration", "patient_responsibility", "payment", "denial"),
    *("prior_payer", "other_adjustment"),
)
PROVIDER_ACCOUNTS: Final = ("interest", "takeback", "forwarding_balance", "refund", "write_off")
ACCOUNTS: Final = (*CLAIM_ACCOUNTS, *PROVIDER_ACCOUNTS)
WORK_ITEM_STATES: Final = ("open", "closed", "released")

# Lines, adjustments, remarks and postings come a dozen to a claim and name their parents without a foreign
# key, which a database looks up row by row. Their parents have one, and the writer numbers parents and
# children under its lock in one transaction: docs/decisions/0021-rows-by-the-dozen.md.

# Keys that the writer numbers itself, under its lock, because it writes parents and children in one stroke.
NUMBERED: Final[dict[str, Any]] = {"autoincrement": False}


class InboundFile(LedgerTable, table=True):
    """One file that came back, once for each content; its raw bytes lie at `uri`."""

    __tablename__ = "inbound_file"
    __table_args__ = (one_of("state", FILE_STATES),)

    id: int = Field(primary_key=True, sa_type=ID, sa_column_kwargs=NUMBERED)
    sha256: str = Field(max_length=64, unique=True)
    name: str
    origin: str  # where it lay, and which version of it: what has been read need not be fetched again
    uri: str
    size: int = Field(sa_type=sa.BigInteger)
    received_at: datetime = Field(sa_type=UtcDateTime)
    kind: str = Field(max_length=16)  # TA1, 999, 277CA, 835 or mixed; 837 and the like; other, unknown
    sender_id: str | None = None  # ISA06 of its first interchange
    interchange_control_number: str | None = None  # ISA13, likewise
    group_control_number: str | None = None  # GS06 of its first group
    content_sha256: str = Field(
        max_length=64, index=True
    )  # of its segments without the envelope: tells a repeat
    state: str = Field(max_length=16)
    summary: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)  # counts and sums
    findings: list[dict[str, Any]] = Field(default_factory=list, sa_type=sa.JSON)  # rule, place, message


class Answer(LedgerTable, table=True):
    """One statement about a file, a group, a transaction set, a claim or a line: TA1, 999 or 277CA.

    `codes` holds what was said in the words of its kind: TA1 `code`, `note`; 999 `code`, `syntax` and, for an
    error, `segment_id`, `position`, `loop`, `element`; 277CA `category`, `status`, `entity`, `action`.
    """

    __tablename__ = "answer"
    __table_args__ = (
        one_of("kind", ANSWER_KINDS),
        one_of("outcome", OUTCOMES),
        one_of("source", ("clearinghouse", "payer")),
        partial_index("ix_answer_unmatched", "claim_number", where="NOT is_matched"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=ID)
    inbound_file_id: int = Field(foreign_key="inbound_file.id", index=True, sa_type=ID)
    kind: str = Field(max_length=8)
    transaction_index: int | None = None  # the ST of the file, from 1
    segment: int
    level: str = Field(max_length=24)  # interchange, group, transaction, claim, line, or a level of the 277CA
    source: str | None = Field(default=None, max_length=16)
    interchange_id: int | None = Field(default=None, foreign_key="interchange.id", index=True, sa_type=ID)
    claim_id: int | None = Field(default=None, foreign_key="claim.id", index=True, sa_type=ID)
    line_number: int | None = None
    claim_number: str | None = None  # as answered
    line_control_number: str | None = None
    codes: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    outcome: str = Field(max_length=16)
    payer_claim_number: str | None = None
    charge: Decimal | None = Field(default=None, sa_type=Money)
    is_matched: bool
    dedupe_key: str = Field(max_length=80, unique=True)  # <inbound file>:<segment>:<number within it>


class Remittance(LedgerTable, table=True):
    """One payment: an 835 transaction set. Claims and postings exist only where it is `posted`."""

    __tablename__ = "remittance"
    __table_args__ = (
        one_of("state", REMITTANCE_STATES),
        sa.UniqueConstraint("inbound_file_id", "transaction_index"),
        partial_index(
            "uq_remittance_posted", "identity_key", "content_sha256", where="state = 'posted'", unique=True
        ),
    )

    id: int = Field(primary_key=True, sa_type=ID, sa_column_kwargs=NUMBERED)
    inbound_file_id: int = Field(foreign_key="inbound_file.id", sa_type=ID)
    transaction_index: int  # the ST of the file, from 1
    segment: int
    payer_name: str | None = None
    payer_id: str | None = None
    payee_name: str | None = None
    payee_npi: str | None = None
    payee_tax_id: str | None = None
    trace_number: str | None = None  # TRN02
    originator_id: str | None = None  # TRN03
    amount: Decimal | None = Field(default=None, sa_type=Money)  # BPR02
    method: str | None = None  # BPR04
    payment_date: date | None = None  # BPR16
    is_balanced: bool
    state: str = Field(max_length=16)
    difference: Decimal | None = Field(default=None, sa_type=Money)  # claims less PLBs less BPR02
    identity_key: str = Field(max_length=64)  # digest of payer, TRN02, TRN03, BPR16, BPR02
    content_sha256: str = Field(max_length=64)  # of its claims, lines and adjustments


class RemittanceClaim(LedgerTable, table=True):
    """One CLP of a posted remittance, and whose claim it is as far as anybody knows."""

    __tablename__ = "remittance_claim"
    __table_args__ = (one_of("matched_by", MATCHES), sa.UniqueConstraint("remittance_id", "claim_index"))

    id: int = Field(primary_key=True, sa_type=ID, sa_column_kwargs=NUMBERED)
    remittance_id: int = Field(foreign_key="remittance.id", sa_type=ID)
    claim_index: int  # the CLP of the file, from 1
    segment: int
    claim_number: str | None = None  # CLP01 as received
    status_code: str | None = None  # CLP02
    charge: Decimal = Field(sa_type=Money)
    paid: Decimal = Field(sa_type=Money)
    patient_responsibility: Decimal | None = Field(default=None, sa_type=Money)
    filing_code: str | None = None  # CLP06
    payer_claim_number: str | None = None  # CLP07
    original_payer_claim_number: str | None = None  # REF*F8
    member_id: str | None = None
    claim_id: int | None = Field(default=None, foreign_key="claim.id", index=True, sa_type=ID)
    matched_by: str | None = Field(default=None, max_length=16)
    matched_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    # Where no number matches: the one claim that a cut number or member, date, code and charge point to.
    suggested_claim_id: int | None = Field(default=None, foreign_key="claim.id", sa_type=ID)
    is_reversal: bool  # CLP02 22
    is_forwarded: bool  # CLP02 19, 20, 21 or 23, or remark MA18 or MA07


class RemittanceLine(LedgerTable, table=True):
    """One SVC of a posted remittance; `claim_line_number` is the line of ours that it answers."""

    __tablename__ = "remittance_line"
    __table_args__ = (sa.UniqueConstraint("remittance_claim_id", "line_index"),)

    id: int = Field(primary_key=True, sa_type=ID, sa_column_kwargs=NUMBERED)
    remittance_claim_id: int = Field(sa_type=ID)
    line_index: int  # the SVC of the file, from 1
    segment: int
    code: str | None = None  # SVC01, as adjudicated
    modifiers: str  # joined by ':'
    submitted_code: str | None = None  # SVC06, where it differs
    charge: Decimal = Field(sa_type=Money)
    paid: Decimal = Field(sa_type=Money)
    allowed: Decimal | None = Field(default=None, sa_type=Money)  # AMT*B6
    units: str | None = None  # SVC05, paid for; a plain decimal
    submitted_units: str | None = None  # SVC07
    line_control_number: str | None = None  # REF*6R
    date_of_service: date | None = None
    claim_line_number: int | None = None
    is_denied: bool  # paid nothing, and a denying adjustment is the reason


class RemittanceAdjustment(LedgerTable, table=True):
    """One reason, amount and quantity of a CAS, of a line or (line null) of a claim."""

    __tablename__ = "remittance_adjustment"
    __table_args__ = ({"sqlite_with_rowid": False},)

    remittance_claim_id: int = Field(primary_key=True, sa_type=ID)
    segment: int = Field(primary_key=True)
    number: int = Field(primary_key=True)  # 1 to 6 within the segment
    remittance_line_id: int | None = Field(default=None, sa_type=ID)
    group_code: str | None = None
    reason_code: str | None = None
    amount: Decimal = Field(sa_type=Money)
    quantity: str | None = None


class RemittanceRemark(LedgerTable, table=True):
    """One remark code (LQ*HE, MOA, MIA), of a line or (line null) of a claim."""

    __tablename__ = "remittance_remark"
    __table_args__ = ({"sqlite_with_rowid": False},)

    remittance_claim_id: int = Field(primary_key=True, sa_type=ID)
    segment: int = Field(primary_key=True)
    number: int = Field(primary_key=True)  # from 1 within the segment
    remittance_line_id: int | None = Field(default=None, sa_type=ID)
    code: str


class Posting(LedgerTable, table=True):
    """One amount on one account. Rows are added, never changed, never deleted.

    What a file says is known by its place in it. What we add has a key: charge:<claim>:<line>, or the place
    of the posting that it moves and which half of the pair it is.
    """

    __tablename__ = "posting"
    __table_args__ = (
        one_of("account", ACCOUNTS),
        sa.CheckConstraint(
            "dedupe_key IS NOT NULL "
            "OR (remittance_id IS NOT NULL AND segment IS NOT NULL AND number IS NOT NULL)",
            name="is_known",
        ),
        partial_index(
            "uq_posting_place",
            *("remittance_id", "segment", "number"),
            where="dedupe_key IS NULL",
            unique=True,
        ),
        partial_index("uq_posting_dedupe_key", "dedupe_key", where="dedupe_key IS NOT NULL", unique=True),
        partial_index("ix_posting_charge", "claim_id", "line_number", where="account = 'charge'"),
        partial_index("ix_posting_unapplied", "remittance_claim_id", where="claim_id IS NULL"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=ID)
    posted_on: date  # the payment's date; for a charge, the day the claim was sent
    recorded_at: datetime = Field(sa_type=UtcDateTime)
    account: str = Field(max_length=24)
    amount: Decimal = Field(sa_type=Money)
    claim_id: int | None = Field(default=None, sa_type=ID)
    line_number: int | None = None
    remittance_id: int | None = Field(default=None, sa_type=ID)
    remittance_claim_id: int | None = Field(default=None, sa_type=ID)
    segment: int | None = None  # of the file
    number: int | None = None  # of the amount within its segment, from 1; 0 for what was paid
    group_code: str | None = None
    reason_code: str | None = None
    reference: str | None = None  # PLB03-2 and what follows it
    dedupe_key: str | None = Field(default=None, max_length=100)


class Deposit(LedgerTable, table=True):
    """One amount that reached the bank, from a file of the bank."""

    __tablename__ = "deposit"

    id: int | None = Field(default=None, primary_key=True, sa_type=ID)
    file_sha256: str = Field(max_length=64, index=True)
    deposited_on: date
    recorded_at: datetime = Field(sa_type=UtcDateTime)  # when the bank's file was read
    amount: Decimal = Field(sa_type=Money)
    trace_number: str | None = None
    company_id: str | None = None
    description: str | None = None
    dedupe_key: str = Field(max_length=200, unique=True)


class DepositMatch(LedgerTable, table=True):
    """A deposit and a payment that belong together, and how that was found."""

    __tablename__ = "deposit_match"

    deposit_id: int = Field(primary_key=True, foreign_key="deposit.id", sa_type=ID)
    remittance_id: int = Field(primary_key=True, foreign_key="remittance.id", index=True, sa_type=ID)
    how: str = Field(max_length=24)


class WorkItem(LedgerTable, table=True):
    """One thing that waits for a person; `key` says which thing, so that it is found again and closed."""

    __tablename__ = "work_item"
    __table_args__ = (one_of("state", WORK_ITEM_STATES), sa.Index(None, "state", "kind"))

    id: int | None = Field(default=None, primary_key=True, sa_type=ID)
    kind: str = Field(max_length=40)
    key: str = Field(max_length=200, unique=True)
    incident_key: str | None = Field(default=None, max_length=200, index=True)
    claim_id: int | None = Field(default=None, foreign_key="claim.id", index=True, sa_type=ID)
    reference: str | None = None
    money: Decimal | None = Field(default=None, sa_type=Money)
    deadline: date | None = None
    owner: str | None = Field(default=None, max_length=64)
    action: str | None = None
    retry_class: str | None = Field(default=None, max_length=8)  # F R A X W P I, as `denial_actions.csv` says
    reason: str | None = None
    state: str = Field(max_length=16)
    opened_at: datetime = Field(sa_type=UtcDateTime)
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    closed_by: str | None = Field(default=None, max_length=64)
    events: list[dict[str, Any]] = Field(default_factory=list, sa_type=sa.JSON)  # at, actor, what, reason
