"""When a run was last heard of, so that one that was killed can be told from one at work."""

import sqlalchemy as sa
from alembic import op

from schemas.ledger import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("month_run", sa.Column("seen_at", UtcDateTime(), nullable=True))


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("month_run") as month_run:
        month_run.drop_column("seen_at")
