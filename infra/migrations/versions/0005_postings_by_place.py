"""Postings are known by their place in a file, and rows that come a dozen to a claim have no foreign keys."""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic import op

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alembic.operations.base import BatchOperations

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

PARENTS = {"claim_id": "claim", "remittance_id": "remittance"}
# On SQLite the primary key of these two is the table itself.
OF_CLAIMS: dict[str, dict[str, Any]] = {
    "remittance_line": {},
    "remittance_adjustment": {"sqlite_with_rowid": False},
    "remittance_remark": {"sqlite_with_rowid": False},
}
ACCOUNTS = (
    *("charge", "contractual", "sequestration", "patient_responsibility", "payment", "denial", "prior_payer"),
    *("other_adjustment", "interest", "takeback", "forwarding_balance", "refund", "write_off"),
)
# Not IN: SQLite makes a table of its list anew at every row, which took longer than the row.
ONE_BY_ONE = " OR ".join(f"account = '{account}'" for account in ACCOUNTS)
IN_LIST = f"account IN {ACCOUNTS}"
IS_KNOWN = (
    "dedupe_key IS NOT NULL OR (remittance_id IS NOT NULL AND segment IS NOT NULL AND number IS NOT NULL)"
)
INDEXES: dict[str, tuple[list[str], str]] = {
    "uq_posting_place": (["remittance_id", "segment", "number"], "dedupe_key IS NULL"),
    "uq_posting_dedupe_key": (["dedupe_key"], "dedupe_key IS NOT NULL"),
    "ix_posting_charge": (["claim_id", "line_number"], "account = 'charge'"),
    "ix_posting_unapplied": (["remittance_claim_id"], "claim_id IS NULL"),
}


def upgrade() -> None:
    """Apply."""
    if op.get_bind().dialect.name == "postgresql":
        # A claim is written anew with each thing that happens to it; beside itself that costs no index entries.
        op.execute("ALTER TABLE claim SET (fillfactor = 60)")
    for table, kept in OF_CLAIMS.items():
        with op.batch_alter_table(table, table_kwargs=kept) as rows:
            rows.drop_constraint(f"fk_{table}_remittance_claim_id_remittance_claim", type_="foreignkey")
    with _changed_postings() as posting:
        for column, parent in PARENTS.items():
            posting.drop_constraint(f"fk_posting_{column}_{parent}", type_="foreignkey")
            posting.drop_index(f"ix_posting_{column}")
        posting.drop_constraint("uq_posting_dedupe_key", type_="unique")
        posting.drop_column("inbound_file_id")
        posting.drop_column("transaction_index")
        posting.add_column(sa.Column("number", sa.Integer(), nullable=True))
        posting.alter_column("dedupe_key", existing_type=sa.String(length=100), nullable=True)
        posting.drop_constraint(op.f("ck_posting_account"), type_="check")
        posting.create_check_constraint(op.f("ck_posting_account"), sa.text(ONE_BY_ONE))
        posting.create_check_constraint(op.f("ck_posting_is_known"), sa.text(IS_KNOWN))
    # The key of what a file said ended with the number; it has one digit. A pair that was moved keeps its key.
    op.execute(
        """
        UPDATE posting SET number = CAST(substr(dedupe_key, length(dedupe_key)) AS INTEGER), dedupe_key = NULL
        WHERE remittance_id IS NOT NULL AND substr(dedupe_key, length(dedupe_key)) BETWEEN '0' AND '9'
        """
    )
    for name, (columns, rows_of) in INDEXES.items():
        where = sa.text(rows_of)
        unique = name.startswith("uq_")
        op.create_index(name, "posting", columns, unique=unique, sqlite_where=where, postgresql_where=where)
    _append_only()


def downgrade() -> None:
    """Take back; which claim and line of the file a key named is not known any more and is left at 0."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE claim RESET (fillfactor)")
    for name in INDEXES:
        op.drop_index(name, "posting")
    with _changed_postings() as posting:
        posting.drop_constraint(op.f("ck_posting_is_known"), type_="check")
        posting.drop_constraint(op.f("ck_posting_account"), type_="check")
        posting.create_check_constraint(op.f("ck_posting_account"), sa.text(IN_LIST))
        posting.add_column(sa.Column("inbound_file_id", ID, nullable=True))
        posting.add_column(sa.Column("transaction_index", sa.Integer(), nullable=True))
    for column in ("inbound_file_id", "transaction_index"):
        op.execute(
            f"UPDATE posting SET {column} = (SELECT {column} FROM remittance WHERE id = posting.remittance_id)"
        )
    op.execute(
        """
        UPDATE posting
        SET dedupe_key = inbound_file_id || ':' || transaction_index || ':0:0:' || segment || ':' || number
        WHERE dedupe_key IS NULL
        """
    )
    with _changed_postings() as posting:
        posting.drop_column("number")
        posting.alter_column("dedupe_key", existing_type=sa.String(length=100), nullable=False)
        posting.create_unique_constraint(op.f("uq_posting_dedupe_key"), ["dedupe_key"])
        for column, parent in PARENTS.items():
            posting.create_index(op.f(f"ix_posting_{column}"), [column])
            posting.create_foreign_key(op.f(f"fk_posting_{column}_{parent}"), parent, [column], ["id"])
    for table in OF_CLAIMS:
        with op.batch_alter_table(table) as rows:
            name = op.f(f"fk_{table}_remittance_claim_id_remittance_claim")
            rows.create_foreign_key(name, "remittance_claim", ["remittance_claim_id"], ["id"])
    _append_only()


@contextmanager
def _changed_postings() -> "Iterator[BatchOperations]":
    """Let postings be changed: the triggers go, on SQLite because the table is copied."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER IF EXISTS posting_is_append_only ON posting")
    with op.batch_alter_table("posting") as posting:
        yield posting


def _append_only() -> None:
    """Refuse changes again."""
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
