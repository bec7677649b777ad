"""The bank: reads what arrived on the account, keeps every deposit once, and which payments it holds.

`rpmclaims bank` starts it, with a file or with the inbox's `bank/` folder. A bank says the same more than
once (the day's report and the month's, a CSV and the NACHA entries): a deposit is known by its day, amount,
trace number and company, and by how many like it a file holds. How the files read is `tasks.bank_files`,
what belongs together `billing.deposits`.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import polars as pl
import sqlalchemy as sa

from billing.deposits import Reassociation, reassociate
from schemas.errors import Refused
from tasks.bank_files import BankFile, UnreadableBankFile, read_bank_file
from tasks.claim_states import TABLES
from tasks.database import insert, query, writing
from tasks.exchange import mailbox_at
from tasks.ledger import Ledger
from tasks.worklist import read_books

DEPOSIT: Final = TABLES["deposit"]
MATCH: Final = TABLES["deposit_match"]
FOLDER: Final = "bank"
ENDINGS: Final = (".csv", ".bai2", ".bai", ".ach", ".nacha", ".txt")


@dataclass(frozen=True)
class ReadFile:
    """What became of one bank file."""

    name: str
    kind: str  # csv, bai2, nacha; unreadable
    deposits: int
    new: int
    problem: str | None = None


def post_bank_files(
    ledger: Ledger, files: Iterator[tuple[str, bytes]], at: datetime
) -> tuple[list[ReadFile], Reassociation]:
    """Keep the deposits of files, each file whole or not at all, and match them all with the payments."""
    read = [_post(ledger, name, data) for name, data in files]
    return read, match_deposits(ledger, at)


def bank_files(address: str | None, inbox: str | None) -> Iterator[tuple[str, bytes]]:
    """Read the file that was named, or every bank file of the inbox.

    Raises:
        Refused: If there is no such file, or neither a file nor an inbox.
    """
    if address is not None:
        try:
            yield Path(address).name, Path(address).read_bytes()
        except OSError as problem:
            raise Refused(f"{address} cannot be read: {problem.strerror}.") from None
        return
    if inbox is None:
        raise Refused("Name a bank file, or set RPMCLAIMS_INBOX: its bank/ folder is read then.")
    mailbox = mailbox_at(f"{inbox.rstrip('/')}/{FOLDER}")
    for found in mailbox.list():
        if found.key.lower().endswith(ENDINGS):
            yield f"{FOLDER}/{found.key}", mailbox.fetch(found.key)


def match_deposits(ledger: Ledger, at: datetime) -> Reassociation:
    """Match all deposits with all payments anew, and keep which belongs to which."""
    with writing(ledger.engine) as connection:
        matched = reassociate(read_books(connection, at))
        connection.execute(sa.delete(MATCH))
        insert(connection, MATCH, matched.matches)
    return matched


def _post(ledger: Ledger, name: str, data: bytes) -> ReadFile:
    """Keep the deposits of one file that are not known yet."""
    try:
        file = read_bank_file(data)
    except UnreadableBankFile as problem:
        return ReadFile(name, "unreadable", 0, 0, str(problem))
    rows = _keyed(file, hashlib.sha256(data).hexdigest())
    with writing(ledger.engine) as connection:
        known = query(connection, sa.select(DEPOSIT.c.dedupe_key))
        fresh = rows.join(known, on="dedupe_key", how="anti")
        insert(connection, DEPOSIT, fresh)
    return ReadFile(name, file.kind, rows.height, fresh.height)


def _keyed(file: BankFile, sha256: str) -> pl.DataFrame:
    """Name every deposit so that another file's copy of it is recognised."""
    trace, company = pl.col("trace_number"), pl.col("company_id")
    # Without a number or a payer only the bank's words tell two deposits of a day apart.
    words = pl.when(trace.is_null() & company.is_null()).then(pl.col("description"))
    facts = pl.concat_str(
        [
            pl.col("deposited_on").cast(pl.String),
            pl.col("amount").cast(pl.String),
            trace.fill_null("").str.strip_chars_start("0"),
            company.fill_null("").str.tail(9),
            words.fill_null("").str.head(80),
        ],
        separator=":",
    )
    named = file.deposits.with_columns(facts=facts, file_sha256=pl.lit(sha256))
    number = pl.int_range(1, pl.len() + 1).over("facts")
    return named.with_columns(dedupe_key=pl.format("{}:{}", "facts", number)).drop("facts")
