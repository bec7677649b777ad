"""Deposits and matches say since when they are known, so that a report as of a day stays what it was."""

import sqlalchemy as sa
from alembic import op

from schemas.ledger import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; when an old deposit became known was not kept: its day leaves the reports as they are."""
    op.add_column("remittance_claim", sa.Column("matched_at", UtcDateTime(), nullable=True))
    # A match that came later than its file took postings off nobody's account on that day.
    op.execute(
        """
        UPDATE remittance_claim SET matched_at = COALESCE(
            (SELECT MAX(recorded_at) FROM posting
             WHERE posting.remittance_claim_id = remittance_claim.id
               AND posting.claim_id IS NULL AND posting.dedupe_key IS NOT NULL),
            (SELECT received_at FROM remittance JOIN inbound_file ON inbound_file.id = inbound_file_id
             WHERE remittance.id = remittance_claim.remittance_id)
        )
        WHERE claim_id IS NOT NULL
        """
    )
    op.add_column("deposit", sa.Column("recorded_at", UtcDateTime(), nullable=True))
    of_dialect = {
        "postgresql": "deposited_on::timestamp AT TIME ZONE 'UTC'",
        "sqlite": "deposited_on || ' 00:00:00.000000'",
    }
    midnight = of_dialect[op.get_bind().dialect.name]
    op.execute(f"UPDATE deposit SET recorded_at = {midnight}")
    # SQLite copies the table to refuse nulls, and its rows cannot go while a match names them.
    op.execute("CREATE TEMPORARY TABLE kept_match AS SELECT * FROM deposit_match")
    op.execute("DELETE FROM deposit_match")
    with op.batch_alter_table("deposit") as deposit:
        deposit.alter_column("recorded_at", existing_type=UtcDateTime(), nullable=False)
    op.execute("INSERT INTO deposit_match SELECT * FROM kept_match")
    op.execute("DROP TABLE kept_match")


def downgrade() -> None:
    """Take back."""
    op.drop_column("deposit", "recorded_at")
    op.drop_column("remittance_claim", "matched_at")
