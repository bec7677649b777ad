"""The bank: reads what arrived on the account, keeps every deposit once, and which payments it holds.

`rpmclaims bank` starts it, with a file or with the inbox's `bank/` folder. A bank says the same more than
once (the day's report and the month's, a CSV and the NACHA entries): a deposit is known by its trace number
and amount, or without a number by day, amount and company, and by how many like it a file holds. How the
files read is `tasks.bank_files`, what belongs together `billing.deposits`.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import polars as pl
import sqlalchemy as sa

from billing.deposits import DAYS_APART, Reassociation, company_key, reassociate, trace_key
from schemas.errors import Refused
from tasks.bank_entries import UnreadableBankFile
from tasks.bank_files import BankFile, read_bank_file
from tasks.claim_states import TABLES, instant
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
    read = [_post(ledger, name, data, at) for name, data in files]
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


def _post(ledger: Ledger, name: str, data: bytes, at: datetime) -> ReadFile:
    """Keep the deposits of one file that are not known yet."""
    try:
        file = read_bank_file(data)
    except UnreadableBankFile as problem:
        return ReadFile(name, "unreadable", 0, 0, str(problem))
    rows = _keyed(file, hashlib.sha256(data).hexdigest())
    with writing(ledger.engine) as connection:
        names = ("dedupe_key", "deposited_on", "amount", "trace_number", "company_id")
        known = query(connection, sa.select(*(DEPOSIT.c[name] for name in names)))
        unknown = rows.join(known, on="dedupe_key", how="anti")
        copies = _copies(unknown, known.join(rows, on="dedupe_key", how="anti"))
        fresh = unknown.filter(~pl.col("dedupe_key").is_in(copies))
        insert(connection, DEPOSIT, fresh.with_columns(recorded_at=instant(at)))
    return ReadFile(name, file.kind, rows.height, fresh.height)


def _keyed(file: BankFile, sha256: str) -> pl.DataFrame:
    """Name every deposit: by its place in its file, or what has no trace number by what is known of it."""
    trace, company = pl.col("trace_number"), pl.col("company_id")
    # Without a number or a payer only the bank's words tell two deposits of a day apart.
    words = pl.when(trace.is_null() & company.is_null()).then(pl.col("description"))
    facts = pl.concat_str(
        [
            pl.col("deposited_on").cast(pl.String),
            pl.col("amount").cast(pl.String),
            pl.lit(""),
            company.fill_null("").str.tail(9),
            words.fill_null("").str.head(80),
        ],
        separator=":",
    )
    named = file.deposits.with_columns(facts=facts, file_sha256=pl.lit(sha256))
    is_traced = trace_key("trace_number").is_not_null()
    number = pl.int_range(1, pl.len() + 1)
    traced = pl.format("{}:{}:{}", pl.lit(file.kind), "file_sha256", number)
    untraced = pl.format("{}:{}", "facts", number.over("facts", is_traced))
    key = pl.when(is_traced).then(traced).otherwise(untraced)
    return named.with_columns(dedupe_key=key).drop("facts")


def _copies(rows: pl.DataFrame, known: pl.DataFrame) -> set[str]:
    """Find the rows of a file that tell of deposits another file told of, each of another one.

    Trace number and amount say so, and the company where both tell it. One kind of file dates a deposit
    the same every time; two kinds may be days apart.

    Returns:
        The rows' keys.
    """
    left, right = (
        side.select(
            "amount",
            key="dedupe_key",
            kind=pl.col("dedupe_key").str.extract(r"^([a-z]\w*):"),  # older keys begin with the day
            trace=trace_key("trace_number"),
            company=company_key("company_id"),
            on="deposited_on",
        )
        for side in (rows, known)
    )
    days = (pl.col("on") - pl.col("on_known")).dt.total_days().abs()
    is_other_kind = pl.col("kind").ne_missing(pl.col("kind_known"))
    is_one_company = pl.col("company") == pl.col("company_known")
    pairs = (
        left.join(right, on=["trace", "amount"], suffix="_known")
        .filter(is_one_company.fill_null(value=True), (days == 0) | (is_other_kind & (days <= DAYS_APART)))
        .sort(is_one_company.fill_null(value=False), -days, descending=True, maintain_order=True)
    )
    copies: set[str] = set()
    copied: set[str] = set()
    for key, of_known in pairs.select("key", "key_known").iter_rows():
        if key not in copies and of_known not in copied:
            copies.add(key)
            copied.add(of_known)
    return copies
