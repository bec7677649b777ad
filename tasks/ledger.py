"""Ledger: the product's memory of claims, files and runs, and its only writer.

The flows' tasks call it; frames go in and frames come out. Each method is one transaction: all of it
or none. How a table is reached is `tasks.database`, what a registration decides `tasks.registration`,
how files are numbered `tasks.interchanges`, how a claim moves `tasks.claim_states`, which run may
write `tasks.runs`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from types import TracebackType
from typing import Any, Final, Self

import polars as pl
import sqlalchemy as sa

from schemas.crashpoints import crashpoint
from tasks import claim_states, database, interchanges, registration, runs
from tasks.claim_states import CLAIM, INTERCHANGE, TABLES, VOIDING
from tasks.database import LedgerError, query
from tasks.registration import CLAIM_LINE, Registration

__all__ = ["LINES_COLUMNS", "Ledger", "LedgerError", "Registration"]

CORRECTION: Final = TABLES["correction"]

# lines.csv, in its order: what stands on the claim, and what on the line.
LINES_COLUMNS: Final = (
    *("claim_number", "line_number", "patient_id", "billing_npi", "rendering_npi", "payer_id"),
    *("mac_contract", "locality", "code", "modifiers", "units", "date_of_service", "place_of_service"),
    *("charge", "allowed_estimate", "medicare_estimate", "patient_estimate", "counted_seconds"),
)


class Ledger:
    """One ledger, by its database URL; safe to use from many threads and many processes at once."""

    def __init__(self, url: str, *, run_id: str | None = None) -> None:
        """Open it; nothing is read or created until a method asks, save a SQLite file's folder.

        Args:
            run_id: The month-end that writes; none of its writes happens once it is overtaken.
        """
        self.engine: Final = database.connect(url)
        self._run_id: Final = run_id

    def __enter__(self) -> Self:
        """Use it for a block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self.engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """Hold the writer's place for one transaction, if whoever writes still may."""
        with database.writing(self.engine) as connection:
            if self._run_id is not None:
                runs.vouch(connection, self._run_id)
            yield connection

    def upgrade(self) -> None:
        """Bring the tables up to date; safe when several processes start at once."""
        database.upgrade(self.engine)

    # Runs

    def record_run(
        self, run_id: str, *, month: date, source: str, output: str, at: datetime, by: str | None = None
    ) -> None:
        """Remember that a run starts, after every run of its month and source; a retry adds nothing."""
        with database.writing(self.engine) as connection:
            runs.record(connection, run_id, month=month, source=source, output=output, at=at, by=by)

    def vouch(self) -> None:
        """Note that the run lives; stop it where it no longer speaks for its month: see `tasks.runs`."""
        with self._writing():
            pass

    def record_pins(self, run_id: str, manifest_sha256: str, pins: pl.DataFrame) -> None:
        """Remember what a run has read: dataset, key, version, size, sha256 of every source object.

        From now on no earlier run that read anything else may write.
        """
        with database.writing(self.engine) as connection:
            runs.record_pins(connection, run_id, manifest_sha256, pins)

    def finish_run(self, run_id: str, *, summary: dict[str, Any], at: datetime) -> None:
        """Remember that a run came to its end, and its control totals."""
        with self._writing() as connection:
            runs.finish(connection, run_id, summary=summary, at=at)

    def summary_of(self, run_id: str) -> dict[str, Any] | None:
        """Return the totals of a run that is done; None of any other."""
        with database.reading(self.engine) as connection:
            return runs.summary_of(connection, run_id)

    def is_overtaken(self, run_id: str) -> bool:
        """Tell whether a later run has taken a run's place; the runs of other flows are never here."""
        with database.reading(self.engine) as connection:
            return runs.is_overtaken(connection, run_id)

    def fail_run(self, run_id: str, *, at: datetime) -> None:
        """Remember that a run broke off, if it was under way."""
        with database.writing(self.engine) as connection:
            runs.fail(connection, run_id, at=at)

    # Claims

    def register_claims(
        self, claims: pl.DataFrame, lines: pl.DataFrame, *, month: date, source: str, at: datetime
    ) -> Registration:
        """Bring the ledger to what a bucket's claims say, as far as what was sent allows.

        Args:
            claims: billing's Claims and payer_kind, submitter_id, receiver_id, usage, content_sha256
                (whatever the file will say of the claim), evidence_uri.
            lines: billing's Lines of the same claims.

        Raises:
            ControlBreak: If claims and lines do not add up, or a claim number comes twice.
        """
        with self._writing() as connection:
            registered = registration.register(connection, claims, lines, month=month, source=source, at=at)
            crashpoint("claims not committed")
            return registered

    def withdraw_missing(
        self, claim_numbers: pl.Series, *, month: date, source: str, at: datetime
    ) -> pl.DataFrame:
        """Take back the live claims of a month and source that a run no longer wants.

        Args:
            claim_numbers: Every `Registration.claim_numbers` of the run, all its buckets together.

        Returns:
            claim_number and outcome: `void` (never sent, or rejected) or `corrected` (sent: on the worklist).
        """
        with self._writing() as connection:
            return registration.withdraw_missing(connection, claim_numbers, month=month, source=source, at=at)

    def transition(
        self, claim_numbers: pl.Series, to: str, *, actor: str, dedupe: str, at: datetime
    ) -> pl.DataFrame:
        """Move claims to a state, each at most once for a dedupe key.

        Args:
            dedupe: What makes this move this move, such as `277ca:<sha256 of the file>`; the claim number
                is added to it.

        Returns:
            claim_number, outcome (moved, repeated, refused, unknown), from_state: one row per claim.
        """
        with self._writing() as connection:
            asked = claim_numbers.unique().to_frame("claim_number")
            return claim_states.transition(connection, asked, to, actor=actor, dedupe=dedupe, at=at)

    def month_claims(self, month: date, source: str | None = None) -> pl.DataFrame:
        """Return the live claims of a month, every column of the ledger, by claim number."""
        with database.reading(self.engine) as connection:
            statement = sa.select(*CLAIM.c).where(*_live(month, source))
            return query(connection, statement).drop("id").sort("claim_number")

    def month_lines(self, month: date, source: str | None = None) -> pl.DataFrame:
        """Return the lines of the live claims of a month: lines.csv, columns and order."""
        with database.reading(self.engine) as connection:
            # What is being taken back at the payer is not billed any more.
            return _lines(connection, *_live(month, source), CLAIM.c.frequency_code != VOIDING)

    def open_corrections(self, month: date, source: str) -> int:
        """Count the sent claims of a month and source that the input no longer supports."""
        owned = sa.select(CLAIM.c.id).where(CLAIM.c.service_month == month, CLAIM.c.source == source)
        counted = sa.select(sa.func.count()).where(
            CORRECTION.c.state == "open", CORRECTION.c.claim_id.in_(owned)
        )
        with database.reading(self.engine) as connection:
            return int(connection.execute(counted).scalar_one())

    # Interchanges

    def allocate_interchanges(
        self, *, month: date, source: str, at: datetime, max_claims: int = 50_000
    ) -> pl.DataFrame:
        """Reserve a file for every claim that waits for one; whoever comes second gets the same files.

        Args:
            max_claims: The most claims in one file.

        Returns:
            The month's files of this source that are not void; see `month_interchanges`.
        """
        with self._writing() as connection:
            interchanges.allocate(connection, month=month, source=source, max_claims=max_claims, at=at)
            crashpoint("numbers not committed")
            return interchanges.listed(connection, month=month, source=source)

    def month_interchanges(self, month: date, source: str | None = None) -> pl.DataFrame:
        """Return a month's files that are not void: interchange_id and every column of the table."""
        with database.reading(self.engine) as connection:
            return interchanges.listed(connection, month=month, source=source)

    def void_files(self, month: date, source: str) -> list[str]:
        """Name the files of a month and source that were taken back before they were sent."""
        where = (INTERCHANGE.c.month == month, INTERCHANGE.c.source == source, INTERCHANGE.c.state == "void")
        with database.reading(self.engine) as connection:
            return list(connection.execute(sa.select(INTERCHANGE.c.file_name).where(*where)).scalars())

    def interchange_claims(self, interchange_id: int) -> pl.DataFrame:
        """Return the claims of a file, every column of the ledger, by claim number."""
        with database.reading(self.engine) as connection:
            statement = sa.select(*CLAIM.c).where(CLAIM.c.interchange_id == interchange_id)
            return query(connection, statement).drop("id").sort("claim_number")

    def files_of_originals(self, interchange_id: int) -> pl.DataFrame:
        """Return the claims a file takes back: claim_number, original_claim_number, and where that was sent.

        The columns uri, sha256 and file_name are those of the original's own file.
        """
        original = CLAIM.alias("original")
        statement = (
            sa.select(
                CLAIM.c.claim_number,
                CLAIM.c.original_claim_number,
                *(INTERCHANGE.c[name] for name in ("uri", "sha256", "file_name")),
            )
            .join(original, original.c.claim_number == CLAIM.c.original_claim_number)
            .join(INTERCHANGE, INTERCHANGE.c.id == original.c.interchange_id)
            .where(CLAIM.c.interchange_id == interchange_id)
            .where(CLAIM.c.frequency_code == VOIDING)
        )
        with database.reading(self.engine) as connection:
            return query(connection, statement)

    def interchange_lines(self, interchange_id: int) -> pl.DataFrame:
        """Return the lines of a file's claims: lines.csv and line_control_number."""
        with database.reading(self.engine) as connection:
            return _lines(
                connection, CLAIM.c.interchange_id == interchange_id, extra=("line_control_number",)
            )

    def record_written(self, interchange_id: int, *, uri: str, sha256: str, size: int) -> bool:
        """Remember where a file's bytes lie; False if it has been sent, when its bytes are settled.

        Raises:
            LedgerError: If the file is void, or was sent with other bytes.
        """
        with self._writing() as connection:
            return interchanges.record_written(connection, interchange_id, uri=uri, sha256=sha256, size=size)

    def delivery(self, interchange_id: int) -> tuple[str, dict[str, Any]]:
        """Return how far a file has come, and what is known of its delivery."""
        with database.reading(self.engine) as connection:
            return interchanges.delivery(connection, interchange_id)

    def record_sending(self, interchange_id: int, *, outbox: str = "", draft: str = "") -> bool:
        """Note, before a file gets its name in an outbox, as which draft it lies there.

        Returns:
            False if that was noted before: then look, do not resend.
        """
        with self._writing() as connection:
            return interchanges.record_sending(connection, interchange_id, outbox=outbox, draft=draft)

    def record_missing(self, interchange_id: int, *, at: datetime) -> None:
        """Note that nobody can tell any more whether a file was delivered."""
        with self._writing() as connection:
            interchanges.record_missing(connection, interchange_id, at=at)

    def deliver_anew(self, file_name: str, *, by: str, why: str, at: datetime) -> bool:
        """Let a file whose delivery is unknown be delivered once more; False if it is none such."""
        with self._writing() as connection:
            return interchanges.deliver_anew(connection, file_name, by=by, why=why, at=at)

    def record_sent(self, interchange_id: int, *, receipt: dict[str, Any], at: datetime) -> bool:
        """Remember the receipt and move the file's claims to `sent`; False if that was done before."""
        with self._writing() as connection:
            is_first = interchanges.record_sent(connection, interchange_id, receipt=receipt, at=at)
            crashpoint("receipt not committed")
            return is_first


def _live(month: date, source: str | None) -> list[sa.ColumnElement[bool]]:
    """Narrow to the live claims of a month, and of a source where one is named."""
    narrowed = [CLAIM.c.service_month == month, CLAIM.c.is_live]
    return narrowed if source is None else [*narrowed, CLAIM.c.source == source]


def _lines(
    connection: sa.Connection, *where: sa.ColumnElement[bool], extra: tuple[str, ...] = ()
) -> pl.DataFrame:
    """Return lines with their claims' columns; sorted here, because databases collate differently."""
    columns = [
        CLAIM_LINE.c[name] if name in CLAIM_LINE.c else CLAIM.c[name] for name in (*LINES_COLUMNS, *extra)
    ]
    statement = sa.select(*columns).join_from(CLAIM, CLAIM_LINE, CLAIM.c.id == CLAIM_LINE.c.claim_id)
    return query(connection, statement.where(*where)).sort("claim_number", "line_number")
