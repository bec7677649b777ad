"""Late answers: TA1, 999 and 277CA that came before the ledger knew the file they answer, and find it now.

Such a file is kept under its hash like any other, so it is simply read again: the collection's last step asks
`waiting_files` which are worth it, and `tasks.answering.answer_again` ties them. Answers that name a claim
need no reading: they are `tasks.late_matching`'s.
"""

from typing import Final

import polars as pl
import sqlalchemy as sa

from tasks.answer_rows import batch_of
from tasks.answering import ANSWER, files_of_ours
from tasks.arrivals import ArrivedFile
from tasks.claim_states import TABLES
from tasks.database import query, reading

INBOUND_FILE: Final = TABLES["inbound_file"]
FACTS: Final = ("sha256", "name", "origin", "uri", "size", "received_at")


def waiting_files(engine: sa.Engine) -> list[tuple[int, ArrivedFile]]:
    """Find the files with answers to nobody's file whose numbers a file of ours bears by now."""
    with reading(engine) as connection:
        ours = files_of_ours(connection)
        unmatched = query(
            connection,
            sa.select(ANSWER.c.inbound_file_id.label("id"), ANSWER.c.codes)
            .where(~ANSWER.c.is_matched, ANSWER.c.claim_number.is_(None))
            .distinct(),
        )
        told = {
            name: pl.col("codes").str.json_path_match(f"$.{name}")
            for name in ("interchange_control_number", "group_control_number", "batch_number")
        }
        answered = pl.coalesce(
            told["interchange_control_number"], told["group_control_number"], batch_of(told["batch_number"])
        )
        numbers = pl.concat(
            [ours.select(pl.col(name).cast(pl.String).alias("number"))
             for name in ("control_number", "group_control_number", "batch_id")]
        )["number"]  # fmt: skip
        known = unmatched.filter(answered.str.strip_chars_start("0").is_in(numbers.implode()))["id"]
        files = connection.execute(
            sa.select(INBOUND_FILE.c.id, *(INBOUND_FILE.c[name] for name in FACTS))
            .where(INBOUND_FILE.c.id.in_(known.unique().to_list()))
            .order_by(INBOUND_FILE.c.id)
        )
        return [(number, ArrivedFile(*facts)) for number, *facts in files]
