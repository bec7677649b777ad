"""Ledger tables: what the product remembers, at rest in SQLite or PostgreSQL.

`tasks.ledger` is their only writer; the console reads them; `infra/migrations` carries their history
and the triggers that keep `claim_event` append-only. Nothing here decides or does anything.
Table models do not validate, so what must hold is a constraint of the database.
"""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, ClassVar, Final

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlmodel import Field, SQLModel

BUILT, SENT, RECEIVED, ACCEPTED, REJECTED = "built", "sent", "received", "accepted", "rejected"
ADJUDICATED, VOID, REPLACED = "adjudicated", "void", "replaced"

# From each state of a claim, the states an event may lead to. Answers overtake one another on their
# way here (an 835 before its 277CA), so a later state may be reached without the ones between.
TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    BUILT: frozenset({BUILT, SENT, VOID}),  # built to built: rebuilt from changed input before it was sent
    SENT: frozenset({RECEIVED, ACCEPTED, REJECTED, ADJUDICATED, REPLACED, VOID}),
    RECEIVED: frozenset({ACCEPTED, REJECTED, ADJUDICATED, REPLACED, VOID}),
    ACCEPTED: frozenset({REJECTED, ADJUDICATED, REPLACED, VOID}),
    REJECTED: frozenset({ADJUDICATED, REPLACED, VOID}),  # money proves more than a rejection
    ADJUDICATED: frozenset({REPLACED, VOID}),
    VOID: frozenset(),
    REPLACED: frozenset({ADJUDICATED}),  # its replacement was taken back before any payer took it in
}
ENDED: Final = (VOID, REPLACED)  # a claim in these states is no longer live

INTERCHANGE_STATES: Final = ("reserved", "written", "sending", "sent", "void")
RUN_STATES: Final = ("running", "done", "failed")
CORRECTION_KINDS: Final = ("changed", "withdrawn")
LARGEST_CONTROL_NUMBER: Final = 999_999_999  # ISA13 has nine digits

CENT: Final = Decimal("0.01")
ID: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite numbers only an INTEGER key


class Money(sa.types.TypeDecorator[Decimal]):
    """NUMERIC(12, 2) on PostgreSQL, whole cents on SQLite, whose own NUMERIC is a binary float."""

    impl = sa.Numeric(12, 2)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        """Choose the column type of the database in use."""
        exact = sa.BigInteger() if dialect.name == "sqlite" else sa.Numeric(12, 2)
        return dialect.type_descriptor(exact)

    def process_bind_param(self, value: Decimal | int | None, dialect: Dialect) -> Decimal | int | None:
        """Refuse what is not exact dollars and cents; nothing is ever rounded here."""
        if value is None:
            return None
        if not isinstance(value, Decimal | int):
            raise TypeError(f"money must be Decimal, not {type(value).__name__}")
        amount = Decimal(value)
        if not amount.is_finite() or amount != amount.quantize(CENT) or abs(amount) >= 10**10:
            raise ValueError("money must be whole cents, below ten thousand million dollars")
        return int(amount.scaleb(2)) if dialect.name == "sqlite" else amount.quantize(CENT)

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Return dollars with two places."""
        if value is None:
            return None
        amount = Decimal(value).scaleb(-2) if dialect.name == "sqlite" else Decimal(value)
        return amount.quantize(CENT)


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An instant: stored in UTC, refused without a zone, returned in UTC."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse an instant without a zone and turn any other into UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant needs a time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the instant in UTC; SQLite keeps no zone, so what it returns is UTC already."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def one_of(column: str, values: tuple[str, ...]) -> sa.CheckConstraint:
    """Limit a text column to the given words."""
    # Not IN, for which SQLite makes a table of the words anew at every row.
    return sa.CheckConstraint(" OR ".join(f"{column} = '{value}'" for value in values), name=column)


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> sa.Index:
    """Index only the rows that are looked up this way."""
    rows = sa.text(where)
    return sa.Index(name, *columns, unique=unique, sqlite_where=rows, postgresql_where=rows)


class LedgerTable(SQLModel):
    """Base of the ledger's tables, with constraint names that are the same on both databases."""

    metadata: ClassVar[sa.MetaData] = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class MonthRun(LedgerTable, table=True):
    """One start of the month-end flow, and how it ended."""

    __tablename__ = "month_run"
    __table_args__ = (one_of("state", RUN_STATES), sa.Index(None, "month", "source"))

    run_id: str = Field(primary_key=True, max_length=64)
    month: date
    source: str
    output: str
    manifest_sha256: str | None = Field(default=None, max_length=64)
    started_at: datetime = Field(sa_type=UtcDateTime)
    started_by: str | None = Field(
        default=None, max_length=64
    )  # the operator; nobody else approves its files
    # Its last write, by the real clock: a clock that the settings stop tells nothing of a life.
    seen_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    state: str = Field(max_length=16)
    summary: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)


class SourcePin(LedgerTable, table=True):
    """One source object exactly as a run read it; the manifest's hash names the whole set."""

    __tablename__ = "source_pin"

    manifest_sha256: str = Field(primary_key=True, max_length=64)
    key: str = Field(primary_key=True)
    dataset: str = Field(max_length=40)
    version: str
    size: int = Field(sa_type=sa.BigInteger)
    sha256: str = Field(max_length=64)


class ControlNumber(LedgerTable, table=True):
    """The next ISA13 of a sender and receiver pair; gaps are fine, reuse is not."""

    __tablename__ = "control_number"
    __table_args__ = (sa.CheckConstraint("next_value BETWEEN 1 AND 1000000000", name="next_value"),)

    sender_id: str = Field(primary_key=True, max_length=15)
    receiver_id: str = Field(primary_key=True, max_length=15)
    next_value: int = Field(sa_type=sa.BigInteger)


class Interchange(LedgerTable, table=True):
    """One 837P file. `created_at` goes into ISA09 and ISA10, so the bytes can be written again."""

    __tablename__ = "interchange"
    __table_args__ = (
        sa.UniqueConstraint("sender_id", "receiver_id", "control_number"),
        sa.Index(None, "month", "source"),
        one_of("state", INTERCHANGE_STATES),
        one_of("usage", ("T", "P")),
        sa.CheckConstraint(f"control_number BETWEEN 1 AND {LARGEST_CONTROL_NUMBER}", name="control_number"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=ID)
    month: date
    source: str
    sender_id: str = Field(max_length=15)  # ISA06
    receiver_id: str = Field(max_length=15)  # ISA08
    usage: str = Field(max_length=1)  # ISA15
    control_number: int  # ISA13
    group_control_number: int  # GS06
    batch_id: str = Field(max_length=24)  # BHT03, before the number of the ST
    created_at: datetime = Field(sa_type=UtcDateTime)
    file_name: str = Field(max_length=80, unique=True)
    uri: str | None = None
    sha256: str | None = Field(default=None, max_length=64)
    size: int | None = Field(default=None, sa_type=sa.BigInteger)
    claim_count: int
    total_charge: Decimal = Field(sa_type=Money)
    state: str = Field(max_length=16)
    sent_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    receipt: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)


class Claim(LedgerTable, table=True):
    """One version of one patient's claim for one month; at most one version is live."""

    __tablename__ = "claim"
    __table_args__ = (
        sa.UniqueConstraint(
            "billing_npi", "member_id", "service_month", "code_family", "version", name="uq_claim_natural_key"
        ),
        partial_index(
            "uq_claim_live",
            *("billing_npi", "member_id", "service_month", "code_family"),
            where="is_live",
            unique=True,
        ),
        sa.Index(None, "service_month", "source"),
        one_of("state", tuple(TRANSITIONS)),
        one_of("usage", ("T", "P")),
        sa.CheckConstraint(f"is_live = (state NOT IN {ENDED})", name="is_live"),
        sa.CheckConstraint("version BETWEEN 1 AND 35", name="version"),  # one character, base 36
        sa.CheckConstraint("total_charge >= 0 AND line_count > 0", name="amounts"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=ID)
    claim_number: str = Field(max_length=17, unique=True)  # CLM01
    billing_npi: str = Field(max_length=10)
    member_id: str = Field(max_length=80)
    service_month: date
    code_family: str = Field(max_length=8)
    version: int
    is_live: bool
    patient_id: str
    source: str
    rendering_npi: str = Field(max_length=10)
    payer_id: str = Field(max_length=80)
    payer_kind: str = Field(max_length=24)
    submitter_id: str = Field(max_length=15)
    receiver_id: str = Field(max_length=15)
    usage: str = Field(max_length=1)
    mac_contract: str = Field(max_length=5)
    locality: str = Field(max_length=2)
    place_of_service: str = Field(max_length=2)
    date_of_service: date
    total_charge: Decimal = Field(sa_type=Money)
    allowed_estimate: Decimal = Field(sa_type=Money)
    medicare_estimate: Decimal = Field(sa_type=Money)
    patient_estimate: Decimal = Field(sa_type=Money)
    line_count: int
    content_sha256: str = Field(max_length=64)
    evidence_sha256: str = Field(max_length=64)
    evidence_uri: str
    frequency_code: str = Field(max_length=1)  # CLM05-3
    original_claim_number: str | None = Field(default=None, max_length=17)
    payer_claim_number: str | None = Field(default=None, max_length=50)  # the payer's own, from its answers
    state: str = Field(max_length=16)
    state_version: int
    interchange_id: int | None = Field(default=None, foreign_key="interchange.id", index=True, sa_type=ID)
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class ClaimLine(LedgerTable, table=True):
    """One service line of a claim."""

    __tablename__ = "claim_line"
    __table_args__ = (sa.CheckConstraint("units > 0 AND charge >= 0", name="amounts"),)

    claim_id: int = Field(primary_key=True, foreign_key="claim.id", sa_type=ID)
    line_number: int = Field(primary_key=True)
    line_control_number: str = Field(max_length=20, unique=True)  # REF*6R
    code: str = Field(max_length=5)
    modifiers: str = Field(max_length=11)
    units: int
    date_of_service: date
    charge: Decimal = Field(sa_type=Money)
    allowed_estimate: Decimal = Field(sa_type=Money)
    medicare_estimate: Decimal = Field(sa_type=Money)
    patient_estimate: Decimal = Field(sa_type=Money)
    counted_seconds: int


class ClaimEvent(LedgerTable, table=True):
    """One thing that happened to a claim. Rows are added, never changed, never deleted."""

    __tablename__ = "claim_event"

    id: int | None = Field(default=None, primary_key=True, sa_type=ID)
    claim_id: int = Field(foreign_key="claim.id", index=True, sa_type=ID)
    at: datetime = Field(sa_type=UtcDateTime)
    actor: str = Field(max_length=64)
    from_state: str | None = Field(default=None, max_length=16)
    to_state: str = Field(max_length=16)
    dedupe_key: str = Field(max_length=200, unique=True)
    data: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)


class Correction(LedgerTable, table=True):
    """A claim already sent that the input no longer supports as it stands; people decide what to do."""

    __tablename__ = "correction"
    __table_args__ = (one_of("kind", CORRECTION_KINDS), one_of("state", ("open", "closed")))

    id: int | None = Field(default=None, primary_key=True, sa_type=ID)
    claim_id: int = Field(foreign_key="claim.id", index=True, sa_type=ID)
    found_at: datetime = Field(sa_type=UtcDateTime)
    kind: str = Field(max_length=16)
    was: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    now: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    state: str = Field(max_length=16)
    closed_by: str | None = Field(default=None, max_length=64)  # month_end: the input moved on
    dedupe_key: str = Field(max_length=200, unique=True)
