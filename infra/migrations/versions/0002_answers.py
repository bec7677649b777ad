"""The tables of the answers: inbound files, what they say, remittances, postings, deposits, work items."""

import sqlalchemy as sa
from alembic import op

from schemas.ledger import Money, UtcDateTime

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "deposit",
        sa.Column("id", ID, nullable=False),
        sa.Column("file_sha256", sa.String(length=64), nullable=False),
        sa.Column("deposited_on", sa.Date(), nullable=False),
        sa.Column("amount", Money(), nullable=False),
        sa.Column("trace_number", sa.String(), nullable=True),
        sa.Column("company_id", sa.String(), nullable=True),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("dedupe_key", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deposit")),
        sa.UniqueConstraint("dedupe_key", name=op.f("uq_deposit_dedupe_key")),
    )
    op.create_index(op.f("ix_deposit_file_sha256"), "deposit", ["file_sha256"], unique=False)

    op.create_table(
        "inbound_file",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("uri", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("sender_id", sa.String(), nullable=True),
        sa.Column("interchange_control_number", sa.String(), nullable=True),
        sa.Column("group_control_number", sa.String(), nullable=True),
        sa.Column("content_sha256", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.CheckConstraint(
            "state IN ('posted', 'partly', 'quarantined', 'unreadable', 'repeat')",
            name=op.f("ck_inbound_file_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbound_file")),
        sa.UniqueConstraint("sha256", name=op.f("uq_inbound_file_sha256")),
    )
    op.create_index(op.f("ix_inbound_file_content_sha256"), "inbound_file", ["content_sha256"], unique=False)

    op.create_table(
        "remittance",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("inbound_file_id", ID, nullable=False),
        sa.Column("transaction_index", sa.Integer(), nullable=False),
        sa.Column("segment", sa.Integer(), nullable=False),
        sa.Column("payer_name", sa.String(), nullable=True),
        sa.Column("payer_id", sa.String(), nullable=True),
        sa.Column("payee_name", sa.String(), nullable=True),
        sa.Column("payee_npi", sa.String(), nullable=True),
        sa.Column("payee_tax_id", sa.String(), nullable=True),
        sa.Column("trace_number", sa.String(), nullable=True),
        sa.Column("originator_id", sa.String(), nullable=True),
        sa.Column("amount", Money(), nullable=True),
        sa.Column("method", sa.String(), nullable=True),
        sa.Column("payment_date", sa.Date(), nullable=True),
        sa.Column("is_balanced", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("difference", Money(), nullable=True),
        sa.Column("identity_key", sa.String(length=64), nullable=False),
        sa.Column("content_sha256", sa.String(length=64), nullable=False),
        sa.CheckConstraint("state IN ('posted', 'quarantined', 'repeat')", name=op.f("ck_remittance_state")),
        sa.ForeignKeyConstraint(
            ["inbound_file_id"], ["inbound_file.id"], name=op.f("fk_remittance_inbound_file_id_inbound_file")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_remittance")),
        sa.UniqueConstraint(
            "inbound_file_id",
            "transaction_index",
            name=op.f("uq_remittance_inbound_file_id_transaction_index"),
        ),
    )
    op.create_index(
        "uq_remittance_posted",
        "remittance",
        ["identity_key", "content_sha256"],
        unique=True,
        sqlite_where=sa.text("state = 'posted'"),
        postgresql_where=sa.text("state = 'posted'"),
    )

    op.create_table(
        "answer",
        sa.Column("id", ID, nullable=False),
        sa.Column("inbound_file_id", ID, nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("transaction_index", sa.Integer(), nullable=True),
        sa.Column("segment", sa.Integer(), nullable=False),
        sa.Column("level", sa.String(length=24), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=True),
        sa.Column("interchange_id", ID, nullable=True),
        sa.Column("claim_id", ID, nullable=True),
        sa.Column("line_number", sa.Integer(), nullable=True),
        sa.Column("claim_number", sa.String(), nullable=True),
        sa.Column("line_control_number", sa.String(), nullable=True),
        sa.Column("codes", sa.JSON(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("payer_claim_number", sa.String(), nullable=True),
        sa.Column("charge", Money(), nullable=True),
        sa.Column("is_matched", sa.Boolean(), nullable=False),
        sa.Column("dedupe_key", sa.String(length=80), nullable=False),
        sa.CheckConstraint("kind IN ('TA1', '999', '277CA')", name=op.f("ck_answer_kind")),
        sa.CheckConstraint(
            "outcome IN ('accepted', 'rejected', 'received', 'in_transit', 'investigate')",
            name=op.f("ck_answer_outcome"),
        ),
        sa.CheckConstraint("source IN ('clearinghouse', 'payer')", name=op.f("ck_answer_source")),
        sa.ForeignKeyConstraint(["claim_id"], ["claim.id"], name=op.f("fk_answer_claim_id_claim")),
        sa.ForeignKeyConstraint(
            ["inbound_file_id"], ["inbound_file.id"], name=op.f("fk_answer_inbound_file_id_inbound_file")
        ),
        sa.ForeignKeyConstraint(
            ["interchange_id"], ["interchange.id"], name=op.f("fk_answer_interchange_id_interchange")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_answer")),
        sa.UniqueConstraint("dedupe_key", name=op.f("uq_answer_dedupe_key")),
    )
    op.create_index(op.f("ix_answer_claim_id"), "answer", ["claim_id"], unique=False)
    op.create_index(op.f("ix_answer_inbound_file_id"), "answer", ["inbound_file_id"], unique=False)
    op.create_index(op.f("ix_answer_interchange_id"), "answer", ["interchange_id"], unique=False)
    op.create_index(
        "ix_answer_unmatched",
        "answer",
        ["claim_number"],
        unique=False,
        sqlite_where=sa.text("NOT is_matched"),
        postgresql_where=sa.text("NOT is_matched"),
    )

    op.create_table(
        "deposit_match",
        sa.Column("deposit_id", ID, nullable=False),
        sa.Column("remittance_id", ID, nullable=False),
        sa.Column("how", sa.String(length=24), nullable=False),
        sa.ForeignKeyConstraint(
            ["deposit_id"], ["deposit.id"], name=op.f("fk_deposit_match_deposit_id_deposit")
        ),
        sa.ForeignKeyConstraint(
            ["remittance_id"], ["remittance.id"], name=op.f("fk_deposit_match_remittance_id_remittance")
        ),
        sa.PrimaryKeyConstraint("deposit_id", "remittance_id", name=op.f("pk_deposit_match")),
    )
    op.create_index(op.f("ix_deposit_match_remittance_id"), "deposit_match", ["remittance_id"], unique=False)

    op.create_table(
        "posting",
        sa.Column("id", ID, nullable=False),
        sa.Column("posted_on", sa.Date(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("account", sa.String(length=24), nullable=False),
        sa.Column("amount", Money(), nullable=False),
        sa.Column("claim_id", ID, nullable=True),
        sa.Column("line_number", sa.Integer(), nullable=True),
        sa.Column("remittance_id", ID, nullable=True),
        sa.Column("remittance_claim_id", ID, nullable=True),
        sa.Column("inbound_file_id", ID, nullable=True),
        sa.Column("transaction_index", sa.Integer(), nullable=True),
        sa.Column("segment", sa.Integer(), nullable=True),
        sa.Column("group_code", sa.String(), nullable=True),
        sa.Column("reason_code", sa.String(), nullable=True),
        sa.Column("reference", sa.String(), nullable=True),
        sa.Column("dedupe_key", sa.String(length=100), nullable=False),
        sa.CheckConstraint(
            "account IN ('charge', 'contractual', 'sequestration', 'patient_responsibility', 'payment', 'denial', 'prior_payer', 'other_adjustment', 'interest', 'takeback', 'forwarding_balance', 'refund', 'write_off')",
            name=op.f("ck_posting_account"),
        ),
        sa.ForeignKeyConstraint(["claim_id"], ["claim.id"], name=op.f("fk_posting_claim_id_claim")),
        sa.ForeignKeyConstraint(
            ["remittance_id"], ["remittance.id"], name=op.f("fk_posting_remittance_id_remittance")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_posting")),
        sa.UniqueConstraint("dedupe_key", name=op.f("uq_posting_dedupe_key")),
    )
    op.create_index(op.f("ix_posting_claim_id"), "posting", ["claim_id"], unique=False)
    op.create_index(op.f("ix_posting_remittance_id"), "posting", ["remittance_id"], unique=False)

    op.create_table(
        "remittance_claim",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("remittance_id", ID, nullable=False),
        sa.Column("claim_index", sa.Integer(), nullable=False),
        sa.Column("segment", sa.Integer(), nullable=False),
        sa.Column("claim_number", sa.String(), nullable=True),
        sa.Column("status_code", sa.String(), nullable=True),
        sa.Column("charge", Money(), nullable=False),
        sa.Column("paid", Money(), nullable=False),
        sa.Column("patient_responsibility", Money(), nullable=True),
        sa.Column("filing_code", sa.String(), nullable=True),
        sa.Column("payer_claim_number", sa.String(), nullable=True),
        sa.Column("original_payer_claim_number", sa.String(), nullable=True),
        sa.Column("member_id", sa.String(), nullable=True),
        sa.Column("claim_id", ID, nullable=True),
        sa.Column("matched_by", sa.String(length=16), nullable=True),
        sa.Column("suggested_claim_id", ID, nullable=True),
        sa.Column("is_reversal", sa.Boolean(), nullable=False),
        sa.Column("is_forwarded", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "matched_by IN ('number', 'payer_number', 'person')", name=op.f("ck_remittance_claim_matched_by")
        ),
        sa.ForeignKeyConstraint(["claim_id"], ["claim.id"], name=op.f("fk_remittance_claim_claim_id_claim")),
        sa.ForeignKeyConstraint(
            ["remittance_id"], ["remittance.id"], name=op.f("fk_remittance_claim_remittance_id_remittance")
        ),
        sa.ForeignKeyConstraint(
            ["suggested_claim_id"], ["claim.id"], name=op.f("fk_remittance_claim_suggested_claim_id_claim")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_remittance_claim")),
        sa.UniqueConstraint(
            "remittance_id", "claim_index", name=op.f("uq_remittance_claim_remittance_id_claim_index")
        ),
    )
    op.create_index(op.f("ix_remittance_claim_claim_id"), "remittance_claim", ["claim_id"], unique=False)

    op.create_table(
        "work_item",
        sa.Column("id", ID, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("incident_key", sa.String(length=200), nullable=True),
        sa.Column("claim_id", ID, nullable=True),
        sa.Column("reference", sa.String(), nullable=True),
        sa.Column("money", Money(), nullable=True),
        sa.Column("deadline", sa.Date(), nullable=True),
        sa.Column("owner", sa.String(length=64), nullable=True),
        sa.Column("action", sa.String(), nullable=True),
        sa.Column("retry_class", sa.String(length=8), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.Column("closed_by", sa.String(length=64), nullable=True),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.CheckConstraint("state IN ('open', 'closed', 'released')", name=op.f("ck_work_item_state")),
        sa.ForeignKeyConstraint(["claim_id"], ["claim.id"], name=op.f("fk_work_item_claim_id_claim")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_work_item")),
        sa.UniqueConstraint("key", name=op.f("uq_work_item_key")),
    )
    op.create_index(op.f("ix_work_item_claim_id"), "work_item", ["claim_id"], unique=False)
    op.create_index(op.f("ix_work_item_incident_key"), "work_item", ["incident_key"], unique=False)
    op.create_index(op.f("ix_work_item_state_kind"), "work_item", ["state", "kind"], unique=False)

    op.create_table(
        "remittance_adjustment",
        sa.Column("remittance_claim_id", ID, nullable=False),
        sa.Column("segment", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("remittance_line_id", ID, nullable=True),
        sa.Column("group_code", sa.String(), nullable=True),
        sa.Column("reason_code", sa.String(), nullable=True),
        sa.Column("amount", Money(), nullable=False),
        sa.Column("quantity", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["remittance_claim_id"],
            ["remittance_claim.id"],
            name=op.f("fk_remittance_adjustment_remittance_claim_id_remittance_claim"),
        ),
        sa.PrimaryKeyConstraint(
            "remittance_claim_id", "segment", "number", name=op.f("pk_remittance_adjustment")
        ),
    )
    op.create_table(
        "remittance_line",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("remittance_claim_id", ID, nullable=False),
        sa.Column("line_index", sa.Integer(), nullable=False),
        sa.Column("segment", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(), nullable=True),
        sa.Column("modifiers", sa.String(), nullable=False),
        sa.Column("submitted_code", sa.String(), nullable=True),
        sa.Column("charge", Money(), nullable=False),
        sa.Column("paid", Money(), nullable=False),
        sa.Column("allowed", Money(), nullable=True),
        sa.Column("units", sa.String(), nullable=True),
        sa.Column("submitted_units", sa.String(), nullable=True),
        sa.Column("line_control_number", sa.String(), nullable=True),
        sa.Column("date_of_service", sa.Date(), nullable=True),
        sa.Column("claim_line_number", sa.Integer(), nullable=True),
        sa.Column("is_denied", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["remittance_claim_id"],
            ["remittance_claim.id"],
            name=op.f("fk_remittance_line_remittance_claim_id_remittance_claim"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_remittance_line")),
        sa.UniqueConstraint(
            "remittance_claim_id",
            "line_index",
            name=op.f("uq_remittance_line_remittance_claim_id_line_index"),
        ),
    )
    op.create_table(
        "remittance_remark",
        sa.Column("remittance_claim_id", ID, nullable=False),
        sa.Column("segment", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("remittance_line_id", ID, nullable=True),
        sa.Column("code", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["remittance_claim_id"],
            ["remittance_claim.id"],
            name=op.f("fk_remittance_remark_remittance_claim_id_remittance_claim"),
        ),
        sa.PrimaryKeyConstraint(
            "remittance_claim_id", "segment", "number", name=op.f("pk_remittance_remark")
        ),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            """
            CREATE TRIGGER posting_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON posting
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
            """
        )
    else:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"""
                CREATE TRIGGER posting_refuses_{verb.lower()} BEFORE {verb} ON posting
                BEGIN SELECT RAISE(ABORT, 'posting is append-only'); END
                """
            )


def downgrade() -> None:
    """Take back; indexes and triggers go with their tables."""
    for table in (
        "remittance_remark",
        "remittance_line",
        "remittance_adjustment",
        "work_item",
        "remittance_claim",
        "posting",
        "deposit_match",
        "answer",
        "remittance",
        "inbound_file",
        "deposit",
    ):
        op.drop_table(table)
