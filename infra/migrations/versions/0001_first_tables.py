"""The first tables: runs, what they read, claims and their events, interchanges, corrections."""

import sqlalchemy as sa
from alembic import op

from schemas.ledger import Money, UtcDateTime

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "control_number",
        sa.Column("sender_id", sa.String(length=15), nullable=False),
        sa.Column("receiver_id", sa.String(length=15), nullable=False),
        sa.Column("next_value", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("next_value BETWEEN 1 AND 1000000000", name=op.f("ck_control_number_next_value")),
        sa.PrimaryKeyConstraint("sender_id", "receiver_id", name=op.f("pk_control_number")),
    )
    op.create_table(
        "interchange",
        sa.Column("id", ID, nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("sender_id", sa.String(length=15), nullable=False),
        sa.Column("receiver_id", sa.String(length=15), nullable=False),
        sa.Column("usage", sa.String(length=1), nullable=False),
        sa.Column("control_number", sa.Integer(), nullable=False),
        sa.Column("group_control_number", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.String(length=24), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("file_name", sa.String(length=80), nullable=False),
        sa.Column("uri", sa.String(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("claim_count", sa.Integer(), nullable=False),
        sa.Column("total_charge", Money(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("sent_at", UtcDateTime(), nullable=True),
        sa.Column("receipt", sa.JSON(), nullable=False),
        sa.CheckConstraint(
            "state IN ('reserved', 'written', 'sending', 'sent', 'void')", name=op.f("ck_interchange_state")
        ),
        sa.CheckConstraint("usage IN ('T', 'P')", name=op.f("ck_interchange_usage")),
        sa.CheckConstraint(
            "control_number BETWEEN 1 AND 999999999", name=op.f("ck_interchange_control_number")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_interchange")),
        sa.UniqueConstraint("file_name", name=op.f("uq_interchange_file_name")),
        sa.UniqueConstraint(
            "sender_id",
            "receiver_id",
            "control_number",
            name=op.f("uq_interchange_sender_id_receiver_id_control_number"),
        ),
    )
    op.create_index(op.f("ix_interchange_month_source"), "interchange", ["month", "source"], unique=False)
    op.create_table(
        "month_run",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("output", sa.String(), nullable=False),
        sa.Column("manifest_sha256", sa.String(length=64), nullable=True),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
        sa.CheckConstraint("state IN ('running', 'done', 'failed')", name=op.f("ck_month_run_state")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_month_run")),
    )
    op.create_index(op.f("ix_month_run_month_source"), "month_run", ["month", "source"], unique=False)
    op.create_table(
        "source_pin",
        sa.Column("manifest_sha256", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("dataset", sa.String(length=40), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("manifest_sha256", "key", name=op.f("pk_source_pin")),
    )
    op.create_table(
        "claim",
        sa.Column("id", ID, nullable=False),
        sa.Column("claim_number", sa.String(length=17), nullable=False),
        sa.Column("billing_npi", sa.String(length=10), nullable=False),
        sa.Column("member_id", sa.String(length=80), nullable=False),
        sa.Column("service_month", sa.Date(), nullable=False),
        sa.Column("code_family", sa.String(length=8), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("is_live", sa.Boolean(), nullable=False),
        sa.Column("patient_id", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("rendering_npi", sa.String(length=10), nullable=False),
        sa.Column("payer_id", sa.String(length=80), nullable=False),
        sa.Column("payer_kind", sa.String(length=24), nullable=False),
        sa.Column("submitter_id", sa.String(length=15), nullable=False),
        sa.Column("receiver_id", sa.String(length=15), nullable=False),
        sa.Column("usage", sa.String(length=1), nullable=False),
        sa.Column("mac_contract", sa.String(length=5), nullable=False),
        sa.Column("locality", sa.String(length=2), nullable=False),
        sa.Column("place_of_service", sa.String(length=2), nullable=False),
        sa.Column("date_of_service", sa.Date(), nullable=False),
        sa.Column("total_charge", Money(), nullable=False),
        sa.Column("allowed_estimate", Money(), nullable=False),
        sa.Column("medicare_estimate", Money(), nullable=False),
        sa.Column("patient_estimate", Money(), nullable=False),
        sa.Column("line_count", sa.Integer(), nullable=False),
        sa.Column("content_sha256", sa.String(length=64), nullable=False),
        sa.Column("evidence_sha256", sa.String(length=64), nullable=False),
        sa.Column("evidence_uri", sa.String(), nullable=False),
        sa.Column("frequency_code", sa.String(length=1), nullable=False),
        sa.Column("original_claim_number", sa.String(length=17), nullable=True),
        sa.Column("payer_claim_number", sa.String(length=50), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("state_version", sa.Integer(), nullable=False),
        sa.Column("interchange_id", ID, nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("is_live = (state NOT IN ('void', 'replaced'))", name=op.f("ck_claim_is_live")),
        sa.CheckConstraint(
            "state IN ('built', 'sent', 'received', 'accepted', 'rejected', 'adjudicated', 'void', 'replaced')",
            name=op.f("ck_claim_state"),
        ),
        sa.CheckConstraint("usage IN ('T', 'P')", name=op.f("ck_claim_usage")),
        sa.CheckConstraint("total_charge >= 0 AND line_count > 0", name=op.f("ck_claim_amounts")),
        sa.CheckConstraint("version BETWEEN 1 AND 35", name=op.f("ck_claim_version")),
        sa.ForeignKeyConstraint(
            ["interchange_id"], ["interchange.id"], name=op.f("fk_claim_interchange_id_interchange")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_claim")),
        sa.UniqueConstraint(
            "billing_npi", "member_id", "service_month", "code_family", "version", name="uq_claim_natural_key"
        ),
        sa.UniqueConstraint("claim_number", name=op.f("uq_claim_claim_number")),
    )
    op.create_index(op.f("ix_claim_interchange_id"), "claim", ["interchange_id"], unique=False)
    op.create_index(op.f("ix_claim_service_month_source"), "claim", ["service_month", "source"], unique=False)
    op.create_index(
        op.f("uq_claim_live"),
        "claim",
        ["billing_npi", "member_id", "service_month", "code_family"],
        unique=True,
        sqlite_where=sa.text("is_live"),
        postgresql_where=sa.text("is_live"),
    )
    op.create_table(
        "claim_event",
        sa.Column("id", ID, nullable=False),
        sa.Column("claim_id", ID, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("from_state", sa.String(length=16), nullable=True),
        sa.Column("to_state", sa.String(length=16), nullable=False),
        sa.Column("dedupe_key", sa.String(length=200), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["claim_id"], ["claim.id"], name=op.f("fk_claim_event_claim_id_claim")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_claim_event")),
        sa.UniqueConstraint("dedupe_key", name=op.f("uq_claim_event_dedupe_key")),
    )
    op.create_index(op.f("ix_claim_event_claim_id"), "claim_event", ["claim_id"], unique=False)
    op.create_table(
        "claim_line",
        sa.Column("claim_id", ID, nullable=False),
        sa.Column("line_number", sa.Integer(), nullable=False),
        sa.Column("line_control_number", sa.String(length=20), nullable=False),
        sa.Column("code", sa.String(length=5), nullable=False),
        sa.Column("modifiers", sa.String(length=11), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.Column("date_of_service", sa.Date(), nullable=False),
        sa.Column("charge", Money(), nullable=False),
        sa.Column("allowed_estimate", Money(), nullable=False),
        sa.Column("medicare_estimate", Money(), nullable=False),
        sa.Column("patient_estimate", Money(), nullable=False),
        sa.Column("counted_seconds", sa.Integer(), nullable=False),
        sa.CheckConstraint("units > 0 AND charge >= 0", name=op.f("ck_claim_line_amounts")),
        sa.ForeignKeyConstraint(["claim_id"], ["claim.id"], name=op.f("fk_claim_line_claim_id_claim")),
        sa.PrimaryKeyConstraint("claim_id", "line_number", name=op.f("pk_claim_line")),
        sa.UniqueConstraint("line_control_number", name=op.f("uq_claim_line_line_control_number")),
    )
    op.create_table(
        "correction",
        sa.Column("id", ID, nullable=False),
        sa.Column("claim_id", ID, nullable=False),
        sa.Column("found_at", UtcDateTime(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("was", sa.JSON(), nullable=False),
        sa.Column("now", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("closed_by", sa.String(length=64), nullable=True),
        sa.Column("dedupe_key", sa.String(length=200), nullable=False),
        sa.CheckConstraint("kind IN ('changed', 'withdrawn')", name=op.f("ck_correction_kind")),
        sa.CheckConstraint("state IN ('open', 'closed')", name=op.f("ck_correction_state")),
        sa.ForeignKeyConstraint(["claim_id"], ["claim.id"], name=op.f("fk_correction_claim_id_claim")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_correction")),
        sa.UniqueConstraint("dedupe_key", name=op.f("uq_correction_dedupe_key")),
    )
    op.create_index(op.f("ix_correction_claim_id"), "correction", ["claim_id"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            """
            CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
            END $$
            """
        )
        op.execute(
            """
            CREATE TRIGGER claim_event_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON claim_event
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
            """
        )
    else:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"""
                CREATE TRIGGER claim_event_refuses_{verb.lower()} BEFORE {verb} ON claim_event
                BEGIN SELECT RAISE(ABORT, 'claim_event is append-only'); END
                """
            )


def downgrade() -> None:
    """Take back; indexes and triggers go with their tables."""
    for table in (
        "correction",
        "claim_line",
        "claim_event",
        "claim",
        "source_pin",
        "month_run",
        "interchange",
        "control_number",
    ):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_change()")
